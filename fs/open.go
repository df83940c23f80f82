package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

// Open opens a file. It asks the store when what is known of the name is older than the TTL (close-to-open).
func (n *node) Open(ctx context.Context, flags uint32) (gofuse.FileHandle, uint32, syscall.Errno) {
	own, done := n.face.request(ctx, n.face.timeout)
	defer done()
	flags = truncating(flags)
	h, fh, keep, errno := n.open(own, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	if flags&syscall.O_TRUNC != 0 && h.writes {
		wait, done := n.face.requestOf(own, ctx, 0)
		defer done()
		if errno := h.truncate(wait, 0); errno != 0 {
			h.close(wait)
			return nil, 0, errno
		}
	}
	return fh, openFlags(flags, keep), 0
}

// tells notes the size that the kernel is told.
func (n *node) tells(size int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.told = size
}

// misled says whether the kernel believes a file that is being opened to be of another size than it is, since another host has
// stored a version that it has not looked at. It would read this one up to the old one's end, and append there. ESTALE makes it
// look the name up again. While other handles are open they are of the same version.
func (n *node) misled(file *content.File) bool {
	size := file.Stat().Size
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.opens == 0 && n.mu.told != size
}

// truncating makes a writer of who opens a file to read it and truncates it, which open(2) allows to those who may write it:
// the truncation is stored at the close.
func truncating(flags uint32) uint32 {
	if flags&syscall.O_TRUNC != 0 && !writable(flags) {
		return flags | syscall.O_WRONLY
	}
	return flags
}

// lookupFor is how a file is looked up to open it. Who is going to write it must know all its attributes: they are stored
// again with the bytes, and a store that is away then would cost the file its mode and foreign metadata.
func (f *face) lookupFor(flags uint32) func(context.Context, string) (tree.Entry, error) {
	if writable(flags) {
		return f.tree.Complete
	}
	return f.tree.Lookup
}

// openTries bounds how often a file is looked up anew because it was stored in the background while it was being opened.
const openTries = 8

// openFile looks a file up and opens it, if suits says nothing against what was found.
func (f *face) openFile(ctx context.Context, p string, flags uint32, look func(context.Context, string) (tree.Entry, error),
	suits func(tree.Entry) error) (tree.Entry, *content.File, error) {
	mode := content.Read
	if writable(flags) {
		mode = content.Write
		if f.readOnly {
			return tree.Entry{}, nil, fmt.Errorf("open %s: %w", p, tree.ErrReadOnly)
		}
	}
	for try := 1; ; try++ {
		e, err := look(ctx, p)
		if err == nil {
			err = suits(e)
		}
		if err != nil {
			return e, nil, err
		}
		var base *content.Base
		if !e.Pending {
			base = &content.Base{Version: versionOf(e), Seen: e.Seen}
		}
		file, err := f.files.Open(idOf(e), base, mode)
		switch {
		case err == nil && (try == openTries || !f.outdated(e, file)):
			return e, file, nil
		case err == nil:
			file.Close(nil)
		case try == openTries || !e.Pending || !errors.Is(err, s3client.NotFound):
			return e, nil, err
		}
	}
}

// outdated says whether a file was opened on what was known of it before it was stored, in the background, just now.
func (f *face) outdated(e tree.Entry, file *content.File) bool {
	now, state := f.tree.Known(e.Path)
	st := file.Stat()
	return state == tree.Found && !now.Pending && !st.Dirty && now.Mode&syscall.S_IFMT == syscall.S_IFREG &&
		versionOf(now) != versionOf(e) && versionOf(now) != st.Version
}

// truncate sets the size. Who empties an empty file has touched it all the same (": > stamp" in a Makefile): the new time
// is stored.
func (h *handle) truncate(ctx context.Context, size int64) syscall.Errno {
	return h.change(ctx, "truncate", func(ctx context.Context) error { return h.resize(ctx, size) })
}

func (h *handle) resize(ctx context.Context, size int64) error {
	if err := h.file.Truncate(ctx, size); err != nil {
		return err
	}
	if size == 0 {
		h.file.Touch()
	}
	return nil
}

// openFlags are the kernel's: its page cache is kept while the version stands (AUTO_INVAL_DATA drops it when size or
// mtime change meanwhile), and bypassed where the program asked for that.
func openFlags(flags uint32, keep bool) (out uint32) {
	if !writable(flags) {
		out = fuse.FOPEN_NOFLUSH // closing a reader stores nothing
	}
	switch {
	case flags&syscall.O_DIRECT != 0:
		return out | fuse.FOPEN_DIRECT_IO
	case keep:
		return out | fuse.FOPEN_KEEP_CACHE
	}
	return out
}

// open makes a handle, and what the kernel gets for it. keep says that the kernel may keep the pages it has of this inode.
func (n *node) open(ctx context.Context, flags uint32) (h *handle, fh gofuse.FileHandle, keep bool, errno syscall.Errno) {
	p, named := n.path()
	if !named || n.isGone() {
		return n.openGone(flags)
	}
	e, file, err := n.face.openFile(ctx, p, flags, n.face.lookupFor(flags), n.opens)
	if errors.Is(err, tree.ErrNotFound) {
		err = fmt.Errorf("%w: %w", errGone, err) // so that the kernel looks again: who wants to create it makes a new one
	}
	if err != nil {
		return nil, nil, false, n.face.fail(ctx, "open", p, err)
	}
	n.know(e)
	if flags&syscall.O_TRUNC == 0 && n.misled(file) {
		file.Close(nil)
		return nil, nil, false, syscall.ESTALE
	}
	h, fh, keep, errno = n.attach(e, file, flags)
	if errno == 0 && !h.writes {
		n.face.opened(e)
	}
	return h, fh, keep, errno
}

// opens says why an entry is not what this inode can be opened as. The kernel takes ESTALE as a reason to look the name up
// again.
func (n *node) opens(e tree.Entry) error {
	switch {
	case e.IsDir():
		return syscall.EISDIR
	case e.Mode&syscall.S_IFMT != syscall.S_IFREG: // another type of file since the kernel looked it up
		return syscall.ESTALE
	case n.staleFor(e): // an inode of its own has that version
		return syscall.ESTALE
	}
	return nil
}

// openGone reopens a file that lost its name but is still open elsewhere (/proc/PID/fd/N).
func (n *node) openGone(flags uint32) (*handle, gofuse.FileHandle, bool, syscall.Errno) {
	file := n.openFile()
	if file == nil {
		return nil, nil, false, syscall.ESTALE
	}
	file.Hold()
	return n.attach(n.known(), file, flags)
}

// staleFor says whether the entry is another version than the one that open handles of this inode read.
func (n *node) staleFor(e tree.Entry) bool {
	file := n.openFile()
	if file == nil {
		return false
	}
	st, v := file.Stat(), versionOf(e)
	// A file that was stored since the entry was looked up is not stale, but ahead.
	return !st.Dirty && !e.Pending && st.Version != v && !n.wasBefore(v) && !e.Seen.Before(st.Seen)
}

// attach makes the handle and counts it; the node's File is the one its handles share. It takes over the reference of file,
// also when it fails: with ESTALE, where the kernel reads this inode by itself and somebody else must not have it.
func (n *node) attach(e tree.Entry, file *content.File, flags uint32) (h *handle, fh gofuse.FileHandle, keep bool, errno syscall.Errno) {
	h = &handle{node: n, file: file, reader: file.Handle(flags&syscall.O_DIRECT != 0), writes: writable(flags)}
	st := file.Stat()
	var backing Backing
	if !st.Dirty && !h.writes {
		backing = n.face.pass.backing(e, st.Version, flags)
	}
	fh, keep, errno = n.count(h, st, backing)
	if _, ok := fh.(*backed); backing != nil && !ok {
		backing.Close()
	}
	if errno != 0 {
		file.Close(h.reader)
		return nil, nil, false, errno
	}
	return h, fh, keep, 0
}

// count makes the handle one of the node's, of the kind that the node's others are.
func (n *node) count(h *handle, st content.Stat, backing Backing) (fh gofuse.FileHandle, keep bool, errno syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fh = h
	switch {
	case n.mu.backed > 0 && (backing == nil || n.mu.file != h.file):
		n.mu.split = true
		return nil, false, syscall.ESTALE
	case n.mu.backed > 0:
		fh = &backed{handle: h, backing: backing}
	case backing != nil && n.mu.opens == 0 && time.Since(n.mu.closed) > settleTime:
		fh = &backed{handle: h, backing: backing}
	}
	if _, ok := fh.(*backed); ok {
		h.backed = true
		n.mu.backed++
		n.face.pass.opens.Add(1)
	}
	// With handles open the pages are those of their File, which is this one. Without, they are of the version that
	// the last close left behind.
	keep = n.mu.opens > 0 && n.mu.file == h.file || !st.Dirty && n.mu.pages == st.Version
	n.mu.opens++
	if h.writes {
		n.mu.writes++
	}
	n.mu.file = h.file
	n.mu.pages = st.Version
	return fh, keep, 0
}

// isSplit says whether the name needs another inode.
func (n *node) isSplit() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.split && n.mu.backed > 0
}

