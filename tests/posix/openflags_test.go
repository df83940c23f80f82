package posix

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// openFlagRules are what open's flags do.
func openFlagRules() []rule {
	return []rule{
		works("O_CREAT makes an empty file with the mode less the umask", func(d *dir) {
			d.umask(0o027)
			d.ok(d.opening(d.at("f"), creates, 0o666))
			st := d.stat("f")
			d.same("mode", octal(st.Mode), octal(unix.S_IFREG|0o640))
			d.same("size", st.Size, int64(0))
		}),
		works("O_CREAT of a file that exists opens it and leaves its mode", func(d *dir) {
			d.file("f", "kept")
			d.ok(d.opening(d.at("f"), creates, 0o600))
			d.same("mode", d.mode("f"), "0644")
			d.holds("f", "kept")
		}),
		works("O_CREAT through a dangling link makes the target", func(d *dir) {
			d.link("target", "l")
			d.ok(d.opening(d.at("l"), creates, 0o644))
			d.same("type", d.kind("target"), uint32(unix.S_IFREG))
			d.same("type of the link", d.kind("l"), uint32(unix.S_IFLNK))
		}),
		works("O_CREAT with mode 0 gives a descriptor that writes all the same", func(d *dir) {
			fd, err := unix.Open(d.at("f"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0)
			d.ok(err)
			d.closing(fd)
			d.put(fd, "secret")
			d.same("content", d.get(fd, 0, 10), "secret")
			d.same("mode", d.mode("f"), "0")
		}),
		works("O_CREAT with mode 0400 and O_WRONLY writes", func(d *dir) {
			fd, err := unix.Open(d.at("f"), creates|unix.O_CLOEXEC, 0o400)
			d.ok(err)
			d.put(fd, "text")
			d.ok(unix.Close(fd))
			d.holds("f", "text")
		}),
		works("O_CREAT keeps setuid, setgid and the sticky bit", func(d *dir) {
			d.ok(d.opening(d.at("f"), creates, 0o7755))
			d.same("mode", d.mode("f"), "07755")
		}),
		works("O_CREAT makes a file of the caller", func(d *dir) {
			d.file("f", "")
			st := d.stat("f")
			d.same("uid", int(st.Uid), unix.Geteuid())
			d.same("gid", int(st.Gid), unix.Getegid())
		}),
		works("O_EXCL makes a name that is free", func(d *dir) {
			d.ok(d.opening(d.at("f"), creates|unix.O_EXCL, 0o644))
			d.same("type", d.kind("f"), uint32(unix.S_IFREG))
		}),
		works("O_TRUNC empties a file that is opened to write", func(d *dir) {
			d.file("f", "full")
			d.ok(d.opening(d.at("f"), unix.O_WRONLY|unix.O_TRUNC, 0))
			d.same("size", d.stat("f").Size, int64(0))
		}),
		works("O_TRUNC keeps mode and owner", func(d *dir) {
			d.file("f", "full")
			d.ok(unix.Chmod(d.at("f"), 0o604))
			d.ok(d.opening(d.at("f"), unix.O_WRONLY|unix.O_TRUNC|unix.O_CREAT, 0o777))
			d.same("mode", d.mode("f"), "0604")
		}),
		works("O_TRUNC is seen by who has the file open", func(d *dir) {
			d.file("f", "full")
			fd := d.open("f", unix.O_RDONLY)
			d.ok(d.opening(d.at("f"), unix.O_WRONLY|unix.O_TRUNC, 0))
			d.same("content", d.get(fd, 0, 10), "")
			d.same("size", d.fstat(fd).Size, int64(0))
		}),
		works("O_TRUNC on a FIFO does nothing", func(d *dir) {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			d.ok(d.opening(d.at("p"), unix.O_RDWR|unix.O_TRUNC|unix.O_NONBLOCK, 0))
		}),
		works("O_APPEND writes at the end, wherever the offset is", func(d *dir) {
			d.file("f", "begin")
			fd := d.open("f", unix.O_WRONLY|unix.O_APPEND)
			_, err := unix.Seek(fd, 0, unix.SEEK_SET)
			d.ok(err)
			d.put(fd, " end")
			d.ok(unix.Close(fd))
			d.holds("f", "begin end")
		}),
		works("O_APPEND finds the end anew for each write", func(d *dir) {
			d.file("f", "")
			a, b := d.open("f", unix.O_WRONLY|unix.O_APPEND), d.open("f", unix.O_WRONLY|unix.O_APPEND)
			for i := range 4 {
				d.put(a, fmt.Sprint("a", i))
				d.put(b, fmt.Sprint("b", i))
			}
			d.ok(unix.Close(a))
			d.ok(unix.Close(b))
			d.holds("f", "a0b0a1b1a2b2a3b3")
		}),
		works("O_APPEND moves the offset behind what was written", func(d *dir) {
			d.file("f", "12345")
			fd := d.open("f", unix.O_RDWR|unix.O_APPEND)
			d.put(fd, "67")
			at, err := unix.Seek(fd, 0, unix.SEEK_CUR)
			d.ok(err)
			d.same("offset", at, int64(7))
		}),
		works("O_APPEND appends with pwrite as well, on Linux", func(d *dir) {
			d.file("f", "12345")
			fd := d.open("f", unix.O_WRONLY|unix.O_APPEND)
			_, err := unix.Pwrite(fd, []byte("end"), 0)
			d.ok(err)
			d.ok(unix.Close(fd))
			d.holds("f", "12345end")
		}),
		works("O_APPEND can be set and cleared with F_SETFL", func(d *dir) {
			d.file("f", "12345")
			fd := d.open("f", unix.O_WRONLY)
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND)
			d.ok(err)
			d.put(fd, "6")
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
			d.ok(err)
			_, err = unix.Pwrite(fd, []byte("x"), 0)
			d.ok(err)
			d.ok(unix.Close(fd))
			d.holds("f", "x23456")
		}),
		works("O_RDONLY of a directory gives a descriptor for openat", func(d *dir) {
			d.sub("d")
			d.file("d/f", "below")
			fd, err := unix.Openat(d.open("d", unix.O_RDONLY), "f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			d.ok(err)
			d.closing(fd)
			d.same("content", d.get(fd, 0, 10), "below")
		}),
		works("openat with an absolute path ignores the descriptor", func(d *dir) {
			d.file("f", "x")
			fd, err := unix.Openat(-1, d.at("f"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			d.ok(err)
			d.closing(fd)
		}),
		works("openat stays with a directory that was renamed", func(d *dir) {
			d.sub("d")
			fd := d.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			d.ok(unix.Rename(d.at("d"), d.at("e")))
			f, err := unix.Openat(fd, "f", creates|unix.O_CLOEXEC, 0o644)
			d.ok(err)
			d.closing(f)
			d.same("names", d.names("e"), []string{"f"})
		}),
		works("O_CLOEXEC sets FD_CLOEXEC", func(d *dir) {
			d.file("f", "x")
			flags, err := unix.FcntlInt(uintptr(d.open("f", unix.O_RDONLY|unix.O_CLOEXEC)), unix.F_GETFD, 0)
			d.ok(err)
			d.same("flags", flags, unix.FD_CLOEXEC)
		}),
		works("without O_CLOEXEC FD_CLOEXEC is not set", func(d *dir) {
			fd, err := unix.Open(d.file("f", "x"), unix.O_RDONLY, 0)
			d.ok(err)
			d.closing(fd)
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			d.ok(err)
			d.same("flags", flags, 0)
		}),
		works("F_GETFL gives the access mode and the status flags", func(d *dir) {
			d.file("f", "x")
			flags, err := unix.FcntlInt(uintptr(d.open("f", unix.O_RDWR|unix.O_APPEND)), unix.F_GETFL, 0)
			d.ok(err)
			d.same("flags", flags&(unix.O_ACCMODE|unix.O_APPEND), unix.O_RDWR|unix.O_APPEND)
		}),
		works("O_NOFOLLOW opens what is no link, below links in the path", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.link("d", "l")
			d.ok(d.opening(d.at("l/f"), unix.O_RDONLY|unix.O_NOFOLLOW, 0))
		}),
		works("O_DIRECTORY opens a directory, through a link too", func(d *dir) {
			d.sub("d")
			d.link("d", "l")
			d.ok(d.opening(d.at("l"), unix.O_RDONLY|unix.O_DIRECTORY, 0))
		}),
		works("O_SYNC: what write has returned is there", func(d *dir) {
			fd := d.open("f", creates|unix.O_SYNC)
			d.put(fd, "synced")
			d.holds("f", "synced")
		}),
		works("O_DSYNC: what write has returned is there", func(d *dir) {
			fd := d.open("f", creates|unix.O_DSYNC)
			d.put(fd, "synced")
			d.holds("f", "synced")
		}),
		works("O_NONBLOCK means nothing to a file", func(d *dir) {
			d.file("f", "x")
			d.same("content", d.get(d.open("f", unix.O_RDONLY|unix.O_NONBLOCK), 0, 4), "x")
		}),
		works("O_NOATIME is for the owner", func(d *dir) {
			d.file("f", "x")
			d.ok(d.opening(d.at("f"), unix.O_RDONLY|unix.O_NOATIME, 0))
		}),
		fails(unix.EPERM, "O_NOATIME of somebody else's file", func(d *dir) error {
			return d.opening(d.at("f"), unix.O_RDONLY|unix.O_NOATIME, 0)
		}).by(user).staged(func(d *dir) { d.file("f", "x") }),
		works("O_PATH opens a file without asking for its permissions", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Chmod(d.at("f"), 0))
			fd := d.open("f", unix.O_PATH)
			d.same("size", d.fstat(fd).Size, int64(1))
		}),
		fails(unix.EBADF, "read of an O_PATH descriptor", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Read(d.open("f", unix.O_PATH), make([]byte, 1))
			return err
		}),
		fails(unix.EBADF, "write of an O_PATH descriptor", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Write(d.open("f", unix.O_PATH), []byte("y"))
			return err
		}),
		fails(unix.EBADF, "fchmod of an O_PATH descriptor", func(d *dir) error {
			d.file("f", "x")
			return unix.Fchmod(d.open("f", unix.O_PATH), 0o600)
		}),
		works("O_PATH with O_NOFOLLOW opens a link itself", func(d *dir) {
			d.link("nowhere", "l")
			fd := d.open("l", unix.O_PATH|unix.O_NOFOLLOW)
			d.same("type", d.fstat(fd).Mode&unix.S_IFMT, uint32(unix.S_IFLNK))
			buf := make([]byte, 32)
			n, err := unix.Readlinkat(fd, "", buf)
			d.ok(err)
			d.same("target", string(buf[:n]), "nowhere")
		}),
		works("an O_PATH descriptor of a directory serves openat and fchdir", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			fd := d.open("d", unix.O_PATH)
			f, err := unix.Openat(fd, "f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			d.ok(err)
			d.closing(f)
			d.chdir("/")
			d.ok(unix.Fchdir(fd))
		}),
		works("an O_PATH descriptor opens for real through /proc/self/fd", func(d *dir) {
			d.file("f", "content")
			fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", d.open("f", unix.O_PATH)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			d.ok(err)
			d.closing(fd)
			d.same("content", d.get(fd, 0, 16), "content")
		}),
		works("O_TMPFILE makes a file without a name", func(d *dir) {
			fd, err := unix.Open(d.path, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
			d.ok(err)
			d.closing(fd)
			d.put(fd, "unnamed")
			d.same("content", d.get(fd, 0, 16), "unnamed")
			d.same("links", uint64(d.fstat(fd).Nlink), uint64(0))
		}),
		fails(unix.EINVAL, "O_TMPFILE to read only", func(d *dir) error {
			return d.opening(d.path, unix.O_RDONLY|unix.O_TMPFILE, 0o600)
		}),
		works("O_DIRECT reads and writes aligned blocks", func(d *dir) {
			p := aligned(8192)
			copy(p, "direct")
			fd := d.open("f", unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT)
			n, err := unix.Pwrite(fd, p, 0)
			d.ok(err)
			d.same("written", n, len(p))
			q := aligned(8192)
			n, err = unix.Pread(fd, q, 0)
			d.ok(err)
			d.same("read", n, len(q))
			d.same("content", string(q[:6]), "direct")
		}),
		works("O_DIRECT sees what was written without it, and the other way round", func(d *dir) {
			d.file("f", "buffered")
			direct := d.open("f", unix.O_RDWR|unix.O_DIRECT)
			q := aligned(4096)
			n, err := unix.Pread(direct, q, 0)
			d.ok(err)
			d.same("content", string(q[:n]), "buffered")
			copy(q, "straight")
			_, err = unix.Pwrite(direct, q, 0)
			d.ok(err)
			d.same("content", d.get(d.open("f", unix.O_RDONLY), 0, 8), "straight")
		}),
		works("O_DIRECT with O_APPEND", func(d *dir) {
			d.file("f", "begin")
			fd := d.open("f", unix.O_WRONLY|unix.O_APPEND|unix.O_DIRECT)
			d.put(fd, " end")
			d.ok(unix.Close(fd))
			d.holds("f", "begin end")
		}),
		works("creat truncates what is there and opens to write alone", func(d *dir) {
			d.file("f", "full")
			fd, err := unix.Creat(d.at("f"), 0o600)
			d.ok(err)
			d.closing(fd)
			d.same("size", d.stat("f").Size, int64(0))
			_, err = unix.Read(fd, make([]byte, 1))
			d.same("read", err, error(unix.EBADF))
		}),
		fails(unix.EISDIR, "creat of a directory's name", func(d *dir) error {
			d.sub("d")
			_, err := unix.Creat(d.at("d"), 0o600)
			return err
		}),
		works("openat2 with RESOLVE_BENEATH opens what lies below", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			fd, err := unix.Openat2(d.open(".", unix.O_RDONLY), "d/f", &unix.OpenHow{Flags: unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
			d.ok(err)
			d.closing(fd)
		}),
		fails(unix.EXDEV, "openat2 with RESOLVE_BENEATH and a way out", func(d *dir) error {
			d.sub("d")
			_, err := unix.Openat2(d.open("d", unix.O_RDONLY), "../f", &unix.OpenHow{Flags: unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
			return err
		}),
		fails(unix.ELOOP, "openat2 with RESOLVE_NO_SYMLINKS and a link in the path", func(d *dir) error {
			d.sub("d")
			d.file("d/f", "x")
			d.link("d", "l")
			_, err := unix.Openat2(d.open(".", unix.O_RDONLY), "l/f", &unix.OpenHow{Flags: unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
			return err
		}),
	}
}
