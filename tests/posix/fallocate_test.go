package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

// fallocateRules are fallocate(2).
func fallocateRules() []rule {
	const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
	full := strings.Repeat("x", 16384)
	done := func(d *dir, mode uint32, off, n int64) int {
		d.file("f", full)
		fd := d.open("f", unix.O_RDWR)
		d.ok(unix.Fallocate(fd, mode, off, n))
		return fd
	}
	expect := func(d *dir, fd int, want string) {
		d.ok(unix.Close(fd))
		if d.text("f") != want {
			d.wrong("other bytes, or %d of them in place of %d", len(d.text("f")), len(want))
		}
	}
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	return []rule{
		works("mode 0 lengthens with zeros", func(d *dir) { expect(d, done(d, 0, 16000, 1000), full+zeros(616)) }),
		works("mode 0 inside the file changes nothing", func(d *dir) { expect(d, done(d, 0, 100, 1000), full) }),
		works("mode 0 of a new file", func(d *dir) {
			fd := d.open("f", creates)
			d.ok(unix.Fallocate(fd, 0, 0, 5000))
			expect(d, fd, zeros(5000))
		}),
		works("KEEP_SIZE behind the end leaves the size", func(d *dir) { expect(d, done(d, keep, 16384, 8192), full) }),
		works("PUNCH_HOLE makes zeros and leaves the size", func(d *dir) {
			expect(d, done(d, punch|keep, 4096, 8192), full[:4096]+zeros(8192)+full[:4096])
		}),
		works("PUNCH_HOLE of parts of pages", func(d *dir) {
			expect(d, done(d, punch|keep, 5000, 3), full[:5000]+zeros(3)+full[5003:])
		}),
		works("PUNCH_HOLE over the end leaves the size", func(d *dir) {
			expect(d, done(d, punch|keep, 16000, 8192), full[:16000]+zeros(384))
		}),
		works("ZERO_RANGE makes zeros", func(d *dir) { expect(d, done(d, zero, 100, 1000), full[:100]+zeros(1000)+full[1100:]) }),
		works("ZERO_RANGE over the end lengthens", func(d *dir) { expect(d, done(d, zero, 16000, 1000), full[:16000]+zeros(1000)) }),
		works("ZERO_RANGE with KEEP_SIZE over the end", func(d *dir) {
			expect(d, done(d, zero|keep, 16000, 1000), full[:16000]+zeros(384))
		}),
		works("posix_fallocate's range is there to be written", func(d *dir) {
			fd := d.open("f", creates)
			d.ok(unix.Fallocate(fd, 0, 0, 100))
			_, err := unix.Pwrite(fd, []byte("x"), 99)
			d.ok(err)
			expect(d, fd, zeros(99)+"x")
		}),
		fails(unix.EBADF, "the descriptor was opened to read", func(d *dir) error {
			d.file("f", "x")
			return unix.Fallocate(d.open("f", unix.O_RDONLY), 0, 0, 10)
		}),
		fails(unix.EBADF, "the descriptor is closed", func(d *dir) error { return unix.Fallocate(1<<20, 0, 0, 10) }),
		fails(unix.EINVAL, "a length of 0", func(d *dir) error { return unix.Fallocate(d.open("f", creates), 0, 0, 0) }),
		fails(unix.EINVAL, "a negative offset", func(d *dir) error { return unix.Fallocate(d.open("f", creates), 0, -1, 10) }),
		fails(unix.EINVAL, "a negative length", func(d *dir) error { return unix.Fallocate(d.open("f", creates), 0, 0, -1) }),
		fails(unix.EFBIG, "beyond the largest offset", func(d *dir) error {
			return unix.Fallocate(d.open("f", creates), 0, 1<<62, 1<<62)
		}),
		fails(unix.EOPNOTSUPP, "PUNCH_HOLE without KEEP_SIZE", func(d *dir) error {
			return unix.Fallocate(d.open("f", creates), punch, 0, 10)
		}),
		fails(unix.EOPNOTSUPP, "COLLAPSE_RANGE, which the file system does not have", func(d *dir) error {
			return unix.Fallocate(d.open("f", creates), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096)
		}),
		fails(unix.EOPNOTSUPP, "INSERT_RANGE, which the file system does not have", func(d *dir) error {
			return unix.Fallocate(d.open("f", creates), unix.FALLOC_FL_INSERT_RANGE, 0, 4096)
		}),
		fails(unix.EBADF, "the descriptor is a directory's, which cannot be open to write", func(d *dir) error {
			return unix.Fallocate(d.open(".", unix.O_RDONLY), 0, 0, 10)
		}),
		fails(unix.ESPIPE, "the descriptor is a FIFO's", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			return unix.Fallocate(d.open("p", unix.O_RDWR|unix.O_NONBLOCK), 0, 0, 10)
		}),
	}
}
