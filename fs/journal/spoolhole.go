package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// punchFile makes a hole. Blocks that end in it or begin before it keep the rest of their bytes.
func (s *Spool) punchFile(off, length int64, punch func(f *os.File, off, length int64) error) error {
	size, err := s.length()
	if err != nil || off >= size {
		return err
	}
	end := off + min(length, size-off)
	span := &blockSpan{first: off / checkBytes, last: (end - 1) / checkBytes, write: true}
	f, err := s.hold("punch hole", span)
	if err != nil {
		return err
	}
	defer s.let(span)
	if err := s.unbind(off); err != nil {
		return err
	}
	edges, err := s.edgesAfterHole(f, off, end, span)
	if err != nil {
		return err
	}
	if err := f.punch(off, end-off, punch); err != nil {
		return errors.Join(&os.PathError{Op: "punch hole", Path: s.Name(), Err: err}, s.sumAgain(f, span))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.sums.holes(span.first, span.last+1)
	for b, sum := range edges {
		s.mu.sums.set(b, sum)
	}
	return nil
}

// edgesAfterHole computes the checks of the blocks that are not in the hole as a whole.
func (s *Spool) edgesAfterHole(f *spoolFile, off, end int64, span *blockSpan) (map[int64]blockSum, error) {
	edges := make(map[int64]blockSum)
	for _, b := range []int64{span.first, span.last} {
		checks, size := s.sumsOf(b, b)
		from, to := max(off-b*checkBytes, 0), min(end-b*checkBytes, checkBytes)
		if _, done := edges[b]; done || from == 0 && (to == checkBytes || end >= size) {
			continue
		}
		sum, err := s.sumMixed(f, b, checks[0], func(buf *[checkBytes]byte, n int) int {
			clear(buf[from:to])
			if int64(n) <= to {
				return int(min(int64(n), from))
			}
			return n
		})
		if err != nil {
			return nil, err
		}
		edges[b] = sum
	}
	return edges, nil
}

// punch gives a range's disk space back, or writes zeros on file systems without holes.
func punch(f *os.File, off, length int64) error {
	err := fallocate(f, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return zero(f, off, length)
	}
	return err
}

func fallocate(f *os.File, mode uint32, off, length int64) error {
	conn, err := f.SyscallConn()
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

// zero writes zeros over a range within the file.
func zero(f *os.File, off, length int64) error {
	for end := off + length; off < end; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
