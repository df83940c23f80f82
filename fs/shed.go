package fs

import (
	"sync"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
)

const (
	// shedAtOnce is how many inodes the kernel is asked to forget in one call.
	shedAtOnce = 512
	// moreRead: so many times as many inodes as of those that were only looked at may stay for files that were read. What
	// readers have left in the kernel's page cache goes with the inode.
	moreRead = 8
)

// shed bounds the inodes. The kernel keeps one for each name that it was ever told of, until it is short of memory itself, and
// each costs this process some 1,100 bytes, the library's tables included: ls -l of a million files would take a gigabyte.
// Beyond the bound the kernel is asked to forget those that it was told of longest ago. It keeps what is in use; what it
// forgets it looks up again, which costs the store nothing while tree knows the name.
//
// A node is in line from the moment the kernel is told of it until it is forgotten, or was asked to be. Safe for concurrent use.
type shed struct {
	most int                                       // 0: as many as the kernel likes
	run  func(do func()) bool                      // beside everything; false after the end
	ask  func(nodes []*gofuse.Inode) syscall.Errno // the kernel to forget; ENOSYS: it cannot be asked so

	mu struct {
		sync.Mutex
		looked, read line
		going        bool // somebody asks the kernel
	}
}

// line is nodes in the order in which the kernel was told of them.
type line struct {
	newest, oldest *node
	n              int
}

// inLine is a node's place, guarded by shed.mu.
type inLine struct {
	newer, older *node
	of           *line // nil: in none
}

// told puts a node that the kernel is about to be told of at the end of its line.
func (s *shed) told(n *node) {
	if s.most == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.leaveLine()
	s.joinLocked(n)
	if s.excessLocked() && !s.mu.going {
		s.mu.going = s.run(s.shrink)
	}
}

// forgot takes a node out of its line.
func (s *shed) forgot(n *node) {
	if s.most == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.leaveLine()
}

func (s *shed) excessLocked() bool {
	return s.mu.looked.n > s.most || s.mu.read.n > moreRead*s.most
}

func (s *shed) joinLocked(n *node) {
	if n.hasPages() {
		s.mu.read.join(n)
	} else {
		s.mu.looked.join(n)
	}
}

func (l *line) join(n *node) {
	n.line = inLine{older: l.newest, of: l}
	if l.newest != nil {
		l.newest.line.newer = n
	} else {
		l.oldest = n
	}
	l.newest = n
	l.n++
}

func (n *node) leaveLine() {
	l := n.line.of
	if l == nil {
		return
	}
	if newer := n.line.newer; newer != nil {
		newer.line.older = n.line.older
	} else {
		l.newest = n.line.older
	}
	if older := n.line.older; older != nil {
		older.line.newer = n.line.newer
	} else {
		l.oldest = n.line.newer
	}
	l.n--
	n.line = inLine{}
}

// shrink asks the kernel to forget nodes until an eighth less than the bound is left.
func (s *shed) shrink() {
	for {
		some := s.some()
		if len(some) == 0 {
			return
		}
		nodes := make([]*gofuse.Inode, len(some))
		for i, n := range some {
			nodes[i] = n.EmbeddedInode()
		}
		if s.ask(nodes) == syscall.ENOSYS {
			for _, n := range some {
				n.shedName()
			}
		}
	}
}

// some takes the oldest nodes out of their lines. What the kernel goes on using comes back when it is looked up again.
func (s *shed) some() (nodes []*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := &s.mu.looked; l.n > s.most-s.most/8 && len(nodes) < shedAtOnce; {
		n := l.oldest
		n.leaveLine()
		if n.hasPages() { // read since
			s.mu.read.join(n)
		} else {
			nodes = append(nodes, n)
		}
	}
	for l := &s.mu.read; l.n > moreRead*s.most && len(nodes) < shedAtOnce; {
		nodes = append(nodes, l.oldest)
		l.oldest.leaveLine()
	}
	s.mu.going = len(nodes) > 0
	return nodes
}

// hasPages says whether the kernel may have bytes of the node in its page cache.
func (n *node) hasPages() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.opens > 0 || n.mu.pages.ETag != ""
}

// shedName has a kernel before 6.18 drop a name, and the inode with it. It does so whether the name is in use or not, and
// only when nobody is in the directory: so directories, open files and names of a directory in which somebody waits for the
// store are left alone.
func (n *node) shedName() {
	name, parent := n.Parent()
	if parent == nil || n.IsDir() || n.openFile() != nil {
		return
	}
	if dir, ok := parent.Operations().(*node); ok && dir.asking.Load() == 0 {
		notify(parent, name)
	}
}

// OnForget is called when the kernel has forgotten the node.
func (n *node) OnForget() { n.face.shed.forgot(n) }
