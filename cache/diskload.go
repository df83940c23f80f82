package cache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names below DIR. All that counts is in one directory that nobody else can write to: DIR may be open to everybody, as a
// container's empty volume is.
const (
	ownDir    = "pailfs.cache"
	lockName  = ownDir + "/lock"
	logName   = ownDir + "/log"
	blocksDir = ownDir + "/blocks" // with files in fanOut directories
	fanOut    = 256
)

// private makes sure that nobody else can have put anything into the directory, or will.
func private(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("cache: look at %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("cache: %s is not a directory of one's own, with mode 0700: %w", dir, os.ErrPermission)
	}
	return nil
}

// lockDir takes the directory for this Disk, as long as the file is open.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	fd, err := openFile(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("cache: lock the disk tier: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w, process %s", ErrDiskInUse, holder(f))
	} else if err == nil {
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cache: lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// holder reads who has the lock.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// load fills the empty index from the directory, removes files that no record names, and begins a new log: it says the
// same without what is gone.
func (d *Disk) load() error {
	records, err := d.readLog()
	if err != nil {
		return err
	}
	d.mu.Lock()
	parts, last := d.replay(records)
	d.mu.Unlock()
	d.nextID = max(d.nextID, last) + 1
	found, err := d.sweep(parts)
	if err != nil {
		return err
	}
	d.mu.Lock()
	for id, p := range parts {
		if !found[id] {
			d.mu.removeLocked(p)
		}
	}
	d.mu.Unlock()
	d.evictTo(d.o.SizeBytes, nil) // which may be less than it was
	return d.rewrite()
}

// sweep walks all files, removes those without a part, and says which there are.
func (d *Disk) sweep(parts map[uint64]*part) (found map[uint64]bool, err error) {
	found = make(map[uint64]bool, len(parts))
	for fan := range fanOut {
		dir := filepath.Join(d.o.Dir, blocksDir, fmt.Sprintf("%02x", fan))
		f, err := os.Open(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cache: look through the disk tier: %w", err)
		}
		names, err := f.Readdirnames(-1)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("cache: look through the disk tier: %w", err)
		}
		for _, name := range names {
			id, err := strconv.ParseUint(name, 16, 64)
			if len(name) != 16 || err != nil || id%fanOut != uint64(fan) {
				continue // not ours
			}
			if found[id] = parts[id] != nil; found[id] {
				continue
			}
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("cache: clear the disk tier: %w", err)
			}
		}
	}
	return found, nil
}

// orphaned reports whether the directory is not the one that was locked any more: somebody removed it.
func (d *Disk) orphaned() bool {
	if d.lock == nil {
		return true
	}
	was, err := d.lock.Stat()
	if err != nil {
		return true
	}
	is, err := os.Lstat(filepath.Join(d.o.Dir, lockName))
	return err != nil || !os.SameFile(was, is)
}

// revive begins anew in a directory that was removed. Nothing that was known is there any more.
func (d *Disk) revive() error {
	d.mu.Lock()
	for _, p := range d.mu.parts.Values() {
		d.mu.removeLocked(p)
	}
	d.mu.records = nil
	d.mu.Unlock()
	if err := d.leave(); err != nil {
		return err
	}
	d.o.Log.Warn("the directory of the disk cache was removed; it begins anew", "dir", d.o.Dir)
	return d.open()
}

// leave closes the log and gives the directory free.
func (d *Disk) leave() error {
	err := d.log.close()
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	d.log, d.lock = nil, nil
	if err != nil {
		return fmt.Errorf("cache: leave the directory of the disk tier: %w", err)
	}
	return nil
}
