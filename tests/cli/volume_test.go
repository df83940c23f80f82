package cli

import (
	"bufio"
	"io"
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
	app := d.startApp()

	sidecar := []string{"unshare", "--mount", "--propagation", "unchanged"}
	first := d.start(how{under: sidecar}, "mount", "-f", d.bucket, d.mnt)
	first.says("msg=mounted", 1)
	if got := app.run("echo hello >a; cat a"); got != "hello\n" {
		t.Errorf("the app reads %q", got)
	}
	d.wantObject("a", "hello\n")
	d.expect(6, []string{"mounted there already"}, "mount", d.bucket, d.mnt)
	first.signal(unix.SIGKILL)
	first.ends(-1)
	second := d.start(how{under: sidecar}, "mount", "-f", d.bucket, d.mnt)
	second.says("msg=mounted", 1)
	if got := app.run("cat a"); got != "hello\n" {
		t.Errorf("the app reads %q", got)
	}

	// The app uses it when the sidecar is told to end.
	using := app.enter("exec >b; echo written; echo ready >&2; read end")
	said, err := using.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	end := startReady(t, using, said)
	second.signal(unix.SIGTERM)
	second.ends(0, "the mount is in use", "everything is stored")
	d.wantObject("b", "written\n")
	end.Close()
	using.Wait() // what it has open is gone: its status says so or not
	if got := strings.TrimSpace(app.run("grep -c ' " + d.mnt + " .*fuse.pailfs' /proc/self/mountinfo || true; ls")); got != "0" {
		t.Errorf("the app still sees %q", got)
	}
	if infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(d.mnt)); err != nil || len(infos) != 1 || infos[0].FSType == "fuse.pailfs" {
		t.Errorf("%+v %v", infos, err)
	}
}

// app is a process in a mount namespace of its own, into which the mounts of the desk's directory come.
type app struct {
	d   *desk
	pid int
}

func (d *desk) startApp() app {
	d.t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "slave", "sh", "-c", "echo ready; read end")
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	startReady(d.t, cmd, out)
	return app{d, cmd.Process.Pid}
}

// startReady starts a program that says "ready" on said. It goes on when end is closed, at the latest at the test's end.
func startReady(t *testing.T, cmd *exec.Cmd, said io.Reader) (end io.Closer) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait() // the test may have done so; the status says nothing
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	return in
}

// enter is a script of the app, in the directory.
func (a app) enter(script string) *exec.Cmd {
	return exec.Command("nsenter", "--target", strconv.Itoa(a.pid), "--mount", "sh", "-euc", "cd "+a.d.mnt+"; "+script)
}

func (a app) run(script string) string {
	a.d.t.Helper()
	out, err := a.enter(script).CombinedOutput()
	if err != nil {
		a.d.t.Errorf("the app's %s: %v\n%s", script, err, out)
	}
	return string(out)
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
