package content

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	return f.mu.gen, f.mu.tries, f.unsavedLocked(), f.nothingLocked()
}

// nothingLocked is the answer to a Sync that finds nothing to store.
func (f *File) nothingLocked() error {
	if err := f.abandonedLocked(); err != nil {
		return err
	}
	return f.mu.conflict
}

// syncedBy says whether a commit that ended after tries has answered for gen.
func (f *File) syncedBy(gen, tries uint64) (done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.unsavedLocked():
		return true, f.nothingLocked()
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
	covers := f.mu.gen
	f.mu.Unlock()
	return f.finish(covers, commit(ctx))
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

// commit stores the whole file under its id, again when attributes or the name change meanwhile; the caller has the turn.
func (f *File) commit(ctx context.Context) error {
	return f.rounds(ctx, func(ctx context.Context) (again bool, err error) {
		id := f.ID()
		return f.guarded(ctx, id, func(done func(bool)) (bool, error) { return f.round(ctx, f.whole, id, done) })
	})
}

// rounds calls round until there is nothing more to store.
func (f *File) rounds(ctx context.Context, round func(context.Context) (again bool, err error)) error {
	var unsettled error
	for range maxRounds {
		again, err := round(ctx)
		unsettled = nil
		switch {
		case errors.Is(err, errAgain):
			unsettled = fmt.Errorf("store %s: the store's version changed again and again: %w", f.ID(), s3client.Changed)
		case err != nil:
			return err
		case !again:
			return nil
		}
	}
	return unsettled
}

// guarded calls do while nobody else changes the object id, if the file still has that id.
func (f *File) guarded(ctx context.Context, id ID, do func(done func(stored bool)) (bool, error)) (again bool, err error) {
	done, err := f.files.o.Guard(ctx, id)
	if err != nil {
		return false, fmt.Errorf("store %s: %w", id, err)
	}
	done = once(done)
	defer done(false)
	if f.ID() != id {
		return true, nil // renamed while it waited
	}
	return do(done)
}

// once makes calls after the first do nothing.
func once(done func(stored bool)) func(stored bool) {
	var called sync.Once
	return func(stored bool) { called.Do(func() { done(stored) }) }
}

// round stores a state of the file under its own name once. again says that there is more to store.
func (f *File) round(ctx context.Context, begin func(context.Context) (*sending, error), id ID, done func(bool)) (again bool, err error) {
	s, obj, err := f.try(ctx, begin, nil)
	if err != nil || s == nil {
		return false, err
	}
	done(s.snap.id == id) // before the record goes: what it overtakes must not be there alone after a crash
	told := f.tells()
	again = f.record(s, s.snap.id, obj)
	f.files.o.Stored(s.snap.id, obj)
	told()
	return again, f.deleteStale(ctx)
}

// try uploads a state once, to the file's own id or to another. errAgain asks for another round. Nothing and no error mean
// that there is nothing to store, or not any more: a conflict is stored under another name.
func (f *File) try(ctx context.Context, begin func(context.Context) (*sending, error), to *ID) (*sending, s3client.Object, error) {
	looked := f.lookAtBase(ctx, false)
	s, err := begin(ctx)
	if err != nil || s == nil {
		return nil, s3client.Object{}, err
	}
	obj, err := s3client.Object{}, looked
	if err == nil {
		if obj, err = f.attempt(ctx, s, to); err == nil {
			return s, obj, nil
		}
	}
	f.returnStream(ctx, s)
	if turn, ok := f.odd(ctx, s, err); ok {
		err = f.settle(ctx, s, err)
		turn()
	}
	f.ended(s)
	return nil, obj, err
}

// attempt makes the requests of a try.
func (f *File) attempt(ctx context.Context, s *sending, to *ID) (s3client.Object, error) {
	s.snap = f.snapshot(s)
	target := s.snap.id
	if to != nil {
		target = *to
	}
	obj, err := f.upload(ctx, s.snap, target)
	s.stream = s.snap.stream // one that was of no use is over
	if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
		err = f.explain(ctx, s.snap, err)
	}
	return obj, err
}

// odd says whether an error is one that settle deals with, and takes the turn for it, if the commit does not have it.
func (f *File) odd(ctx context.Context, s *sending, err error) (give func(), odd bool) {
	var changed *changedError
	switch {
	case !errors.Is(err, errVanished) && !errors.As(err, &changed):
		return nil, false
	case s.turn:
		return func() {}, true
	case f.take(ctx, f.turn) != nil:
		return nil, false
	}
	s.turn = true
	return f.turn.give, true
}

// sending is a state of the file on its way to the store.
type sending struct {
	*stage
	snap   *snapshot
	stream *streaming // the running upload, which has nothing but this state; nil: none
	turn   bool       // the caller has the turn
}

