package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

// symlinkRules are symlink(2) and readlink(2).
func symlinkRules() []rule {
	reads := func(d *dir, name, want string) {
		buf := make([]byte, 4200)
		n, err := unix.Readlink(d.at(name), buf)
		d.ok(err)
		d.same("target", string(buf[:n]), want)
	}
	symlink := func(d *dir, target, name string) error { return unix.Symlink(target, d.at(name)) }
	return []rule{
		works("a link with its target as it was given", func(d *dir) {
			for i, target := range []string{"f", "/etc/passwd", "../a/./b//c/", ".", "Grüße\tund Leerzeichen ", "%2e%00 +&?"} {
				name := "l" + string(rune('0'+i))
				d.link(target, name)
				reads(d, name, target)
			}
		}),
		works("its size is the target's length", func(d *dir) {
			d.link("12345678", "l")
			d.same("size", d.stat("l").Size, int64(8))
		}),
		works("its mode is 0777 and its owner the caller", func(d *dir) {
			d.link("f", "l")
			st := d.stat("l")
			d.same("mode", octal(st.Mode), octal(unix.S_IFLNK|0o777))
			d.same("uid", int(st.Uid), unix.Geteuid())
		}),
		works("a target of 4095 bytes", func(d *dir) {
			target := strings.Repeat("x", 4095)
			d.link(target, "l")
			reads(d, "l", target)
		}),
		works("readlink cuts to the buffer", func(d *dir) {
			d.link("12345678", "l")
			buf := make([]byte, 3)
			n, err := unix.Readlink(d.at("l"), buf)
			d.ok(err)
			d.same("target", string(buf[:n]), "123")
		}),
		works("a link to a directory leads into it", func(d *dir) {
			d.sub("d")
			d.link("d", "l")
			d.file("l/f", "x")
			d.holds("d/f", "x")
		}),
		works("a relative target starts at the link's directory", func(d *dir) {
			d.file("f", "up")
			d.sub("d")
			d.link("../f", "d/l")
			d.holds("d/l", "up")
		}),
		works("stat follows and lstat does not", func(d *dir) {
			d.file("f", "four")
			d.link("f", "l")
			var st unix.Stat_t
			d.ok(unix.Stat(d.at("l"), &st))
			d.same("size", st.Size, int64(4))
			d.same("type", d.kind("l"), uint32(unix.S_IFLNK))
		}),
		works("40 links in a row are followed", func(d *dir) {
			d.file("l0", "end")
			for i := range 39 {
				d.link("l"+itoa(i), "l"+itoa(i+1))
			}
			d.holds("l39", "end")
		}),
		fails(unix.ELOOP, "41 links in a row", func(d *dir) error {
			d.file("l0", "end")
			for i := range 41 {
				d.link("l"+itoa(i), "l"+itoa(i+1))
			}
			return d.opening(d.at("l41"), unix.O_RDONLY, 0)
		}),
		works("symlinkat and readlinkat below a descriptor", func(d *dir) {
			fd := d.open(".", unix.O_RDONLY)
			d.ok(unix.Symlinkat("target", fd, "l"))
			buf := make([]byte, 16)
			n, err := unix.Readlinkat(fd, "l", buf)
			d.ok(err)
			d.same("target", string(buf[:n]), "target")
		}),
		works("a link is replaced and shows the new target", func(d *dir) {
			d.link("one", "l")
			reads(d, "l", "one")
			d.link("two", "m")
			d.ok(d.rename("m", "l"))
			reads(d, "l", "two")
		}),
		fails(unix.EEXIST, "symlink and the name exists", func(d *dir) error {
			d.file("l", "x")
			return symlink(d, "target", "l")
		}),
		fails(unix.EEXIST, "symlink and the name is a dangling link", func(d *dir) error {
			d.link("nowhere", "l")
			return symlink(d, "target", "l")
		}),
		fails(unix.ENOENT, "symlink with an empty target", func(d *dir) error { return symlink(d, "", "l") }),
		fails(unix.ENOENT, "symlink in a directory that is not there", func(d *dir) error { return symlink(d, "target", "d/l") }),
		fails(unix.ENOENT, "symlink to a name with a slash at its end", func(d *dir) error { return symlink(d, "target", "l/") }),
		fails(unix.ENOTDIR, "symlink below a file", func(d *dir) error {
			d.file("f", "x")
			return symlink(d, "target", "f/l")
		}),
		fails(unix.ENAMETOOLONG, "symlink with a target of 4096 bytes", func(d *dir) error {
			return symlink(d, strings.Repeat("x", 4096), "l")
		}),
		fails(unix.ENAMETOOLONG, "symlink with a name of 256 bytes", func(d *dir) error { return symlink(d, "target", long(256)) }),
		fails(unix.EACCES, "symlink in a directory that may not be written", func(d *dir) error {
			d.sub("d")
			d.shut("d", 0o555)
			return symlink(d, "target", "d/l")
		}).by(user),
		fails(unix.EINVAL, "readlink of a file", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Readlink(d.at("f"), make([]byte, 8))
			return err
		}),
		fails(unix.EINVAL, "readlink of a directory", func(d *dir) error {
			_, err := unix.Readlink(d.path, make([]byte, 8))
			return err
		}),
		fails(unix.EINVAL, "readlink into a buffer of no bytes", func(d *dir) error {
			d.link("target", "l")
			return raw(unix.SYS_READLINK, d.cstring("l"), 0, 0)
		}),
		fails(unix.ENOENT, "readlink of a name that is not there", func(d *dir) error {
			_, err := unix.Readlink(d.at("l"), make([]byte, 8))
			return err
		}),
		fails(unix.ENOTDIR, "readlink of a link's name with a slash at its end, and the target is a file", func(d *dir) error {
			d.file("f", "x")
			d.link("f", "l")
			_, err := unix.Readlink(d.at("l/"), make([]byte, 8))
			return err
		}),
		fails(unix.EACCES, "readlink below a directory that may not be searched", func(d *dir) error {
			d.sub("d")
			d.link("target", "d/l")
			d.shut("d", 0o600)
			_, err := unix.Readlink(d.at("d/l"), make([]byte, 8))
			return err
		}).by(user),
		fails(unix.ELOOP, "readlink through links that go round", func(d *dir) error {
			d.link("b", "a")
			d.link("a", "b")
			_, err := unix.Readlink(d.at("a/x"), make([]byte, 8))
			return err
		}),
	}
}
