package journal

import (
	"maps"
	"math"
	"os"
	"slices"
	"sync"
)

// lentBytes is how much memory is borrowed at once.
const lentBytes = 256 << 10

// Loan is memory that somebody else has lent, until it is given back.
type Loan struct {
	Pieces [][]byte // in this order one run of bytes; what is in them is not defined
	Back   func()
}

// Lend lends memory, in pieces, until it is told to take it back; false: there is none to spare.
type Lend func(bytes int) (pieces [][]byte, back func(), ok bool)

// BorrowFrom lets spools have memory of somebody else's for what is given away soon (Spool.Pass), so many bytes at once at
// the most. lend is called until the last spool is closed.
func (j *Journal) BorrowFrom(lend Lend, most int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.lend, j.mu.lendable = lend, most
}

// Lending says how much memory spools may borrow in all, and how much of it is free: nothing, while the lender has none.
func (j *Journal) Lending() (most, free int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.refused {
		return j.mu.lendable, 0
	}
	return j.mu.lendable, j.mu.lendable - j.mu.lent
}

// borrow takes memory for a stretch; false when there is none.
func (j *Journal) borrow() (Loan, bool) {
	unit := j.o.unit
	lend := j.mayBorrow(unit)
	if lend == nil {
		return Loan{}, false
	}
	pieces, back, ok := lend(int(unit))
	if !ok {
		j.borrowed(-unit, true)
		return Loan{}, false
	}
	j.borrowed(0, false)
	return Loan{pieces, func() {
		back()
		j.borrowed(-unit, false) // there is some to be had again
	}}, true
}

func (j *Journal) mayBorrow(bytes int64) Lend {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.lend == nil || j.mu.lent+bytes > j.mu.lendable {
		return nil
	}
	j.mu.lent += bytes
	return j.mu.lend
}

func (j *Journal) borrowed(bytes int64, refused bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.lent += bytes
	j.mu.refused = refused
}

// spoolFile is a spool's file, some of whose bytes are in lent memory in place of it: those that will have been given away
// (Release) before anybody wants them on a disk. It costs a system several times as much to find pages for a file as to copy
// into memory that was in use a moment ago.
//
// Each stretch of unit bytes is either in memory or in the file. Who reads or changes bytes has their blocks (blockSpan); mu
// guards which stretches there are and what of them is live, since a stretch has several blocks.
type spoolFile struct {
	disk *os.File
	unit int64

	mu struct {
		sync.Mutex
		end  int64 // the file has no bytes at or behind it
		lent map[int64]*lent
	}
}

// lent is a stretch in memory. Its bytes [from, to) are live, the others a hole.
type lent struct {
	Loan
	from, to int
}

func (j *Journal) newSpoolFile(disk *os.File, end int64) *spoolFile {
	f := &spoolFile{disk: disk, unit: j.o.unit}
	f.mu.end = end
	return f
}

// at is the stretch in memory that has the byte at off, nil for none, what of it is live, and how many of n bytes from off
// on are in the same place.
func (f *spoolFile) at(off int64, n int) (l *lent, from, to, same int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.atLocked(off, n)
}

func (f *spoolFile) atLocked(off int64, n int) (l *lent, from, to, same int) {
	if len(f.mu.lent) == 0 {
		return nil, 0, 0, n
	}
	i := off / f.unit
	end := (i + 1) * f.unit
	if l = f.mu.lent[i]; l != nil {
		return l, l.from, l.to, int(min(int64(n), end-off))
	}
	for end < off+int64(n) && f.mu.lent[end/f.unit] == nil {
		end += f.unit
	}
	return nil, 0, 0, int(min(int64(n), end-off))
}

// isLent says whether the byte at off is in memory.
func (f *spoolFile) isLent(off int64) bool {
	l, _, _, _ := f.at(off, 1)
	return l != nil
}

// hasLent says whether any byte is.
func (f *spoolFile) hasLent() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.lent) > 0
}

