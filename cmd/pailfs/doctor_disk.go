package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// directory is one that a mount makes or uses.
type directory struct {
	check, path, option string // option that names another
	room                int64  // bytes it should have free, 0 for any
	state               bool   // what is in it must not get lost
	private             bool   // others may not even look into it
}

func (d *doctor) checkDirectories() {
	dirs := []directory{{check: "state directory", path: d.s.StateDir, option: "--state-dir", room: 1 << 30, state: true, private: true},
		{check: "cache directory", path: d.s.CacheDir, option: "--cache-dir", room: 1 << 30, private: true},
		{check: "runtime files", path: runDir(), option: "PAILFS_RUN_DIR"}}
	if dirs[1].path == "" {
		path, err := defaultCacheDir()
		if err != nil {
			d.warn(areaHost, dirs[1].check, "give --cache-dir where a disk cache is wanted", "no default place: %v", err)
			dirs = append(dirs[:1], dirs[2:]...)
		} else {
			dirs[1].path = path
		}
	}
	for _, dir := range dirs {
		d.checkDirectory(dir)
	}
}

// checkDirectory looks at a directory, or at where it would be made. Nothing is made.
func (d *doctor) checkDirectory(dir directory) {
	at, info, err := existing(dir.path)
	other := "make it one of this user's, or name another directory: " + dir.option
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", at)
	}
	if err == nil {
		err = unix.Faccessat(unix.AT_FDCWD, at, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	}
	var st unix.Statfs_t
	if err == nil {
		err = unix.Statfs(at, &st)
	}
	switch {
	case errors.Is(err, unix.EROFS):
		d.fail(areaHost, dir.check, other, "%s: the file system is read-only", shown(dir.path))
		return
	case errors.Is(err, fs.ErrPermission):
		d.fail(areaHost, dir.check, other, "%s: user %d may not write to %s", shown(dir.path), d.uid, shown(at))
		return
	case err != nil:
		d.fail(areaHost, dir.check, other, "%s: %v", shown(dir.path), err)
		return
	}
	free := int64(st.Bavail) * st.Bsize
	if free == 0 {
		d.fail(areaHost, dir.check, "make room, or name another directory: "+dir.option, "%s: %s is full", shown(dir.path), fileSystem(at, &st))
		return
	}
	says := fmt.Sprintf("%s: %s, %s free", shown(dir.path), fileSystem(at, &st), formatSize(free))
	if at != dir.path {
		says += "; it will be made"
	}
	if warning := dir.wrong(at, info, &st, free); warning[0] != "" {
		d.warn(areaHost, dir.check, warning[1], "%s; %s", says, warning[0])
		return
	}
	d.found(areaHost, dir.check, "%s", says)
}

// wrong is what a directory that can be used should not be like, and what to do.
func (dir directory) wrong(at string, info fs.FileInfo, st *unix.Statfs_t, free int64) (warning [2]string) {
	mode := info.Mode().Perm()
	switch {
	case at == dir.path && dir.private && mode&0o077 != 0:
		return [2]string{fmt.Sprintf("other users may look into it (mode %04o)", mode), "chmod 700 " + at}
	case free < dir.room:
		return [2]string{"that is little: files lie there while they are written or read", "make room, or name another directory: " + dir.option}
	case st.Files > 0 && st.Ffree < 1000:
		return [2]string{fmt.Sprintf("%d inodes are left", st.Ffree), "make room, or name another directory: " + dir.option}
	case !dir.state:
		return warning
	}
	const elsewhere = "name a directory on a disk that stays: --state-dir"
	switch st.Type {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return [2]string{"it is gone with the next boot, and what the store does not have yet with it", elsewhere}
	case unix.OVERLAYFS_SUPER_MAGIC:
		return [2]string{"it is gone with the container, and what the store does not have yet with it", "mount a volume there, or " + elsewhere}
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC:
		return [2]string{"locks and syncs there are only as good as that file system's", "name a directory on a local disk: --state-dir"}
	}
	return warning
}

// existing is the path, or the nearest directory above it that is there.
func existing(path string) (string, fs.FileInfo, error) {
	for {
		info, err := os.Stat(path)
		if !errors.Is(err, fs.ErrNotExist) || path == "/" {
			return path, info, err
		}
		path = filepath.Dir(path)
	}
}

// fileSystem names the kind of file system of a path: as the mount table does, or by its number.
func fileSystem(path string, st *unix.Statfs_t) string {
	table, err := readMounts()
	real, linkErr := filepath.EvalSymlinks(path)
	if err == nil && linkErr == nil {
		for p := real; ; p = filepath.Dir(p) {
			if m := table.at(p); m != nil {
				return shown(m.FSType)
			}
			if p == "/" {
				break
			}
		}
	}
	return fmt.Sprintf("file system %#x", st.Type)
}

// checkMounts asks the mounts of this user, for root of all.
func (d *doctor) checkMounts(ctx context.Context) {
	const check = "mounts"
	views := knownMounts(runDirs())
	reports := reportsOf(ctx, views)
	for _, v := range views {
		v.Close()
	}
	if len(reports) == 0 {
		d.found(areaHost, check, "none of pailfs")
	}
	for _, r := range reports {
		says := shown(r.Mountpoint) + ": " + stateText(r)
		var failed int
		if r.Pending != nil {
			failed = r.Pending.Failed
		} else if r.Unsaved != nil {
			failed = r.Unsaved.Failed
		}
		switch {
		case r.State == stateKilled, r.State == stateEnded:
			d.warn(areaHost, check, "mount it again: what the store does not have yet is stored then; `pailfs umount "+shown(r.Mountpoint)+"` cleans up and lists it", "%s", says)
		case r.State == stateUnanswered:
			d.warn(areaHost, check, "look into its log; `pailfs umount --force "+shown(r.Mountpoint)+"` ends it, and the next mount stores what is left", "%s", says)
		case failed > 0:
			d.warn(areaHost, check, "`pailfs status "+shown(r.Mountpoint)+"` says which and why", "%s; %s could not be stored", says, strings.TrimSpace(files(failed)))
		case r.Store != nil && r.Store.Away:
			d.warn(areaHost, check, "see below whether the store can be reached from here", "%s; its store does not answer", says)
		default:
			d.found(areaHost, check, "%s", says)
		}
	}
}
