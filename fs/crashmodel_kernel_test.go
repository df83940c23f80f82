package fs_test

import (
	"cmp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// kernel makes the requests that the kernel would make for a program's calls, with its locks.
type kernel struct {
	l     *life
	nodes map[string]uint64
	locks map[string]chan struct{}
}

func newKernel(l *life) *kernel {
	k := &kernel{l: l, nodes: make(map[string]uint64), locks: make(map[string]chan struct{})}
	for _, d := range append(ownDirs(len(l.w.h.Writers)), dirs...) {
		k.locks[d] = make(chan struct{}, 1)
	}
	return k
}

// enter finds the directories; it is called before there are writers.
func (k *kernel) enter() syscall.Errno {
	for _, d := range dirs {
		var out fuse.EntryOut
		h := header(1)
		if st := k.l.raw.Lookup(nil, &h, d, &out); st != fuse.OK {
			return syscall.Errno(st)
		}
		k.nodes[d] = out.NodeId
	}
	return 0
}

func (k *kernel) lock(ds ...string) func() {
	slices.Sort(ds)
	ds = slices.Compact(ds)
	for _, d := range ds {
		k.locks[d] <- struct{}{}
	}
	return func() {
		for _, d := range ds {
			<-k.locks[d]
		}
	}
}

func (k *kernel) lookup(name string) (fuse.EntryOut, syscall.Errno) {
	node, base, errno := k.dirOf(name)
	if errno != 0 {
		return fuse.EntryOut{}, errno
	}
	var out fuse.EntryOut
	h := header(node)
	st := k.l.raw.Lookup(nil, &h, base, &out)
	if st == fuse.OK && out.NodeId == 0 {
		st = fuse.ENOENT
	}
	return out, syscall.Errno(st)
}

// open opens a file, making it where it is not there and flags say so. A stale answer is asked for again once, as the kernel does.
func (k *kernel) open(name string, flags uint32) (f open, created bool, errno syscall.Errno) {
	dir, base := splitName(name)
	for try := 0; ; try++ {
		if flags&syscall.O_CREAT != 0 {
			unlock := k.lock(dir)
			e, errno := k.lookup(name)
			if errno == syscall.ENOENT {
				node, _, errno := k.dirOf(name)
				if errno != 0 {
					unlock()
					return open{}, false, errno
				}
				var out fuse.CreateOut
				st := k.l.raw.Create(nil, &fuse.CreateIn{InHeader: header(node), Flags: flags, Mode: syscall.S_IFREG | 0o644}, base, &out)
				unlock()
				return open{out.NodeId, out.Fh}, true, syscall.Errno(st)
			}
			unlock()
			if errno != 0 {
				return open{}, false, errno
			}
			f.node = e.NodeId
		} else {
			e, errno := k.lookup(name)
			if errno != 0 {
				return open{}, false, errno
			}
			f.node = e.NodeId
		}
		var out fuse.OpenOut
		st := k.l.raw.Open(nil, &fuse.OpenIn{InHeader: header(f.node), Flags: flags &^ syscall.O_CREAT}, &out)
		if syscall.Errno(st) == syscall.ESTALE && try == 0 {
			continue
		}
		return open{f.node, out.Fh}, false, syscall.Errno(st)
	}
}

func (k *kernel) write(f open, off int, p []byte) syscall.Errno {
	n, st := k.l.raw.Write(nil, &fuse.WriteIn{InHeader: header(f.node), Fh: f.fh, Offset: uint64(off), Size: uint32(len(p))}, p)
	if st == fuse.OK && int(n) != len(p) {
		return syscall.EIO
	}
	return syscall.Errno(st)
}

func (k *kernel) read(f open, size int) ([]byte, syscall.Errno) {
	var all []byte
	for {
		buf := make([]byte, 32<<10)
		res, st := k.l.raw.Read(nil, &fuse.ReadIn{InHeader: header(f.node), Fh: f.fh, Offset: uint64(len(all)), Size: uint32(len(buf))}, buf)
		if st != fuse.OK {
			return nil, syscall.Errno(st)
		}
		p, st := res.Bytes(buf)
		if st != fuse.OK {
			return nil, syscall.Errno(st)
		}
		all = append(all, p...)
		n := len(p)
		res.Done()
		if n < len(buf) || len(all) > size+1<<20 {
			return all, 0
		}
	}
}

func (k *kernel) fsync(f open) syscall.Errno {
	return syscall.Errno(k.l.raw.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.node), Fh: f.fh}))
}

