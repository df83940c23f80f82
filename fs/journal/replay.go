package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrDamaged: something in the journal could not be read, or is not what was written. What Open finds damaged it copies
// or moves to the directory "damaged".
var ErrDamaged = errors.New("damaged journal")

// ErrNewer: the journal, or a record in it, was written by a later version of the program. It is left as it is.
var ErrNewer = errors.New("written by a later version of pailfs")

// replay reads what is alive. It goes over the log twice: first to find its entries and how far it was durable, then to
// apply them, so that no more than one segment is in memory.
//
// The log ends quietly at the first unreadable place that was never durable: a power cut tore it there, and nothing
// behind it was promised to anybody. An unreadable place that was durable is damage; all that is readable is used.
type replay struct {
	l       *ledger
	segs    []*scanned
	durable uint64
	ends    []*scanned // that have something unreadable behind their last entry, of which nobody was told that it is durable
	reports []error
	last    uint64 // number of the last file, readable or not
}

type scanned struct {
	*segment
	found   []frame
	size    int64
	damaged []span // unreadable, and was durable
	used    bool
}

// span is a run of positions.
type span struct{ from, to uint64 }

// load opens the log.
func (l *ledger) load(damaged string) (*replay, error) {
	r := &replay{l: l}
	if err := r.open(damaged); err != nil {
		return nil, err
	}
	pos := uint64(0)
	for i, s := range r.segs {
		if i == 0 {
			pos = s.h.base
		}
		var whole bool
		if pos, whole = r.judge(i, pos); !whole {
			break
		}
	}
	for _, s := range r.segs {
		if err := r.apply(s); err != nil {
			return nil, err
		}
	}
	return r, r.finish(pos, damaged)
}

