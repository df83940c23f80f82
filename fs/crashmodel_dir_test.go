package fs_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Directories of a writer's own, which are made, renamed with all that is in them, and removed. Their accounts have a slash at
// the end of the name.

// ownDirs are the directories of so many writers.
func ownDirs(writers int) (all []string) {
	for id := range writers {
		all = append(all, fmt.Sprintf("g%c0", 'a'+id), fmt.Sprintf("g%c1", 'a'+id))
	}
	return append(all, "")
}

// ownDir is the own directory of a name, with its slash; "" where it is in one of those that stay.
func ownDir(name string) string {
	if dir, _ := splitName(name); name != "" && !slices.Contains(dirs, dir) {
		return dir + "/"
	}
	return ""
}

// has says whether the store has a name so; what it has of attributes is not looked at.
func (w *world) has(name string, v version) bool {
	if kindOf(name) == aDir {
		return v.there == slices.ContainsFunc(w.mem.Keys("b"), func(key string) bool { return strings.HasPrefix(key, name) })
	}
	p, there := w.mem.Bytes("b", name)
	return there == v.there && string(p) == string(v.body)
}

// rested waits until renames that earlier processes had begun are completed.
func (l *life) rested() {
	if len(l.rooms.Renames.Pending()) > 0 {
		l.w.counts("rename completed by the next")
	}
	for n := 0; len(l.rooms.Renames.Pending()) > 0 && !l.isDead(); n++ {
		if n > 3600 {
			l.w.find("renames are not completed: %+v", l.rooms.Renames.Pending())
			return
		}
		time.Sleep(time.Second)
	}
}

// unsure says whether a name is in a directory whose rename has failed in this process.
func (l *life) unsure(name string) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.halfway[ownDir(name)]
}

// ready makes the own directories that an operation needs; false: it is not for this process.
func (x *writer) ready(o op) (bool, error) {
	for _, name := range []string{o.Name, o.To} {
		dir := ownDir(name)
		if dir == "" {
			continue
		}
		if x.l.rested(); x.l.unsure(name) {
			return false, nil
		}
		if kindOf(name) == aDir {
			continue
		}
		v, err := x.sure(dir)
		if err == nil {
			err = x.mkdir(dir, v)
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

func (x *writer) mkdir(dir string, v version) error {
	if v.there {
		return nil
	}
	now := version{there: true, kind: aDir}
	x.begins(dir, now)
	if errno := x.k.mkdir(dir); errno != 0 {
		return failed("mkdir", errno)
	}
	x.acknowledged(dir, now)
	x.isThere(dir, now)
	return nil
}

// inside are the names in an own directory that are there.
func (x *writer) inside(dir string) (all []string, err error) {
	for _, name := range x.w.names() {
		if !strings.HasPrefix(name, dir) || name == dir {
			continue
		}
		v, err := x.sure(name)
		if err != nil {
			return nil, err
		}
		if v.there {
			all = append(all, name)
		}
	}
	return all, nil
}

func (x *writer) rmdir(dir string, v version) error {
	if all, err := x.inside(dir); err != nil || len(all) > 0 || !v.there {
		return err
	}
	x.begins(dir, version{})
	if errno := x.k.rmdir(dir); errno != 0 {
		return failed("rmdir", errno)
	}
	x.acknowledged(dir, version{})
	x.isThere(dir, version{})
	return nil
}

// moveDir renames a directory with all that is in it, to a name that is free or an empty directory's.
func (x *writer) moveDir(o op, v version) error {
	if !v.there {
		return nil
	}
	if there, err := x.inside(o.To); err != nil || len(there) > 0 {
		return err
	}
	names, err := x.inside(o.Name)
	if err != nil {
		return err
	}
	if _, err := x.sure(o.To); err != nil {
		return err
	}
	was := x.moving(o, append(names, o.Name))
	x.moves(1)
	errno := x.k.renameDir(o.Name, o.To)
	if x.moves(-1); errno != 0 {
		x.w.mu.Lock()
		x.l.halfway = map[string]bool{o.Name: true, o.To: true}
		x.w.mu.Unlock()
		return failed("rename of a directory", errno)
	}
	for name, v := range was {
		to := o.To + strings.TrimPrefix(name, o.Name)
		x.w.mu.Lock()
		if !x.l.dead {
			x.w.forgetMovesLocked(name, to)
		}
		x.w.mu.Unlock()
		x.acknowledged(name, version{})
		x.acknowledged(to, v)
		x.isThere(name, version{})
		x.isThere(to, v)
	}
	return nil
}

func (x *writer) moves(n int) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.l.movers += n
}

// moving says of names that they may be under either directory from now on.
func (x *writer) moving(o op, names []string) map[string]version {
	w := x.w
	w.mu.Lock()
	defer w.mu.Unlock()
	was := make(map[string]version)
	for _, name := range names {
		to := o.To + strings.TrimPrefix(name, o.Name)
		v := w.accountLocked(name).possible[0]
		if was[name] = v; x.l.dead {
			continue
		}
		w.forgetMovesLocked(name, to)
		a, b := w.accountLocked(name), w.accountLocked(to)
		a.begin(version{})
		a.remove()
		b.begin(v)
		if v.kind != aDir {
			w.mu.moves = append(w.mu.moves, moving{name, to, v})
		}
	}
	return was
}

func (k *kernel) mkdir(dir string) syscall.Errno {
	defer k.lock("")()
	if _, errno := k.lookup(dir); errno != syscall.ENOENT {
		return errno
	}
	return syscall.Errno(k.l.raw.Mkdir(nil, &fuse.MkdirIn{InHeader: header(1), Mode: 0o755}, strings.TrimSuffix(dir, "/"), &fuse.EntryOut{}))
}

func (k *kernel) rmdir(dir string) syscall.Errno {
	defer k.lock("")()
	if _, errno := k.lookup(dir); errno != 0 {
		return errno
	}
	h := header(1)
	return syscall.Errno(k.l.raw.Rmdir(nil, &h, strings.TrimSuffix(dir, "/")))
}

func (k *kernel) renameDir(from, to string) syscall.Errno {
	defer k.lock("")()
	if _, errno := k.lookup(from); errno != 0 {
		return errno
	}
	if _, errno := k.lookup(to); errno != 0 && errno != syscall.ENOENT {
		return errno
	}
	return syscall.Errno(k.l.raw.Rename(nil, &fuse.RenameIn{InHeader: header(1), Newdir: 1}, strings.TrimSuffix(from, "/"), strings.TrimSuffix(to, "/")))
}
