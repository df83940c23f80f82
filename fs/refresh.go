package fs

import (
	"context"
	"fmt"
	"path"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
)

// Refresh forgets what is cached of a path and below it: the next look at a name asks the store. Path is relative to the
// mount point, "" is everything. Changes that are not stored yet are not touched.
func (s *Server) Refresh(ctx context.Context, p string) error {
	if _, _, err := s.face.tree.Locate(p); err != nil {
		return fmt.Errorf("refresh %s: %w", p, err)
	}
	s.face.tree.Refresh(p)
	parent, name, in := s.face.inode(p)
	told := make(chan struct{})
	running := s.face.asks.run(func() {
		defer close(told)
		if parent != nil && (in == nil || !in.IsDir()) {
			notify(parent, name)
		}
		if in != nil {
			s.forget(in)
		}
	})
	if !running {
		return nil // unmounted: the kernel holds nothing any more
	}
	late := time.NewTimer(refreshPatience)
	defer late.Stop()
	select {
	case <-told:
	case <-late.C:
	case <-ctx.Done():
	}
	return nil
}

// refreshPatience: the kernel lets nobody at a directory in which a program waits for the store. What it still holds it asks
// for again within kernelTTL by itself.
const refreshPatience = 2 * time.Second

// inode is that of a path, and its parent, as far as the kernel knows them.
func (f *face) inode(p string) (parent *gofuse.Inode, name string, in *gofuse.Inode) {
	in = f.root.EmbeddedInode()
	for _, part := range split(p) {
		if in == nil {
			return nil, "", nil
		}
		parent, name, in = in, part, in.GetChild(part)
	}
	return parent, name, in
}

func split(p string) []string {
	var parts []string
	for p = path.Clean("/" + p); p != "/"; p = path.Dir(p) {
		parts = append([]string{path.Base(p)}, parts...)
	}
	return parts
}

// forget lets the kernel drop the names of files below a directory. The name of a directory stays: a process whose working
// directory it is would lose its place. The kernel asks for it again within kernelTTL, and for what is in it now.
func (s *Server) forget(in *gofuse.Inode) {
	for name, child := range in.Children() {
		if child.IsDir() {
			s.forget(child)
		} else {
			notify(in, name)
		}
	}
	if n, ok := in.Operations().(*node); ok {
		for name := range n.takeAbsent() {
			notify(in, name)
		}
	}
	in.NotifyContent(-1, 0) // attributes alone: pages would be waited for
}

// notify tells the kernel to look a name up anew. ENOENT says that it had forgotten it by itself.
func notify(parent *gofuse.Inode, name string) { parent.NotifyEntry(name) }
