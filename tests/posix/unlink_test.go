package posix

import "golang.org/x/sys/unix"

// unlinkRules are unlink(2), and files without a name.
func unlinkRules() []rule {
	unlink := func(d *dir, name string) error { return unix.Unlink(d.at(name)) }
	return []rule{
		works("the name is gone", func(d *dir) {
			d.file("f", "x")
			d.ok(unlink(d, "f"))
			d.absent("f")
			d.same("names", d.names("."), []string{})
		}),
		works("a symbolic link, not what it points to", func(d *dir) {
			d.file("f", "x")
			d.link("f", "l")
			d.ok(unlink(d, "l"))
			d.absent("l")
			d.holds("f", "x")
		}),
		works("a FIFO", func(d *dir) {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			d.ok(unlink(d, "p"))
			d.absent("p")
		}),
		works("a file that may not be written", func(d *dir) {
			d.ok(unix.Chmod(d.file("f", "x"), 0))
			d.ok(unlink(d, "f"))
			d.absent("f")
		}),
		works("the last of a directory's files leaves the directory", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.ok(unlink(d, "d/f"))
			d.same("names", d.names("d"), []string{})
		}),
		works("an open file goes on being read", func(d *dir) {
			d.file("f", "content")
			fd := d.open("f", unix.O_RDONLY)
			d.ok(unlink(d, "f"))
			d.same("content", d.get(fd, 0, 16), "content")
			d.same("links", uint64(d.fstat(fd).Nlink), uint64(0))
			d.same("size", d.fstat(fd).Size, int64(7))
		}),
		works("an open file goes on being written", func(d *dir) {
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT)
			d.put(fd, "one")
			d.ok(unlink(d, "f"))
			d.put(fd, " two")
			d.same("content", d.get(fd, 0, 16), "one two")
			d.absent("f")
		}),
		works("a file without a name is not back when it is closed", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "one")
			d.ok(unlink(d, "f"))
			d.put(fd, " two")
			d.ok(unix.Fsync(fd))
			d.ok(unix.Close(fd))
			d.absent("f")
			d.same("names", d.names("."), []string{})
		}),
		works("chmod, chown and utimens of a file without a name", func(d *dir) {
			d.file("f", "x")
			fd := d.open("f", unix.O_RDWR)
			d.ok(unlink(d, "f"))
			d.ok(unix.Fchmod(fd, 0o600))
			d.ok(unix.Fchown(fd, -1, -1))
			d.ok(unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+itoa(fd), []unix.Timespec{old, old}, 0))
			st := d.fstat(fd)
			d.same("mode", octal(st.Mode&0o7777), "0600")
			d.same("mtime", st.Mtim, old)
		}),
		works("a new file of the name is another one", func(d *dir) {
			d.file("f", "first")
			fd := d.open("f", unix.O_RDONLY)
			d.ok(unlink(d, "f"))
			d.file("f", "second")
			d.same("the old one", d.get(fd, 0, 16), "first")
			d.holds("f", "second")
			if d.fstat(fd).Ino == d.stat("f").Ino {
				d.wrong("the same inode")
			}
		}),
		works("a file without a name opens through /proc/self/fd", func(d *dir) {
			d.file("f", "content")
			fd := d.open("f", unix.O_RDWR)
			d.ok(unlink(d, "f"))
			again, err := unix.Open("/proc/self/fd/"+itoa(fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
			d.ok(err)
			d.closing(again)
			d.put(again, "C")
			d.same("content", d.get(fd, 0, 16), "Content")
		}),
		works("unlinkat below a descriptor", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Unlinkat(d.open(".", unix.O_RDONLY), "f", 0))
			d.absent("f")
		}),
		works("many files, one after the other, while they are listed", func(d *dir) {
			for i := range 30 {
				d.file("f"+itoa(i), "")
			}
			for _, name := range d.names(".") {
				d.ok(unlink(d, name))
			}
			d.same("names", d.names("."), []string{})
		}),
		fails(unix.ENOENT, "the name does not exist", func(d *dir) error { return unlink(d, "f") }),
		fails(unix.ENOENT, "the name was unlinked before", func(d *dir) error {
			d.file("f", "x")
			d.ok(unlink(d, "f"))
			return unlink(d, "f")
		}),
		fails(unix.ENOENT, "an empty path", func(*dir) error { return unix.Unlink("") }),
		fails(unix.EISDIR, "the name is a directory", func(d *dir) error {
			d.sub("d")
			return unlink(d, "d")
		}),
		fails(unix.ENOTDIR, "a component of the path is a file", func(d *dir) error {
			d.file("f", "x")
			return unlink(d, "f/g")
		}),
		fails(unix.ENOTDIR, "a file's name with a slash at its end", func(d *dir) error {
			d.file("f", "x")
			return unlink(d, "f/")
		}),
		fails(unix.ENAMETOOLONG, "a name of 256 bytes", func(d *dir) error { return unlink(d, long(256)) }),
		fails(unix.ELOOP, "links in the path go round", func(d *dir) error {
			d.link("l", "l")
			return unlink(d, "l/f")
		}),
		fails(unix.EINVAL, "unlinkat with a flag that is none", func(d *dir) error {
			d.file("f", "x")
			return unix.Unlinkat(unix.AT_FDCWD, d.at("f"), 1)
		}),
		fails(unix.EBADF, "unlinkat below a descriptor that is closed", func(*dir) error { return unix.Unlinkat(1<<20, "f", 0) }),
		fails(unix.EACCES, "no right to write the directory", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o555)
			return unlink(d, "d/f")
		}).by(user),
		fails(unix.EACCES, "no right to search the directory", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o666)
			return unlink(d, "d/f")
		}).by(user),
		fails(unix.EPERM, "somebody else's file in a sticky directory", func(d *dir) error { return unlink(d, "d/a") }).by(user).staged(sticky),
		works("one's own file in a sticky directory", func(d *dir) {
			d.file("d/mine", "x")
			d.ok(unlink(d, "d/mine"))
		}).by(user).staged(sticky),
		works("somebody else's file in a directory of one's own", func(d *dir) { d.ok(unlink(d, "f")) }).by(user).
			staged(func(d *dir) { d.file("f", "x") }),
	}
}
