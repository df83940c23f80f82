package content

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// A long file that is streamed does not stay on the local disk: its spool gives the parts away that the store has
// acknowledged, but for the first one and the newest. The layout goes on to call these bytes local; the spool knows that it
// has not got them, and says journal.ErrReleased to who reads them. A file is punched while that is so.
//
// What a punched file's bytes are needed for, a read or a change of a part of a part, is preceded by a commit: the upload
// becomes the object, and the file goes on over that as over any other. Its upload is the only copy of bytes until then. So
// it is never aborted but for a file whose name goes (Detach), and only the present state is ever stored, all of it.

// noteGiven remembers a part that is in the upload alone.
func (st *streaming) noteGiven(p upload.Sent) {
	st.upload = st.ID()
	if st.given == nil {
		st.given = make(map[int]upload.Sent)
	}
	st.given[p.Number] = p
}

// without is a set without some ranges.
func without(rs ranges, gone []Range) (left ranges) {
	for _, r := range rs {
		for _, here := range ranges(gone).gaps(r.Off, r.Len) {
			left = left.add(here.Off, here.Len)
		}
	}
	return left
}

// goneLocked is what of the file is in its upload alone.
func (f *File) goneLocked() (gone ranges) {
	if f.mu.spool == nil {
		return nil
	}
	for _, r := range f.mu.spool.Released() {
		for _, lost := range f.mu.layout.local.within(r.Off, r.Len) {
			gone = gone.add(lost.Off, lost.Len)
		}
	}
	return gone
}

func (f *File) isPunched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.goneLocked()) > 0
}

// takeTurn takes the turn for a change of bytes, and commits the file before where the change needs bytes that are not here.
// change says which ones, of a file of some size; cut: all behind the range's beginning go.
func (f *File) takeTurn(ctx context.Context, change func(size int64) (r Range, cut bool)) error {
	for range maxRounds {
		if err := f.take(ctx, f.turn); err != nil {
			return err
		}
		stuck, err := f.stuck(change)
		if err == nil && !stuck {
			return nil
		}
		f.turn.give()
		if err == nil {
			err = f.heldToChange(ctx, func() error { return f.commitEarly(ctx) })
		}
		if err != nil {
			return fmt.Errorf("change %s: %w", f.ID(), err)
		}
	}
	return fmt.Errorf("change %s: it is streamed again and again: %w", f.ID(), s3client.Changed)
}

