package journal

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// blockSpan is a run of blocks of a spool's file that one operation has: a writer alone, readers together. Without it a
// reader would compare a block's new bytes with its old check.
type blockSpan struct {
	first, last int64
	write       bool
}

const lastBlock = 1<<63 - 1

// hold waits until the blocks are free and takes them.
func (s *Spool) hold(op string, span *blockSpan) (*spoolFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.mu.closed && s.conflictLocked(span) {
		s.changed.Wait()
	}
	if s.mu.closed {
		return nil, s.closedError(op)
	}
	s.mu.spans = append(s.mu.spans, span)
	return s.mu.f, nil
}

func (s *Spool) conflictLocked(span *blockSpan) bool {
	for _, other := range s.mu.spans {
		if (other.write || span.write) && other.first <= span.last && span.first <= other.last {
			return true
		}
	}
	return false
}

func (s *Spool) let(span *blockSpan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.mu.spans {
		if other == span {
			last := len(s.mu.spans) - 1
			s.mu.spans[i] = s.mu.spans[last]
			s.mu.spans = s.mu.spans[:last]
			break
		}
	}
	s.changed.Broadcast()
}

// toFile moves the bytes to a file, unless they are in one.
func (s *Spool) toFile() error {
	data, resting, size, begun, err := s.beginMove()
	if !begun || err != nil {
		return err
	}
	if resting {
		var e entry
		e, err = s.j.log.readKeep(s.id)
		data, size = e.data, e.size
	}
	var f *spoolFile
	var checks *sums
	if err == nil {
		f, checks, err = s.j.spill(s.Name(), data, size)
	}
	s.endMove(f, checks, err)
	return err
}

// beginMove keeps writers off; the bytes stay readable.
func (s *Spool) beginMove() (data []byte, resting bool, size int64, begun bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mu.moving {
		s.changed.Wait()
	}
	if s.mu.closed {
		return nil, false, 0, false, s.closedError("write")
	}
	if s.mu.f != nil {
		return nil, false, 0, false, nil
	}
	s.mu.moving, s.mu.filed = true, true
	return s.mu.data, s.mu.resting, s.mu.size, true, nil
}

func (s *Spool) endMove(f *spoolFile, checks *sums, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.moving = false
	s.changed.Broadcast()
	if err != nil {
		return
	}
	s.mu.f, s.mu.sums = f, checks
	s.j.release(int64(cap(s.mu.data)))
	s.mu.data, s.mu.resting = nil, false
}

// spill makes a spool's file.
func (j *Journal) spill(path string, data []byte, size int64) (*spoolFile, *sums, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil && size > int64(len(data)) {
		err = f.Truncate(size)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close(), removeFile(path))
	}
	checks := newSums(false)
	for off := 0; off < len(data); off += checkBytes {
		checks.set(int64(off/checkBytes), sumOf(data[off:min(off+checkBytes, len(data))]))
	}
	return j.newSpoolFile(f, int64(len(data))), checks, nil
}

// sumsOf copies the checks of blocks [first, last], and the file's size.
func (s *Spool) sumsOf(first, last int64) (out []blockSum, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out = make([]blockSum, 0, last-first+1)
	for b := first; b <= last; b++ {
		out = append(out, s.mu.sums.get(b))
	}
	return out, s.mu.size
}

// readFile reads whole blocks at once, and the rest of those that p begins or ends in, since a check is of a whole block.
func (s *Spool) readFile(p []byte, off int64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	span := &blockSpan{first: off / checkBytes, last: (off + int64(len(p)) - 1) / checkBytes}
	f, err := s.hold("read", span)
	if err != nil {
		return 0, err
	}
	defer s.let(span)
	size, err := s.length()
	if err != nil {
		return 0, err
	}
	if off >= size {
		return 0, io.EOF
	}
	if int64(len(p)) <= size-off {
		return s.readBlocks(f, p, off)
	}
	if n, err = s.readBlocks(f, p[:size-off], off); err == nil {
		err = io.EOF
	}
	return n, err
}

