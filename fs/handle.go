package fs

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pailfs/fs/content"
	"pailfs/fs/tree"
)

var (
	_ gofuse.FileReader    = (*handle)(nil)
	_ gofuse.FileWriter    = (*handle)(nil)
	_ gofuse.FileFlusher   = (*handle)(nil)
	_ gofuse.FileFsyncer   = (*handle)(nil)
	_ gofuse.FileReleaser  = (*handle)(nil)
	_ gofuse.FileLseeker   = (*handle)(nil)
	_ gofuse.FileAllocater = (*handle)(nil)
)

// handle is an open file description. It lives from open to release; the File behind it is shared by all handles of
// the object.
type handle struct {
	node   *node
	file   *content.File
	reader *content.Handle // readahead state of this reader
	writes bool            // opened for writing
	backed bool            // the kernel reads by itself (passthrough.go)
	ended  bool            // it writes no more; guarded by node.mu
	marked atomic.Bool     // tree knows that this file has unsaved changes; cleared by each flush
}

// path is the handle's name for a log line.
func (h *handle) path() string {
	if p, ok := h.node.path(); ok {
		return p
	}
	return h.node.known().Path + " (unlinked)"
}

// data is a read's answer over cached blocks; they stay pinned until the kernel has its copy (Done).
type data struct{ content.Data }

func (d data) Size() int                       { return d.Len() }
func (d data) Slices() ([][]byte, fuse.Status) { return d.Data.Slices(), fuse.OK }
func (d data) Bytes(buf []byte) ([]byte, fuse.Status) {
	buf = buf[:0]
	for _, s := range d.Data.Slices() {
		buf = append(buf, s...)
	}
	return buf, fuse.OK
}

// Read reads at an offset; past the end it reads nothing.
func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if d, ok := h.file.TryReadAt(h.reader, off, len(dest)); ok {
		return data{d}, 0
	}
	own, done := h.node.face.request(ctx, h.node.face.timeout)
	defer done()
	d, err := h.file.ReadAt(own, h.reader, off, len(dest))
	if err != nil {
		return nil, h.fail(own, "read", err)
	}
	if d.Len() == 0 {
		d.Done() // the library drops an empty result without a word
		return fuse.ReadResultData(nil), 0
	}
	return data{d}, 0
}

// Write writes into the spool; the network is waited for only when too much of it is on its way, or while a commit sends
// the file. That may take long and gets on all the same: there is no limit but the deadlines of the store's calls.
func (h *handle) Write(ctx context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	own, done := h.node.face.request(ctx, 0)
	defer done()
	var n int
	errno := h.change(own, "write", func(own context.Context) (err error) {
		n, err = h.file.WriteAt(own, p, off)
		return err
	})
	return uint32(n), errno
}

// change runs a change of the file's bytes. The first one since the file was stored or flushed tells tree, before, that it is
// about to have unsaved bytes, so that its entry is kept until they are stored, and takes setuid and setgid away.
func (h *handle) change(ctx context.Context, op string, do func(context.Context) error) syscall.Errno {
	if h.marked.Load() && h.file.Stat().Dirty {
		return h.fail(ctx, op, do(ctx))
	}
	p, named, release, err := h.node.hold(ctx)
	if err != nil {
		return h.fail(ctx, op, err)
	}
	defer release()
	return h.changeHeld(ctx, op, p, named, do)
}

// changeHeld is change for a caller who holds the name. A change that has changed nothing leaves nothing to keep.
func (h *handle) changeHeld(ctx context.Context, op, p string, named bool, do func(context.Context) error) syscall.Errno {
	n := h.node
	if named {
		n.face.tree.Written(p, time.Now())
		n.dropSetID(ctx, p)
	}
	err := do(content.Named(ctx))
	if h.file.Stat().Dirty {
		h.marked.Store(true)
	} else if named {
		n.face.discard(p)
	}
	return h.fail(ctx, op, err)
}

// discard unpins the entry of a file that has nothing unsaved. A new one stays as it is: it is being stored at this moment, in
// the background, and tree is about to be told.
func (f *face) discard(p string) {
	if e, state := f.tree.Known(p); state != tree.Found || !e.Pending {
		f.tree.Discard(p)
	}
}

