package fs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// host is one machine with a mount and the program on it, and what that program was told.
type host struct {
	d  *duo
	id int
	l  *life
	m  *machine
	// own is what it was told of its own changes, by name. Only its own program looks at it.
	own map[string]*owned
	// owes is what it was told in journal durability and has not been flushed since.
	owes map[string]*owned
	// blind are names to which it moved what others had just changed: it may have copied attributes that it had not seen.
	blind map[string]bool
}

// owned is what a program was told of a name that it changed.
type owned struct {
	states     []state // any of them
	any        bool    // the call failed: nobody knows
	floor, ack time.Time
}

// span is how late a host may see what others did: two lifetimes, the kernel's over the mount's, a late listing, and requests.
func (d *duo) span() time.Duration {
	return d.h.TTL + min(d.h.TTL, kernelTTL) + max(d.h.Lag, d.h.DeletionLag) + 3*time.Second
}

// ownFor is how long a host's own change may outweigh what the store says: listings may lag (tree's settle), and in journal
// durability it has to get there.
func (d *duo) ownFor() time.Duration {
	t := d.span() + 30*time.Second
	if d.h.Behind {
		t += d.h.MaxLag + time.Minute
	}
	return t
}

// mine is what the program was told of a name, if that still counts.
func (x *host) mine(p string, at time.Time) *owned {
	if o := x.own[p]; o != nil && at.Before(o.ack.Add(x.d.ownFor())) {
		return o
	}
	return nil
}

// may is what a name can be to the program during a call: its own last change, what others made of it later, and where it
// changed nothing, all that the name was within the span. nil: anything.
func (x *host) may(p string, begin, end time.Time) (all []state) {
	x.d.w.mu.Lock()
	defer x.d.w.mu.Unlock()
	return x.mayLocked(p, begin, end)
}

func (x *host) mayLocked(p string, begin, end time.Time) (all []state) {
	if p == "" {
		return []state{{kind: syscall.S_IFDIR, loose: true}}
	}
	own := x.mine(p, begin)
	if own != nil && own.any || x.d.wasHiddenLocked(p, begin) {
		return nil
	}
	for _, s := range x.d.truth.during(p, begin.Add(-x.d.span()), end) {
		if own == nil || !s.from.Before(own.floor) {
			all = append(all, s.state)
		}
	}
	if own != nil {
		all = append(all, own.states...)
	}
	if slices.ContainsFunc(x.belowLocked(p, begin, end), func(s state) bool { return s.kind != 0 }) {
		all = append(all, state{kind: syscall.S_IFDIR, loose: true})
	}
	return all
}

// wasHiddenLocked says whether a name, or one above it, was both an object and a directory lately: by and by everybody sees the
// directory.
func (d *duo) wasHiddenLocked(p string, at time.Time) bool {
	for h, last := range d.truth.hidden {
		if within(p, h) && at.Before(last.Add(d.ownFor())) {
			return true
		}
	}
	return false
}

// belowLocked is what names below a directory may be.
func (x *host) belowLocked(dir string, begin, end time.Time) (all []state) {
	for p := range x.own {
		if o := x.mine(p, begin); o != nil && strings.HasPrefix(p, dir+"/") {
			all = append(all, o.states...)
			if o.any {
				all = append(all, state{kind: syscall.S_IFREG})
			}
		}
	}
	for p := range x.d.truth.names {
		if !strings.HasPrefix(p, dir+"/") {
			continue
		}
		own := x.mine(p, begin)
		for _, s := range x.d.truth.during(p, begin.Add(-x.d.span()), end) {
			if own == nil || !s.from.Before(own.floor) {
				all = append(all, s.state)
			}
		}
	}
	return all
}

// others says whether anybody else has changed a name, what is above it or below it, so that this host may not know.
func (x *host) others(p string, since, end time.Time) bool {
	x.d.w.mu.Lock()
	defer x.d.w.mu.Unlock()
	return x.othersLocked(p, since, end)
}

func (x *host) othersLocked(p string, since, end time.Time) bool {
	for q, all := range x.d.truth.names {
		if !within(q, p) && !within(p, q) {
			continue
		}
		for _, s := range all {
			if s.by != x.id && !s.from.Before(since) && !s.from.After(end) {
				return true
			}
		}
	}
	return false
}

// unsure says whether the program cannot know what a name is: a call of its own failed, or others have been there.
func (x *host) unsure(p string, begin, end time.Time) bool {
	for q := range x.own {
		if o := x.mine(q, begin); o != nil && o.any && (within(q, p) || within(p, q)) {
			return true
		}
	}
	return x.others(p, begin.Add(-x.d.ownFor()), end)
}

