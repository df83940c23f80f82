package posix

import "golang.org/x/sys/unix"

// statRules are stat(2), lstat(2), fstat(2), fstatat(2) and statx(2).
func statRules() []rule {
	stat := func(path string) error { return unix.Stat(path, new(unix.Stat_t)) }
	lstat := func(path string) error { return unix.Lstat(path, new(unix.Stat_t)) }
	return []rule{
		works("st_size is the bytes", func(d *dir) {
			d.file("f", "0123456789")
			d.same("size", d.stat("f").Size, int64(10))
		}),
		works("st_size grows with each write, before the close", func(d *dir) {
			fd := d.open("f", creates)
			for i := range 5 {
				d.put(fd, "1234")
				d.same("size", d.stat("f").Size, int64(4*i+4))
				d.same("size of the descriptor", d.fstat(fd).Size, int64(4*i+4))
			}
		}),
		works("st_mode has the type", func(d *dir) {
			d.file("f", "")
			d.sub("d")
			d.link("f", "l")
			d.ok(unix.Mkfifo(d.at("p"), 0o600))
			for name, want := range map[string]uint32{"f": unix.S_IFREG, "d": unix.S_IFDIR, "l": unix.S_IFLNK, "p": unix.S_IFIFO} {
				d.same("type of "+name, d.kind(name), want)
			}
		}),
		works("st_nlink of a file is 1", func(d *dir) {
			d.file("f", "")
			d.same("links", uint64(d.stat("f").Nlink), uint64(1))
		}),
		works("st_nlink of a directory is 1, or counts its directories", func(d *dir) {
			d.sub("d")
			d.sub("d/e")
			if n := uint64(d.stat("d").Nlink); n != 1 && n != 3 {
				d.wrong("there are %d links", n)
			}
		}),
		works("st_ino differs between files", func(d *dir) {
			d.file("a", "")
			d.file("b", "")
			if d.stat("a").Ino == d.stat("b").Ino {
				d.wrong("the same")
			}
		}),
		works("st_ino is the same for name, descriptor and link", func(d *dir) {
			d.file("f", "x")
			d.link("f", "l")
			var st unix.Stat_t
			d.ok(unix.Stat(d.at("l"), &st))
			d.same("inode through the link", st.Ino, d.stat("f").Ino)
			d.same("inode of a descriptor", d.fstat(d.open("f", unix.O_RDONLY)).Ino, d.stat("f").Ino)
		}),
		works("st_ino stays over writing, truncation and close", func(d *dir) {
			fd := d.open("f", creates)
			ino := d.fstat(fd).Ino
			d.put(fd, "x")
			d.ok(unix.Close(fd))
			d.same("inode after close", d.stat("f").Ino, ino)
			d.file("f", "again")
			d.same("inode after writing again", d.stat("f").Ino, ino)
		}),
		works("st_dev is the same everywhere in the mount", func(d *dir) {
			d.sub("d")
			d.file("d/f", "")
			d.same("device", d.stat("d/f").Dev, d.stat(".").Dev)
			var st unix.Stat_t
			d.ok(unix.Stat(d.mount(), &st))
			d.same("device of the mount point", st.Dev, d.stat("d").Dev)
		}),
		works("st_blocks is what the bytes need", func(d *dir) {
			d.file("f", "x")
			if n := d.stat("f").Blocks; n < 1 || n > 8 {
				d.wrong("%d blocks", n)
			}
		}),
		works("st_blksize is a useful size", func(d *dir) {
			d.file("f", "x")
			if n := d.stat("f").Blksize; n < 4096 || n > 16<<20 {
				d.wrong("%d", n)
			}
		}),
		works("st_rdev of a device is what mknod was given", func(d *dir) {
			d.ok(unix.Mknod(d.at("n"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
			d.same("device", uint64(d.stat("n").Rdev), unix.Mkdev(1, 3))
		}).by(root),
		works("fstat of an unlinked file has no links", func(d *dir) {
			fd := d.open("f", creates)
			d.ok(unix.Unlink(d.at("f")))
			d.same("links", uint64(d.fstat(fd).Nlink), uint64(0))
		}),
		works("fstatat with AT_SYMLINK_NOFOLLOW", func(d *dir) {
			d.link("nowhere", "l")
			var st unix.Stat_t
			d.ok(unix.Fstatat(d.open(".", unix.O_RDONLY), "l", &st, unix.AT_SYMLINK_NOFOLLOW))
			d.same("type", st.Mode&unix.S_IFMT, uint32(unix.S_IFLNK))
		}),
		works("fstatat with AT_EMPTY_PATH", func(d *dir) {
			d.file("f", "xx")
			var st unix.Stat_t
			d.ok(unix.Fstatat(d.open("f", unix.O_RDONLY), "", &st, unix.AT_EMPTY_PATH))
			d.same("size", st.Size, int64(2))
		}),
		works("statx gives what stat gives", func(d *dir) {
			d.file("f", "0123")
			st := d.stat("f")
			var x unix.Statx_t
			d.ok(unix.Statx(unix.AT_FDCWD, d.at("f"), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &x))
			d.same("mask", x.Mask&unix.STATX_BASIC_STATS, uint32(unix.STATX_BASIC_STATS))
			d.same("size", int64(x.Size), st.Size)
			d.same("mode", uint32(x.Mode), st.Mode)
			d.same("inode", x.Ino, st.Ino)
			d.same("mtime", unix.Timespec{Sec: x.Mtime.Sec, Nsec: int64(x.Mtime.Nsec)}, st.Mtim)
		}),
		works("statx with AT_STATX_FORCE_SYNC", func(d *dir) {
			d.file("f", "0123")
			var x unix.Statx_t
			d.ok(unix.Statx(unix.AT_FDCWD, d.at("f"), unix.AT_STATX_FORCE_SYNC, unix.STATX_SIZE, &x))
			d.same("size", x.Size, uint64(4))
		}),
		works("statx with AT_STATX_DONT_SYNC", func(d *dir) {
			d.file("f", "0123")
			var x unix.Statx_t
			d.ok(unix.Statx(unix.AT_FDCWD, d.at("f"), unix.AT_STATX_DONT_SYNC, unix.STATX_SIZE, &x))
			d.same("size", x.Size, uint64(4))
		}),
		works("statx says that the mount point is one", func(d *dir) {
			var x unix.Statx_t
			d.ok(unix.Statx(unix.AT_FDCWD, d.mount(), 0, unix.STATX_BASIC_STATS, &x))
			d.same("mount root", x.Attributes&unix.STATX_ATTR_MOUNT_ROOT, uint64(unix.STATX_ATTR_MOUNT_ROOT))
		}),
		fails(unix.EINVAL, "statx with a mask that is reserved", func(d *dir) error {
			return unix.Statx(unix.AT_FDCWD, d.path, 0, 1<<31, new(unix.Statx_t))
		}),
		fails(unix.EINVAL, "statx with flags that exclude each other", func(d *dir) error {
			return unix.Statx(unix.AT_FDCWD, d.path, unix.AT_STATX_FORCE_SYNC|unix.AT_STATX_DONT_SYNC, unix.STATX_SIZE, new(unix.Statx_t))
		}),
		fails(unix.ENOENT, "statx of a name that is not there", func(d *dir) error {
			return unix.Statx(unix.AT_FDCWD, d.at("f"), 0, unix.STATX_SIZE, new(unix.Statx_t))
		}),
		fails(unix.ENOENT, "stat of a name that is not there", func(d *dir) error { return stat(d.at("f")) }),
		fails(unix.ENOENT, "stat of a dangling link", func(d *dir) error { return stat(d.link("nowhere", "l")) }),
		fails(unix.ENOENT, "stat of an empty path", func(*dir) error { return stat("") }),
		fails(unix.ENOENT, "stat below a directory that is not there", func(d *dir) error { return stat(d.at("d/f")) }),
		fails(unix.ENOTDIR, "stat below a file", func(d *dir) error { return stat(d.file("f", "x") + "/g") }),
		fails(unix.ENOTDIR, "lstat of a file's name with a slash at its end", func(d *dir) error { return lstat(d.file("f", "x") + "/") }),
		fails(unix.ELOOP, "stat of a link to itself", func(d *dir) error { return stat(d.link("l", "l")) }),
		fails(unix.ENAMETOOLONG, "stat of a name of 256 bytes", func(d *dir) error { return stat(d.at(long(256))) }),
		fails(unix.EBADF, "fstat of a descriptor that is closed", func(*dir) error { return unix.Fstat(1<<20, new(unix.Stat_t)) }),
		fails(unix.EBADF, "fstatat below a descriptor that is closed", func(*dir) error {
			return unix.Fstatat(1<<20, "f", new(unix.Stat_t), 0)
		}),
		fails(unix.EINVAL, "fstatat with a flag that is none", func(d *dir) error {
			return unix.Fstatat(unix.AT_FDCWD, d.path, new(unix.Stat_t), 1)
		}),
		fails(unix.EACCES, "stat below a directory that may not be searched", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o644)
			return stat(d.at("d/f"))
		}).by(user),
		works("stat of a file that may not be read", func(d *dir) {
			d.ok(unix.Chmod(d.file("f", "x"), 0))
			d.same("size", d.stat("f").Size, int64(1))
		}),
		works("statfs says what the file system is", func(d *dir) {
			var st unix.Statfs_t
			d.ok(unix.Statfs(d.path, &st))
			d.same("type", int64(st.Type), int64(unix.FUSE_SUPER_MAGIC))
			d.same("NAME_MAX", int64(st.Namelen), int64(255))
			if st.Bsize <= 0 || st.Blocks == 0 || st.Bavail == 0 || st.Files == 0 || st.Ffree == 0 {
				d.wrong("%+v", st)
			}
		}),
		works("fstatfs of a file is statfs of the mount", func(d *dir) {
			var a, b unix.Statfs_t
			d.file("f", "x")
			d.ok(unix.Fstatfs(d.open("f", unix.O_RDONLY), &a))
			d.ok(unix.Statfs(d.mount(), &b))
			d.same("numbers", a, b)
		}),
		fails(unix.ENOENT, "statfs of a name that is not there", func(d *dir) error { return unix.Statfs(d.at("f"), new(unix.Statfs_t)) }),
		fails(unix.ENOTDIR, "statfs below a file", func(d *dir) error { return unix.Statfs(d.file("f", "x")+"/g", new(unix.Statfs_t)) }),
		fails(unix.EBADF, "fstatfs of a descriptor that is closed", func(*dir) error { return unix.Fstatfs(1<<20, new(unix.Statfs_t)) }),
	}
}
