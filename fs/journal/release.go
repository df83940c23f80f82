package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrReleased: bytes were asked for that the spool's owner has given away (Spool.Release).
var ErrReleased = errors.New("bytes that are not kept here any more")

// Part is a part of an unfinished multipart upload, which has bytes of a file that the spool need not have.
type Part struct {
	Number int    `json:"number"`
	Off    int64  `json:"off"`
	Len    int64  `json:"len"`
	ETag   string `json:"etag"`
}

// Release gives the disk space of [off, off+length) back, because the spool's owner has the bytes elsewhere. To read any of
// them is ErrReleased from now on, never zeros, until they are written again, made a hole or cut off. Where the file system
// cannot give space back nothing happens, and the error is errors.ErrUnsupported.
func (s *Spool) Release(off, length int64) error {
	size, err := s.length()
	if err != nil || off < 0 || length <= 0 || off >= size {
		return err
	}
	r := Range{Off: off, Len: min(length, size-off)}
	was := s.released()
	s.setReleased(func(rs []Range) []Range { return including(rs, r) }) // first: who reads zeros sees it
	err = s.makeHole(r.Off, r.Len, punchOnly)
	if err == nil {
		return nil
	}
	s.setReleased(func([]Range) []Range { return was })
	return fmt.Errorf("release bytes of spool %s: %w", s.Name(), err)
}

// Released are the bytes that were given away: sorted and disjoint.
func (s *Spool) Released() []Range { return slices.Clone(s.released()) }

// released are those; they are never changed in place.
func (s *Spool) released() []Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.released
}

func (s *Spool) setReleased(change func([]Range) []Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.released = change(s.mu.released)
}

// changedTo says that the bytes from one offset to another are what the spool has.
func (s *Spool) changedTo(from, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.released) > 0 {
		s.mu.released = excluding(s.mu.released, Range{Off: from, Len: to - from})
	}
}

// readable is ErrReleased where a read of n bytes meets some that were given away.
func (s *Spool) readable(off int64, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.mu.released {
		if r.Off < off+int64(n) && off < r.Off+r.Len {
			return fmt.Errorf("read %d bytes at %d of spool %s: %w", n, off, s.Name(), ErrReleased)
		}
	}
	return nil
}

// punchOnly gives a range's disk space back or does nothing.
func punchOnly(f *os.File, off, length int64) error {
	if err := fallocate(f, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			return errors.ErrUnsupported
		}
		return err
	}
	return nil
}

// allocateStep is what a long spool's file gets of the disk at once while it is written on end: to fill blocks that are there
// takes a quarter less CPU on ext4 than to ask for each page's.
const allocateStep = 8 << 20

// allocateAhead gives the file blocks for a write at its end and for those that will follow. Where that cannot be done
// nothing is lost: the write asks for its own.
func (s *Spool) allocateAhead(f *os.File, off, end int64) {
	s.mu.Lock()
	wanted := off == s.mu.size && off >= allocateStep && end > s.mu.ahead
	to := (end/allocateStep + 1) * allocateStep
	if wanted {
		s.mu.ahead = to
	}
	s.mu.Unlock()
	if !wanted {
		return
	}
	if err := fallocate(f, unix.FALLOC_FL_KEEP_SIZE, off, to-off); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.ahead = math.MaxInt64
	}
}

// including is a set of ranges with r in it.
func including(rs []Range, r Range) []Range {
	out := make([]Range, 0, len(rs)+1)
	for _, old := range rs {
		switch {
		case old.Off+old.Len < r.Off:
			out = append(out, old)
		case r.Off+r.Len < old.Off:
			out = append(out, r)
			r = old
		default:
			end := max(r.Off+r.Len, old.Off+old.Len)
			r.Off = min(r.Off, old.Off)
			r.Len = end - r.Off
		}
	}
	return append(out, r)
}

// excluding is a set of ranges without r.
func excluding(rs []Range, r Range) []Range {
	var out []Range
	for _, old := range rs {
		if n := min(old.Off+old.Len, r.Off) - old.Off; n > 0 {
			out = append(out, Range{Off: old.Off, Len: n})
		}
		if from := max(old.Off, r.Off+r.Len); old.Off+old.Len > from {
			out = append(out, Range{Off: from, Len: old.Off + old.Len - from})
		}
	}
	return out
}

// elsewhere is what of a recorded file is in parts of its upload alone.
func (p Pending) elsewhere() (rs []Range) {
	for _, part := range p.Parts {
		rs = including(rs, Range{Off: part.Off, Len: part.Len})
	}
	for _, r := range p.Dirty {
		rs = excluding(rs, r)
	}
	return rs
}

func (p Pending) checkParts() error {
	last := Part{}
	for _, part := range p.Parts {
		if part.Number <= last.Number || part.Off < last.Off+last.Len || part.Len <= 0 || part.Len > p.Size-part.Off || part.ETag == "" {
			return fmt.Errorf("part %d, %d+%d, is out of order or past the size %d", part.Number, part.Off, part.Len, p.Size)
		}
		last = part
	}
	if len(p.Parts) > 0 && p.Upload == "" {
		return errors.New("parts of no upload")
	}
	return nil
}

// Free is how many bytes the journal's file system has for this process.
func (j *Journal) Free() (int64, error) {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Statfs(j.o.Dir, &st) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: j.o.Dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// IsFull says whether an error means that the disk, or somebody's share of it, has no more room.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
