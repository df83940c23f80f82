package posix

import "golang.org/x/sys/unix"

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
