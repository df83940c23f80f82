package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

// copying copies with copy_file_range(2) until n bytes are there.
func (d *dir) copying(from int, fromOff *int64, to int, toOff *int64, n int) {
	for n > 0 {
		got, err := unix.CopyFileRange(from, fromOff, to, toOff, n, 0)
		d.ok(err)
		if got == 0 {
			return
		}
		n -= got
	}
}

// copyRules are copy_file_range(2), sendfile(2), splice(2) and tee's like.
func copyRules() []rule {
	const text = "0123456789abcdefghij"
	both := func(d *dir) (from, to int) {
		d.file("from", text)
		return d.open("from", unix.O_RDONLY), d.open("to", unix.O_RDWR|unix.O_CREAT)
	}
	copyErr := func(from, to int, off, toOff int64, n, flags int) error {
		_, err := unix.CopyFileRange(from, &off, to, &toOff, n, flags)
		return err
	}
	return []rule{
		works("copy_file_range copies a file whole", func(d *dir) {
			from, to := both(d)
			d.copying(from, nil, to, nil, len(text))
			d.ok(unix.Close(to))
			d.holds("to", text)
		}),
		works("copy_file_range is read back before the close", func(d *dir) {
			from, to := both(d)
			d.copying(from, nil, to, nil, len(text))
			d.same("content", d.get(to, 0, 100), text)
			d.same("size", d.fstat(to).Size, int64(len(text)))
		}),
		works("copy_file_range moves both offsets", func(d *dir) {
			from, to := both(d)
			d.copying(from, nil, to, nil, 10)
			for what, fd := range map[string]int{"from": from, "to": to} {
				at, err := unix.Seek(fd, 0, unix.SEEK_CUR)
				d.ok(err)
				d.same("offset "+what, at, int64(10))
			}
		}),
		works("copy_file_range with offsets leaves the descriptors' own", func(d *dir) {
			from, to := both(d)
			fromOff, toOff := int64(5), int64(2)
			d.copying(from, &fromOff, to, &toOff, 5)
			d.same("offsets", []int64{fromOff, toOff}, []int64{10, 7})
			at, err := unix.Seek(from, 0, unix.SEEK_CUR)
			d.ok(err)
			d.same("own offset", at, int64(0))
			d.same("content", d.get(to, 0, 100), "\x00\x0056789")
		}),
		works("copy_file_range into the middle of a file", func(d *dir) {
			from, _ := both(d)
			d.file("other", strings.Repeat(".", 30))
			to := d.open("other", unix.O_RDWR)
			fromOff, toOff := int64(10), int64(5)
			d.copying(from, &fromOff, to, &toOff, 10)
			d.ok(unix.Close(to))
			d.holds("other", "....."+text[10:]+strings.Repeat(".", 15))
		}),
		works("copy_file_range up to the end gives what there is", func(d *dir) {
			from, to := both(d)
			off := int64(15)
			n, err := unix.CopyFileRange(from, &off, to, nil, 100, 0)
			d.ok(err)
			d.same("copied", n, 5)
		}),
		works("copy_file_range at the end gives 0", func(d *dir) {
			from, to := both(d)
			off := int64(len(text))
			n, err := unix.CopyFileRange(from, &off, to, nil, 100, 0)
			d.ok(err)
			d.same("copied", n, 0)
		}),
		works("copy_file_range inside of a file, without overlap", func(d *dir) {
			d.file("f", text)
			fd := d.open("f", unix.O_RDWR)
			from, to := int64(0), int64(10)
			d.copying(fd, &from, fd, &to, 10)
			d.same("content", d.get(fd, 0, 100), text[:10]+text[:10])
		}),
		works("copy_file_range of a copy of an unsaved file", func(d *dir) {
			fd := d.open("from", unix.O_RDWR|unix.O_CREAT)
			d.put(fd, text)
			to := d.open("to", creates)
			off := int64(0)
			d.copying(fd, &off, to, nil, len(text))
			d.ok(unix.Close(to))
			d.holds("to", text)
		}),
		works("the copy stays when the source changes", func(d *dir) {
			from, to := both(d)
			d.copying(from, nil, to, nil, len(text))
			d.file("from", "changed")
			d.ok(unix.Close(to))
			d.holds("to", text)
			d.holds("from", "changed")
		}),
		works("the copy stays when the source is removed", func(d *dir) {
			from, to := both(d)
			d.copying(from, nil, to, nil, len(text))
			d.ok(unix.Unlink(d.at("from")))
			d.ok(unix.Close(to))
			d.holds("to", text)
		}),
		works("the copy is written on", func(d *dir) {
			from, to := both(d)
			d.copying(from, nil, to, nil, len(text))
			_, err := unix.Pwrite(to, []byte("XX"), 4)
			d.ok(err)
			d.ok(unix.Close(to))
			d.holds("to", text[:4]+"XX"+text[6:])
			d.holds("from", text)
		}),
		works("cp --reflink=auto", func(d *dir) {
			d.file("from", text)
			d.shell("cp --reflink=auto -p from to")
			d.holds("to", text)
		}),
		fails(unix.EBADF, "copy_file_range into a descriptor opened to read", func(d *dir) error {
			from, _ := both(d)
			return copyErr(from, d.open("from", unix.O_RDONLY), 0, 0, 1, 0)
		}),
		fails(unix.EBADF, "copy_file_range out of a descriptor opened to write", func(d *dir) error {
			_, to := both(d)
			return copyErr(d.open("third", creates), to, 0, 0, 1, 0)
		}),
		fails(unix.EBADF, "copy_file_range into a descriptor with O_APPEND", func(d *dir) error {
			from, _ := both(d)
			return copyErr(from, d.open("to", unix.O_WRONLY|unix.O_APPEND), 0, 0, 1, 0)
		}),
		fails(unix.EINVAL, "copy_file_range with a flag", func(d *dir) error {
			from, to := both(d)
			return copyErr(from, to, 0, 0, 1, 1)
		}),
		fails(unix.EINVAL, "copy_file_range inside of a file, with overlap", func(d *dir) error {
			d.file("f", text)
			fd := d.open("f", unix.O_RDWR)
			return copyErr(fd, fd, 0, 5, 10, 0)
		}),
		fails(unix.EISDIR, "copy_file_range of a directory", func(d *dir) error {
			_, to := both(d)
			return copyErr(d.open(".", unix.O_RDONLY), to, 0, 0, 1, 0)
		}),
		fails(unix.EINVAL, "copy_file_range of a FIFO", func(d *dir) error {
			_, to := both(d)
			d.ok(unix.Mkfifo(d.at("p"), 0o600))
			_, err := unix.CopyFileRange(d.open("p", unix.O_RDWR|unix.O_NONBLOCK), nil, to, nil, 1, 0)
			return err
		}),
		fails(unix.EFBIG, "copy_file_range beyond RLIMIT_FSIZE", func(d *dir) error {
			from, to := both(d)
			defer d.limited(10)()
			return copyErr(from, to, 0, 10, 1, 0)
		}),
		works("sendfile to another file", func(d *dir) {
			from, to := both(d)
			off := int64(3)
			n, err := unix.Sendfile(to, from, &off, 100)
			d.ok(err)
			d.same("sent", n, len(text)-3)
			d.same("offset", off, int64(len(text)))
			d.ok(unix.Close(to))
			d.holds("to", text[3:])
		}),
		works("sendfile to a socket", func(d *dir) {
			from, _ := both(d)
			s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			d.ok(err)
			d.closing(s[0])
			d.closing(s[1])
			n, err := unix.Sendfile(s[0], from, nil, 100)
			d.ok(err)
			d.same("sent", n, len(text))
			p := make([]byte, 100)
			n, err = unix.Read(s[1], p)
			d.ok(err)
			d.same("content", string(p[:n]), text)
		}),
		fails(unix.EBADF, "sendfile out of a descriptor opened to write", func(d *dir) error {
			_, to := both(d)
			_, err := unix.Sendfile(to, d.open("third", creates), nil, 1)
			return err
		}),
		works("splice from a file into a pipe", func(d *dir) {
			from, _ := both(d)
			r, w := d.pipe()
			n, err := unix.Splice(from, nil, w, nil, 100, 0)
			d.ok(err)
			p := make([]byte, 100)
			m, err := unix.Read(r, p)
			d.ok(err)
			d.same("content", string(p[:m]), text[:n])
		}),
		works("splice from a pipe into a file", func(d *dir) {
			_, to := both(d)
			r, w := d.pipe()
			d.put(w, "through the pipe")
			off := int64(4)
			n, err := unix.Splice(r, nil, to, &off, 16, 0)
			d.ok(err)
			d.same("spliced", n, int64(16))
			d.ok(unix.Close(to))
			d.holds("to", "\x00\x00\x00\x00through the pipe")
		}),
		fails(unix.EINVAL, "splice without a pipe", func(d *dir) error {
			from, to := both(d)
			_, err := unix.Splice(from, nil, to, nil, 1, 0)
			return err
		}),
		fails(unix.EINVAL, "splice into a file with O_APPEND", func(d *dir) error {
			both(d)
			r, w := d.pipe()
			d.put(w, "x")
			_, err := unix.Splice(r, nil, d.open("to", unix.O_WRONLY|unix.O_APPEND), nil, 1, 0)
			return err
		}),
	}
}

// pipe is a pipe until the rule's end.
func (d *dir) pipe() (r, w int) {
	p := make([]int, 2)
	d.ok(unix.Pipe2(p, unix.O_CLOEXEC))
	d.closing(p[0])
	d.closing(p[1])
	return p[0], p[1]
}
