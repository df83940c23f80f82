package fs_test

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func (m *machine) stat(p string) (a fuse.Attr, errno syscall.Errno) {
	errno = m.call(func() syscall.Errno {
		k, errno := m.there(p)
		if errno == 0 {
			a, errno = m.attr(k.node)
		}
		return errno
	})
	return a, errno
}

func (m *machine) readlink(p string) (target string, errno syscall.Errno) {
	errno = m.call(func() syscall.Errno {
		k, errno := m.there(p)
		if errno != 0 {
			return errno
		}
		if m.inodes[k.node].attr.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			return syscall.EINVAL
		}
		h := header(k.node)
		b, st := m.l.raw.Readlink(nil, &h)
		target = string(b)
		return errnoOfStatus(st)
	})
	return target, errno
}

// open opens a file, makes it with O_CREAT.
func (m *machine) open(p string, flags uint32) (f open, errno syscall.Errno) {
	errno = m.call(func() syscall.Errno {
		d, name, k, errno := m.walk(p, flags&syscall.O_EXCL != 0)
		switch {
		case errno != 0 && !(errno == syscall.ENOENT && d != nil):
			return errno
		case errno != 0 || k.node == 0:
			if flags&syscall.O_CREAT == 0 {
				return syscall.ENOENT
			}
			return m.create(d, name, flags, &f)
		case flags&syscall.O_EXCL != 0:
			return syscall.EEXIST
		}
		switch m.inodes[k.node].attr.Mode & syscall.S_IFMT {
		case syscall.S_IFDIR:
			return syscall.EISDIR
		case syscall.S_IFLNK:
			return syscall.ELOOP
		}
		var out fuse.OpenOut
		st := m.l.raw.Open(nil, &fuse.OpenIn{InHeader: header(k.node), Flags: flags &^ syscall.O_CREAT}, &out)
		if st == fuse.OK {
			f = open{k.node, out.Fh}
			m.opened(f, flags, out.OpenFlags)
		}
		return errnoOfStatus(st)
	})
	return f, errno
}

func (m *machine) create(d *dentry, name string, flags uint32, f *open) syscall.Errno {
	var out fuse.CreateOut
	st := m.l.raw.Create(nil, &fuse.CreateIn{InHeader: header(d.node), Flags: flags, Mode: syscall.S_IFREG | 0o644}, name, &out)
	if st != fuse.OK {
		return errnoOfStatus(st)
	}
	m.set(d, name, m.found(&out.EntryOut))
	*f = open{out.NodeId, out.Fh}
	m.opened(*f, flags, out.OpenFlags)
	return 0
}

func (m *machine) opened(f open, flags, how uint32) {
	i := m.inodes[f.node]
	i.opens++
	if how&fuse.FOPEN_KEEP_CACHE == 0 {
		i.pages = nil
	}
	if flags&syscall.O_TRUNC != 0 {
		i.attr.Size, i.until, i.pages = 0, time.Time{}, nil
	}
}

// write writes through the pages.
func (m *machine) write(f open, off int, p []byte) syscall.Errno {
	n, st := m.l.raw.Write(nil, &fuse.WriteIn{InHeader: header(f.node), Fh: f.fh, Offset: uint64(off), Size: uint32(len(p))}, p)
	if st != fuse.OK {
		return errnoOfStatus(st)
	}
	if int(n) != len(p) {
		return syscall.EIO
	}
	i := m.inodes[f.node]
	i.attr.Size = max(i.attr.Size, uint64(off+len(p)))
	i.until = time.Time{}
	for at := int64(off) / pageSize; at*pageSize < int64(off+len(p)); at++ {
		page := i.pages[at]
		if page == nil {
			continue
		}
		from := max(at*pageSize, int64(off))
		to := min((at+1)*pageSize, int64(off+len(p)))
		copy(page[from-at*pageSize:], p[from-int64(off):to-int64(off)])
	}
	return 0
}

// read reads a whole file, page by page where they are not there.
func (m *machine) read(f open) ([]byte, syscall.Errno) {
	if _, errno := m.attr(f.node); errno != 0 { // in AUTO_INVAL mode each read looks whether they are old
		return nil, errno
	}
	i := m.inodes[f.node]
	size := int64(i.attr.Size)
	if i.pages == nil {
		i.pages = make(map[int64][]byte)
	}
	all := []byte{}
	for at := int64(0); at*pageSize < size; at++ {
		page := i.pages[at]
		if page == nil {
			buf := make([]byte, 4*pageSize)
			res, st := m.l.raw.Read(nil, &fuse.ReadIn{InHeader: header(f.node), Fh: f.fh, Offset: uint64(at * pageSize), Size: uint32(len(buf))}, buf)
			if st != fuse.OK {
				return nil, errnoOfStatus(st)
			}
			p, st := res.Bytes(buf)
			if st != fuse.OK {
				return nil, errnoOfStatus(st)
			}
			if int64(len(p)) < min(int64(len(buf)), size-at*pageSize) { // short: the file ends here
				size = at*pageSize + int64(len(p))
				i.attr.Size = uint64(size)
			}
			for k := int64(0); k*pageSize < int64(len(p)); k++ {
				one := make([]byte, pageSize)
				copy(one, p[k*pageSize:])
				i.pages[at+k] = one
			}
			res.Done()
			if page = i.pages[at]; page == nil {
				break
			}
		}
		all = append(all, page[:min(pageSize, size-at*pageSize)]...)
	}
	return all, 0
}

// close is close(2); the mount is told of the handle's end later.
func (m *machine) close(f open, writes bool) (errno syscall.Errno) {
	if writes {
		errno = errnoOfStatus(m.l.raw.Flush(nil, &fuse.FlushIn{InHeader: header(f.node), Fh: f.fh}))
	}
	m.release = append(m.release, func() {
		m.l.raw.Release(nil, &fuse.ReleaseIn{InHeader: header(f.node), Fh: f.fh})
		m.inodes[f.node].opens--
		m.forget(f.node)
	})
	return errno
}

