package journal

import (
	"fmt"
	"os"
)

// inlineBytes is the most that stands in the log itself, and that a spool has in memory: one write and a share of one
// sync instead of a file and a sync of its own.
const inlineBytes = 256 << 10

// Keep makes a spool outlive this process: when it returns nil, record and bytes are durable. Keeping a spool again
// replaces both. The spool may be read meanwhile, and must not be written until Keep returns. Calls that run at once
// share a sync.
func (j *Journal) Keep(s *Spool, p Pending) error {
	end, err := j.keep(s, p)
	if err == nil {
		err = j.log.syncTo(end)
	}
	if err != nil {
		return fmt.Errorf("keep %s/%s in the journal: %w", p.Bucket, p.Key, err)
	}
	return nil
}

func (j *Journal) keep(s *Spool, p Pending) (end uint64, err error) {
	record, err := s.recordOf(p)
	if err != nil {
		return 0, err
	}
	if s.isSettled() {
		end, known, err := j.log.addTo(entry{kind: kindAmend, id: s.id, record: record})
		if known || err != nil {
			return end, err
		}
	}
	changes := s.changes()
	e, err := s.keepEntry()
	if err != nil {
		return 0, err
	}
	e.record = record
	s.setKept() // before it is appended: a record that may be there is one that Discard has to drop
	if end, err = j.log.add(e); err != nil {
		return 0, err
	}
	s.setSettled(e, changes)
	return end, j.old.replaced(s.id, func() error { return j.log.syncTo(end) })
}

// Amend gives a kept spool another record; the bytes that it speaks of have not changed since Keep. It is appended, not waited
// for. Where they have changed, or the log has no record of it, it is a Keep that does not wait for the log. Bytes behind them
// may be written meanwhile: they are the next Keep's.
func (j *Journal) Amend(s *Spool, p Pending) error {
	if err := j.amend(s, p); err != nil {
		return fmt.Errorf("amend the record of %s/%s in the journal: %w", p.Bucket, p.Key, err)
	}
	return nil
}

func (j *Journal) amend(s *Spool, p Pending) error {
	if s.isBound(p.dirtyEnd()) {
		record, err := s.recordOf(p)
		if err != nil {
			return err
		}
		_, known, err := j.log.addTo(entry{kind: kindAmend, id: s.id, record: record})
		if known || err != nil {
			return err
		}
	}
	_, err := j.keep(s, p)
	return err
}

// recordOf checks a record against the spool.
func (s *Spool) recordOf(p Pending) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	size, err := s.length()
	if err != nil {
		return nil, err
	}
	if size < p.dirtyEnd() {
		return nil, fmt.Errorf("spool ends at %d, dirty bytes at %d", size, p.dirtyEnd())
	}
	return encodePending(p)
}

// keepEntry makes the entry of the spool's bytes: with small ones in it; larger ones are made durable in their file.
func (s *Spool) keepEntry() (entry, error) {
	e := entry{kind: kindKeep, id: s.id}
	data, size, small, err := s.small()
	if err != nil {
		return e, err
	}
	if small {
		e.size, e.inline, e.data = size, true, data
		return e, nil
	}
	e.checks, e.size, err = s.syncFile()
	return e, err
}

// Sync returns when everything appended before the call is durable: at once, when it is already.
func (j *Journal) Sync() error {
	if err := j.log.sync(); err != nil {
		return fmt.Errorf("sync the journal: %w", err)
	}
	return nil
}

// drop forgets a record. The spool's file goes after it.
func (j *Journal) drop(id string) error { return j.dropWith(id, j.spoolPath(id)) }

// dropWith is drop of a record whose spool has a file, or never had one: "".
func (j *Journal) dropWith(id, path string) error {
	if err := j.old.remove(id); err != nil {
		return fmt.Errorf("drop record: %w", err)
	}
	if err := j.log.dropRecord(id, path); err != nil {
		return fmt.Errorf("drop record: %w", err)
	}
	return nil
}

// Unkeep drops the spool's record, as Discard does; the spool goes on as one that was never kept.
func (s *Spool) Unkeep() error {
	if err := s.leaveLog(); err != nil {
		return fmt.Errorf("unkeep spool %s: %w", s.id, err)
	}
	if err := s.j.old.remove(s.id); err != nil {
		return fmt.Errorf("unkeep spool %s: %w", s.id, err)
	}
	end, known, err := s.j.log.addTo(entry{kind: kindDrop, id: s.id})
	if err != nil {
		return fmt.Errorf("unkeep spool %s: %w", s.id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.kept, s.mu.settled = false, false
	if known {
		s.mu.unkept = end
	}
	return nil
}

// leaveLog gives the spool bytes of its own.
func (s *Spool) leaveLog() error {
	for {
		s.mu.Lock()
		where := s.whereLocked()
		s.mu.Unlock()
		if where != inLog {
			return nil
		}
		if loaded, _, err := s.load(); err != nil {
			return err
		} else if !loaded {
			return s.toFile()
		}
	}
}

// removeAfter removes a file once the log is durable up to a position.
func (l *ledger) removeAfter(end uint64, path string) error {
	if l.doom(end, path) {
		return nil
	}
	return removeFile(path)
}

func (l *ledger) doom(end uint64, path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end <= l.mu.durable || l.mu.closed {
		return end > l.mu.durable
	}
	l.mu.doomed = append(l.mu.doomed, doomed{end - 1, path})
	return true
}

// dropRecord appends the drop and removes the file as soon as that may be: after the drop is durable when the record
// needs the file, otherwise now.
func (l *ledger) dropRecord(id, path string) error {
	last, err := l.appendDrop(id, path)
	if err != nil || last || path == "" {
		return err
	}
	return removeFile(path)
}

func (l *ledger) appendDrop(id, path string) (later bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.mu.records[id]
	if r == nil {
		for _, d := range l.mu.doomed {
			later = later || d.path == path
		}
		return later, nil
	}
	end, err := l.addLocked(entry{kind: kindDrop, id: id})
	if err != nil {
		return true, err
	}
	if path == "" || r.inline && l.mu.durable > r.newest { // an older record of it may need the file until then
		return false, nil
	}
	l.mu.doomed = append(l.mu.doomed, doomed{end - 1, path})
	return true, nil
}

// has says whether there is a record of a spool.
func (j *Journal) has(id string) bool {
	_, ok := j.log.record(id)
	return ok || j.old.has(id)
}

func (j *Journal) spoolPath(id string) string { return j.spools() + string(os.PathSeparator) + id }