// close is close(2). The kernel tells of the end of the description later, and waits for no answer.
func (k *kernel) close(f open) syscall.Errno {
	st := k.l.raw.Flush(nil, &fuse.FlushIn{InHeader: header(f.node), Fh: f.fh})
	k.release(f)
	return syscall.Errno(st)
}

func (k *kernel) release(f open) {
	n := k.l.w.nthOf("release")
	d := time.Duration(k.l.w.chance("release ", n).IntN(3000)) * time.Microsecond
	k.l.alive(&k.l.closed, func() {
		if d > 1500*time.Microsecond {
			time.Sleep(d - 1500*time.Microsecond)
		}
		k.l.raw.Release(nil, &fuse.ReleaseIn{InHeader: header(f.node), Fh: f.fh})
	})
}

func (k *kernel) setattr(node uint64, fh *uint64, set func(*fuse.SetAttrIn)) syscall.Errno {
	in := &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header(node)}}
	set(in)
	if fh != nil {
		in.Valid |= fuse.FATTR_FH
		in.Fh = *fh
	}
	return syscall.Errno(k.l.raw.SetAttr(nil, in, &fuse.AttrOut{}))
}

func (k *kernel) unlink(name string) syscall.Errno {
	dir, base := splitName(name)
	defer k.lock(dir)()
	if _, errno := k.lookup(name); errno != 0 {
		return errno
	}
	node, _, errno := k.dirOf(name)
	if errno != 0 {
		return errno
	}
	h := header(node)
	return syscall.Errno(k.l.raw.Unlink(nil, &h, base))
}

func (k *kernel) rename(from, to string) syscall.Errno {
	fd, fb := splitName(from)
	td, tb := splitName(to)
	defer k.lock(fd, td)()
	if _, errno := k.lookup(from); errno != 0 {
		return errno
	}
	if _, errno := k.lookup(to); errno != 0 && errno != syscall.ENOENT {
		return errno
	}
	f, _, errno := k.dirOf(from)
	if errno != 0 {
		return errno
	}
	t, _, errno := k.dirOf(to)
	if errno != 0 {
		return errno
	}
	return syscall.Errno(k.l.raw.Rename(nil, &fuse.RenameIn{InHeader: header(f), Newdir: t}, fb, tb))
}

func (k *kernel) symlink(name, target string) syscall.Errno {
	dir, base := splitName(name)
	defer k.lock(dir)()
	if _, errno := k.lookup(name); errno != syscall.ENOENT {
		return cmp.Or(errno, syscall.EEXIST)
	}
	node, _, errno := k.dirOf(name)
	if errno != 0 {
		return errno
	}
	h := header(node)
	return syscall.Errno(k.l.raw.Symlink(nil, &h, target, base, &fuse.EntryOut{}))
}

// copyRange is copy_file_range(2) of n bytes from beginning to beginning; what the mount does not do the kernel does.
func (k *kernel) copyRange(from, to open, n int) syscall.Errno {
	if n == 0 {
		return 0
	}
	copied, st := k.l.raw.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: header(from.node), FhIn: from.fh, NodeIdOut: to.node, FhOut: to.fh, Len: uint64(n)})
	switch errno := syscall.Errno(st); {
	case errno == syscall.EXDEV || errno == syscall.EOPNOTSUPP || errno == syscall.ENOSYS:
		p, errno := k.read(from, n)
		if errno == 0 {
			errno = k.write(to, 0, p)
		}
		return errno
	case errno != 0 || int(copied) == n:
		return errno
	}
	return syscall.EIO
}

// dirOf is the directory of a name, and the name in it. A directory's own name is in the root.
func (k *kernel) dirOf(name string) (node uint64, base string, errno syscall.Errno) {
	dir, base := splitName(name)
	if base == "" {
		return 1, dir, 0
	}
	if node, ok := k.nodes[dir]; ok {
		return node, base, 0
	}
	var out fuse.EntryOut
	h := header(1)
	st := k.l.raw.Lookup(nil, &h, dir, &out)
	if st == fuse.OK && out.NodeId == 0 {
		st = fuse.ENOENT
	}
	return out.NodeId, base, syscall.Errno(st)
}

func splitName(name string) (dir, base string) {
	dir, base, _ = strings.Cut(name, "/")
	return dir, base
}

// open is an open file: the inode's number and the handle's.
type open struct{ node, fh uint64 }

func header(node uint64) fuse.InHeader {
	return fuse.InHeader{NodeId: node, Caller: fuse.Caller{Owner: fuse.Owner{Uid: 1, Gid: 1}}}
}
