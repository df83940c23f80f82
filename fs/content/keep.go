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
	"pailfs/s3client"
)

// amendPatience bounds the question for the attributes of a touched file; they are known as a rule.
const amendPatience = time.Second

// keptNowLocked says whether the journal has the file as it is.
func (f *File) keptNowLocked() bool {
	k := f.keptLocked()
	return k != nil && k.bytes == f.bytesLocked() && k.touches == f.mu.touches
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
	st, id, err := f.toKeep(spool)
	if err != nil {
		return err
	}
	f.addOnItsWay(ctx)
	headers, err := f.headersFor(ctx, id, false)
	if err != nil {
		f.files.o.Log.WarnContext(ctx, "attributes of a kept file are not known", "file", id.String(), "err", err)
	}
	record := f.recordOf(st, func(p *journal.Pending) {
		p.Headers, p.Time, p.Reason = journal.Headers(headers), f.recordTimeLocked(), reasonText(reason)
	})
	if err := f.files.o.Journal.Keep(spool, record); err != nil {
		return err
	}
	f.recorded(st, record)
	return f.reenter(st)
}

// recordTime is the time of a new record, later than the one before has: of two that a kill leaves the later one counts.
func (f *File) recordTimeLocked() time.Time {
	now := f.files.o.Now()
	if k := f.keptLocked(); k != nil && !now.After(k.record.Time) {
		return k.record.Time.Add(1)
	}
	return now
}

func reasonText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// toKeep is the present state, its spool cut to what it has.
func (f *File) toKeep(spool *journal.Spool) (*stage, ID, error) {
	f.mu.Lock()
	st, id, kept := f.stageLocked(), f.mu.id, int64(0)
	for _, older := range f.mu.chain {
		if older.spool == spool && len(older.local) > 0 {
			kept = max(kept, end(older.local[len(older.local)-1]))
		}
	}
	f.mu.Unlock()
	if n := len(st.local); n > 0 { // the end may be a hole
		if err := spool.Truncate(max(end(st.local[n-1]), kept)); err != nil {
			return nil, id, fmt.Errorf("keep %s: %w", id, err)
		}
	}
	return st, id, nil
}

// recorded makes st, which the journal has now, the kept state in the place of an older one; the caller is recording.
func (f *File) recorded(st *stage, record journal.Pending) {
	f.mu.Lock()
	before := f.spoolsLocked()
	old := f.keptLocked()
	st.recorded, st.record, st.since = true, record, record.Time
	f.pushLocked(st)
	if old != nil {
		old.recorded = false
		if old != f.mu.going {
			st.since = old.since
			f.removeLocked(old)
		}
	}
	f.mu.Unlock()
	f.release(before)
}

// recordOf is a stage's record as things are now. What only the last record knows stays.
func (f *File) recordOf(st *stage, change func(*journal.Pending)) journal.Pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nameLocked()
	p := f.recordAsLocked(st, f.mu.id, f.mu.base, f.mu.sent.etags)
	if change != nil {
		change(&p)
	}
	return p
}

// recordAsLocked is a stage's record with a name, a base and ETags that may be there of the caller's choice.
func (f *File) recordAsLocked(st *stage, id ID, base *Base, own []string) journal.Pending {
	l := f.layoutLocked(st)
	dirty := l.dirty
	if l.size <= f.files.o.Uploader.Limits().SinglePut && !(base != nil && l.isWhole(base.Version.Size)) {
		dirty = l.local // it is sent as a whole; the next run can compare it then
	}
	p := st.record
	p.Bucket, p.Key, p.Size, p.Dirty, p.Base, p.Own = id.Bucket, id.Key, l.size, dirty, recordBase(base, l.base), slices.Clone(own)
	if f.mu.foreign && f.mu.own != nil && id == f.mu.id {
		p.Own = append(p.Own, f.mu.own.Version.ETag) // it replaces this one, and stands on another
	}
	p.File, p.Attempts = f.mu.lineage, f.mu.fails
	p.Leaves = nil
	if old := f.mu.stale; old != nil {
		p.Leaves = &journal.Base{Bucket: old.Bucket, Key: old.Key, ETag: old.etag}
	}
	f.partsLocked(st, &p)
	return p
}

func recordBase(b *Base, limit int64) *journal.Base {
	if b == nil {
		return nil
	}
	v := b.Version
	return &journal.Base{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Size: v.Size, Limit: limit}
}

// reenter gives a stage the record of now, if it is still the kept one and anything has changed; the caller is recording.
func (f *File) reenter(st *stage) error {
	for {
		f.mu.Lock()
		gone := st == nil || !st.recorded
		f.mu.Unlock()
		if gone {
			return nil
		}
		now := f.recordOf(st, nil)
		if sameRecord(&now, &st.record) {
			return nil
		}
		if err := f.amend(st, now); err != nil {
			return err
		}
	}
}

func sameRecord(a, b *journal.Pending) bool {
	return a.Bucket == b.Bucket && a.Key == b.Key && a.Size == b.Size && slices.Equal(a.Dirty, b.Dirty) &&
		slices.Equal(a.Own, b.Own) && a.Upload == b.Upload && slices.Equal(a.Parts, b.Parts) && (a.Base == nil) == (b.Base == nil) && (a.Base == nil || *a.Base == *b.Base)
}

