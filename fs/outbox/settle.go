package outbox

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"pailfs/s3client"
)

// verdict is what an answer means for an entry.
type verdict int

const (
	done    verdict = iota
	moot            // what the change was about is not there any more: given up
	later           // the store is away, throttles, or nobody knows: again soon
	refused         // it will say the same again unless somebody does something about it: again, but slowly
)

// judge is the verdict on an Op's answer. It is total over s3client's kinds.
func judge(kind Kind, err error) verdict {
	if err == nil {
		return done
	}
	switch s3client.KindOf(err) {
	case s3client.Changed:
		// Of a delete: the check found another version. Of headers: the source is another one. Of a put: Swift has taken a
		// later write of the key instead; as if it had come just after this one.
		if kind != KindHeaders && failedCondition(err) {
			return later
		}
		return moot
	case s3client.NotFound:
		switch kind {
		case KindDelete:
			return done
		case KindHeaders:
			return moot
		}
		return refused // there is no such bucket
	case s3client.Denied, s3client.Invalid, s3client.TooLarge, s3client.Unsupported, s3client.Exists, s3client.NotEmpty:
		return refused
	}
	return later
}

// failedCondition says that the store has answered that a condition of the request does not hold. Only the copy behind new headers
// has one: to a put or a delete, or to the look before it, that answer says nothing of any version. Of a key among many that are
// deleted at once the code tells.
func failedCondition(err error) bool {
	var e *s3client.Error
	return errors.As(err, &e) && (e.Status == http.StatusPreconditionFailed || e.Code == "PreconditionFailed")
}

// ended records what became of a running entry.
func (b *Outbox) ended(ctx context.Context, e *entry, op Op, obj s3client.Object, err error) {
	switch v := judge(op.Kind, err); {
	case v == done:
		b.settle(e, Done{Op: op, Object: obj})
	case v == moot:
		b.logMoot(ctx, &op, err)
		b.settle(e, Done{Op: op, Err: err})
	case b.ctx.Err() != nil:
		b.brokenOff(e)
	default:
		p := pause(e.triesAfter(b), v)
		b.failed(e, err, v, b.now()+p)
		b.o.Log.WarnContext(ctx, "a change of a name is not stored yet", "name", op.Bucket+"/"+op.Key, "change", op.Kind, "err", err,
			"again", p.Round(time.Millisecond))
	}
}

func (b *Outbox) logMoot(ctx context.Context, op *Op, err error) {
	name := op.Bucket + "/" + op.Key
	if op.Kind == KindDelete {
		b.o.Log.WarnContext(ctx, "kept: somebody stored a new version", "name", name, "err", err)
		return
	}
	b.o.Log.WarnContext(ctx, "a change of a name was given up: its object is another one now", "name", name, "change", op.Kind, "err", err)
}

// triesAfter is how often an entry will have failed when it has failed once more.
func (e *entry) triesAfter(b *Outbox) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.fail == nil {
		return 1
	}
	return e.fail.tries + 1
}

// pause is how long an entry waits that has failed so often: doubled each time, and spread by a quarter so that what
// failed at one time does not come back at one time.
func pause(tries int, v verdict) time.Duration {
	first, most := time.Second, time.Minute
	if v == refused {
		first, most = time.Minute, 10*time.Minute
	}
	p := most
	if tries < 16 {
		p = min(first<<(tries-1), most)
	}
	return p - time.Duration(rand.Int64N(int64(p/4)+1))
}

// settle takes a running entry out for good: its note, then who asked for it, then the table, so that the key's next one
// begins after all that.
func (b *Outbox) settle(e *entry, d Done) {
	b.passOn(e, &d)
	if err := b.o.Journal.DropNote(e.seq); err != nil {
		// Doing it again at the next mount is harmless (doc.go).
		b.o.Log.Warn("the note of a settled change stays in the journal", "name", d.Op.Bucket+"/"+d.Op.Key, "err", err)
	}
	b.o.Settled(d)
	b.passOn(e, &d) // to what has come meanwhile
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	told := d.Err
	switch {
	case told == nil:
	case e.earlier && e.kind != isPut:
		told = nil // the version that replaced what it was about may be that run's own
	default:
		told = fmt.Errorf("%w: %w", ErrGivenUp, told)
	}
	b.tellLocked(e, told)
	b.removeLocked(e)
	if d.Err == nil {
		b.shakeLocked(now)
	}
	b.freeLocked(e.id(), now)
}

// freeLocked lets go on what waited for a key's running entry.
func (b *Outbox) freeLocked(k id, now time.Duration) {
	b.grantLocked(k)
	b.placeLocked(b.headLocked(k), now)
	b.kickLocked()
}

