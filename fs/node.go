package fs

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"

	"pailfs/cache"
	"pailfs/fs/ahead"
	"pailfs/fs/content"
	"pailfs/fs/tree"
)

// What a node supports, at a glance. Extended attributes (xattr.go) are an option; hard links are refused with EPERM.
var (
	_ gofuse.NodeLookuper       = (*node)(nil)
	_ gofuse.NodeGetattrer      = (*node)(nil)
	_ gofuse.NodeSetattrer      = (*node)(nil)
	_ gofuse.NodeStatfser       = (*node)(nil)
	_ gofuse.NodeOpendirHandler = (*node)(nil)
	_ gofuse.NodeMkdirer        = (*node)(nil)
	_ gofuse.NodeRmdirer        = (*node)(nil)
	_ gofuse.NodeCreater        = (*node)(nil)
	_ gofuse.NodeMknoder        = (*node)(nil)
	_ gofuse.NodeSymlinker      = (*node)(nil)
	_ gofuse.NodeReadlinker     = (*node)(nil)
	_ gofuse.NodeLinker         = (*node)(nil)
	_ gofuse.NodeUnlinker       = (*node)(nil)
	_ gofuse.NodeRenamer        = (*node)(nil)
	_ gofuse.NodeOpener         = (*node)(nil)
	_ gofuse.NodeFsyncer        = (*node)(nil)
	_ gofuse.NodeCopyFileRanger = (*node)(nil)
	_ gofuse.NodeOnForgetter    = (*node)(nil)
)

// face is what all nodes of a mount share.
type face struct {
	root   *node
	outbox Outbox       // nil: no change waits
	kept   func() error // nil: there is no journal to write
	behind bool         // journal durability
	// readOnly refuses to open for writing: the kernel does so for mounts that are made here, not for lent ones.
	readOnly bool
	lent     bool // somebody else mounted
	forget   func(bucket, key string)
	tree     *tree.Tree
	names    *names
	inodes   *inodes
	files    *content.Files
	ahead    *ahead.Dirs
	asks     *asksAhead
	pass     *passthrough
	dirTimes *dirTimes
	shed     *shed
	meter    *meter
	log      *slog.Logger
	ttl      time.Duration
	timeout  time.Duration
	// operations counts those that were named.
	operations atomic.Uint64
}

// node is one inode that the kernel knows: a directory, a file, a symlink or a special file.
//
// It lives from the lookup that made it until the kernel forgets it. Safe for concurrent use.
type node struct {
	gofuse.Inode
	face   *face
	line   inLine       // of shed
	asking atomic.Int32 // lookups in this directory that ask the store

	mu struct {
		sync.Mutex
		last   tree.Entry // what was told to the kernel last; the truth of a node that is gone
		gone   bool       // unlinked or replaced: no name any more
		opens  int        // open handles
		writes int        // of them, those for writing that nobody has released yet
		backed int        // of them, those that the kernel reads by itself (passthrough.go)
		closed time.Time  // when the last handle was released
		split  bool       // who opens it to write needs an inode of his own
		file   *content.File
		// absent are names of a directory that the kernel was told are not there, and when: Refresh takes that back.
		absent   map[string]time.Time
		removing removing
		// told is the size that the kernel knows: it was told so, or has written so far itself.
		told int64
		// pages is the version whose bytes the kernel's page cache may hold; zero when nobody knows.
		pages cache.Version
		// before is the version that was copied onto itself for its attributes: the same bytes under another ETag.
		before cache.Version
		// timesSet is when utimens last set the times here: a write that came later wins, an earlier one does not.
		timesSet time.Time
	}
}

// path is the node's mount-relative name; false when it has none any more.
func (n *node) path() (string, bool) {
	var parts []string
	in := n.EmbeddedInode()
	for !in.IsRoot() {
		name, parent := in.Parent()
		if parent == nil {
			return "", false
		}
		parts = append(parts, name)
		in = parent
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return path.Join(parts...), true
}

// childPath is the name of a (possible) child; false when the directory has no name any more.
func (n *node) childPath(name string) (string, bool) {
	dir, ok := n.path()
	if !ok {
		return "", false
	}
	if dir == "" {
		return name, true
	}
	return dir + "/" + name, true
}

// hold keeps the node's name as it is until release. A node without a name has nothing to keep: named is false.
func (n *node) hold(ctx context.Context) (p string, named bool, release func(), err error) {
	return n.keepName(func(p string) (func(), error) { return n.face.names.share(ctx, p) })
}

// ownName is hold for who changes the object under the name: nothing is stored under it until release.
func (n *node) ownName(ctx context.Context) (p string, named bool, release func(), err error) {
	return n.keepName(func(p string) (func(), error) { return n.face.names.own(ctx, p) })
}

func (n *node) keepName(keep func(p string) (release func(), err error)) (p string, named bool, release func(), err error) {
	for {
		p, ok := n.path()
		if !ok || n.isGone() {
			return "", false, func() {}, nil
		}
		release, err := keep(p)
		if err != nil {
			return "", false, nil, err
		}
		if now, ok := n.path(); ok && now == p && !n.isGone() {
			return p, true, release, nil
		}
		release() // renamed or removed while this waited
	}
}

// holdChild keeps the path of a (possible) child as it is until release. The error is ErrNotFound when the directory has
// no name any more.
func (n *node) holdChild(ctx context.Context, name string) (p string, release func(), err error) {
	return n.keepChild(name, func(p string) (func(), error) { return n.face.names.share(ctx, p) })
}

// ownChild is holdChild for who takes the child's name away: nobody changes it or anything below it until release.
func (n *node) ownChild(ctx context.Context, name string) (p string, release func(), err error) {
	return n.keepChild(name, func(p string) (func(), error) { return n.face.names.own(ctx, p) })
}

func (n *node) keepChild(name string, take func(path string) (func(), error)) (p string, release func(), err error) {
	for {
		p, ok := n.childPath(name)
		if !ok || n.isGone() {
			return "", nil, fmt.Errorf("%s in a directory that is gone: %w", name, tree.ErrNotFound)
		}
		release, err := take(p)
		if err != nil {
			return "", nil, err
		}
		if now, ok := n.childPath(name); ok && now == p {
			return p, release, nil
		}
		release() // the directory was renamed while this waited
	}
}

// child is the node of a name that the kernel knows, or nil.
func (n *node) child(name string) *node {
	in := n.GetChild(name)
	if in == nil {
		return nil
	}
	c, _ := in.Operations().(*node)
	return c
}

// openFile is the File behind the node's open handles, or nil.
func (n *node) openFile() *content.File {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.file
}

func (n *node) isGone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.gone
}

// leave marks a node whose name was taken away; it answers from what it knew last.
func (n *node) leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.gone = true
}

// know remembers what the kernel is about to be told.
func (n *node) know(e tree.Entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.last = e
}

func (n *node) known() tree.Entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.last
}

func idOf(e tree.Entry) content.ID { return content.ID{Bucket: e.Bucket, Key: e.Key} }

func versionOf(e tree.Entry) cache.Version {
	return cache.Version{Bucket: e.Bucket, Key: e.Key, ETag: e.ETag, Size: e.Size}
}
