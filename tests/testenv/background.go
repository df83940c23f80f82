package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// What follows is for tests of mounts that a command leaves in the background: the test knows no process of theirs.

// Mounted says whether something is mounted on a directory, without asking what is mounted there.
func Mounted(t testing.TB, dir string) bool {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	return len(infos) > 0
}

// MountInfo is the one mount on a directory as the mount table has it.
func MountInfo(t testing.TB, dir string) *mountinfo.Info {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil || len(infos) != 1 {
		t.Fatalf("%v %v", infos, err)
	}
	return infos[0]
}

// Run runs a pailfs command in a directory, "" for this one, and returns what it printed, on both ways, and its exit code. One
// that a signal ends has the code -1.
func Run(t testing.TB, dir string, env []string, args ...string) (output string, code int) {
	t.Helper()
	binary := Binary(t) // building it takes its time
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir = env, dir
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) || ctx.Err() != nil {
		t.Fatalf("pailfs %v: %v\n%s", args, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// ServingPID is the process that serves the only mount of a state directory, as its lock says.
func ServingPID(t testing.TB, stateDir string) int {
	t.Helper()
	locks, err := filepath.Glob(stateDir + "/mounts/*/lock")
	if err != nil || len(locks) != 1 {
		t.Fatalf("%v %v", locks, err)
	}
	b, err := os.ReadFile(locks[0])
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// AwaitEnd waits until a process that is not the test's has ended.
func AwaitEnd(t testing.TB, pid int) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) || Zombie(pid) && alone(pid) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("process %d has not ended", pid)
		}
	}
}

// Zombie says whether a process has ended and nobody has asked for its status: init is slow in some containers.
func Zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(after, "Z")
}

// alone says whether a process has no thread left but its first: the others close its files and let its locks go.
func alone(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err != nil || len(threads) <= 1
}

// Sweep takes away what a test that failed has left: a mount, which is one more failure, and shows the logs.
func Sweep(t testing.TB, dir, stateDir string, env []string) {
	t.Helper()
	for Mounted(t, dir) {
		t.Errorf("%s is still mounted", dir)
		Run(t, filepath.Dir(dir), env, "umount", "--force", "--timeout", "5s", dir)
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			break
		}
	}
	if t.Failed() {
		logs, _ := filepath.Glob(stateDir + "/log/*")
		for _, name := range logs {
			b, _ := os.ReadFile(name)
			t.Logf("%s:\n%s", name, tail(string(b), 200))
		}
	}
}