// detach takes a handle off the node. A clean File leaves its version as that of the kernel's pages.
func (n *node) detach(h *handle) {
	file := h.file
	st := file.Stat()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.endWritingLocked(h)
	n.mu.opens--
	if h.backed {
		n.mu.backed--
	}
	if n.mu.opens > 0 {
		return
	}
	n.mu.closed = time.Now()
	if h.writes {
		n.mu.told = st.Size
	}
	if n.mu.file == file {
		n.mu.pages = st.Version
		if st.Dirty {
			n.mu.pages.ETag = ""
		}
	}
	n.mu.file = nil
}

// lastWriter ends the writing of a handle and says whether no other has the node open for writing.
func (n *node) lastWriter(h *handle) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.endWritingLocked(h)
	return n.mu.writes == 0
}

func (n *node) endWritingLocked(h *handle) {
	if h.writes && !h.ended {
		h.ended = true
		n.mu.writes--
	}
}

// dropSetID takes setuid and setgid away from a file that is being written (write(2), HANDLE_KILLPRIV_V2). The caller
// holds the name.
func (n *node) dropSetID(ctx context.Context, p string) {
	e := n.known()
	if cleared := withoutSetID(e.Mode); cleared != e.Mode&07777 {
		if _, errno := n.changeHeld(ctx, p, e, tree.Change{Mode: &cleared}); errno != 0 {
			n.face.log.WarnContext(ctx, "setuid and setgid stay on a written file", "path", e.Path, "errno", errno.Error())
			return
		}
		n.face.asks.run(func() { n.NotifyContent(-1, 0) }) // no answer to an open or a write tells the kernel the mode
	}
}

func writable(flags uint32) bool { return flags&syscall.O_ACCMODE != syscall.O_RDONLY }
