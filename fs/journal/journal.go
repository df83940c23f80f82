package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// Options say where a journal is and what it may use. The zero value of a field is its default.
type Options struct {
	Dir         string
	MemoryBytes int64        // all spools in memory together; 0: 32 MiB; negative: none in memory
	Log         *slog.Logger // nil: slog.Default
	Hooks       Hooks        // of tests

	unit         int64 // how much is borrowed at once
	segmentBytes int64 // 0: 32 MiB; tests have smaller ones
	untended     bool  // nothing happens by itself; tests that look at every step call tidy
}

const defaultMemory = 32 << 20

// Journal is one process's use of a journal directory. It is safe for concurrent use.
type Journal struct {
	o    Options
	lock *os.File
	log  *ledger
	old  oldRecords

	recovered []Recovered // of earlier runs, as Open found them
	earlier   []Note      // likewise
	reports   []error     // what Open could not read

	inline int64     // the most of a spool that stands in the log
	blocks sync.Pool // *[checkBytes]byte, for reads that begin or end inside a block

	stop, tended chan struct{}

	mu struct {
		sync.Mutex
		closed bool
		open   map[*Spool]struct{}
		memory int64 // bytes that spools have in memory

		lend     Lend  // nil: nobody lends memory
		lendable int64 // bytes that may be borrowed
		lent     int64 // bytes that are
		refused  bool  // the lender had none, the last time
	}
}

// Open is OpenWith without options.
func Open(dir string) (*Journal, error) { return OpenWith(Options{Dir: dir}) }

// OpenWith takes the directory for this process, creating it where it is missing (0700), reads what earlier runs kept,
// and removes the spools of theirs that have no record. A directory in use gives ErrLocked.
func OpenWith(o Options) (*Journal, error) {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = defaultMemory
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.segmentBytes == 0 {
		o.segmentBytes = defaultSegment
	}
	if o.unit = o.Hooks.LentBytes; o.unit == 0 {
		o.unit = lentBytes
	}
	j := &Journal{o: o, inline: inlineBytes, stop: make(chan struct{}), tended: make(chan struct{})}
	if o.Hooks.InlineBytes > 0 {
		j.inline = o.Hooks.InlineBytes
	}
	j.blocks.New = func() any { return new([checkBytes]byte) }
	j.mu.open = make(map[*Spool]struct{})
	j.log = newLedger(filepath.Join(o.Dir, "log"), o.segmentBytes)
	o.Hooks.install(j.log)
	j.old.dir = filepath.Join(o.Dir, "record")
	j.old.mu.ids = make(map[string]bool)
	for _, d := range []string{o.Dir, j.spools(), j.log.dir, j.damaged()} {
		if err := makeDir(d); err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
	}
	lock, err := takeLock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", o.Dir, err)
	}
	j.lock = lock
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", o.Dir, err), j.log.abandon(), lock.Close())
	}
	if o.untended {
		close(j.tended)
	} else {
		go j.tend()
	}
	return j, nil
}

// load reads what earlier runs left. Nothing is changed where a later version has written the log: it numbers its entries, and
// what is added here would lie over them.
func (j *Journal) load() error {
	if err := j.log.refuseNewer(); err != nil {
		return err
	}
	if err := syncDir(j.o.Dir); err != nil {
		return err
	}
	r, err := j.log.load(j.damaged())
	if err != nil {
		return err
	}
	j.takeNotes()
	if err := j.loadOld(); err != nil {
		return err
	}
	j.takeRecords()
	if err := j.log.mend(r); err != nil {
		r.reports = append(r.reports, fmt.Errorf("move what is good out of a damaged log: %w", err))
	}
	j.reports = append(j.reports, r.reports...)
	for _, end := range r.ends {
		j.o.Log.Warn("the journal ends in bytes that cannot be read: an entry that was being written when the host or the process stopped, or damage",
			"file", end.f.Name(), "bytes", end.size-end.end)
	}
	return j.removeOrphans()
}

// Close makes durable what was appended, closes the spools that are still open, and gives the directory free. What has a
// record is found again by the next Open; what has none is removed by it.
func (j *Journal) Close() error {
	open, first := j.takeOpen()
	if !first {
		return nil
	}
	close(j.stop)
	<-j.tended
	errs := []error{j.log.close()}
	for _, s := range open {
		errs = append(errs, s.Close())
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
	return open, first
}

func (j *Journal) spools() string  { return filepath.Join(j.o.Dir, "spool") }
func (j *Journal) damaged() string { return filepath.Join(j.o.Dir, "damaged") }

// ErrNotOwn: a directory of the journal is a link, or another user's. What lies in it would be stored in the name of this process's
// user, and what is removed there could be anything.
var ErrNotOwn = errors.New("not a directory of this user's own")

// makeDir makes a directory that only its owner can enter, or makes an existing one of this user so.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%s: %w: it is a link", dir, ErrNotOwn)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	err = keepPrivate(fd, dir)
	return errors.Join(err, unix.Close(fd))
}

func keepPrivate(fd int, dir string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: %w: it belongs to user %d", dir, ErrNotOwn, st.Uid)
	}
	if st.Mode&0o077 == 0 {
		return nil
	}
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return &os.PathError{Op: "chmod", Path: dir, Err: err}
	}
	return nil
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