// readUpTo fills p, with zeros behind the end of what there is; n is where its last bytes end that are not in a hole.
func (f *spoolFile) readUpTo(p []byte, off int64) (n int, err error) {
	for done := 0; done < len(p); {
		l, from, to, same := f.at(off+int64(done), len(p)-done)
		q := p[done : done+same]
		got := 0
		if l != nil {
			got = l.readLive(q, int((off+int64(done))%f.unit), from, to)
		} else if got, err = readDisk(f.disk, q, off+int64(done)); err != nil {
			return n, err
		}
		if got > 0 {
			n = done + got
		}
		done += same
	}
	return n, nil
}

// readLent reads what lies in memory at off, at most to the end of its stretch; nothing where it is in the file.
func (f *spoolFile) readLent(p []byte, off int64) int {
	l, from, to, same := f.at(off, len(p))
	if l == nil {
		return 0
	}
	l.readLive(p[:same], int(off%f.unit), from, to)
	return same
}

// readLive fills p from a stretch whose bytes [from, to) are live; n is where they end in p.
func (l *lent) readLive(p []byte, off, from, to int) (n int) {
	from, to = max(from, off), min(to, off+len(p))
	if from >= to {
		clear(p)
		return 0
	}
	clear(p[:from-off])
	clear(p[to-off:])
	at := from
	l.each(from, to, func(b []byte) { at += copy(p[at-off:], b) })
	return to - off
}

// each calls do for the pieces of memory over [from, to).
func (l *lent) each(from, to int, do func(b []byte)) {
	start := 0
	for _, b := range l.Pieces {
		if start >= to {
			return
		}
		if a, e := max(from-start, 0), min(to-start, len(b)); a < e {
			do(b[a:e])
		}
		start += len(b)
	}
}

// borrow takes memory for those stretches of [off, end) behind which the file has nothing.
func (f *spoolFile) borrow(off, end int64, take func() (Loan, bool)) {
	for i := off / f.unit; i*f.unit < end; i++ {
		if !f.wants(i) {
			continue
		}
		loan, ok := take()
		if !ok {
			return
		}
		if !f.add(i, loan) {
			loan.Back()
		}
	}
}

func (f *spoolFile) wants(i int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wantsLocked(i)
}

func (f *spoolFile) wantsLocked(i int64) bool { return f.mu.lent[i] == nil && i*f.unit >= f.mu.end }

func (f *spoolFile) add(i int64, loan Loan) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.wantsLocked(i) {
		return false
	}
	if f.mu.lent == nil {
		f.mu.lent = make(map[int64]*lent)
	}
	f.mu.lent[i] = &lent{Loan: loan}
	return true
}

func (f *spoolFile) writeAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		l, same := f.toWrite(off+int64(n), len(p)-n)
		if l == nil {
			m, err := f.disk.WriteAt(p[n:n+same], off+int64(n))
			if n += m; err != nil {
				return n, err
			}
			continue
		}
		from := int((off + int64(n)) % f.unit)
		l.each(from, from+same, func(b []byte) { n += copy(b, p[n:]) })
	}
	return n, nil
}

// toWrite is where to write n bytes, and how many of them: the stretch has them live then, or the file reaches so far.
func (f *spoolFile) toWrite(off int64, n int) (*lent, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, _, _, same := f.atLocked(off, n)
	if l == nil {
		f.mu.end = max(f.mu.end, off+int64(same))
		return nil, same
	}
	from := int(off % f.unit)
	to := from + same
	switch {
	case l.from >= l.to:
		l.from, l.to = from, to
	case from > l.to:
		l.each(l.to, from, func(b []byte) { clear(b) })
	case to < l.from:
		l.each(to, l.from, func(b []byte) { clear(b) })
	}
	l.from, l.to = min(l.from, from), max(l.to, to)
	return l, same
}

// punch makes a hole: in the file by the func, which may refuse.
func (f *spoolFile) punch(off, length int64, inFile func(disk *os.File, off, length int64) error) error {
	if n := min(length, f.diskEnd()-off); n > 0 {
		if err := inFile(f.disk, off, n); err != nil {
			return err
		}
	}
	f.drop(off, off+length, nil)
	return nil
}

func (f *spoolFile) diskEnd() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.end
}

func (f *spoolFile) truncate(size int64) error {
	if err := f.disk.Truncate(size); err != nil {
		return err
	}
	f.drop(size, math.MaxInt64, func() { f.mu.end = min(f.mu.end, size) })
	return nil
}

