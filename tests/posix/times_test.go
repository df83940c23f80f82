package posix

import "golang.org/x/sys/unix"

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
