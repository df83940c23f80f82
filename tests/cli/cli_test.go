// Package cli holds the commands to what they promise about real mounts: in the background, at their end, at a crash and
// when the store is away.
package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(writerVar); name != "" {
		hold(name)
		return
	}
	testenv.Main(m)
}

func TestAMountInTheBackground(t *testing.T) {
	d := newDesk(t)
	d.mount("-o", "metadata_ttl=1s,noexec")
	if err := d.write("a", "hello"); err != nil {
		t.Error(err)
	}
	d.wantObject("a", "hello")
	pid := d.pid()
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || bytes.Contains(cmdline, []byte(d.store.SecretKey)) {
		t.Errorf("%q %v", cmdline, err)
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != "/" {
		t.Errorf("the process stands in %s: %v", cwd, err)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d: %v", sid, err)
	}
	info := testenv.MountInfo(t, d.mnt)
	if info.FSType != "fuse.pailfs" || info.Source != d.bucket || !strings.Contains(info.Options, "noexec") {
		t.Errorf("%+v", info)
	}
	d.expect(6, []string{"mounted there already", "pailfs umount"}, "mount", d.bucket, d.mnt)
	d.expect(0, nil, "umount", d.mnt)
	if d.mounted() {
		t.Error("still mounted")
	}
	d.awaitEnd(pid) // it lets go of its runtime file a moment before
	d.expect(6, []string{"nothing is mounted there"}, "umount", d.mnt)
	logs, err := filepath.Glob(d.state + "/log/*.log")
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v %v", logs, err)
	}
	log, err := os.ReadFile(logs[0])
	if err != nil || !bytes.Contains(log, []byte("msg=mounted")) || bytes.Contains(log, []byte(d.store.SecretKey)) {
		t.Errorf("%s %v", log, err)
	}
}

func TestAMountInUse(t *testing.T) {
	d := newDesk(t)
	d.mount()
	w := d.open("open", "written, not closed")
	d.expect(6, []string{"in use by cli.test (pid " + strconv.Itoa(w.cmd.Process.Pid), "--force"}, "umount", d.mnt)
	if !d.mounted() {
		t.Fatal("a mount in use was taken away")
	}
	d.expect(0, nil, "umount", "--force", d.mnt)
	if d.mounted() {
		t.Error("still mounted")
	}
	d.wantObject("open", "written, not closed")
	w.fails()
}

func TestASignalStoresAndLeaves(t *testing.T) {
	d := newDesk(t)
	d.mount()
	w := d.open("open", "written")
	pid := d.pid()
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	if d.mounted() {
		t.Error("still mounted")
	}
	d.wantObject("open", "written")
	w.fails()
}

func TestAKilledProcess(t *testing.T) {
	d := newDesk(t)
	d.mount()
	pid := d.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	var st unix.Statfs_t
	err := unix.Statfs(d.mnt, &st)
	if errors.Is(err, unix.EIO) { // it was killed with this request in its hands
		err = unix.Statfs(d.mnt, &st)
	}
	if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("the killed mount answers: %v", err)
	}
	d.mount() // over the dead one
	if err := d.write("a", "x"); err != nil {
		t.Error(err)
	}
	pid = d.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	d.expect(0, []string{"ended without a word"}, "umount", d.mnt)
	if d.mounted() {
		t.Error("the dead mount is still there")
	}
}

func TestWhatTheStoreDoesNotHaveIsNamedAndStoredLater(t *testing.T) {
	d := newDesk(t)
	d.mount("--timeout", "2s")
	f, err := os.Create(d.mnt + "/late")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("kept bytes"); err != nil {
		t.Fatal(err)
	}
	d.store.Stop(t)
	if err := f.Close(); err == nil {
		t.Error("close succeeded without the store")
	}
	d.expect(8, []string{"not stored: " + d.bucket + "/late (10 B)", "1 file not stored", "kept in " + d.state}, "umount", d.mnt)
	// Without the store there is no mount, and what is kept stays.
	d.expect(4, []string{"refuses connections"}, "mount", d.bucket, d.mnt, "--timeout", "1s")
	d.store.Start(t)
	if _, ok := d.object("late"); ok {
		t.Fatal("the store has it already")
	}
	// Mounted read-only, nothing is written to the store.
	d.mount("--read-only")
	d.expect(0, nil, "umount", d.mnt)
	if _, ok := d.object("late"); ok {
		t.Error("a mount that is read-only has stored it")
	}
	d.mount()
	d.expect(0, nil, "umount", d.mnt)
	d.wantObject("late", "kept bytes")
}