// stuck says whether a change needs bytes that are in the upload alone, or of the upload's parts some that were lost.
func (f *File) stuck(change func(size int64) (r Range, cut bool)) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.lostLocked(); err != nil {
		return false, err
	}
	r, cut := change(f.mu.layout.size)
	gone := f.goneLocked()
	if len(gone) == 0 || f.mu.detached || r.Len <= 0 && !cut {
		return false, nil
	}
	if cut {
		return gone[0].Off < r.Off, nil
	}
	if st := f.mu.stream; st != nil && st.Err() != nil {
		return false, st.Err()
	}
	limits := f.files.o.Uploader.Limits()
	if f.mu.stream != nil {
		limits = f.mu.stream.Limits()
	}
	last, _, _ := limits.PartAt(end(r) - 1)
	if last > limits.MaxParts { // such a file's parts would be others
		return false, &s3client.Error{Op: "write", Bucket: f.mu.id.Bucket, Key: f.mu.id.Key, Kind: s3client.TooLarge}
	}
	if r.Off < f.frozenLocked() {
		return true, nil
	}
	for number, off, length := limits.PartAt(r.Off); number <= last; number, off, length = limits.PartAt(off + length) {
		for _, kept := range ranges([]Range{r}).gaps(off, length) { // what of the part the change leaves as it is
			if len(gone.within(kept.Off, kept.Len)) > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// commitEarly stores a punched file because its bytes are needed; whoever calls has its name.
func (f *File) commitEarly(ctx context.Context) error {
	if !f.isPunched() {
		return nil
	}
	if err := f.Sync(ctx); err != nil && f.isPunched() {
		return fmt.Errorf("store it, to have its bytes: %w", err)
	}
	return nil
}

// readable makes bytes that a read has found to be in the upload alone ones of the object.
func (f *File) readable(ctx context.Context) error {
	f.mu.Lock()
	detached := f.mu.detached
	f.mu.Unlock()
	if detached {
		return fmt.Errorf("its name went before it was stored: %w", journal.ErrReleased)
	}
	f.addPin(1)
	defer f.files.unpin(f)
	return f.held(ctx, func() error { return f.commitEarly(ctx) })
}

// settleReleasedLocked: what the spool has given away is in the new base.
func (f *File) settleReleasedLocked() {
	for _, st := range f.mu.chain {
		if st.spool != nil {
			st.local = without(st.local, st.spool.Released())
		}
	}
	if f.mu.spool != nil {
		f.mu.layout.local = without(f.mu.layout.local, f.mu.spool.Released())
	}
}

// partsLocked names in a state's record the upload that has bytes which its spool has not.
func (f *File) partsLocked(st *stage, p *journal.Pending) {
	p.Upload, p.Parts = "", nil
	if st.spool == nil {
		return
	}
	here := without(p.Dirty, st.spool.Released())
	running := f.mu.stream
	if running == nil || len(running.given) == 0 || here.bytes() == ranges(p.Dirty).bytes() {
		return
	}
	parts := make(map[int]upload.Sent)
	for _, sent := range running.Acknowledged() {
		if end(Range{Off: sent.Off, Len: sent.Len}) <= p.Size {
			parts[sent.Number] = sent
		}
	}
	for _, sent := range running.given { // if it has not been overwritten or cut off since
		if gone := without(p.Dirty, here); len(gone.gaps(sent.Off, sent.Len)) == 0 {
			parts[sent.Number] = sent
		}
	}
	p.Dirty, p.Upload = here, running.upload
	for _, sent := range parts {
		p.Parts = append(p.Parts, journal.Part{Number: sent.Number, Off: sent.Off, Len: sent.Len, ETag: sent.ETag})
	}
	slices.SortFunc(p.Parts, func(a, b journal.Part) int { return a.Number - b.Number })
}

// reopenLocked takes up the upload of an earlier run that has bytes of the file.
func (f *File) reopenLocked(p *journal.Pending) {
	if len(p.Parts) == 0 {
		return
	}
	f.mu.resume = nil
	gone := f.mu.spool.Released()
	parts := make([]upload.Sent, 0, len(p.Parts))
	for _, part := range p.Parts {
		parts = append(parts, upload.Sent{Piece: upload.Piece{Number: part.Number, Off: part.Off, Len: part.Len}, ETag: part.ETag})
	}
	st := &streaming{id: f.mu.id, passes: math.MaxInt64, upload: p.Upload,
		Stream: f.files.o.Uploader.Reopen(p.Bucket, p.Key, p.Upload, parts, spoolSource{f.mu.spool})}
	_, st.sealed, _ = st.Limits().PartAt(p.Size)
	for _, part := range parts {
		if len(ranges(gone).within(part.Off, part.Len)) > 0 {
			st.Rely(part.Piece)
			st.noteGiven(part)
		}
	}
	f.mu.stream = st
	for _, r := range gone {
		f.mu.layout.local = f.mu.layout.local.add(r.Off, r.Len)
		f.mu.layout.dirty = f.mu.layout.dirty.add(r.Off, r.Len)
	}
}

// leaveStream ends the running upload at the end of the run: aborted, or left for the next one if it has bytes that are
// nowhere else.
func (f *File) leaveStream(ctx context.Context) {
	st := f.currentStream()
	if st == nil || !f.isPunched() {
		f.stopStream(ctx)
		return
	}
	if err := st.Leave(ctx); err != nil {
		f.files.o.Log.DebugContext(ctx, "an unfinished upload is left while it is still sent", "object", st.id.String(), "err", err)
	}
}

// errJoined: an upload that was the only copy of bytes has become an object that is not its parts. There is nothing to send again, and
// whoever wrote is told at every Sync.
var errJoined = errors.New("the store has joined other bytes than were sent, and nobody has those any more")

// completedAnyway says that an upload that has failed has made the object nevertheless, but for its attributes: the next
// round stores those. It matters where the upload was the only copy.
func (f *File) completedAnyway(ctx context.Context, snap *snapshot) (s3client.Object, bool) {
	if snap.stream == nil || !f.isPunched() {
		return s3client.Object{}, false
	}
	obj, ok := snap.stream.Completed()
	if ok {
		f.mu.Lock()
		f.mu.touches++
		f.mu.gen++
		if f.mu.sent.spoiled(obj) {
			f.mu.conflict = fmt.Errorf("%s: %w", snap.id, errJoined)
		}
		f.mu.Unlock()
		f.abort(ctx, snap.stream)
	}
	return obj, ok
}

// keepOther is keepBoth for a punched file: its upload can become an object under its own name alone. So the version that
// somebody else stored there gets the other name, by a copy, and is replaced in the next round.
func (f *File) keepOther(ctx context.Context, remote s3client.Object) error {
	id := f.ID()
	to, now := f.files.conflictName(id)
	remote.Bucket, remote.Key = id.Bucket, id.Key
	done, err := f.files.o.Guard(ctx, to)
	if err != nil {
		return fmt.Errorf("%w; the other version is not copied yet: %w", ErrConflict, err)
	}
	obj, err := f.files.o.Uploader.Copy(ctx, remote, to.Bucket, to.Key, nil)
	done(err == nil)
	if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
		return errAgain
	}
	if err != nil {
		return fmt.Errorf("%w; the other version is not copied yet: %w", ErrConflict, err)
	}
	f.mu.Lock()
	f.mu.conflict = fmt.Errorf("%s: %w; the other version is %s", id, ErrConflict, to)
	f.mu.base = &Base{Seen: now, Version: cache.Version{Bucket: id.Bucket, Key: id.Key, ETag: remote.ETag, Size: remote.Size}}
	f.mu.superseded, f.mu.recovered = false, false
	close(f.mu.rebased)
	f.mu.rebased = make(chan struct{})
	f.mu.Unlock()
	f.again()
	f.files.addConflict(Conflict{ID: to, Kept: id, Time: now})
	f.files.o.Log.WarnContext(ctx, "conflict: both versions are kept", "object", id.String(), "other", to.String())
	f.files.o.Stored(to, obj)
	return errAgain
}
