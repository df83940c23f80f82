package posix

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dir is the directory that a rule has for itself, with what rules do on the way to their call. A step that fails ends
// the rule.
type dir struct {
	path  string
	after []func() error
}

// step is a failed step with its errno.
type step struct {
	errno unix.Errno
	where string
}

func (s step) Error() string { return s.where + ": " + s.errno.Error() }

// end undoes what the rule has left open, the last thing first.
func (d *dir) end() (text string) {
	for _, f := range slices.Backward(d.after) {
		if err := f(); err != nil {
			text += err.Error() + "\n"
		}
	}
	d.after = nil
	return strings.TrimSpace(text)
}

// ok ends the rule when a step has failed.
func (d *dir) ok(err error) {
	if err == nil {
		return
	}
	_, file, line, _ := runtime.Caller(1)
	if strings.HasSuffix(file, "/dir_test.go") {
		_, file, line, _ = runtime.Caller(2)
	}
	where := fmt.Sprintf("%s:%d", filepath.Base(file), line)
	if errno, ok := err.(unix.Errno); ok { //nolint:errorlint // a wrapped one has words of its own
		panic(step{errno, where})
	}
	panic(wrong{where + ": " + err.Error()})
}

// same ends the rule when a result is not the one that was promised.
func (d *dir) same(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		d.wrong("%s is %v, want %v", what, got, want)
	}
}

func (d *dir) wrong(format string, args ...any) { panic(wrong{fmt.Sprintf(format, args...)}) }

// at is a path in the directory. Nothing of the name is cleaned away: a slash at its end means something.
func (d *dir) at(name string) string { return d.path + "/" + name }

// file makes a file with this content.
func (d *dir) file(name, content string) string {
	fd, err := unix.Open(d.at(name), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o644)
	d.ok(err)
	d.put(fd, content)
	d.ok(unix.Close(fd))
	return d.at(name)
}

// sub makes a directory.
func (d *dir) sub(name string) string {
	d.ok(unix.Mkdir(d.at(name), 0o755))
	return d.at(name)
}

// link makes a symbolic link.
func (d *dir) link(target, name string) string {
	d.ok(unix.Symlink(target, d.at(name)))
	return d.at(name)
}

// open opens a file until the rule's end.
func (d *dir) open(name string, flags int) int {
	fd, err := unix.Open(d.at(name), flags|unix.O_CLOEXEC, 0o644)
	d.ok(err)
	d.closing(fd)
	return fd
}

// closing closes a descriptor at the rule's end.
func (d *dir) closing(fd int) {
	d.after = append(d.after, func() error {
		if err := unix.Close(fd); err != nil && err != unix.EBADF { // a rule may have closed it
			return fmt.Errorf("close at the end: %w", err)
		}
		return nil
	})
}

// put writes all of a text.
func (d *dir) put(fd int, text string) {
	if text == "" {
		return
	}
	n, err := unix.Write(fd, []byte(text))
	d.ok(err)
	d.same("bytes written", n, len(text))
}

// get reads up to n bytes at an offset.
func (d *dir) get(fd int, off int64, n int) string {
	p := make([]byte, n)
	got, err := unix.Pread(fd, p, off)
	d.ok(err)
	return string(p[:got])
}

// text is what a file holds.
func (d *dir) text(name string) string {
	b, err := os.ReadFile(d.at(name))
	d.ok(err)
	return string(b)
}

// holds sees that a file has this content.
func (d *dir) holds(name, want string) {
	if got := d.text(name); got != want {
		d.wrong("%s holds %q, want %q", name, brief(got), brief(want))
	}
}

func brief(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%s... (%d bytes)", s[:64], len(s))
	}
	return s
}

// stat is lstat(2).
func (d *dir) stat(name string) (st unix.Stat_t) {
	d.ok(unix.Lstat(d.at(name), &st))
	return st
}

func (d *dir) fstat(fd int) (st unix.Stat_t) {
	d.ok(unix.Fstat(fd, &st))
	return st
}

// mode is a name's permissions.
func (d *dir) mode(name string) string { return octal(d.stat(name).Mode & 0o7777) }

func octal(m uint32) string { return fmt.Sprintf("%#o", m) }

// kind is a name's type.
func (d *dir) kind(name string) uint32 { return d.stat(name).Mode & unix.S_IFMT }

// absent sees that a name is not there.
func (d *dir) absent(name string) {
	var st unix.Stat_t
	if err := unix.Lstat(d.at(name), &st); err != unix.ENOENT {
		d.wrong("%s: %v, want ENOENT", name, err)
	}
}

// names lists a directory, sorted, without the dots.
func (d *dir) names(name string) []string {
	entries, err := os.ReadDir(d.at(name))
	d.ok(err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// old is a time that no call of today gives.
var old = unix.Timespec{Sec: 1000000000, Nsec: 123456789}

// aged gives a name old times.
func (d *dir) aged(name string) {
	d.ok(unix.UtimesNanoAt(unix.AT_FDCWD, d.at(name), []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW))
}

// now is the clock before a call.
func now() time.Time { return time.Now() }

func when(ts unix.Timespec) time.Time { return time.Unix(ts.Unix()) }

// fresh sees that a time was set since a moment. File systems' clocks tick a little behind the system's.
func (d *dir) fresh(what string, ts unix.Timespec, since time.Time) {
	if when(ts).Before(since.Add(-clockTick)) {
		d.wrong("%s is %v, before %v", what, when(ts), since)
	}
}

// clockTick is how far the file system may lag behind the clock: not at all, its times are not the kernel's coarse ones.
const clockTick = 0

// chdir makes a directory the process's until the rule's end.
func (d *dir) chdir(path string) {
	d.ok(unix.Chdir(path))
	d.after = append(d.after, func() error { return unix.Chdir("/") })
}

// umask sets the process's until the rule's end.
func (d *dir) umask(mask int) {
	was := unix.Umask(mask)
	d.after = append(d.after, func() error { unix.Umask(was); return nil })
}

// long is a name of n bytes.
func long(n int) string { return strings.Repeat("n", n) }

// mount is the mount point: a rule's directory lies in that of its user.
func (d *dir) mount() string { return filepath.Dir(filepath.Dir(d.path)) }

func itoa(n int) string { return strconv.Itoa(n) }

// cstring is a path as a system call takes it. It stays alive with the rule.
func (d *dir) cstring(name string) uintptr {
	p, err := unix.BytePtrFromString(d.at(name))
	d.ok(err)
	d.after = append(d.after, func() error { runtime.KeepAlive(p); return nil })
	return uintptr(unsafe.Pointer(p))
}
