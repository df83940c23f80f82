package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pailfs/cache"
	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

// movedPoll is how often a rename looks whether the library has moved its node, which takes microseconds.
const movedPoll = 50 * time.Microsecond

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

// Readlink reads a symbolic link's target.
func (n *node) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	p, ok := n.path()
	if !ok {
		return nil, syscall.ENOENT
	}
	own, done := n.face.request(ctx, n.face.timeout)
	defer done()
	target, err := n.face.tree.Readlink(own, p)
	if err != nil {
		return nil, n.face.fail(own, "readlink", p, err)
	}
	return []byte(target), 0
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
		if errno := h.changeHeld(own, "truncate at open", p, true, func() error { return h.resize(own, 0) }); errno != 0 {
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
	// would come back, after a power failure or with the next mount.
	return n.face.fail(own, "unlink", p, errors.Join(dropped, n.face.keep()))
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

// Rename moves a name. RENAME_EXCHANGE and RENAME_WHITEOUT cannot be done by a store: EINVAL, as rename(2) says.
func (n *node) Rename(ctx context.Context, name string, newParent gofuse.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	into, ok := newParent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	own, done := n.face.request(ctx, 0)
	defer done()
	n.interrupt(name)
	into.interrupt(newName)
	from, to, release, err := n.ownBoth(own, name, into, newName)
	if err != nil {
		return n.face.fail(own, "rename", name, err)
	}
	errno := n.face.rename(own, from, to, flags&unix.RENAME_NOREPLACE != 0, into.child(newName))
	if errno != 0 {
		release()
		return errno
	}
	if moved := n.child(name); moved != nil {
		n.face.inodes.moves(moved.StableAttr().Ino, n.StableAttr().Ino, name, into.StableAttr().Ino, newName)
	}
	n.namesChanged()
	into.namesChanged()
	n.releaseMoved(name, release)
	return 0
}

// ownBoth owns both names of a rename. The kernel never renames a name to itself.
func (n *node) ownBoth(ctx context.Context, name string, into *node, newName string) (from, to string, release func(), err error) {
	for {
		from, ok1 := n.childPath(name)
		to, ok2 := into.childPath(newName)
		if !ok1 || !ok2 || n.isGone() || into.isGone() {
			return "", "", nil, fmt.Errorf("%s in a directory that is gone: %w", name, tree.ErrNotFound)
		}
		release, err := n.face.names.own(ctx, from, to)
		if err != nil {
			return "", "", nil, err
		}
		nowFrom, _ := n.childPath(name)
		nowTo, _ := into.childPath(newName)
		if nowFrom == from && nowTo == to {
			return from, to, release, nil
		}
		release()
	}
}

// releaseMoved gives the names of a rename back when the library has moved the node too, which it does as soon as Rename
// has returned: who waits for the name must find the new one.
func (n *node) releaseMoved(name string, release func()) {
	moved := n.GetChild(name)
	if moved == nil {
		release()
		return
	}
	go func() {
		defer release()
		for n.GetChild(name) == moved {
			time.Sleep(movedPoll)
		}
	}()
}

// rename deals with unsaved bytes first and leaves stored objects to tree.
func (f *face) rename(ctx context.Context, from, to string, noReplace bool, replaced *node) syscall.Errno {
	e, err := f.tree.Sure(ctx, from)
	if err != nil {
		return f.fail(ctx, "rename", from, err)
	}
	target, err := f.tree.Sure(ctx, to)
	exists := err == nil
	if err != nil && !errors.Is(err, tree.ErrNotFound) {
		return f.fail(ctx, "rename to", to, err)
	}
	if exists && noReplace {
		return syscall.EEXIST
	}
	if e.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		if err := f.files.SyncUnder(ctx, e.Bucket, dirPrefix(e.Key)); err != nil {
			return f.fail(ctx, "store before renaming", from, err)
		}
		if err := f.tree.Rename(ctx, from, to, noReplace, f.moved); err != nil {
			return f.fail(ctx, "rename", from, err)
		}
		return f.fail(ctx, "rename", from, f.keep())
	}
	if exists && target.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return syscall.EISDIR
	}
	if !exists {
		return f.renameFile(ctx, e, from, to, noReplace, nil, replaced)
	}
	return f.renameFile(ctx, e, from, to, noReplace, &target, replaced)
}

