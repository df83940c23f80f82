package content

import (
	"context"
	"errors"
	"fmt"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/s3client"
)

// Moved says that the store has an object under another key now: the File follows, its base is obj, and so do files that
// were cloned from it. from and to may be equal, when only the object's attributes were stored anew.
func (s *Files) Moved(from, to ID, obj s3client.Object) {
	s.isNew(to)
	for _, f := range s.pinClones(from) {
		f.followSource(from, to, obj)
		s.unpin(f)
	}
	f := s.pin(from)
	if f == nil {
		return
	}
	defer s.unpin(f)
	s.rekey(f, to)
	f.follow(to, obj)
}

// follow makes a renamed object the base, if it is the old one's copy by its size. (A copy's answer may lack the size.)
func (f *File) follow(to ID, obj s3client.Object) {
	f.mu.Lock()
	under := f.mu.base
	if f.mu.foreign {
		under = f.mu.own
	}
	known := under != nil && (obj.Size == 0 || obj.Size == under.Version.Size)
	switch {
	case !known:
	case f.mu.foreign:
		f.mu.own = f.baseOf(to, obj, under.Version.Size)
	default:
		obj.Size = under.Version.Size
		f.rebaseLocked(to, obj)
	}
	f.mu.Unlock()
	f.again()
}

func (f *File) baseOf(id ID, obj s3client.Object, size int64) *Base {
	return &Base{Seen: f.files.o.Now(), Version: cache.Version{Bucket: id.Bucket, Key: id.Key, ETag: obj.ETag, Size: size}}
}

// Moving says how far a Move has come.
type Moving int

const (
	NotMoved     Moving = iota // the file has nothing unsaved: the object is the caller's to move
	MovedStored                // the store has the file under the new name and nothing under the old one
	MovedPending               // the store has neither; the file has its new name
)

// Move renames a file with unsaved changes: it is committed under its new name, what the store has of it copied from the
// old one, and the old object deleted. over is the version under the new name that it replaces, nil when there is none.
// NotMoved, and nothing done, for a file that is clean or not known; also for one that is being streamed to its old name,
// which is committed there first: the store renames it faster than we could send it again. After an error the file is under
// its old name, unsaved.
//
// In journal durability a file of which the store has nothing yet only gets its new name, in the journal too, without a
// request (MovedPending); over is what its commit will expect to find.
func (s *Files) Move(ctx context.Context, from, to ID, over *Base) (obj s3client.Object, moved Moving, err error) {
	if err := s.Closed(); err != nil {
		return obj, NotMoved, fmt.Errorf("move %s: %w", from, err)
	}
	if err := s.settleClones(ctx, from); err != nil { // nobody need have their source open any more
		return obj, NotMoved, err
	}
	f := s.pin(from)
	if f == nil {
		return obj, NotMoved, nil
	}
	defer s.unpin(f)
	if err := f.takeAll(ctx); err != nil {
		return obj, NotMoved, err
	}
	defer f.giveAll()
	if f.stored() {
		return obj, NotMoved, nil
	}
	if old := f.left(); old != nil {
		if err := f.eraseStale(ctx, old); err != nil {
			return obj, NotMoved, err
		}
	}
	if s.o.Behind && f.isOnlyHere(over) {
		err := f.keepOver(ctx, to)
		if err == nil {
			err = f.rename(to, over)
		}
		if err != nil {
			return obj, NotMoved, fmt.Errorf("rename %s: %w", from, err)
		}
		return obj, MovedPending, nil
	}
	if f.currentStream() != nil {
		return obj, NotMoved, f.commitTurn(ctx, f.commit)
	}
	done := false
	err = f.commitTurn(ctx, func(ctx context.Context) (err error) {
		obj, done, err = f.moveTo(ctx, to)
		return err
	})
	if done {
		return obj, MovedStored, nil
	}
	return obj, NotMoved, err
}

// isOnlyHere says whether the store has nothing of a file: no object under its name and no upload.
func (f *File) isOnlyHere(over *Base) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.mu.uncertain && f.mu.stream == nil && f.underLocked() == nil && !(f.mu.foreign && over != nil)
}

// underLocked is what the store has under the file's id; nil: nothing.
func (f *File) underLocked() *Base {
	if f.mu.foreign {
		return f.mu.own
	}
	return f.mu.base
}

// keepOver puts a file of which the journal has nothing yet into it, if the journal alone has the file whose name it is about to
// take: that one's record goes with the name, and a kill must not leave neither of the two. The caller has the turn.
func (f *File) keepOver(ctx context.Context, to ID) error {
	replaced, ok := f.files.Get(to)
	if !ok || !replaced.isRecorded() || f.isRecorded() {
		return nil
	}
	return f.keep(ctx, nil)
}

// isRecorded says whether the journal has a state of the file, be it an older one.
func (f *File) isRecorded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keptLocked() != nil
}

