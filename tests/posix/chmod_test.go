package posix

import "golang.org/x/sys/unix"

// chmodRules are chmod(2), fchmod(2) and fchmodat(2).
func chmodRules() []rule {
	chmod := func(d *dir, name string, mode uint32) error { return unix.Chmod(d.at(name), mode) }
	return []rule{
		works("sets the permissions of a file", func(d *dir) {
			d.file("f", "x")
			for _, mode := range []uint32{0, 0o400, 0o123, 0o777} {
				d.ok(chmod(d, "f", mode))
				d.same("mode", d.mode("f"), octal(mode))
			}
		}),
		works("sets the permissions of a directory", func(d *dir) {
			d.sub("d")
			d.ok(chmod(d, "d", 0o2750))
			d.same("mode", octal(d.stat("d").Mode), octal(unix.S_IFDIR|0o2750))
		}),
		works("sets setuid, setgid and sticky", func(d *dir) {
			d.file("f", "x")
			d.ok(chmod(d, "f", 0o7711))
			d.same("mode", d.mode("f"), "07711")
		}),
		works("sets the permissions of a FIFO", func(d *dir) {
			d.ok(unix.Mkfifo(d.at("p"), 0o600))
			d.ok(chmod(d, "p", 0o640))
			d.same("mode", octal(d.stat("p").Mode), octal(unix.S_IFIFO|0o640))
		}),
		works("follows a symbolic link", func(d *dir) {
			d.file("f", "x")
			d.link("f", "l")
			d.ok(chmod(d, "l", 0o600))
			d.same("mode", d.mode("f"), "0600")
			d.same("mode of the link", d.mode("l"), "0777")
		}),
		works("does not heed the umask", func(d *dir) {
			d.file("f", "x")
			d.umask(0o077)
			d.ok(chmod(d, "f", 0o666))
			d.same("mode", d.mode("f"), "0666")
		}),
		works("leaves the content and mtime", func(d *dir) {
			d.file("f", "content")
			d.aged("f")
			d.ok(chmod(d, "f", 0o600))
			d.holds("f", "content")
			d.same("mtime", d.stat("f").Mtim, old)
		}),
		works("fchmod of an open file that is not stored yet", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "x")
			d.ok(unix.Fchmod(fd, 0o604))
			d.ok(unix.Close(fd))
			d.same("mode", d.mode("f"), "0604")
			d.holds("f", "x")
		}),
		works("fchmod of a directory", func(d *dir) {
			d.sub("d")
			d.ok(unix.Fchmod(d.open("d", unix.O_RDONLY), 0o711))
			d.same("mode", d.mode("d"), "0711")
		}),
		works("fchmodat below a descriptor", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Fchmodat(d.open(".", unix.O_RDONLY), "f", 0o640, 0))
			d.same("mode", d.mode("f"), "0640")
		}),
		works("takes a right away from the next open, not from open descriptors", func(d *dir) {
			d.file("f", "x")
			fd := d.open("f", unix.O_RDWR)
			d.ok(chmod(d, "f", 0))
			d.put(fd, "y")
			d.same("content", d.get(fd, 0, 4), "y")
			d.same("open", d.opening(d.at("f"), unix.O_RDONLY, 0), error(unix.EACCES))
		}).by(user),
		works("setgid is dropped when the file's group is not the caller's", func(d *dir) {
			d.ok(chmod(d, "f", 0o2755))
			d.same("mode", d.mode("f"), "0755")
		}).by(user).staged(func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Chown(d.at("f"), userID, otherID))
		}),
		works("setgid stays when the file's group is one of the caller's", func(d *dir) {
			d.ok(chmod(d, "f", 0o2755))
			d.same("mode", d.mode("f"), "02755")
		}).by(user).staged(func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Chown(d.at("f"), userID, groupID))
		}),
		works("a write takes setuid and setgid away", func(d *dir) {
			d.file("f", "x")
			d.ok(chmod(d, "f", 0o6755))
			d.put(d.open("f", unix.O_WRONLY), "y")
			d.same("mode", d.mode("f"), "0755")
		}).by(user),
		works("a truncation takes setuid and setgid away", func(d *dir) {
			d.file("f", "x")
			d.ok(chmod(d, "f", 0o6755))
			d.ok(unix.Truncate(d.at("f"), 0))
			d.same("mode", d.mode("f"), "0755")
		}).by(user),
		works("O_TRUNC takes setuid and setgid away", func(d *dir) {
			d.file("f", "x")
			d.ok(chmod(d, "f", 0o6755))
			d.ok(d.opening(d.at("f"), unix.O_WRONLY|unix.O_TRUNC, 0))
			d.same("mode", d.mode("f"), "0755")
		}).by(user),
		works("setgid without the group's x bit stays over a write", func(d *dir) {
			d.file("f", "x")
			d.ok(chmod(d, "f", 0o2644))
			d.put(d.open("f", unix.O_WRONLY), "y")
			d.same("mode", d.mode("f"), "02644")
		}).by(user),
		works("root's write leaves setuid", func(d *dir) {
			d.file("f", "x")
			d.ok(chmod(d, "f", 0o4755))
			d.put(d.open("f", unix.O_WRONLY), "y")
			d.same("mode", d.mode("f"), "04755")
		}).by(root),
		works("sets the permissions of the mount point", func(d *dir) {
			d.ok(unix.Chmod(d.mount(), 0o711))
			var st unix.Stat_t
			d.ok(unix.Stat(d.mount(), &st))
			d.same("mode", octal(st.Mode&0o7777), "0711")
		}).by(root),
		fails(unix.EPERM, "somebody else's file", func(d *dir) error { return chmod(d, "f", 0o777) }).by(user).
			staged(func(d *dir) { d.file("f", "x") }),
		fails(unix.EPERM, "somebody else's file, though it may be written", func(d *dir) error { return chmod(d, "f", 0o777) }).by(user).
			staged(func(d *dir) {
				d.file("f", "x")
				d.ok(unix.Chmod(d.at("f"), 0o666))
			}),
		fails(unix.ENOENT, "the name does not exist", func(d *dir) error { return chmod(d, "f", 0o600) }),
		fails(unix.ENOENT, "a dangling link", func(d *dir) error { d.link("x", "l"); return chmod(d, "l", 0o600) }),
		fails(unix.ENOTDIR, "a component of the path is a file", func(d *dir) error { d.file("f", "x"); return chmod(d, "f/g", 0o600) }),
		fails(unix.ELOOP, "links go round", func(d *dir) error { d.link("l", "l"); return chmod(d, "l", 0o600) }),
		fails(unix.ENAMETOOLONG, "a name of 256 bytes", func(d *dir) error { return chmod(d, long(256), 0o600) }),
		fails(unix.EBADF, "fchmod of a descriptor that is closed", func(*dir) error { return unix.Fchmod(1<<20, 0o600) }),
		fails(unix.EOPNOTSUPP, "fchmodat of a link itself, which Linux does not have", func(d *dir) error {
			d.link("f", "l")
			return unix.Fchmodat(unix.AT_FDCWD, d.at("l"), 0o600, unix.AT_SYMLINK_NOFOLLOW)
		}),
		fails(unix.EACCES, "below a directory that may not be searched", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o600)
			return chmod(d, "d/f", 0o777)
		}).by(user),
	}
}
