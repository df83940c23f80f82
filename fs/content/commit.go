package content

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pailfs/s3client"
)

// maxRounds bounds how often a commit starts again because attributes or the name changed while it ran. What is left
// then stays unsaved, for the next Sync.
const maxRounds = 8

// Sync commits everything written before it began; nil means that the store has it. Of several at once one commits, and
// the others wait and share its answer as far as it covers what they have to commit. A failed commit loses nothing:
// every later Sync tries again. Writers of the file wait while its bytes are being sent, readers do not.
func (f *File) Sync(ctx context.Context) error {
	f.addPin(1)
	defer f.files.unpin(f)
	gen, tries, needed, err := f.syncNeeded()
	if !needed {
		return err
	}
	if err := f.files.settleClones(ctx, f.ID()); err != nil {
		return err
	}
	if err := f.takeAll(ctx); err != nil {
		return err
	}
	defer f.giveAll()
	if done, err := f.syncedBy(gen, tries); done {
		return err
	}
	return f.commitTurn(ctx, f.commit)
}

// syncNeeded notes what a Sync has to cover.
func (f *File) syncNeeded() (gen, tries uint64, needed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.gen, f.mu.tries, f.unsavedLocked(), f.mu.conflict
}

// syncedBy says whether a commit that ended after tries has answered for gen.
func (f *File) syncedBy(gen, tries uint64) (done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.unsavedLocked():
		return true, f.mu.conflict
	case f.mu.tries == tries || f.mu.lastGen < gen:
		return false, nil
	case errors.Is(f.mu.lastErr, context.Canceled) || errors.Is(f.mu.lastErr, context.DeadlineExceeded):
		return false, nil // the other's patience, not ours
	case f.mu.lastErr == nil:
		return true, f.mu.conflict
	}
	return true, f.mu.lastErr
}

// commitTurn runs a commit, the caller having everything that it needs, and records its result.
func (f *File) commitTurn(ctx context.Context, commit func(context.Context) error) error {
	f.mu.Lock()
	f.mu.state = syncing
	f.mu.settled = make(chan struct{})
	covers, wasKept := f.mu.gen, f.mu.kept != nil
	f.mu.Unlock()
	err := f.finish(covers, commit(ctx))
	if wasKept && f.lostRecord() { // a first round stored it, and attributes came that the second could not store
		kept, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepPatience)
		defer cancel()
		err = errors.Join(err, f.keep(kept, err))
		f.files.behind.schedule(f)
	}
	return err
}

// lostRecord says whether the file has something unsaved and nothing in the journal.
func (f *File) lostRecord() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.kept == nil && f.unsavedLocked()
}

// finish records the result of a commit that covers all changes up to one.
func (f *File) finish(covers uint64, err error) error {
	f.mu.Lock()
	close(f.mu.settled)
	f.mu.settled = nil
	f.mu.tries++
	f.mu.lastErr = err
	f.mu.lastGen = covers
	if f.mu.state == syncing && err != nil {
		f.mu.state = failed
	}
	switch {
	case err == nil:
		f.mu.fails, f.mu.next = 0, time.Time{}
	default:
		if !errors.Is(err, context.Canceled) { // else nothing is wrong but somebody's patience
			f.mu.fails++
		}
		f.mu.next = f.files.o.Now().Add(pause(f.mu.fails))
	}
	conflict := f.mu.conflict
	f.mu.Unlock()
	if err != nil {
		return err
	}
	f.files.behind.succeeded()
	return conflict
}

// commit stores the file under its id, again when attributes or the name change meanwhile.
func (f *File) commit(ctx context.Context) error {
	for range maxRounds {
		again, err := f.round(ctx)
		switch {
		case errors.Is(err, errAgain):
		case err != nil:
			return err
		case !again:
			return nil
		}
	}
	return nil
}

