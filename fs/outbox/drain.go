package outbox

import (
	"context"
	"errors"
	"fmt"
)

// drain is somebody who waits for entries.
type drain struct {
	left   map[*entry]struct{}
	errs   []error
	failed int
	done   chan struct{} // closed when left is empty
}

// ErrGivenUp is in the errors of changes that make no sense any more: somebody else has changed what they were about.
var ErrGivenUp = errors.New("given up")

// namedErrors are as many as a Drain's error names; the others are counted.
const namedErrors = 10

// Drain carries out at once what is pending for a name in a bucket and for all below it, and waits for it, but not for what
// Busy keeps back and not for what is accepted after the call. The name "d" is the keys d, d/ and those that begin with d/;
// "d/" is the same without d; "" is all, as is bucket "" of all buckets. An entry that fails is tried once, and goes on in
// the background. The error names what could not be done: failed, or given up (ErrGivenUp).
func (b *Outbox) Drain(ctx context.Context, bucket, name string) error {
	under := b.under(bucket, name)
	busy := make(map[id]bool)
	for _, e := range under {
		k := e.id()
		if _, asked := busy[k]; !asked {
			busy[k] = b.o.Busy(k.bucket, k.key)
		}
	}
	return b.await(ctx, under, busy, bucket+"/"+name)
}

// Finish carries out at once what is pending for one key, and waits for it like Drain, also where Busy keeps it back: the
// caller is about to store the key by other means than the file that has it.
func (b *Outbox) Finish(ctx context.Context, bucket, key string) error {
	err := b.await(ctx, b.force(id{bucket, key}), nil, bucket+"/"+key)
	if errors.Is(err, ErrGivenUp) { // it is settled: whoever finishes a name is about to put something else there
		err = b.await(ctx, b.force(id{bucket, key}), nil, bucket+"/"+key)
	}
	return err
}

// force lets a key's entries begin whatever Busy says.
func (b *Outbox) force(k id) (entries []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.headLocked(k); e != nil; e = e.next {
		e.forced = true
		entries = append(entries, e)
	}
	return entries
}

// await hurries entries that nobody keeps back and waits for them.
func (b *Outbox) await(ctx context.Context, entries []*entry, busy map[id]bool, where string) error {
	if len(entries) == 0 {
		return nil
	}
	d, err := b.hurry(entries, busy)
	if err != nil {
		return fmt.Errorf("store what is pending below %s: %w", where, err)
	}
	select {
	case <-d.done:
	case <-b.stop:
		select {
		case <-d.done:
		default:
			return b.endDrain(d, ErrClosed)
		}
	case <-ctx.Done():
		return b.endDrain(d, ctx.Err())
	}
	return b.endDrain(d, nil)
}

func (b *Outbox) under(bucket, name string) []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.underLocked(bucket, name)
}

// hurry lets entries begin at once, and makes the drain that waits for them.
func (b *Outbox) hurry(entries []*entry, busy map[id]bool) (*drain, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := &drain{left: make(map[*entry]struct{}), done: make(chan struct{})}
	now := b.now()
	for _, e := range entries {
		if e.place == gone || busy[e.id()] {
			continue
		}
		d.left[e] = struct{}{}
		e.urgent = true
		b.placeLocked(e, now)
	}
	if len(d.left) > 0 && b.mu.closed {
		return nil, ErrClosed
	}
	if len(d.left) == 0 {
		close(d.done)
	} else {
		b.mu.drains[d] = struct{}{}
	}
	b.kickLocked()
	return d, nil
}

// tellLocked tells those who wait for an entry what became of it.
func (b *Outbox) tellLocked(e *entry, err error) {
	for d := range b.mu.drains {
		if _, waits := d.left[e]; !waits {
			continue
		}
		delete(d.left, e)
		if err != nil {
			if d.failed++; d.failed <= namedErrors {
				op := e.op()
				d.errs = append(d.errs, fmt.Errorf("%s: %w", &op, err))
			}
		}
		if len(d.left) == 0 {
			delete(b.mu.drains, d)
			close(d.done)
		}
	}
}

// endDrain is a drain's answer; cut says why it did not wait to the end.
func (b *Outbox) endDrain(d *drain, cut error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mu.drains, d)
	errs := d.errs
	if n := d.failed - len(errs); n > 0 {
		errs = append(errs, fmt.Errorf("and %d more changes of names", n))
	}
	if cut != nil && len(d.left) > 0 {
		errs = append(errs, fmt.Errorf("%d changes of names are not stored yet: %w", len(d.left), cut))
	}
	return errors.Join(errs...)
}
