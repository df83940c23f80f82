package fs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pailfs/fs/tree"
)

const (
	// removals: so many names of a directory, each looked up and then unlinked, the one right behind the other, make a walk
	// that removes.
	removals = 2
	// removalPause is how long such a walk may rest between two names.
	removalPause = time.Second
)

// removing recognises rm -r: the kernel looks a name up before it unlinks it, and nothing of an object's attributes matters
// to who removes it. The next name in order is then told to the same thread as a regular file, whatever it is; the first stat
// or open asks. Should somebody else walk through this very name at this moment, and it is a symbolic link, he gets ENOTDIR: it
// is being removed.
type removing struct {
	by     uint32 // the thread that looks up and unlinks
	looked string // the name looked up last
	gone   string // the name unlinked last
	run    int    // names on end that were looked up and unlinked, in order
	at     time.Time
}

// willRemove says whether the name is looked up by a walk that removes. It notes the lookup.
func (n *node) willRemove(ctx context.Context, name string, e tree.Entry) bool {
	last := n.looksUp(name, threadOf(ctx))
	if last == "" || e.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return false
	}
	p, ok := n.childPath(last)
	if !ok {
		return false
	}
	next := n.face.tree.Following(p, 1)
	return len(next) == 1 && next[0].Path == e.Path
}

// threadOf is the number of the thread that calls, 0 where it is not known.
func threadOf(ctx context.Context) uint32 {
	if caller, ok := fuse.FromContext(ctx); ok {
		return caller.Pid
	}
	return 0
}

// looksUp notes a lookup. It gives the name unlinked before by a walk that removes, "" without one.
func (n *node) looksUp(name string, by uint32) (last string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &n.mu.removing
	if r.looked != r.gone || r.by != by || by == 0 || time.Since(r.at) > removalPause {
		r.run = 0
	}
	r.looked, r.by = name, by
	if r.run < removals {
		return ""
	}
	return r.gone
}

// removed notes an unlink.
func (n *node) removed(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &n.mu.removing
	if r.looked == name {
		r.run++
	} else {
		r.run = 0
	}
	r.gone, r.at = name, time.Now()
}
