package fs_test

import (
	"bytes"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/content"
)

// save writes a file from its beginning.
func (x *writer) save(o op, name string, was version) error {
	f, created, errno := x.k.open(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	if errno != 0 {
		return failed("open to write", errno)
	}
	if created == was.there && !x.l.isDead() {
		x.w.find("open of %s: made %v; it was %v", name, created, was)
	}
	v := newFile()
	if was.there {
		v.mode, v.uid = was.mode, was.uid
	}
	return x.write(o, f, name, v, 0)
}

// write writes pieces one after the other and closes.
func (x *writer) write(o op, f open, name string, v version, at int) error {
	for i, n := range o.Sizes {
		p := x.w.body(n)
		errno := x.k.write(f, at, p)
		if errno != 0 {
			x.begins(name, v) // the close stores what there is
		}
		body := slices.Clone(v.body)
		if need := at + n - len(body); need > 0 {
			body = append(body, make([]byte, need)...)
		}
		copy(body[at:], p)
		v.body = body
		at += n
		if errno != 0 {
			x.begins(name, v)
			x.k.close(f)
			return failed("write", errno)
		}
		if i < len(o.Sizes)-1 && o.Pause > 0 {
			time.Sleep(o.Pause)
		}
		if x.l.isDead() {
			return nil
		}
		if o.Sync>>i&1 == 1 {
			x.begins(name, v)
			if errno := x.k.fsync(f); errno != 0 {
				x.k.close(f)
				return failed("fsync", errno)
			}
			x.acknowledged(name, v)
			x.isStored(name, v)
		}
	}
	x.begins(name, v)
	if errno := x.k.close(f); errno != 0 {
		return failed("close", errno)
	}
	x.acknowledged(name, v)
	x.isThere(name, v)
	return nil
}

// change writes into a file that is there.
func (x *writer) change(o op, v version) error {
	f, _, errno := x.k.open(o.Name, syscall.O_RDWR)
	if errno != 0 {
		return failed("open to change", errno)
	}
	at := len(v.body) * o.At / 100
	v.mtime = 0
	switch o.Kind {
	case "append":
		at = len(v.body)
	case "cut":
		if errno := x.k.setattr(f.node, &f.fh, func(in *fuse.SetAttrIn) { in.Valid, in.Size = fuse.FATTR_SIZE, uint64(at) }); errno != 0 {
			x.k.close(f)
			return failed("truncate", errno)
		}
		v.body = bytes.Clone(v.body[:at])
	}
	return x.write(o, f, o.Name, v, at)
}

// attr changes attributes. A file's times can be told only until its bytes are changed.
func (x *writer) attr(o op, v version) error {
	e, errno := x.k.lookup(o.Name)
	if errno != 0 {
		return failed("lookup to "+o.Kind, errno)
	}
	set := func(in *fuse.SetAttrIn) { in.Valid, in.Mode = fuse.FATTR_MODE, o.Mode }
	switch o.Kind {
	case "chmod":
		v.mode = o.Mode
	case "chown":
		v.uid = o.Mode
		set = func(in *fuse.SetAttrIn) { in.Valid, in.Uid = fuse.FATTR_UID, o.Mode }
	case "utimens":
		v.mtime = int64(o.Mode)
		set = func(in *fuse.SetAttrIn) { in.Valid, in.Mtime = fuse.FATTR_MTIME, uint64(o.Mode) }
	}
	x.begins(o.Name, v)
	if errno := x.k.setattr(e.NodeId, nil, set); errno != 0 {
		return failed(o.Kind, errno)
	}
	x.acknowledged(o.Name, v)
	if !x.isUnsaved(o.Name) { // else the attributes travel with its bytes
		x.isThere(o.Name, v)
	}
	return nil
}

// isUnsaved says whether a file has bytes that the store has not: of an earlier run, or after a store that failed.
func (x *writer) isUnsaved(name string) bool {
	return slices.ContainsFunc(x.l.rooms.Files.Unsaved(), func(u content.Unsaved) bool { return u.ID.Key == name })
}

func (x *writer) unlink(name string) error {
	x.w.mu.Lock()
	if !x.l.dead {
		x.w.forgetMovesLocked(name)
		a := x.w.accountLocked(name)
		a.begin(version{})
		a.remove()
	}
	x.w.mu.Unlock()
	if errno := x.k.unlink(name); errno != 0 {
		return failed("unlink", errno)
	}
	x.acknowledged(name, version{})
	x.isThere(name, version{})
	return nil
}

func (x *writer) rename(from, to string, v version) error {
	if _, err := x.sure(to); err != nil {
		return err
	}
	w := x.w
	w.mu.Lock()
	if !x.l.dead {
		w.forgetMovesLocked(from, to)
		a, b := w.accountLocked(from), w.accountLocked(to)
		a.begin(version{})
		a.remove()
		b.begin(v)
		w.mu.moves = append(w.mu.moves, moving{from, to, v})
	}
	w.mu.Unlock()
	if errno := x.k.rename(from, to); errno != 0 {
		return failed("rename", errno)
	}
	w.mu.Lock()
	if !x.l.dead {
		w.forgetMovesLocked(from, to)
	}
	w.mu.Unlock()
	x.acknowledged(from, version{})
	x.acknowledged(to, v)
	x.isThere(from, version{})
	x.isThere(to, v)
	return nil
}

// isThere looks whether the store has what is acknowledged, where that is promised.
func (x *writer) isThere(name string, v version) {
	if !x.l.behind {
		x.isStored(name, v)
	}
}

func (x *writer) isStored(name string, v version) {
	w := x.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !x.l.dead && !w.has(name, v) {
		p, there := w.mem.Bytes("b", name)
		w.findLocked("%s is said to be stored as %v; the store has %v, %s", name, v, there, contentName(p))
	}
}
