package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 60 * time.Second
)

// mounter is a program that mounts the bucket.
type mounter interface {
	name() string
	// command is what mounts the bucket in the foreground; base is a fresh directory of the mount's own.
	command(r *rig, base, mountpoint string, args []string) (*exec.Cmd, error)
	// complaint is what its end has to say: nil when all is well.
	complaint(status int, log string) error
}

// mount is a running mount.
type mount struct {
	by      mounter
	base    string // its own, removed after it
	dir     string // the same for every mount: a disk cache may belong to its mount point
	cmd     *exec.Cmd
	log     string
	ended   chan struct{}
	mounted bool
	aborted atomic.Bool
	unwatch func() bool
}

// newMount mounts the bucket, seen from far away, with nothing cached. When ctx ends, the mount breaks: who reads in it
// gets an error.
func (r *rig) newMount(ctx context.Context, by mounter, args ...string) (*mount, error) {
	base, err := os.MkdirTemp(r.dir, "m")
	if err != nil {
		return nil, err
	}
	m := &mount{by: by, base: base, dir: filepath.Join(r.dir, "mnt"), log: filepath.Join(base, "log"), ended: make(chan struct{})}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(m.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if m.cmd, err = by.command(r, base, m.dir, args); err != nil {
		return nil, err
	}
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the benchmark, which unmounts
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		m.cmd.Wait() // the exit status is looked at in unmount
		close(m.ended)
	}()
	m.unwatch = context.AfterFunc(ctx, m.abort)
	if err := m.await(ctx); err != nil {
		return nil, errors.Join(err, m.unmount())
	}
	return m, nil
}

func (m *mount) pid() int { return m.cmd.Process.Pid }

func (m *mount) path(key string) string { return filepath.Join(m.dir, key) }

// abort breaks the mount.
func (m *mount) abort() {
	m.aborted.Store(true)
	m.cmd.Process.Kill()
	unix.Unmount(m.dir, unix.MNT_DETACH) // fails where nothing is mounted yet
}

// await waits until the mount point answers.
func (m *mount) await(ctx context.Context) error {
	deadline := time.After(startLimit)
	for {
		if infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(m.dir)); err != nil {
			return err
		} else if len(infos) > 0 {
			m.mounted = true
			_, err := os.Stat(m.dir)
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-m.ended:
			return fmt.Errorf("the mount has ended:\n%s", m.logged())
		case <-deadline:
			return fmt.Errorf("no mount after %v:\n%s", startLimit, m.logged())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *mount) logged() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// unmount unmounts, waits for the process, and removes what the mount has left.
func (m *mount) unmount() error {
	m.unwatch()
	var err error
	if m.mounted && !m.aborted.Load() {
		until := time.Now().Add(10 * time.Second)
		for err = unix.Unmount(m.dir, 0); errors.Is(err, syscall.EBUSY) && time.Now().Before(until); err = unix.Unmount(m.dir, 0) {
			time.Sleep(20 * time.Millisecond)
		}
	} else {
		m.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	}
	select {
	case <-m.ended:
	case <-time.After(stopLimit):
		m.abort()
		<-m.ended
		err = errors.Join(err, fmt.Errorf("the process had not ended %v after the unmount", stopLimit))
	}
	if m.aborted.Load() {
		return errors.Join(err, errors.New("the mount was broken off"))
	}
	err = errors.Join(err, m.by.complaint(m.cmd.ProcessState.ExitCode(), m.logged()))
	if left := detachBelow(m.dir); left != nil {
		return errors.Join(err, left)
	}
	return errors.Join(err, os.RemoveAll(m.base))
}

// detachBelow takes away what is mounted at a directory or below it.
func detachBelow(dir string) error {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return err
	}
	for i := len(infos) - 1; i >= 0; i-- {
		if err := unix.Unmount(infos[i].Mountpoint, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", infos[i].Mountpoint, err)
		}
	}
	return nil
}

// pailfs is a build of pailfs, with options.
type pailfs struct {
	label, path string
	args        []string
}

func (p *pailfs) name() string { return p.label }

func (p *pailfs) command(r *rig, base, mountpoint string, args []string) (*exec.Cmd, error) {
	line := []string{"mount", bucket, mountpoint, "--endpoint", r.endpoint(), "--region", region, "--foreground",
		"--state-dir", filepath.Join(base, "state")}
	if !hasOption(append(r.o.mountArgs, p.args...), "--memory") {
		line = append(line, fmt.Sprintf("--memory=%dMiB", r.o.memoryMiB))
	}
	line = append(append(append(line, r.o.mountArgs...), p.args...), args...)
	cmd := exec.Command(p.path, line...)
	cmd.Env = environment(base)
	return cmd, nil
}

// environment is that of a mount with its directories below base, and of commands that talk to it.
func environment(base string) []string {
	run := filepath.Join(base, "run")
	return append(os.Environ(), "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey,
		"PAILFS_RUN_DIR="+run, "XDG_RUNTIME_DIR="+run, "XDG_CACHE_HOME="+filepath.Join(base, "cache"), "CACHE_DIRECTORY="+filepath.Join(base, "cache"))
}

// warm has a mount fetch a file into its disk cache, and waits for it.
func (p *pailfs) warm(ctx context.Context, m *mount, path string) error {
	cmd := exec.CommandContext(ctx, p.path, "warm", path)
	cmd.Env = environment(m.base)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("warm: %w\n%s", err, out)
	}
	return nil
}

func hasOption(args []string, name string) bool {
	for _, a := range args {
		if a == name || strings.HasPrefix(a, name+"=") {
			return true
		}
	}
	return false
}

// complaint: what pailfs warned of is an error, too.
func (p *pailfs) complaint(status int, log string) error {
	switch {
	case status != 0:
		return fmt.Errorf("the mount ended with status %d:\n%s", status, log)
	case strings.Contains(log, "level=WARN"), strings.Contains(log, "level=ERROR"):
		return fmt.Errorf("the mount warned:\n%s", log)
	}
	return nil
}

// passthrough is what `pailfs status` says of it.
func (p *pailfs) passthrough(ctx context.Context, m *mount) (string, error) {
	cmd := exec.CommandContext(ctx, p.path, "status", m.dir)
	cmd.Env = environment(m.base)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("status: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(strings.TrimSpace(line), "passthrough") {
			return strings.Join(strings.Fields(line), " "), nil
		}
	}
	return "", nil
}

// knows says whether this build has an option of mount.
func (p *pailfs) knows(option string) bool {
	out, err := exec.Command(p.path, "mount", "--help").CombinedOutput()
	return err == nil && strings.Contains(string(out), "--"+option)
}

// has says whether this build has a command.
func (p *pailfs) has(command string) bool {
	return exec.Command(p.path, command, "--help").Run() == nil
}

// version is what the program says it is.
func (p *pailfs) version() string {
	out, err := exec.Command(p.path, "version").Output()
	if err != nil {
		return "pailfs of unknown version"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(line + " " + strings.Join(p.args, " "))
}
