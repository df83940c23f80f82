package fs

import (
	"syscall"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fs"

	"pailfs/cache"
)

// shedding is a line of nodes of which somebody who asks the kernel forgets all that he is asked to.
func shedding(t *testing.T, most int) (s *shed, tell func(read bool) *node, forgotten map[*node]bool) {
	t.Helper()
	forgotten = map[*node]bool{}
	s = &shed{most: most}
	s.ask = func(nodes []*gofuse.Inode) syscall.Errno {
		for _, in := range nodes {
			n := in.Operations().(*node)
			forgotten[n] = true
			n.OnForget()
		}
		return 0
	}
	s.run = func(func()) bool { return true } // the test shrinks it
	root := newRoot(Options{})
	root.face.shed = s
	gofuse.NewNodeFS(root, &gofuse.Options{})
	return s, func(read bool) *node {
		n := &node{face: root.face}
		root.NewInode(t.Context(), n, gofuse.StableAttr{Mode: syscall.S_IFREG, Ino: uint64(1000 + s.mu.looked.n), Gen: root.face.inodes.gen.Add(1)})
		if read {
			n.mu.pages = cache.Version{ETag: "e"}
		}
		s.told(n)
		return n
	}, forgotten
}

// The oldest are forgotten, those that were told of again are not, and those whose bytes the kernel may have stay longer.
func TestTheOldestInodesAreForgotten(t *testing.T) {
	s, tell, forgotten := shedding(t, 80)
	first := tell(false)
	reader := tell(true)
	late := tell(false)
	var others []*node
	for range 77 {
		others = append(others, tell(false))
	}
	if s.mu.going || len(forgotten) > 0 {
		t.Error("asks before there are too many")
	}
	late.mu.pages = cache.Version{ETag: "read since"}
	s.told(first)
	others = append(others, tell(false), tell(false))
	if !s.mu.going {
		t.Fatal("does not ask")
	}
	s.shrink()
	if s.mu.going || s.mu.looked.n != 70 || s.mu.read.n != 2 || len(forgotten) != 10 {
		t.Errorf("%d and %d are in line, %d forgotten", s.mu.looked.n, s.mu.read.n, len(forgotten))
	}
	if forgotten[first] || forgotten[reader] || forgotten[late] || !forgotten[others[0]] || forgotten[others[len(others)-1]] {
		t.Error("the wrong ones are forgotten")
	}
	for range moreRead*80 + 5 {
		tell(true)
	}
	s.mu.going = true
	s.shrink()
	if s.mu.read.n != moreRead*80 || !forgotten[reader] {
		t.Errorf("%d that were read are in line", s.mu.read.n)
	}
	// What is not in line any more leaves it once.
	n := s.mu.looked.n
	s.forgot(others[0])
	s.forgot(others[20])
	s.forgot(others[20])
	if s.mu.looked.n != n-1 {
		t.Errorf("%d in line, were %d", s.mu.looked.n, n)
	}
}
