package fs

import (
	"context"
	"errors"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/content"
	"pailfs/fs/tree"
)

// attrOf are the attributes of what a caller creates in this directory. A setgid directory hands its group on.
func (n *node) attrOf(ctx context.Context, mode uint32) tree.Attr {
	a := tree.Attr{Mode: mode}
	if caller, ok := fuse.FromContext(ctx); ok {
		a.UID, a.GID = caller.Uid, caller.Gid
	}
	dir := n.known()
	if !dir.Full && !n.face.basic() {
		if e, errno := n.entry(ctx); errno == 0 {
			dir = e
		}
	}
	if dir.Mode&syscall.S_ISGID != 0 {
		a.GID = dir.GID
		if mode&syscall.S_IFMT == syscall.S_IFDIR {
			a.Mode |= syscall.S_ISGID
		}
	}
	return a
}

// make runs one of tree's creating calls and gives the new inode.
func (n *node) make(ctx context.Context, op, name string, out *fuse.EntryOut,
	create func(own context.Context, path string) (tree.Entry, error)) (*gofuse.Inode, syscall.Errno) {
	wait, waited := n.face.request(ctx, 0)
	defer waited()
	p, release, err := n.holdChild(wait, name)
	if err != nil {
		return nil, n.face.fail(wait, op, name, err)
	}
	defer release()
	own, done := n.face.requestOf(wait, ctx, n.face.timeout)
	defer done()
	e, err := create(own, p)
	if err != nil {
		return nil, n.face.fail(own, op, p, err)
	}
	n.namesChanged()
	return n.inode(ctx, name, e, nil, out), 0
}

// Mkdir makes a directory, or a bucket in an account's root.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofuse.Inode, syscall.Errno) {
	return n.make(ctx, "mkdir", name, out, func(own context.Context, p string) (tree.Entry, error) {
		return n.face.tree.Mkdir(own, p, n.attrOf(ctx, syscall.S_IFDIR|mode&07777))
	})
}

// Symlink makes a symbolic link.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*gofuse.Inode, syscall.Errno) {
	return n.make(ctx, "symlink", name, out, func(own context.Context, p string) (tree.Entry, error) {
		return n.face.tree.Symlink(own, p, target, n.attrOf(ctx, syscall.S_IFLNK|0o777))
	})
}

// Mknod makes a FIFO, a socket, a device node, or an empty file.
func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*gofuse.Inode, syscall.Errno) {
	if mode&syscall.S_IFMT == 0 {
		mode |= syscall.S_IFREG
	}
	return n.make(ctx, "mknod", name, out, func(own context.Context, p string) (tree.Entry, error) {
		e, err := n.face.tree.Mknod(own, p, n.attrOf(ctx, mode), dev)
		if err == nil && e.Pending {
			return n.face.storeEmpty(own, e)
		}
		return e, err
	})
}

// storeEmpty stores a new file that nobody opens.
func (f *face) storeEmpty(ctx context.Context, e tree.Entry) (tree.Entry, error) {
	file, err := f.files.Open(idOf(e), nil, content.Create)
	if err != nil {
		f.tree.Discard(e.Path)
		return e, err
	}
	defer file.Close(nil)
	if err := file.Flush(ctx); err != nil {
		return e, err
	}
	return f.tree.Lookup(ctx, e.Path)
}

// Link refuses hard links as link(2) says a file system without them does: one object has one name.
func (n *node) Link(context.Context, gofuse.InodeEmbedder, string, *fuse.EntryOut) (*gofuse.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// Create makes a file and opens it. Nothing waits for the store when the directory is known: the kernel holds the
// directory's lock over this call, so a request here would make all writers of the directory take turns.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofuse.Inode,
	gofuse.FileHandle, uint32, syscall.Errno) {
	wait, waited := n.face.request(ctx, 0)
	defer waited()
	p, release, err := n.holdChild(wait, name)
	if err != nil {
		return nil, nil, 0, n.face.fail(wait, "create", name, err)
	}
	defer release()
	own, done := n.face.requestOf(wait, ctx, n.face.timeout)
	defer done()
	if in, h, fl, errno, there := n.openExisting(own, ctx, p, name, flags, out); there {
		return in, h, fl, errno
	}
	e, err := n.face.tree.Create(p, n.attrOf(ctx, syscall.S_IFREG|mode&07777))
	if err != nil {
		return nil, nil, 0, n.face.fail(own, "create", p, err)
	}
	file, err := n.face.files.Open(idOf(e), nil, content.Create)
	if err != nil {
		n.face.tree.Discard(p)
		return nil, nil, 0, n.face.fail(own, "create", p, err)
	}
	n.namesChanged()
	in := n.inode(ctx, name, e, file, out)
	c := in.Operations().(*node)
	flags |= syscall.O_WRONLY // created files are stored at close, however they were opened
	_, fh, _, errno := c.attach(e, file, flags)
	return in, fh, openFlags(flags, true), errno
}

// openExisting opens a name that turns out to exist although the kernel thought it does not: another host made it.
func (n *node) openExisting(own, ctx context.Context, p, name string, flags uint32, out *fuse.EntryOut) (*gofuse.Inode,
	gofuse.FileHandle, uint32, syscall.Errno, bool) {
	refused := func(errno syscall.Errno) (*gofuse.Inode, gofuse.FileHandle, uint32, syscall.Errno, bool) {
		return nil, nil, 0, errno, true
	}
	if _, state := n.face.tree.Known(p); state == tree.Absent {
		return nil, nil, 0, 0, false
	}
	flags = truncating(flags)
	before := n.face.fileAt(p)
	// Whatever the flags are, a file that is created here is stored at its close: what is known only from before the store
	// went away must not make one over another host's.
	e, file, err := n.face.openFile(own, p, flags, n.face.tree.Complete, n.existing(flags))
	switch {
	case errors.Is(err, tree.ErrNotFound):
		return nil, nil, 0, 0, false
	case err != nil:
		return refused(n.face.fail(ctx, "create", p, err))
	}
	in := n.inode(ctx, name, e, before, out)
	h, fh, keep, errno := in.Operations().(*node).attach(e, file, flags)
	if errno != 0 {
		return refused(errno)
	}
	if flags&syscall.O_TRUNC != 0 {
		if errno := h.changeHeld(own, "truncate at open", p, true, func(own context.Context) error { return h.resize(own, 0) }); errno != 0 {
			h.close(own)
			return refused(errno)
		}
	}
	return in, fh, openFlags(flags, keep), 0, true
}

// existing says why a file that is there after all is not what was to be created.
func (n *node) existing(flags uint32) func(tree.Entry) error {
	return func(e tree.Entry) error {
		switch {
		case flags&syscall.O_EXCL != 0:
			return syscall.EEXIST
		case e.Mode&syscall.S_IFMT != syscall.S_IFREG:
			return syscall.ESTALE // the kernel looks again and goes by what it finds
		}
		return nil
	}
}
