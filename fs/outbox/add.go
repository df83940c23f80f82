package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"pailfs/s3client"
)

// Delete deletes an object some time; etag is the version that is meant, "" any. It is durable when Delete returns. seq is
// what Settled will report it under, here and below.
func (b *Outbox) Delete(ctx context.Context, bucket, key, etag string) (seq uint64, err error) {
	return b.add(ctx, Op{Kind: KindDelete, Bucket: bucket, Key: key, ETag: etag}, true)
}

// DeleteAfter is Delete of whatever there is at a time: an upload of this mount that nobody waits for any more may make the
// object until then. Who drains does not wait for that.
func (b *Outbox) DeleteAfter(ctx context.Context, bucket, key string, at time.Time) (seq uint64, err error) {
	return b.add(ctx, Op{Kind: KindDelete, Bucket: bucket, Key: key, After: at}, true)
}

// Put stores a small object some time. It is appended to the journal; the journal's next Sync makes it durable.
func (b *Outbox) Put(ctx context.Context, bucket, key string, h s3client.Headers, body []byte) (seq uint64, err error) {
	return b.add(ctx, Op{Kind: KindPut, Bucket: bucket, Key: key, Headers: h, Body: bytes.Clone(body), Size: int64(len(body))},
		false)
}

// SetHeaders gives a stored object other headers some time; of src it takes Bucket, Key, ETag and Size. It is appended to
// the journal; the journal's next Sync makes it durable.
func (b *Outbox) SetHeaders(ctx context.Context, src s3client.Object, h s3client.Headers) (seq uint64, err error) {
	return b.add(ctx, Op{Kind: KindHeaders, Bucket: src.Bucket, Key: src.Key, ETag: src.ETag, Size: src.Size, Headers: h},
		false)
}

// landing is how long a put without an answer may still be carried out: some stores delay a write for up to a minute.
const landing = time.Minute

func (b *Outbox) add(ctx context.Context, op Op, durable bool) (uint64, error) {
	op.Time = b.o.Now()
	op.Headers.Meta = maps.Clone(op.Headers.Meta) // the caller may go on with its own
	into, err := b.admit(ctx, op)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", &op, err)
	}
	if into == nil {
		op.Seq, err = b.noteNew(&op, durable)
	} else {
		op, err = b.noteMerged(into, op, durable)
	}
	b.admitted(op, into, err)
	if err != nil {
		return 0, fmt.Errorf("note to %s: %w", &op, err)
	}
	return op.Seq, nil
}

// admit takes the key's turn for an Op, and finds the entry that it is merged into, or room for a new one (nil).
func (b *Outbox) admit(ctx context.Context, op Op) (into *entry, err error) {
	k := id{op.Bucket, op.Key}
	for {
		into, wait, err := b.tryAdmit(k, op)
		if err != nil || wait == nil {
			return into, err
		}
		select {
		case <-wait:
		case <-b.stop:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *Outbox) tryAdmit(k id, op Op) (into *entry, wait <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return nil, nil, ErrClosed
	}
	if turn := b.mu.turns[k]; turn != nil {
		return nil, turn, nil
	}
	into = b.mergeableLocked(k, op)
	switch {
	case into != nil:
	case b.mu.count >= b.o.MaxPending:
		if b.mu.room == nil {
			b.mu.room = make(chan struct{})
		}
		return nil, b.mu.room, nil
	default:
		b.mu.count++
	}
	b.mu.turns[k] = make(chan struct{})
	return into, nil, nil
}

// mergeableLocked is the entry that an Op can be merged into, nil when there is none.
func (b *Outbox) mergeableLocked(k id, op Op) *entry {
	head := b.headLocked(k)
	if head == nil {
		return nil
	}
	last := head.tail()
	if last.place == running {
		return nil
	}
	if h := b.mu.holds[k]; h != nil && h.last == last {
		return nil // what the holder may drop must not take in what is newer
	}
	if last.kind == isHeaders && op.Kind != KindPut && last.begun() {
		return nil // the store may have made another version, which only these headers tell
	}
	if _, ok := merge(last.op(), op); !ok {
		return nil
	}
	return last
}

// noteNew notes an Op; after an error there is no note of it.
func (b *Outbox) noteNew(op *Op, durable bool) (uint64, error) {
	data, err := op.encode()
	if err != nil {
		return 0, err
	}
	seq, err := b.o.Journal.AddNote(NoteKind, data)
	if err != nil || !durable {
		return seq, err
	}
	if err := b.o.Journal.Sync(); err != nil {
		return 0, errors.Join(err, b.o.Journal.DropNote(seq))
	}
	return seq, nil
}

// noteMerged notes what an entry and an Op are together; after an error the note says what it said.
func (b *Outbox) noteMerged(into *entry, op Op, durable bool) (Op, error) {
	b.mu.Lock()
	before := into.op()
	mayLand := before.Kind == KindPut && into.begun()
	b.mu.Unlock()
	at := op.Time
	op, _ = merge(before, op) // mergeableLocked has tried; nothing changes it while this call has the turn
	if op.Kind == KindDelete && mayLand {
		op.After = at.Add(landing)
	}
	data, err := op.encode()
	if err != nil {
		return op, err
	}
	err = b.o.Journal.ReplaceNote(op.Seq, data)
	if err == nil && durable {
		err = b.o.Journal.Sync()
	}
	if err == nil {
		return op, nil
	}
	data, again := before.encode()
	if again == nil {
		again = b.o.Journal.ReplaceNote(before.Seq, data)
	}
	return op, errors.Join(err, again)
}

// admitted ends the turn of an Op that is noted, or not (err).
func (b *Outbox) admitted(op Op, into *entry, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	switch {
	case err == nil && into == nil:
		b.appendLocked(op, now)
	case err == nil:
		b.changeLocked(into, op, now)
	case into == nil:
		b.mu.count--
		b.roomLocked()
	}
	b.endTurnLocked(id{op.Bucket, op.Key}, now)
}

// changeLocked makes an entry say what it and a newer Op are together. A refusal concerned what it said before; a store
// that is away is not there for the newer one either.
func (b *Outbox) changeLocked(e *entry, op Op, now time.Duration) {
	b.liftLocked(e) // who is asking about it will not find it any more; the turn's end places it
	e.set(op)
	e.earlier = false
	b.countLocked(e, now)
	if b.tooEarly(e) {
		return
	}
	if e.fail != nil && e.fail.err != nil && !e.fail.slow {
		return
	}
	if e.fail != nil {
		e.fail, e.last = nil, now+b.o.MaxDelay
	}
	e.due = min(now+b.rest(&op), e.last)
}

func (b *Outbox) roomLocked() {
	if b.mu.room != nil {
		close(b.mu.room)
		b.mu.room = nil
	}
}
