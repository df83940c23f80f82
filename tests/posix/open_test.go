package posix

import "golang.org/x/sys/unix"

// opening opens a path and gives the error alone.
func (d *dir) opening(path string, flags int, mode uint32) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
	if err == nil {
		d.closing(fd)
	}
	return err
}

const creates = unix.O_WRONLY | unix.O_CREAT

// openRules are open(2)'s errors.
func openRules() []rule {
	return []rule{
		fails(unix.EEXIST, "O_CREAT and O_EXCL and the name exists", func(d *dir) error {
			d.file("f", "x")
			return d.opening(d.at("f"), creates|unix.O_EXCL, 0o644)
		}),
		fails(unix.EEXIST, "O_CREAT and O_EXCL and the name is a directory", func(d *dir) error {
			d.sub("d")
			return d.opening(d.at("d"), creates|unix.O_EXCL, 0o644)
		}),
		fails(unix.EEXIST, "O_CREAT and O_EXCL and the name is a symbolic link, wherever it points", func(d *dir) error {
			d.link("nowhere", "l")
			return d.opening(d.at("l"), creates|unix.O_EXCL, 0o644)
		}),
		fails(unix.EISDIR, "writing was asked for and the name is a directory", func(d *dir) error {
			d.sub("d")
			return d.opening(d.at("d"), unix.O_WRONLY, 0)
		}),
		fails(unix.EISDIR, "O_RDWR and the name is a directory", func(d *dir) error {
			d.sub("d")
			return d.opening(d.at("d"), unix.O_RDWR, 0)
		}),
		fails(unix.EISDIR, "O_CREAT and the name is a directory", func(d *dir) error {
			d.sub("d")
			return d.opening(d.at("d"), unix.O_RDONLY|unix.O_CREAT, 0o644)
		}),
		fails(unix.EISDIR, "O_TRUNC of a directory", func(d *dir) error {
			d.sub("d")
			return d.opening(d.at("d"), unix.O_RDONLY|unix.O_TRUNC, 0)
		}),
		fails(unix.ENOENT, "O_CREAT is not set and the file does not exist", func(d *dir) error {
			return d.opening(d.at("f"), unix.O_RDONLY, 0)
		}),
		fails(unix.ENOENT, "a directory of the path does not exist", func(d *dir) error {
			return d.opening(d.at("d/f"), creates, 0o644)
		}),
		fails(unix.ENOENT, "the path is a dangling link and O_CREAT is not set", func(d *dir) error {
			d.link("nowhere", "l")
			return d.opening(d.at("l"), unix.O_RDONLY, 0)
		}),
		fails(unix.ENOENT, "the path is empty", func(d *dir) error {
			d.chdir(d.path)
			return d.opening("", unix.O_RDONLY, 0)
		}),
		fails(unix.ENOTDIR, "a component of the path is a file", func(d *dir) error {
			d.file("f", "x")
			return d.opening(d.at("f/g"), unix.O_RDONLY, 0)
		}),
		fails(unix.ENOTDIR, "O_DIRECTORY and the name is a file", func(d *dir) error {
			d.file("f", "x")
			return d.opening(d.at("f"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}),
		fails(unix.ENOTDIR, "O_DIRECTORY and the name is a link to a file", func(d *dir) error {
			d.file("f", "x")
			d.link("f", "l")
			return d.opening(d.at("l"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}),
		fails(unix.ELOOP, "too many symbolic links", func(d *dir) error {
			d.link("b", "a")
			d.link("a", "b")
			return d.opening(d.at("a"), unix.O_RDONLY, 0)
		}),
		fails(unix.ELOOP, "O_NOFOLLOW and the name is a symbolic link", func(d *dir) error {
			d.file("f", "x")
			d.link("f", "l")
			return d.opening(d.at("l"), unix.O_RDONLY|unix.O_NOFOLLOW, 0)
		}),
		fails(unix.ELOOP, "O_NOFOLLOW with O_CREAT and the name is a dangling link", func(d *dir) error {
			d.link("nowhere", "l")
			return d.opening(d.at("l"), creates|unix.O_NOFOLLOW, 0o644)
		}),
		fails(unix.ENOTDIR, "O_NOFOLLOW with O_DIRECTORY and the name is a link to a directory", func(d *dir) error {
			d.sub("d")
			d.link("d", "l")
			return d.opening(d.at("l"), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
		}),
		fails(unix.EISDIR, "O_CREAT of a name with a slash at its end", func(d *dir) error {
			return d.opening(d.at("f/"), creates, 0o644)
		}),
		fails(unix.ENOTDIR, "a file's name with a slash at its end", func(d *dir) error {
			d.file("f", "x")
			return d.opening(d.at("f/"), unix.O_RDONLY, 0)
		}),
		fails(unix.EINVAL, "O_CREAT with O_DIRECTORY", func(d *dir) error {
			return d.opening(d.at("d"), unix.O_RDONLY|unix.O_CREAT|unix.O_DIRECTORY, 0o755)
		}),
		fails(unix.EFAULT, "the path lies outside of the process", func(d *dir) error {
			_, _, errno := unix.Syscall(unix.SYS_OPEN, 1, unix.O_RDONLY, 0)
			return errno
		}),
		fails(unix.EBADF, "openat with a relative path and a descriptor that is none", func(d *dir) error {
			_, err := unix.Openat(-1, "f", unix.O_RDONLY, 0)
			return err
		}),
		fails(unix.ENOTDIR, "openat with a relative path below a file's descriptor", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Openat(d.open("f", unix.O_RDONLY), "g", unix.O_RDONLY, 0)
			return err
		}),
		fails(unix.ENOENT, "openat creates below a directory that was removed", func(d *dir) error {
			d.sub("d")
			fd := d.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			d.ok(unix.Rmdir(d.at("d")))
			_, err := unix.Openat(fd, "f", creates|unix.O_CLOEXEC, 0o644)
			return err
		}),
		fails(unix.ENXIO, "O_WRONLY and O_NONBLOCK of a FIFO that nobody reads", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			return d.opening(d.at("p"), unix.O_WRONLY|unix.O_NONBLOCK, 0)
		}),
		fails(unix.ENXIO, "the name is a socket", func(d *dir) error {
			d.ok(unix.Mknod(d.at("s"), unix.S_IFSOCK|0o644, 0))
			return d.opening(d.at("s"), unix.O_RDONLY, 0)
		}),
		fails(unix.ETXTBSY, "writing to a program that runs", func(d *dir) error {
			d.program("sleeps")
			_, in := d.running(d.at("sleeps"))
			defer in.Close()
			return d.opening(d.at("sleeps"), unix.O_WRONLY, 0)
		}),
	}
}
