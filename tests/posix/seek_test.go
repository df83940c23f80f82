package posix

import (
	"golang.org/x/sys/unix"
)

// seekRules are lseek(2).
func seekRules() []rule {
	return []rule{
		works("SEEK_SET, SEEK_CUR and SEEK_END", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_RDONLY)
			for _, s := range []struct {
				off    int64
				whence int
				want   int64
			}{{4, unix.SEEK_SET, 4}, {3, unix.SEEK_CUR, 7}, {-2, unix.SEEK_CUR, 5}, {0, unix.SEEK_END, 10}, {-1, unix.SEEK_END, 9}, {100, unix.SEEK_SET, 100}} {
				at, err := unix.Seek(fd, s.off, s.whence)
				d.ok(err)
				d.same("offset", at, s.want)
			}
		}),
		works("SEEK_END sees what another descriptor has appended", func(d *dir) {
			d.file("f", "0123")
			r, w := d.open("f", unix.O_RDONLY), d.open("f", unix.O_WRONLY|unix.O_APPEND)
			d.put(w, "45")
			at, err := unix.Seek(r, 0, unix.SEEK_END)
			d.ok(err)
			d.same("offset", at, int64(6))
		}),
		works("an offset behind the end does not make the file longer", func(d *dir) {
			d.file("f", "x")
			fd := d.open("f", unix.O_RDWR)
			_, err := unix.Seek(fd, 1000, unix.SEEK_SET)
			d.ok(err)
			d.same("size", d.fstat(fd).Size, int64(1))
		}),
		fails(unix.EINVAL, "the offset would be negative", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), -1, unix.SEEK_SET)
			return err
		}),
		fails(unix.EINVAL, "a negative offset from the end", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), -2, unix.SEEK_END)
			return err
		}),
		fails(unix.EINVAL, "the whence is none", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), 0, 99)
			return err
		}),
		fails(unix.EBADF, "the descriptor is closed", func(d *dir) error {
			_, err := unix.Seek(1<<20, 0, unix.SEEK_SET)
			return err
		}),
		fails(unix.ESPIPE, "the descriptor is a FIFO's", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			_, err := unix.Seek(d.open("p", unix.O_RDWR|unix.O_NONBLOCK), 0, unix.SEEK_SET)
			return err
		}),
		works("SEEK_DATA in data stays", func(d *dir) {
			d.file("f", "0123456789")
			at, err := unix.Seek(d.open("f", unix.O_RDONLY), 4, unix.SEEK_DATA)
			d.ok(err)
			d.same("offset", at, int64(4))
		}),
		works("SEEK_HOLE finds the end where there is no hole", func(d *dir) {
			d.file("f", "0123456789")
			at, err := unix.Seek(d.open("f", unix.O_RDONLY), 4, unix.SEEK_HOLE)
			d.ok(err)
			d.same("offset", at, int64(10))
		}),
		works("SEEK_DATA skips a hole, or stays where holes are not known", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			_, err := unix.Pwrite(fd, []byte("data"), 1<<20)
			d.ok(err)
			at, err := unix.Seek(fd, 0, unix.SEEK_DATA)
			d.ok(err)
			if at > 1<<20 {
				d.wrong("SEEK_DATA goes to %d, behind the data", at)
			}
		}),
		works("SEEK_HOLE before data never stops behind the end", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			d.put(fd, "data")
			d.ok(unix.Ftruncate(fd, 1<<20))
			at, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
			d.ok(err)
			if at < 4 || at > 1<<20 {
				d.wrong("SEEK_HOLE goes to %d", at)
			}
		}),
		fails(unix.ENXIO, "SEEK_DATA at the end", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), 1, unix.SEEK_DATA)
			return err
		}),
		fails(unix.ENXIO, "SEEK_DATA behind the end", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), 10, unix.SEEK_DATA)
			return err
		}),
		fails(unix.ENXIO, "SEEK_HOLE behind the end", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), 10, unix.SEEK_HOLE)
			return err
		}),
		fails(unix.ENXIO, "SEEK_DATA of an empty file", func(d *dir) error {
			d.file("f", "")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), 0, unix.SEEK_DATA)
			return err
		}),
		fails(unix.ENXIO, "SEEK_DATA at a negative offset", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Seek(d.open("f", unix.O_RDONLY), -1, unix.SEEK_DATA)
			return err
		}),
	}
}
