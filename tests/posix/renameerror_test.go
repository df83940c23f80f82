package posix

import "golang.org/x/sys/unix"

// renameErrorRules are rename(2)'s errors.
func renameErrorRules() []rule {
	return []rule{
		fails(unix.EEXIST, "RENAME_NOREPLACE and the new name exists", func(d *dir) error {
			d.file("a", "x")
			d.file("b", "y")
			return d.rename2("a", "b", unix.RENAME_NOREPLACE)
		}),
		fails(unix.EEXIST, "RENAME_NOREPLACE and the new name is an empty directory", func(d *dir) error {
			d.sub("a")
			d.sub("b")
			return d.rename2("a", "b", unix.RENAME_NOREPLACE)
		}),
		fails(unix.ENOENT, "RENAME_EXCHANGE and the new name does not exist", func(d *dir) error {
			d.file("a", "x")
			return d.rename2("a", "b", unix.RENAME_EXCHANGE)
		}),
		fails(unix.EINVAL, "RENAME_NOREPLACE with RENAME_EXCHANGE", func(d *dir) error {
			d.file("a", "x")
			d.file("b", "y")
			return d.rename2("a", "b", unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE)
		}),
		fails(unix.EINVAL, "a flag that is none", func(d *dir) error {
			d.file("a", "x")
			return d.rename2("a", "b", 1<<20)
		}),
		fails(unix.EISDIR, "the new name is a directory and the old one is not", func(d *dir) error {
			d.file("a", "x")
			d.sub("d")
			return d.rename("a", "d")
		}),
		fails(unix.ENOTDIR, "the old name is a directory and the new one is not", func(d *dir) error {
			d.sub("d")
			d.file("a", "x")
			return d.rename("d", "a")
		}),
		fails(unix.ENOTEMPTY, "the new name is a directory with something in it", func(d *dir) error {
			d.sub("a")
			d.sub("b")
			d.file("b/f", "x")
			return d.rename("a", "b")
		}),
		fails(unix.EINVAL, "a directory below itself", func(d *dir) error {
			d.sub("a")
			return d.rename("a", "a/b")
		}),
		fails(unix.EINVAL, "a directory far below itself", func(d *dir) error {
			d.sub("a")
			d.sub("a/b")
			return d.rename("a", "a/b/c")
		}),
		fails(unix.ENOTEMPTY, "a directory over one above it", func(d *dir) error {
			d.sub("a")
			d.sub("a/b")
			return d.rename("a/b", "a")
		}),
		fails(unix.ENOENT, "the old name does not exist", func(d *dir) error { return d.rename("a", "b") }),
		fails(unix.ENOENT, "the new name's directory does not exist", func(d *dir) error {
			d.file("a", "x")
			return d.rename("a", "d/b")
		}),
		fails(unix.ENOENT, "an empty path", func(d *dir) error {
			d.file("a", "x")
			return unix.Rename(d.at("a"), "")
		}),
		fails(unix.ENOTDIR, "a component of the old path is a file", func(d *dir) error {
			d.file("f", "x")
			return d.rename("f/a", "b")
		}),
		fails(unix.ENOTDIR, "a component of the new path is a file", func(d *dir) error {
			d.file("f", "x")
			d.file("a", "x")
			return d.rename("a", "f/b")
		}),
		fails(unix.ENOTDIR, "a file to a name with a slash at its end", func(d *dir) error {
			d.file("a", "x")
			return d.rename("a", "b/")
		}),
		fails(unix.ENOTDIR, "a file's name with a slash at its end", func(d *dir) error {
			d.file("a", "x")
			return d.rename("a/", "b")
		}),
		fails(unix.EBUSY, "the old name is .", func(d *dir) error {
			d.sub("a")
			return d.rename("a/.", "b")
		}),
		fails(unix.EBUSY, "the new name is ..", func(d *dir) error {
			d.sub("a")
			d.file("f", "x")
			return d.rename("f", "a/..")
		}),
		fails(unix.ENAMETOOLONG, "the new name has 256 bytes", func(d *dir) error {
			d.file("a", "x")
			return d.rename("a", long(256))
		}),
		fails(unix.ELOOP, "the new path goes round in links", func(d *dir) error {
			d.file("a", "x")
			d.link("l", "l")
			return d.rename("a", "l/b")
		}),
		fails(unix.EXDEV, "to another file system", func(d *dir) error {
			d.file("a", "x")
			return unix.Rename(d.at("a"), "/tmp/pailfs-posix-elsewhere")
		}),
		fails(unix.EBUSY, "a mount point", func(d *dir) error {
			return unix.Rename(d.mount(), "/tmp/pailfs-posix-elsewhere")
		}).by(root),
		fails(unix.EACCES, "no right to write the old name's directory", func(d *dir) error {
			d.sub("d")
			d.file("d/a", "x")
			d.shut("d", 0o555)
			return d.rename("d/a", "b")
		}).by(user),
		fails(unix.EACCES, "no right to write the new name's directory", func(d *dir) error {
			d.sub("d")
			d.file("a", "x")
			d.shut("d", 0o555)
			return d.rename("a", "d/a")
		}).by(user),
		fails(unix.EACCES, "no right to search the old name's directory", func(d *dir) error {
			d.sub("d")
			d.file("d/a", "x")
			d.shut("d", 0o666)
			return d.rename("d/a", "b")
		}).by(user),
		fails(unix.EACCES, "a directory that may not be written to another parent: its .. changes", func(d *dir) error {
			return d.rename("a", "d/a")
		}).by(user).staged(func(d *dir) {
			d.sub("a")
			d.sub("d")
			d.ok(unix.Chown(d.at("d"), userID, userID))
		}),
		fails(unix.EPERM, "somebody else's file out of a sticky directory", func(d *dir) error { return d.rename("d/a", "b") }).
			by(user).staged(sticky),
		fails(unix.EPERM, "over somebody else's file in a sticky directory", func(d *dir) error {
			d.file("mine", "x")
			return d.rename("mine", "d/a")
		}).by(user).staged(sticky),
		works("one's own file in a sticky directory", func(d *dir) {
			d.file("d/mine", "x")
			d.ok(d.rename("d/mine", "d/still mine"))
		}).by(user).staged(sticky),
		works("somebody else's file in a directory of one's own", func(d *dir) { d.ok(d.rename("a", "b")) }).
			by(user).staged(func(d *dir) { d.file("a", "x") }),
	}
}

// sticky makes a directory like /tmp with somebody else's file in it.
func sticky(d *dir) {
	d.sub("d")
	d.ok(unix.Chmod(d.at("d"), 0o1777))
	d.file("d/a", "x")
	d.ok(unix.Chown(d.at("d/a"), otherID, otherID))
}
