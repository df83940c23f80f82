package fs_test

import (
	"context"
	"strings"
	"syscall"
	"time"
)

// finish is the end: everything is stored, and when all has been seen everybody agrees.
func (d *duo) finish() {
	for _, x := range d.hosts {
		x.m.ends()
		if !d.w.failed() {
			x.flush("")
		}
	}
	if !d.w.failed() {
		time.Sleep(d.ownFor() + d.span() + 11*time.Minute)
		d.mount()
	}
	for _, x := range d.hosts {
		if !d.w.failed() {
			x.agrees("")
			for _, u := range x.l.rooms.Files.Unsaved() {
				if !x.orphaned(u.ID.Key) {
					d.w.find("mount %d: unsaved in the end: %v", x.id, u)
				}
			}
		}
	}
	for _, x := range d.hosts {
		x.m.ends()
		orphans := len(x.l.rooms.Files.Unsaved())
		if err := x.l.close(context.Background()); err != nil && orphans == 0 && !d.w.failed() {
			d.w.find("close mount %d: %v", x.id, err)
		}
		if !d.w.failed() && orphans == 0 {
			x.l.journalIsEmpty(true)
		}
	}
	if !d.w.failed() {
		d.w.noUploads()
	}
}

// orphaned says whether a file cannot be stored since others took away the version under its changes. It stays as it is until
// somebody removes it.
func (x *host) orphaned(p string) bool {
	for _, u := range x.l.rooms.Files.Unsaved() {
		if u.ID.Key == p {
			return u.Err != nil && strings.Contains(u.Err.Error(), "version under local changes is gone") && x.others(p, x.d.w.born, time.Now())
		}
	}
	return false
}

// agrees compares a directory with the bucket.
func (x *host) agrees(p string) {
	names, errno := x.m.list(p, false)
	if errno != 0 {
		x.d.w.find("mount %d in the end: list %q: %v", x.id, p, errno)
		return
	}
	for _, q := range append(x.d.known(), universe()...) {
		up, name := splitLast(q)
		if up != p || x.orphaned(q) {
			continue
		}
		s := x.d.now(q)
		a, errno := x.m.stat(q)
		switch {
		case !shownAs(names[name], s.kind):
			x.d.w.find("mount %d in the end: list %q: %s is of type %o, in the bucket it is %v", x.id, p, name, names[name]>>12, s)
		case s.kind == none:
			if errno != syscall.ENOENT {
				x.d.w.find("mount %d in the end: %s: %v, mode %o, it is not in the bucket", x.id, q, errno, a.Mode)
			}
			continue
		case (x.blind[q] || s.loose) && errno == 0:
		case errno != 0 || a.Mode != s.kind|s.perm || a.Uid != s.uid || a.Gid != s.gid || s.kind != dir && a.Size != uint64(len(s.body)):
			x.d.w.find("mount %d in the end: stat %s: %v, %o, %d bytes, %d:%d; in the bucket it is %v", x.id, q, errno, a.Mode, a.Size, a.Uid, a.Gid, s)
		case s.kind != dir && (a.Mtime != uint64(s.mtime.Unix()) || a.Mtimensec != uint32(s.mtime.Nanosecond())):
			x.d.w.find("mount %d in the end: %s is of %d.%09d; in the bucket %v", x.id, q, a.Mtime, a.Mtimensec, s)
		}
		switch s.kind {
		case dir:
			x.agrees(q)
		case lnk:
			if to, errno := x.m.readlink(q); errno != 0 || to != s.body {
				x.d.w.find("mount %d in the end: %s leads to %q, %v; in the bucket %q", x.id, q, to, errno, s.body)
			}
		case reg:
			f, errno := x.m.open(q, syscall.O_RDONLY)
			var body []byte
			if errno == 0 {
				body, errno = x.m.read(f)
				x.m.close(f, false)
			}
			if errno != 0 || string(body) != s.body {
				x.d.w.find("mount %d in the end: %s reads as %s, %v; in the bucket %v", x.id, q, contentName(body), errno, s)
			}
			if v, errno := x.m.getxattr(q, "user.x"); !s.loose && !x.blind[q] && ((errno == 0) != (s.xattr != "") || errno == 0 && "+"+v != s.xattr) {
				x.d.w.find("mount %d in the end: %s has user.x %q, %v; in the bucket %v", x.id, q, v, errno, s)
			}
		}
	}
}
