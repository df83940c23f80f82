package posix

import "golang.org/x/sys/unix"

// lockRules are flock(2) and fcntl(2)'s record locks, of processes and of open file descriptions (OFD).
func lockRules() []rule {
	flock := func(fd, how int) error { return unix.Flock(fd, how|unix.LOCK_NB) }
	lock := func(fd, cmd int, kind int16, start, n int64) error {
		return unix.FcntlFlock(uintptr(fd), cmd, &unix.Flock_t{Type: kind, Whence: unix.SEEK_SET, Start: start, Len: n})
	}
	two := func(d *dir) (a, b int) {
		d.file("f", "0123456789")
		return d.open("f", unix.O_RDWR), d.open("f", unix.O_RDWR)
	}
	return []rule{
		works("flock: two share", func(d *dir) {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_SH))
			d.ok(flock(b, unix.LOCK_SH))
		}),
		fails(unix.EWOULDBLOCK, "flock: the other has it alone", func(d *dir) error {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_EX))
			return flock(b, unix.LOCK_SH)
		}),
		fails(unix.EWOULDBLOCK, "flock: alone, and the other shares", func(d *dir) error {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_SH))
			return flock(b, unix.LOCK_EX)
		}),
		works("flock: LOCK_UN lets others in", func(d *dir) {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_EX))
			d.ok(flock(a, unix.LOCK_UN))
			d.ok(flock(b, unix.LOCK_EX))
		}),
		works("flock: the close lets others in", func(d *dir) {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_EX))
			d.ok(unix.Close(a))
			d.ok(flock(b, unix.LOCK_EX))
		}),
		works("flock: a duplicate holds the same lock", func(d *dir) {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_EX))
			dup, err := unix.Dup(a)
			d.ok(err)
			d.ok(unix.Close(a))
			d.same("while the duplicate is open", flock(b, unix.LOCK_EX), error(unix.EWOULDBLOCK))
			d.ok(unix.Close(dup))
			d.ok(flock(b, unix.LOCK_EX))
		}),
		works("flock: shared becomes exclusive and back", func(d *dir) {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_SH))
			d.ok(flock(a, unix.LOCK_EX))
			d.ok(flock(a, unix.LOCK_SH))
			d.ok(flock(b, unix.LOCK_SH))
		}),
		works("flock: a descriptor opened to read locks alone", func(d *dir) {
			d.file("f", "x")
			d.ok(flock(d.open("f", unix.O_RDONLY), unix.LOCK_EX))
		}),
		works("flock: a directory", func(d *dir) {
			d.ok(flock(d.open(".", unix.O_RDONLY), unix.LOCK_EX))
			d.same("a second", flock(d.open(".", unix.O_RDONLY), unix.LOCK_EX), error(unix.EWOULDBLOCK))
		}),
		works("flock: another process is kept out", func(d *dir) {
			a, _ := two(d)
			d.ok(flock(a, unix.LOCK_EX))
			d.shell("! flock -n f true")
			d.ok(flock(a, unix.LOCK_UN))
			d.shell("flock -n f true")
		}),
		works("flock: a lock outlives unlink and rename of the name", func(d *dir) {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_EX))
			d.ok(d.rename("f", "g"))
			d.same("after rename", flock(b, unix.LOCK_EX), error(unix.EWOULDBLOCK))
			d.ok(unix.Unlink(d.at("g")))
			d.same("after unlink", flock(b, unix.LOCK_EX), error(unix.EWOULDBLOCK))
		}),
		fails(unix.EBADF, "flock: a descriptor that is closed", func(*dir) error { return flock(1<<20, unix.LOCK_EX) }),
		fails(unix.EINVAL, "flock: an operation that is none", func(d *dir) error { a, _ := two(d); return unix.Flock(a, 64) }),
		works("OFD: parts that do not touch", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 5))
			d.ok(lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 5, 5))
		}),
		fails(unix.EAGAIN, "OFD: parts that overlap", func(d *dir) error {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 6))
			return lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 5, 5)
		}),
		works("OFD: two read locks", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_RDLCK, 0, 0))
			d.ok(lock(b, unix.F_OFD_SETLK, unix.F_RDLCK, 0, 0))
		}),
		fails(unix.EAGAIN, "OFD: a write lock over a read lock", func(d *dir) error {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_RDLCK, 0, 0))
			return lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 3, 1)
		}),
		works("OFD: a length of 0 locks to the end, and beyond", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_WRLCK, 5, 0))
			d.ok(lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 5))
			d.same("far behind the end", lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 1<<40, 1), error(unix.EAGAIN))
		}),
		works("OFD: unlocking the middle leaves both ends", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 9))
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_UNLCK, 3, 3))
			d.ok(lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 3, 3))
			d.same("the first part", lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 1), error(unix.EAGAIN))
			d.same("the last part", lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 8, 1), error(unix.EAGAIN))
		}),
		works("OFD: the close lets others in, the close of another descriptor does not", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0))
			d.ok(unix.Close(d.open("f", unix.O_RDONLY)))
			d.same("while it is held", lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0), error(unix.EAGAIN))
			d.ok(unix.Close(a))
			d.ok(lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0))
		}),
		works("OFD: F_OFD_GETLK shows who is in the way", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_OFD_SETLK, unix.F_WRLCK, 2, 3))
			l := unix.Flock_t{Type: unix.F_RDLCK, Whence: unix.SEEK_SET}
			d.ok(unix.FcntlFlock(uintptr(b), unix.F_OFD_GETLK, &l))
			d.same("lock", l, unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Start: 2, Len: 3, Pid: -1})
		}),
		works("fcntl: F_GETLK says F_UNLCK when nothing is in the way", func(d *dir) {
			a, _ := two(d)
			l := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
			d.ok(unix.FcntlFlock(uintptr(a), unix.F_GETLK, &l))
			d.same("type", l.Type, int16(unix.F_UNLCK))
		}),
		works("fcntl: a process does not stand in its own way", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_SETLK, unix.F_WRLCK, 0, 0))
			d.ok(lock(b, unix.F_SETLK, unix.F_WRLCK, 0, 0))
		}),
		fails(unix.EAGAIN, "fcntl: a process's lock and one of OFD's", func(d *dir) error {
			a, b := two(d)
			d.ok(lock(a, unix.F_SETLK, unix.F_WRLCK, 0, 0))
			return lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0)
		}),
		works("fcntl: another process is kept out, and let in by any close of the file", func(d *dir) {
			a, b := two(d)
			d.ok(lock(a, unix.F_SETLK, unix.F_WRLCK, 0, 0))
			d.same("the other", d.otherLocks("f"), "EAGAIN")
			d.ok(unix.Close(b))
			d.same("the other after a close", d.otherLocks("f"), "OK")
		}),
		works("fcntl: F_GETLK names the process", func(d *dir) {
			d.file("f", "x")
			cmd, in, out := d.self("hold", d.at("f"))
			defer in.Close()
			d.same("the other", out(), "held")
			l := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
			d.ok(unix.FcntlFlock(uintptr(d.open("f", unix.O_RDWR)), unix.F_GETLK, &l))
			d.same("process", int(l.Pid), cmd.Process.Pid)
		}),
		works("fcntl: the end of a process frees its locks", func(d *dir) {
			d.file("f", "x")
			cmd, in, out := d.self("hold", d.at("f"))
			d.same("the other", out(), "held")
			d.same("while it runs", lock(d.open("f", unix.O_RDWR), unix.F_SETLK, unix.F_WRLCK, 0, 0), error(unix.EAGAIN))
			d.ok(in.Close())
			d.ok(cmd.Wait())
			d.ok(lock(d.open("f", unix.O_RDWR), unix.F_SETLK, unix.F_WRLCK, 0, 0))
		}),
		works("fcntl: F_SETLKW waits for the other", func(d *dir) {
			d.file("f", "x")
			_, in, out := d.self("hold", d.at("f"))
			d.same("the other", out(), "held")
			fd := d.open("f", unix.O_RDWR)
			got := make(chan error)
			go func() {
				err := error(unix.EINTR)
				for err == unix.EINTR { // the runtime's own signals
					err = lock(fd, unix.F_SETLKW, unix.F_WRLCK, 0, 0)
				}
				got <- err
			}()
			d.ok(in.Close())
			d.ok(<-got)
		}),
		fails(unix.EBADF, "fcntl: a read lock of a descriptor opened to write", func(d *dir) error {
			return lock(d.open("f", creates), unix.F_SETLK, unix.F_RDLCK, 0, 0)
		}),
		fails(unix.EBADF, "fcntl: a write lock of a descriptor opened to read", func(d *dir) error {
			d.file("f", "x")
			return lock(d.open("f", unix.O_RDONLY), unix.F_SETLK, unix.F_WRLCK, 0, 0)
		}),
		fails(unix.EINVAL, "fcntl: a part that begins before the file", func(d *dir) error {
			a, _ := two(d)
			return lock(a, unix.F_SETLK, unix.F_WRLCK, -1, 1)
		}),
		fails(unix.EINVAL, "fcntl: F_OFD_SETLK with a process id", func(d *dir) error {
			a, _ := two(d)
			return unix.FcntlFlock(uintptr(a), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Pid: 1})
		}),
		works("fcntl: flock and record locks know nothing of each other", func(d *dir) {
			a, b := two(d)
			d.ok(flock(a, unix.LOCK_EX))
			d.ok(lock(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0))
		}),
		works("lease: F_SETLEASE of a file that nobody else has open, or refused", func(d *dir) {
			d.file("f", "x")
			_, err := unix.FcntlInt(uintptr(d.open("f", unix.O_RDONLY)), unix.F_SETLEASE, unix.F_RDLCK)
			if err != nil && err != unix.EAGAIN && err != unix.EINVAL {
				d.ok(err)
			}
		}),
	}
}
