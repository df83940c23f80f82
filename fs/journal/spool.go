package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Spool is a sparse local file for the bytes of one file being written, at their own offsets. Its owner calls Discard
// when the bytes are stored or not wanted any more, or Close to leave what was kept to the next run. Reads and writes may
// run at once; after Discard or Close they give os.ErrClosed.
type Spool struct {
	j  *Journal
	id string
	f  *os.File

	mu struct {
		sync.Mutex
		kept bool // there is a record, or may be one
	}
}

// NewSpool makes an empty spool.
func (j *Journal) NewSpool() (*Spool, error) {
	id := strings.ToLower(rand.Text())
	f, err := os.OpenFile(filepath.Join(j.spools(), id), os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("new spool: %w", err)
	}
	s := &Spool{j: j, id: id, f: f}
	if !j.opened(s) {
		return nil, errors.Join(fmt.Errorf("new spool: %w", os.ErrClosed), f.Close(), removeFile(f.Name()))
	}
	return s, nil
}

// openSpool opens the spool of a record.
func (j *Journal) openSpool(id string) (*Spool, error) {
	f, err := os.OpenFile(filepath.Join(j.spools(), id), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{j: j, id: id, f: f}
	s.mu.kept = true
	if !j.opened(s) {
		return nil, errors.Join(fmt.Errorf("open spool: %w", os.ErrClosed), f.Close())
	}
	return s, nil
}

// opened registers a spool for Close; false when the journal is closed.
func (j *Journal) opened(s *Spool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.closed {
		return false
	}
	j.mu.open[s] = struct{}{}
	return true
}

func (j *Journal) forget(s *Spool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.mu.open, s)
}

// Name is the spool's path, for messages.
func (s *Spool) Name() string { return s.f.Name() }

// ReadAt reads as io.ReaderAt does: holes are zeros, io.EOF stands at the spool's end.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) { return s.f.ReadAt(p, off) }

// WriteAt writes as io.WriterAt does, making the spool longer where needed.
func (s *Spool) WriteAt(p []byte, off int64) (int, error) { return s.f.WriteAt(p, off) }

// Truncate cuts the spool or makes it longer by a hole.
func (s *Spool) Truncate(size int64) error { return s.f.Truncate(size) }

// Sync makes the spool's bytes durable on the local disk.
func (s *Spool) Sync() error { return s.f.Sync() }

// PunchHole makes the bytes [off, off+length) zeros and gives their disk space back where the file system can. The
// spool's size stays.
func (s *Spool) PunchHole(off, length int64) error {
	if length <= 0 {
		return nil
	}
	err := s.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return s.zero(off, length)
	}
	if err != nil {
		return &os.PathError{Op: "punch hole", Path: s.Name(), Err: err}
	}
	return nil
}

func (s *Spool) fallocate(mode uint32, off, length int64) error {
	conn, err := s.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = retryEINTR(func() error { return unix.Fallocate(int(fd), mode, off, length) })
	})
	if err != nil { // the one reason: the file is closed
		return os.ErrClosed
	}
	return failed
}

// zero writes zeros over the part of a range that lies in the spool, for file systems without holes.
func (s *Spool) zero(off, length int64) error {
	fi, err := s.f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for end := min(off+length, fi.Size()); off < end; {
		n, err := s.f.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Close closes the spool and leaves its file: the next run finds it if it was kept, and removes it otherwise.
func (s *Spool) Close() error {
	s.j.forget(s)
	if err := s.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Discard closes the spool and deletes it: its record first, if it was kept, then the file. It may be called again.
func (s *Spool) Discard() error {
	err := s.Close()
	if s.isKept() {
		return errors.Join(err, s.j.drop(s.id))
	}
	return errors.Join(err, removeFile(s.Name()))
}

func (s *Spool) isKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.kept
}

func (s *Spool) setKept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.kept = true
}
