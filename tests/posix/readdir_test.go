package posix

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// dirent is an entry as getdents64(2) gives it.
type dirent struct {
	ino  uint64
	off  int64
	kind uint8
	name string
}

// dirents reads a directory's entries from the descriptor's offset on, with a buffer of n bytes.
func dirents(d *dir, fd, n int) (all []dirent) {
	buf := make([]byte, n)
	for {
		got, err := unix.Getdents(fd, buf)
		d.ok(err)
		if got == 0 {
			return all
		}
		for p := buf[:got]; len(p) > 0; {
			length := binary.NativeEndian.Uint16(p[16:])
			name, _, _ := strings.Cut(string(p[19:length]), "\x00")
			all = append(all, dirent{binary.NativeEndian.Uint64(p), int64(binary.NativeEndian.Uint64(p[8:])), p[18], name})
			p = p[length:]
		}
	}
}

// direntNames are the names without the dots, sorted.
func direntNames(d *dir, fd int) []string {
	names := []string{}
	for _, e := range dirents(d, fd, 4096) {
		if e.name != "." && e.name != ".." {
			names = append(names, e.name)
		}
	}
	slices.Sort(names)
	return names
}

// files makes n files and gives their names.
func (d *dir) files(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("f%03d", i))
		d.file(names[i], "")
	}
	return names
}

