package fs

import (
	"syscall"
	"time"

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
// to who removes it. The next name in order is then told as a regular file, whatever it is; the first stat asks. Should
// somebody else walk through this very name at this moment, and it is a symbolic link, he gets ENOTDIR: it is being removed.
type removing struct {
	looked string // the name looked up last
	gone   string // the name unlinked last
	run    int    // names on end that were looked up and unlinked, in order
	at     time.Time
}

// willRemove says whether the name is looked up by a walk that removes. It notes the lookup.
func (n *node) willRemove(name string, e tree.Entry) bool {
	last := n.looksUp(name)
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

// looksUp notes a lookup. It gives the name unlinked before by a walk that removes, "" without one.
func (n *node) looksUp(name string) (last string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &n.mu.removing
	if r.looked != r.gone || time.Since(r.at) > removalPause {
		r.run = 0
	}
	r.looked = name
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
