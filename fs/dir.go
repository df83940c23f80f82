package fs

import (
	"context"
	"errors"
	"iter"
	"path"
	"sync"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/opid"
	"pailfs/fs/tree"
)

var (
	_ gofuse.FileReaddirenter = (*dirHandle)(nil)
	_ gofuse.FileSeekdirer    = (*dirHandle)(nil)
	_ gofuse.FileLookuper     = (*dirHandle)(nil)
	_ gofuse.FileReleasedirer = (*dirHandle)(nil)
	_ gofuse.FileFsyncdirer   = (*dirHandle)(nil)
)

// dirHandle is an open directory: a listing in name order that is read as far as the kernel asks. A seek goes on behind
// the same name, whatever came or went in the directory meanwhile: no name that stays is skipped (places).
type dirHandle struct {
	node *node

	mu struct {
		sync.Mutex
		ctx    context.Context // of the running listing
		cancel context.CancelFunc
		next   func() (tree.Entry, error, bool)
		stop   func()
		places places
		begin  spot       // of the listing, when it has to begin
		at     int        // entries handed out, "." and ".." too
		entry  tree.Entry // the last one handed out, for Lookup
	}
}

// OpendirHandle opens a directory; the store is asked at the first read.
func (n *node) OpendirHandle(context.Context, uint32) (gofuse.FileHandle, uint32, syscall.Errno) {
	d := &dirHandle{node: n}
	d.mu.places, d.mu.begin = newPlaces(), spot{exact: true}
	return d, 0, 0
}

// Readdirent gives the next entry, nil at the end.
func (d *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.mu.at {
	case 0:
		d.mu.at++
		return &fuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: d.node.StableAttr().Ino, Off: 1}, 0
	case 1:
		d.mu.at++
		return &fuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: d.parentIno(), Off: 2}, 0
	}
	e, ok, errno := d.nextLocked(ctx)
	if errno != 0 || !ok {
		return nil, errno
	}
	name := path.Base(e.Path)
	d.mu.entry = e
	d.mu.at++
	off := d.mu.places.offset(d.mu.at-firstName, name)
	d.mu.begin = spot{after: name, exact: true}
	return &fuse.DirEntry{Name: name, Mode: e.Mode & syscall.S_IFMT, Ino: d.inoOf(name), Off: off}, 0
}

func (d *dirHandle) parentIno() uint64 {
	if _, parent := d.node.Parent(); parent != nil {
		return parent.StableAttr().Ino
	}
	return d.node.StableAttr().Ino
}

// sortedByNumber: fts(3), and so find, du and rm -r, goes through directories of more names in the order of their numbers,
// if they have any. Ours are in no order, while what is asked for ahead comes in the listing's: eight times slower.
const sortedByNumber = 10_000

// inoOf is the number that stat will say, or 0 for "unknown".
func (d *dirHandle) inoOf(name string) uint64 {
	if c := d.node.GetChild(name); c != nil {
		return c.StableAttr().Ino
	}
	if dir, ok := d.node.path(); !ok || !d.node.face.tree.Few(dir, sortedByNumber) {
		return 0
	}
	return d.node.face.inodes.of(d.node.StableAttr().Ino, name)
}

// nextLocked advances the listing, beginning it where needed.
func (d *dirHandle) nextLocked(ctx context.Context) (e tree.Entry, ok bool, errno syscall.Errno) {
	own, done := d.node.face.request(ctx, d.node.face.timeout)
	defer done()
	if d.mu.next == nil {
		if errno := d.beginLocked(own); errno != 0 {
			return e, false, errno
		}
	}
	unhook := context.AfterFunc(own, d.mu.cancel) // an interrupt ends the listing; the next call begins it again
	defer unhook()
	e, err, ok := d.mu.next()
	if err != nil {
		dir, _ := d.node.path()
		d.endLocked()
		if cause := context.Cause(own); cause != nil && errors.Is(err, context.Canceled) {
			err = cause
		}
		return e, false, d.node.face.fail(own, "list", dir, err)
	}
	return e, ok, 0
}

// beginLocked starts the listing at the handle's offset. It outlives the call that begins it, and has its name in the log.
func (d *dirHandle) beginLocked(own context.Context) syscall.Errno {
	dir, ok := d.node.path()
	if !ok || d.node.isGone() {
		d.mu.ctx, d.mu.cancel = context.WithCancel(context.Background())
		d.mu.next = func() (e tree.Entry, err error, ok bool) { return } // a removed directory is empty
		d.mu.stop = func() {}
		return 0
	}
	d.mu.ctx, d.mu.cancel = context.WithCancel(opid.Carry(context.Background(), own))
	at := d.mu.begin
	d.mu.next, d.mu.stop = iter.Pull2(at.from(d.node.face.tree.ListAfter(d.mu.ctx, dir, at.after)))
	return 0
}

func (d *dirHandle) endLocked() {
	if d.mu.next == nil {
		return
	}
	d.mu.cancel()
	d.mu.stop()
	d.mu.next, d.mu.stop, d.mu.cancel = nil, nil, nil
}

// Seekdir goes to an offset that was handed out before (telldir), or to 0 (rewinddir), which lists anew.
func (d *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	begin, n, ok := d.mu.places.find(off)
	if !ok {
		return syscall.EINVAL
	}
	d.endLocked()
	if off == 0 {
		d.mu.places = newPlaces()
	}
	d.mu.begin, d.mu.at = begin, n+firstName
	return 0
}

// Lookup serves READDIRPLUS: the attributes of the entry just handed out, when they are known without a request. An
// entry that would cost one goes out as a bare name: the kernel asks for it when a program does.
func (d *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofuse.Inode, syscall.Errno) {
	d.mu.Lock()
	e := d.mu.entry
	d.mu.Unlock()
	before := d.node.face.fileAt(e.Path)
	if now, state := d.node.face.tree.Known(e.Path); state == tree.Found {
		e = now // stored, perhaps, since it was listed
	}
	if path.Base(e.Path) != name || !e.Full && !d.node.face.basic() {
		return nil, syscall.EAGAIN
	}
	return d.node.inode(ctx, name, e, before, out), 0
}

// Releasedir ends the handle.
func (d *dirHandle) Releasedir(context.Context, uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endLocked()
}

// Fsyncdir stores the changes of names that wait, and what they are names of.
func (d *dirHandle) Fsyncdir(ctx context.Context, _ uint32) syscall.Errno { return d.node.syncDir(ctx) }
