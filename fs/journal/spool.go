package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Spool is a sparse local file for the bytes of one file being written, at their own offsets. Its owner calls Discard
// when the bytes are stored or not wanted any more, or Close to leave what was kept to the next run. Reads and writes may
// run at once; after Discard or Close they give os.ErrClosed.
//
//	resting --read, write--> in memory --large, or memory is full--> file
//	   '----------------- no memory free ---------------------------^
//
// Bytes are in memory while they are small; mu guards them. Resting ones are in the log alone: a small spool of an earlier
// run, until somebody wants it. In a file (spoolfile.go) mu is not held while the disk works: who reads or writes has the
// blocks for himself or shares them with readers (spans). While it moves to its file the bytes in memory stay as they are,
// readable, and writers wait.
type Spool struct {
	j  *Journal
	id string

	changed *sync.Cond // of mu: moving, spans or closed

	mu struct {
		sync.Mutex
		closed  bool
		kept    bool   // there is a record, or may be one
		settled bool   // nothing has changed since Keep
		unkept  uint64 // position behind the drop of its record, by Unkeep
		changes uint64 // of its bytes
		// The record has checks of the file's first bytes, so many: they must go before these change. What is written
		// behind them the next run cuts off.
		bound int64

		released []Range // given away (release.go); sorted, disjoint, never changed in place
		ahead    int64   // the file has disk blocks up to there (release.go)

		size    int64
		data    []byte // in memory: from offset 0; behind it is a hole
		resting bool
		moving  bool

		f     *spoolFile
		filed bool  // there is a file, or may be one
		pass  int64 // what is appended from there on may be in lent memory
		named bool  // the file's name is durable
		sums  *sums
		spans []*blockSpan
	}
}

// NewSpool makes an empty spool.
func (j *Journal) NewSpool() (*Spool, error) {
	s := j.spool(strings.ToLower(rand.Text()))
	if j.o.MemoryBytes < 0 {
		if err := s.toFile(); err != nil {
			return nil, fmt.Errorf("new spool: %w", err)
		}
	}
	if !j.opened(s) {
		return nil, errors.Join(fmt.Errorf("new spool: %w", os.ErrClosed), s.Discard())
	}
	return s, nil
}

func (j *Journal) spool(id string) *Spool {
	s := &Spool{j: j, id: id}
	s.mu.pass = math.MaxInt64
	s.changed = sync.NewCond(&s.mu)
	return s
}

// openSpool opens the spool of a record.
func (j *Journal) openSpool(id string) (*Spool, error) {
	s := j.spool(id)
	s.mu.kept, s.mu.filed = true, true
	r, inLog := j.log.record(id)
	var err error
	switch {
	case inLog && r.inline:
		s.mu.resting, s.mu.settled, s.mu.size = true, true, r.size
	case inLog || j.old.has(id):
		err = s.openFile(inLog)
	default:
		err = os.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("open spool %s: %w", id, err)
	}
	if !j.opened(s) {
		return nil, errors.Join(fmt.Errorf("open spool: %w", os.ErrClosed), s.Close())
	}
	return s, nil
}

// openFile opens the spool's file, with the checks that the log has of it.
func (s *Spool) openFile(inLog bool) error {
	checks := newSums(true)
	s.mu.settled = !inLog
	if inLog {
		e, err := s.j.log.readKeep(s.id)
		if err != nil {
			return err
		}
		if e.checks != nil {
			if checks, err = decodeSums(e.checks); err != nil {
				return err
			}
			s.mu.bound, s.mu.settled = e.size, true
		}
	}
	f, err := os.OpenFile(s.Name(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.mu.f, s.mu.size, s.mu.sums, s.mu.named = s.j.newSpoolFile(f, fi.Size()), fi.Size(), checks, true
	return nil
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

// Name is what messages call it: the path of its file, whether there is one yet or not.
func (s *Spool) Name() string { return filepath.Join(s.j.spools(), s.id) }

// ReadAt reads as io.ReaderAt does: holes are zeros, io.EOF stands at the spool's end. What comes from a file is what was
// written, or the error is ErrDamaged.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &os.PathError{Op: "read", Path: s.Name(), Err: unix.EINVAL}
	}
	if err := s.readable(off, len(p)); err != nil {
		return 0, err
	}
	n, err := s.readAt(p, off)
	if released := s.readable(off, len(p)); released != nil { // meanwhile
		return 0, released
	}
	return n, err
}

func (s *Spool) readAt(p []byte, off int64) (int, error) {
	place, n, err := s.readMemory(p, off)
	switch place {
	case inFile:
		return s.readFile(p, off)
	case inLog:
		return s.readLog(p, off)
	}
	return n, err
}

// whereabouts of a spool's bytes.
type whereabouts int

const (
	inMemory whereabouts = iota
	inLog
	inFile
)

func (s *Spool) whereLocked() whereabouts {
	switch {
	case s.mu.f != nil:
		return inFile
	case s.mu.resting:
		return inLog
	}
	return inMemory
}

func (s *Spool) closedError(op string) error {
	return &os.PathError{Op: op, Path: s.Name(), Err: os.ErrClosed}
}

// WriteAt writes as io.WriterAt does, making the spool longer where needed.
func (s *Spool) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &os.PathError{Op: "write", Path: s.Name(), Err: unix.EINVAL}
	}
	if len(p) == 0 {
		return 0, nil
	}
	inFile, err := s.changeMemory("write", func() bool { return s.writeMemoryLocked(p, off) })
	if err != nil {
		return 0, err
	}
	n := len(p)
	if inFile {
		n, err = s.writeFile(p, off)
	}
	s.changedTo(off, off+int64(n))
	return n, err
}

