package fs

import (
	"context"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

const (
	// statBlock is the unit of st_blocks, by POSIX.
	statBlock = 512
	// ioSize is st_blksize: what cp and cat read and write at once. It is the largest request the kernel sends.
	ioSize = 1 << 20
)

// fill turns an entry into what stat shows. Size and mtime of a file with unsaved changes are pulled from content.
func (n *node) fill(e tree.Entry, file *content.File, out *fuse.Attr) {
	size, mtime, blocks := e.Size, e.Mtime, (e.Size+statBlock-1)/statBlock
	if file != nil {
		st := file.Stat()
		size, blocks = st.Size, st.Blocks
		if st.Dirty {
			blocks = blocksOf(file, size)
		}
		if st.Dirty && st.Mtime.After(n.timesSetAt()) && st.Mtime.After(e.Ctime) {
			mtime = st.Mtime
		}
	}
	if e.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		size, blocks = 4096, 8
		if at := n.face.dirTimes.of(n.StableAttr().Ino); at.After(mtime) {
			mtime = at
		}
	}
	ctime := e.Ctime
	if ctime.Before(mtime) {
		ctime = mtime
	}
	atime := e.Atime
	if atime.IsZero() {
		atime = mtime
	}
	n.tells(size)
	out.Mode = e.Mode
	out.Size = uint64(size)
	out.Blocks = uint64(blocks)
	out.Blksize = ioSize
	out.Uid, out.Gid = e.UID, e.GID
	out.Rdev = e.Rdev
	out.Nlink = 1
	if n.isGone() {
		out.Nlink = 0
	}
	out.Ino = n.StableAttr().Ino
	out.SetTimes(&atime, &mtime, &ctime)
}

// manyHoles is how many stretches of data are looked at for st_blocks; the rest counts as data.
const manyHoles = 256

// blocksOf counts the blocks of an unsaved file without those of its holes. In the store a file has none.
func blocksOf(file *content.File, size int64) (blocks int64) {
	at := int64(0)
	for range manyHoles {
		from, ok := file.NextData(at)
		if !ok || from >= size {
			return blocks
		}
		to, ok := file.NextHole(from)
		if !ok || to > size {
			to = size
		}
		blocks += (to+statBlock-1)/statBlock - from/statBlock
		if at = to; at >= size {
			return blocks
		}
	}
	return blocks + (size-at+statBlock-1)/statBlock
}

func (n *node) timesSetAt() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.timesSet
}

// Getattr answers stat. A node without a name, and one whose name went away in the store while it is open, answers
// from what it knew last.
func (n *node) Getattr(ctx context.Context, _ gofuse.FileHandle, out *fuse.AttrOut) syscall.Errno {
	p, named := n.path()
	var before *content.File
	if named {
		before = n.face.fileAt(p)
	}
	e, errno := n.entryAt(ctx, p, named)
	if errno != 0 {
		return errno
	}
	n.fill(e, n.fileSince(e, before), &out.Attr)
	out.SetTimeout(n.face.ttlOf(e))
	return 0
}

// entry is the node's entry, fresh within the TTL.
func (n *node) entry(ctx context.Context) (tree.Entry, syscall.Errno) {
	p, named := n.path()
	return n.entryAt(ctx, p, named)
}

// entryAt is entry for who has just asked for the node's path.
func (n *node) entryAt(ctx context.Context, p string, named bool) (tree.Entry, syscall.Errno) {
	if !named || n.isGone() {
		last := n.known()
		if last.Mode == 0 {
			return last, syscall.ENOENT
		}
		return last, 0
	}
	if e, ok := n.face.tree.Remembered(p); ok && n.StableAttr().Mode == e.Mode&syscall.S_IFMT {
		n.know(e)
		n.face.passed(p)
		return e, 0
	}
	own, done := n.face.request(ctx, n.face.timeout)
	defer done()
	e, err := n.face.attributes(own, p)
	if err == nil && n.StableAttr().Mode != e.Mode&syscall.S_IFMT {
		return e, syscall.ESTALE // another type of file now: the kernel looks the name up again
	}
	if err != nil {
		errno := n.face.fail(own, "stat", p, err)
		if errno == syscall.ENOENT && n.openFile() != nil {
			return n.known(), 0
		}
		if errno == syscall.ENOENT && n.hasMoved(own, p) {
			return n.entry(ctx)
		}
		return e, errno
	}
	n.know(e)
	return e, 0
}

// hasMoved says whether the node has another name than p, once a rename of it that is going on has ended.
func (n *node) hasMoved(ctx context.Context, p string) bool {
	now, named, release, err := n.hold(ctx)
	if err != nil {
		return false
	}
	release()
	return named && now != p
}