func (m *machine) setattr(p string, set func(*fuse.SetAttrIn)) syscall.Errno {
	return m.call(func() syscall.Errno {
		k, errno := m.there(p)
		if errno != 0 {
			return errno
		}
		in := &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header(k.node)}}
		set(in)
		switch mode := m.inodes[k.node].attr.Mode & syscall.S_IFMT; {
		case in.Valid&fuse.FATTR_SIZE != 0 && mode == syscall.S_IFDIR:
			return syscall.EISDIR
		case in.Valid&fuse.FATTR_SIZE != 0 && mode == syscall.S_IFLNK, mode == syscall.S_IFLNK && in.Valid&fuse.FATTR_MODE != 0:
			return syscall.ELOOP
		}
		var out fuse.AttrOut
		st := m.l.raw.SetAttr(nil, in, &out)
		if st == fuse.OK {
			m.know(k.node, &out.Attr, out.Timeout())
		}
		return errnoOfStatus(st)
	})
}

func (m *machine) setxattr(p, attr, value string) syscall.Errno {
	return m.call(func() syscall.Errno {
		k, errno := m.there(p)
		if errno != 0 {
			return errno
		}
		if m.inodes[k.node].attr.Mode&syscall.S_IFMT == syscall.S_IFLNK {
			return syscall.EPERM
		}
		m.inodes[k.node].until = time.Time{}
		return errnoOfStatus(m.l.raw.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: header(k.node), Size: uint32(len(value))}, attr, []byte(value)))
	})
}

func (m *machine) getxattr(p, attr string) (value string, errno syscall.Errno) {
	errno = m.call(func() syscall.Errno {
		k, errno := m.there(p)
		if errno != 0 {
			return errno
		}
		buf := make([]byte, 256)
		h := header(k.node)
		n, st := m.l.raw.GetXAttr(nil, &h, attr, buf)
		if st == fuse.OK {
			value = string(buf[:n])
		}
		return errnoOfStatus(st)
	})
	return value, errno
}

// makes makes a name that must not be there.
func (m *machine) makes(p string, do func(h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status) syscall.Errno {
	return m.call(func() syscall.Errno {
		d, name, k, errno := m.walk(p, true)
		switch {
		case errno != 0 && !(errno == syscall.ENOENT && d != nil):
			return errno
		case errno == 0 && k.node != 0:
			return syscall.EEXIST
		}
		var out fuse.EntryOut
		h := header(d.node)
		st := do(&h, name, &out)
		if st == fuse.OK {
			m.set(d, name, m.found(&out))
		} else {
			m.set(d, name, nil)
		}
		return errnoOfStatus(st)
	})
}

func (m *machine) mkdir(p string) syscall.Errno {
	return m.makes(p, func(h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
		return m.l.raw.Mkdir(nil, &fuse.MkdirIn{InHeader: *h, Mode: 0o755}, name, out)
	})
}

func (m *machine) symlink(p, target string) syscall.Errno {
	return m.makes(p, func(h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
		return m.l.raw.Symlink(nil, h, target, name, out)
	})
}

// removes takes a name away.
func (m *machine) removes(p string, dir bool) syscall.Errno {
	return m.call(func() syscall.Errno {
		d, name, k, errno := m.walk(p, false)
		switch {
		case errno != 0:
			return errno
		case k.node == 0:
			return syscall.ENOENT
		}
		isDir := m.inodes[k.node].attr.Mode&syscall.S_IFMT == syscall.S_IFDIR
		switch {
		case isDir && !dir:
			return syscall.EISDIR
		case !isDir && dir:
			return syscall.ENOTDIR
		}
		h := header(d.node)
		var st fuse.Status
		if dir {
			st = m.l.raw.Rmdir(nil, &h, name)
		} else {
			st = m.l.raw.Unlink(nil, &h, name)
		}
		if st == fuse.OK || st == fuse.ENOENT {
			m.set(d, name, nil)
		}
		return errnoOfStatus(st)
	})
}

func (m *machine) rename(from, to string) syscall.Errno {
	return m.call(func() syscall.Errno {
		fd, fn, k, errno := m.walk(from, false)
		switch {
		case errno != 0:
			return errno
		case k.node == 0:
			return syscall.ENOENT
		}
		td, tn, t, errno := m.walk(to, true)
		switch {
		case errno != 0 && !(errno == syscall.ENOENT && td != nil):
			return errno
		case errno == 0 && t.node == k.node:
			return 0 // one name
		case errno == 0 && t.node != 0:
			fromDir := m.inodes[k.node].attr.Mode&syscall.S_IFMT == syscall.S_IFDIR
			toDir := m.inodes[t.node].attr.Mode&syscall.S_IFMT == syscall.S_IFDIR
			switch {
			case fromDir && !toDir:
				return syscall.ENOTDIR
			case !fromDir && toDir:
				return syscall.EISDIR
			}
		}
		if fd.kids[fn] != k { // it went while the target was looked up
			return syscall.ESTALE
		}
		st := m.l.raw.Rename(nil, &fuse.RenameIn{InHeader: header(fd.node), Newdir: td.node}, fn, tn)
		switch st {
		case fuse.OK:
			delete(fd.kids, fn)
			m.inodes[k.node].names--
			m.inodes[k.node].until = time.Time{}
			m.set(td, tn, k)
		case fuse.ENOENT, fuse.Status(syscall.EINTR):
			m.set(fd, fn, nil)
			m.set(td, tn, nil)
		}
		return errnoOfStatus(st)
	})
}
