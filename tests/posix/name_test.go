package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

// nameRules are path_resolution(7): names, slashes, dots and lengths.
func nameRules() []rule {
	stat := func(path string) error { return unix.Lstat(path, new(unix.Stat_t)) }
	return []rule{
		works("a name of 255 bytes", func(d *dir) {
			d.file(long(255), "x")
			d.holds(long(255), "x")
			d.same("names", d.names("."), []string{long(255)})
		}),
		works("a name of 255 bytes in 85 characters", func(d *dir) {
			name := strings.Repeat("한", 85)
			d.file(name, "x")
			d.same("names", d.names("."), []string{name})
		}),
		works("a directory's name of 255 bytes", func(d *dir) {
			d.sub(long(255))
			d.file(long(255)+"/f", "x")
			d.holds(long(255)+"/f", "x")
		}),
		fails(unix.ENAMETOOLONG, "creating a name of 256 bytes", func(d *dir) error { return d.opening(d.at(long(256)), creates, 0o644) }),
		fails(unix.ENAMETOOLONG, "a component of 256 bytes in the middle", func(d *dir) error {
			return d.opening(d.at(long(256)+"/f"), creates, 0o644)
		}),
		fails(unix.ENAMETOOLONG, "a path of 4096 bytes", func(d *dir) error {
			return stat(d.path + strings.Repeat("/", 4096-len(d.path)-1) + "f")
		}),
		works("a path of 4095 bytes, most of them slashes", func(d *dir) {
			d.file("f", "x")
			d.ok(stat(d.path + strings.Repeat("/", 4095-len(d.path)-1) + "f"))
		}),
		works("a path deeper than one system call can say", func(d *dir) {
			d.chdir(d.path)
			for range 3 {
				d.ok(unix.Mkdir(long(250), 0o755))
				d.ok(unix.Chdir(long(250)))
			}
			fd, err := unix.Open("f", creates|unix.O_CLOEXEC, 0o644)
			d.ok(err)
			d.ok(unix.Close(fd))
			d.ok(stat("f"))
		}),
		fails(unix.ENAMETOOLONG, "a path of more than the store's 1024 bytes", func(d *dir) error {
			d.chdir(d.path)
			for range 5 {
				if err := unix.Mkdir(long(250), 0o755); err != nil {
					return err
				}
				d.ok(unix.Chdir(long(250)))
			}
			return nil
		}),
		works("slashes in a row are one", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.holds("d////f", "x")
		}),
		works(". is the directory itself", func(d *dir) {
			d.file("f", "x")
			d.holds("././f", "x")
		}),
		works(".. is the directory above", func(d *dir) {
			d.sub("d")
			d.sub("d/e")
			d.file("f", "x")
			d.holds("d/e/../../f", "x")
		}),
		works(".. after a link is above the link's target", func(d *dir) {
			d.sub("d")
			d.sub("d/e")
			d.file("d/f", "x")
			d.link("d/e", "l")
			d.holds("l/../f", "x")
		}),
		works(".. of the mount point is outside of it", func(d *dir) {
			var in, out unix.Stat_t
			d.ok(unix.Stat(d.mount(), &in))
			d.ok(unix.Stat(d.mount()+"/..", &out))
			if in.Dev == out.Dev {
				d.wrong("the same device")
			}
		}),
		works("a directory's name with a slash at its end", func(d *dir) {
			d.sub("d")
			d.same("type", d.kind("d/"), uint32(unix.S_IFDIR))
		}),
		works("a link to a directory with a slash at its end is the directory", func(d *dir) {
			d.sub("d")
			d.link("d", "l")
			d.same("type", d.kind("l/"), uint32(unix.S_IFDIR))
		}),
		fails(unix.ENOTDIR, "a link to a file with a slash at its end", func(d *dir) error {
			d.file("f", "x")
			d.link("f", "l")
			return stat(d.at("l/"))
		}),
		fails(unix.ENOTDIR, ".. below a file", func(d *dir) error { d.file("f", "x"); return stat(d.at("f/../f")) }),
		fails(unix.ENOTDIR, ". below a file", func(d *dir) error { d.file("f", "x"); return stat(d.at("f/.")) }),
		fails(unix.ENOENT, ".. below a name that is not there", func(d *dir) error { return stat(d.at("d/..")) }),
		works("capitals are other names", func(d *dir) {
			d.file("name", "small")
			d.file("NAME", "large")
			d.holds("name", "small")
			d.holds("NAME", "large")
		}),
		works("spaces, quotes and signs", func(d *dir) {
			names := []string{" ", " !", "\"", "#", "%2F", "&amp;", "'", "*", "+", "-rf", "<>", "=", "?", "\\", "a b", "{}", "|", "~"}
			for _, name := range names {
				d.file(name, name)
			}
			for _, name := range names {
				d.holds(name, name)
			}
			d.same("names", d.names("."), names)
		}),
		works("a newline and a tab", func(d *dir) {
			d.file("a\nb\tc", "x")
			d.same("names", d.names("."), []string{"a\nb\tc"})
			d.holds("a\nb\tc", "x")
		}),
		works("names with dots", func(d *dir) {
			names := []string{"...", "..a", ".a", ".a.", "a..", "a..b"}
			for _, name := range names {
				d.file(name, name)
			}
			d.same("names", d.names("."), names)
		}),
		works("two forms of one letter are two names", func(d *dir) {
			d.file("\u00e9", "composed")
			d.file("e\u0301", "decomposed")
			d.holds("\u00e9", "composed")
			d.holds("e\u0301", "decomposed")
		}),
		works("bytes that are no UTF-8", func(d *dir) {
			d.file("a\xffb", "x")
			d.holds("a\xffb", "x")
		}),
		works("a file and then a directory of the same name", func(d *dir) {
			d.file("n", "x")
			d.ok(unix.Unlink(d.at("n")))
			d.sub("n")
			d.file("n/f", "y")
			d.holds("n/f", "y")
			d.ok(unix.Unlink(d.at("n/f")))
			d.ok(unix.Rmdir(d.at("n")))
			d.absent("n")
		}),
		works("a directory's name becomes a file's, and fsync stores it", func(d *dir) {
			d.sub("n")
			d.file("n/f", "y")
			d.ok(unix.Unlink(d.at("n/f")))
			d.ok(unix.Rmdir(d.at("n")))
			fd := d.open("n", creates)
			d.put(fd, "z")
			err := unix.Fsync(fd)
			d.holds("n", "z")
			if err != nil {
				d.ok(unix.Unlink(d.at("n"))) // nothing may be left that cannot be stored
			}
			d.ok(err)
		}),
		works("a file's name becomes a directory's, and fsync stores it", func(d *dir) {
			d.file("n", "x")
			d.ok(unix.Unlink(d.at("n")))
			d.sub("n")
			d.ok(unix.Fsync(d.open("n", unix.O_RDONLY)))
			d.same("names", d.names("n"), []string{})
		}),
		fails(unix.EINVAL, "pathconf's like: a name with NUL cannot be said", func(d *dir) error {
			return unix.Mkdir(d.at("a\x00b"), 0o755)
		}),
		works("getcwd in a directory of the mount", func(d *dir) {
			d.sub("d")
			d.chdir(d.at("d"))
			cwd, err := unix.Getwd()
			d.ok(err)
			d.same("directory", cwd, d.at("d"))
		}),
		works("chdir, and relative names", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.chdir(d.at("d"))
			d.ok(stat("f"))
			d.ok(stat("../d/f"))
		}),
		works("fchdir to an open directory", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			fd := d.open("d", unix.O_RDONLY)
			d.chdir("/")
			d.ok(unix.Fchdir(fd))
			d.ok(stat("f"))
		}),
		fails(unix.ENOTDIR, "fchdir to a file", func(d *dir) error {
			d.file("f", "x")
			return unix.Fchdir(d.open("f", unix.O_RDONLY))
		}),
		works("a directory that is a process's is removed by others, and made anew", func(d *dir) {
			d.sub("d")
			_, in := d.runningIn(d.at("d"), "/bin/cat")
			defer in.Close()
			d.ok(unix.Rmdir(d.at("d")))
			d.sub("d")
			d.file("d/f", "x")
			d.holds("d/f", "x")
		}),
	}
}
