package posix

import "golang.org/x/sys/unix"

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
