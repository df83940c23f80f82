package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// ledger is the log: a list of segments, oldest first, of which the last takes new entries, and what is alive in them.
//
// An entry is alive while it says something that no later one has replaced: the latest keep and amend of a spool, the
// latest text of a note. Segments go only from the front, so that a drop never goes before what it drops; what is alive
// in the first one is written again at the end when it keeps too much that is dead (trim.go).
//
// mu is held across the write(2) of an entry, since the order in the file is the order of the calls, and never across a
// sync. Entries of durability are claimed by syncTo alone (commit.go).
type ledger struct {
	dir          string
	segmentBytes int64
	// What a disk does that fails; tests put their own here.
	writeAt  func(f *os.File, b []byte, off int64) (int, error)
	syncFile func(f *os.File) error
	syncDir  func(dir string) error
	fill     func(f *os.File, b []byte, off int64) (int, error) // zeros ahead of the entries (ahead.go)

	kick  chan struct{} // something was appended: sync it within a second
	hurry chan struct{} // there is space to give back: do not wait that second

	mu struct {
		sync.Mutex
		segs    []*segment
		cur     *segment // the last of segs; nil: the next entry begins a new one
		number  uint64   // of the latest segment
		end     uint64   // position behind the last entry
		need    uint64   // position behind the last entry that is not a mark
		durable uint64   // everything before is on the disk
		suspect bool     // a sync has failed: what lies behind durable has to be written again
		dirty   []*segment
		dirtied bool // names in dir changed since the last sync
		commit  *commit
		closed  bool

		records map[string]*kept
		notes   map[uint64]*note
		gone    []tombstone // since durable
		doomed  []doomed
		seq     uint64 // of the latest note
		buf     []byte // of the latest entry, to be used again
		syncs   uint64
		entries uint64
	}
}

// segment is one file. Its fields are the ledger's mu's; f may be read and synced without it. Reads of a segment that is
// given back meanwhile give os.ErrClosed.
type segment struct {
	f      *os.File
	h      header
	end    int64 // behind the last entry
	alloc  int64 // of which the file system has promised space; without such promises the most it may grow to
	ready  int64 // up to here every block was written once (ahead.go)
	live   int64
	pinned bool // damaged, and no copy of it could be made
	// settled is the position up to which the log has to be durable before the segment may go: behind its last entry, and
	// behind the last one that replaced or dropped something in it.
	settled uint64
}

func (s *segment) endPos() uint64 { return s.h.base + uint64(s.end-headerBytes) }

// place is where an entry lies.
type place struct {
	seg *segment
	off int64
	n   int64 // of the body
}

func (p place) pos() uint64 { return p.seg.h.base + uint64(p.off-headerBytes) }

// kept is a spool with a record.
type kept struct {
	keep, amend place  // amend.seg nil: the record in keep is the latest
	newest      uint64 // position of the latest entry that speaks of it
	inline      bool
	loose       bool // its file was changed after keep
	size        int64
}

type note struct {
	place
	kind string
}

// tombstone is a drop that is not durable yet.
type tombstone struct {
	pos   uint64
	entry entry
}

// doomed is a spool's file that goes once the drop of its record is durable: a record without its bytes is damage.
type doomed struct {
	pos  uint64
	path string
}

const (
	defaultSegment = 32 << 20
	// dropReserve at the end of what is allocated is for drops, which on a full disk are what makes room.
	dropReserve = 64 << 10
)