// rename gives a file of which the store has nothing another name; over's bytes are not its own.
func (f *File) rename(to ID, over *Base) error {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	st, base := f.keptLocked(), f.mu.base
	f.mu.Unlock()
	under, replaced, lineage, uncertain := f.files.under(to) // the file that has the name until now
	if over == nil || under != nil && under.Seen.After(over.Seen) {
		over = under // stored while it was waited for
	}
	if over != nil {
		b := *over
		base = &b
	}
	if st != nil {
		f.mu.Lock()
		record := f.recordAsLocked(st, to, base, replaced.etags)
		record.Over, record.Yields = lineage, nil
		f.mu.Unlock()
		if err := f.amend(st, record); err != nil {
			return err
		}
	}
	from := f.ID()
	f.files.rekey(f, to)
	f.mu.Lock()
	f.mu.base, f.mu.sent, f.mu.uncertain = base, replaced, uncertain
	f.mu.changed = f.files.o.Now() // it rests again: a rename is often followed by a chmod
	f.mu.Unlock()
	f.files.o.Uploader.Forget(from.Bucket, from.Key)
	f.files.behind.schedule(f)
	return nil
}

// moveTo commits a file under another id.
func (f *File) moveTo(ctx context.Context, to ID) (obj s3client.Object, moved bool, err error) {
	for range maxRounds {
		obj, moved, err = f.moveOnce(ctx, to)
		if !errors.Is(err, errAgain) {
			return obj, moved, err
		}
	}
	return obj, false, fmt.Errorf("move %s to %s: %w", f.ID(), to, s3client.Changed)
}

func (f *File) moveOnce(ctx context.Context, to ID) (obj s3client.Object, moved bool, err error) {
	release, err := f.guardBoth(ctx, f.ID(), to)
	if err != nil {
		return obj, false, err
	}
	left := false // what waits for the former name is moot then
	done := once(func(stored bool) { release(stored, left) })
	defer done(false)
	s, obj, err := f.try(ctx, f.whole, &to)
	if err != nil || s == nil {
		return obj, false, err
	}
	if left, err = f.leave(ctx, s, to, obj); err != nil {
		f.ended(s)
		return obj, false, fmt.Errorf("delete %s after storing it as %s: %w", s.snap.id, to, err)
	}
	done(true)
	f.files.rekey(f, to)
	f.files.o.Uploader.Forget(s.snap.id.Bucket, s.snap.id.Key)
	f.record(s, to, obj)
	f.files.o.Stored(to, obj)
	return obj, true, nil
}

// guardBoth takes the guards of both names of a rename, always in the same order. release is told whether the file is stored
// under the new one, and whether the old one's object was deleted.
func (f *File) guardBoth(ctx context.Context, from, to ID) (release func(stored, left bool), err error) {
	guard := f.files.o.Guard
	first, second := from, to
	if second.String() < first.String() {
		first, second = second, first
	}
	a, err := guard(ctx, first)
	if err != nil {
		return nil, fmt.Errorf("move %s to %s: %w", from, to, err)
	}
	b, err := guard(ctx, second)
	if err != nil {
		a(false)
		return nil, fmt.Errorf("move %s to %s: %w", from, to, err)
	}
	return func(stored, left bool) {
		b(stored && (left || second == to))
		a(stored && (left || first == to))
	}, nil
}

// leave deletes the old object of a file that is stored as obj under its new name. What the journal has is told first: after
// a crash between the two it must not ask for the old object, and not bring the old name back.
func (f *File) leave(ctx context.Context, s *sending, to ID, obj s3client.Object) (left bool, err error) {
	f.mu.Lock()
	exists := f.mu.uncertain || f.underLocked() != nil
	f.mu.Unlock()
	if !exists {
		return false, nil
	}
	var before journal.Pending
	if s.recorded {
		f.recording <- struct{}{}
		defer f.recording.give()
		before = s.record
		stored := s.record
		stored.Bucket, stored.Key, stored.Size, stored.Dirty, stored.Own = to.Bucket, to.Key, s.size, nil, nil
		stored.Base = recordBase(f.baseOf(to, obj, s.size), s.size)
		stored.Leaves = s.leaves()
		if err := f.amend(s.stage, stored); err != nil {
			return false, err
		}
	}
	err = f.files.o.Store.Delete(ctx, s.snap.id.Bucket, s.snap.id.Key)
	if err == nil {
		return true, nil
	}
	f.stays(to, obj)
	if s.recorded {
		again := f.recordOf(s.stage, func(p *journal.Pending) { p.Leaves = before.Leaves })
		err = errors.Join(err, f.amend(s.stage, again))
	}
	return false, err
}

// stays keeps a file under its name after a rename whose deletion failed, perhaps behind the store's back: what the file has of
// the old object is sure to be in the new one alone, so that the file is a clone of that from now on.
func (f *File) stays(to ID, obj s3client.Object) {
	s := f.files
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.foreign || f.mu.base == nil {
		return
	}
	f.mu.own, f.mu.base, f.mu.foreign = f.mu.base, f.baseOf(to, obj, f.mu.going.size), true
	close(f.mu.rebased)
	f.mu.rebased = make(chan struct{})
	s.mu.clones[f] = struct{}{}
}

// leaves is the version under a file's name that it leaves there by a rename.
func (s *sending) leaves() *journal.Base {
	b := &journal.Base{Bucket: s.snap.id.Bucket, Key: s.snap.id.Key}
	if s.snap.base != nil && !s.snap.foreign {
		b.ETag = s.snap.base.Version.ETag
	}
	return b
}
