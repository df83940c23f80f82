package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// hold keeps a key's entries from beginning.
//
//	asked for -> granted (none of the key runs, nobody has its turn) -> over
type hold struct {
	granted chan struct{}
	over    chan struct{}
	given   bool
	last    *entry // of the key when it was granted: this and those before it may be dropped
}

// Hold waits for a request on a key that is on its way, and keeps others from beginning until done is called. done(true)
// says that the key's object was stored by the caller: the entries that were there when Hold returned are dropped, since
// what they would have done has been overtaken; Settled is not told of them. Entries that came during the Hold stay, and
// are about what was stored, whichever version they named.
// done(false) drops nothing. A second Hold of a key waits for the first; calls of done after the first do nothing.
func (b *Outbox) Hold(ctx context.Context, bucket, key string) (done func(stored bool), err error) {
	k := id{bucket, key}
	h, err := b.enter(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("hold %s/%s: %w", bucket, key, err)
	}
	select {
	case <-h.granted:
	case <-ctx.Done():
		b.leave(k, h)
		return nil, fmt.Errorf("hold %s/%s: a change of it is on its way: %w", bucket, key, ctx.Err())
	}
	var once sync.Once
	return func(stored bool) {
		once.Do(func() {
			if stored {
				b.overtaken(k, h)
			}
			b.leave(k, h)
		})
	}, nil
}

// enter asks for a key when nobody else holds it.
func (b *Outbox) enter(ctx context.Context, k id) (*hold, error) {
	for {
		h, wait := b.tryEnter(k)
		if wait == nil {
			return h, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *Outbox) tryEnter(k id) (mine *hold, wait <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.mu.holds[k]; h != nil {
		return nil, h.over
	}
	h := &hold{granted: make(chan struct{}), over: make(chan struct{})}
	b.mu.holds[k] = h
	b.grantLocked(k)
	return h, nil
}

// grantLocked gives a key to who has asked for it, if it is free.
func (b *Outbox) grantLocked(k id) {
	h := b.mu.holds[k]
	if h == nil || h.given || b.mu.turns[k] != nil {
		return
	}
	head := b.headLocked(k)
	switch {
	case head == nil:
	case head.place == running:
		return
	default:
		h.last = head.tail()
	}
	h.given = true
	close(h.granted)
}

// leave ends a hold, granted or not.
func (b *Outbox) leave(k id, h *hold) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mu.holds, k)
	close(h.over)
	b.placeLocked(b.headLocked(k), b.now())
	b.kickLocked()
}

// overtaken drops what a hold's key had when it was granted.
func (b *Outbox) overtaken(k id, h *hold) {
	b.turn(k)
	seqs, blind := b.heldSeqs(k, h)
	var errs []error
	for _, seq := range seqs {
		errs = append(errs, b.o.Journal.DropNote(seq))
	}
	if blind { // the next run must not do it to what has been stored
		errs = append(errs, b.o.Journal.Sync())
	}
	if err := errors.Join(errs...); err != nil {
		// If nothing else is stored under the key first, the next mount does what the commit has overtaken.
		b.o.Log.Error("the note of an overtaken change stays in the journal", "name", k.bucket+"/"+k.key, "err", err)
	}
	for _, op := range b.dropHeld(k, h) {
		b.unpin(op)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endTurnLocked(k, b.now())
}

// dropHeld drops what a hold's key had, and gives those of the others that are about a version.
func (b *Outbox) dropHeld(k id, h *hold) (pinned []Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h.last != nil {
		head := b.headLocked(k)
		if head == h.last {
			h.last = nil
		}
		b.tellLocked(head, nil)
		b.removeLocked(head)
	}
	for e := b.headLocked(k); e != nil; e = e.next {
		if e.kind != isHeaders || e.etag != "" {
			pinned = append(pinned, e.op())
		}
	}
	return pinned
}

// unpin makes a change that came during a Hold one of the version that the holder has stored: it was accepted while this
// mount's file had the name, under the ETag of the version before. The caller has the key's turn.
func (b *Outbox) unpin(op Op) {
	op.ETag = ""
	switch op.Kind {
	case KindPut:
		op.ETag = AnyVersion
	case KindDelete:
		op.Time = b.o.Now() // what has just been stored is no newer than that
	}
	data, err := op.encode()
	if err == nil {
		err = b.o.Journal.ReplaceNote(op.Seq, data)
	}
	if err != nil {
		b.o.Log.Warn("the journal does not have the version that a change is about", "name", op.Bucket+"/"+op.Key, "err", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.headLocked(id{op.Bucket, op.Key}); e != nil; e = e.next {
		if e.seq == op.Seq {
			e.etag = op.ETag
			if op.Kind == KindDelete {
				e.at = op.Time.UnixNano()
			}
		}
	}
}

// heldSeqs are the notes that a hold's end drops; blind: one of them is a deletion of whatever there is.
func (b *Outbox) heldSeqs(k id, h *hold) (seqs []uint64, blind bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.last == nil {
		return nil, false
	}
	for e := b.headLocked(k); ; e = e.next {
		seqs = append(seqs, e.seq)
		blind = blind || e.kind == isDelete && e.etag == ""
		if e == h.last {
			return seqs, blind
		}
	}
}

// turn takes a key's turn. Those who have one work with the local disk at most, so nothing ends the wait.
func (b *Outbox) turn(k id) {
	for {
		b.mu.Lock()
		taken := b.mu.turns[k]
		if taken == nil {
			b.mu.turns[k] = make(chan struct{})
		}
		b.mu.Unlock()
		if taken == nil {
			return
		}
		<-taken
	}
}

// endTurnLocked gives a key's turn back and lets begin what waited for it.
func (b *Outbox) endTurnLocked(k id, now time.Duration) {
	close(b.mu.turns[k])
	delete(b.mu.turns, k)
	b.grantLocked(k)
	b.placeLocked(b.headLocked(k), now)
	b.kickLocked()
}
