package posix

import "golang.org/x/sys/unix"

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