// readBlocks fills p, all of which lies within the spool; the caller has the span. Memory is believed, as that of small spools.
func (s *Spool) readBlocks(f *spoolFile, p []byte, off int64) (n int, err error) {
	first := off / checkBytes
	checks, _ := s.sumsOf(first, (off+int64(len(p))-1)/checkBytes)
	for n < len(p) {
		at := off + int64(n)
		if in := f.readLent(p[n:], at); in > 0 {
			n += in
			continue
		}
		block, within := at/checkBytes, at%checkBytes
		if whole := f.wholeBlocks(at, len(p)-n); within == 0 && whole > 0 {
			q := p[n : n+whole*checkBytes]
			if err := s.readWhole(f, q, block, checks[block-first:]); err != nil {
				return n, err
			}
			n += len(q)
			continue
		}
		part, err := s.readPart(f, p[n:], block, within, checks[block-first])
		if err != nil {
			return n, err
		}
		n += part
	}
	return n, nil
}

// Grain is how much a read at off reads of the file at least, at a multiple of that, since checks are of whole blocks; 0
// where the byte is in memory.
func (s *Spool) Grain(off int64) int64 {
	s.mu.Lock()
	f := s.mu.f
	s.mu.Unlock()
	if f == nil || f.isLent(off) {
		return 0
	}
	return checkBytes
}

func (s *Spool) readWhole(f *spoolFile, p []byte, block int64, checks []blockSum) error {
	if _, err := f.readUpTo(p, block*checkBytes); err != nil {
		return err
	}
	for i := 0; i*checkBytes < len(p); i++ {
		if !checks[i].fits(p[i*checkBytes : (i+1)*checkBytes]) {
			return s.damage(block + int64(i))
		}
	}
	return nil
}

func (s *Spool) readPart(f *spoolFile, p []byte, block, within int64, check blockSum) (int, error) {
	buf := s.j.blocks.Get().(*[checkBytes]byte)
	defer s.j.blocks.Put(buf)
	if _, err := s.readBlock(f, buf, block, check); err != nil {
		return 0, err
	}
	return copy(p, buf[within:]), nil
}

// readBlock reads and checks one block; n is how much of it is not a hole at its end.
func (s *Spool) readBlock(f *spoolFile, buf *[checkBytes]byte, block int64, check blockSum) (n int, err error) {
	n, err = f.readUpTo(buf[:], block*checkBytes)
	if err != nil {
		return 0, err
	}
	if !check.fits(buf[:]) {
		return 0, s.damage(block)
	}
	if check.known {
		n = int(check.n)
	}
	return n, nil
}

func (s *Spool) damage(block int64) error {
	return fmt.Errorf("%w: spool %s: bytes %d+%d are not what was written", ErrDamaged, s.Name(), block*checkBytes, checkBytes)
}

// readDisk fills p, with zeros behind the file's end.
func readDisk(f *os.File, p []byte, off int64) (n int, err error) {
	n, err = f.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	clear(p[n:])
	return n, nil
}

