package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
	"pailfs/fs/lend"
)

// A lent mount is one that somebody else has mounted: a descriptor that this process was started with (--fd), or that a
// mount-helper passes to it (--fd-socket). MOUNTPOINT is then a name alone, by which state, log and status know the mount: it may
// be a path of another namespace and is never looked at.

// lent says whether the mount is one.
func (p *mountPlan) lent() bool { return p.FD > 0 || p.FDSocket != "" }

// devicePath is what a MOUNTPOINT that names a descriptor begins with. Other programs of FUSE know it too.
const devicePath = "/dev/fd/"

// settleMountpoint makes the path that a mount point is known by.
func (p *mountPlan) settleMountpoint(command, given string) error {
	if number, ok := strings.CutPrefix(given, devicePath); ok && !p.lent() {
		if err := parseFD(p.settings, number); err != nil {
			return usagef(command, "%s: %v", given, err)
		}
	}
	if p.lent() {
		if err := p.checkLentWords(command); err != nil {
			return err
		}
		var err error
		p.mountpoint, err = filepath.Abs(given)
		return err
	}
	var err error
	if p.mountpoint, err = realPath(given); err != nil {
		p.mountpoint, err = filepath.Abs(given)
	}
	return err
}

// checkLentWords refuses what only who mounts can do.
func (p *mountPlan) checkLentWords(command string) error {
	var wrong string
	switch {
	case p.FD > 0 && p.FDSocket != "":
		return usagef(command, "--fd and --fd-socket: one of them")
	case p.AllowOther:
		wrong = "allow_other"
	case len(p.MountWords) > 0:
		wrong = strings.Join(p.MountWords, ",")
	default:
		return nil
	}
	f := usagef(command, "%s is for whoever mounts: with --fd and --fd-socket that is somebody else", wrong)
	f.hint = "give it to that program: pailfs mount-helper -o " + wrong
	return f
}

// lowest and highest descriptor that --fd takes: those below are standard input, output and error.
const leastFD, mostFD = 3, 1023

func parseFD(s *settings, v string) error {
	if v == "" {
		s.FD = 0
		return nil
	}
	return count(func(s *settings) *int { return &s.FD }, leastFD, mostFD)(s, v)
}

// parseFDSocket takes a path that fits into a socket's address.
func parseFDSocket(s *settings, v string) error {
	if err := path(func(s *settings) *string { return &s.FDSocket })(s, v); err != nil {
		return err
	}
	if len(s.FDSocket) > lend.LongestPath {
		return fmt.Errorf("%s is longer than the %d bytes of a socket's address", s.FDSocket, lend.LongestPath)
	}
	return nil
}

// filesOfChild are the files of a process in the background from number 3 on: the end of the pipe that it answers on, whose
// number is ready, and the descriptor of a lent mount at its own number. The gaps are closed.
func filesOfChild(end *os.File, fd int) (files []*os.File, ready int, err error) {
	const first = 3
	if fd == 0 {
		return []*os.File{end}, first, nil
	}
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("pass descriptor %d on: %w", fd, err)
	}
	ready = first
	if fd == first {
		ready++
	}
	files = make([]*os.File, max(fd, ready)-first+1)
	files[fd-first], files[ready-first] = os.NewFile(uintptr(copied), "/dev/fuse"), end
	return files, ready, nil
}

// borrow gets the descriptor of a lent mount and puts it into the options of the mount.
func (m *mounted) borrow(ctx context.Context, o *pfs.Options) error {
	p := m.plan
	o.Device = p.FD
	if p.FDSocket == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	loan, err := lend.Borrow(ctx, p.FDSocket, lend.Request{Source: p.source(), ReadOnly: p.ReadOnly, Trusted: ownOrRoot,
		Waiting: func(err error) { m.log.Info("waiting for the mount-helper", "socket", p.FDSocket, "err", err) }})
	if err != nil {
		return fmt.Errorf("%w: %w", errNoLoan, err)
	}
	m.loan = loan
	m.closers = append(m.closers, func(context.Context) error { return loan.Close() })
	o.Device = loan.FD
	o.Release = func(lazily bool) error {
		err := loan.Release(lazily)
		if errors.Is(err, lend.ErrGone) {
			return fmt.Errorf("%w: %w", pfs.ErrNotOurs, err)
		}
		return err
	}
	return nil
}

// errNoLoan: the mount-helper gave no descriptor.
var errNoLoan = errors.New("no mount to serve")

// tellLender says that the mount answers. A lender that has gone meanwhile is missed when the mount ends.
func (m *mounted) tellLender() {
	if m.loan == nil {
		return
	}
	m.log.Info("the mount is the mount-helper's", "mountpoint", m.loan.Mountpoint)
	if err := m.loan.Serving(); err != nil {
		m.log.Warn("the mount-helper cannot be told", "err", err)
	}
}

// lentPlace is the place of a path in a lent mount, which the mount table of this namespace does not show; nil when there is none.
func lentPlace(dirs []string, path string) *place {
	var best *place
	for _, v := range knownMounts(dirs) {
		s, err := v.Read()
		if err != nil || !s.Lent || !below(path, s.Mountpoint) || v.Ended() || best != nil && len(best.mountpoint) > len(s.Mountpoint) {
			v.Close()
			continue
		}
		if best != nil {
			best.Close()
		}
		best = &place{mountpoint: s.Mountpoint, path: strings.Trim(strings.TrimPrefix(path, s.Mountpoint), "/"), view: v}
	}
	return best
}

// place is the path that the mount is known by. That of a lent mount is a name: no link is followed.
func (u *umount) place() (string, error) {
	if abs, err := filepath.Abs(u.given); err == nil {
		if view, err := viewRuntime(u.dirs, abs); err == nil {
			defer view.Close()
			if s, err := view.Read(); err == nil && s.Lent {
				return abs, nil
			}
		}
	}
	return realPath(u.given)
}

// stopLent tells the process of a lent mount to end: nobody can unmount it from here.
func (u *umount) stopLent(view *runtimeView) error {
	state, err := view.Read()
	if err != nil || !state.Lent || view.Ended() {
		return nil
	}
	if !view.heldBy(state.PID) { // its number may be of another pid namespace, and mean somebody else here
		return u.fail(exitMountPoint, "end it where it runs: SIGTERM stores what is left", "the process that serves it cannot be seen from here")
	}
	return u.stop(view)
}

// heldBy says whether a process has the runtime file open.
func (v *runtimeView) heldBy(pid int) bool {
	own, err := v.f.Stat()
	if err != nil {
		return false
	}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is well-formed
	for _, fd := range fds {
		if fi, err := os.Stat(fd); err == nil && os.SameFile(own, fi) {
			return true
		}
	}
	return false
}

// shownFD is where a lent mount's descriptor is from.
func (p *mountPlan) shownFD() string {
	if p.FDSocket != "" {
		return "of the mount-helper at " + shown(p.FDSocket)
	}
	return strconv.Itoa(p.FD)
}
