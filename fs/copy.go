package fs

import (
	"context"
	"errors"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
)

const (
	// maxClone is the most that one answer can say was copied, in whole MiB.
	maxClone = 1<<32 - 1<<20
	// leastClone: a smaller file comes with its attributes (fs/ahead) and is one PUT, in journal durability nobody waits for it.
	// A copy inside the store has to be looked at as well, which makes two requests that are waited for.
	leastClone = 128 << 10
)

// CopyFileRange lets the store copy: cp, and whoever else asks for it, moves no bytes from one file of the mount to another. It
// is for whole stored files, from their beginning on; for everything else the answer is EOPNOTSUPP, upon which the kernel
// copies by reading and writing, without telling the program.
func (n *node) CopyFileRange(ctx context.Context, from gofuse.FileHandle, fromOff uint64, _ *gofuse.Inode, to gofuse.FileHandle,
	toOff, length, _ uint64) (uint32, syscall.Errno) {
	src, dst := asHandle(from), asHandle(to)
	if src == nil || dst == nil || !dst.writes || src.file == dst.file || fromOff != toOff {
		return 0, syscall.EOPNOTSUPP
	}
	if st := src.file.Stat(); st.Dirty || st.Size < leastClone || dst.file.Stat().Size != int64(toOff) {
		return 0, syscall.EOPNOTSUPP
	}
	own, done := n.face.request(ctx, 0)
	defer done()
	copied, refused := int64(0), false
	errno := dst.change(own, "copy", func(own context.Context) (err error) {
		copied, err = dst.file.CloneRange(own, src.file, int64(fromOff), int64(toOff), int64(min(length, maxClone)))
		if refused = errors.Is(err, errors.ErrUnsupported); refused {
			return nil
		}
		return err
	})
	if refused {
		return 0, syscall.EOPNOTSUPP
	}
	return uint32(copied), errno
}
