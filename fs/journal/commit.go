package journal

import "fmt"

// commit is one run of syncs that many wait for.
type commit struct {
	done   chan struct{} // closed when err stands
	target uint64        // what it makes durable
	err    error
}

// syncTo returns when the log is on the disk up to a position. Of those who come while a commit runs, the first leads the
// next one, for all whose entries were appended by then.
//
// Linux reports a failed sync once and then forgets it. After one, nothing behind durable may be trusted: its waiters
// get the error, and the next commit first writes all of it that is alive again, to a new segment.
func (l *ledger) syncTo(pos uint64) error {
	for {
		c, leads := l.joinCommit(pos)
		switch {
		case c == nil:
			return nil
		case leads:
			l.runCommit(c)
		default:
			<-c.done
		}
		if c.target >= pos || c.target == 0 { // 0: it could not even begin
			return c.err
		}
	}
}

func (l *ledger) joinCommit(pos uint64) (c *commit, leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.durable >= pos {
		return nil, false
	}
	if l.mu.commit != nil {
		return l.mu.commit, false
	}
	l.mu.commit = &commit{done: make(chan struct{})}
	return l.mu.commit, true
}

func (l *ledger) runCommit(c *commit) {
	defer close(c.done)
	segs, names, err := l.beginCommit(c)
	if err == nil {
		err = l.syncAll(segs, names)
	}
	l.endCommit(c, names, err)
}

// beginCommit fixes what the commit covers.
func (l *ledger) beginCommit(c *commit) (segs []*segment, names bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.suspect {
		if err := l.rewriteLocked(); err != nil {
			return nil, false, fmt.Errorf("write again what could not be synced: %w", err)
		}
	}
	c.target = l.mu.end
	segs, names = l.mu.dirty, l.mu.dirtied
	l.mu.dirty, l.mu.dirtied = nil, false
	return segs, names, nil
}

func (l *ledger) syncAll(segs []*segment, names bool) error {
	for _, s := range segs {
		l.countSync()
		if err := l.syncFile(s.f); err != nil {
			return err
		}
	}
	if !names {
		return nil
	}
	return l.syncDir(l.dir)
}

func (l *ledger) countSync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.syncs++
}

func (l *ledger) endCommit(c *commit, names bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.commit = nil
	c.err = err
	if err != nil {
		l.mu.suspect = true
		l.mu.dirtied = l.mu.dirtied || names
		return
	}
	l.mu.durable = max(l.mu.durable, c.target)
	for len(l.mu.gone) > 0 && l.mu.gone[0].pos < l.mu.durable {
		l.mu.gone = l.mu.gone[1:]
	}
}

// rewriteLocked begins a new segment with everything alive behind durable. The suspect flag is off afterwards and comes
// back if this cannot be synced either.
func (l *ledger) rewriteLocked() error {
	l.endSegmentLocked()
	l.mu.dirty = nil
	if err := l.beginSegmentLocked(0); err != nil {
		return err
	}
	for _, t := range l.mu.gone {
		if _, err := l.appendLocked(t.entry); err != nil {
			return err
		}
	}
	for id, r := range l.mu.records {
		if r.newest < l.mu.durable {
			continue
		}
		if err := l.carryRecordLocked(id, r); err != nil {
			return err
		}
	}
	for seq, n := range l.mu.notes {
		if n.pos() < l.mu.durable {
			continue
		}
		if err := l.carryNoteLocked(seq, n); err != nil {
			return err
		}
	}
	l.mu.suspect = false
	return nil
}
