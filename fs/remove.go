package fs

import (
	"context"
	"errors"
	"syscall"

	"pailfs/fs/content"
)

// Unlink deletes a file's name. An open file lives on: what its handles may still read is fetched first.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	own, done := n.face.request(ctx, 0)
	defer done()
	n.interrupt(name)
	p, release, err := n.ownChild(own, name)
	if err != nil {
		return n.face.fail(own, "unlink", name, err)
	}
	defer release()
	detached, errno := n.detachFile(own, p)
	if errno != 0 {
		return errno
	}
	if err := n.face.unlink(own, p, detached); err != nil {
		detached.Undo()
		return n.face.fail(own, "unlink", p, err)
	}
	dropped := detached.Done()
	if c := n.child(name); c != nil {
		c.leave()
	}
	n.face.inodes.removes(n.StableAttr().Ino, name)
	n.namesChanged()
	n.removed(name)
	n.face.freed(p)
	// The file's record went after the deletion was sure to be carried out; it must be gone for good as well, or the file
	// would come back, after a power failure or with the next mount. So it may when the mount has begun to end meanwhile.
	return n.face.fail(own, "unlink", p, errors.Join(dropped, n.face.keep(), n.face.files.Closed()))
}

// unlink deletes a name, and what an upload without an answer may have left under it.
func (f *face) unlink(ctx context.Context, p string, d *content.Detaching) error {
	if f.behind && d.Uncertain() {
		return f.tree.UnlinkUncertain(ctx, p)
	}
	if err := d.Erase(ctx); err != nil {
		return err
	}
	return f.tree.Unlink(ctx, p)
}

// interrupt ends the background's commit of a file whose name is about to be taken away: nobody wants it any more, and it may
// last for as long as the store is away.
func (n *node) interrupt(name string) {
	p, ok := n.childPath(name)
	if !ok {
		return
	}
	if bucket, key, err := n.face.tree.Locate(p); err == nil {
		n.face.files.Interrupt(content.ID{Bucket: bucket, Key: key})
	}
}

// freed tells that no file has a path any more: what it kept back of the changes of its name can be carried out, and what was
// half uploaded is wanted no longer.
func (f *face) freed(p string) {
	if f.outbox != nil {
		f.outbox.Wake()
	}
	if bucket, key, err := f.tree.Locate(p); err == nil && f.forget != nil {
		f.forget(bucket, key)
	}
}

// detachFile prepares the File of a name, if there is one, to live on without it.
func (n *node) detachFile(ctx context.Context, p string) (*content.Detaching, syscall.Errno) {
	bucket, key, err := n.face.tree.Locate(p)
	if err != nil {
		return nil, n.face.fail(ctx, "unlink", p, err)
	}
	d, err := n.face.files.Detach(ctx, content.ID{Bucket: bucket, Key: key})
	if err != nil {
		return nil, n.face.fail(ctx, "keep the unlinked file's bytes", p, err)
	}
	return d, 0
}

// Rmdir removes an empty directory, or an empty bucket.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	wait, waited := n.face.request(ctx, 0)
	defer waited()
	p, release, err := n.ownChild(wait, name)
	if err != nil {
		return n.face.fail(wait, "rmdir", name, err)
	}
	defer release()
	own, done := n.face.requestOf(wait, ctx, n.face.timeout)
	defer done()
	if err := n.face.tree.Rmdir(own, p); err != nil {
		return n.face.fail(own, "rmdir", p, err)
	}
	if c := n.child(name); c != nil {
		c.leave()
	}
	n.face.inodes.removes(n.StableAttr().Ino, name)
	n.namesChanged()
	return 0
}
