package fs_test

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// readOther reads what is no file.
func (x *writer) readOther(name string) (version, error) {
	e, errno := x.k.lookup(name)
	switch {
	case errno == syscall.ENOENT:
		return version{}, nil
	case errno != 0:
		return version{}, failed("lookup", errno)
	case e.Mode&syscall.S_IFMT == syscall.S_IFDIR:
		return version{there: true, kind: aDir}, nil
	case e.Mode&syscall.S_IFMT != syscall.S_IFLNK:
		return version{there: true, mode: e.Mode}, nil
	}
	h := header(e.NodeId)
	target, st := x.k.l.raw.Readlink(nil, &h)
	if st != fuse.OK {
		return version{}, failed("readlink", syscall.Errno(st))
	}
	return version{there: true, kind: aLink, body: target, uid: e.Uid, mtime: int64(e.Mtime)}, nil
}

// link makes a symbolic link.
func (x *writer) link(name string) error {
	v := version{there: true, kind: aLink, body: fmt.Appendf(nil, "%x", x.w.body(10)), uid: 1}
	x.begins(name, v)
	if errno := x.k.symlink(name, string(v.body)); errno != 0 {
		return failed("symlink", errno)
	}
	x.acknowledged(name, v)
	x.isThere(name, v)
	return nil
}

// clone copies a file by copy_file_range.
func (x *writer) clone(o op, v version) error {
	was, err := x.sure(o.To)
	if err != nil {
		return err
	}
	from, _, errno := x.k.open(o.Name, syscall.O_RDONLY)
	if errno != 0 {
		return failed("open to copy", errno)
	}
	defer x.k.release(from)
	f, _, errno := x.k.open(o.To, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	if errno != 0 {
		return failed("open the copy", errno)
	}
	now := newFile()
	if was.there {
		now.mode, now.uid = was.mode, was.uid
	}
	x.begins(o.To, now)
	now.body = slices.Clone(v.body)
	x.begins(o.To, now)
	if errno := x.k.copyRange(from, f, len(v.body)); errno != 0 {
		x.k.close(f)
		return failed("copy_file_range", errno)
	}
	if errno := x.k.close(f); errno != 0 {
		return failed("close", errno)
	}
	x.acknowledged(o.To, now)
	x.isThere(o.To, now)
	return nil
}
