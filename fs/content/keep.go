package content

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pailfs/fs/journal"
)

// amendPatience bounds the question for the attributes of a touched file; they are known as a rule.
const amendPatience = time.Second

// kept is a state of a File that the journal has a record of. Its bytes are not changed any more: who writes below the
// record's size gets a new spool, and the old one stays with its record until a newer state is kept, or the store has this
// one. Fields are guarded by File.mu, but for spool and layout, which do not change.
type kept struct {
	spool   *journal.Spool
	pending journal.Pending // the record
	layout  layout          // of the file then
	after   layout          // of the file now, over an object that is equal to the kept state
	over    layout          // of the file then, over the state that was on its way to the store when this was kept

	gen, bytes, touches uint64    // of the file then
	since               time.Time // the journal has had something of the file all the time since then
	left                time.Time // the first change of bytes after that state; zero: none
	outdated            bool      // what the record stands on is gone: it is not to be stored as it is
}

func (k *kept) check(f *File) error {
	switch {
	case k == nil:
		return nil
	case k.bytes == f.bytesLocked() && k.layout.size != f.mu.layout.size:
		return fmt.Errorf("kept with %d bytes, has %d", k.layout.size, f.mu.layout.size)
	case k.after.size != f.mu.layout.size || k.after.base > k.layout.size:
		return fmt.Errorf("%d bytes, %d over the kept state of %d", f.mu.layout.size, k.after.size, k.layout.size)
	case fmt.Sprint(k.after.local) != fmt.Sprint(f.mu.layout.local):
		return fmt.Errorf("local %v, %v over the kept state", f.mu.layout.local, k.after.local)
	case k.bytes == f.bytesLocked() && len(k.after.dirty) > 0:
		return fmt.Errorf("unchanged since it was kept, but for %v", k.after.dirty)
	}
	return nil
}

// bothLocked changes the layout, the one over the kept state, and the one over the state on its way to the store.
func (f *File) bothLocked(change func(*layout)) {
	change(&f.mu.layout)
	if f.mu.kept != nil {
		change(&f.mu.kept.after)
	}
	if f.mu.going != nil && f.mu.going != f.mu.kept {
		change(&f.mu.going.after)
	}
}

// keptNowLocked says whether the journal has the file as it is.
func (f *File) keptNowLocked() bool {
	k := f.mu.kept
	return k != nil && !k.outdated && k.bytes == f.bytesLocked() && k.touches == f.mu.touches
}

// keep puts what is unsaved into the journal; the caller has the turn or nobody else is left. What the journal has already
// costs nothing.
//
// Where the attributes are not known the record has none: they are asked for when the file is stored.
func (f *File) keep(ctx context.Context, reason error) error {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	done := f.keptNowLocked()
	f.mu.Unlock()
	if done {
		return nil
	}
	spool, err := f.writable(ctx, math.MaxInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	snap := f.snapshot()
	if local := snap.layout.local; len(local) > 0 { // the end may be a hole
		if err := spool.Truncate(max(end(local[len(local)-1]), f.keptEnd(spool))); err != nil {
			return fmt.Errorf("keep %s: %w", snap.id, err)
		}
	}
	f.addOnItsWay(ctx)
	p := f.pending(ctx, snap, reason)
	if err := f.files.o.Journal.Keep(spool, p); err != nil {
		return err
	}
	k := &kept{spool: spool, pending: p, layout: snap.layout.clone(), after: snap.layout.clone(),
		gen: snap.gen, bytes: snap.gen - snap.touches, touches: snap.touches}
	k.after.committed()
	f.mu.Lock()
	old := f.mu.kept
	if k.since = p.Time; old != nil {
		k.since = old.since
	}
	going := f.mu.going
	if going != nil {
		k.over, k.since = going.after.clone(), p.Time
	}
	f.mu.kept = k
	f.mu.Unlock()
	if old != nil && old.spool != spool && (going == nil || going.spool != old.spool) { // else settleGoing's
		f.files.discard(f, old.spool)
	}
	return nil
}

// settleGoing ends the sending of a kept state, whose spool had to stay until then. A later state may have replaced it: the
// record goes now.
func (f *File) settleGoing() {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	k := f.mu.going
	f.mu.going = nil
	unused := k != nil && f.mu.spool != k.spool && (f.mu.kept == nil || f.mu.kept.spool != k.spool)
	f.mu.Unlock()
	if unused {
		f.files.discard(f, k.spool)
	}
}

// keptEnd is where the bytes of a spool's record end, 0 if it has none.
func (f *File) keptEnd(spool *journal.Spool) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := f.mu.kept; k != nil && k.spool == spool && len(k.pending.Dirty) > 0 {
		return end(k.pending.Dirty[len(k.pending.Dirty)-1])
	}
	return 0
}

