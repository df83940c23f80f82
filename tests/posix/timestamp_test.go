package posix

import (
	"time"

	"golang.org/x/sys/unix"
)

// timestampRules are what each call sets: "Marks for update" in POSIX.
func timestampRules() []rule {
	// changes has a call made on a file of old times and says which of its times are new.
	changes := func(d *dir, name string, call func()) (atime, mtime, ctime bool) {
		d.aged(name)
		before := d.stat(name)
		since := now()
		call()
		after := d.stat(name)
		return after.Atim != before.Atim, after.Mtim != before.Mtim, !when(after.Ctim).Before(since.Add(-clockTick)) && after.Ctim != before.Ctim
	}
	content := func(name string, call func(d *dir)) rule {
		return works(name+" sets mtime and ctime", func(d *dir) {
			d.file("f", "content")
			_, m, c := changes(d, "f", func() { call(d) })
			d.same("a new mtime", m, true)
			d.same("a new ctime", c, true)
		})
	}
	inode := func(name string, call func(d *dir)) rule {
		return works(name+" sets ctime and leaves mtime", func(d *dir) {
			d.file("f", "content")
			_, m, c := changes(d, "f", func() { call(d) })
			d.same("a new mtime", m, false)
			d.same("a new ctime", c, true)
		})
	}
	nothing := func(name string, call func(d *dir)) rule {
		return works(name+" sets neither mtime nor ctime", func(d *dir) {
			d.file("f", "content")
			before := d.stat("f").Ctim
			_, m, _ := changes(d, "f", func() {
				before = d.stat("f").Ctim
				call(d)
			})
			d.same("a new mtime", m, false)
			d.same("ctime", d.stat("f").Ctim, before)
		})
	}
	parent := func(name string, call func(d *dir)) rule {
		return works(name+" sets mtime and ctime of the directory", func(d *dir) {
			d.sub("d")
			d.file("d/f", "content")
			d.sub("d/e")
			_, m, c := changes(d, "d", func() { call(d) })
			d.same("a new mtime", m, true)
			d.same("a new ctime", c, true)
		})
	}
	return []rule{
		content("write", func(d *dir) { d.put(d.open("f", unix.O_WRONLY), "x") }),
		content("pwrite", func(d *dir) {
			_, err := unix.Pwrite(d.open("f", unix.O_WRONLY), []byte("x"), 3)
			d.ok(err)
		}),
		content("write and close", func(d *dir) {
			fd := d.open("f", unix.O_WRONLY)
			d.put(fd, "x")
			d.ok(unix.Close(fd))
		}),
		content("truncate", func(d *dir) { d.ok(unix.Truncate(d.at("f"), 3)) }),
		content("ftruncate", func(d *dir) { d.ok(unix.Ftruncate(d.open("f", unix.O_WRONLY), 3)) }),
		content("open with O_TRUNC", func(d *dir) { d.ok(d.opening(d.at("f"), unix.O_WRONLY|unix.O_TRUNC, 0)) }),
		content("fallocate that lengthens", func(d *dir) { d.ok(unix.Fallocate(d.open("f", unix.O_WRONLY), 0, 0, 100)) }),
		inode("chmod", func(d *dir) { d.ok(unix.Chmod(d.at("f"), 0o600)) }),
		inode("fchmod", func(d *dir) { d.ok(unix.Fchmod(d.open("f", unix.O_RDONLY), 0o600)) }),
		inode("chown", func(d *dir) { d.ok(unix.Chown(d.at("f"), -1, groupID)) }),
		inode("chown to whom it belongs already", func(d *dir) { d.ok(unix.Chown(d.at("f"), unix.Geteuid(), -1)) }),
		inode("chmod to the mode it has already", func(d *dir) { d.ok(unix.Chmod(d.at("f"), 0o644)) }),
		nothing("read", func(d *dir) { d.text("f") }),
		nothing("open and close", func(d *dir) { d.ok(unix.Close(d.open("f", unix.O_RDWR))) }),
		nothing("stat", func(d *dir) { d.stat("f") }),
		nothing("fsync of what was not written", func(d *dir) { d.ok(unix.Fsync(d.open("f", unix.O_RDWR))) }),
		parent("creating a file", func(d *dir) { d.file("d/new", "") }),
		parent("mkdir", func(d *dir) { d.sub("d/new") }),
		parent("symlink", func(d *dir) { d.link("x", "d/new") }),
		parent("mknod", func(d *dir) { d.ok(unix.Mkfifo(d.at("d/new"), 0o600)) }),
		parent("unlink", func(d *dir) { d.ok(unix.Unlink(d.at("d/f"))) }),
		parent("rmdir", func(d *dir) { d.ok(unix.Rmdir(d.at("d/e"))) }),
		parent("rename out of it", func(d *dir) { d.ok(d.rename("d/f", "f")) }),
		parent("rename into it", func(d *dir) {
			d.file("g", "x")
			d.ok(d.rename("g", "d/g"))
		}),
		works("read sets atime, unless the mount says noatime", func(d *dir) {
			d.file("f", "content")
			a, _, _ := changes(d, "f", func() { d.text("f") })
			d.same("a new atime", a, true)
		}),
		works("readdir sets atime, unless the mount says noatime", func(d *dir) {
			d.sub("d")
			a, _, _ := changes(d, "d", func() { d.names("d") })
			d.same("a new atime", a, true)
		}),
		works("creating sets all three", func(d *dir) {
			since := now()
			d.file("f", "")
			st := d.stat("f")
			d.fresh("atime", st.Atim, since)
			d.fresh("mtime", st.Mtim, since)
			d.fresh("ctime", st.Ctim, since)
		}),
		works("mkdir sets all three", func(d *dir) {
			since := now()
			d.sub("d")
			st := d.stat("d")
			d.fresh("atime", st.Atim, since)
			d.fresh("mtime", st.Mtim, since)
			d.fresh("ctime", st.Ctim, since)
		}),
		works("symlink sets all three", func(d *dir) {
			since := now()
			d.link("x", "l")
			st := d.stat("l")
			d.fresh("mtime", st.Mtim, since)
			d.fresh("ctime", st.Ctim, since)
		}),
		works("utimensat sets ctime", func(d *dir) {
			d.file("f", "x")
			since := now()
			d.aged("f")
			d.fresh("ctime", d.stat("f").Ctim, since)
		}),
		works("rename sets ctime of what is renamed, as Linux file systems do", func(d *dir) {
			d.file("f", "x")
			since := now()
			d.ok(d.rename("f", "g"))
			d.fresh("ctime", d.stat("g").Ctim, since)
		}),
		works("unlink sets ctime of what is still open", func(d *dir) {
			d.file("f", "x")
			fd := d.open("f", unix.O_RDONLY)
			since := now()
			d.ok(unix.Unlink(d.at("f")))
			d.fresh("ctime", d.fstat(fd).Ctim, since)
		}),
		works("mtime is the same before and after the close", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "x")
			before := d.fstat(fd).Mtim
			d.ok(unix.Close(fd))
			d.same("mtime", d.stat("f").Mtim, before)
		}),
		works("times do not lie in the future", func(d *dir) {
			d.file("f", "x")
			st := d.stat("f")
			until := now().Add(time.Second)
			for what, ts := range map[string]unix.Timespec{"atime": st.Atim, "mtime": st.Mtim, "ctime": st.Ctim} {
				if when(ts).After(until) {
					d.wrong("%s is %v", what, when(ts))
				}
			}
		}),
		works("mtime never goes back from one write to the next", func(d *dir) {
			fd := d.open("f", creates)
			last := time.Time{}
			for range 20 {
				d.put(fd, "x")
				if m := when(d.fstat(fd).Mtim); m.Before(last) {
					d.wrong("%v after %v", m, last)
				} else {
					last = m
				}
			}
		}),
	}
}
