package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

// readRules are read(2), pread(2), readv(2) and preadv(2).
func readRules() []rule {
	return []rule{
		works("read gives what is there and moves the offset", func(d *dir) {
			d.file("f", "0123456789")
			fd, p := d.open("f", unix.O_RDONLY), make([]byte, 4)
			for _, want := range []string{"0123", "4567", "89", ""} {
				n, err := unix.Read(fd, p)
				d.ok(err)
				d.same("content", string(p[:n]), want)
			}
		}),
		works("read at the end of the file gives 0", func(d *dir) {
			d.file("f", "")
			n, err := unix.Read(d.open("f", unix.O_RDONLY), make([]byte, 4))
			d.ok(err)
			d.same("read", n, 0)
		}),
		works("read behind the end gives 0", func(d *dir) {
			d.file("f", "x")
			d.same("content", d.get(d.open("f", unix.O_RDONLY), 1<<30, 4), "")
		}),
		works("read of no bytes gives 0", func(d *dir) {
			d.file("f", "x")
			n, err := unix.Read(d.open("f", unix.O_RDONLY), nil)
			d.ok(err)
			d.same("read", n, 0)
		}),
		works("read crosses blocks and pages", func(d *dir) {
			text := strings.Repeat("0123456789abcdef", 40000)
			d.file("f", text)
			fd := d.open("f", unix.O_RDONLY)
			for _, at := range []int{0, 4095, 32767, 32768, 131071, 639999} {
				n := min(300000, len(text)-at)
				if got := d.get(fd, int64(at), n); got != text[at:at+n] {
					d.wrong("other bytes from %d", at)
				}
			}
		}),
		works("a hole reads as zeros", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			_, err := unix.Pwrite(fd, []byte("end"), 10000)
			d.ok(err)
			d.same("content", d.get(fd, 9990, 20), strings.Repeat("\x00", 10)+"end")
		}),
		works("pread leaves the offset", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_RDONLY)
			d.same("content", d.get(fd, 5, 3), "567")
			at, err := unix.Seek(fd, 0, unix.SEEK_CUR)
			d.ok(err)
			d.same("offset", at, int64(0))
		}),
		works("readv fills buffers in their order", func(d *dir) {
			d.file("f", "0123456789")
			a, b := make([]byte, 3), make([]byte, 4)
			n, err := unix.Readv(d.open("f", unix.O_RDONLY), [][]byte{a, b})
			d.ok(err)
			d.same("read", n, 7)
			d.same("content", string(a)+string(b), "0123456")
		}),
		works("preadv reads at an offset", func(d *dir) {
			d.file("f", "0123456789")
			a, b := make([]byte, 3), make([]byte, 40)
			n, err := unix.Preadv(d.open("f", unix.O_RDONLY), [][]byte{a, b}, 4)
			d.ok(err)
			d.same("read", n, 6)
			d.same("content", string(a)+string(b[:3]), "456789")
		}),
		works("a read sees what another descriptor has written", func(d *dir) {
			w, r := d.open("f", creates), d.open("f", unix.O_RDONLY)
			d.put(w, "news")
			d.same("content", d.get(r, 0, 9), "news")
		}),
		works("duplicates share the offset", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_RDONLY)
			dup, err := unix.Dup(fd)
			d.ok(err)
			d.closing(dup)
			p := make([]byte, 4)
			_, err = unix.Read(fd, p)
			d.ok(err)
			_, err = unix.Read(dup, p)
			d.ok(err)
			d.same("content", string(p), "4567")
		}),
		fails(unix.EBADF, "read of a descriptor opened to write", func(d *dir) error {
			_, err := unix.Read(d.open("f", creates), make([]byte, 1))
			return err
		}),
		fails(unix.EBADF, "read of a descriptor that is closed", func(d *dir) error {
			_, err := unix.Read(1<<20, make([]byte, 1))
			return err
		}),
		fails(unix.EISDIR, "read of a directory", func(d *dir) error {
			_, err := unix.Read(d.open(".", unix.O_RDONLY), make([]byte, 1))
			return err
		}),
		fails(unix.EFAULT, "read into memory that is not the process's", func(d *dir) error {
			d.file("f", "x")
			return raw(unix.SYS_READ, uintptr(d.open("f", unix.O_RDONLY)), 1, 1)
		}),
		fails(unix.EINVAL, "pread at a negative offset", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Pread(d.open("f", unix.O_RDONLY), make([]byte, 1), -1)
			return err
		}),
		fails(unix.ESPIPE, "pread of a FIFO", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			_, err := unix.Pread(d.open("p", unix.O_RDWR|unix.O_NONBLOCK), make([]byte, 1), 0)
			return err
		}),
		fails(unix.EISDIR, "pread of a directory", func(d *dir) error {
			_, err := unix.Pread(d.open(".", unix.O_RDONLY), make([]byte, 1), 0)
			return err
		}),
		works("readahead and posix_fadvise of a file", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_RDONLY)
			for _, advice := range []int{unix.FADV_NORMAL, unix.FADV_RANDOM, unix.FADV_SEQUENTIAL, unix.FADV_WILLNEED, unix.FADV_NOREUSE, unix.FADV_DONTNEED} {
				d.ok(unix.Fadvise(fd, 0, 10, advice))
			}
			d.ok(raw(unix.SYS_READAHEAD, uintptr(fd), 0, 10))
			d.same("content", d.get(fd, 0, 10), "0123456789")
		}),
		fails(unix.EINVAL, "posix_fadvise with an advice that is none", func(d *dir) error {
			d.file("f", "x")
			return unix.Fadvise(d.open("f", unix.O_RDONLY), 0, 1, 4711)
		}),
	}
}

// raw is a system call's error.
func raw(trap, a, b, c uintptr) error {
	if _, _, errno := unix.Syscall(trap, a, b, c); errno != 0 {
		return errno
	}
	return nil
}
