package posix

import (
	"golang.org/x/sys/unix"
)

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

// chownRules are chown(2), lchown(2), fchown(2) and fchownat(2).
func chownRules() []rule {
	owner := func(d *dir, name string, uid, gid int) {
		st := d.stat(name)
		d.same("uid", int(st.Uid), uid)
		d.same("gid", int(st.Gid), gid)
	}
	return []rule{
		works("root gives a file away", func(d *dir) {
			d.ok(unix.Chown(d.file("f", "x"), 1000, 1001))
			owner(d, "f", 1000, 1001)
			d.holds("f", "x")
		}).by(root),
		works("root gives a directory away", func(d *dir) {
			d.ok(unix.Chown(d.sub("d"), 1000, 1001))
			owner(d, "d", 1000, 1001)
		}).by(root),
		works("-1 leaves the one or the other", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Chown(d.at("f"), 1000, -1))
			owner(d, "f", 1000, 0)
			d.ok(unix.Chown(d.at("f"), -1, 1001))
			owner(d, "f", 1000, 1001)
		}).by(root),
		works("-1 and -1 changes nothing", func(d *dir) {
			d.file("f", "x")
			before := d.stat("f")
			d.ok(unix.Chown(d.at("f"), -1, -1))
			owner(d, "f", int(before.Uid), int(before.Gid))
		}),
		works("ids up to the largest", func(d *dir) {
			d.ok(unix.Chown(d.file("f", "x"), 1<<32-2, 1<<31))
			owner(d, "f", 1<<32-2, 1<<31)
		}).by(root),
		works("chown follows a link, lchown does not", func(d *dir) {
			d.file("f", "x")
			d.link("f", "l")
			d.ok(unix.Chown(d.at("l"), 1000, 1000))
			owner(d, "f", 1000, 1000)
			d.ok(unix.Lchown(d.at("l"), 1001, 1001))
			owner(d, "l", 1001, 1001)
			owner(d, "f", 1000, 1000)
		}).by(root),
		works("lchown of a dangling link", func(d *dir) {
			d.ok(unix.Lchown(d.link("nowhere", "l"), 1001, 1001))
			owner(d, "l", 1001, 1001)
		}).by(root),
		works("fchown of an open file that is not stored yet", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "x")
			d.ok(unix.Fchown(fd, 1000, 1001))
			d.ok(unix.Close(fd))
			owner(d, "f", 1000, 1001)
		}).by(root),
		works("fchownat with AT_SYMLINK_NOFOLLOW", func(d *dir) {
			d.link("nowhere", "l")
			d.ok(unix.Fchownat(d.open(".", unix.O_RDONLY), "l", 1000, 1001, unix.AT_SYMLINK_NOFOLLOW))
			owner(d, "l", 1000, 1001)
		}).by(root),
		works("fchownat with AT_EMPTY_PATH", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Fchownat(d.open("f", unix.O_RDONLY), "", 1000, 1001, unix.AT_EMPTY_PATH))
			owner(d, "f", 1000, 1001)
		}).by(root),
		works("of the mount point", func(d *dir) {
			d.ok(unix.Chown(d.mount(), -1, groupID))
			var st unix.Stat_t
			d.ok(unix.Stat(d.mount(), &st))
			d.same("gid", int(st.Gid), groupID)
		}).by(root),
		works("of a FIFO", func(d *dir) {
			d.ok(unix.Mkfifo(d.at("p"), 0o600))
			d.ok(unix.Chown(d.at("p"), 1000, 1001))
			owner(d, "p", 1000, 1001)
		}).by(root),
		works("leaves mtime", func(d *dir) {
			d.file("f", "x")
			d.aged("f")
			d.ok(unix.Chown(d.at("f"), -1, unix.Getegid()))
			d.same("mtime", d.stat("f").Mtim, old)
		}),
		works("the owner gives a file to one of its other groups", func(d *dir) {
			d.ok(unix.Chown(d.file("f", "x"), -1, groupID))
			owner(d, "f", userID, groupID)
		}).by(user),
		works("takes setuid and setgid of a program away", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Chmod(d.at("f"), 0o6755))
			d.ok(unix.Chown(d.at("f"), -1, groupID))
			d.same("mode", d.mode("f"), "0755")
		}).by(user),
		works("by root takes setuid and setgid of a program away, on Linux", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Chmod(d.at("f"), 0o6755))
			d.ok(unix.Chown(d.at("f"), 1000, 1000))
			d.same("mode", d.mode("f"), "0755")
		}).by(root),
		works("leaves setgid without the group's x bit", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Chmod(d.at("f"), 0o2644))
			d.ok(unix.Chown(d.at("f"), -1, groupID))
			d.same("mode", d.mode("f"), "02644")
		}).by(root),
		works("leaves setgid of a directory", func(d *dir) {
			d.sub("d")
			d.ok(unix.Chmod(d.at("d"), 0o2755))
			d.ok(unix.Chown(d.at("d"), -1, groupID))
			d.same("mode", d.mode("d"), "02755")
		}),
		fails(unix.EPERM, "an ordinary user gives a file away", func(d *dir) error { return unix.Chown(d.file("f", "x"), otherID, -1) }).by(user),
		fails(unix.EPERM, "to a group that the owner is not in", func(d *dir) error { return unix.Chown(d.file("f", "x"), -1, otherID) }).by(user),
		fails(unix.EPERM, "somebody else's file to a group of one's own", func(d *dir) error { return unix.Chown(d.at("f"), -1, groupID) }).by(user).
			staged(func(d *dir) { d.file("f", "x") }),
		fails(unix.EPERM, "somebody else's file to oneself", func(d *dir) error { return unix.Chown(d.at("f"), userID, -1) }).by(user).
			staged(func(d *dir) { d.file("f", "x") }),
		fails(unix.ENOENT, "the name does not exist", func(d *dir) error { return unix.Chown(d.at("f"), -1, -1) }),
		fails(unix.ENOENT, "chown of a dangling link", func(d *dir) error { return unix.Chown(d.link("x", "l"), -1, -1) }),
		fails(unix.ENOTDIR, "a component of the path is a file", func(d *dir) error { return unix.Chown(d.file("f", "x")+"/g", -1, -1) }),
		fails(unix.ELOOP, "links go round", func(d *dir) error { return unix.Chown(d.link("l", "l"), -1, -1) }),
		fails(unix.ENAMETOOLONG, "a name of 256 bytes", func(d *dir) error { return unix.Chown(d.at(long(256)), -1, -1) }),
		fails(unix.EBADF, "fchown of a descriptor that is closed", func(*dir) error { return unix.Fchown(1<<20, -1, -1) }),
		fails(unix.EINVAL, "fchownat with a flag that is none", func(d *dir) error {
			return unix.Fchownat(unix.AT_FDCWD, d.path, -1, -1, 1)
		}),
		fails(unix.EACCES, "below a directory that may not be searched", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o600)
			return unix.Chown(d.at("d/f"), -1, -1)
		}).by(user),
	}
}