func newLedger(dir string, segmentBytes int64) *ledger {
	l := &ledger{dir: dir, segmentBytes: segmentBytes, kick: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	l.writeAt = func(f *os.File, b []byte, off int64) (int, error) { return f.WriteAt(b, off) }
	l.fill = func(f *os.File, b []byte, off int64) (int, error) { return f.WriteAt(b, off) }
	l.syncFile = fdatasync
	l.syncDir = syncDir
	l.mu.records, l.mu.notes = make(map[string]*kept), make(map[uint64]*note)
	return l
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// appendLocked writes an entry at the end. After an error the log is as it was: what was written of the entry is
// overwritten by the next one and is not one itself.
func (l *ledger) appendLocked(e entry) (place, error) {
	if l.mu.closed {
		return place{}, os.ErrClosed
	}
	buf, n := e.encode(l.mu.buf)
	if cap(buf) <= 2*inlineBytes {
		l.mu.buf = buf // who writes ten thousand small files makes no garbage of as many entries
	}
	if n > maxBody {
		return place{}, fmt.Errorf("entry of %d bytes: %w", n, unix.EFBIG)
	}
	if err := l.makeRoomLocked(int64(len(buf)), e.kind == kindDrop || e.kind == kindNoteDrop); err != nil {
		return place{}, err
	}
	s := l.mu.cur
	p := place{s, s.end, int64(n)}
	seal(buf, n, s.h.salt, p.pos(), l.mu.durable)
	if _, err := l.writeAt(s.f, buf, s.end); err != nil {
		return place{}, err
	}
	s.end += int64(len(buf))
	l.fillLocked(s, int64(len(buf)))
	l.mu.end = s.endPos()
	if e.kind == kindMark {
		return p, nil
	}
	l.mu.need, s.settled = l.mu.end, l.mu.end
	l.mu.entries++
	l.dirtyLocked(s)
	wake(l.kick)
	return p, nil
}

func (l *ledger) dirtyLocked(s *segment) {
	if n := len(l.mu.dirty); n == 0 || l.mu.dirty[n-1] != s {
		l.mu.dirty = append(l.mu.dirty, s)
	}
}

// makeRoomLocked sees to it that the current segment has room for n bytes.
func (l *ledger) makeRoomLocked(n int64, drop bool) error {
	reserve := int64(dropReserve)
	if drop {
		reserve = 0
	}
	s := l.mu.cur
	if s == nil || s.end+n > l.segmentBytes && !(drop && s.end+n <= s.alloc) {
		return l.beginSegmentLocked(n)
	}
	if s.end+n+reserve <= s.alloc {
		return nil
	}
	return s.allocate(s.end+n+dropReserve, l.segmentBytes)
}

const (
	// shareOfFree: what is allocated ahead for the log is missing to the spools. Of what is free it takes this part at a time.
	shareOfFree = 16
	leastShare  = 256 << 10
)

// ahead is how far to allocate for a segment, at most so far.
func (s *segment) ahead(most int64) int64 {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Fstatfs(int(s.f.Fd()), &st) }); err != nil {
		return most // the allocation itself finds out
	}
	return min(most, s.end+max(int64(st.Bavail)*st.Bsize/shareOfFree, leastShare))
}

// allocate asks for space up to most, or for less down to least where the disk is small or nearly full.
func (s *segment) allocate(least, most int64) error {
	most = max(least, s.ahead(most))
	for want := most; ; want = max(least, s.end+(want-s.end)/4) {
		err := retryEINTR(func() error { return unix.Fallocate(int(s.f.Fd()), 0, 0, want) })
		switch {
		case err == nil:
			s.alloc = want
			return nil
		case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS): // no promises here
			s.alloc = most + dropReserve
			return nil
		case want == least:
			return &os.PathError{Op: "allocate", Path: s.f.Name(), Err: err}
		}
	}
}

// beginSegmentLocked makes the segment that takes the next entry, of n bytes.
func (l *ledger) beginSegmentLocked(n int64) error {
	h := header{number: l.mu.number + 1, base: l.mu.end, suspect: l.mu.end, durable: l.mu.durable, salt: rand.Uint64()}
	if l.mu.suspect {
		h.suspect = l.mu.durable
	}
	path := filepath.Join(l.dir, segmentName(h.number))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	s := &segment{f: f, h: h, end: headerBytes, settled: h.base + 1} // + 1: not before it was synced itself
	err = s.allocate(headerBytes+n+dropReserve, l.segmentBytes)
	if err == nil {
		_, err = l.writeAt(f, h.encode(), 0)
	}
	if err != nil {
		return errors.Join(err, f.Close(), removeFile(path))
	}
	l.mu.number++
	l.endSegmentLocked()
	l.mu.cur = s
	l.mu.segs = append(l.mu.segs, s)
	l.mu.dirtied = true
	l.dirtyLocked(s)
	return nil
}

