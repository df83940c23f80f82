package mount

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// A mount never asks itself anything: a process that is killed while it waits for its own answer never ends, and keeps its
// state directory. And the kernel's readahead is raised all the same.
func TestAMountDoesNotAskItself(t *testing.T) {
	testenv.Require(t)
	s := testenv.Store(t)
	m := testenv.Mount(t, s, testenv.Of(s.Bucket(t)), testenv.Args("--log-level", "debug"))
	if log := m.Log(); strings.Contains(log, "operation=lookup") || strings.Contains(log, "operation=open") {
		t.Errorf("a new mount was asked:\n%s", log)
	}
	if _, err := os.ReadDir(m.Dir); err != nil {
		t.Fatal(err)
	}
	if log := m.Log(); !strings.Contains(log, "operation=open") { // such questions are in the log
		t.Errorf("nobody asked:\n%s", log)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(m.Dir, &st); err != nil {
		t.Fatal(err)
	}
	ahead, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil || strings.TrimSpace(string(ahead)) != "1024" {
		t.Errorf("read_ahead_kb is %q, %v", ahead, err)
	}
}
