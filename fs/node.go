package fs

import (
	"log/slog"
	"path"
	"sync"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"

	"pailfs/cache"
	"pailfs/fs/content"
	"pailfs/fs/tree"
)

// What a node supports, at a glance. Extended attributes are off (mount.go); hard links are refused with EPERM.
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
)

// face is what all nodes of a mount share.
type face struct {
	tree    *tree.Tree
	files   *content.Files
	log     *slog.Logger
	ttl     time.Duration
	timeout time.Duration
}

// node is one inode that the kernel knows: a directory, a file, a symlink or a special file.
//
// It lives from the lookup that made it until the kernel forgets it. Safe for concurrent use.
type node struct {
	gofuse.Inode
	face *face

	mu struct {
		sync.Mutex
		last  tree.Entry // what was told to the kernel last; the truth of a node that is gone
		gone  bool       // unlinked or replaced: no name any more
		opens int        // open handles
		file  *content.File
		// pages is the version whose bytes the kernel's page cache may hold; zero when nobody knows.
		pages cache.Version
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
