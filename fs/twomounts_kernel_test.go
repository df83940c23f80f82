package fs_test

import (
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// machine is a host's kernel as the mount sees it: it trusts names, attributes and pages for as long as it was told, asks
// again when that is over, and forgets when it likes. It serves one program, which makes one call at a time.
type machine struct {
	l       *life
	root    *dentry
	inodes  map[uint64]*inode
	release []func() // ends of handles that the mount has not been told yet
	eager   bool     // it trusts nothing: a call that met ESTALE is made once more
}

// dentry is a name in the kernel's cache; node 0 says that there is none.
type dentry struct {
	node, gen uint64
	until     time.Time
	kids      map[string]*dentry
}

// inode is what the kernel has of a file.
type inode struct {
	attr    fuse.Attr
	until   time.Time // of attr
	lookups uint64
	opens   int
	names   int
	pages   map[int64][]byte
}

const pageSize = 512 // small, so that small files have several

func newMachine(l *life) *machine {
	m := &machine{l: l, root: &dentry{node: 1, until: time.Now().Add(24 * time.Hour)}, inodes: make(map[uint64]*inode)}
	m.inodes[1] = &inode{names: 1}
	return m
}

// errnoOfStatus is what the kernel makes of an answer: success of a lookup without a node is ENOENT.
func errnoOfStatus(st fuse.Status) syscall.Errno { return syscall.Errno(st) }

// found takes an answer to a lookup, or to what makes a name.
func (m *machine) found(out *fuse.EntryOut) *dentry {
	now := time.Now()
	if out.NodeId != 0 {
		m.know(out.NodeId, &out.Attr, out.AttrTimeout()).lookups++
	}
	return &dentry{node: out.NodeId, gen: out.Generation, until: now.Add(out.EntryTimeout())}
}

// know takes attributes; other sizes and times make the pages worthless.
func (m *machine) know(node uint64, a *fuse.Attr, valid time.Duration) *inode {
	i := m.inodes[node]
	if i == nil {
		i = &inode{attr: *a}
		m.inodes[node] = i
	}
	if i.attr.Size != a.Size || i.attr.Mtime != a.Mtime || i.attr.Mtimensec != a.Mtimensec {
		i.pages = nil
	}
	if i.attr.Mode&syscall.S_IFMT != a.Mode&syscall.S_IFMT && i.attr.Mode != 0 {
		m.l.w.find("inode %d was of type %o and is of type %o", node, i.attr.Mode, a.Mode)
	}
	i.attr, i.until = *a, time.Now().Add(valid)
	return i
}

// set puts a name into the cache, in place of what was there.
func (m *machine) set(d *dentry, name string, k *dentry) *dentry {
	if d.kids == nil {
		d.kids = make(map[string]*dentry)
	}
	old := d.kids[name]
	if k != nil {
		d.kids[name] = k
		if k.node != 0 {
			m.inodes[k.node].names++
		}
	} else {
		delete(d.kids, name)
	}
	if old != nil {
		m.drop(old)
	}
	return k
}

// drop forgets a name that is in the cache no longer, and what is below it.
func (m *machine) drop(d *dentry) {
	for name := range d.kids {
		m.set(d, name, nil)
	}
	if d.node != 0 {
		m.inodes[d.node].names--
		m.forget(d.node)
	}
}

// forget tells the mount of an inode that nothing needs any more.
func (m *machine) forget(node uint64) {
	i := m.inodes[node]
	if i.names > 0 || i.opens > 0 || node == 1 {
		return
	}
	delete(m.inodes, node)
	m.l.raw.Forget(node, i.lookups)
}

// pressure makes the kernel forget all that is not in use.
func (m *machine) pressure() {
	for name := range m.root.kids {
		m.set(m.root, name, nil)
	}
}

// ends tells the mount of handles that were closed.
func (m *machine) ends() {
	for _, f := range m.release {
		f()
	}
	m.release = nil
}

// child is a name in a directory, from the cache where that is allowed. create: it is about to be made, or to be the target of a
// rename, which takes no old knowledge that it is absent.
func (m *machine) child(d *dentry, name string, create bool) (*dentry, syscall.Errno) {
	k := d.kids[name]
	trusted := k != nil && time.Now().Before(k.until) && !m.eager && (k.node != 0 || !create)
	if trusted {
		return k, 0
	}
	if k != nil && k.node != 0 { // revalidated
		var out fuse.EntryOut
		h := header(d.node)
		if st := m.l.raw.Lookup(nil, &h, name, &out); st == fuse.OK && out.NodeId == k.node && out.Generation == k.gen {
			m.know(k.node, &out.Attr, out.AttrTimeout()).lookups++
			k.until = time.Now().Add(out.EntryTimeout())
			return k, 0
		} else if st == fuse.OK && out.NodeId != 0 {
			f := m.found(&out)
			f.kids = nil
			m.forget(f.node)
		}
	}
	m.set(d, name, nil)
	var out fuse.EntryOut
	h := header(d.node)
	if st := m.l.raw.Lookup(nil, &h, name, &out); st != fuse.OK {
		return nil, errnoOfStatus(st)
	}
	return m.set(d, name, m.found(&out)), 0
}

// parent walks to the directory of a path.
func (m *machine) parent(p string) (*dentry, string, syscall.Errno) {
	d := m.root
	for {
		name, rest, more := strings.Cut(p, "/")
		if !more {
			return d, name, 0
		}
		k, errno := m.child(d, name, false)
		switch {
		case errno != 0:
			return nil, "", errno
		case k.node == 0:
			return nil, "", syscall.ENOENT
		case m.inodes[k.node].attr.Mode&syscall.S_IFMT != syscall.S_IFDIR:
			return nil, "", syscall.ENOTDIR
		}
		d, p = k, rest
	}
}

// walk walks to a path; the name may be absent.
func (m *machine) walk(p string, create bool) (d *dentry, name string, k *dentry, errno syscall.Errno) {
	if p == "" {
		return nil, "", m.root, 0
	}
	if d, name, errno = m.parent(p); errno != 0 {
		return nil, "", nil, errno
	}
	k, errno = m.child(d, name, create)
	return d, name, k, errno
}

// call makes a system call; one that meets ESTALE is made again, with nothing trusted.
func (m *machine) call(do func() syscall.Errno) syscall.Errno {
	errno := do()
	if errno == syscall.ESTALE {
		m.eager = true
		errno = do()
		m.eager = false
	}
	return errno
}

// there walks to a name that must be there.
func (m *machine) there(p string) (k *dentry, errno syscall.Errno) {
	_, _, k, errno = m.walk(p, false)
	if errno == 0 && k.node == 0 {
		errno = syscall.ENOENT
	}
	return k, errno
}

// attr gives an inode's attributes, from the cache while they are trusted.
func (m *machine) attr(node uint64) (fuse.Attr, syscall.Errno) {
	i := m.inodes[node]
	if time.Now().Before(i.until) && !m.eager {
		return i.attr, 0
	}
	var out fuse.AttrOut
	if st := m.l.raw.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(node)}, &out); st != fuse.OK {
		return fuse.Attr{}, errnoOfStatus(st)
	}
	if node == 1 {
		return out.Attr, 0
	}
	return m.know(node, &out.Attr, out.Timeout()).attr, 0
}

