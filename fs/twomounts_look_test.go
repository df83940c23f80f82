package fs_test

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// look looks at a name in every way.
func (x *host) look(s step) {
	begin := time.Now()
	a, errno := x.m.stat(s.Path)
	if !x.judge(s, "stat", errno, begin) {
		return
	}
	end := time.Now()
	kind := a.Mode & syscall.S_IFMT
	if all := x.may(s.Path, begin, end); !anyOf(all, func(m state) bool {
		return m.kind == kind && (kind == dir || len(m.body) == int(a.Size)) &&
			(m.loose || kind == dir && a.Mode&0o7777 == 0o755 && a.Uid == 0 || m.perm == a.Mode&0o7777 && m.uid == a.Uid && m.gid == a.Gid)
	}) {
		x.d.w.find("mount %d: stat %s: %o, %d bytes, %d:%d; it may be %v", x.id, s.Path, a.Mode, a.Size, a.Uid, a.Gid, all)
	}
	switch kind {
	case reg:
		x.reads(s)
	case lnk:
		begin = time.Now()
		target, errno := x.m.readlink(s.Path)
		if x.judge(s, "readlink", errno, begin) {
			x.is(s.Path, "leads to", target, begin, func(m state) bool { return m.kind == lnk && m.body == target })
		}
	}
	if kind == lnk || s.N%4 > 0 {
		return
	}
	begin = time.Now()
	v, errno := x.m.getxattr(s.Path, "user.x")
	if errno == 0 {
		v = "+" + v
	}
	if errno == syscall.ENODATA || x.judge(s, "getxattr", errno, begin) {
		x.is(s.Path, "has the attribute", v, begin, func(m state) bool { return m.loose || m.kind != none && m.xattr == v })
	}
}

// is holds what was seen of a name against what it may be.
func (x *host) is(p, what, v string, begin time.Time, is func(state) bool) {
	if all := x.may(p, begin, time.Now()); !anyOf(all, is) {
		x.d.w.find("mount %d: %s %s %q; it may be %v", x.id, p, what, v, all)
	}
}

func (x *host) reads(s step) {
	begin := time.Now()
	f, errno := x.m.open(s.Path, syscall.O_RDONLY)
	if !x.judge(s, "open", errno, begin) {
		return
	}
	time.Sleep(s.Pause)
	body, errno := x.m.read(f)
	x.m.close(f, false)
	if x.judge(s, "read", errno, begin) {
		x.is(s.Path, "reads as", contentName(body), begin, func(m state) bool { return m.kind == reg && m.body == string(body) })
	}
}

// list lists a directory: each name is there if it must be, and is not if it must not.
func (x *host) list(s step) {
	begin := time.Now()
	names, errno := x.m.list(s.Path, s.N%2 == 0)
	if !x.judge(s, fmt.Sprint(names), errno, begin) {
		return
	}
	end := time.Now()
	all := append(universe(), x.d.known()...)
	for name := range names {
		if p := join(s.Path, name); !slices.Contains(all, p) {
			x.d.w.find("mount %d: list %q shows %s, which never was", x.id, s.Path, name)
		}
	}
	for _, p := range all {
		up, name := splitLast(p)
		if up != s.Path {
			continue
		}
		if may := x.may(p, begin, end); !anyOf(may, func(m state) bool { return shownAs(names[name], m.kind) }) && !x.once(p, names[name]) {
			x.d.w.find("mount %d: list %q: %s is of type %o; it may be %v", x.id, s.Path, name, names[name]>>12, may)
		}
	}
}

// once says whether the program made a name so, if not lately: a listing goes on showing it for ten minutes (tree's keepFor).
func (x *host) once(p string, typ uint32) bool {
	o := x.own[p]
	return o != nil && time.Since(o.ack) < 11*time.Minute && anyOf(o.states, func(s state) bool { return shownAs(typ, s.kind) })
}

// shownAs says whether a listing may show a name as of a type. That a file is a symbolic link is in its attributes, which a
// listing does not ask for.
func shownAs(typ, kind uint32) bool { return typ == kind || typ == reg && kind == lnk }

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// flush stores everything, after which what was owed is in the bucket, or was.
func (x *host) flush(p string) {
	begin := time.Now()
	err := x.l.rooms.Server.Flush(context.Background(), p, nil)
	x.d.w.note("mount %d: flush: %v", x.id, err)
	end := time.Now()
	d := x.d
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	for q, o := range x.owes {
		if !within(q, p) {
			continue
		}
		delete(x.owes, q)
		if x.own[q] != o || o.any {
			continue
		}
		all := d.truth.during(q, o.floor, end)
		if !slices.ContainsFunc(all, func(s since) bool { return slices.ContainsFunc(o.states, s.like) }) && !d.keptLocked(q, o) &&
			!x.othersLocked(q, begin.Add(-d.ownFor()), end) {
			d.w.findLocked("mount %d was told that %s is %v; after a flush (%v) it is %v", x.id, q, o.states, err, all)
		}
	}
	if err != nil && !x.othersLocked(p, begin.Add(-d.ownFor()), end) {
		d.w.findLocked("mount %d: flush: %v", x.id, err)
	}
}
