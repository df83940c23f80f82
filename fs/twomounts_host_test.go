package fs_test

import (
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