// passOn tells the key's next entry which version a change has made: it was accepted for what this one would make, when
// that had no ETag yet.
func (b *Outbox) passOn(e *entry, d *Done) {
	op, obj := &d.Op, &d.Object
	if obj.ETag == "" || !b.hasNext(e) {
		return
	}
	b.turn(e.id())
	b.mu.Lock()
	next := e.next.op()
	b.mu.Unlock()
	blind := next.Kind == KindDelete && next.ETag == ""
	if blind || inherits(op, &next) && next.ETag != obj.ETag {
		if blind { // what has just been made is no newer than that
			next.Time = b.o.Now()
		} else {
			next.ETag = obj.ETag
		}
		if next.Kind == KindHeaders {
			next.Size = op.Size
		}
		data, err := next.encode()
		if err == nil {
			err = b.o.Journal.ReplaceNote(next.Seq, data)
		}
		if err != nil {
			b.o.Log.Warn("the journal does not have the version that a change is about", "name", op.Bucket+"/"+op.Key, "err", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.next.set(next)
	b.endTurnLocked(e.id(), b.now())
}

func (b *Outbox) hasNext(e *entry) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.next != nil
}

// inherits tells whether a change is about the version that the one before it has made. A delete of any version stays one.
func inherits(op, next *Op) bool {
	ours := op.Kind == KindPut || next.ETag == op.ETag
	switch next.Kind {
	case KindHeaders:
		return next.ETag == "" || ours
	case KindDelete:
		return next.ETag != "" && ours
	case KindPut:
		return true // it replaces what has just been made
	}
	return false
}

// failed lets a running entry pause until due. A Drain that waits for it has its answer.
func (b *Outbox) failed(e *entry, err error, v verdict, due time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := e.failing()
	f.tries++
	f.err, f.slow, f.unsure = err, v == refused, f.unsure || v == later
	f.deaf, f.woken = f.woken, false
	if v == later && !f.deaf {
		b.mu.shaken = false
	}
	e.urgent, e.place, e.due = false, aside, due
	b.countLocked(e, b.now())
	for n := e; n != nil; n = n.next {
		b.tellLocked(n, err)
	}
	b.freeLocked(e.id(), b.now())
}

// failedTogether is failed for all deletes of a request; they pause together, to go together again.
func (b *Outbox) failedTogether(ctx context.Context, j job, err error) {
	if b.ctx.Err() != nil && s3client.KindOf(err) == s3client.Canceled {
		for _, e := range j.entries {
			b.brokenOff(e)
		}
		return
	}
	v := judge(KindDelete, err)
	if v == moot {
		v = later // no answer to this call
	}
	p := pause(j.entries[0].triesAfter(b), v)
	due := b.now() + p // the same for all
	for _, e := range j.entries {
		if k := s3client.KindOf(err); k == s3client.Invalid || k == s3client.TooLarge {
			b.alone(e) // one of them may spoil it for the others
		}
		b.failed(e, err, v, due)
	}
	b.o.Log.WarnContext(ctx, "deletes are not stored yet", "name", j.ops[0].Bucket, "names", len(j.entries), "err", err, "again",
		p.Round(time.Millisecond))
}

// alone lets a delete go by itself from now on.
func (b *Outbox) alone(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.failing().alone = true
}

// oneByOne lets all deletes go by themselves from now on, those of a job at once.
func (b *Outbox) oneByOne(j job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.single = true
	now := b.now()
	for _, e := range j.entries {
		e.place, e.due = aside, now
		b.freeLocked(e.id(), now)
	}
}

// checked lets a delete go with others: its object is the one that was meant. It rests once more, for the others that are
// being checked.
func (b *Outbox) checked(e *entry) {
	at := b.o.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	f := e.failing()
	f.checked, f.err = at, nil
	e.place, e.urgent, e.due, e.last = aside, false, now+b.o.Delay, now+b.o.MaxDelay
	b.shakeLocked(now)
	b.freeLocked(e.id(), now)
}

// brokenOff is for an entry whose request Close has ended: it is the next run's.
func (b *Outbox) brokenOff(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.place = aside
	for n := e; n != nil; n = n.next {
		b.tellLocked(n, ErrClosed)
	}
	b.grantLocked(e.id())
}

// shakeLocked ends the pauses of what the store's absence has made wait: it has just answered. What was woken in this way
// and has failed again takes its time.
func (b *Outbox) shakeLocked(now time.Duration) {
	if b.mu.shaken {
		return
	}
	b.mu.shaken = true
	for _, e := range b.mu.rests {
		if f := e.fail; f != nil && f.err != nil && !f.slow && !f.deaf && e.due > now {
			f.woken, e.due = true, now
		}
	}
	heap.Init(&b.mu.rests)
	b.kickLocked()
}
