package faults

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// trouble is what a disk does.
type trouble string

const (
	none     trouble = "none"
	full     trouble = "full"      // ENOSPC to what needs room
	readOnly trouble = "read-only" // EROFS to every change, as of a file system that has found an error in itself
	noWrite  trouble = "no writes" // EIO
	noSync   trouble = "no syncs"  // EIO
	noRead   trouble = "no reads"  // EIO
	vanished trouble = "vanished"  // everything on it was deleted
)

// badDisk is a directory seen through a file system of this process's, which fails as it is told.
type badDisk struct {
	dir, behind string
	mu          struct {
		sync.Mutex
		trouble trouble
		struck  int
	}
}

func newBadDisk(t *testing.T) *badDisk {
	t.Helper()
	d := &badDisk{dir: t.TempDir(), behind: t.TempDir()}
	d.mu.trouble = none
	var st syscall.Stat_t
	if err := syscall.Stat(d.behind, &st); err != nil {
		t.Fatal(err)
	}
	root := &gofuse.LoopbackRoot{Path: d.behind, Dev: uint64(st.Dev)}
	node := &badNode{LoopbackNode: gofuse.LoopbackNode{RootData: root}, disk: d}
	root.RootNode = node
	server, err := gofuse.Mount(d.dir, node, &gofuse.Options{MountOptions: fuse.MountOptions{FsName: "bad disk", Name: "baddisk", DirectMount: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// gets makes trouble, or none.
func (d *badDisk) gets(t *testing.T, what trouble) {
	t.Helper()
	d.mu.Lock()
	d.mu.trouble = what
	d.mu.Unlock()
	if what != vanished {
		return
	}
	all, err := filepath.Glob(d.behind + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		// Whoever makes new files there meanwhile is to lose them as well.
		if not := eventually(10*time.Second, func() string { return errorText(os.RemoveAll(name)) }); not != "" {
			t.Fatal(not)
		}
	}
}

func (d *badDisk) struck() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.struck
}

// step is what is asked of a disk.
type step int

const (
	toRead  step = iota
	toWrite      // bytes
	toMake       // names
	toTake       // names and space away
	toSync
)

// fails is the errno of a step, 0 for none.
func (d *badDisk) fails(s step) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errno syscall.Errno
	switch t := d.mu.trouble; {
	case t == full && (s == toWrite || s == toMake):
		errno = syscall.ENOSPC
	case t == readOnly && (s == toWrite || s == toMake || s == toTake):
		errno = syscall.EROFS
	case t == noWrite && s == toWrite, t == noSync && s == toSync, t == noRead && s == toRead:
		errno = syscall.EIO
	}
	if errno != 0 {
		d.mu.struck++
	}
	return errno
}

// badNode is a file or directory of it.
type badNode struct {
	gofuse.LoopbackNode
	disk *badDisk
}

// WrapChild makes a bad node of each.
func (n *badNode) WrapChild(context.Context, gofuse.InodeEmbedder) gofuse.InodeEmbedder {
	return &badNode{LoopbackNode: gofuse.LoopbackNode{RootData: n.RootData}, disk: n.disk}
}

func (n *badNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofuse.Inode, gofuse.FileHandle, uint32, syscall.Errno) {
	if errno := n.disk.fails(toMake); errno != 0 {
		return nil, nil, 0, errno
	}
	inode, f, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return inode, &badFile{f.(*gofuse.LoopbackFile), n.disk}, fuse.FOPEN_DIRECT_IO, 0
}

func (n *badNode) Open(ctx context.Context, flags uint32) (gofuse.FileHandle, uint32, syscall.Errno) {
	f, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &badFile{f.(*gofuse.LoopbackFile), n.disk}, fuse.FOPEN_DIRECT_IO, 0
}

func (n *badNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofuse.Inode, syscall.Errno) {
	if errno := n.disk.fails(toMake); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *badNode) Rename(ctx context.Context, name string, to gofuse.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.disk.fails(toMake); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

func (n *badNode) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.disk.fails(toTake); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *badNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.disk.fails(toTake); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

func (n *badNode) Setattr(ctx context.Context, f gofuse.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.disk.fails(toTake); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

// badFile is an open one.
type badFile struct {
	*gofuse.LoopbackFile
	disk *badDisk
}

// PassthroughFd: the kernel reads nothing by itself.
func (f *badFile) PassthroughFd() (int, bool) { return 0, false }

func (f *badFile) Read(ctx context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.disk.fails(toRead); errno != 0 {
		return nil, errno
	}
	return f.LoopbackFile.Read(ctx, p, off)
}

func (f *badFile) Write(ctx context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.disk.fails(toWrite); errno != 0 {
		return 0, errno
	}
	return f.LoopbackFile.Write(ctx, p, off)
}

func (f *badFile) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	const punch = 2
	s := toWrite
	if mode&punch != 0 {
		s = toTake
	}
	if errno := f.disk.fails(s); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Allocate(ctx, off, size, mode)
}

func (f *badFile) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if errno := f.disk.fails(toSync); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}