// fileOf is the File whose size counts: the node's open one, or an unsaved one of the same object.
func (n *node) fileOf(e tree.Entry) *content.File {
	if n.isSplit() {
		return nil // its handles read the version it was known by; the File goes on with who writes
	}
	if f := n.openFile(); f != nil {
		return f
	}
	if n.isGone() || e.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil
	}
	if f, ok := n.face.files.Get(idOf(e)); ok && knowsMore(f, e) {
		return f
	}
	return nil
}

// fileAt is the File of a path, if there is one. It is asked for before the name is looked up: the file may be stored in the
// background and forgotten before the answer is used, which knows nothing of its size then.
func (f *face) fileAt(p string) *content.File {
	bucket, key, err := f.tree.Locate(p)
	if err != nil {
		return nil
	}
	file, _ := f.files.Get(content.ID{Bucket: bucket, Key: key})
	return file
}

// file is fileAt of the node's name.
func (n *node) file() *content.File {
	if p, named := n.path(); named {
		return n.face.fileAt(p)
	}
	return nil
}

// fileSince is fileOf, or else the file that had the name before the entry was looked up, if it knows more.
func (n *node) fileSince(e tree.Entry, before *content.File) *content.File {
	if file := n.fileOf(e); file != nil || before == nil || n.isSplit() || n.isGone() || before.ID() != idOf(e) || !knowsMore(before, e) {
		return file
	}
	return before
}

// knowsMore says whether a file's size is right and not the entry's: it is unsaved, or it was stored and tree was not told yet
// when the entry was looked up.
func knowsMore(file *content.File, e tree.Entry) bool {
	st := file.Stat()
	return st.Dirty || e.Pending || st.Version != versionOf(e) && e.Seen.Before(st.Seen)
}

// Setattr carries out truncate, chmod, chown and utimens.
func (n *node) Setattr(ctx context.Context, fh gofuse.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if n.isSplit() {
		return syscall.ESTALE // another inode has the name now
	}
	own, done := n.face.request(ctx, 0)
	defer done()
	e, errno := n.entry(ctx)
	if errno != 0 {
		return errno
	}
	h := asHandle(fh)
	if size, ok := in.GetSize(); ok {
		if errno := n.truncate(own, e, h, int64(size)); errno != 0 {
			return errno
		}
	}
	before := n.file()
	change, any := changeOf(in, e.Mode)
	if any {
		e, errno = n.change(own, e, change)
		if errno != 0 {
			return errno
		}
	} else if e, errno = n.entry(ctx); errno != 0 {
		return errno
	}
	n.fill(e, n.fileSince(e, before), &out.Attr)
	out.SetTimeout(n.face.ttlOf(e))
	return 0
}

// changeOf reads the attributes to change. A chown, and a truncate by who may not keep them, takes setuid and setgid
// away: the kernel leaves that to the file system (HANDLE_KILLPRIV_V2).
func changeOf(in *fuse.SetAttrIn, mode uint32) (c tree.Change, any bool) {
	if m, ok := in.GetMode(); ok {
		c.Mode, any = &m, true
	}
	if uid, ok := in.GetUID(); ok {
		c.UID, any = &uid, true
	}
	if gid, ok := in.GetGID(); ok {
		c.GID, any = &gid, true
	}
	if t, ok := in.GetMTime(); ok {
		c.Mtime, any = &t, true
	}
	if t, ok := in.GetATime(); ok {
		c.Atime, any = &t, true
	}
	// Before a write the kernel asks for nothing else, with no flag at all.
	alone := in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER) == 0
	if (alone || in.Valid&fuse.FATTR_KILL_SUIDGID != 0) && c.Mode == nil {
		if cleared := withoutSetID(mode); cleared != mode&07777 {
			c.Mode, any = &cleared, true
		}
	}
	return c, any
}

// withoutSetID clears setuid, and setgid where the group may execute (without that bit it means something else).
func withoutSetID(mode uint32) uint32 {
	perm := mode & 07777
	if mode&syscall.S_IFMT != syscall.S_IFREG {
		return perm
	}
	perm &^= syscall.S_ISUID
	if perm&syscall.S_IXGRP != 0 {
		perm &^= syscall.S_ISGID
	}
	return perm
}

// change hands new attributes to tree: in memory while the file has unsaved bytes (they travel with its upload), else
// to the store.
func (n *node) change(ctx context.Context, e tree.Entry, c tree.Change) (tree.Entry, syscall.Errno) {
	ended := func() syscall.Errno { return n.face.fail(ctx, "set attributes", e.Path, n.face.files.Closed()) }
	if errno := ended(); errno != 0 {
		return e, errno
	}
	changed, errno := n.changeOpen(ctx, e, c)
	if errno == 0 { // what is kept of the file at the end of the mount may be older
		errno = ended()
	}
	return changed, errno
}

