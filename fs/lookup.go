package fs

import (
	"context"
	"syscall"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/content"
	"pailfs/fs/tree"
)

// Lookup finds a name and gives its inode.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofuse.Inode, syscall.Errno) {
	p, ok := n.childPath(name)
	if !ok {
		return nil, syscall.ENOENT
	}
	own, done := n.face.request(ctx, n.face.timeout)
	defer done()
	before := n.face.fileAt(p)
	e, err := n.find(own, p)
	switch {
	case err != nil || n.willRemove(ctx, name, e):
	case e.Full:
		n.face.passed(p)
	case !n.face.enough(e):
		n.asking.Add(1)
		e, err = n.face.attributes(own, p)
		n.asking.Add(-1)
	}
	if err != nil {
		errno := n.face.fail(own, "lookup", p, err)
		if errno == syscall.ENOENT {
			n.toldAbsent(name)
			if c := n.child(name); c != nil && !c.isGone() {
				n.face.inodes.removes(n.StableAttr().Ino, name)
			}
		}
		return nil, errno
	}
	return n.inode(ctx, name, e, before, out), 0
}

// find is tree's Find.
func (n *node) find(ctx context.Context, p string) (tree.Entry, error) {
	if e, state := n.face.tree.Known(p); state == tree.Found {
		return e, nil
	}
	n.asking.Add(1)
	defer n.asking.Add(-1)
	return n.face.tree.Find(ctx, p)
}

// enough says whether a name can be told to the kernel as it is known: its type is certain. Whoever deletes it or walks
// past it asks for no more; for the first stat the kernel comes back (Getattr).
func (f *face) enough(e tree.Entry) bool {
	return e.Full || f.basic() || e.IsDir() || e.Mode&syscall.S_IFMT == syscall.S_IFREG && e.Size > tree.MaxTarget
}

// basic says that this mount shows no attributes.
func (f *face) basic() bool { return f.asks.head == nil }

// attributes looks a name up with its attributes, and tells the readahead of attributes.
func (f *face) attributes(ctx context.Context, p string) (tree.Entry, error) {
	if e, ok := f.tree.Remembered(p); ok {
		return e, nil
	}
	f.expect(p)
	f.asks.wait(ctx, p)
	defer func() { f.looked(p) }()
	return f.tree.Lookup(ctx, p)
}

// inode gives the inode of an entry and fills what the kernel is told. The inode that the kernel has under this name
// already is used again, unless it is of another type, its open handles read another version, or the kernel reads it by itself and somebody
// wants to write. before is the file of the name, if there was one before the entry was looked up.
func (n *node) inode(ctx context.Context, name string, e tree.Entry, before *content.File, out *fuse.EntryOut) *gofuse.Inode {
	c := n.child(name)
	if c == nil || c.isGone() || c.StableAttr().Mode != e.Mode&syscall.S_IFMT || c.staleFor(e) || c.isSplit() {
		dir, numbers := n.StableAttr().Ino, n.face.inodes
		if c != nil && !c.isGone() { // else whoever took the name away has said so
			c.leave()
			numbers.removes(dir, name)
		}
		c = &node{face: n.face}
		n.NewInode(ctx, c, gofuse.StableAttr{Mode: e.Mode & syscall.S_IFMT, Ino: numbers.of(dir, name), Gen: numbers.gen.Add(1)})
	}
	n.face.shed.told(c)
	c.know(e)
	c.fill(e, c.fileSince(e, before), &out.Attr)
	out.SetEntryTimeout(n.face.ttlOf(e))
	if e.Full || n.face.basic() {
		out.SetAttrTimeout(n.face.ttlOf(e))
	} else {
		out.SetAttrTimeout(0)
	}
	return c.EmbeddedInode()
}

// staleTTL is how long the kernel trusts what is older than the TTL because the store does not answer.
const staleTTL = time.Second

// ttlOf is how long the kernel may trust what it is told of an entry.
func (f *face) ttlOf(e tree.Entry) time.Duration {
	if e.Stale {
		return min(staleTTL, f.ttl)
	}
	return f.ttl
}

// manyAbsent is from how many names on those that the kernel has forgotten by itself are dropped.
const manyAbsent = 1000

// toldAbsent remembers that the kernel was told that a name is not there.
func (n *node) toldAbsent(name string) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.absent == nil {
		n.mu.absent = make(map[string]time.Time)
	}
	if len(n.mu.absent) >= manyAbsent {
		for old, told := range n.mu.absent {
			if now.Sub(told) > kernelAbsentTTL {
				delete(n.mu.absent, old)
			}
		}
	}
	n.mu.absent[name] = now
}

// takeAbsent gives those names, and forgets them.
func (n *node) takeAbsent() map[string]time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	absent := n.mu.absent
	n.mu.absent = nil
	return absent
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