func anyOf(all []state, is func(state) bool) bool { return all == nil || slices.ContainsFunc(all, is) }

// since is what others have made of a name while the mount may have trusted what it did itself: a request tells.
func (x *host) since(p string, begin, end time.Time) (all []state) {
	x.d.w.mu.Lock()
	defer x.d.w.mu.Unlock()
	for _, s := range x.d.truth.during(p, begin.Add(-x.d.ownFor()), end) {
		if s.by != x.id && s.from.After(begin.Add(-x.d.ownFor())) {
			all = append(all, s.state)
		}
	}
	return all
}

func isKind(kinds ...uint32) func(state) bool {
	return func(s state) bool { return slices.Contains(kinds, s.kind) }
}

const (
	none = uint32(0)
	dir  = uint32(syscall.S_IFDIR)
	reg  = uint32(syscall.S_IFREG)
	lnk  = uint32(syscall.S_IFLNK)
)

// excused says whether an error can be explained by what names may be.
func (x *host) excused(errno syscall.Errno, s step, begin, end time.Time) bool {
	is := func(p string, kinds ...uint32) bool {
		return anyOf(x.may(p, begin, end), isKind(kinds...)) || slices.ContainsFunc(x.since(p, begin, end), isKind(kinds...))
	}
	above := func(p string, kinds ...uint32) bool {
		for up, _ := splitLast(p); up != ""; up, _ = splitLast(up) {
			if is(up, kinds...) {
				return true
			}
		}
		return false
	}
	full := func(p string) bool {
		x.d.w.mu.Lock()
		defer x.d.w.mu.Unlock()
		return slices.ContainsFunc(x.belowLocked(p, begin, end), func(s state) bool { return s.kind != 0 })
	}
	makes := slices.Contains([]string{"save", "mkdir", "symlink"}, s.Kind)
	switch errno {
	case syscall.ENOENT:
		return above(s.Path, none) || !makes && is(s.Path, none) || s.To != "" && above(s.To, none)
	case syscall.ENOTDIR:
		return above(s.Path, reg, lnk) || s.To != "" && (above(s.To, reg, lnk) || is(s.Path, dir) && is(s.To, reg, lnk)) ||
			(s.Kind == "rmdir" || s.Kind == "list") && is(s.Path, reg, lnk)
	case syscall.EISDIR:
		return s.To == "" && is(s.Path, dir) || s.To != "" && is(s.To, dir)
	case syscall.EEXIST:
		return (makes) && is(s.Path, dir, reg, lnk)
	case syscall.ELOOP:
		return is(s.Path, lnk)
	case syscall.EPERM:
		return s.Kind == "setxattr" && is(s.Path, lnk)
	case syscall.EINVAL:
		return s.To != "" && within(s.To, s.Path) || s.Kind == "look" && is(s.Path, reg, dir)
	case syscall.ENOTEMPTY:
		return s.Kind == "rmdir" && full(s.Path) || s.To != "" && full(s.To)
	case syscall.EIO: // a copy that somebody else has overwritten before it was verified
		if s.Kind == "append" || s.Kind == "edit" { // its base is gone, and the upload takes that for its own loss
			return x.unsure(s.Path, begin, end)
		}
		return x.others(s.Path, begin, end) || s.To != "" && x.others(s.To, begin, end)
	case syscall.ESTALE:
		return x.unsure(s.Path, begin, end) || s.To != "" && x.unsure(s.To, begin, end)
	}
	return false
}

// did notes that a name was changed: want is what it makes of what the name may have been.
func (x *host) did(p string, begin time.Time, kinds []uint32, want func(state) state) {
	end := time.Now()
	d := x.d
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	bases := x.mayLocked(p, begin, end)
	if bases == nil { // whatever it was
		x.own[p] = &owned{any: true, floor: begin, ack: end}
		return
	}
	var wanted []state
	for _, b := range bases {
		if slices.Contains(kinds, b.kind) {
			wanted = append(wanted, want(b))
		}
	}
	if len(wanted) == 0 {
		d.w.findLocked("mount %d changed %s, which is %v", x.id, p, bases)
		return
	}
	o := &owned{states: wanted, floor: begin, ack: end}
	x.own[p] = o
	if d.h.Behind {
		x.owes[p] = o
		// What others did just before, unseen, may win: a change of attributes of what is no more is given up.
		o.any = x.othersLocked(p, begin.Add(-d.span()), end)
		return
	}
	good := func(s since) bool { return slices.ContainsFunc(wanted, s.like) }
	all := d.truth.during(p, begin, end)
	if now := all[len(all)-1]; good(now) {
		o.states = []state{now.state}
		if now.from.Before(begin) {
			o.floor = now.from
		}
		return
	}
	if body, ok := d.w.mem.Bytes("b", p); ok && all[len(all)-1].kind == dir && slices.ContainsFunc(wanted, func(s state) bool { return s.body == string(body) }) {
		o.any = true // the object is there, and others have made a directory of its name
		return
	}
	if !slices.ContainsFunc(all, good) && !(wanted[0].kind == none && x.othersLocked(p, begin.Add(-d.ownFor()), end)) {
		d.w.findLocked("mount %d was told that %s is %v; it is %v", x.id, p, wanted, all)
	}
}

