package posix

import (
	"time"

	"golang.org/x/sys/unix"
)

// utimens is utimensat(2) on a name of the directory.
func (d *dir) utimens(name string, flags int, atime, mtime unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, d.at(name), []unix.Timespec{atime, mtime}, flags)
}

var (
	utimeNow  = unix.Timespec{Nsec: unix.UTIME_NOW}
	utimeOmit = unix.Timespec{Nsec: unix.UTIME_OMIT}
)

// utimensRules are utimensat(2), futimens(3) and utime(2).
func utimensRules() []rule {
	a, m := unix.Timespec{Sec: 1234567890, Nsec: 987654321}, unix.Timespec{Sec: 1300000000, Nsec: 1}
	return []rule{
		works("sets both times to the nanosecond", func(d *dir) {
			d.file("f", "x")
			d.ok(d.utimens("f", 0, a, m))
			st := d.stat("f")
			d.same("atime", st.Atim, a)
			d.same("mtime", st.Mtim, m)
		}),
		works("of a directory", func(d *dir) {
			d.sub("d")
			d.ok(d.utimens("d", 0, a, m))
			st := d.stat("d")
			d.same("atime", st.Atim, a)
			d.same("mtime", st.Mtim, m)
		}),
		works("of the mount point", func(d *dir) {
			d.ok(unix.UtimesNanoAt(unix.AT_FDCWD, d.mount(), []unix.Timespec{a, m}, 0))
			var st unix.Stat_t
			d.ok(unix.Stat(d.mount(), &st))
			d.same("mtime", st.Mtim, m)
		}).by(root),
		works("of a symbolic link itself", func(d *dir) {
			d.file("f", "x")
			d.link("f", "l")
			before := d.stat("f").Mtim
			d.ok(d.utimens("l", unix.AT_SYMLINK_NOFOLLOW, a, m))
			d.same("mtime", d.stat("l").Mtim, m)
			d.same("mtime of the target", d.stat("f").Mtim, before)
		}),
		works("follows a symbolic link", func(d *dir) {
			d.file("f", "x")
			d.link("f", "l")
			d.ok(d.utimens("l", 0, a, m))
			d.same("mtime of the target", d.stat("f").Mtim, m)
		}),
		works("of a FIFO", func(d *dir) {
			d.ok(unix.Mkfifo(d.at("p"), 0o600))
			d.ok(d.utimens("p", 0, a, m))
			d.same("mtime", d.stat("p").Mtim, m)
		}),
		works("UTIME_OMIT leaves atime", func(d *dir) {
			d.file("f", "x")
			d.ok(d.utimens("f", 0, a, m))
			d.ok(d.utimens("f", 0, utimeOmit, old))
			st := d.stat("f")
			d.same("atime", st.Atim, a)
			d.same("mtime", st.Mtim, old)
		}),
		works("UTIME_OMIT leaves mtime", func(d *dir) {
			d.file("f", "x")
			d.ok(d.utimens("f", 0, a, m))
			d.ok(d.utimens("f", 0, old, utimeOmit))
			st := d.stat("f")
			d.same("atime", st.Atim, old)
			d.same("mtime", st.Mtim, m)
		}),
		works("UTIME_OMIT twice changes nothing", func(d *dir) {
			d.file("f", "x")
			d.ok(d.utimens("f", 0, a, m))
			before := d.stat("f")
			d.ok(d.utimens("f", 0, utimeOmit, utimeOmit))
			d.same("attributes", d.stat("f"), before)
		}),
		works("UTIME_NOW is now", func(d *dir) {
			d.file("f", "x")
			d.aged("f")
			since := now()
			d.ok(d.utimens("f", 0, utimeNow, utimeNow))
			st := d.stat("f")
			d.fresh("mtime", st.Mtim, since)
			d.fresh("atime", st.Atim, since)
		}),
		works("UTIME_NOW for atime alone", func(d *dir) {
			d.file("f", "x")
			since := now()
			d.ok(d.utimens("f", 0, utimeNow, m))
			st := d.stat("f")
			d.fresh("atime", st.Atim, since)
			d.same("mtime", st.Mtim, m)
		}),
		works("no times at all means now", func(d *dir) {
			d.file("f", "x")
			d.aged("f")
			since := now()
			d.ok(errnoOf6(unix.Syscall6(unix.SYS_UTIMENSAT, ^uintptr(99), d.cstring("f"), 0, 0, 0, 0)))
			d.fresh("mtime", d.stat("f").Mtim, since)
		}),
		works("futimens of an open file", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "x")
			d.ok(unix.UtimesNanoAt(fd, "", []unix.Timespec{a, m}, unix.AT_EMPTY_PATH))
			d.same("mtime", d.fstat(fd).Mtim, m)
			d.ok(unix.Close(fd))
			d.same("mtime after close", d.stat("f").Mtim, m)
		}),
		works("a write after futimens sets mtime anew", func(d *dir) {
			fd := d.open("f", creates)
			d.ok(unix.UtimesNanoAt(fd, "", []unix.Timespec{a, m}, unix.AT_EMPTY_PATH))
			since := now()
			d.put(fd, "x")
			d.fresh("mtime", d.fstat(fd).Mtim, since)
		}),
		works("futimes sets microseconds", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Futimes(d.open("f", unix.O_RDWR), []unix.Timeval{{Sec: 5, Usec: 6}, {Sec: 7, Usec: 8}}))
			d.same("mtime", d.stat("f").Mtim, unix.Timespec{Sec: 7, Nsec: 8000})
		}),
		works("utime sets seconds", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Utime(d.at("f"), &unix.Utimbuf{Actime: 5, Modtime: 7}))
			d.same("mtime", d.stat("f").Mtim, unix.Timespec{Sec: 7})
		}),
		works("a time before 1970", func(d *dir) {
			d.file("f", "x")
			early := unix.Timespec{Sec: -1000, Nsec: 500}
			d.ok(d.utimens("f", 0, early, early))
			d.same("mtime", d.stat("f").Mtim, early)
		}),
		works("1970 itself", func(d *dir) {
			d.file("f", "x")
			d.ok(d.utimens("f", 0, unix.Timespec{}, unix.Timespec{}))
			d.same("mtime", d.stat("f").Mtim, unix.Timespec{})
		}),
		works("a time after 2038", func(d *dir) {
			d.file("f", "x")
			late := unix.Timespec{Sec: 1 << 32, Nsec: 999999999}
			d.ok(d.utimens("f", 0, late, late))
			d.same("mtime", d.stat("f").Mtim, late)
		}),
		works("a time in the future stays over chmod and rename", func(d *dir) {
			d.file("f", "x")
			late := unix.Timespec{Sec: 4000000000, Nsec: 3}
			d.ok(d.utimens("f", 0, late, late))
			d.ok(unix.Chmod(d.at("f"), 0o600))
			d.ok(d.rename("f", "g"))
			d.same("mtime", d.stat("g").Mtim, late)
		}),
		fails(unix.EINVAL, "a nanosecond beyond the second", func(d *dir) error {
			d.file("f", "x")
			return d.utimens("f", 0, unix.Timespec{Nsec: 1000000000}, m)
		}),
		fails(unix.EINVAL, "a flag that is none", func(d *dir) error {
			d.file("f", "x")
			return d.utimens("f", 1, a, m)
		}),
		fails(unix.ENOENT, "the name does not exist", func(d *dir) error { return d.utimens("f", 0, a, m) }),
		fails(unix.ENOTDIR, "a component of the path is a file", func(d *dir) error {
			d.file("f", "x")
			return d.utimens("f/g", 0, a, m)
		}),
		fails(unix.ELOOP, "links go round", func(d *dir) error {
			d.link("l", "l")
			return d.utimens("l", 0, a, m)
		}),
		fails(unix.EBADF, "a descriptor that is closed", func(*dir) error {
			return unix.UtimesNanoAt(1<<20, "", []unix.Timespec{a, m}, unix.AT_EMPTY_PATH)
		}),
		fails(unix.EPERM, "times for somebody else's file, though it may be written", func(d *dir) error {
			return d.utimens("f", 0, a, m)
		}).by(user).staged(writable),
		works("now for somebody else's file that may be written", func(d *dir) { d.ok(d.utimens("f", 0, utimeNow, utimeNow)) }).
			by(user).staged(writable),
		fails(unix.EPERM, "one of the times omitted for somebody else's file", func(d *dir) error {
			return d.utimens("f", 0, utimeNow, utimeOmit)
		}).by(user).staged(writable),
		fails(unix.EACCES, "now for somebody else's file that may not be written", func(d *dir) error {
			return d.utimens("f", 0, utimeNow, utimeNow)
		}).by(user).staged(func(d *dir) { d.file("f", "x") }),
	}
}

func writable(d *dir) {
	d.file("f", "x")
	d.ok(unix.Chmod(d.at("f"), 0o666))
}

func errnoOf6(_, _ uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

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