// fail is the errno of an operation on an open file. What is missing in the store is not "no such file" to a program that
// has it open: its version is gone.
func (h *handle) fail(ctx context.Context, op string, err error) syscall.Errno {
	errno := errnoOf(err)
	if errno == syscall.ENOENT {
		err = fmt.Errorf("%w: %w", errGone, err)
	}
	return h.node.face.fail(ctx, op, h.path(), err)
}

// Flush is close(2): it returns when what was written is in the store, or in journal durability in the journal, or with the
// error. Closing a reader stores nothing.
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	if !h.writes {
		return 0
	}
	own, done := h.node.face.request(ctx, 0)
	defer done()
	return h.store(own, h.file.Flush)
}

// Fsync returns when the store has what was written, and what was changed of the name.
func (h *handle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	own, done := h.node.face.request(ctx, 0)
	defer done()
	return h.store(own, h.sync)
}

func (h *handle) sync(ctx context.Context) error {
	if err := h.file.Sync(ctx); err != nil {
		return err
	}
	id := h.file.ID()
	return h.node.face.drain(ctx, id.Bucket, id.Key)
}

// store runs one of content's ways to make the file's bytes last.
func (h *handle) store(ctx context.Context, do func(context.Context) error) syscall.Errno {
	p, named, release, err := h.node.hold(ctx)
	if err != nil {
		return h.fail(ctx, "store", err)
	}
	defer release()
	h.marked.Store(false)
	if named {
		h.node.pushTimes(p, h.file)
	}
	id := h.file.ID()
	err = do(ctx)
	switch {
	case !named:
	case err != nil:
		h.node.face.left(p, h.file, id)
	case !h.file.Stat().Dirty:
		h.node.face.discard(p) // what was pinned after another handle's commit; nothing as a rule
	}
	return h.fail(ctx, "store", err)
}

// Release ends the handle, after the last close and the last mapping. Pages dirtied through a mapping after close come
// here unsaved; nobody waits for an answer any more, so a failure is logged and the bytes stay with the File. The kernel tells
// of a handle's end late: what is unsaved may be what another one is writing, whose close is to come.
func (h *handle) Release(ctx context.Context) syscall.Errno {
	own := context.WithoutCancel(ctx)
	if h.writes && h.node.lastWriter(h) && h.file.Stat().Dirty {
		h.store(own, func(ctx context.Context) error {
			if !h.node.lastWriter(h) { // it was opened again while the name was waited for
				return nil
			}
			return h.file.Flush(ctx)
		})
	}
	h.close(own)
	return 0
}

func (h *handle) close(context.Context) {
	h.node.detach(h)
	h.file.Close(h.reader)
}

// Lseek finds data and holes (SEEK_DATA, SEEK_HOLE).
func (h *handle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	var found int64
	var ok bool
	switch whence {
	case unix.SEEK_DATA:
		found, ok = h.file.NextData(int64(off))
	case unix.SEEK_HOLE:
		found, ok = h.file.NextHole(int64(off))
	default:
		return 0, syscall.EINVAL
	}
	if !ok {
		return 0, syscall.ENXIO
	}
	return uint64(found), 0
}

// Allocate is fallocate(2): extend, keep size, punch a hole, zero a range.
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	const known = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_ZERO_RANGE
	if mode&^known != 0 {
		return syscall.EOPNOTSUPP
	}
	own, done := h.node.face.request(ctx, 0)
	defer done()
	return h.change(own, "fallocate", func(own context.Context) error {
		return h.file.Allocate(own, int64(off), int64(size), mode&unix.FALLOC_FL_KEEP_SIZE != 0,
			mode&unix.FALLOC_FL_PUNCH_HOLE != 0, mode&unix.FALLOC_FL_ZERO_RANGE != 0)
	})
}

// Fsync of a file, or of a directory: what was changed below it is stored.
func (n *node) Fsync(ctx context.Context, fh gofuse.FileHandle, flags uint32) syscall.Errno {
	if h := asHandle(fh); h != nil {
		return h.Fsync(ctx, flags)
	}
	return n.syncDir(ctx)
}

// syncDir stores what waits below a directory: the names, and so the files that have them. In store durability nothing
// does, but for what could not be stored when it was closed.
func (n *node) syncDir(ctx context.Context) syscall.Errno {
	p, named := n.path()
	if !named || n.isGone() || n.face.outbox == nil {
		return 0
	}
	own, done := n.face.request(ctx, 0)
	defer done()
	return n.face.fail(own, "fsync", p, n.face.flush(own, p, nil))
}