// permissionRules are path_resolution(7) and access(2): who may do what.
func permissionRules() []rule {
	may := func(d *dir, name string, mode uint32) error { return unix.Access(d.at(name), mode) }
	theirs := func(name string, mode uint32, uid, gid int) func(d *dir) {
		return func(d *dir) {
			d.file(name, "theirs")
			d.ok(unix.Chown(d.at(name), uid, gid))
			d.ok(unix.Chmod(d.at(name), mode))
		}
	}
	return []rule{
		works("F_OK of what is there", func(d *dir) { d.file("f", "x"); d.ok(may(d, "f", unix.F_OK)) }),
		works("R_OK and W_OK of one's own file", func(d *dir) { d.file("f", "x"); d.ok(may(d, "f", unix.R_OK|unix.W_OK)) }),
		works("X_OK of a program", func(d *dir) {
			d.ok(unix.Chmod(d.file("f", "x"), 0o755))
			d.ok(may(d, "f", unix.X_OK))
		}),
		fails(unix.EACCES, "X_OK of a file that nobody may execute, root too", func(d *dir) error {
			d.file("f", "x")
			return may(d, "f", unix.X_OK)
		}),
		works("root may read and write what nobody may", func(d *dir) {
			d.ok(unix.Chmod(d.file("f", "x"), 0))
			d.ok(may(d, "f", unix.R_OK|unix.W_OK))
			d.holds("f", "x")
		}).by(root),
		works("root searches a directory that nobody may", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0)
			d.holds("d/f", "x")
		}).by(root),
		fails(unix.EACCES, "R_OK of one's own file without the right", func(d *dir) error {
			d.ok(unix.Chmod(d.file("f", "x"), 0o200))
			return may(d, "f", unix.R_OK)
		}).by(user),
		fails(unix.EACCES, "W_OK of one's own file without the right", func(d *dir) error {
			d.ok(unix.Chmod(d.file("f", "x"), 0o400))
			return may(d, "f", unix.W_OK)
		}).by(user),
		fails(unix.ENOENT, "access of a name that is not there", func(d *dir) error { return may(d, "f", unix.F_OK) }),
		fails(unix.ENOTDIR, "access below a file", func(d *dir) error { d.file("f", "x"); return may(d, "f/g", unix.F_OK) }),
		fails(unix.ELOOP, "access of links that go round", func(d *dir) error { d.link("l", "l"); return may(d, "l", unix.F_OK) }),
		fails(unix.EINVAL, "access with a mode that is none", func(d *dir) error { return may(d, ".", 8) }),
		works("faccessat with AT_EACCESS and AT_SYMLINK_NOFOLLOW", func(d *dir) {
			d.link("nowhere", "l")
			d.ok(unix.Faccessat2(unix.AT_FDCWD, d.at("l"), unix.F_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW))
		}),
		fails(unix.EACCES, "opening somebody else's file to read without the right", func(d *dir) error {
			return d.opening(d.at("f"), unix.O_RDONLY, 0)
		}).by(user).staged(theirs("f", 0o600, 0, 0)),
		fails(unix.EACCES, "opening somebody else's file to write without the right", func(d *dir) error {
			return d.opening(d.at("f"), unix.O_WRONLY, 0)
		}).by(user).staged(theirs("f", 0o644, 0, 0)),
		fails(unix.EACCES, "O_TRUNC of somebody else's file that may only be read", func(d *dir) error {
			return d.opening(d.at("f"), unix.O_RDONLY|unix.O_TRUNC, 0)
		}).by(user).staged(theirs("f", 0o644, 0, 0)),
		works("others' right to read", func(d *dir) { d.holds("f", "theirs") }).by(user).staged(theirs("f", 0o604, 0, 0)),
		works("others' right to write", func(d *dir) {
			d.put(d.open("f", unix.O_WRONLY), "m")
		}).by(user).staged(theirs("f", 0o602, 0, 0)),
		works("writing somebody else's file leaves it theirs", func(d *dir) {
			fd := d.open("f", unix.O_WRONLY)
			d.put(fd, "ours")
			d.ok(unix.Close(fd))
			st := d.stat("f")
			d.same("uid", int(st.Uid), otherID)
			d.same("gid", int(st.Gid), otherID)
			d.same("mode", d.mode("f"), "0666")
		}).by(user).staged(theirs("f", 0o666, otherID, otherID)),
		works("the right of a group one is in", func(d *dir) { d.holds("f", "theirs") }).by(user).staged(theirs("f", 0o640, 0, groupID)),
		works("the right to write of a group one is in", func(d *dir) {
			d.put(d.open("f", unix.O_WRONLY|unix.O_APPEND), " ours")
		}).by(user).staged(theirs("f", 0o660, 0, groupID)),
		fails(unix.EACCES, "the group's right counts, though others have more", func(d *dir) error {
			return d.opening(d.at("f"), unix.O_RDONLY, 0)
		}).by(user).staged(theirs("f", 0o604, 0, groupID)),
		fails(unix.EACCES, "the owner's right counts, though the group has more", func(d *dir) error {
			return d.opening(d.at("f"), unix.O_RDONLY, 0)
		}).by(user).staged(theirs("f", 0o066, userID, groupID)),
		fails(unix.EACCES, "creating in somebody else's directory", func(d *dir) error {
			return d.opening(d.at("d/f"), creates, 0o644)
		}).by(user).staged(func(d *dir) { d.sub("d") }),
		works("creating in a directory of a group one is in", func(d *dir) {
			d.ok(d.opening(d.at("d/f"), creates, 0o644))
		}).by(user).staged(func(d *dir) {
			d.sub("d")
			d.ok(unix.Chown(d.at("d"), 0, groupID))
			d.ok(unix.Chmod(d.at("d"), 0o770))
		}),
		fails(unix.EACCES, "creating in a directory that may be written and not searched", func(d *dir) error {
			d.sub("d")
			d.shut("d", 0o600)
			return d.opening(d.at("d/f"), creates, 0o644)
		}).by(user),
		fails(unix.EACCES, "opening below a directory that may not be searched", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o644)
			return d.opening(d.at("d/f"), unix.O_RDONLY, 0)
		}).by(user),
		fails(unix.EACCES, "chdir into a directory that may not be searched", func(d *dir) error {
			d.sub("d")
			d.shut("d", 0o644)
			return unix.Chdir(d.at("d"))
		}).by(user),
		fails(unix.ENOTDIR, "chdir into a file", func(d *dir) error { return unix.Chdir(d.file("f", "x")) }),
		fails(unix.ENOENT, "chdir into a name that is not there", func(d *dir) error { return unix.Chdir(d.at("d")) }),
		fails(unix.EACCES, "running a file that may not be executed", func(d *dir) error {
			return unix.Exec(d.file("f", "x"), []string{"f"}, nil)
		}),
		works("running a program that lies on the mount", func(d *dir) {
			d.program("cat")
			d.file("f", "printed")
			d.same("output", d.shell("./cat f"), "printed")
		}),
		works("running a program that may be executed and not read", func(d *dir) {
			d.program("cat")
			d.ok(unix.Chmod(d.at("cat"), 0o111))
			d.file("f", "printed")
			d.same("output", d.shell("./cat f"), "printed")
		}),
		works("running a script that lies on the mount", func(d *dir) {
			d.file("s", "#!/bin/sh\necho $0 \"$@\"\n")
			d.ok(unix.Chmod(d.at("s"), 0o755))
			d.same("output", d.shell("./s one two"), "./s one two\n")
		}),
		works("setuid means nothing on a mount with nosuid", func(d *dir) {
			d.same("ids", d.shell("./id -u"), itoa(userID)+"\n")
		}).by(user).staged(func(d *dir) {
			d.shell("cp $(command -v id) id && chmod 4755 id")
		}),
		works("a new file in a sticky directory is the caller's", func(d *dir) {
			d.file("d/mine", "x")
			d.same("uid", int(d.stat("d/mine").Uid), unix.Geteuid())
		}).staged(sticky),
	}
}
