package posix

import (
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// writeRules are write(2), pwrite(2), writev(2) and pwritev(2).
func writeRules() []rule {
	return []rule{
		works("write moves the offset and the end", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			d.put(fd, "0123")
			d.put(fd, "4567")
			d.same("size", d.fstat(fd).Size, int64(8))
			d.same("content", d.get(fd, 0, 10), "01234567")
		}),
		works("write over a part leaves the rest", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_WRONLY)
			_, err := unix.Pwrite(fd, []byte("xx"), 4)
			d.ok(err)
			d.ok(unix.Close(fd))
			d.holds("f", "0123xx6789")
		}),
		works("write of no bytes changes nothing", func(d *dir) {
			d.file("f", "x")
			d.aged("f")
			n, err := unix.Write(d.open("f", unix.O_WRONLY), nil)
			d.ok(err)
			d.same("written", n, 0)
			d.same("mtime", d.stat("f").Mtim, old)
			d.holds("f", "x")
		}),
		works("write behind the end leaves a hole of zeros", func(d *dir) {
			d.file("f", "begin")
			fd := d.open("f", unix.O_WRONLY)
			_, err := unix.Pwrite(fd, []byte("end"), 8)
			d.ok(err)
			d.ok(unix.Close(fd))
			d.holds("f", "begin\x00\x00\x00end")
		}),
		works("pwrite leaves the offset", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			_, err := unix.Pwrite(fd, []byte("later"), 3)
			d.ok(err)
			d.put(fd, "now")
			d.same("content", d.get(fd, 0, 10), "nowlater")
		}),
		works("writev writes buffers in their order", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			n, err := unix.Writev(fd, [][]byte{[]byte("one "), []byte("two "), []byte("three")})
			d.ok(err)
			d.same("written", n, 13)
			d.same("content", d.get(fd, 0, 20), "one two three")
		}),
		works("pwritev writes at an offset", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_RDWR)
			n, err := unix.Pwritev(fd, [][]byte{[]byte("a"), []byte("bc")}, 5)
			d.ok(err)
			d.same("written", n, 3)
			d.same("content", d.get(fd, 0, 20), "01234abc89")
		}),
		works("pwritev2 with RWF_APPEND appends", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_RDWR)
			_, err := unix.Pwritev2(fd, [][]byte{[]byte("end")}, 0, unix.RWF_APPEND)
			d.ok(err)
			d.same("content", d.get(fd, 0, 20), "0123456789end")
		}),
		works("pwritev2 with RWF_DSYNC", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			_, err := unix.Pwritev2(fd, [][]byte{[]byte("synced")}, 0, unix.RWF_DSYNC)
			d.ok(err)
			d.holds("f", "synced")
		}),
		works("two writers of different parts both win", func(d *dir) {
			d.file("f", strings.Repeat(".", 8192))
			a, b := d.open("f", unix.O_WRONLY), d.open("f", unix.O_WRONLY)
			_, err := unix.Pwrite(a, []byte("first"), 0)
			d.ok(err)
			_, err = unix.Pwrite(b, []byte("second"), 8000)
			d.ok(err)
			d.ok(unix.Close(a))
			d.ok(unix.Close(b))
			text := d.text("f")
			d.same("content", text[:6]+text[7999:8007], "first."+".second.")
		}),
		works("a large write is whole", func(d *dir) {
			text := strings.Repeat("0123456789abcdef", 1<<16+3)
			d.file("f", text)
			if d.text("f") != text {
				d.wrong("other bytes")
			}
		}),
		fails(unix.EBADF, "write of a descriptor opened to read", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Write(d.open("f", unix.O_RDONLY), []byte("y"))
			return err
		}),
		fails(unix.EBADF, "write of a directory's descriptor", func(d *dir) error {
			_, err := unix.Write(d.open(".", unix.O_RDONLY), []byte("y"))
			return err
		}),
		fails(unix.EFAULT, "write from memory that is not the process's", func(d *dir) error {
			return raw(unix.SYS_WRITE, uintptr(d.open("f", creates)), 1, 10)
		}),
		fails(unix.EINVAL, "pwrite at a negative offset", func(d *dir) error {
			_, err := unix.Pwrite(d.open("f", creates), []byte("x"), -1)
			return err
		}),
		fails(unix.EINVAL, "writev of a negative count", func(d *dir) error {
			return raw(unix.SYS_WRITEV, uintptr(d.open("f", creates)), 0, ^uintptr(0))
		}),
		fails(unix.ESPIPE, "pwrite of a FIFO", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			_, err := unix.Pwrite(d.open("p", unix.O_RDWR|unix.O_NONBLOCK), []byte("x"), 0)
			return err
		}),
		fails(unix.EINVAL, "write over the largest offset", func(d *dir) error {
			_, err := unix.Pwrite(d.open("f", creates), []byte("xx"), 1<<63-2)
			return err
		}),
		fails(unix.EFBIG, "write beyond what any object can be", func(d *dir) error {
			fd := d.open("f", creates)
			_, err := unix.Pwrite(fd, []byte("xx"), 1<<62)
			d.ok(unix.Ftruncate(fd, 0))
			return err
		}),
		fails(unix.EFBIG, "write beyond RLIMIT_FSIZE", func(d *dir) error {
			fd := d.open("f", creates)
			defer d.limited(1000)()
			_, err := unix.Pwrite(fd, []byte("x"), 1000)
			return err
		}),
		works("write up to RLIMIT_FSIZE is cut there", func(d *dir) {
			fd := d.open("f", creates)
			defer d.limited(1000)()
			n, err := unix.Pwrite(fd, []byte("0123456789"), 995)
			d.ok(err)
			d.same("written", n, 5)
		}),
		fails(unix.EFBIG, "ftruncate beyond RLIMIT_FSIZE", func(d *dir) error {
			fd := d.open("f", creates)
			defer d.limited(1000)()
			return unix.Ftruncate(fd, 1001)
		}),
	}
}

// limited bounds the size of files until the func it gives is called. SIGXFSZ is for others.
func (d *dir) limited(size uint64) func() {
	signal.Ignore(unix.SIGXFSZ)
	var was unix.Rlimit
	d.ok(unix.Getrlimit(unix.RLIMIT_FSIZE, &was))
	d.ok(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: was.Max}))
	return func() {
		d.ok(unix.Setrlimit(unix.RLIMIT_FSIZE, &was))
		signal.Reset(unix.SIGXFSZ)
	}
}
