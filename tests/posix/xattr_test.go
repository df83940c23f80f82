package posix

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrRules are setxattr(2), getxattr(2), listxattr(2) and removexattr(2), and their like for links and descriptors.
func xattrRules() []rule {
	set := func(d *dir, name, value string, flags int) error {
		return unix.Setxattr(d.at("f"), name, []byte(value), flags)
	}
	get := func(d *dir, path, name string) string {
		p := make([]byte, 4096)
		n, err := unix.Getxattr(d.at(path), name, p)
		d.ok(err)
		return string(p[:n])
	}
	list := func(d *dir, path string) []string {
		p := make([]byte, 4096)
		n, err := unix.Listxattr(d.at(path), p)
		d.ok(err)
		all := strings.Split(strings.TrimSuffix(string(p[:n]), "\x00"), "\x00")
		slices.Sort(all)
		return all
	}
	return []rule{
		works("setxattr and getxattr", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			d.same("value", get(d, "f", "user.colour"), "green")
			d.holds("f", "x")
		}),
		works("setxattr replaces", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			d.ok(set(d, "user.colour", "red", 0))
			d.same("value", get(d, "f", "user.colour"), "red")
		}),
		works("an empty value", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.empty", "", 0))
			d.same("value", get(d, "f", "user.empty"), "")
		}),
		works("a value of any bytes", func(d *dir) {
			d.file("f", "x")
			value := "\x00\x01\xff\n ü"
			d.ok(set(d, "user.bytes", value, 0))
			d.same("value", get(d, "f", "user.bytes"), value)
		}),
		works("a name in capitals is another one", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.Colour", "green", 0))
			d.ok(set(d, "user.colour", "red", 0))
			d.same("value", get(d, "f", "user.Colour"), "green")
		}),
		works("XATTR_CREATE of a new one", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", unix.XATTR_CREATE))
			d.same("value", get(d, "f", "user.colour"), "green")
		}),
		works("XATTR_REPLACE of one that is there", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			d.ok(set(d, "user.colour", "red", unix.XATTR_REPLACE))
			d.same("value", get(d, "f", "user.colour"), "red")
		}),
		works("getxattr with a size of 0 gives the length", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			n, err := unix.Getxattr(d.at("f"), "user.colour", nil)
			d.ok(err)
			d.same("length", n, 5)
		}),
		works("listxattr names them", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.a", "1", 0))
			d.ok(set(d, "user.b", "2", 0))
			d.same("names", list(d, "f"), []string{"user.a", "user.b"})
		}),
		works("listxattr of a file without any is empty", func(d *dir) {
			d.file("f", "x")
			n, err := unix.Listxattr(d.at("f"), nil)
			d.ok(err)
			d.same("length", n, 0)
		}),
		works("removexattr removes one", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.a", "1", 0))
			d.ok(set(d, "user.b", "2", 0))
			d.ok(unix.Removexattr(d.at("f"), "user.a"))
			d.same("names", list(d, "f"), []string{"user.b"})
		}),
		works("attributes of a directory", func(d *dir) {
			d.ok(unix.Setxattr(d.sub("d"), "user.colour", []byte("green"), 0))
			d.same("value", get(d, "d", "user.colour"), "green")
		}),
		works("fsetxattr of a file that is not stored yet stays over the close", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "x")
			d.ok(unix.Fsetxattr(fd, "user.colour", []byte("green"), 0))
			d.ok(unix.Close(fd))
			d.same("value", get(d, "f", "user.colour"), "green")
		}),
		works("attributes stay over writing, chmod and rename", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			d.file("f", "other text")
			d.ok(unix.Chmod(d.at("f"), 0o600))
			d.ok(d.rename("f", "g"))
			d.same("value", get(d, "g", "user.colour"), "green")
		}),
		works("setxattr leaves mtime and sets ctime", func(d *dir) {
			d.file("f", "x")
			d.aged("f")
			since := now()
			d.ok(set(d, "user.colour", "green", 0))
			st := d.stat("f")
			d.same("mtime", st.Mtim, old)
			d.fresh("ctime", st.Ctim, since)
		}),
		fails(unix.ENODATA, "getxattr of an attribute that is not there", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Getxattr(d.at("f"), "user.colour", nil)
			return err
		}),
		fails(unix.ENODATA, "removexattr of an attribute that is not there", func(d *dir) error {
			return unix.Removexattr(d.file("f", "x"), "user.colour")
		}),
		fails(unix.ENODATA, "XATTR_REPLACE of an attribute that is not there", func(d *dir) error {
			d.file("f", "x")
			return set(d, "user.colour", "green", unix.XATTR_REPLACE)
		}),
		fails(unix.EEXIST, "XATTR_CREATE of an attribute that is there", func(d *dir) error {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			return set(d, "user.colour", "red", unix.XATTR_CREATE)
		}),
		fails(unix.ERANGE, "getxattr into a buffer that is too small", func(d *dir) error {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			_, err := unix.Getxattr(d.at("f"), "user.colour", make([]byte, 2))
			return err
		}),
		fails(unix.ERANGE, "listxattr into a buffer that is too small", func(d *dir) error {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			_, err := unix.Listxattr(d.at("f"), make([]byte, 2))
			return err
		}),
		fails(unix.ERANGE, "a name of 256 bytes", func(d *dir) error {
			d.file("f", "x")
			return set(d, "user."+long(251), "green", 0)
		}),
		fails(unix.ENOSPC, "more than there is room for", func(d *dir) error {
			d.file("f", "x")
			return set(d, "user.large", long(40000), 0)
		}),
		works("lgetxattr of a file, and the list of a link itself", func(d *dir) {
			d.file("f", "x")
			d.ok(set(d, "user.colour", "green", 0))
			p := make([]byte, 16)
			n, err := unix.Lgetxattr(d.at("f"), "user.colour", p)
			d.ok(err)
			d.same("value", string(p[:n]), "green")
			n, err = unix.Llistxattr(d.link("f", "l"), p)
			d.ok(err)
			d.same("names of the link", n, 0)
		}),
		fails(unix.E2BIG, "a value above 64 KiB", func(d *dir) error {
			d.file("f", "x")
			return set(d, "user.large", long(65537), 0)
		}),
		fails(unix.EINVAL, "a flag that is none", func(d *dir) error {
			d.file("f", "x")
			return set(d, "user.colour", "green", 64)
		}),
		fails(unix.EOPNOTSUPP, "a namespace that is none", func(d *dir) error {
			d.file("f", "x")
			return set(d, "nonsense.colour", "green", 0)
		}),
		fails(unix.ENOENT, "setxattr of a name that is not there", func(d *dir) error { return set(d, "user.colour", "green", 0) }),
		fails(unix.EPERM, "lsetxattr with a user's attribute of a link itself", func(d *dir) error {
			return unix.Lsetxattr(d.link("x", "l"), "user.colour", []byte("green"), 0)
		}),
		fails(unix.EPERM, "a user's attribute of a FIFO", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("f"), 0o600))
			return set(d, "user.colour", "green", 0)
		}),
		fails(unix.EPERM, "an attribute of trusted, by an ordinary user", func(d *dir) error {
			d.file("f", "x")
			return set(d, "trusted.colour", "green", 0)
		}).by(user),
		fails(unix.EACCES, "setxattr of somebody else's file", func(d *dir) error { return set(d, "user.colour", "green", 0) }).by(user).
			staged(func(d *dir) { d.file("f", "x") }),
		fails(unix.EACCES, "getxattr of a file that may not be read", func(d *dir) error {
			d.ok(unix.Chmod(d.file("f", "x"), 0))
			_, err := unix.Getxattr(d.at("f"), "user.colour", nil)
			return err
		}).by(user),
		fails(unix.EBADF, "fgetxattr of a descriptor that is closed", func(*dir) error {
			_, err := unix.Fgetxattr(1<<20, "user.colour", nil)
			return err
		}),
	}
}
