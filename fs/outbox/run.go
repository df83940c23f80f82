package outbox

import (
	"container/heap"
	"time"
)

// never is a wait that only a kick ends.
const never = time.Duration(1<<63 - 1)

func (b *Outbox) kickLocked() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// schedule begins entries when their time has come, until Close.
func (b *Outbox) schedule() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		wait := b.begin()
		timer.Reset(wait)
		select {
		case <-b.kick:
		case <-timer.C:
		case <-b.stop:
			return
		}
	}
}

// begin begins all that may begin now, and says after how long there may be more.
func (b *Outbox) begin() time.Duration {
	for {
		asked, wakes, wait := b.take()
		if asked == nil {
			return wait
		}
		busy := make([]bool, len(asked))
		for i, e := range asked {
			busy[i] = b.o.Busy(e.home.bucket, e.key)
		}
		if job := b.decide(asked, busy, wakes); len(job.entries) > 0 {
			b.work.Go(func() { b.carryOut(job) })
		}
	}
}

// take takes the entries that the next request is for: one, or deletes that go together. wakes is how often Wake had been
// called before Busy is asked about them.
func (b *Outbox) take() (asked []*entry, wakes uint64, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wakes = b.mu.wakes
	for !b.mu.closed && b.mu.running < b.o.Parallel {
		now := b.now()
		if len(b.mu.parked) > 0 && now-b.mu.asked >= b.o.MaxDelay {
			b.askAgainLocked(now)
		}
		home, due := b.firstHomeLocked()
		if first := b.firstRestLocked(); first != nil && (first.due <= due || first.due <= now && b.goesAlongLocked(first)) {
			home, due = nil, first.due
		}
		if len(b.mu.parked) > 0 {
			due = min(due, b.mu.asked+b.o.MaxDelay)
		}
		switch {
		case due > now:
			return nil, wakes, due - now
		case home == nil:
			asked = b.takeOneLocked(now)
		default:
			asked = b.takeTogetherLocked(home, now)
		}
		if len(asked) > 0 {
			return asked, wakes, 0
		}
	}
	return nil, wakes, never
}

// firstHomeLocked is the bucket whose deletes are to go first, and when; never without one.
func (b *Outbox) firstHomeLocked() (first *home, at time.Duration) {
	at = never
	for _, h := range b.mu.homes {
		if due, ok := h.due(b.batch); ok && due < at {
			first, at = h, due
		}
	}
	return first, at
}

func (b *Outbox) firstRestLocked() *entry {
	if len(b.mu.rests) == 0 {
		return nil
	}
	return b.mu.rests[0]
}

// takeOneLocked takes the entry that has rested; nil when it goes elsewhere instead.
func (b *Outbox) takeOneLocked(now time.Duration) []*entry {
	e := heap.Pop(&b.mu.rests).(*entry)
	e.place = aside
	if b.keptLocked(e.id()) || e.afterOthers() {
		return nil // placed again when its key is free, and what is below it gone
	}
	if b.goesAlongLocked(e) {
		b.placeLocked(e, now)
		return nil
	}
	e.place = asking
	return []*entry{e}
}

// takeTogetherLocked takes deletes of a bucket, the oldest first.
func (b *Outbox) takeTogetherLocked(h *home, now time.Duration) (asked []*entry) {
	for h.oldest != nil && len(asked) < b.batch {
		e := h.oldest
		b.liftLocked(e)
		switch {
		case b.keptLocked(e.id()), e.afterOthers():
		case !b.goesAlongLocked(e):
			e.due = now
			b.placeLocked(e, now)
		default:
			e.place = asking
			asked = append(asked, e)
		}
	}
	return asked
}

// keptLocked tells whether nothing of a key may begin.
func (b *Outbox) keptLocked(k id) bool {
	return len(b.mu.holds) > 0 && b.mu.holds[k] != nil || len(b.mu.turns) > 0 && b.mu.turns[k] != nil
}

// decide makes a job of those entries that may begin indeed: the others are Busy, or were changed, held or dropped while
// Busy was asked.
func (b *Outbox) decide(asked []*entry, busy []bool, wakes uint64) job {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var j job
	for i, e := range asked {
		if e.place != asking {
			continue
		}
		e.place = aside
		switch {
		case b.mu.closed || b.keptLocked(e.id()) || e.afterOthers():
		case busy[i] && !e.forced && b.mu.wakes == wakes:
			b.parkLocked(e, now)
		case busy[i] && !e.forced:
			e.due = now
			b.placeLocked(e, now)
		case len(asked) > 1 && !b.goesAlongLocked(e):
			b.placeLocked(e, now)
		default:
			e.place = running
			j.entries, j.ops = append(j.entries, e), append(j.ops, e.op())
		}
	}
	if len(j.entries) == 0 {
		return j
	}
	b.mu.running++
	if e := j.entries[0]; len(j.entries) == 1 {
		j.check = b.needsCheck(e)
		j.checkOnly = j.check && e.kind == isDelete && b.batch > 1 && !b.mu.single && !(e.fail != nil && e.fail.alone)
	}
	return j
}

// parkLocked lets an entry wait until Busy answers differently. A Drain does not wait for it.
func (b *Outbox) parkLocked(e *entry, now time.Duration) {
	if len(b.mu.parked) == 0 {
		b.mu.asked = now
	}
	e.place = parked
	b.mu.parked[e] = struct{}{}
	b.countLocked(e, now)
	for ; e != nil; e = e.next {
		b.tellLocked(e, nil)
	}
}
