package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The requests that meter counts, each passed on as it came.

func (m *meter) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	began := m.begin()
	status := m.RawFileSystem.Lookup(cancel, header, name, out)
	if status.Ok() && out.NodeId == 0 { // there is none, and the kernel may remember that
		m.of[opLookup].errnos[syscall.ENOENT].Add(1)
	}
	return m.end(opLookup, header, began, status)
}

func (m *meter) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	began := m.begin()
	return m.end(opGetattr, &in.InHeader, began, m.RawFileSystem.GetAttr(cancel, in, out))
}

func (m *meter) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	began := m.begin()
	return m.end(opSetattr, &in.InHeader, began, m.RawFileSystem.SetAttr(cancel, in, out))
}

func (m *meter) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	began := m.begin()
	return m.end(opMknod, &in.InHeader, began, m.RawFileSystem.Mknod(cancel, in, name, out))
}

func (m *meter) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	began := m.begin()
	return m.end(opMkdir, &in.InHeader, began, m.RawFileSystem.Mkdir(cancel, in, name, out))
}

func (m *meter) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	began := m.begin()
	return m.end(opUnlink, header, began, m.RawFileSystem.Unlink(cancel, header, name))
}

func (m *meter) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	began := m.begin()
	return m.end(opRmdir, header, began, m.RawFileSystem.Rmdir(cancel, header, name))
}

func (m *meter) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	began := m.begin()
	return m.end(opRename, &in.InHeader, began, m.RawFileSystem.Rename(cancel, in, from, to))
}

func (m *meter) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	began := m.begin()
	return m.end(opLink, &in.InHeader, began, m.RawFileSystem.Link(cancel, in, name, out))
}

func (m *meter) Symlink(cancel <-chan struct{}, header *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	began := m.begin()
	return m.end(opSymlink, header, began, m.RawFileSystem.Symlink(cancel, header, target, name, out))
}

func (m *meter) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	began := m.begin()
	return m.end(opSetxattr, &in.InHeader, began, m.RawFileSystem.SetXAttr(cancel, in, name, value))
}

func (m *meter) RemoveXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	began := m.begin()
	return m.end(opRemovexattr, header, began, m.RawFileSystem.RemoveXAttr(cancel, header, name))
}

func (m *meter) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	began := m.begin()
	return m.end(opCreate, &in.InHeader, began, m.RawFileSystem.Create(cancel, in, name, out))
}

func (m *meter) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	began := m.begin()
	return m.end(opOpen, &in.InHeader, began, m.RawFileSystem.Open(cancel, in, out))
}

func (m *meter) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	began := m.begin()
	return m.end(opLseek, &in.InHeader, began, m.RawFileSystem.Lseek(cancel, in, out))
}

func (m *meter) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	began := m.begin()
	return m.end(opFlush, &in.InHeader, began, m.RawFileSystem.Flush(cancel, in))
}

func (m *meter) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	began := m.begin()
	return m.end(opFsync, &in.InHeader, began, m.RawFileSystem.Fsync(cancel, in))
}

func (m *meter) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	began := m.begin()
	return m.end(opFallocate, &in.InHeader, began, m.RawFileSystem.Fallocate(cancel, in))
}

func (m *meter) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	began := m.begin()
	return m.end(opOpendir, &in.InHeader, began, m.RawFileSystem.OpenDir(cancel, in, out))
}

func (m *meter) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	began := m.begin()
	return m.end(opReaddir, &in.InHeader, began, m.RawFileSystem.ReadDir(cancel, in, out))
}

func (m *meter) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	began := m.begin()
	return m.end(opReaddirplus, &in.InHeader, began, m.RawFileSystem.ReadDirPlus(cancel, in, out))
}

func (m *meter) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	began := m.begin()
	return m.end(opFsyncdir, &in.InHeader, began, m.RawFileSystem.FsyncDir(cancel, in))
}

func (m *meter) StatFs(cancel <-chan struct{}, header *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	began := m.begin()
	return m.end(opStatfs, header, began, m.RawFileSystem.StatFs(cancel, header, out))
}

func (m *meter) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	began := m.begin()
	result, status := m.RawFileSystem.Readlink(cancel, header)
	return result, m.end(opReadlink, header, began, status)
}

func (m *meter) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	began := m.begin()
	result, status := m.RawFileSystem.GetXAttr(cancel, header, name, dest)
	return result, m.end(opGetxattr, header, began, status)
}

func (m *meter) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	began := m.begin()
	result, status := m.RawFileSystem.ListXAttr(cancel, header, dest)
	return result, m.end(opListxattr, header, began, status)
}

func (m *meter) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	began := m.begin()
	result, status := m.RawFileSystem.Read(cancel, in, buf)
	return result, m.end(opRead, &in.InHeader, began, status)
}

func (m *meter) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	began := m.begin()
	result, status := m.RawFileSystem.Write(cancel, in, data)
	return result, m.end(opWrite, &in.InHeader, began, status)
}

func (m *meter) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	began := m.begin()
	result, status := m.RawFileSystem.CopyFileRange(cancel, in)
	return result, m.end(opCopyFileRange, &in.InHeader, began, status)
}

// Writev is asked first; where it is not there, Write is, and counts.
func (m *meter) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	began := m.begin()
	n, status := m.RawFileSystem.Writev(cancel, in, data)
	if status == fuse.ENOSYS {
		m.flying.Add(-1)
		return n, status
	}
	return n, m.end(opWrite, &in.InHeader, began, status)
}

func (m *meter) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	began := m.begin()
	m.RawFileSystem.Release(cancel, in)
	m.end(opRelease, &in.InHeader, began, fuse.OK)
}

func (m *meter) ReleaseDir(in *fuse.ReleaseIn) {
	began := m.begin()
	m.RawFileSystem.ReleaseDir(in)
	m.end(opReleasedir, &in.InHeader, began, fuse.OK)
}
