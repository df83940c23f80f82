package posix

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	protRead  = unix.PROT_READ
	protWrite = unix.PROT_READ | unix.PROT_WRITE
)

// mapping maps a file until the rule's end. A worker may touch it: the store and its mount are other processes.
func (d *dir) mapping(fd, n, prot, flags int) []byte {
	p, err := unix.Mmap(fd, 0, n, prot, flags)
	d.ok(err)
	d.after = append(d.after, func() error { return unix.Munmap(p) })
	return p
}

// touching has the kernel read a mapping: what would be a signal is an errno then.
func (d *dir) touching(p []byte) error {
	fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC)
	d.ok(err)
	d.closing(fd)
	_, err = unix.Write(fd, p)
	return err
}

// mmapRules are mmap(2), msync(2), munmap(2) and madvise(2).
func mmapRules() []rule {
	mmap := func(fd, n, prot, flags int) error {
		p, err := unix.Mmap(fd, 0, n, prot, flags)
		if err == nil {
			return unix.Munmap(p)
		}
		return err
	}
	page := os.Getpagesize()
	return []rule{
		works("MAP_SHARED reads the file", func(d *dir) {
			d.file("f", strings.Repeat("0123456789", 2000))
			p := d.mapping(d.open("f", unix.O_RDONLY), 20000, protRead, unix.MAP_SHARED)
			d.same("content", string(p[15000:15010]), "0123456789")
		}),
		works("MAP_PRIVATE reads the file", func(d *dir) {
			d.file("f", "private")
			p := d.mapping(d.open("f", unix.O_RDONLY), 7, protRead, unix.MAP_PRIVATE)
			d.same("content", string(p), "private")
		}),
		works("the rest of the last page is zeros", func(d *dir) {
			d.file("f", "x")
			p := d.mapping(d.open("f", unix.O_RDONLY), page, protRead, unix.MAP_SHARED)
			d.same("bytes", strings.Trim(string(p[1:]), "\x00"), "")
		}),
		works("writing to MAP_PRIVATE leaves the file", func(d *dir) {
			d.file("f", "private")
			p := d.mapping(d.open("f", unix.O_RDONLY), 7, protWrite, unix.MAP_PRIVATE)
			copy(p, "changed")
			d.holds("f", "private")
		}),
		works("writing to MAP_SHARED and msync changes the file", func(d *dir) {
			d.file("f", "before ")
			p := d.mapping(d.open("f", unix.O_RDWR), 7, protWrite, unix.MAP_SHARED)
			copy(p, "changed")
			d.ok(unix.Msync(p, unix.MS_SYNC))
			d.holds("f", "changed")
		}),
		works("writing to MAP_SHARED and munmap and close changes the file", func(d *dir) {
			d.file("f", "before ")
			fd := d.open("f", unix.O_RDWR)
			p, err := unix.Mmap(fd, 0, 7, protWrite, unix.MAP_SHARED)
			d.ok(err)
			copy(p, "changed")
			d.ok(unix.Munmap(p))
			d.ok(unix.Close(fd))
			d.holds("f", "changed")
		}),
		works("writing to MAP_SHARED after the descriptor was closed", func(d *dir) {
			d.file("f", "before ")
			fd := d.open("f", unix.O_RDWR)
			p, err := unix.Mmap(fd, 0, 7, protWrite, unix.MAP_SHARED)
			d.ok(err)
			d.ok(unix.Close(fd))
			copy(p, "changed")
			d.ok(unix.Msync(p, unix.MS_SYNC))
			d.ok(unix.Munmap(p))
			d.holds("f", "changed")
		}),
		works("what was written to MAP_SHARED is read from the descriptor at once", func(d *dir) {
			d.file("f", "before ")
			fd := d.open("f", unix.O_RDWR)
			copy(d.mapping(fd, 7, protWrite, unix.MAP_SHARED), "changed")
			d.same("content", d.get(fd, 0, 7), "changed")
		}),
		works("what is written to the file is in MAP_SHARED at once", func(d *dir) {
			d.file("f", "before ")
			fd := d.open("f", unix.O_RDWR)
			p := d.mapping(fd, 7, protRead, unix.MAP_SHARED)
			d.same("content", string(p), "before ")
			_, err := unix.Pwrite(fd, []byte("changed"), 0)
			d.ok(err)
			d.same("content", string(p), "changed")
		}),
		works("two mappings show the same", func(d *dir) {
			d.file("f", "before ")
			a := d.mapping(d.open("f", unix.O_RDWR), 7, protWrite, unix.MAP_SHARED)
			b := d.mapping(d.open("f", unix.O_RDONLY), 7, protRead, unix.MAP_SHARED)
			copy(a, "changed")
			d.same("content", string(b), "changed")
		}),
		works("a mapping outlives unlink", func(d *dir) {
			d.file("f", "mapped")
			p := d.mapping(d.open("f", unix.O_RDONLY), 6, protRead, unix.MAP_SHARED)
			d.ok(unix.Unlink(d.at("f")))
			d.same("content", string(p), "mapped")
		}),
		works("a mapping outlives rename over its file", func(d *dir) {
			d.file("f", "mapped")
			d.file("g", "other!")
			p := d.mapping(d.open("f", unix.O_RDONLY), 6, protRead, unix.MAP_SHARED)
			d.ok(d.rename("g", "f"))
			d.same("content", string(p), "mapped")
		}),
		works("a file made longer is seen by a mapping behind its old end", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			d.ok(unix.Ftruncate(fd, int64(2*page)))
			p := d.mapping(fd, 2*page, protWrite, unix.MAP_SHARED)
			copy(p[page:], "second page")
			d.ok(unix.Msync(p, unix.MS_SYNC))
			d.same("content", d.get(fd, int64(page), 11), "second page")
		}),
		works("msync with MS_ASYNC and MS_INVALIDATE", func(d *dir) {
			d.file("f", "before ")
			p := d.mapping(d.open("f", unix.O_RDWR), 7, protWrite, unix.MAP_SHARED)
			copy(p, "changed")
			d.ok(unix.Msync(p, unix.MS_ASYNC))
			d.ok(unix.Msync(p, unix.MS_SYNC|unix.MS_INVALIDATE))
			d.holds("f", "changed")
		}),
		works("madvise of a mapped file", func(d *dir) {
			d.file("f", strings.Repeat("x", 3*page))
			p := d.mapping(d.open("f", unix.O_RDONLY), 3*page, protRead, unix.MAP_SHARED)
			for _, advice := range []int{unix.MADV_SEQUENTIAL, unix.MADV_RANDOM, unix.MADV_WILLNEED, unix.MADV_DONTNEED} {
				d.ok(unix.Madvise(p, advice))
			}
			d.same("content", string(p[2*page:2*page+3]), "xxx")
		}),
		works("MAP_POPULATE", func(d *dir) {
			d.file("f", "ahead")
			p := d.mapping(d.open("f", unix.O_RDONLY), 5, protRead, unix.MAP_SHARED|unix.MAP_POPULATE)
			d.same("content", string(p), "ahead")
		}),
		works("a store to a mapping sets mtime by msync at the latest", func(d *dir) {
			d.file("f", "before ")
			fd := d.open("f", unix.O_RDWR)
			d.aged("f")
			p := d.mapping(fd, 7, protWrite, unix.MAP_SHARED)
			since := now()
			copy(p, "changed")
			d.ok(unix.Msync(p, unix.MS_SYNC))
			d.fresh("mtime", d.stat("f").Mtim, since)
		}),
		works("mapping a file that is open with O_DIRECT", func(d *dir) {
			d.file("f", "direct")
			p := d.mapping(d.open("f", unix.O_RDWR|unix.O_DIRECT), 6, protRead, unix.MAP_SHARED)
			d.same("content", string(p), "direct")
		}),
		fails(unix.EFAULT, "a page behind the end of the file is nobody's (SIGBUS)", func(d *dir) error {
			d.file("f", "x")
			return d.touching(d.mapping(d.open("f", unix.O_RDONLY), 2*page, protRead, unix.MAP_SHARED)[page:])
		}),
		fails(unix.EFAULT, "a page that a truncation took away is nobody's (SIGBUS)", func(d *dir) error {
			d.file("f", strings.Repeat("x", 2*page))
			p := d.mapping(d.open("f", unix.O_RDWR), 2*page, protRead, unix.MAP_SHARED)
			d.ok(d.touching(p))
			d.ok(unix.Truncate(d.at("f"), 10))
			return d.touching(p[page:])
		}),
		fails(unix.EACCES, "MAP_SHARED to write of a descriptor opened to read", func(d *dir) error {
			d.file("f", "x")
			return mmap(d.open("f", unix.O_RDONLY), 1, protWrite, unix.MAP_SHARED)
		}),
		fails(unix.EACCES, "a descriptor opened to write alone", func(d *dir) error {
			return mmap(d.open("f", creates), 1, protRead, unix.MAP_SHARED)
		}),
		fails(unix.EBADF, "a descriptor that is closed", func(*dir) error { return mmap(1<<20, 1, protRead, unix.MAP_SHARED) }),
		fails(unix.ENODEV, "a directory", func(d *dir) error { return mmap(d.open(".", unix.O_RDONLY), 1, protRead, unix.MAP_SHARED) }),
		fails(unix.EINVAL, "neither MAP_SHARED nor MAP_PRIVATE", func(d *dir) error {
			d.file("f", "x")
			return mmap(d.open("f", unix.O_RDONLY), 1, protRead, 0)
		}),
		fails(unix.EINVAL, "a length of 0", func(d *dir) error {
			d.file("f", "x")
			_, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, 0, protRead, unix.MAP_SHARED, uintptr(d.open("f", unix.O_RDONLY)), 0)
			return errno
		}),
		fails(unix.EINVAL, "an offset that is no page's", func(d *dir) error {
			d.file("f", "x")
			_, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, 1, protRead, unix.MAP_SHARED, uintptr(d.open("f", unix.O_RDONLY)), 7)
			return errno
		}),
	}
}
