package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	syncAfter  = time.Second      // an entry that nobody waits for is on the disk by then
	retryAfter = 10 * time.Second // a disk that refuses is asked again
)

// tend runs from Open to Close: it syncs what nobody waits for, and gives space back.
func (j *Journal) tend() {
	defer close(j.tended)
	wait, failing := syncAfter, false
	for {
		select {
		case <-j.stop:
			return
		case <-j.log.kick:
		}
		if !j.rest(wait) {
			return
		}
		err := j.log.tidy()
		if err != nil {
			wait = retryAfter
			wake(j.log.kick)
			if !failing {
				j.o.Log.Warn("journal cannot sync its log", "dir", j.o.Dir, "err", err)
			}
		} else {
			wait = syncAfter
		}
		failing = err != nil
	}
}

// rest waits so long, less when there is space to give back; false: the journal closes.
func (j *Journal) rest(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-j.stop:
		return false
	case <-timer.C:
	case <-j.log.hurry:
	}
	return true
}

// sync makes everything durable that was appended so far.
func (l *ledger) sync() error {
	l.mu.Lock()
	need := l.mu.need
	l.mu.Unlock()
	return l.syncTo(need)
}

// tidy syncs, removes the files of what was dropped, and gives back segments.
func (l *ledger) tidy() error {
	if err := l.sync(); err != nil {
		return err
	}
	if err := l.mark(); err != nil {
		return err
	}
	if err := l.removeDoomed(); err != nil {
		return err
	}
	if err := l.compact(); err != nil {
		return err
	}
	return l.trim()
}

// mark writes down how far the log is durable, so that damage to its last entries can be told from a torn tail. It needs
// no sync: without it the tail is merely judged as if it might be torn.
func (l *ledger) mark() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.cur == nil || l.mu.durable != l.mu.end || l.mu.cur.end+64 > l.mu.cur.alloc || l.mu.cur.end+64 > l.segmentBytes {
		return nil
	}
	_, err := l.appendLocked(entry{kind: kindMark})
	return err
}

func (l *ledger) removeDoomed() error {
	var errs []error
	for _, path := range l.takeDoomed() {
		errs = append(errs, removeFile(path))
	}
	return errors.Join(errs...)
}

func (l *ledger) takeDoomed() (paths []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.mu.doomed) > 0 && l.mu.doomed[0].pos < l.mu.durable {
		paths = append(paths, l.mu.doomed[0].path)
		l.mu.doomed = l.mu.doomed[1:]
	}
	return paths
}

// bytesLocked is the log's size on the disk, and how much of it is alive.
func (l *ledger) bytesLocked() (all, live int64) {
	for _, s := range l.mu.segs {
		all += s.end
		live += s.live
	}
	return all, live
}

// wastefulLocked: less than a quarter of more than two segments is alive.
func (l *ledger) wastefulLocked() bool {
	all, live := l.bytesLocked()
	return all > 2*l.segmentBytes && live < all/4
}

// compact writes what is alive in the first segments to the end, until the log is no longer wasteful.
func (l *ledger) compact() error {
	for {
		first := l.firstWasteful()
		if first == nil {
			return nil
		}
		if err := l.empty(first); err != nil {
			return err
		}
		if err := l.trim(); err != nil {
			return err
		}
		if l.first() == first { // others append: another time
			wake(l.kick)
			return nil
		}
	}
}

func (l *ledger) first() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.segs) == 0 {
		return nil
	}
	return l.mu.segs[0]
}

func (l *ledger) firstWasteful() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.segs) < 2 || !l.wastefulLocked() || l.mu.segs[0].pinned {
		return nil
	}
	return l.mu.segs[0]
}

// empty carries everything alive in a segment to the end of the log and makes that durable. One entry at a time: others
// append between them.
func (l *ledger) empty(s *segment) error {
	ids, seqs := l.inhabitants(s)
	for _, id := range ids {
		if err := l.carryFrom(s, func() error { return l.carryRecordInLocked(s, id) }); err != nil {
			return err
		}
	}
	for _, seq := range seqs {
		if err := l.carryFrom(s, func() error { return l.carryNoteInLocked(s, seq) }); err != nil {
			return err
		}
	}
	return l.sync()
}

func (l *ledger) carryFrom(s *segment, carry func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.cur == s {
		l.endSegmentLocked()
	}
	return carry()
}

func (l *ledger) inhabitants(s *segment) (ids []string, seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, r := range l.mu.records {
		if r.keep.seg == s || r.amend.seg == s {
			ids = append(ids, id)
		}
	}
	for seq, n := range l.mu.notes {
		if n.seg == s {
			seqs = append(seqs, seq)
		}
	}
	return ids, seqs
}

func (l *ledger) carryRecordInLocked(s *segment, id string) error {
	if r := l.mu.records[id]; r != nil && (r.keep.seg == s || r.amend.seg == s) {
		return l.carryRecordLocked(id, r)
	}
	return nil // dropped or replaced meanwhile
}

func (l *ledger) carryNoteInLocked(s *segment, seq uint64) error {
	if n := l.mu.notes[seq]; n != nil && n.seg == s {
		return l.carryNoteLocked(seq, n)
	}
	return nil
}

func (l *ledger) carryRecordLocked(id string, r *kept) error {
	e, err := r.read()
	if err != nil {
		return fmt.Errorf("carry record of spool %s: %w", id, err)
	}
	_, err = l.addLocked(e)
	return err
}

func (l *ledger) carryNoteLocked(seq uint64, n *note) error {
	e, err := n.read()
	if err != nil {
		return fmt.Errorf("carry note %d: %w", seq, err)
	}
	_, err = l.addLocked(e)
	return err
}

// trim removes the segments at the front that hold nothing alive, once all that ended the life in them is durable. The
// last one goes too when it is of some size.
func (l *ledger) trim() error {
	for {
		s := l.takeDead()
		if s == nil {
			return nil
		}
		path := filepath.Join(l.dir, segmentName(s.h.number))
		if err := errors.Join(removeFile(path), s.f.Close()); err != nil {
			return err
		}
		// The next one may hold the drops of what was in this one: it must not go before.
		if err := l.syncDir(l.dir); err != nil {
			return err
		}
	}
}

func (l *ledger) takeDead() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.segs) == 0 {
		return nil
	}
	s := l.mu.segs[0]
	if s.live > 0 || s.pinned || s.settled > l.mu.durable {
		return nil
	}
	if s == l.mu.cur {
		if s.end < l.segmentBytes/8 {
			return nil
		}
		l.mu.cur = nil
	}
	l.mu.segs = l.mu.segs[1:]
	return s
}

// close ends the log: what was appended is synced as well as the disk allows, and what nobody needs is given back.
func (l *ledger) close() error {
	errs := []error{l.sync()}
	if errs[0] == nil {
		errs = append(errs, l.mark(), l.removeDoomed(), l.trim())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = true
	l.endSegmentLocked()
	for _, s := range l.mu.segs {
		if err := s.f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// abandon closes the files of a log that could not be read.
func (l *ledger) abandon() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.closed = true
	var errs []error
	for _, s := range l.mu.segs {
		errs = append(errs, s.f.Close())
	}
	return errors.Join(errs...)
}
