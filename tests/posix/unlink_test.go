package posix

import (
	"golang.org/x/sys/unix"
)

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

// mkdirRules are mkdir(2) and rmdir(2).
func mkdirRules() []rule {
	mkdir := func(d *dir, name string) error { return unix.Mkdir(d.at(name), 0o755) }
	rmdir := func(d *dir, name string) error { return unix.Rmdir(d.at(name)) }
	return []rule{
		works("mkdir makes an empty directory with the mode less the umask", func(d *dir) {
			d.umask(0o027)
			d.ok(unix.Mkdir(d.at("d"), 0o777))
			d.same("mode", octal(d.stat("d").Mode), octal(unix.S_IFDIR|0o750))
			d.same("names", d.names("d"), []string{})
		}),
		works("mkdir keeps the sticky bit", func(d *dir) {
			d.umask(0)
			d.ok(unix.Mkdir(d.at("d"), 0o1777))
			d.same("mode", d.mode("d"), "01777")
		}),
		works("mkdir makes the caller's directory", func(d *dir) {
			d.sub("d")
			st := d.stat("d")
			d.same("uid", int(st.Uid), unix.Geteuid())
			d.same("gid", int(st.Gid), unix.Getegid())
		}),
		works("mkdir with a slash at the end", func(d *dir) {
			d.ok(mkdir(d, "d/"))
			d.same("type", d.kind("d"), uint32(unix.S_IFDIR))
		}),
		works("mkdirat below a descriptor", func(d *dir) {
			d.ok(unix.Mkdirat(d.open(".", unix.O_RDONLY), "d", 0o700))
			d.same("mode", d.mode("d"), "0700")
		}),
		works("a setgid directory hands group and bit to its directories", func(d *dir) {
			d.ok(unix.Mkdir(d.at("g/d"), 0o755))
			st := d.stat("g/d")
			d.same("gid", int(st.Gid), groupID)
			d.same("setgid", octal(st.Mode&unix.S_ISGID), octal(unix.S_ISGID))
		}).staged(setgid),
		works("a setgid directory hands its group to its files, not the bit", func(d *dir) {
			d.file("g/f", "x")
			st := d.stat("g/f")
			d.same("gid", int(st.Gid), groupID)
			d.same("setgid", octal(st.Mode&unix.S_ISGID), "0")
		}).staged(setgid),
		works("a directory in a directory, twenty deep", func(d *dir) {
			path := "d"
			for range 20 {
				d.ok(mkdir(d, path))
				path += "/d"
			}
			d.same("type", d.kind(path[:len(path)-2]), uint32(unix.S_IFDIR))
		}),
		fails(unix.EEXIST, "mkdir and the name is a directory", func(d *dir) error { d.sub("d"); return mkdir(d, "d") }),
		fails(unix.EEXIST, "mkdir and the name is a file", func(d *dir) error { d.file("f", "x"); return mkdir(d, "f") }),
		fails(unix.EEXIST, "mkdir and the name is a dangling link", func(d *dir) error { d.link("nowhere", "l"); return mkdir(d, "l") }),
		fails(unix.EEXIST, "mkdir of .", func(d *dir) error { return mkdir(d, ".") }),
		fails(unix.EEXIST, "mkdir of a mount point", func(d *dir) error { return mkdir(d, "../..") }),
		fails(unix.ENOENT, "mkdir in a directory that is not there", func(d *dir) error { return mkdir(d, "d/e") }),
		fails(unix.ENOENT, "mkdir in a directory that was removed", func(d *dir) error {
			d.sub("d")
			d.chdir(d.at("d"))
			d.ok(rmdir(d, "d"))
			return unix.Mkdir("e", 0o755)
		}),
		fails(unix.ENOENT, "mkdir of an empty path", func(*dir) error { return unix.Mkdir("", 0o755) }),
		fails(unix.ENOTDIR, "mkdir below a file", func(d *dir) error { d.file("f", "x"); return mkdir(d, "f/d") }),
		fails(unix.ENAMETOOLONG, "mkdir of a name of 256 bytes", func(d *dir) error { return mkdir(d, long(256)) }),
		fails(unix.ELOOP, "mkdir through links that go round", func(d *dir) error { d.link("l", "l"); return mkdir(d, "l/d") }),
		fails(unix.EACCES, "mkdir in a directory that may not be written", func(d *dir) error {
			d.sub("d")
			d.shut("d", 0o555)
			return mkdir(d, "d/e")
		}).by(user),
		fails(unix.EACCES, "mkdir in somebody else's directory", func(d *dir) error { return mkdir(d, "d/e") }).by(user).
			staged(func(d *dir) { d.sub("d") }),
		works("rmdir removes an empty directory", func(d *dir) {
			d.sub("d")
			d.ok(rmdir(d, "d"))
			d.absent("d")
		}),
		works("rmdir with a slash at the end", func(d *dir) {
			d.sub("d")
			d.ok(rmdir(d, "d/"))
			d.absent("d")
		}),
		works("rmdir and mkdir again: the new one is empty", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.ok(unix.Unlink(d.at("d/f")))
			d.ok(rmdir(d, "d"))
			d.sub("d")
			d.same("names", d.names("d"), []string{})
		}),
		works("rmdir leaves the directory above", func(d *dir) {
			d.sub("d")
			d.sub("d/e")
			d.ok(rmdir(d, "d/e"))
			d.same("names", d.names("d"), []string{})
		}),
		works("rmdir of an open directory: it lists nothing", func(d *dir) {
			d.sub("d")
			fd := d.open("d", unix.O_RDONLY)
			d.ok(rmdir(d, "d"))
			n, err := unix.ReadDirent(fd, make([]byte, 4096))
			if err != unix.ENOENT && (err != nil || n != 0) {
				// An empty directory's dots may still be there.
				d.same("entries behind the dots", len(direntNames(d, fd)), 0)
			}
		}),
		works("unlinkat with AT_REMOVEDIR", func(d *dir) {
			d.sub("d")
			d.ok(unix.Unlinkat(d.open(".", unix.O_RDONLY), "d", unix.AT_REMOVEDIR))
			d.absent("d")
		}),
		works("a process stands in a directory that was removed", func(d *dir) {
			d.sub("d")
			d.chdir(d.at("d"))
			d.ok(rmdir(d, "d"))
			_, err := unix.Getwd()
			d.same("getcwd", err, error(unix.ENOENT))
			d.same("creating", d.opening("f", creates, 0o644), error(unix.ENOENT))
			var st unix.Stat_t
			d.ok(unix.Stat(".", &st))
			d.same("type", st.Mode&unix.S_IFMT, uint32(unix.S_IFDIR))
		}),
		fails(unix.ENOTEMPTY, "rmdir of a directory with a file", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			return rmdir(d, "d")
		}),
		fails(unix.ENOTEMPTY, "rmdir of a directory with an empty directory", func(d *dir) error {
			d.sub("d")
			d.sub("d/e")
			return rmdir(d, "d")
		}),
		fails(unix.ENOTEMPTY, "rmdir of a directory with a file that is not stored yet", func(d *dir) error {
			d.sub("d")
			d.open("d/f", creates)
			return rmdir(d, "d")
		}),
		fails(unix.ENOTDIR, "rmdir of a file", func(d *dir) error { d.file("f", "x"); return rmdir(d, "f") }),
		fails(unix.ENOTDIR, "rmdir of a link to a directory", func(d *dir) error {
			d.sub("d")
			d.link("d", "l")
			return rmdir(d, "l")
		}),
		fails(unix.ENOTDIR, "rmdir below a file", func(d *dir) error { d.file("f", "x"); return rmdir(d, "f/d") }),
		fails(unix.ENOENT, "rmdir of a name that is not there", func(d *dir) error { return rmdir(d, "d") }),
		fails(unix.EINVAL, "rmdir of .", func(d *dir) error { d.sub("d"); return rmdir(d, "d/.") }),
		fails(unix.ENOTEMPTY, "rmdir of ..", func(d *dir) error { d.sub("d"); d.sub("d/e"); return rmdir(d, "d/e/..") }),
		fails(unix.EBUSY, "rmdir of a mount point", func(d *dir) error { return unix.Rmdir(d.mount()) }).by(root),
		fails(unix.ENAMETOOLONG, "rmdir of a name of 256 bytes", func(d *dir) error { return rmdir(d, long(256)) }),
		fails(unix.ELOOP, "rmdir through links that go round", func(d *dir) error { d.link("l", "l"); return rmdir(d, "l/d") }),
		fails(unix.EACCES, "rmdir in a directory that may not be written", func(d *dir) error {
			d.sub("d")
			d.sub("d/e")
			d.shut("d", 0o555)
			return rmdir(d, "d/e")
		}).by(user),
		fails(unix.EPERM, "rmdir of somebody else's directory in a sticky one", func(d *dir) error { return rmdir(d, "d/e") }).by(user).
			staged(func(d *dir) {
				sticky(d)
				d.sub("d/e")
			}),
	}
}

// setgid makes a setgid directory of another group, for everybody.
func setgid(d *dir) {
	d.sub("g")
	d.ok(unix.Chown(d.at("g"), -1, groupID))
	d.ok(unix.Chmod(d.at("g"), 0o2777))
}