// amend writes a stage's record; the caller is recording.
func (f *File) amend(st *stage, record journal.Pending) error {
	if err := f.files.o.Journal.Amend(st.spool, record); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	st.record = record
	return nil
}

// again gives the record of the kept state what has changed: its name, its base, what may be in the store of it. What fails
// is logged: such a record costs a comparison at the next start.
func (f *File) again() {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	st := f.keptLocked()
	f.mu.Unlock()
	if err := f.reenter(st); err != nil {
		f.files.o.Log.Warn("the journal does not take what has changed of a kept file", "file", f.ID().String(), "err", err)
	}
}

// keepAgain makes the kept state's record and bytes durable once more, after bytes of the base came to its spool.
func (f *File) keepAgain() error {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	st := f.keptLocked()
	f.mu.Unlock()
	if st == nil {
		return nil
	}
	record := f.recordOf(st, nil)
	if err := f.files.o.Journal.Keep(st.spool, record); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	st.record = record
	return nil
}

// amendHeaders gives the record the attributes of now. What fails is kept anew by the next Flush.
func (f *File) amendHeaders() {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	id, st, touches := f.mu.id, f.keptLocked(), f.mu.touches
	f.mu.Unlock()
	if st == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), amendPatience)
	defer cancel()
	headers, err := f.headersFor(ctx, id, false)
	if err == nil {
		err = f.amend(st, f.recordOf(st, func(p *journal.Pending) { p.Headers = journal.Headers(headers) }))
	}
	if err != nil {
		f.files.o.Log.Warn("the journal does not take a file's new attributes", "file", id.String(), "err", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	st.touches = max(st.touches, touches)
}

// unkeepLocked takes the kept state out of the chain, for release: nobody wants it stored any more.
func (f *File) unkeepLocked() {
	if st := f.keptLocked(); st != nil {
		st.recorded = false
		f.removeLocked(st)
	}
}

// release is giveBack for a file that is stored: a record that cannot be dropped costs a comparison at the next start.
func (f *File) release(before []*journal.Spool) {
	if err := f.giveBack(before); err != nil {
		f.files.o.Log.Warn("record of a stored file stays in the journal", "file", f.ID().String(), "err", err)
	}
}

// giveBack gives up what no state of the file needs any more of its former spools: records, and spools. The caller is
// recording. What cannot be dropped is tried again with the next one.
func (f *File) giveBack(before []*journal.Spool) error {
	f.mu.Lock()
	var unused, unkept []*journal.Spool
	k := f.keptLocked()
	for _, s := range before {
		switch {
		case !f.usesLocked(s):
			unused = append(unused, s)
		case k == nil || k.spool != s:
			unkept = append(unkept, s)
		}
	}
	f.mu.Unlock()
	errs := []error{f.files.drops(unused)}
	for _, s := range unkept {
		errs = append(errs, s.Unkeep())
	}
	return errors.Join(errs...)
}

// writable is the spool for a change of bytes at and behind off; the caller has the turn. Where a frozen state has these
// bytes in it the file gets a new spool, with a copy of what is local below limit.
func (f *File) writable(ctx context.Context, off, limit int64) (*journal.Spool, error) {
	f.mu.Lock()
	spool, gone := f.mu.spool, f.mu.forgotten
	frozen := f.isFrozenLocked(spool, off)
	local := ranges(f.mu.layout.local).within(0, limit)
	f.mu.Unlock()
	switch {
	case gone:
		return nil, fmt.Errorf("write %s: %w", f.ID(), ErrClosed)
	case spool != nil && !frozen:
		return spool, nil
	}
	fresh, err := f.files.o.Journal.NewSpool()
	if err != nil {
		return nil, fmt.Errorf("spool of %s: %w", f.ID(), err)
	}
	if spool != nil {
		if err := copySpool(fresh, spool, local); err != nil {
			return nil, errors.Join(fmt.Errorf("spool of %s: %w", f.ID(), err), fresh.Discard())
		}
		f.stopStream(ctx) // it reads the old one
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.spool = fresh
	return fresh, nil
}

// isFrozen says whether a frozen state has bytes of a spool at or behind off.
func (f *File) isFrozen(spool *journal.Spool, off int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isFrozenLocked(spool, off)
}

func (f *File) isFrozenLocked(spool *journal.Spool, off int64) bool {
	return slices.ContainsFunc(f.mu.chain, func(st *stage) bool { return st.spool == spool && off < st.size })
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

// headersFor pulls the attributes that travel with an upload.
func (f *File) headersFor(ctx context.Context, id ID, streaming bool) (s3client.Headers, error) {
	f.mu.Lock()
	h := f.mu.headers
	f.mu.Unlock()
	if h != nil {
		return *h, nil
	}
	return f.files.o.Headers(s3client.Patient(ctx), id, streaming)
}

// nameLocked gives the file the name that its records have.
func (f *File) nameLocked() {
	if f.mu.lineage == "" {
		f.mu.lineage = rand.Text()
	}
}
