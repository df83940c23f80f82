package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Unmount unmounts, waits for the process to end and checks its status and log. A mount point that stays busy for
// ten seconds fails the test.
func (m *MountPoint) Unmount() {
	m.t.Helper()
	if err := unmount(m.Dir, 10*time.Second); err != nil && !errors.Is(err, syscall.EINVAL) { // EINVAL: not mounted
		m.t.Errorf("unmount: %v%s", err, m.users())
	}
	m.Wait(stopTimeout)
	m.check()
}

// Signal sends the process a signal. After SIGTERM or SIGINT, Wait for its end.
func (m *MountPoint) Signal(sig os.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		m.t.Fatal(err)
	}
}

// Wait waits for the process to end by itself and returns its exit status, -1 after a signal. One that does not end in
// time fails the test; its goroutines are in the log then.
func (m *MountPoint) Wait(limit time.Duration) int {
	m.t.Helper()
	if !m.endsWithin(limit) {
		m.Signal(syscall.SIGQUIT)
		if !m.endsWithin(5 * time.Second) {
			m.end()
		}
		m.t.Fatalf("the process has not ended after %v:\n%s", limit, m.Log())
	}
	return m.status
}

// Kill ends the process with SIGKILL, as a crash does, and takes the dead mount away. The state directory stays.
func (m *MountPoint) Kill() {
	m.t.Helper()
	m.Die()
	m.detach()
}

// Die is Kill without its last step: whoever still works on the mount gets an error there, not what lies below it.
func (m *MountPoint) Die() {
	m.t.Helper()
	m.killed = true
	m.end()
}

// Exited says whether the process has ended.
func (m *MountPoint) Exited() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

func (m *MountPoint) endsWithin(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-m.ended:
		return true
	case <-timer.C:
		return false
	}
}

// end kills the process and waits for its end. A process that hangs in its own mount ends when the connection does.
func (m *MountPoint) end() {
	if m.Exited() {
		return
	}
	m.cmd.Process.Kill() // fails only when it has ended already
	if m.endsWithin(5 * time.Second) {
		return
	}
	m.abort()
	if !m.endsWithin(20 * time.Second) {
		m.t.Errorf("process %d cannot be killed", m.PID())
	}
}

// detach takes a mount away whose process is gone.
func (m *MountPoint) detach() {
	for Mounted(m.t, m.Dir) {
		if err := unix.Unmount(m.Dir, unix.MNT_DETACH); err != nil {
			m.t.Errorf("detaching %s: %v", m.Dir, err)
			return
		}
	}
}

// abort breaks the FUSE connection: whoever waits for it gets an error.
func (m *MountPoint) abort() {
	if err := unix.Unmount(m.Dir, unix.MNT_FORCE|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EBUSY) { // broken, and busy
		m.t.Logf("aborting the FUSE connection: %v", err)
	}
}

// cleanup is the test's end.
func (m *MountPoint) cleanup() {
	if m.killed || m.checked {
		m.detachLeftover()
		return
	}
	if m.Exited() {
		m.check()
		return
	}
	if err := unmount(m.Dir, 10*time.Second); err != nil && !errors.Is(err, syscall.EINVAL) {
		m.t.Errorf("unmount: %v%s", err, m.users())
		m.Signal(syscall.SIGTERM)
	}
	if !m.endsWithin(stopTimeout) {
		m.Signal(syscall.SIGQUIT)
		m.endsWithin(5 * time.Second)
		m.end()
		m.t.Errorf("the process had not ended %v after the unmount; its log:\n%s", stopTimeout, m.Log())
	}
	m.check()
}

// check looks at the exit status, the log and the mount table, once.
func (m *MountPoint) check() {
	m.t.Helper()
	if m.checked {
		return
	}
	m.checked = true
	if !slices.Contains(m.cfg.exits, m.status) {
		m.t.Errorf("exit status %d, want %v", m.status, m.cfg.exits)
	}
	lines, missed := unexpected(m.Log(), m.cfg.expected)
	if len(lines) > 0 {
		m.t.Errorf("unexpected in the log:\n  %s", strings.Join(lines, "\n  "))
	}
	if len(missed) > 0 && !m.cfg.expectedMisses {
		m.t.Errorf("no WARN or ERROR line matches %q", missed)
	}
	m.detachLeftover()
	if m.t.Failed() {
		m.t.Logf("log of %s:\n%s", m.Dir, tail(m.Log(), 200))
	}
}

func (m *MountPoint) detachLeftover() {
	m.t.Helper()
	if m.Exited() && Mounted(m.t, m.Dir) {
		m.t.Errorf("the mount is still there: %s", m.Dir)
		m.detach()
	}
}

// users names the processes that hold the mount point, for an error message.
func (m *MountPoint) users() string {
	var b strings.Builder
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		links, _ := filepath.Glob(p + "/fd/*")
		for _, l := range append(links, p+"/cwd") {
			if to, err := os.Readlink(l); err == nil && (to == m.Dir || strings.HasPrefix(to, m.Dir+"/")) {
				comm, _ := os.ReadFile(p + "/comm")
				fmt.Fprintf(&b, "\n  %s (%s) has %s", filepath.Base(p), strings.TrimSpace(string(comm)), to)
			}
		}
	}
	return b.String()
}

// unmount unmounts a directory, again for as long as it is busy.
func unmount(dir string, limit time.Duration) error {
	until := time.Now().Add(limit)
	for {
		err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(until) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func tail(s string, lines int) string {
	l := strings.SplitAfter(s, "\n")
	return strings.Join(l[max(0, len(l)-lines):], "")
}
