package posix

import "golang.org/x/sys/unix"

// mknodRules are mknod(2) and mkfifo(3).
func mknodRules() []rule {
	mknod := func(d *dir, name string, mode uint32) error { return unix.Mknod(d.at(name), mode, 0) }
	return []rule{
		works("a FIFO with the mode less the umask", func(d *dir) {
			d.umask(0o022)
			d.ok(mknod(d, "p", unix.S_IFIFO|0o666))
			d.same("mode", octal(d.stat("p").Mode), octal(unix.S_IFIFO|0o644))
		}),
		works("a FIFO carries bytes from one end to the other", func(d *dir) {
			d.ok(mknod(d, "p", unix.S_IFIFO|0o600))
			r := d.open("p", unix.O_RDONLY|unix.O_NONBLOCK)
			w := d.open("p", unix.O_WRONLY)
			d.put(w, "through")
			p := make([]byte, 16)
			n, err := unix.Read(r, p)
			d.ok(err)
			d.same("content", string(p[:n]), "through")
		}),
		works("a socket", func(d *dir) {
			d.ok(mknod(d, "s", unix.S_IFSOCK|0o600))
			d.same("type", d.kind("s"), uint32(unix.S_IFSOCK))
		}),
		works("a socket that is bound, connects", func(d *dir) {
			d.chdir(d.path)
			l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			d.ok(err)
			d.closing(l)
			d.ok(unix.Bind(l, &unix.SockaddrUnix{Name: "s"}))
			d.ok(unix.Listen(l, 1))
			c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			d.ok(err)
			d.closing(c)
			d.ok(unix.Connect(c, &unix.SockaddrUnix{Name: "s"}))
		}),
		works("an empty file with S_IFREG", func(d *dir) {
			d.ok(mknod(d, "f", unix.S_IFREG|0o640))
			d.same("mode", octal(d.stat("f").Mode), octal(unix.S_IFREG|0o640))
			d.holds("f", "")
		}),
		works("an empty file with type 0", func(d *dir) {
			d.ok(mknod(d, "f", 0o600))
			d.same("type", d.kind("f"), uint32(unix.S_IFREG))
		}),
		works("mknodat below a descriptor", func(d *dir) {
			d.ok(unix.Mknodat(d.open(".", unix.O_RDONLY), "p", unix.S_IFIFO|0o600, 0))
			d.same("type", d.kind("p"), uint32(unix.S_IFIFO))
		}),
		works("root makes a device node", func(d *dir) {
			d.ok(unix.Mknod(d.at("n"), unix.S_IFBLK|0o600, int(unix.Mkdev(8, 1))))
			d.same("type", d.kind("n"), uint32(unix.S_IFBLK))
		}).by(root),
		fails(unix.EACCES, "a device node on a mount with nodev opens for nobody", func(d *dir) error {
			d.ok(unix.Mknod(d.at("n"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
			return d.opening(d.at("n"), unix.O_RDONLY, 0)
		}).by(root),
		fails(unix.EPERM, "a device node, by an ordinary user", func(d *dir) error {
			return unix.Mknod(d.at("n"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		}).by(user),
		works("a whiteout, the device 0:0, is for everybody", func(d *dir) {
			d.ok(mknod(d, "n", unix.S_IFCHR|0o600))
			d.same("type", d.kind("n"), uint32(unix.S_IFCHR))
		}),
		fails(unix.EPERM, "a directory", func(d *dir) error { return mknod(d, "d", unix.S_IFDIR|0o700) }),
		fails(unix.EINVAL, "a type that is none", func(d *dir) error { return mknod(d, "f", unix.S_IFMT|0o600) }),
		fails(unix.EINVAL, "a symbolic link", func(d *dir) error { return mknod(d, "l", unix.S_IFLNK|0o600) }),
		fails(unix.EEXIST, "the name exists", func(d *dir) error { d.file("f", "x"); return mknod(d, "f", unix.S_IFIFO|0o600) }),
		fails(unix.EEXIST, "the name is a dangling link", func(d *dir) error { d.link("x", "l"); return mknod(d, "l", unix.S_IFIFO|0o600) }),
		fails(unix.ENOENT, "the directory does not exist", func(d *dir) error { return mknod(d, "d/p", unix.S_IFIFO|0o600) }),
		fails(unix.ENOTDIR, "a component of the path is a file", func(d *dir) error { d.file("f", "x"); return mknod(d, "f/p", unix.S_IFIFO|0o600) }),
		fails(unix.ENAMETOOLONG, "a name of 256 bytes", func(d *dir) error { return mknod(d, long(256), unix.S_IFIFO|0o600) }),
		fails(unix.ELOOP, "links in the path go round", func(d *dir) error { d.link("l", "l"); return mknod(d, "l/p", unix.S_IFIFO|0o600) }),
		fails(unix.EACCES, "no right to write the directory", func(d *dir) error {
			d.sub("d")
			d.shut("d", 0o555)
			return mknod(d, "d/p", unix.S_IFIFO|0o600)
		}).by(user),
	}
}
