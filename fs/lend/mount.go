package lend

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountType is what the mount table calls our mounts.
const mountType = "fuse.pailfs"

// ErrServed: a process serves the mount point that this lender did not lend to, or lent to in an earlier run.
var ErrServed = errors.New("something is mounted there, and its process answers")

// lookPatience bounds looking at a mount: one whose process has stopped answers never.
const lookPatience = 5 * time.Second

// mount mounts for a borrower and returns the descriptor.
func (l *Lender) mount(peer *unix.Ucred, want message) (int, error) {
	if err := l.clean(); err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Stat(l.Mountpoint, &st); err != nil {
		return -1, err
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/fuse: %w", err)
	}
	flags := l.Options.Flags
	if want.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	source := cmp.Or(l.Options.Source, printable(want.Source), "pailfs")
	if err := unix.Mount(source, l.Mountpoint, mountType, flags, l.data(fd, st.Mode, peer)); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if top, err := topmost(l.Mountpoint); err != nil || top == nil {
		l.own = 0
	} else {
		l.own = top.ID
	}
	return fd, nil
}

// data is what the kernel is told. The borrower counts as who has mounted: without allow_other the mount is its user's alone.
// Permissions are always checked by the kernel: the borrower checks none.
func (l *Lender) data(fd int, mode uint32, peer *unix.Ucred) string {
	words := []string{fmt.Sprintf("fd=%d", fd), fmt.Sprintf("rootmode=%o", mode&unix.S_IFMT), fmt.Sprintf("user_id=%d", peer.Uid),
		fmt.Sprintf("group_id=%d", peer.Gid), fmt.Sprintf("max_read=%d", l.Options.MaxRead), "default_permissions"}
	return strings.Join(append(words, l.Options.Words...), ",")
}

// printable is a text of a borrower as it may stand in the mount table.
func printable(s string) string {
	const longest = 1024
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), longest)]
}

// clean takes away the mounts of processes that are gone.
func (l *Lender) clean() error {
	for {
		top, err := topmost(l.Mountpoint)
		if err != nil {
			return err
		}
		if top == nil || top.FSType != mountType {
			return nil
		}
		if !l.dead() {
			return ErrServed
		}
		if err := unix.Unmount(l.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("remove a dead mount: %w", err)
		}
		l.Log.Info("removed the dead mount of a process that is gone", "mountpoint", l.Mountpoint)
	}
}

// dead says whether the process behind the mount is gone. One that does not answer in time lives: nobody can tell, and what it
// has not stored yet would be lost. Whoever asks it then waits for as long as it stands still.
func (l *Lender) dead() bool {
	answer := make(chan bool, 1)
	go func() { answer <- l.Dead(l.Mountpoint) }()
	patience := time.NewTimer(lookPatience)
	defer patience.Stop()
	select {
	case dead := <-answer:
		return dead
	case <-patience.C:
		return false
	}
}

// unmount takes the own mount away, and no other.
func (l *Lender) unmount(flags int) error {
	top, err := topmost(l.Mountpoint)
	if err != nil {
		return err
	}
	if top == nil || top.ID != l.own {
		return nil // somebody else was faster
	}
	if err := unix.Unmount(l.Mountpoint, flags); err != nil {
		return err
	}
	l.own = 0
	return nil
}

// takeAway is the end of a loan: whoever still holds files of it gets errors.
func (l *Lender) takeAway(log *slog.Logger) {
	if err := l.unmount(unix.MNT_DETACH | unix.UMOUNT_NOFOLLOW); err != nil {
		log.Error("the mount stays", "mountpoint", l.Mountpoint, "err", err)
	}
}

// topmost is the mount that a path shows, nil when none is on it.
func topmost(path string) (*mountinfo.Info, error) {
	all, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != path, false })
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[len(all)-1], nil
}
