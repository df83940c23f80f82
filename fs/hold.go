package fs

import (
	"context"
	"fmt"

	"pailfs/cache"
	"pailfs/fs/content"
	"pailfs/s3client"
)

// Hold keeps the name of an object as it is until release, for a commit that no program's call makes: in the background,
// at the end of the mount, of what an earlier run left. Who calls it has nothing of the file's yet that a rename or an
// unlink would wait for: they own the name and then want the file. An object that has no name here needs no lock.
//
// What was written since the last flush travels with this commit too, so that its time does as well.
func (s *Server) Hold(ctx context.Context, id content.ID) (release func(), err error) {
	return s.face.hold(ctx, id)
}

func (f *face) hold(ctx context.Context, id content.ID) (release func(), err error) {
	p, ok := f.tree.PathOf(id.Bucket, id.Key)
	if !ok {
		return func() {}, nil
	}
	free, err := f.names.share(ctx, p)
	if err != nil {
		return nil, err
	}
	if n := f.nodeOf(p); n != nil {
		if file := n.openFile(); file != nil && file.ID() == id {
			n.pushTimes(p, file)
		}
	}
	file, _ := f.files.Get(id)
	return func() {
		f.left(p, file, id)
		free()
	}, nil
}

// left looks whether a conflict has given a file that had a name another one. Then the name is what somebody else has stored,
// and tree must not go on keeping it for the file. The caller holds the name.
func (f *face) left(p string, file *content.File, id content.ID) {
	if file == nil || file.ID() == id {
		return
	}
	if _, ok := f.files.Get(id); !ok {
		f.tree.Discard(p)
	}
}

// nodeOf is what the kernel knows of a path, or nil.
func (f *face) nodeOf(p string) *node {
	_, _, in := f.inode(p)
	if in == nil {
		return nil
	}
	n, _ := in.Operations().(*node)
	return n
}

// Rewritten tells that an object was copied onto itself for its attributes, by whom the face does not know (the outbox):
// the same bytes, perhaps under another ETag. Handles read on. Call it before tree is told.
func (s *Server) Rewritten(id content.ID, o s3client.Object) {
	if p, ok := s.face.tree.PathOf(id.Bucket, id.Key); ok {
		if n := s.face.nodeOf(p); n != nil {
			n.follow(o.ETag)
		}
	}
	s.face.files.Moved(id, id, o)
}

// follow notes that the version of the node has another ETag now, and the same bytes.
func (n *node) follow(etag string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.before = versionOf(n.mu.last)
	if n.mu.pages == n.mu.before {
		n.mu.pages.ETag = etag
	}
}

// wasBefore says whether a version is the one that the node's was before its attributes were stored anew.
func (n *node) wasBefore(v cache.Version) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return v.ETag != "" && n.mu.before == v
}

// keep makes what was appended to the journal outlive a power failure.
func (f *face) keep() error {
	if f.kept == nil {
		return nil
	}
	if err := f.kept(); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}