// Truncate cuts the spool or makes it longer by a hole.
func (s *Spool) Truncate(size int64) error {
	if size < 0 {
		return &os.PathError{Op: "truncate", Path: s.Name(), Err: unix.EINVAL}
	}
	if same, err := s.hasLength(size); same || err != nil {
		return err
	}
	inFile, err := s.changeMemory("truncate", func() bool {
		s.mu.data = s.mu.data[:min(int64(len(s.mu.data)), size)]
		s.mu.size = size
		return true
	})
	if inFile {
		err = s.truncateFile(size)
	}
	if err == nil {
		s.changedTo(size, math.MaxInt64)
	}
	return err
}

func (s *Spool) hasLength(size int64) (bool, error) {
	now, err := s.length()
	return now == size, err
}

func (s *Spool) length() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return 0, s.closedError("stat")
	}
	return s.mu.size, nil
}

// PunchHole makes the bytes [off, off+length) zeros and gives their disk space back where the file system can. The
// spool's size stays.
func (s *Spool) PunchHole(off, length int64) error {
	err := s.makeHole(off, length, punch)
	if err == nil && length > 0 {
		s.changedTo(off, off+min(length, math.MaxInt64-off))
	}
	return err
}

func (s *Spool) makeHole(off, length int64, inFile func(f *os.File, off, length int64) error) error {
	if length <= 0 {
		return nil
	}
	if off < 0 {
		return &os.PathError{Op: "punch hole", Path: s.Name(), Err: unix.EINVAL}
	}
	file, err := s.changeMemory("punch hole", func() bool {
		n := int64(len(s.mu.data))
		clear(s.mu.data[min(off, n) : min(off, n)+min(length, n-min(off, n))])
		return true
	})
	if file {
		return s.punchFile(off, length, inFile)
	}
	return err
}

// Sync makes the spool's bytes durable on the local disk, in its file.
func (s *Spool) Sync() error {
	if err := s.toFile(); err != nil {
		return err
	}
	_, _, err := s.syncFile()
	return err
}

// Close closes the spool and leaves its file: the next run finds it if it was kept, and removes it otherwise.
func (s *Spool) Close() error {
	f, bytes := s.end()
	s.j.forget(s)
	s.j.release(bytes)
	if f == nil {
		return nil
	}
	return f.close()
}

// end takes everything from the spool. Who reads lent memory has it until he is done.
func (s *Spool) end() (f *spoolFile, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mu.moving {
		s.changed.Wait()
	}
	s.mu.closed = true
	f, bytes = s.mu.f, int64(cap(s.mu.data))
	s.mu.f, s.mu.data = nil, nil
	s.changed.Broadcast()
	for f != nil && len(s.mu.spans) > 0 && f.hasLent() {
		s.changed.Wait()
	}
	return f, bytes
}

// Discard closes the spool and deletes it: its record first, if it was kept, then the file. It may be called again.
func (s *Spool) Discard() error {
	err := s.Close()
	kept, unkept := s.isKept()
	path := ""
	if s.hadFile() {
		path = s.Name()
	}
	switch {
	case kept:
		return errors.Join(err, s.j.dropWith(s.id, path))
	case path == "":
		return err
	}
	return errors.Join(err, s.j.log.removeAfter(unkept, path))
}

// hadFile is false for a spool of this run that was in memory all the time: nothing is to be removed.
func (s *Spool) hadFile() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.filed
}

func (s *Spool) isKept() (kept bool, unkept uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.kept, s.mu.unkept
}

func (s *Spool) setKept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.kept = true
}

func (s *Spool) isSettled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.settled && !s.mu.closed
}

// changes counts the changes of its bytes.
func (s *Spool) changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.changes
}

func (s *Spool) changedLocked() {
	s.mu.settled = false
	s.mu.changes++
}

// isBound says whether the log has checks of the first bytes, so many, and they have not changed.
func (s *Spool) isBound(bytes int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.mu.closed && bytes <= s.mu.bound
}

// setSettled notes what the log has of the spool, whose changes were so many when it was read.
func (s *Spool) setSettled(e entry, changes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.settled, s.mu.bound = s.mu.changes == changes, 0
	if e.checks != nil {
		s.mu.bound = e.size
	}
}