// list reads a directory: names with their types. plus takes attributes along, as the kernel does where a stat follows.
func (m *machine) list(p string, plus bool) (names map[string]uint32, errno syscall.Errno) {
	errno = m.call(func() syscall.Errno {
		names = make(map[string]uint32)
		k, errno := m.there(p)
		if errno != 0 {
			return errno
		}
		if k.node != 1 && m.inodes[k.node].attr.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			return syscall.ENOTDIR
		}
		var out fuse.OpenOut
		if st := m.l.raw.OpenDir(nil, &fuse.OpenIn{InHeader: header(k.node)}, &out); st != fuse.OK {
			return errnoOfStatus(st)
		}
		defer m.l.raw.ReleaseDir(&fuse.ReleaseIn{InHeader: header(k.node), Fh: out.Fh})
		for off := uint64(0); ; {
			buf := make([]byte, 1<<10)
			in := &fuse.ReadIn{InHeader: header(k.node), Fh: out.Fh, Offset: off, Size: uint32(len(buf))}
			read := m.l.raw.ReadDir
			if plus {
				read = m.l.raw.ReadDirPlus
			}
			if st := read(nil, in, fuse.NewDirEntryList(buf, off)); st != fuse.OK {
				return errnoOfStatus(st)
			}
			next := m.entries(k, buf, plus, names)
			if next == 0 {
				return 0
			}
			off = next
		}
	})
	return names, errno
}

// dirent is how the kernel is told of a name.
type dirent struct {
	ino, off uint64
	length   uint32
	typ      uint32
}

func (m *machine) entries(d *dentry, buf []byte, plus bool, names map[string]uint32) (off uint64) {
	for at := 0; at+int(unsafe.Sizeof(dirent{})) < len(buf); {
		var out *fuse.EntryOut
		if plus {
			out = (*fuse.EntryOut)(unsafe.Pointer(&buf[at]))
			at += int(unsafe.Sizeof(*out))
		}
		if at+int(unsafe.Sizeof(dirent{})) > len(buf) {
			return off
		}
		e := (*dirent)(unsafe.Pointer(&buf[at]))
		if e.length == 0 {
			return off
		}
		at += int(unsafe.Sizeof(*e))
		name := string(buf[at : at+int(e.length)])
		at += int(e.length+7) &^ 7
		off = e.off
		if name == "." || name == ".." {
			continue
		}
		if _, twice := names[name]; twice {
			m.l.w.find("a listing names %s twice", name)
		}
		names[name] = e.typ << 12
		if plus && out.NodeId != 0 {
			k := m.found(out)
			if old := d.kids[name]; old != nil && old.node == k.node && old.gen == k.gen {
				old.until = k.until
			} else {
				m.set(d, name, k)
			}
		}
	}
	return off
}