// whole begins to send the present state; the caller has the turn. Where the journal has an older state it gets this one
// first: what it has must never be older than what the store has.
func (f *File) whole(ctx context.Context) (*sending, error) {
	f.mu.Lock()
	k := f.keptLocked()
	outdated := k != nil && k.bytes != f.bytesLocked()
	f.mu.Unlock()
	if outdated {
		if err := f.keep(ctx, nil); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			f.files.o.Log.WarnContext(ctx, "the journal does not take a file before it is stored", "file", f.ID().String(), "err", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.forgotten {
		return nil, fmt.Errorf("store %s: %w", f.mu.id, ErrClosed)
	}
	st := f.keptLocked()
	if st == nil || st.bytes != f.bytesLocked() {
		st = f.stageLocked()
		f.pushLocked(st)
	}
	f.mu.going = st
	return &sending{stage: st, stream: f.mu.stream, turn: true}, nil
}

// ended takes back what whole and kept have begun.
func (f *File) ended(s *sending) {
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	before := f.spoolsLocked()
	f.mu.going = nil
	if !s.recorded {
		f.removeLocked(s.stage)
	}
	f.mu.Unlock()
	f.release(before)
}

// record makes obj, which is equal to a state, the file's base; what was written since stands on it. again says that
// attributes or the name have changed meanwhile. A record that cannot be written is made up for by a comparison at the next
// start.
func (f *File) record(s *sending, id ID, obj s3client.Object) (again bool) {
	if !s.turn {
		f.turn <- struct{}{} // a writer has it no longer than the disk takes; nobody else can: we are sending
		defer f.turn.give()
	}
	f.recording <- struct{}{}
	defer f.recording.give()
	f.mu.Lock()
	before := f.spoolsLocked()
	if s.stream != nil && f.mu.stream == s.stream {
		f.mu.stream = nil
	}
	again = f.rebasedLocked(s.snap, id, obj)
	written, wasKept := s.bytes != f.bytesLocked(), s.recorded
	f.storedLocked(s.stage)
	f.mu.going = nil
	f.mu.state = clean
	if again || written {
		f.mu.state = dirty
	}
	if written {
		f.mu.since = s.left
	}
	if k := f.keptLocked(); k == nil && again && wasKept {
		f.attributesLocked(s.stage)
	}
	f.settleReleasedLocked()
	k := f.keptLocked()
	f.mu.Unlock()
	f.files.isNew(id)
	if err := f.reenter(k); err != nil {
		f.files.o.Log.Warn("the journal does not take what a file stands on now", "file", id.String(), "err", err)
	}
	f.release(before)
	if s.stream != nil {
		f.givePassedAway(s.stream)
	}
	return again
}

// attributesLocked keeps a state in the journal of which the store has all but attributes or the name.
func (f *File) attributesLocked(st *stage) {
	only := *st
	only.from, only.recorded = change{limit: st.size}, true
	f.mu.chain = slices.Insert(f.mu.chain, 0, &only)
}

// rebasedLocked records what was stored as id, and says whether attributes or the name have changed since the snapshot.
func (f *File) rebasedLocked(snap *snapshot, id ID, obj s3client.Object) (again bool) {
	f.rebaseLocked(id, obj)
	if f.mu.id != id {
		f.mu.stale = &stale{ID: id}
	}
	if f.mu.recovered {
		f.files.recovered.Add(1)
	}
	f.files.stored.Add(1)
	again = f.mu.touches != snap.touches || f.mu.id != id
	// Nobody is told of the version before all is stored: who deletes the name until then deletes whatever is there.
	f.mu.superseded, f.mu.recovered, f.mu.uncertain, f.mu.resume = false, false, again, nil
	return again
}

// stale is an object that a rename has left under a file's former name.
type stale struct {
	ID
	etag string // the version to be deleted; "": whichever is there
}

// deleteStale deletes what a rename during a commit, or one that an earlier run did not end, has left under the old name, once
// the new one is stored.
func (f *File) deleteStale(ctx context.Context) error {
	f.mu.Lock()
	old := f.mu.stale
	if f.mu.state != clean {
		old = nil
	}
	f.mu.Unlock()
	if old == nil {
		return nil
	}
	if err := f.eraseStale(ctx, old); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.state = dirty // tried again by the next Sync
		return err
	}
	return nil
}

// eraseStale deletes an object under a former name, unless a file with changes has that name: its own commit replaces it.
func (f *File) eraseStale(ctx context.Context, old *stale) error {
	if other, ok := f.files.Get(old.ID); !ok || other.stored() {
		if err := f.files.eraseVersion(ctx, old); err != nil {
			return fmt.Errorf("delete %s after its rename: %w", old.ID, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.stale = nil
	return nil
}

// isNew says that this run has stored an object: it is not what an earlier run has left there, though its ETag may be.
func (s *Files) isNew(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.mu.left[id]
	if f == nil {
		return
	}
	delete(s.mu.left, id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.stale != nil && f.mu.stale.ID == id {
		f.mu.stale = nil
	}
}

// eraseVersion deletes an object if it is still the version that was left.
func (s *Files) eraseVersion(ctx context.Context, old *stale) error {
	if old.etag == "" {
		return s.erase(ctx, old.ID)
	}
	obj, err := s.o.Store.Head(s3client.Patient(ctx), old.Bucket, old.Key)
	switch {
	case errors.Is(err, s3client.NotFound), err == nil && obj.ETag != old.etag:
		return nil
	case err != nil:
		return err
	}
	return s.erase(ctx, old.ID)
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