// fails notes that a change failed.
func (x *host) fails(p string, begin time.Time) {
	x.own[p] = &owned{any: true, floor: begin, ack: time.Now()}
}

// judge looks at what came of a call; true: it did what it should.
func (x *host) judge(s step, what string, errno syscall.Errno, begin time.Time) bool {
	x.d.w.note("mount %d: %v %s: %v", x.id, s, what, errno)
	if errno == 0 {
		return true
	}
	if !x.excused(errno, s, begin, time.Now()) {
		end := time.Now()
		x.d.w.find("mount %d: %v: %s: %v; %s may be %v, %q may be %v", x.id, s, what, errno, s.Path, x.may(s.Path, begin, end), s.To, x.may(s.To, begin, end))
	}
	return false
}

func (x *host) run(s step) {
	x.m.ends()
	begin := time.Now()
	switch s.Kind {
	case "save", "append", "edit":
		x.write(s)
	case "cut":
		errno := x.m.setattr(s.Path, func(in *fuse.SetAttrIn) { in.Valid, in.Size = fuse.FATTR_SIZE, uint64(s.N) })
		x.changed(s, errno, begin, []uint32{reg}, func(b state) state { b.body = resized(b.body, s.N); b.loose = true; return b })
	case "chmod":
		errno := x.m.setattr(s.Path, func(in *fuse.SetAttrIn) { in.Valid, in.Mode = fuse.FATTR_MODE, uint32(s.N) })
		x.changed(s, errno, begin, []uint32{reg, dir}, func(b state) state { b.perm = uint32(s.N); return b })
	case "chown":
		errno := x.m.setattr(s.Path, func(in *fuse.SetAttrIn) {
			in.Valid, in.Uid, in.Gid = fuse.FATTR_UID|fuse.FATTR_GID, uint32(s.N), uint32(s.N+1)
		})
		x.changed(s, errno, begin, []uint32{reg, dir, lnk}, func(b state) state { b.uid, b.gid = uint32(s.N), uint32(s.N+1); return b })
	case "utimens":
		errno := x.m.setattr(s.Path, func(in *fuse.SetAttrIn) {
			in.Valid, in.Mtime, in.Mtimensec = fuse.FATTR_MTIME, uint64(s.N), uint32(s.N)
		})
		x.changed(s, errno, begin, []uint32{reg, dir, lnk}, func(b state) state { return b })
	case "setxattr":
		errno := x.m.setxattr(s.Path, "user.x", fmt.Sprint(s.N))
		x.changed(s, errno, begin, []uint32{reg, dir}, func(b state) state { b.xattr = "+" + fmt.Sprint(s.N); return b })
	case "mkdir":
		errno := x.m.mkdir(s.Path)
		x.changed(s, errno, begin, []uint32{none}, func(state) state { return state{kind: dir, perm: 0o755, uid: 1, gid: 1} })
	case "symlink":
		target := fmt.Sprintf("to-%d-%d", x.id, s.N)
		errno := x.m.symlink(s.Path, target)
		x.changed(s, errno, begin, []uint32{none}, func(state) state { return state{kind: lnk, perm: 0o777, body: target, uid: 1, gid: 1} })
	case "unlink":
		x.changed(s, x.m.removes(s.Path, false), begin, []uint32{reg, lnk}, func(state) state { return state{} })
	case "rmdir":
		x.changed(s, x.m.removes(s.Path, true), begin, []uint32{dir}, func(state) state { return state{} })
	case "rename":
		x.rename(s)
	case "look":
		x.look(s)
	case "list":
		x.list(s)
	case "forget":
		x.m.pressure()
	case "flush":
		x.flush(s.Path)
	default:
		panic(s.Kind)
	}
	if len(x.m.release) > 3 || s.N%2 == 0 {
		x.m.ends()
	}
}

