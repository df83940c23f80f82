package main

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/sys/mountinfo"

	pfs "pailfs/fs"
)

// A mount whose mount point is gone lives on while the kernel has another way to it: open files after `umount -l`, a bind mount,
// a copy in another mount namespace, as containers and units with PrivateMounts= have them. Its process then serves it still.

// deviceOf is how the mount table names the file system of a mount point, "" where none of ours is there.
func deviceOf(mountpoint string) string {
	info, err := pfs.TopMount(mountpoint)
	if err != nil || info == nil || info.FSType != mountType {
		return ""
	}
	return device(info)
}

func device(info *mountinfo.Info) string { return fmt.Sprintf("%d:%d", info.Major, info.Minor) }

// detached says whether the mount point is gone that this process has mounted on. One that never was in its mount table is
// somebody else's, and says nothing.
func (m *mounted) detached() bool {
	if m.device == "" {
		return false
	}
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != m.plan.mountpoint, false })
	if err != nil {
		return false
	}
	for _, info := range found {
		if device(info) == m.device {
			return false
		}
	}
	return true
}

// goodbye is how long what was unmounted may take to begin to end, on a busy machine.
const goodbye = time.Second

// leftBehind says whether the mount point is gone and the mount goes on all the same. One that was unmounted a moment ago does
// not.
func (m *mounted) leftBehind() bool {
	for end := time.Now().Add(goodbye); m.detached() && !m.ending.Load(); time.Sleep(umountPoll) {
		if m.stays.Load() || time.Now().After(end) {
			m.stays.Store(true)
			return true
		}
	}
	return false
}

// copyLooks is how many looks at a mount lie between two questions whether something holds it: the kernel's goodbye takes some
// milliseconds.
const copyLooks = int(5 * time.Second / umountPoll)

// held says whether a mount that was taken away is still served: it will not end by itself.
func (u *umount) held(ctx context.Context, view *runtimeView) bool {
	if s, err := view.Read(); err != nil || s.Socket == "" || s.Ending {
		return false
	}
	s, err := daemon{view, "umount", u.mountpoint}.Status(ctx)
	return err == nil && s.State == stateDetached
}

// storedBeside stores what is pending of a mount that lives on elsewhere.
func (u *umount) storedBeside(ctx context.Context, view *runtimeView) error {
	show := newProgressShow(u.program+": storing", u.std.err, time.Now)
	_, err := daemon{view, "umount", u.mountpoint}.Flush(ctx, "", 0, show.flush)
	show.clear()
	if err != nil {
		return err
	}
	pid := 0
	if s, err := view.Read(); err == nil {
		pid = s.PID
	}
	fmt.Fprintf(u.std.err, "%s: %s is unmounted here and everything is stored; a copy of the mount elsewhere (a bind mount, a container) keeps its process (pid %d)\n",
		u.program, u.given, pid)
	return nil
}
