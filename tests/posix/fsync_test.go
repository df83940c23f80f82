package posix

import "golang.org/x/sys/unix"

// fsyncRules are fsync(2), fdatasync(2), sync_file_range(2), syncfs(2) and close(2).
func fsyncRules() []rule {
	return []rule{
		works("fsync of a written file", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "synced")
			d.ok(unix.Fsync(fd))
			d.put(fd, " twice")
			d.ok(unix.Fsync(fd))
			d.holds("f", "synced twice")
		}),
		works("fdatasync of a written file", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "synced")
			d.ok(unix.Fdatasync(fd))
			d.holds("f", "synced")
		}),
		works("fsync of a descriptor opened to read", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Fsync(d.open("f", unix.O_RDONLY)))
		}),
		works("fsync of a directory", func(d *dir) {
			d.file("f", "x")
			d.ok(unix.Fsync(d.open(".", unix.O_RDONLY)))
		}),
		works("fsync of a file that was unlinked", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "gone")
			d.ok(unix.Unlink(d.at("f")))
			d.ok(unix.Fsync(fd))
			d.absent("f")
		}),
		works("sync_file_range of a written file", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "synced")
			d.ok(unix.SyncFileRange(fd, 0, 6, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER))
		}),
		works("syncfs", func(d *dir) {
			fd := d.open("f", creates)
			d.put(fd, "synced")
			d.ok(unix.Syncfs(fd))
			d.holds("f", "synced")
		}),
		fails(unix.EBADF, "fsync of a descriptor that is closed", func(d *dir) error { return unix.Fsync(1 << 20) }),
		fails(unix.EBADF, "fdatasync of an O_PATH descriptor", func(d *dir) error { return unix.Fdatasync(d.open(".", unix.O_PATH)) }),
		fails(unix.EINVAL, "fsync of a FIFO", func(d *dir) error {
			d.ok(unix.Mkfifo(d.at("p"), 0o644))
			return unix.Fsync(d.open("p", unix.O_RDWR|unix.O_NONBLOCK))
		}),
		works("close ends the descriptor", func(d *dir) {
			fd := d.open("f", creates)
			d.ok(unix.Close(fd))
			d.same("second close", unix.Close(fd), error(unix.EBADF))
		}),
		works("close of a duplicate leaves the other open", func(d *dir) {
			fd := d.open("f", creates)
			dup, err := unix.Dup(fd)
			d.ok(err)
			d.put(dup, "one")
			d.ok(unix.Close(dup))
			d.put(fd, " two")
			d.ok(unix.Close(fd))
			d.holds("f", "one two")
		}),
		works("what a process has written is there when it has ended", func(d *dir) {
			d.shell("printf one > f; printf ' two' >> f")
			d.holds("f", "one two")
		}),
		works("a child goes on with its parent's descriptor", func(d *dir) {
			d.shell("{ printf one; sh -c 'printf two'; printf three; } > f")
			d.holds("f", "onetwothree")
		}),
	}
}
