package fs

import (
	"context"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// What the models of whole mounts (package fs_test, since they take the rooms from fs/wired) need of the face.

// KernelTTL is how long the kernel trusts names at the most.
const KernelTTL = kernelTTL

// ByHand is Mount without a kernel: the caller makes its requests, and calls Gone where Wait would return.
func ByHand(ctx context.Context, o Options) (*Server, fuse.RawFileSystem, error) {
	e, err := o.Tree.Lookup(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	root := newRoot(o)
	root.know(e)
	return &Server{face: root.face}, gofuse.NewNodeFS(root, root.face.library(fuse.MountOptions{}, o.TTL)), nil
}

// Gone ends what the face does by itself.
func (s *Server) Gone() { s.face.asks.close() }
