package fs

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/cache"
	"pailfs/fs/tree"
)

// Passthrough: the kernel reads an object that lies wholly in the disk tier from its file there, and asks us nothing. What
// makes it hard:
//
//  1. An inode has either passthrough handles or others, never both at once (open fails with EIO). So a handle is made one
//     only when the inode has no other, and while it has one every reader joins; who wants to write gets an inode of his
//     own (ESTALE makes the kernel look the name up again).
//  2. The library counts every release of such an inode as one of a passthrough handle. It does so a moment after our
//     release: hence settleTime.
//  3. The library registers a file after our answer and on its own: of several opens at once any may be the first. So each
//     handle has a file of its own to give.
//  4. The first registration that the kernel refuses turns it off in the library for the whole mount, silently. Reads that
//     reach passthrough handles all the same, one handle after another, say so.
//  5. Such a handle reads the version it has opened, also while the file is changed on this host. An object that was
//     changed lately is likely to be changed again (a log that somebody follows): it is not passed through.

const (
	// settleTime after the last ordinary handle of an inode is gone, passthrough may begin.
	settleTime = 100 * time.Millisecond
	// restTime is how old an object must be.
	restTime = 30 * time.Second
	// manyRefused handles on end that were read through us: the kernel does not do it.
	manyRefused = 8
)

// Backing is a file that holds exactly one version, whole and never changed.
type Backing interface {
	Fd() int
	Close()
}

// passthrough is how the mount stands with it.
type passthrough struct {
	whole   func(cache.Version) (Backing, bool) // nil: no disk tier, or turned off
	why     string                              // why whole is nil
	refused atomic.Bool                         // by the kernel
	streak  atomic.Int64                        // handles on end that the kernel did not read by itself
	opens   atomic.Int64
}

// status says whether it is used, and why not.
func (p *passthrough) status() string {
	switch {
	case p.whole == nil:
		return p.why
	case p.refused.Load():
		return "off: the kernel refuses it"
	}
	return "on"
}

// backing is the file for a handle, if the handle may be one.
func (p *passthrough) backing(e tree.Entry, v cache.Version, flags uint32) Backing {
	if p.whole == nil || p.refused.Load() || writable(flags) || flags&(syscall.O_DIRECT|syscall.O_TRUNC) != 0 || e.Pending ||
		v.Size == 0 || time.Since(e.Modified) < restTime {
		return nil
	}
	b, ok := p.whole(v)
	if !ok {
		return nil
	}
	return b
}

// backed is a handle whose reads the kernel serves by itself.
type backed struct {
	*handle
	backing Backing
	asked   atomic.Bool // the kernel asks us all the same
}

var _ gofuse.FilePassthroughFder = (*backed)(nil)

// PassthroughFd is asked of the first handle of an inode.
func (h *backed) PassthroughFd() (int, bool) { return h.backing.Fd(), true }

// Read is called only when the kernel has refused.
func (h *backed) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	pass := h.node.face.pass
	if !h.asked.Swap(true) && pass.streak.Add(1) >= manyRefused && !pass.refused.Swap(true) {
		h.node.face.log.Warn("the kernel does not read from the disk cache by itself (passthrough); pailfs does")
	}
	return h.handle.Read(ctx, dest, off)
}

func (h *backed) Release(ctx context.Context) syscall.Errno {
	if !h.asked.Load() {
		h.node.face.pass.streak.Store(0)
	}
	errno := h.handle.Release(ctx)
	h.backing.Close()
	return errno
}

// asHandle is the open file behind one of the library's handles; nil when it is none of ours.
func asHandle(fh gofuse.FileHandle) *handle {
	switch h := fh.(type) {
	case *handle:
		return h
	case *backed:
		return h.handle
	}
	return nil
}