// endSegmentLocked gives back what was allocated ahead; the next entry goes elsewhere. Where that fails nothing is lost
// but space.
func (l *ledger) endSegmentLocked() {
	if s := l.mu.cur; s != nil && s.f.Truncate(s.end) == nil {
		s.alloc = s.end
	}
	l.mu.cur = nil
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x", number) }

// read reads an entry back. os.ErrClosed: it lies elsewhere by now, or was dropped.
func (p place) read() (entry, error) {
	buf := make([]byte, frameBytes+p.n)
	if _, err := p.seg.f.ReadAt(buf, p.off); err != nil {
		return entry{}, err
	}
	frame, body := buf[:frameBytes], buf[frameBytes:]
	if little.Uint32(frame[16:]) != frameSum(frame, p.seg.h.salt, p.pos()) || little.Uint32(frame[4:]) != crc(body) {
		return entry{}, fmt.Errorf("%w: %s at %d", ErrDamaged, p.seg.f.Name(), p.off)
	}
	return decodeEntry(body)
}

func (p place) live() { p.seg.live += entryBytes(p.n) }

// dead records that the entry that ends at pos replaced or dropped the one at p.
func (p place) dead(pos uint64) {
	if p.seg != nil {
		p.seg.live -= entryBytes(p.n)
		p.seg.settled = max(p.seg.settled, pos)
	}
}

// applyLocked makes what is alive agree with an entry that was appended at p, or found there by replay.
func (l *ledger) applyLocked(e entry, p place) {
	end := p.pos() + uint64(entryBytes(p.n))
	switch e.kind {
	case kindKeep:
		if old := l.mu.records[e.id]; old != nil {
			old.keep.dead(end)
			old.amend.dead(end)
		}
		l.mu.records[e.id] = &kept{keep: p, newest: p.pos(), inline: e.inline, loose: !e.inline && e.checks == nil,
			size: e.size}
		p.live()
	case kindAmend:
		if r := l.mu.records[e.id]; r != nil {
			r.amend.dead(end)
			r.amend, r.newest = p, p.pos()
			p.live()
		}
	case kindLoose:
		if r := l.mu.records[e.id]; r != nil {
			r.loose, r.newest = true, p.pos()
		}
	case kindDrop:
		if r := l.mu.records[e.id]; r != nil {
			r.keep.dead(end)
			r.amend.dead(end)
			delete(l.mu.records, e.id)
		}
	case kindNote:
		if old := l.mu.notes[e.seq]; old != nil {
			old.dead(end)
		}
		l.mu.notes[e.seq] = &note{p, e.noteKind}
		p.live()
		l.mu.seq = max(l.mu.seq, e.seq)
	case kindNoteDrop:
		if old := l.mu.notes[e.seq]; old != nil {
			old.dead(end)
			delete(l.mu.notes, e.seq)
		}
	}
}

// addLocked appends an entry and applies it; the position is what syncTo wants.
func (l *ledger) addLocked(e entry) (end uint64, err error) {
	p, err := l.appendLocked(e)
	if err != nil {
		return 0, err
	}
	l.applyLocked(e, p)
	if e.kind == kindDrop || e.kind == kindNoteDrop {
		l.mu.gone = append(l.mu.gone, tombstone{p.pos(), e})
		if len(l.mu.segs) > 1 && l.mu.segs[0].live == 0 || l.wastefulLocked() {
			wake(l.hurry)
		}
	}
	return l.mu.end, nil
}

func (l *ledger) add(e entry) (end uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addLocked(e)
}

// addTo appends an entry that speaks of a kept spool; known false: there is no such record, and nothing was done.
func (l *ledger) addTo(e entry) (end uint64, known bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.records[e.id] == nil {
		return 0, false, nil
	}
	end, err = l.addLocked(e)
	return end, true, err
}

// readKeep reads the latest keep of a spool, with the latest record; loose ones come without checks.
func (l *ledger) readKeep(id string) (entry, error) {
	for {
		r, ok := l.record(id)
		if !ok {
			return entry{}, fmt.Errorf("record of spool %s: %w", id, os.ErrNotExist)
		}
		e, err := r.read()
		if now, _ := l.record(id); errors.Is(err, os.ErrClosed) && now != r {
			continue
		}
		return e, err
	}
}

func (l *ledger) record(id string) (kept, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.mu.records[id]; r != nil {
		return *r, true
	}
	return kept{}, false
}

// read puts the keep entry together that says all there is to say of a record.
func (r kept) read() (entry, error) {
	e, err := r.keep.read()
	if err != nil {
		return entry{}, err
	}
	if r.amend.seg != nil {
		amend, err := r.amend.read()
		if err != nil {
			return entry{}, err
		}
		e.record = amend.record
	}
	if r.loose {
		e.checks = nil
	}
	return e, nil
}

func fdatasync(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = retryEINTR(func() error { return unix.Fdatasync(int(fd)) })
	}); err != nil {
		return os.ErrClosed
	}
	if failed != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: failed}
	}
	return nil
}