// unbind takes the checks out of the log's record before bytes from off on change: were they still there after a crash,
// what is in the file would count as damaged. The same goes for a record that was dropped and not durably yet.
func (s *Spool) unbind(off int64) error {
	s.mu.Lock()
	bound, unkept := off < s.mu.bound, s.mu.unkept
	s.changedLocked()
	s.mu.Unlock()
	if !bound {
		return nil
	}
	end, known, err := s.j.log.addTo(entry{kind: kindLoose, id: s.id})
	if !known {
		end = unkept
	}
	if err == nil {
		err = s.j.log.syncTo(end)
	}
	if err != nil {
		return fmt.Errorf("change kept spool %s: %w", s.Name(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.bound = 0
	return nil
}

func (s *Spool) writeFile(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	span := &blockSpan{first: off / checkBytes, last: (end - 1) / checkBytes, write: true}
	f, err := s.hold("write", span)
	if err != nil {
		return 0, err
	}
	defer s.let(span)
	if err := s.unbind(off); err != nil {
		return 0, err
	}
	after, err := s.sumsAfter(f, p, off, span)
	if err != nil {
		return 0, err
	}
	if s.passes(off) {
		f.borrow(off, end, s.j.borrow)
	}
	if !f.isLent(off) {
		s.allocateAhead(f.disk, off, end)
	}
	n, err := f.writeAt(p, off)
	if err != nil {
		return n, errors.Join(err, s.sumAgain(f, span))
	}
	s.setSums(span.first, after, end)
	return n, nil
}

// sumsAfter computes the checks that the blocks will have once p is written: of what is appended or replaced as a whole
// from p alone, otherwise together with what is read back.
func (s *Spool) sumsAfter(f *spoolFile, p []byte, off int64, span *blockSpan) ([]blockSum, error) {
	checks, size := s.sumsOf(span.first, span.last)
	for i, old := range checks {
		start := (span.first + int64(i)) * checkBytes
		from, to := max(off, start), min(off+int64(len(p)), start+checkBytes)
		part, at := p[from-off:to-off], int(from-start)
		switch {
		case old.known && at >= int(old.n):
			checks[i] = old.extended(at, part)
		case at == 0 && (old.known && len(part) >= int(old.n) || to-start == checkBytes || to >= size):
			checks[i] = sumOf(part)
		default:
			sum, err := s.sumMixed(f, span.first+int64(i), old, func(b *[checkBytes]byte, n int) int {
				copy(b[at:], part)
				return max(n, at+len(part))
			})
			if err != nil {
				return nil, err
			}
			checks[i] = sum
		}
	}
	return checks, nil
}

// sumMixed reads a block back, has it changed in memory, and gives the check of that; change returns its new length.
func (s *Spool) sumMixed(f *spoolFile, block int64, old blockSum, change func(b *[checkBytes]byte, n int) int) (blockSum, error) {
	buf := s.j.blocks.Get().(*[checkBytes]byte)
	defer s.j.blocks.Put(buf)
	n, err := s.readBlock(f, buf, block, old)
	if err != nil {
		return blockSum{}, err
	}
	return sumOf(buf[:change(buf, n)]), nil
}

// sumAgain computes checks from the file, after a change of it that ended half-way.
func (s *Spool) sumAgain(f *spoolFile, span *blockSpan) error {
	size, err := f.size()
	if err != nil {
		return err
	}
	var after []blockSum
	for b := span.first; b <= min(span.last, size/checkBytes); b++ {
		sum, err := s.sumMixed(f, b, blockSum{}, func(_ *[checkBytes]byte, n int) int { return n })
		if err != nil {
			return err
		}
		after = append(after, sum)
	}
	s.setSums(span.first, after, size)
	return nil
}

// setSums records checks, and that the file reaches to end at least.
func (s *Spool) setSums(first int64, after []blockSum, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, sum := range after {
		s.mu.sums.set(first+int64(i), sum)
	}
	s.mu.size = max(s.mu.size, end)
}

func (s *Spool) truncateFile(size int64) error {
	span := &blockSpan{first: 0, last: lastBlock, write: true}
	f, err := s.hold("truncate", span)
	if err != nil {
		return err
	}
	defer s.let(span)
	if err := s.unbind(size); err != nil {
		return err
	}
	block, within := size/checkBytes, int(size%checkBytes)
	checks, old := s.sumsOf(block, block)
	sum := checks[0]
	if size < old && (!sum.known || int(sum.n) > within) {
		sum, err = s.sumMixed(f, block, sum, func(_ *[checkBytes]byte, n int) int { return min(n, within) })
		if err != nil {
			return err
		}
	}
	if err := f.truncate(size); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.size = size
	if size < old {
		s.mu.sums.set(block, sum)
		s.mu.sums.holes(block+1, lastBlock/checkBytes)
	}
	return nil
}

// syncFile makes the file durable and gives its checks, nil where some are not known, and its size. Both are of one moment, and
// what is written behind that size meanwhile is not in them.
func (s *Spool) syncFile() (checks []byte, size int64, err error) {
	s.mu.Lock()
	f, named, closed := s.mu.f, s.mu.named, s.mu.closed
	if size = s.mu.size; !closed && !s.mu.sums.loose {
		checks = s.mu.sums.encode()
	}
	s.mu.Unlock()
	if closed {
		return nil, 0, s.closedError("sync")
	}
	if f.hasLent() {
		if err := s.settle(); err != nil {
			return nil, 0, err
		}
	}
	if err := s.j.syncSpool(f.disk); err != nil {
		return nil, 0, err
	}
	if !named {
		if err := syncDir(s.j.spools()); err != nil {
			return nil, 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.named = true
	return checks, size, nil
}

// fileBytes is how much of the spool's file is in use, roughly.
func (s *Spool) fileBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.f == nil:
		return 0
	case s.mu.sums.loose:
		return s.mu.size
	}
	return min(s.mu.size, s.mu.sums.count()*checkBytes)
}

// syncSpool makes a spool's file durable.
func (j *Journal) syncSpool(f *os.File) error {
	if sync := j.o.Hooks.SyncSpool; sync != nil {
		return sync(f)
	}
	return fdatasync(f)
}
