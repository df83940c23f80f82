package testenv

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// mountTimeout bounds the wait for a mount to answer; a race-detector build on a busy machine is slow.
	mountTimeout = 60 * time.Second
	// stopTimeout bounds the wait for the process to end after its mount is gone. Then its goroutines are dumped.
	stopTimeout = 60 * time.Second
)

// MountPoint is a running `pailfs mount --foreground` and its mount point.
type MountPoint struct {
	// Dir is the mount point.
	Dir string
	// StateDir is the journal's directory; it outlives the process.
	StateDir string

	t       testing.TB
	cfg     config
	cmd     *exec.Cmd
	log     *logFile
	ended   chan struct{} // closed when the process has ended; status is valid then
	status  int           // exit status, or -1 when a signal ended it
	killed  bool          // by Kill: its status is none
	checked bool          // the exit and the log were looked at
}

// Mount mounts and waits until the mount point answers. At the test's end it is unmounted and its exit status and log
// are checked.
func Mount(t testing.TB, s *Server, options ...Option) *MountPoint {
	t.Helper()
	m, err := TryMount(t, s, options...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TryMount is Mount for tests of mounts that fail: the error holds the log.
func TryMount(t testing.TB, s *Server, options ...Option) (*MountPoint, error) {
	t.Helper()
	m := Start(t, s, options...)
	return m, m.awaitReady()
}

// Start is Mount for tests that do not wait until the mount is there.
func Start(t testing.TB, s *Server, options ...Option) *MountPoint {
	t.Helper()
	m := &MountPoint{t: t, cfg: newConfig(options), ended: make(chan struct{})}
	m.Dir, m.StateDir = m.cfg.dir, m.cfg.stateDir
	base := shortDir(t)
	for _, d := range []struct {
		path *string
		name string
	}{{&m.Dir, "mnt"}, {&m.StateDir, "state"}, {&m.cfg.runDir, "run"}, {&m.cfg.cacheHome, "cache"}} {
		if *d.path == "" {
			*d.path = filepath.Join(base, d.name)
			if err := os.Mkdir(*d.path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.log = newLogFile(t, filepath.Join(base, "log"))
	m.cmd = exec.Command(cmp.Or(m.cfg.program, Binary(t)), m.args(s)...)
	m.cmd.Dir = base
	m.cmd.Env = m.environment(s)
	m.cmd.Stdout, m.cmd.Stderr = m.log.file, m.log.file
	// A group of its own: Ctrl-C at the terminal ends the test, whose end unmounts.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go m.reap()
	t.Cleanup(m.cleanup)
	return m
}

// args is the command line after the program's name.
func (m *MountPoint) args(s *Server) []string {
	args := []string{"mount"}
	if m.cfg.source != "" {
		args = append(args, m.cfg.source)
	}
	args = append(args, m.Dir, "--endpoint", s.Endpoint, "--region", s.Region, "--foreground", "--state-dir", m.StateDir)
	if s.Provider != "" {
		args = append(args, "--provider", s.Provider)
	}
	if m.cfg.ttl >= 0 {
		args = append(args, "--metadata-ttl", m.cfg.ttl.String())
	}
	return append(args, m.cfg.args...)
}

// environment is the process's: this one's without what would configure pailfs, and the server's credentials.
func (m *MountPoint) environment(s *Server) []string {
	var env []string
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "PAILFS_") || strings.HasPrefix(v, "XDG_") {
			continue
		}
		env = append(env, v)
	}
	env = append(env, s.Env()...)
	env = append(env, "XDG_RUNTIME_DIR="+m.cfg.runDir, "PAILFS_RUN_DIR="+m.cfg.runDir, "XDG_CACHE_HOME="+m.cfg.cacheHome, "CACHE_DIRECTORY="+m.cfg.cacheHome, "GORACE=halt_on_error=0")
	return append(env, m.cfg.env...)
}

// RunEnv is the environment in which a second pailfs command (umount, status, flush) finds this mount.
func (m *MountPoint) RunEnv() []string {
	return append(os.Environ(), "XDG_RUNTIME_DIR="+m.cfg.runDir, "PAILFS_RUN_DIR="+m.cfg.runDir)
}

// Command runs another pailfs command beside the mount and returns its output and exit status.
func (m *MountPoint) Command(args ...string) (output string, status int) {
	m.t.Helper()
	cmd := exec.Command(Binary(m.t), args...)
	cmd.Env = m.RunEnv()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Path is a path below the mount point.
func (m *MountPoint) Path(elem ...string) string {
	return filepath.Join(append([]string{m.Dir}, elem...)...)
}

// PID is the process's id.
func (m *MountPoint) PID() int { return m.cmd.Process.Pid }

// Log is what the process has written so far.
func (m *MountPoint) Log() string { return m.log.read() }

func (m *MountPoint) reap() {
	m.cmd.Wait() // its error repeats the status
	m.status = m.cmd.ProcessState.ExitCode()
	close(m.ended)
}

// awaitReady waits until the mount is in the mount table and a stat of its root returns. A dead mount that was there
// before does not count: the process is about to remove it.
func (m *MountPoint) awaitReady() error {
	deadline := time.NewTimer(mountTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !Mounted(m.t, m.Dir) || dead(m.Dir) {
		select {
		case <-m.ended:
			return fmt.Errorf("the mount ended with status %d:\n%s", m.status, m.Log())
		case <-deadline.C:
			return fmt.Errorf("no mount after %v:\n%s", mountTimeout, m.Log())
		case <-tick.C:
		}
	}
	answer := make(chan error, 1)
	go func() {
		_, err := os.Stat(m.Dir)
		answer <- err
	}()
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("the mount point does not answer: %w\n%s", err, m.Log())
		}
		return nil
	case <-deadline.C:
		return fmt.Errorf("the mount point does not answer after %v:\n%s", mountTimeout, m.Log())
	}
}

// dead says whether the process behind a mount is gone.
func dead(dir string) bool {
	var st unix.Statfs_t // never from the kernel's attribute cache
	return errors.Is(unix.Statfs(dir, &st), syscall.ENOTCONN)
}
