package content

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/s3client"
)

// A rename over a file with unsaved bytes has two ends: the store has the renamed object under the name, and the replaced
// file's record goes. A crash may come between them. So the record says beforehand which version it gives way to.

// Replacing says that an object is about to be copied over the name of a file which a Detaching has. After a crash the file is
// forgotten if the copy is there, and stored otherwise. That of a multipart object has an ETag that nobody knows before: then
// headers, which may be nil, is asked for the copy's, and the store with a HEAD where it gives none: they stay what they are.
func (d *Detaching) Replacing(ctx context.Context, by cache.Version, headers func() *s3client.Headers) error {
	if d == nil || d.f == nil {
		return nil
	}
	v := journal.Version{ETag: by.ETag, Size: by.Size}
	if strings.Contains(by.ETag, "-") && !d.f.stored() {
		v.Stamp = d.f.files.stampOfCopy(ctx, by, headers)
	}
	if err := d.f.yieldTo(v); err != nil {
		return err
	}
	d.by = &v
	return nil
}

// stampOfCopy is what tells the copy of an object; "" when that is not known.
func (s *Files) stampOfCopy(ctx context.Context, of cache.Version, headers func() *s3client.Headers) string {
	if headers != nil {
		if h := headers(); h != nil {
			return stamp(of.Size, h)
		}
	}
	obj, err := s.o.Store.Head(ctx, of.Bucket, of.Key)
	if err != nil || obj.ETag != of.ETag {
		s.o.Log.DebugContext(ctx, "what a rename makes could not be looked at", "object", of.Bucket+"/"+of.Key, "err", err)
		return ""
	}
	return stamp(of.Size, obj.Headers)
}

// UndoReplacing is Undo after a rename that has failed, perhaps behind its copy. The file keeps its bytes, and they are stored
// over the copy; only where the copy has taken bytes of the store's former version with it, which are nowhere else, the file
// is what the copy is.
//
// The journal knows it when this returns: after a kill the next run stores the file over the copy as well.
func (d *Detaching) UndoReplacing(ctx context.Context) {
	if d != nil && d.f != nil {
		d.f.yieldsNoMore()
		if d.by != nil {
			d.f.notReplaced(ctx, *d.by)
		}
	}
	d.Undo()
}

// copies are versions that renames which failed were to put under a file's name, and how far the file had come then.
type copies struct {
	versions []journal.Version
	gen      uint64
}

// notReplaced notes which copy may be under the file's name, and looks if bytes of the file may have gone with what it
// replaced. The caller has all the file's tokens.
func (f *File) notReplaced(ctx context.Context, by journal.Version) {
	f.mu.Lock()
	unsaved, open, id, stands := f.unsavedLocked(), f.mu.refs > 0, f.mu.id, f.mu.layout.base > 0 && !f.mu.foreign
	f.mu.sent.copies.versions, f.mu.sent.copies.gen = append(f.mu.sent.copies.versions, by), f.mu.gen
	f.mu.Unlock()
	if !unsaved || !stands {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), yieldPatience) // the caller's may have ended the rename
	defer cancel()
	remote, err := f.files.o.Store.Head(ctx, id.Bucket, id.Key)
	if err == nil && f.isCopy(remote) {
		err = f.fetchAll(ctx)
		gone := errors.Is(err, s3client.NotFound) || errors.Is(err, s3client.Changed)
		switch {
		case gone && !open:
			f.giveUp(id, remote)
			return
		case err == nil: // in the record too: nobody else has these bytes any more
			err = f.overwrites(id, remote)
		}
	}
	if err != nil && !errors.Is(err, errAgain) && !errors.Is(err, s3client.NotFound) && !errors.Is(err, s3client.Changed) {
		f.files.o.Log.WarnContext(ctx, "not known yet whether a rename that failed has replaced a file", "file", id.String(), "err", err)
	}
}

// isCopy says whether an object is the copy of a rename that failed.
func (f *File) isCopy(o s3client.Object) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isOneOfLocked(f.mu.sent.copies.versions, o)
}

// isOneOfLocked says whether an object is one of some versions, or a copy of it: that of a multipart object has an ETag of
// its own, and its size and attributes tell it from what somebody else has stored. What the store had of the file before, and
// what it may have of the file, is none.
func (f *File) isOneOfLocked(versions []journal.Version, o s3client.Object) bool {
	if under := f.underLocked(); under != nil && under.Version.ETag == o.ETag || f.mu.sent.made(o) {
		return false
	}
	return slices.ContainsFunc(versions, func(v journal.Version) bool {
		return v.Size == o.Size && (v.ETag == o.ETag || v.Stamp != "" && v.Stamp == stamp(o.Size, o.Headers))
	})
}

// overCopy lets the next round store the file over the copy of a rename that failed. Where the file's own bytes went with the
// version that the copy replaced, and nothing was written since, the rename has happened after all. The caller has the turn.
func (f *File) overCopy(ctx context.Context, remote s3client.Object) error {
	err := f.fetchAll(ctx)
	gone := errors.Is(err, s3client.NotFound) || errors.Is(err, s3client.Changed)
	f.mu.Lock()
	id, asThen := f.mu.id, f.mu.refs == 0 && f.mu.gen == f.mu.sent.copies.gen
	f.mu.Unlock()
	switch {
	case gone && asThen:
		f.giveUp(id, remote)
		return nil
	case gone:
		return f.keepRest(ctx, errors.Join(ErrConflict, err))
	case err != nil:
		return err
	}
	return f.overwrites(id, remote)
}