// round tries to store the file once. again says that there is more to store.
func (f *File) round(ctx context.Context) (again bool, err error) {
	id := f.ID()
	done, err := f.files.o.Guard(ctx, id)
	if err != nil {
		return false, fmt.Errorf("store %s: %w", id, err)
	}
	done = once(done)
	defer done(false)
	if f.ID() != id {
		return true, nil // renamed while it waited
	}
	snap, obj, err := f.try(ctx, nil)
	if err != nil || snap == nil {
		return false, err
	}
	done(snap.id == id) // before the record goes: what it overtakes must not be there alone after a crash
	again = f.record(snap, snap.id, obj)
	f.files.o.Stored(snap.id, obj)
	if err := f.deleteStale(ctx); err != nil {
		return false, err
	}
	return again, nil
}

// once makes calls after the first do nothing.
func once(done func(stored bool)) func(stored bool) {
	var called sync.Once
	return func(stored bool) { called.Do(func() { done(stored) }) }
}

// try uploads the file once, to its own id or to another. errAgain asks for another round. No snapshot and no error mean
// that the file was in conflict and its version is stored under another name.
func (f *File) try(ctx context.Context, to *ID) (*snapshot, s3client.Object, error) {
	if err := f.checkBase(ctx, false); err != nil {
		return nil, s3client.Object{}, f.settle(ctx, err)
	}
	snap := f.snapshot()
	target := snap.id
	if to != nil {
		target = *to
	}
	obj, err := f.upload(ctx, snap, target)
	if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
		err = f.explain(ctx, snap, err)
	}
	if err != nil {
		return nil, obj, f.settle(ctx, err)
	}
	return snap, obj, nil
}

// record makes obj, stored as id, the file's base. again says that there is more to commit: attributes or the name
// changed while the upload ran.
func (f *File) record(snap *snapshot, id ID, obj s3client.Object) (again bool) {
	f.mu.Lock()
	f.mu.layout.committed()
	if f.mu.stream == snap.stream {
		f.mu.stream = nil
	}
	again = f.rebasedLocked(snap, id, obj)
	f.mu.state = clean
	if again {
		f.mu.state = dirty
	}
	drop := f.takeKeptLocked()
	f.mu.Unlock()
	f.dropKept(drop)
	return again
}

// rebasedLocked records what was stored as id, and says whether attributes or the name have changed since the snapshot.
func (f *File) rebasedLocked(snap *snapshot, id ID, obj s3client.Object) (again bool) {
	f.rebaseLocked(id, obj)
	if f.mu.id != id {
		f.mu.stale = &id
	}
	if f.mu.recovered {
		f.files.recovered.Add(1)
	}
	f.files.stored.Add(1)
	f.mu.superseded, f.mu.recovered, f.mu.uncertain, f.mu.resume = false, false, false, nil
	return f.mu.touches != snap.touches || f.mu.id != id
}

// deleteStale deletes the object that a rename during a commit has left under the old name, once the new one is stored.
func (f *File) deleteStale(ctx context.Context) error {
	f.mu.Lock()
	stale := f.mu.stale
	if f.mu.state != clean {
		stale = nil
	}
	f.mu.Unlock()
	if stale == nil {
		return nil
	}
	_, taken := f.files.Get(*stale) // a new file has the old name already: its own commit replaces the object
	if taken {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.stale = nil
		return nil
	}
	if err := f.files.erase(ctx, *stale); err != nil {
		f.mu.Lock()
		f.mu.state = dirty // tried again by the next Sync
		f.mu.Unlock()
		return fmt.Errorf("delete %s after its rename: %w", *stale, err)
	}
	f.mu.Lock()
	f.mu.stale = nil
	f.mu.Unlock()
	return nil
}

// erase deletes an object.
func (s *Files) erase(ctx context.Context, id ID) error {
	done, err := s.o.Guard(ctx, id)
	if err != nil {
		return err
	}
	defer done(false)
	return s.o.Store.Delete(ctx, id.Bucket, id.Key)
}
