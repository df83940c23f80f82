package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

// truncateRules are truncate(2) and ftruncate(2).
func truncateRules() []rule {
	return []rule{
		works("truncate shortens", func(d *dir) {
			d.file("f", "0123456789")
			d.ok(unix.Truncate(d.at("f"), 4))
			d.holds("f", "0123")
		}),
		works("truncate lengthens with zeros", func(d *dir) {
			d.file("f", "0123")
			d.ok(unix.Truncate(d.at("f"), 6))
			d.holds("f", "0123\x00\x00")
		}),
		works("truncate to 0", func(d *dir) {
			d.file("f", "0123")
			d.ok(unix.Truncate(d.at("f"), 0))
			d.holds("f", "")
		}),
		works("truncate follows a symbolic link", func(d *dir) {
			d.file("f", "0123")
			d.link("f", "l")
			d.ok(unix.Truncate(d.at("l"), 1))
			d.holds("f", "0")
		}),
		works("shortened and lengthened again shows zeros", func(d *dir) {
			d.file("f", strings.Repeat("x", 10000))
			fd := d.open("f", unix.O_RDWR)
			d.ok(unix.Ftruncate(fd, 5000))
			d.ok(unix.Ftruncate(fd, 10000))
			d.same("content", d.get(fd, 4998, 5), "xx\x00\x00\x00")
			d.ok(unix.Close(fd))
			if d.text("f") != strings.Repeat("x", 5000)+strings.Repeat("\x00", 5000) {
				d.wrong("other bytes")
			}
		}),
		works("ftruncate leaves the offset", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			d.put(fd, "0123456789")
			d.ok(unix.Ftruncate(fd, 2))
			d.put(fd, "x")
			d.same("size", d.fstat(fd).Size, int64(11))
		}),
		works("ftruncate is seen through other descriptors", func(d *dir) {
			d.file("f", "0123456789")
			r, w := d.open("f", unix.O_RDONLY), d.open("f", unix.O_RDWR)
			d.same("content", d.get(r, 0, 20), "0123456789")
			d.ok(unix.Ftruncate(w, 3))
			d.same("content", d.get(r, 0, 20), "012")
			d.same("size", d.fstat(r).Size, int64(3))
		}),
		works("truncate is seen by who has the file open", func(d *dir) {
			d.file("f", "0123456789")
			r := d.open("f", unix.O_RDONLY)
			d.ok(unix.Truncate(d.at("f"), 3))
			d.same("content", d.get(r, 0, 20), "012")
		}),
		works("ftruncate of an unlinked file", func(d *dir) {
			d.file("f", "0123456789")
			fd := d.open("f", unix.O_RDWR)
			d.ok(unix.Unlink(d.at("f")))
			d.ok(unix.Ftruncate(fd, 4))
			d.same("content", d.get(fd, 0, 20), "0123")
		}),
		works("truncate to another size sets mtime", func(d *dir) {
			d.file("f", "x")
			d.aged("f")
			since := now()
			d.ok(unix.Truncate(d.at("f"), 2))
			d.fresh("mtime", d.stat("f").Mtim, since)
		}),
		fails(unix.EFBIG, "truncate to more than any object can be", func(d *dir) error {
			err := unix.Truncate(d.file("f", "x"), 1<<62)
			d.ok(unix.Unlink(d.at("f"))) // whatever was said, nothing of it must be stored
			return err
		}),
		fails(unix.EFBIG, "ftruncate to more than any object can be", func(d *dir) error {
			fd := d.open("f", creates)
			err := unix.Ftruncate(fd, 1<<62)
			d.ok(unix.Ftruncate(fd, 0))
			return err
		}),
		fails(unix.EINVAL, "truncate to a negative size", func(d *dir) error { return unix.Truncate(d.file("f", "x"), -1) }),
		fails(unix.EINVAL, "ftruncate to a negative size", func(d *dir) error { return unix.Ftruncate(d.open("f", creates), -1) }),
		fails(unix.EISDIR, "truncate of a directory", func(d *dir) error { return unix.Truncate(d.sub("d"), 0) }),
		fails(unix.ENOENT, "truncate of a name that is not there", func(d *dir) error { return unix.Truncate(d.at("f"), 0) }),
		fails(unix.ENOENT, "truncate of an empty path", func(d *dir) error { return unix.Truncate("", 0) }),
		fails(unix.ENOTDIR, "truncate below a file", func(d *dir) error { return unix.Truncate(d.file("f", "x")+"/g", 0) }),
		fails(unix.ELOOP, "truncate through links that go round", func(d *dir) error { return unix.Truncate(d.link("l", "l"), 0) }),
		fails(unix.ENAMETOOLONG, "truncate of a name of 256 bytes", func(d *dir) error { return unix.Truncate(d.at(long(256)), 0) }),
		fails(unix.EINVAL, "ftruncate of a descriptor opened to read", func(d *dir) error {
			d.file("f", "x")
			return unix.Ftruncate(d.open("f", unix.O_RDONLY), 0)
		}),
		fails(unix.EBADF, "ftruncate of a descriptor that is closed", func(d *dir) error { return unix.Ftruncate(1<<20, 0) }),
		fails(unix.EINVAL, "ftruncate of a directory", func(d *dir) error { return unix.Ftruncate(d.open(".", unix.O_RDONLY), 0) }),
		fails(unix.EINVAL, "truncate of a FIFO", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			return unix.Truncate(d.at("p"), 0)
		}),
		fails(unix.EACCES, "truncate of a file that may not be written", func(d *dir) error {
			d.ok(unix.Chmod(d.file("f", "x"), 0o444))
			return unix.Truncate(d.at("f"), 0)
		}).by(user),
		fails(unix.EACCES, "truncate of somebody else's file", func(d *dir) error { return unix.Truncate(d.at("f"), 0) }).by(user).
			staged(func(d *dir) { d.file("f", "x") }),
		fails(unix.EACCES, "truncate below a directory that may not be searched", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o600)
			return unix.Truncate(d.at("d/f"), 0)
		}).by(user),
		fails(unix.ETXTBSY, "truncate of a program that runs", func(d *dir) error {
			d.program("sleeps")
			_, in := d.running(d.at("sleeps"))
			defer in.Close()
			return unix.Truncate(d.at("sleeps"), 0)
		}),
	}
}

// shut takes a directory's permissions away until the rule's end: what clears up after the test must get in again.
func (d *dir) shut(name string, mode uint32) {
	path := d.at(name)
	d.ok(unix.Chmod(path, mode))
	d.after = append(d.after, func() error { return unix.Chmod(path, 0o755) })
}
