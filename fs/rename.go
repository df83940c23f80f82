package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"

	"pailfs/cache"
	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

// movedPoll is how often a rename looks whether the library has moved its node, which takes microseconds.
const movedPoll = 50 * time.Microsecond

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
	if errno == 0 { // else what was kept of a file, when the mount began to end meanwhile, may have its old name
		errno = n.face.fail(own, "rename", from, n.face.files.Closed())
	}
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
	bucket, key, err := f.tree.LocateFile(to)
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
