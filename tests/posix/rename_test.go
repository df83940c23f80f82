package posix

import "golang.org/x/sys/unix"

// rename renames inside of the directory.
func (d *dir) rename(from, to string) error { return unix.Rename(d.at(from), d.at(to)) }

func (d *dir) rename2(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, d.at(from), unix.AT_FDCWD, d.at(to), flags)
}

// renameRules are rename(2)'s results.
func renameRules() []rule {
	return []rule{
		works("a file takes a free name", func(d *dir) {
			d.file("a", "text")
			d.ok(d.rename("a", "b"))
			d.absent("a")
			d.holds("b", "text")
		}),
		works("a file takes the place of another", func(d *dir) {
			d.file("a", "new")
			d.file("b", "old text")
			d.ok(d.rename("a", "b"))
			d.absent("a")
			d.holds("b", "new")
			d.same("names", d.names("."), []string{"b"})
		}),
		works("the inode stays", func(d *dir) {
			d.file("a", "x")
			before := d.stat("a")
			d.ok(d.rename("a", "b"))
			d.same("inode", d.stat("b").Ino, before.Ino)
		}),
		works("mode, owner and mtime stay", func(d *dir) {
			d.file("a", "x")
			d.ok(unix.Chmod(d.at("a"), 0o640))
			d.aged("a")
			d.ok(d.rename("a", "b"))
			st := d.stat("b")
			d.same("mode", octal(st.Mode), octal(unix.S_IFREG|0o640))
			d.same("mtime", st.Mtim, old)
			d.same("uid", int(st.Uid), unix.Geteuid())
		}),
		works("a name to itself does nothing", func(d *dir) {
			d.file("a", "x")
			d.ok(d.rename("a", "a"))
			d.holds("a", "x")
		}),
		works("a directory with all below it", func(d *dir) {
			d.sub("a")
			d.sub("a/b")
			d.file("a/b/c", "deep")
			d.file("a/f", "flat")
			d.ok(d.rename("a", "z"))
			d.absent("a")
			d.holds("z/b/c", "deep")
			d.same("names", d.names("z"), []string{"b", "f"})
		}),
		works("an empty directory", func(d *dir) {
			d.sub("a")
			d.ok(d.rename("a", "z"))
			d.absent("a")
			d.same("names", d.names("z"), []string{})
		}),
		works("a directory over an empty one", func(d *dir) {
			d.sub("a")
			d.file("a/f", "x")
			d.sub("z")
			d.ok(d.rename("a", "z"))
			d.absent("a")
			d.same("names", d.names("z"), []string{"f"})
		}),
		works("into another directory", func(d *dir) {
			d.file("f", "x")
			d.sub("d")
			d.ok(d.rename("f", "d/g"))
			d.absent("f")
			d.holds("d/g", "x")
		}),
		works("a directory into another", func(d *dir) {
			d.sub("a")
			d.file("a/f", "x")
			d.sub("d")
			d.ok(d.rename("a", "d/a"))
			d.absent("a")
			d.holds("d/a/f", "x")
		}),
		works("out of a directory that stays, empty", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.ok(d.rename("d/f", "f"))
			d.same("names", d.names("d"), []string{})
		}),
		works("a symbolic link, not what it points to", func(d *dir) {
			d.file("f", "x")
			d.link("f", "l")
			d.ok(d.rename("l", "m"))
			d.absent("l")
			d.same("type", d.kind("m"), uint32(unix.S_IFLNK))
			d.holds("f", "x")
		}),
		works("over a symbolic link, not what it points to", func(d *dir) {
			d.file("f", "target")
			d.link("f", "l")
			d.file("g", "new")
			d.ok(d.rename("g", "l"))
			d.holds("l", "new")
			d.holds("f", "target")
			d.same("type", d.kind("l"), uint32(unix.S_IFREG))
		}),
		works("a FIFO", func(d *dir) {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			d.ok(d.rename("p", "q"))
			d.same("type", d.kind("q"), uint32(unix.S_IFIFO))
		}),
		works("a file that is open to read", func(d *dir) {
			d.file("a", "text")
			fd := d.open("a", unix.O_RDONLY)
			d.ok(d.rename("a", "b"))
			d.same("content", d.get(fd, 0, 9), "text")
		}),
		works("a file that is being written", func(d *dir) {
			fd := d.open("a", creates)
			d.put(fd, "before")
			d.ok(d.rename("a", "b"))
			d.put(fd, " after")
			d.ok(unix.Close(fd))
			d.absent("a")
			d.holds("b", "before after")
		}),
		works("a file that is being written, over another", func(d *dir) {
			d.file("b", "old")
			fd := d.open("a", creates)
			d.put(fd, "before")
			d.ok(d.rename("a", "b"))
			d.put(fd, " after")
			d.ok(unix.Close(fd))
			d.holds("b", "before after")
		}),
		works("over a file that is open to read: the reader keeps the old one", func(d *dir) {
			d.file("a", "new")
			d.file("b", "old")
			fd := d.open("b", unix.O_RDONLY)
			d.ok(d.rename("a", "b"))
			d.same("content", d.get(fd, 0, 9), "old")
			d.holds("b", "new")
			d.same("links", uint64(d.fstat(fd).Nlink), uint64(0))
		}),
		works("over a file that is being written: the name has the new one", func(d *dir) {
			d.file("a", "new")
			fd := d.open("b", unix.O_RDWR|unix.O_CREAT)
			d.put(fd, "writing")
			d.ok(d.rename("a", "b"))
			d.put(fd, " on")
			d.same("content", d.get(fd, 0, 20), "writing on")
			d.ok(unix.Close(fd))
			d.holds("b", "new")
		}),
		works("a directory with an open file in it", func(d *dir) {
			d.sub("a")
			fd := d.open("a/f", creates)
			d.put(fd, "before")
			d.ok(d.rename("a", "z"))
			d.put(fd, " after")
			d.ok(unix.Close(fd))
			d.holds("z/f", "before after")
		}),
		works("the directory a process stands in", func(d *dir) {
			d.sub("a")
			d.chdir(d.at("a"))
			d.ok(d.rename("a", "z"))
			fd, err := unix.Open("f", creates|unix.O_CLOEXEC, 0o644)
			d.ok(err)
			d.ok(unix.Close(fd))
			cwd, err := unix.Getwd()
			d.ok(err)
			d.same("getcwd", cwd, d.at("z"))
			d.same("names", d.names("z"), []string{"f"})
		}),
		works("there and back again", func(d *dir) {
			d.file("a", "x")
			for range 3 {
				d.ok(d.rename("a", "b"))
				d.ok(d.rename("b", "a"))
			}
			d.same("names", d.names("."), []string{"a"})
			d.holds("a", "x")
		}),
		works("a new file takes the old name", func(d *dir) {
			d.file("a", "first")
			d.ok(d.rename("a", "b"))
			d.file("a", "second")
			d.holds("a", "second")
			d.holds("b", "first")
		}),
		works("two names change places over a third", func(d *dir) {
			d.file("a", "one")
			d.file("b", "two")
			d.ok(d.rename("a", "t"))
			d.ok(d.rename("b", "a"))
			d.ok(d.rename("t", "b"))
			d.holds("a", "two")
			d.holds("b", "one")
		}),
		works("renameat with descriptors of directories", func(d *dir) {
			d.sub("a")
			d.sub("b")
			d.file("a/f", "x")
			from, to := d.open("a", unix.O_RDONLY), d.open("b", unix.O_RDONLY)
			d.ok(unix.Renameat(from, "f", to, "g"))
			d.holds("b/g", "x")
		}),
		works("a directory's name with slashes at its end", func(d *dir) {
			d.sub("a")
			d.ok(d.rename("a/", "z/"))
			d.same("type", d.kind("z"), uint32(unix.S_IFDIR))
		}),
		works("RENAME_NOREPLACE to a free name", func(d *dir) {
			d.file("a", "x")
			d.ok(d.rename2("a", "b", unix.RENAME_NOREPLACE))
			d.holds("b", "x")
		}),
		works("RENAME_EXCHANGE of two files", func(d *dir) {
			d.file("a", "one")
			d.file("b", "two")
			d.ok(d.rename2("a", "b", unix.RENAME_EXCHANGE))
			d.holds("a", "two")
		}),
	}
}