// changed judges a call that changes one name.
func (x *host) changed(s step, errno syscall.Errno, begin time.Time, kinds []uint32, want func(state) state) {
	if x.judge(s, "", errno, begin) {
		x.did(s.Path, begin, kinds, want)
	} else if errno == syscall.ESTALE {
		x.fails(s.Path, begin)
	}
}

func resized(s string, n int) string {
	if n <= len(s) {
		return s[:n]
	}
	return s + strings.Repeat("\x00", n-len(s))
}

func written(s string, off int, p []byte) string {
	b := []byte(resized(s, max(len(s), off+len(p))))
	copy(b[off:], p)
	return string(b)
}

// write writes a file anew, or into one that is there.
func (x *host) write(s step) {
	begin := time.Now()
	flags := uint32(syscall.O_RDWR)
	if s.Kind == "save" {
		flags = syscall.O_WRONLY | syscall.O_CREAT | syscall.O_TRUNC
	}
	f, errno := x.m.open(s.Path, flags)
	if !x.judge(s, "open", errno, begin) {
		return
	}
	size := int(x.m.inodes[f.node].attr.Size)
	at := 0
	switch s.Kind {
	case "append":
		at = size
	case "edit":
		at = size * (s.N % 100) / 100
	}
	type piece struct {
		at int
		p  []byte
	}
	var pieces []piece
	for _, n := range s.Sizes {
		p := x.d.w.body(n)
		if errno = x.m.write(f, at, p); !x.judge(s, fmt.Sprintf("write at %d", at), errno, begin) {
			x.m.close(f, true)
			x.fails(s.Path, begin)
			return
		}
		pieces = append(pieces, piece{at, p})
		at += n
		time.Sleep(s.Pause)
	}
	if !x.judge(s, "close", x.m.close(f, true), begin) {
		x.fails(s.Path, begin)
		return
	}
	kinds := []uint32{reg}
	if s.Kind == "save" {
		kinds = append(kinds, none)
	}
	if len(pieces) == 0 && s.Kind != "save" {
		return
	}
	x.did(s.Path, begin, kinds, func(b state) state {
		if b.kind == none {
			b = state{kind: reg, perm: 0o644, uid: 1, gid: 1}
		}
		b.loose = b.loose || x.d.h.Behind
		if s.Kind == "save" {
			b.body = ""
		}
		for _, p := range pieces {
			b.body = written(b.body, p.at, p.p)
		}
		return b
	})
}

// rename renames a file, or a directory with all that is below it.
func (x *host) rename(s step) {
	begin := time.Now()
	before := map[string][]state{s.Path: nil}
	x.d.w.mu.Lock()
	for p := range x.d.truth.names {
		if within(p, s.Path) {
			before[p] = nil
		}
	}
	for p := range x.own {
		if within(p, s.Path) {
			before[p] = nil
		}
	}
	for p := range before {
		before[p] = x.mayLocked(p, begin, begin)
	}
	x.d.w.mu.Unlock()
	errno := x.m.rename(s.Path, s.To)
	ok := x.judge(s, "", errno, begin)
	if s.Path == s.To {
		return
	}
	end := time.Now()
	for _, p := range x.d.known() { // what came meanwhile went along, or not
		if _, ok := before[p]; !ok && within(p, s.Path) {
			before[p] = nil
		}
	}
	for p, was := range before {
		to := s.To + p[len(s.Path):]
		switch {
		case !ok && errno == syscall.ESTALE:
			x.fails(p, begin)
			x.fails(to, begin)
		case !ok:
		case x.unsure(p, begin, end) || x.unsure(to, begin, end) || len(was) == 0:
			x.fails(p, begin)
			x.fails(to, begin)
			x.blind[to] = true
		case was[0].kind != none || p == s.Path:
			x.moved(p, to, was, begin)
		}
	}
}

// moved notes what a rename has done to a name that nobody else has touched.
func (x *host) moved(p, to string, was []state, begin time.Time) {
	was = slices.DeleteFunc(slices.Clone(was), func(s state) bool { return s.kind == none })
	if len(was) == 0 {
		x.d.w.find("mount %d renamed %s, which is not there", x.id, p)
		return
	}
	if was[0].kind == dir {
		was = []state{{kind: dir, loose: true}}
	}
	x.did(to, begin, []uint32{none, reg, lnk, dir}, func(state) state { return was[0] })
	x.own[to].states = append(x.own[to].states, was[1:]...)
	x.did(p, begin, []uint32{none, reg, lnk, dir}, func(state) state { return state{} })
}

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
	err := x.l.server.Flush(context.Background(), p, nil)
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
