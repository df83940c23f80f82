package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
	"pailfs/fs/journal"
)

// hostFailure says what an error of the mount point, FUSE or the state directory means to a user; nil for others.
func (s subject) hostFailure(err error, mountpoint, stateDir string) *failure {
	switch {
	case errors.Is(err, pfs.ErrNoMountpoint):
		return s.fail(exitMountPoint, "the directory does not exist", "mkdir -p "+mountpoint)
	case errors.Is(err, pfs.ErrNotDirectory):
		return s.fail(exitMountPoint, "it is not a directory", "a mount point is an empty directory")
	case errors.Is(err, pfs.ErrNotEmpty):
		return s.fail(exitMountPoint, "the directory is not empty", "its files would be hidden: move them, or mount on an empty directory")
	case errors.Is(err, pfs.ErrMounted):
		return s.fail(exitMountPoint, "something is mounted there already", fmt.Sprintf("`pailfs umount %s`, or findmnt %s to see what it is", mountpoint, mountpoint))
	case errors.Is(err, pfs.ErrNoFuse):
		return s.fail(exitHost, "this host has no /dev/fuse", "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN")
	case errors.Is(err, pfs.ErrDevice):
		return s.fail(exitHost, err.Error(), "open /dev/fuse, mount(2) it with fd=N and start pailfs with N open; a descriptor is served once")
	case errors.Is(err, errNoLoan):
		return s.fail(exitHost, err.Error(), "is `pailfs mount-helper` running, with this --fd-socket and with --user of this process's user?")
	case errors.Is(err, pfs.ErrNoPermission):
		return s.fail(exitHost, err.Error(), permissionHint(os.Geteuid()))
	case errors.Is(err, journal.ErrLocked), errors.Is(err, errServed):
		return s.fail(exitMountPoint, err.Error(), fmt.Sprintf(
			"another pailfs serves %s or still stores what was written there: `pailfs umount %s` waits for it", mountpoint, mountpoint))
	case errors.Is(err, journal.ErrNewer):
		return s.fail(exitHost, err.Error(), fmt.Sprintf("mount %s with the pailfs that wrote it, or a later one: it stores what is left; nothing was changed", mountpoint))
	case errors.Is(err, journal.ErrNotOwn):
		return s.fail(exitHost, err.Error(), "look at what is there and remove it, or name another --state-dir; a mount of another user stores what it left")
	case errors.Is(err, errRunDir):
		return s.fail(exitHost, err.Error(), "remove it, or name another directory in PAILFS_RUN_DIR")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return s.fail(exitHost, err.Error(), fmt.Sprintf("the disk of %s is full: make room, or give --state-dir", stateDir))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return s.fail(exitHost, err.Error(), "give directories that you may write to: --state-dir, --log-file, PAILFS_RUN_DIR; or run as their owner")
	}
	return nil
}

func permissionHint(uid int) string {
	if uid == 0 {
		return "root without CAP_SYS_ADMIN, as in a container: --device /dev/fuse --cap-add SYS_ADMIN (and an AppArmor profile that allows mount), " +
			"or no privilege at all and --fd-socket of a `pailfs mount-helper` that has it"
	}
	return "run as root, or install fuse3 (fusermount3 mounts for users) and own the mount point; /dev/fuse must be open to users (mode 0666)"
}