// segmentFiles are the numbers of the segments' files, in order.
func (l *ledger) segmentFiles() (numbers []uint64, err error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if number, err := strconv.ParseUint(e.Name(), 16, 64); err == nil && e.Name() == segmentName(number) {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// refuseNewer is ErrNewer when a later version has written a segment.
func (l *ledger) refuseNewer() error {
	numbers, err := l.segmentFiles()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if err := refuseNewer(filepath.Join(l.dir, segmentName(n))); err != nil {
			return err
		}
	}
	return nil
}

func refuseNewer(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	b := make([]byte, headerBytes)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if _, bad := decodeHeader(b[:n]); errors.Is(bad, ErrNewer) {
		err = fmt.Errorf("%s: %w", path, bad)
	}
	return errors.Join(err, f.Close())
}

// open scans all segments.
func (r *replay) open(damaged string) error {
	numbers, err := r.l.segmentFiles()
	if err != nil {
		return err
	}
	for _, number := range numbers {
		r.last = max(r.last, number)
		name := segmentName(number)
		if err := r.openSegment(filepath.Join(r.l.dir, name), filepath.Join(damaged, name)); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) openSegment(path, aside string) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	b, err := readAll(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	h, err := decodeHeader(b)
	switch {
	case err == nil:
		s := &scanned{segment: &segment{f: f, h: h, end: headerBytes}, found: scan(b, h), size: int64(len(b))}
		r.durable = max(r.durable, h.durable)
		for _, e := range s.found {
			r.durable = max(r.durable, e.durable)
		}
		r.segs = append(r.segs, s)
		return nil
	case errors.Is(err, errBlank) && isZero(b):
		return errors.Join(f.Close(), removeFile(path))
	}
	if errors.Is(err, errBlank) {
		err = fmt.Errorf("%w: no header", ErrDamaged)
	}
	if err := errors.Join(f.Close(), os.Rename(path, aside)); err != nil {
		return err
	}
	r.reports = append(r.reports, fmt.Errorf("%w; moved to %s", err, aside))
	return nil
}

func readAll(f *os.File) ([]byte, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, fi.Size())
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// judge goes over segment i, which should begin at pos, and says where it ends; whole false: the log ends there.
func (r *replay) judge(i int, pos uint64) (end uint64, whole bool) {
	s := r.segs[i]
	// A hole before it is the end of the one before.
	if !r.passable(r.segs[max(0, i-1)], span{pos, s.h.base}, i) {
		return pos, false
	}
	s.used = true
	pos = s.h.base
	for k, e := range s.found {
		if i+1 < len(r.segs) && e.pos >= r.segs[i+1].h.base { // left of a write that failed
			s.found = s.found[:k]
			break
		}
		next := e.pos + uint64(entryBytes(e.n))
		from := pos
		if e.readable {
			next = e.pos
		}
		if !r.passable(s, span{from, next}, i) {
			s.found = s.found[:k]
			return pos, false
		}
		pos = e.pos + uint64(entryBytes(e.n))
		s.end = e.off + entryBytes(e.n)
	}
	if i+1 < len(r.segs) {
		// What the next one's base leaves open is checked there; behind it nothing was ever written.
		return pos, true
	}
	if pos < r.durable { // cut off
		s.damaged = append(s.damaged, span{pos, r.durable})
		pos = r.durable
	}
	return pos, true
}

// passable says whether the log goes on behind a place without readable entries, and notes it when it is damage.
func (r *replay) passable(s *scanned, gap span, i int) bool {
	if gap.from >= gap.to {
		return true
	}
	for _, later := range r.segs[i:] {
		if later.h.suspect <= gap.from && gap.to <= later.h.base {
			return true // could not be synced then, and is in the later one
		}
	}
	if gap.from >= r.durable {
		return false
	}
	s.damaged = append(s.damaged, gap)
	return true
}

// apply takes the entries of a segment.
func (r *replay) apply(s *scanned) error {
	if !s.used {
		return nil
	}
	b, err := readAll(s.f)
	if err != nil {
		return err
	}
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	for _, f := range s.found {
		if !f.readable {
			continue
		}
		body := b[f.off+frameBytes : f.off+frameBytes+f.n]
		e, err := decodeEntry(body)
		if err != nil {
			s.damaged = append(s.damaged, span{f.pos, f.pos + uint64(entryBytes(f.n))})
			continue
		}
		r.l.applyLocked(e, place{s.segment, f.off, f.n})
	}
	return nil
}

// finish hands the segments over and puts copies of damaged ones aside.
func (r *replay) finish(end uint64, damaged string) error {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.number, l.mu.end, l.mu.need, l.mu.durable = r.last, end, end, min(r.durable, end)
	for _, s := range r.segs {
		path := s.f.Name()
		if !s.used { // begins behind the tear
			if err := errors.Join(s.f.Close(), removeFile(path)); err != nil {
				return err
			}
			continue
		}
		s.settled, s.alloc = end, s.end
		l.mu.segs = append(l.mu.segs, s.segment)
		if len(s.damaged) > 0 {
			r.setAside(s, filepath.Join(damaged, filepath.Base(path)))
		} else if s.size > s.end {
			r.cutOff(s)
		}
		if s.endPos() > l.mu.durable {
			l.dirtyLocked(s.segment)
		}
	}
	l.mu.dirtied = true
	wake(l.kick)
	return nil
}

// cutOff cuts off what lies behind a segment's last entry; where that fails no more than space is lost.
func (r *replay) cutOff(s *scanned) {
	rest := make([]byte, min(s.size-s.end, 1<<20))
	if n, _ := s.f.ReadAt(rest, s.end); !isZero(rest[:n]) {
		r.ends = append(r.ends, s)
	}
	if s.f.Truncate(s.end) != nil {
		s.size = s.end
	}
}

// setAside copies a damaged segment for a person to look at.
func (r *replay) setAside(s *scanned, aside string) {
	err := copyFile(s.f, aside)
	s.pinned = err != nil
	n := uint64(0)
	for _, d := range s.damaged {
		n += d.to - d.from
	}
	r.reports = append(r.reports, errors.Join(fmt.Errorf("%w: %d bytes of %s from position %d on cannot be read; a copy is in %s",
		ErrDamaged, n, s.f.Name(), s.damaged[0].from-min(s.damaged[0].from, s.h.base)+headerBytes, aside), err))
}

func copyFile(f *os.File, to string) error {
	b, err := readAll(f)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := writeSynced(to, b); err != nil {
		return errors.Join(err, removeFile(to))
	}
	return syncDir(filepath.Dir(to))
}

// mend carries what is alive out of damaged segments, so that they are reported once only.
func (l *ledger) mend(r *replay) error {
	last := -1
	for i, s := range r.segs {
		if len(s.damaged) > 0 && s.used {
			last = i
		}
	}
	for i := 0; i <= last; i++ {
		if r.segs[i].pinned {
			return nil
		}
		if err := l.empty(r.segs[i].segment); err != nil {
			return err
		}
	}
	if last < 0 {
		return nil
	}
	return l.trim()
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}