// renameFile renames a file, over another one where there is a target.
func (f *face) renameFile(ctx context.Context, e tree.Entry, from, to string, noReplace bool, target *tree.Entry, replaced *node) syscall.Errno {
	bucket, key, err := f.tree.Locate(to)
	if err != nil {
		return f.fail(ctx, "rename to", to, err)
	}
	toID := content.ID{Bucket: bucket, Key: key}
	var detached *content.Detaching
	var over *content.Base
	if target != nil {
		if detached, err = f.files.Detach(ctx, toID); err != nil {
			return f.fail(ctx, "keep the replaced file's bytes", to, err)
		}
		if !target.Pending {
			over = &content.Base{Version: versionOf(*target), Seen: target.Seen}
		}
	}
	pending, err := f.move(ctx, e, from, to, toID, noReplace, over, detached)
	if err != nil && !errors.Is(err, tree.ErrCopied) { // else the copy may be all that there is of the file
		detached.UndoReplacing(ctx)
		return f.fail(ctx, "rename", from, err)
	}
	// After the moved file's record: whatever a crash leaves, one of the two is there. A record that stays gives way to what
	// has replaced it.
	if err := detached.Done(); err != nil {
		f.log.WarnContext(ctx, "rename: the replaced file stays in the journal", "path", to, "err", err)
	}
	if replaced != nil {
		replaced.leave()
	}
	if err != nil {
		return f.fail(ctx, "rename", from, err)
	}
	f.freed(from)
	if pending {
		return 0
	}
	// What the journal had of the file under its old name went when it was stored, perhaps a moment ago: it must be gone for
	// good, or a power failure would bring the old name back.
	return f.fail(ctx, "rename", from, f.keep())
}

// move renames a file: content one with unsaved bytes, tree a stored one. pending: the store has nothing of it yet.
func (f *face) move(ctx context.Context, e tree.Entry, from, to string, toID content.ID, noReplace bool, over *content.Base,
	replaced *content.Detaching) (pending bool, err error) {
	obj, moved, err := f.files.Move(ctx, idOf(e), toID, over)
	switch {
	case err != nil:
		return false, err
	case moved == content.MovedStored:
		f.tree.Renamed(from, to, obj)
	case moved == content.MovedPending:
		f.tree.RenamedPending(from, to)
		return true, nil
	default:
		headers := func() *s3client.Headers { return f.tree.HeadersOfCopy(ctx, e.Path) }
		if err := replaced.Replacing(ctx, f.versionNow(e), headers); err != nil {
			return false, err
		}
		return false, f.tree.Rename(ctx, from, to, noReplace, f.moved)
	}
	return false, nil
}

// versionNow is the version that the store has of a clean file.
func (f *face) versionNow(e tree.Entry) cache.Version {
	if file, ok := f.files.Get(idOf(e)); ok {
		if v := file.Stat().Version; v.ETag != "" {
			return v
		}
	}
	if now, state := f.tree.Known(e.Path); state == tree.Found { // it may have been stored for the rename
		e = now
	}
	return versionOf(e)
}

// moved tells content that the store has an object under another key now.
func (f *face) moved(fromBucket, fromKey, toBucket, toKey string, o s3client.Object) {
	f.files.Moved(content.ID{Bucket: fromBucket, Key: fromKey}, content.ID{Bucket: toBucket, Key: toKey}, o)
}

func dirPrefix(key string) string {
	if key == "" {
		return ""
	}
	return key + "/"
}

// CompleteRename ends the rename of a directory that an earlier run had begun. Both names are kept from changes meanwhile.
func (s *Server) CompleteRename(ctx context.Context, token uint64, in tree.Intent) error {
	f := s.face
	if from, to, ok := f.tree.IntentPaths(in); ok {
		release, err := f.names.own(ctx, from, to)
		if err != nil {
			return err
		}
		defer release()
	}
	return f.tree.CompleteRename(ctx, token, in, f.moved)
}