func TestUmountTimesOutAndGoesOn(t *testing.T) {
	d := newDesk(t)
	d.mount("--timeout", "20s")
	w := d.open("slow", "bytes")
	d.store.Stop(t)
	d.expect(8, []string{"goes on in the background", "waits for it again"}, "umount", "--force", "--timeout", "200ms", d.mnt)
	d.expect(6, []string{"pailfs umount"}, "mount", d.bucket, d.mnt)
	again := d.startWaiting("umount", d.mnt) // before the store is back: what goes on must not end first
	d.store.Start(t)
	if err := again.Wait(); err != nil {
		t.Errorf("%v\n%s", err, again.Stderr)
	}
	d.wantObject("slow", "bytes")
	w.fails()
}

func TestTheForeground(t *testing.T) {
	d := newDesk(t)
	var stderr bytes.Buffer
	cmd := exec.Command(testenv.Binary(t), "mount", "-f", d.bucket, d.mnt, "--log-format", "json")
	cmd.Env, cmd.Stderr = d.env, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.awaitMount(ended, &stderr)
	if err := d.write("a", "x"); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	if !strings.Contains(stderr.String(), `"msg":"mounted"`) || !strings.Contains(stderr.String(), `"msg":"everything is stored"`) {
		t.Errorf("%s", stderr.String())
	}
	if d.mounted() {
		t.Error("still mounted")
	}
}

// From the moment in which programs can write there, a signal ends a mount as it always does: it stores what they wrote.
func TestASignalInTheFirstMoment(t *testing.T) {
	d := newDesk(t)
	for i := range 3 {
		// The last thing that a mount does before it serves: it waits here, while programs may use it already.
		if err := os.MkdirAll("/run/mount", 0o755); err != nil { // libmount's
			t.Fatal(err)
		}
		lock, err := os.OpenFile("/run/mount/utab.lock", os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close() // again, where the test has failed
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("f%d", i)
		var stderr bytes.Buffer
		cmd := exec.Command(testenv.Binary(t), "mount", "-f", d.bucket, d.mnt, "--durability", "journal")
		cmd.Env, cmd.Stderr = d.env, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for until := time.Now().Add(20 * time.Second); !d.mounted() && time.Now().Before(until); {
		}
		err = d.write(name, "first")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // it comes while the mount waits
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		if ended := <-ended; ended != nil {
			t.Fatalf("%d: %v\n%s", i, ended, stderr.String())
		}
		if err != nil {
			t.Fatal(err)
		}
		d.wantObject(name, "first")
	}
}

func TestASecondSignalDoesNotWaitForTheStore(t *testing.T) {
	d := newDesk(t)
	log := t.TempDir() + "/log"
	var stderr bytes.Buffer
	cmd := exec.Command(testenv.Binary(t), "mount", "-f", d.bucket, d.mnt, "--timeout", "1h", "--log-file", log)
	cmd.Env, cmd.Stderr = d.env, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.awaitMount(ended, &stderr)
	d.open("a", "not stored")
	d.store.Stop(t)
	for i, says := range []string{"msg=stopping", "not waiting for the store"} {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(i, err)
		}
		awaitLog(t, log, says) // two signals at once would be one
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Fatalf("still waiting for the store\n%s", stderr.String())
	}
	if code := cmd.ProcessState.ExitCode(); code != 8 || !strings.Contains(stderr.String(), "pailfs: mount: 1 file not stored (10 B)") ||
		!strings.Contains(stderr.String(), "hint: kept in "+d.state) {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	d.store.Start(t)
	d.mount()
	d.expect(0, nil, "umount", d.mnt)
	d.wantObject("a", "not stored")
}

func TestAPlainUmountIsEnough(t *testing.T) {
	d := newDesk(t)
	d.mount()
	if err := d.write("a", "x"); err != nil {
		t.Error(err)
	}
	pid := d.pid()
	if err := unix.Unmount(d.mnt, 0); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	d.wantObject("a", "x")
	if left, err := os.ReadDir(filepath.Dir(d.mnt) + "/run"); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}

func TestTheLogIsOpenedAgain(t *testing.T) {
	d := newDesk(t)
	log := t.TempDir() + "/pailfs.log"
	d.mount("--log-file", log)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(d.pid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "log opened again")
	if fi, err := os.Stat(log); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	d.expect(0, nil, "umount", d.mnt)
}