// changeOpen is change while the mount does not end.
func (n *node) changeOpen(ctx context.Context, e tree.Entry, c tree.Change) (tree.Entry, syscall.Errno) {
	p, named, release, err := n.hold(ctx)
	if err == nil && named && e.Mode&syscall.S_IFMT == syscall.S_IFREG && !n.isUnsaved(e) {
		release()
		p, named, release, err = n.ownName(ctx)
	}
	if err != nil {
		return e, n.face.fail(ctx, "set attributes", e.Path, err)
	}
	defer release()
	switch {
	case named:
		return n.changeHeld(ctx, p, e, c)
	case !n.isGone():
		return e, syscall.ESTALE // another inode has the name; the kernel looks it up again
	}
	e = applied(e, c)
	n.know(e)
	return e, 0
}

// isUnsaved says whether new attributes can travel with bytes that are still to be stored. Where they cannot, the object is
// copied onto itself, and nothing else may be stored under the name between the copy and its answer.
func (n *node) isUnsaved(e tree.Entry) bool {
	file := n.fileOf(e)
	return file != nil && file.Stat().Dirty
}

// changeHeld is change for a caller who holds the name.
func (n *node) changeHeld(ctx context.Context, p string, e tree.Entry, c tree.Change) (tree.Entry, syscall.Errno) {
	file := n.fileOf(e)
	if file != nil {
		file.Told() // else tree would take the change for one that travels with a commit
	}
	c.Unsaved = file != nil && file.Stat().Dirty
	if c.Unsaved && c.Mtime == nil {
		n.pushTimes(p, file)
	}
	e, err := n.face.tree.SetAttr(ctx, p, c)
	if err == nil && c.Unsaved && !file.Touch() { // stored and closed by another handle just now
		c.Unsaved = false
		n.face.discard(p) // else it would wait for a commit that does not come
		e, err = n.face.tree.SetAttr(ctx, p, c)
	}
	if err != nil {
		return e, n.face.fail(ctx, "set attributes", p, err)
	}
	if !c.Unsaved {
		n.rewritten(e)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.Mtime != nil {
		n.mu.timesSet = time.Now()
		n.face.dirTimes.set(n.StableAttr().Ino)
	}
	n.mu.last = e
	return e, 0
}

// rewritten follows an object that was copied onto itself for its attributes: the same bytes, perhaps under another
// ETag. Open handles read on, and the kernel's pages stay good.
func (n *node) rewritten(e tree.Entry) {
	if e.Mode&syscall.S_IFMT != syscall.S_IFREG || e.Pending {
		return
	}
	if now := versionOf(e); now != versionOf(n.known()) {
		n.follow(now.ETag)
		n.face.files.Moved(idOf(e), idOf(e), s3client.Object{Bucket: e.Bucket, Key: e.Key, ETag: e.ETag, Size: e.Size, Modified: e.Modified})
	}
}

// applied is an entry with a change applied, for a file that no longer has a name.
func applied(e tree.Entry, c tree.Change) tree.Entry {
	if c.Mode != nil {
		e.Mode = e.Mode&syscall.S_IFMT | *c.Mode&07777
	}
	if c.UID != nil {
		e.UID = *c.UID
	}
	if c.GID != nil {
		e.GID = *c.GID
	}
	if c.Mtime != nil {
		e.Mtime = *c.Mtime
	}
	if c.Atime != nil {
		e.Atime = *c.Atime
	}
	e.Ctime = time.Now()
	return e
}

// pushTimes tells tree when the file was written last, unless utimens came after that. Called before a commit, so that
// the time travels with the upload. An entry that was changed later knows: the node may be a new one.
func (n *node) pushTimes(p string, file *content.File) {
	st := file.Stat()
	if !st.Dirty || st.Mtime.IsZero() || !st.Mtime.After(n.timesSetAt()) {
		return
	}
	if e, state := n.face.tree.Known(p); state != tree.Found || st.Mtime.After(e.Ctime) {
		n.face.tree.Written(p, st.Mtime)
	}
}

// truncate sets a file's size. Through a handle the bytes wait for its flush; by name (truncate(2)) nobody closes
// anything later, so the call ends like a close.
func (n *node) truncate(ctx context.Context, e tree.Entry, h *handle, size int64) syscall.Errno {
	if e.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return syscall.EISDIR
	}
	if h != nil {
		return h.truncate(ctx, size)
	}
	h, _, _, errno := n.open(ctx, syscall.O_WRONLY)
	if errno != 0 {
		return errno
	}
	defer h.close(ctx)
	if errno := h.truncate(ctx, size); errno != 0 {
		return errno
	}
	return h.store(ctx, h.file.Flush)
}

// Statfs never needs the network: a store has no size. The numbers are large enough for every program that looks
// before it writes, and small enough not to overflow any.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const (
		block  = 4096
		blocks = 1 << 50 / block // 1 PiB
		inodes = 1 << 32
	)
	out.Bsize, out.Frsize = block, block
	out.Blocks, out.Bfree, out.Bavail = blocks, blocks, blocks
	out.Files, out.Ffree = inodes, inodes
	out.NameLen = 255
	return 0
}
