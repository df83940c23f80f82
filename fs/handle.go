package fs

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pailfs/fs/content"
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
	own, done := h.node.face.request(ctx, h.node.face.timeout)
	defer done()
	d, err := h.file.ReadAt(own, h.reader, off, len(dest))
	if err != nil {
		return nil, h.node.face.fail("read", h.path(), err)
	}
	if d.Len() == 0 {
		d.Done() // the library drops an empty result without a word
		return fuse.ReadResultData(nil), 0
	}
	return data{d}, 0
}

// Write writes into the spool; the network is waited for only when too much of it is on its way.
func (h *handle) Write(ctx context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	own, done := h.node.face.request(ctx, h.node.face.timeout)
	defer done()
	h.beforeChange(own)
	n, err := h.file.WriteAt(own, p, off)
	if err != nil {
		return uint32(n), h.node.face.fail("write", h.path(), err)
	}
	return uint32(n), 0
}

// beforeChange tells tree, once until the next flush, that the file is about to have unsaved bytes: its entry is kept
// until they are stored. The first change also takes setuid and setgid away.
func (h *handle) beforeChange(ctx context.Context) {
	if h.marked.Load() || !h.marked.CompareAndSwap(false, true) {
		return
	}
	n := h.node
	if p, ok := n.path(); ok && !n.isGone() {
		n.face.tree.Written(p, time.Now())
	}
	n.dropSetID(ctx)
}

// Flush is close(2): it returns when the store has what was written, or its error. Closing a reader stores nothing.
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	if !h.writes {
		return 0
	}
	own, done := h.node.face.request(ctx, 0)
	defer done()
	return h.sync(own)
}

// Fsync returns when the store has what was written.
func (h *handle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	own, done := h.node.face.request(ctx, 0)
	defer done()
	return h.sync(own)
}

func (h *handle) sync(ctx context.Context) syscall.Errno {
	h.marked.Store(false)
	if p, ok := h.node.path(); ok && !h.node.isGone() {
		h.node.pushTimes(p, h.file)
	}
	return h.node.face.fail("store", h.path(), h.file.Sync(ctx))
}

// Release ends the handle, after the last close and the last mapping. Pages dirtied through a mapping after close come
// here unsaved; nobody waits for an answer any more, so a failure is logged and the bytes stay with the File.
func (h *handle) Release(ctx context.Context) syscall.Errno {
	own := context.WithoutCancel(ctx)
	if h.writes && h.file.Stat().Dirty {
		h.sync(own)
	}
	h.close(own)
	return 0
}

func (h *handle) close(context.Context) {
	h.node.detach(h.file)
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
	own, done := h.node.face.request(ctx, h.node.face.timeout)
	defer done()
	h.beforeChange(own)
	err := h.file.Allocate(own, int64(off), int64(size), mode&unix.FALLOC_FL_KEEP_SIZE != 0,
		mode&unix.FALLOC_FL_PUNCH_HOLE != 0, mode&unix.FALLOC_FL_ZERO_RANGE != 0)
	return h.node.face.fail("fallocate", h.path(), err)
}

// Fsync of a directory (and of anything without a handle): names are stored before their calls return.
func (n *node) Fsync(ctx context.Context, fh gofuse.FileHandle, flags uint32) syscall.Errno {
	if h, ok := fh.(*handle); ok {
		return h.Fsync(ctx, flags)
	}
	return 0
}