// readdirRules are readdir(3), telldir(3), seekdir(3) and rewinddir(3), by their system calls getdents64(2) and lseek(2).
func readdirRules() []rule {
	return []rule{
		works("an empty directory has . and ..", func(d *dir) {
			var names []string
			for _, e := range dirents(d, d.open(".", unix.O_RDONLY), 4096) {
				names = append(names, e.name)
			}
			slices.Sort(names)
			d.same("names", names, []string{".", ".."})
		}),
		works("each name once", func(d *dir) {
			want := d.files(40)
			d.same("names", direntNames(d, d.open(".", unix.O_RDONLY)), want)
		}),
		works("each name once through a small buffer", func(d *dir) {
			want := d.files(40)
			var names []string
			for _, e := range dirents(d, d.open(".", unix.O_RDONLY), 64) {
				if e.name[0] != '.' {
					names = append(names, e.name)
				}
			}
			slices.Sort(names)
			d.same("names", names, want)
		}),
		works("d_type is the type", func(d *dir) {
			d.file("f", "x")
			d.sub("d")
			got := map[string]uint8{}
			for _, e := range dirents(d, d.open(".", unix.O_RDONLY), 4096) {
				got[e.name] = e.kind
			}
			d.same("types", got, map[string]uint8{".": unix.DT_DIR, "..": unix.DT_DIR, "f": unix.DT_REG, "d": unix.DT_DIR})
		}),
		works("d_type of a link is DT_LNK or unknown", func(d *dir) {
			d.link("x", "l")
			for _, e := range dirents(d, d.open(".", unix.O_RDONLY), 4096) {
				if e.name == "l" && e.kind != unix.DT_LNK && e.kind != unix.DT_UNKNOWN {
					d.wrong("the type is %d", e.kind)
				}
			}
		}),
		works("d_type of a FIFO is DT_FIFO or unknown", func(d *dir) {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			for _, e := range dirents(d, d.open(".", unix.O_RDONLY), 4096) {
				if e.name == "p" && e.kind != unix.DT_FIFO && e.kind != unix.DT_UNKNOWN {
					d.wrong("the type is %d", e.kind)
				}
			}
		}),
		works("d_ino is st_ino of what was looked up", func(d *dir) {
			d.file("f", "x")
			ino := d.stat("f").Ino
			for _, e := range dirents(d, d.open(".", unix.O_RDONLY), 4096) {
				if e.name == "f" {
					d.same("d_ino", e.ino, ino)
				}
			}
		}),
		works("d_ino of . is the directory's", func(d *dir) {
			fd := d.open(".", unix.O_RDONLY)
			for _, e := range dirents(d, fd, 4096) {
				if e.name == "." {
					d.same("d_ino", e.ino, d.fstat(fd).Ino)
				}
			}
		}),
		works("d_ino of .. is the parent's", func(d *dir) {
			d.sub("d")
			for _, e := range dirents(d, d.open("d", unix.O_RDONLY), 4096) {
				if e.name == ".." {
					d.same("d_ino", e.ino, d.stat(".").Ino)
				}
			}
		}),
		works("seekdir to what telldir gave goes on there", func(d *dir) {
			d.files(40)
			fd := d.open(".", unix.O_RDONLY)
			all := dirents(d, fd, 4096)
			for _, i := range []int{0, 7, 30, 41} {
				_, err := unix.Seek(fd, all[i].off, unix.SEEK_SET)
				d.ok(err)
				d.same("what follows", len(dirents(d, fd, 4096)), len(all)-i-1)
			}
		}),
		works("rewinddir sees what was made since", func(d *dir) {
			d.file("a", "")
			fd := d.open(".", unix.O_RDONLY)
			d.same("names", direntNames(d, fd), []string{"a"})
			d.file("b", "")
			d.ok(unix.Unlink(d.at("a")))
			_, err := unix.Seek(fd, 0, unix.SEEK_SET)
			d.ok(err)
			d.same("names", direntNames(d, fd), []string{"b"})
		}),
		works("a name that stays is listed once while others come and go", func(d *dir) {
			want := d.files(40)
			fd := d.open(".", unix.O_RDONLY)
			buf := make([]byte, 512)
			n, err := unix.Getdents(fd, buf)
			d.ok(err)
			seen := map[string]int{}
			for _, name := range names(buf[:n]) {
				seen[name]++
			}
			d.ok(unix.Unlink(d.at(want[39])))
			d.file("f0395", "")
			for _, e := range dirents(d, fd, 512) {
				seen[e.name]++
			}
			for name, n := range seen {
				if n != 1 {
					d.wrong("%s was listed %d times", name, n)
				}
			}
			for _, name := range want[:39] {
				if seen[name] != 1 {
					d.wrong("%s was not listed", name)
				}
			}
		}),
		works("a directory that is emptied while it is read", func(d *dir) {
			d.files(40)
			fd := d.open(".", unix.O_RDONLY)
			buf := make([]byte, 512)
			for {
				n, err := unix.Getdents(fd, buf)
				d.ok(err)
				if n == 0 {
					break
				}
				for _, name := range names(buf[:n]) {
					d.ok(unix.Unlink(d.at(name)))
				}
			}
			d.same("names", d.names("."), []string{})
		}),
		works("a duplicate shares the place in the directory", func(d *dir) {
			d.files(3)
			fd := d.open(".", unix.O_RDONLY)
			dup, err := unix.Dup(fd)
			d.ok(err)
			d.closing(dup)
			d.same("names", len(direntNames(d, fd)), 3)
			d.same("names for the duplicate", len(direntNames(d, dup)), 0)
		}),
		works("names of a file that is not stored yet are listed", func(d *dir) {
			d.open("new", creates)
			d.same("names", d.names("."), []string{"new"})
		}),
		works("a directory of 200 names with 200 bytes each", func(d *dir) {
			var want []string
			for i := range 200 {
				want = append(want, fmt.Sprintf("%04d%s", i, long(196)))
				d.link("x", want[i])
			}
			d.same("names", direntNames(d, d.open(".", unix.O_RDONLY)), want)
		}),
		works("names sort as keys do not: a- and a/ and a.b", func(d *dir) {
			for _, name := range []string{"a", "b"} {
				d.sub(name)
				d.file(name+"/x", "")
			}
			d.file("a-", "")
			d.file("a.b", "")
			d.file("a0", "")
			d.same("names", direntNames(d, d.open(".", unix.O_RDONLY)), []string{"a", "a-", "a.b", "a0", "b"})
		}),
		fails(unix.ENOTDIR, "getdents of a file", func(d *dir) error {
			d.file("f", "x")
			_, err := unix.Getdents(d.open("f", unix.O_RDONLY), make([]byte, 512))
			return err
		}),
		fails(unix.EINVAL, "getdents into a buffer that no entry fits in", func(d *dir) error {
			_, err := unix.Getdents(d.open(".", unix.O_RDONLY), make([]byte, 1))
			return err
		}),
		fails(unix.EBADF, "getdents of a descriptor that is closed", func(*dir) error {
			_, err := unix.Getdents(1<<20, make([]byte, 512))
			return err
		}),
		fails(unix.EBADF, "getdents of an O_PATH descriptor", func(d *dir) error {
			_, err := unix.Getdents(d.open(".", unix.O_PATH), make([]byte, 512))
			return err
		}),
		fails(unix.ENOENT, "opendir of a name that is not there", func(d *dir) error {
			return d.opening(d.at("d"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}),
		fails(unix.EACCES, "opendir of a directory that may not be read", func(d *dir) error {
			d.sub("d")
			d.shut("d", 0o311)
			return d.opening(d.at("d"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}).by(user),
		works("a directory that may be searched and not read gives its names to who knows them", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o311)
			d.holds("d/f", "x")
		}),
		works("a directory that may be read and not searched lists its names", func(d *dir) {
			d.sub("d")
			d.file("d/f", "x")
			d.shut("d", 0o444)
			fd := d.open("d", unix.O_RDONLY)
			d.same("names", direntNames(d, fd), []string{"f"})
		}),
	}
}

// names are the names in a buffer of getdents, without the dots.
func names(p []byte) (all []string) {
	for len(p) > 0 {
		length := binary.NativeEndian.Uint16(p[16:])
		if name, _, _ := strings.Cut(string(p[19:length]), "\x00"); name != "." && name != ".." {
			all = append(all, name)
		}
		p = p[length:]
	}
	return all
}