// overwrites lets the next round store the file, all of which is here, over what the store has, if it still has that: to fetch the
// file's bytes may have taken its time.
func (f *File) overwrites(id ID, remote s3client.Object) error {
	f.mu.Lock()
	f.orphanedLocked()
	f.rebaseLocked(id, remote)
	f.mu.base.Seen = time.Time{}
	f.mu.Unlock()
	if err := f.keepAgain(); err != nil {
		return err
	}
	return errAgain
}

// yieldTo notes a version in the record that the record gives way to, durably.
func (f *File) yieldTo(v journal.Version) error {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	st := f.keptLocked()
	f.mu.Unlock()
	if st == nil {
		return nil
	}
	f.mu.Lock()
	f.mu.yielding = append(f.mu.yielding, v)
	f.mu.Unlock()
	record := f.recordOf(st, func(p *journal.Pending) { p.Yields = append(slices.Clip(p.Yields), v) })
	err := f.amend(st, record)
	if err == nil {
		err = f.files.o.Journal.Sync()
	}
	if err != nil {
		return fmt.Errorf("note what replaces %s: %w", f.ID(), err)
	}
	return nil
}

// yieldsNoMore takes out of the record, durably, what a rename that failed has noted there. What it has made under the name
// stands for nothing of the file, as what arrived with other bytes: the file is stored over it.
func (f *File) yieldsNoMore() {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	not, st := f.mu.yielding, f.keptLocked()
	f.mu.yielding = nil
	for _, v := range not {
		f.mu.sent.add(spoiled(v.ETag))
		if v.Stamp != "" {
			f.mu.sent.add(spoiled(v.Stamp))
		}
	}
	f.mu.Unlock()
	if st == nil || len(not) == 0 {
		return
	}
	err := f.amend(st, f.recordOf(st, func(p *journal.Pending) {
		p.Yields = slices.DeleteFunc(slices.Clone(p.Yields), func(v journal.Version) bool { return slices.Contains(not, v) })
	}))
	if err == nil {
		err = f.files.o.Journal.Sync()
	}
	if err != nil {
		f.files.o.Log.Warn("the journal does not take that a rename has failed", "file", f.ID().String(), "err", err)
	}
}

// yields says whether the file, one that an earlier run left, was being replaced by what the store has. A rename of this run
// that has failed replaces nothing.
func (f *File) yields(o s3client.Object) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.keptLocked()
	if !f.mu.recovered || f.mu.refs > 0 || st == nil {
		return false
	}
	return f.isOneOfLocked(st.record.Yields, o) && !f.isOneOfLocked(f.mu.sent.copies.versions, o)
}

// yieldPatience bounds the questions whether renames have replaced files, all of them at the start of a run.
const yieldPatience = 10 * time.Second

// hasYielded asks whether a file of an earlier run was replaced, and forgets it then. Without an answer it is shown, and its
// commit asks again.
func (f *File) hasYielded(ctx context.Context) bool {
	id := f.ID()
	remote, err := f.files.o.Store.Head(ctx, id.Bucket, id.Key)
	if err != nil && !errors.Is(err, s3client.NotFound) {
		f.files.o.Log.WarnContext(ctx, "not known yet whether a rename has replaced a file", "file", id.String(), "err", err)
	}
	if err != nil || !f.yields(remote) {
		return false
	}
	f.addPin(1)
	defer f.files.unpin(f)
	f.replaced(id, remote)
	return true
}

// replaced forgets a file that a rename has replaced.
func (f *File) replaced(id ID, by s3client.Object) {
	f.giveUp(id, by)
	f.files.o.Log.Info("a rename that was going on when the earlier run ended has replaced a file", "object", id.String())
}

// leavingAt is the file with an id whose name is about to be taken by another one; nil: none.
func (s *Files) leavingAt(id ID) *File {
	f, ok := s.Get(id)
	if !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mu.leaving {
		return nil
	}
	return f
}

// replaceAt notes, in the record of the file that has the id to, what is about to be stored there in its place.
func (f *File) replaceAt(ctx context.Context, snap *snapshot, to ID) (making func(etag string), err error) {
	replaced := f.files.leavingAt(to)
	if replaced == nil || replaced == f {
		return nil, nil
	}
	size := snap.layout.size
	if f.onePut(snap) {
		etag, err := f.etagOf(ctx, snap)
		if err != nil {
			return nil, err
		}
		return nil, replaced.yieldTo(journal.Version{ETag: etag, Size: size})
	}
	h, err := f.headersFor(ctx, snap.id, snap.stream != nil)
	if err != nil {
		return nil, err
	}
	by := journal.Version{ETag: snap.version.ETag, Size: size, Stamp: stamp(size, &h)}
	if snap.layout.base > 0 { // a copy inside the store, in whole
		if err := replaced.yieldTo(by); err != nil {
			return nil, err
		}
	}
	return func(etag string) {
		by := by
		by.ETag = etag
		if err := replaced.yieldTo(by); err != nil {
			f.files.o.Log.WarnContext(ctx, "the journal does not take what replaces a file", "file", to.String(), "err", err)
		}
	}, nil
}
