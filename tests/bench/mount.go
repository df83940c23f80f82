package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 60 * time.Second
	blockBytes = mib // of a program's read(2) and write(2)
)

// mount is a running pailfs.
type mount struct {
	dir     string
	cmd     *exec.Cmd
	log     string
	ended   chan struct{}
	mounted bool
}

// newMount mounts the bucket, seen from far away, with nothing cached.
func (r *rig) newMount(ctx context.Context) (*mount, error) {
	base, err := os.MkdirTemp(r.dir, "m")
	if err != nil {
		return nil, err
	}
	m := &mount{dir: filepath.Join(base, "mnt"), log: filepath.Join(base, "log"), ended: make(chan struct{})}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(m.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := []string{"mount", bucket, m.dir, "--endpoint", r.endpoint(), "--region", region, "--foreground",
		"--state-dir", filepath.Join(base, "state")}
	m.cmd = exec.Command(r.pailfs, append(args, r.o.mountArgs...)...)
	m.cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey,
		"PAILFS_RUN_DIR="+filepath.Join(base, "run"), "XDG_RUNTIME_DIR="+filepath.Join(base, "run"))
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the benchmark, which unmounts
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		m.cmd.Wait() // the exit status is looked at in unmount
		close(m.ended)
	}()
	if err := m.await(ctx); err != nil {
		return nil, errors.Join(err, m.unmount())
	}
	return m, nil
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

// unmount unmounts and waits for the process; what it warned of is an error.
func (m *mount) unmount() error {
	var err error
	if m.mounted {
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
		m.cmd.Process.Kill()
		<-m.ended
		unix.Unmount(m.dir, unix.MNT_DETACH) // nobody answers there any more
		err = errors.Join(err, fmt.Errorf("the process had not ended %v after the unmount", stopLimit))
	}
	log := m.logged()
	if code := m.cmd.ProcessState.ExitCode(); code != 0 {
		err = errors.Join(err, fmt.Errorf("the mount ended with status %d:\n%s", code, log))
	} else if strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		err = errors.Join(err, fmt.Errorf("the mount warned:\n%s", log))
	}
	return err
}

// read reads the object as cat does. What was read is compared beside the reading, as the bare client's workers do; the
// time ends when both have.
func (m *mount) read(key string, c *content) (time.Duration, error) {
	began := time.Now()
	f, err := os.Open(filepath.Join(m.dir, key))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	free := make(chan []byte, 2)
	free <- make([]byte, rangeBytes)
	free <- make([]byte, rangeBytes)
	var comparing errgroup.Group
	for i := range c.sums {
		buf := <-free
		for off := 0; off < rangeBytes; off += blockBytes {
			if _, err := io.ReadFull(f, buf[off:off+blockBytes]); err != nil {
				return 0, errors.Join(err, comparing.Wait())
			}
		}
		comparing.Go(func() error {
			defer func() { free <- buf }()
			return c.check(i, buf)
		})
	}
	if err := comparing.Wait(); err != nil {
		return 0, err
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return 0, fmt.Errorf("behind the end: %d bytes, %v", n, err)
	}
	return time.Since(began), nil
}

// write writes the object as cp does; the time ends when close has returned.
func (m *mount) write(key string, c *content) (time.Duration, error) {
	began := time.Now()
	f, err := os.OpenFile(filepath.Join(m.dir, key), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	for off := 0; off < len(c.bytes); off += blockBytes {
		if _, err := f.Write(c.bytes[off : off+blockBytes]); err != nil {
			return 0, errors.Join(err, f.Close())
		}
	}
	if err := f.Close(); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// usage is what the process has used since it started.
type usage struct {
	peakRSS int64   // bytes
	cpu     float64 // seconds
}

func (m *mount) usage() (u usage, err error) {
	proc := filepath.Join("/proc", strconv.Itoa(m.cmd.Process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				return u, err
			}
			u.peakRSS = kib << 10
		}
	}
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return u, err
	}
	// The second field, the name, may hold spaces; it ends in the last ")". utime and stime are fields 14 and 15.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	const ticks = 100 // USER_HZ is 100 on every architecture Go runs on
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += float64(n) / ticks
	}
	return u, nil
}

// selfCPU is what this process has used, in seconds: the bare client's CPU is its difference.
func selfCPU() float64 {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}
