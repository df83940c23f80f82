package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrLocked: another process uses the directory. The error's text names its pid.
var ErrLocked = errors.New("journal is in use by another process")

// Range is a run of bytes of a file.
type Range struct {
	Off int64 `json:"off"`
	Len int64 `json:"len"`
}

// Journal is one process's use of a journal directory. It is safe for concurrent use.
type Journal struct {
	dir  string
	lock *os.File

	recovered []Recovered // of earlier runs, as Open found them
	reports   []error     // what Open could not read

	mu struct {
		sync.Mutex
		closed bool
		open   map[*Spool]struct{}
	}
}

// Open takes the directory for this process, creating it where it is missing (0700), removes the spools of earlier runs
// that have no record, and reads the records. A directory in use gives ErrLocked.
func Open(dir string) (*Journal, error) {
	j := &Journal{dir: dir}
	j.mu.open = make(map[*Spool]struct{})
	for _, d := range []string{dir, j.spools(), j.records(), j.damaged()} {
		if err := makeDir(d); err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
	}
	lock, err := takeLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", dir, err)
	}
	j.lock = lock
	if err := j.replay(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", dir, err), lock.Close())
	}
	return j, nil
}

// Close closes the spools that are still open, keeping their files, and gives the directory free. What has a record is
// found again by the next Open; what has none is removed by it.
func (j *Journal) Close() error {
	open, first := j.takeOpen()
	if !first {
		return nil
	}
	var errs []error
	for _, s := range open {
		errs = append(errs, s.f.Close())
	}
	return errors.Join(append(errs, j.lock.Close())...)
}

func (j *Journal) takeOpen() (open []*Spool, first bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first = !j.mu.closed
	j.mu.closed = true
	for s := range j.mu.open {
		open = append(open, s)
	}
	clear(j.mu.open)
	return open, first
}

func (j *Journal) spools() string  { return filepath.Join(j.dir, "spool") }
func (j *Journal) records() string { return filepath.Join(j.dir, "record") }
func (j *Journal) damaged() string { return filepath.Join(j.dir, "damaged") }

// makeDir makes a directory that only its owner can enter, or makes an existing one so.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if fi.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return os.Chmod(dir, 0o700)
}

// takeLock locks the file at path for the life of this process and writes the pid into it. The file is never removed: a
// lock on a removed file would exclude nobody.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := retryEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w (%s)", ErrLocked, holder(f))
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder says who has the lock, as far as the file tells.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	pid := strings.TrimSpace(string(b))
	if _, bad := strconv.Atoi(pid); err != nil || bad != nil {
		return "pid unknown"
	}
	return "pid " + pid
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeFile removes a file; one that is not there is fine.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func retryEINTR(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}