// drop takes the bytes of [from, to) out of memory, and gives back what has none live any more.
func (f *spoolFile) drop(from, to int64, also func()) {
	f.mu.Lock()
	var back []Loan
	for i, l := range f.mu.lent {
		start := i * f.unit
		if start >= to || start+f.unit <= from {
			continue
		}
		l.dropLive(int(max(from-start, 0)), int(min(to-start, f.unit)))
		if l.from >= l.to {
			delete(f.mu.lent, i)
			back = append(back, l.Loan)
		}
	}
	if also != nil {
		also()
	}
	f.mu.Unlock()
	for _, loan := range back {
		loan.Back()
	}
}

func (l *lent) dropLive(from, to int) {
	switch {
	case from <= l.from && to >= l.to:
		l.from, l.to = 0, 0
	case from <= l.from:
		l.from = max(l.from, to)
	case to >= l.to:
		l.to = min(l.to, from)
	default:
		l.each(from, to, func(b []byte) { clear(b) })
	}
}

// size is where the last byte ends, in memory or in the file.
func (f *spoolFile) size() (int64, error) {
	fi, err := f.disk.Stat()
	if err != nil {
		return 0, err
	}
	size := fi.Size()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range f.mu.lent {
		if l.from < l.to {
			size = max(size, i*f.unit+int64(l.to))
		}
	}
	return size, nil
}

// stretches are those in memory, ascending.
func (f *spoolFile) stretches() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.mu.lent))
}

// settled says that the file has what a stretch in memory had.
func (f *spoolFile) settled(i int64) {
	f.mu.Lock()
	l := f.mu.lent[i]
	delete(f.mu.lent, i)
	f.mu.end = max(f.mu.end, i*f.unit+int64(l.to))
	f.mu.Unlock()
	l.Back()
}

// lengthen makes the file so long, if it is shorter: its last bytes may be a hole that it knows nothing of.
func (f *spoolFile) lengthen(size int64) error {
	fi, err := f.disk.Stat()
	if err != nil || fi.Size() >= size {
		return err
	}
	return f.disk.Truncate(size)
}

func (f *spoolFile) close() error {
	f.drop(0, math.MaxInt64, nil)
	return f.disk.Close()
}

// Pass says that what is appended from an offset on will be given away soon (Release), so that it may stay in lent memory
// (BorrowFrom) and never be in the file; math.MaxInt64 takes it back. What is to outlive the process is in the file all
// the same, from Keep on.
func (s *Spool) Pass(from int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.pass = from
}

// HasLent says whether bytes of the spool are in lent memory.
func (s *Spool) HasLent() bool {
	s.mu.Lock()
	f := s.mu.f
	s.mu.Unlock()
	return f != nil && f.hasLent()
}

// passes says whether a write at off is an append of what will be given away soon.
func (s *Spool) passes(off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return off >= s.mu.pass && off == s.mu.size
}

// settle writes what is in memory into the file, each block checked.
func (s *Spool) settle() error {
	span := &blockSpan{first: 0, last: lastBlock, write: true}
	f, err := s.hold("sync", span)
	if err != nil {
		return err
	}
	defer s.let(span)
	buf := s.j.blocks.Get().(*[checkBytes]byte)
	defer s.j.blocks.Put(buf)
	size, err := s.length()
	if err != nil {
		return err
	}
	for _, i := range f.stretches() {
		first := i * f.unit / checkBytes
		last := ((i+1)*f.unit - 1) / checkBytes
		checks, _ := s.sumsOf(first, last)
		for b := first; b <= last; b++ {
			n, err := s.readBlock(f, buf, b, checks[b-first])
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			if _, err := f.disk.WriteAt(buf[:n], b*checkBytes); err != nil {
				return err
			}
		}
		f.settled(i)
	}
	return f.lengthen(size)
}

// wholeBlocks is how many whole blocks of n bytes from off on are in the file.
func (f *spoolFile) wholeBlocks(off int64, n int) int {
	_, _, _, same := f.at(off, n)
	return same / checkBytes
}