// pending is the record of a snapshot.
func (f *File) pending(ctx context.Context, snap *snapshot, reason error) journal.Pending {
	headers, err := f.headersFor(ctx, snap.id, false)
	if err != nil {
		f.files.o.Log.Warn("attributes of a kept file are not known", "file", snap.id.String(), "err", err)
	}
	f.mu.Lock()
	if f.mu.lineage == "" {
		f.mu.lineage = rand.Text()
	}
	dirty := snap.layout.dirty
	if snap.layout.size <= f.files.o.Uploader.Limits().SinglePut {
		dirty = snap.layout.local // it is sent as a whole; the next run can compare it then
	}
	p := journal.Pending{Bucket: snap.id.Bucket, Key: snap.id.Key, Size: snap.layout.size, Dirty: dirty,
		Headers: journal.Headers(headers), Time: f.files.o.Now(), File: f.mu.lineage, Attempts: f.mu.fails,
		Own: slices.Clone(f.mu.sent.etags)}
	f.mu.Unlock()
	if reason != nil {
		p.Reason = reason.Error()
	}
	p.Base = recordBase(snap.base, snap.layout.base)
	return p
}

func recordBase(b *Base, limit int64) *journal.Base {
	if b == nil {
		return nil
	}
	v := b.Version
	return &journal.Base{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Size: v.Size, Limit: limit}
}

// amendHeaders gives the record the attributes of now. What fails is kept anew by the next Flush.
func (f *File) amendHeaders() {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	id, k, touches := f.mu.id, f.mu.kept, f.mu.touches
	f.mu.Unlock()
	if k == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), amendPatience)
	defer cancel()
	headers, err := f.headersFor(ctx, id, false)
	if err == nil {
		err = f.amend(k, func(p *journal.Pending) { p.Headers = journal.Headers(headers) })
	}
	if err != nil {
		f.files.o.Log.Warn("the journal does not take a file's new attributes", "file", id.String(), "err", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	k.touches = max(k.touches, touches)
}

// amend changes a kept state's record, if it is still the file's; the caller is recording.
func (f *File) amend(k *kept, change func(*journal.Pending)) error {
	f.mu.Lock()
	p, gone := k.pending, f.mu.kept != k
	f.mu.Unlock()
	if gone {
		return nil
	}
	change(&p)
	if err := f.files.o.Journal.Amend(k.spool, p); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	k.pending = p
	return nil
}

// dropKept forgets a kept state that the store has, or that nobody wants; f.mu.kept is another by now. An open file goes
// on with the spool. A record that cannot be dropped would be stored again by the next run, which is harmless.
func (f *File) dropKept(k *kept) {
	if k == nil {
		return
	}
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	used := f.mu.spool == k.spool
	f.mu.Unlock()
	if !used {
		f.files.discard(f, k.spool)
		return
	}
	if err := k.spool.Unkeep(); err != nil {
		f.files.o.Log.Warn("record of a stored file stays in the journal", "file", f.ID().String(), "err", err)
	}
}

// takeKeptLocked takes the kept state off the file, for dropKept.
func (f *File) takeKeptLocked() *kept {
	k := f.mu.kept
	f.mu.kept = nil
	return k
}

// writable is the spool for a change of bytes at and behind off; the caller has the turn. Where the journal has these bytes
// of it the file gets a new spool, with a copy of what is local below limit.
func (f *File) writable(ctx context.Context, off, limit int64) (*journal.Spool, error) {
	f.mu.Lock()
	spool, k, gone := f.mu.spool, f.mu.kept, f.mu.forgotten
	local := ranges(f.mu.layout.local).within(0, limit)
	f.mu.Unlock()
	switch {
	case gone:
		return nil, fmt.Errorf("write %s: %w", f.ID(), ErrClosed)
	case spool != nil && (k == nil || k.spool != spool || off >= k.layout.size):
		return spool, nil
	}
	fresh, err := f.files.o.Journal.NewSpool()
	if err != nil {
		return nil, fmt.Errorf("spool of %s: %w", f.ID(), err)
	}
	if spool != nil {
		f.stopStream(ctx) // it reads the old one
		if err := copySpool(fresh, spool, local); err != nil {
			return nil, errors.Join(fmt.Errorf("spool of %s: %w", f.ID(), err), fresh.Discard())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.spool = fresh
	return fresh, nil
}

func copySpool(to, from *journal.Spool, local []Range) error {
	buf := make([]byte, min(pieceBytes, ranges(local).bytes()))
	for _, r := range local {
		for _, piece := range pieces(r.Off, end(r)) {
			p := buf[:piece.Len]
			if err := readSpool(from, p, piece.Off); err != nil {
				return err
			}
			if _, err := to.WriteAt(p, piece.Off); err != nil {
				return err
			}
		}
	}
	return nil
}
