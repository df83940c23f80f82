package posix

import "golang.org/x/sys/unix"

// linkRules are link(2).
func linkRules() []rule {
	link := func(d *dir, from, to string) error { return unix.Link(d.at(from), d.at(to)) }
	return []rule{
		works("a second name of a file", func(d *dir) {
			d.file("a", "x")
			d.ok(link(d, "a", "b"))
			d.same("links", uint64(d.stat("a").Nlink), uint64(2))
			d.same("inode", d.stat("b").Ino, d.stat("a").Ino)
		}),
		fails(unix.EEXIST, "the new name exists", func(d *dir) error {
			d.file("a", "x")
			d.file("b", "y")
			return link(d, "a", "b")
		}),
		fails(unix.ENOENT, "the old name does not exist", func(d *dir) error { return link(d, "a", "b") }),
		fails(unix.ENOENT, "the new name's directory does not exist", func(d *dir) error {
			d.file("a", "x")
			return link(d, "a", "d/b")
		}),
		fails(unix.EPERM, "the old name is a directory", func(d *dir) error {
			d.sub("d")
			return link(d, "d", "e")
		}),
		fails(unix.EPERM, "the file system has no hard links", func(d *dir) error {
			d.file("a", "x")
			return link(d, "a", "b")
		}),
		fails(unix.ENOTDIR, "a component of the path is a file", func(d *dir) error {
			d.file("a", "x")
			return link(d, "a", "a/b")
		}),
		fails(unix.EXDEV, "to another file system", func(d *dir) error {
			d.file("a", "x")
			return unix.Link(d.at("a"), "/tmp/pailfs-posix-elsewhere")
		}),
		fails(unix.ENAMETOOLONG, "the new name has 256 bytes", func(d *dir) error {
			d.file("a", "x")
			return link(d, "a", long(256))
		}),
		fails(unix.EACCES, "no right to write the new name's directory", func(d *dir) error {
			d.file("a", "x")
			d.sub("d")
			d.shut("d", 0o555)
			return link(d, "a", "d/b")
		}).by(user),
	}
}
