package cli

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// A volume as containers have it: a directory that is bound into namespaces, which share its mounts. What a sidecar mounts there
// an app sees that was there before, and it goes from there at the sidecar's end.
func TestAVolumeOfOtherNamespaces(t *testing.T) {
	d := newDesk(t)
	testenv.Programs(t, "unshare", "nsenter")
	for _, flags := range []uintptr{unix.MS_BIND, unix.MS_SHARED} {
		if err := unix.Mount(d.mnt, d.mnt, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for unix.Unmount(d.mnt, unix.MNT_DETACH) == nil { // before the desk looks whether something is left
		}
	})
	app := exec.Command("unshare", "--mount", "--propagation", "slave", "sh", "-c", "echo ready; read end")
	in, err := app.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := app.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		app.Wait() // its status says nothing
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	inApp := func(script string) string {
		t.Helper()
		cmd := exec.Command("nsenter", "--target", strconv.Itoa(app.Process.Pid), "--mount", "sh", "-euc", "cd "+d.mnt+"; "+script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("the app's %s: %v\n%s", script, err, out)
		}
		return string(out)
	}

	sidecar := []string{"unshare", "--mount", "--propagation", "unchanged"}
	first := d.start(how{under: sidecar}, "mount", "-f", d.bucket, d.mnt)
	first.says("msg=mounted", 1)
	if got := inApp("echo hello >a; cat a"); got != "hello\n" {
		t.Errorf("the app reads %q", got)
	}
	d.wantObject("a", "hello\n")
	d.expect(6, []string{"mounted there already"}, "mount", d.bucket, d.mnt)
	first.signal(unix.SIGKILL)
	first.ends(-1)
	second := d.start(how{under: sidecar}, "mount", "-f", d.bucket, d.mnt)
	second.says("msg=mounted", 1)
	if got := inApp("cat a"); got != "hello\n" {
		t.Errorf("the app reads %q", got)
	}

	// The app uses it when the sidecar is told to end.
	using := exec.Command("nsenter", "--target", strconv.Itoa(app.Process.Pid), "--mount", "sh", "-euc", "cd "+d.mnt+"; exec >b; echo written; echo ready >&2; read end")
	usingIn, err := using.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	usingErr, err := using.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := using.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(usingErr).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	second.signal(unix.SIGTERM)
	second.ends(0, "the mount is in use", "everything is stored")
	d.wantObject("b", "written\n")
	usingIn.Close()
	using.Wait() // what it has open is gone: its status says so or not
	if got := strings.TrimSpace(inApp("grep -c ' " + d.mnt + " .*fuse.pailfs' /proc/self/mountinfo || true; ls")); got != "0" {
		t.Errorf("the app still sees %q", got)
	}
	if infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(d.mnt)); err != nil || len(infos) != 1 || infos[0].FSType == "fuse.pailfs" {
		t.Errorf("%+v %v", infos, err)
	}
}

// -o x-mount.mkdir makes the mount point, as mount(8) does.
func TestAMountPointThatIsMade(t *testing.T) {
	d := newDesk(t)
	d.mnt += "/a/b"
	d.expect(6, []string{"does not exist"}, "mount", d.bucket, d.mnt)
	d.expect(2, []string{"octal"}, "mount", d.bucket, d.mnt, "-o", "x-mount.mkdir=rwx")
	d.mount("-o", "x-mount.mkdir=0700")
	d.expect(0, nil, "umount", d.mnt)
	if fi, err := os.Stat(filepath.Dir(d.mnt)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi, err)
	}
}
