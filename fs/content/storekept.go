package content

import (
	"context"
	"errors"
	"fmt"

	"pailfs/fs/journal"
	"pailfs/s3client"
)

// errWhole: the kept state cannot be stored as it is; the file is committed as a Sync would.
var errWhole = errors.New("the whole file is to be committed")

// storeBehind stores the kept state of a file that nobody has asked to be stored. The caller has pinned it.
func (f *File) storeBehind(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.setCancel(cancel)
	defer f.setCancel(nil)
	err := f.held(ctx, func() error { return f.storeKept(ctx) })
	if err != nil && errors.Is(err, ErrConflict) && f.stored() {
		return nil // both versions are stored, and it was logged
	}
	return err
}

func (f *File) setCancel(cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.cancel = cancel
}

// storeKept stores the kept state of a file; the caller holds its name.
func (f *File) storeKept(ctx context.Context) error {
	if err := f.files.settleClones(ctx, f.ID()); err != nil {
		return err
	}
	if err := f.take(ctx, f.sending); err != nil {
		return err
	}
	defer f.sending.give()
	covers, needed := f.beginKept()
	if !needed {
		return nil
	}
	if err := f.finish(covers, f.commitKept(ctx)); err != nil {
		return f.keepAgain(ctx, err)
	}
	return nil
}

// beginKept makes the file a syncing one, unless the kept state has been stored meanwhile: what was written since then nobody
// has asked to be stored. covers is the last change in the kept state.
func (f *File) beginKept() (covers uint64, needed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.mu.kept
	if !f.unsavedLocked() || k == nil {
		return 0, false
	}
	f.mu.state = syncing
	f.mu.settled = make(chan struct{})
	if k.bytes != f.bytesLocked() {
		return k.gen, true
	}
	return f.mu.gen, true
}

// keepAgain makes sure that a file whose commit has failed is in the journal: a commit of all of it may have taken the record
// away before its last request failed.
func (f *File) keepAgain(ctx context.Context, reason error) error {
	if f.lostRecord() {
		if err := f.keepFailed(ctx, reason); err != nil {
			return errors.Join(reason, err)
		}
	}
	return reason
}

// commitKept stores the kept state without the turn: nobody changes it. Where that meets anything unexpected (another
// version, a base that is gone) the file is committed as Sync does it, which can fetch, keep both versions, and so on.
func (f *File) commitKept(ctx context.Context) error {
	for range maxRounds {
		err := f.sendKept(ctx)
		var changed *changedError
		switch {
		case errors.Is(err, errAgain):
			continue
		case errors.Is(err, errWhole), errors.Is(err, errVanished), errors.As(err, &changed),
			errors.Is(err, s3client.Changed), errors.Is(err, s3client.NotFound):
			return f.commitWhole(ctx)
		}
		return err
	}
	return nil
}

func (f *File) commitWhole(ctx context.Context) error {
	if err := f.take(ctx, f.turn); err != nil {
		return err
	}
	defer f.turn.give()
	return f.commit(ctx)
}

// sendKept stores the kept state once. errAgain: attributes or the name changed meanwhile.
func (f *File) sendKept(ctx context.Context) error {
	id := f.ID()
	done, err := f.files.o.Guard(ctx, id)
	if err != nil {
		return fmt.Errorf("store %s: %w", id, err)
	}
	done = once(done)
	defer done(false)
	if f.ID() != id {
		return errAgain
	}
	if err := f.lookAtBase(ctx, false); err != nil {
		return err
	}
	snap, k, err := f.keptSnapshot(ctx)
	if err != nil {
		return err
	}
	defer f.settleGoing()
	obj, err := f.upload(ctx, snap, snap.id)
	if err != nil {
		f.returnStream(ctx, snap, k)
		return err
	}
	done(snap.id == id) // before the record goes: what it overtakes must not be there alone after a crash
	again, err := f.recordKept(snap, k, obj)
	f.files.o.Stored(snap.id, obj)
	if err == nil {
		err = f.deleteStale(ctx)
	}
	if err == nil && again {
		return errAgain
	}
	return err
}

// keptSnapshot is the kept state, and takes the running upload off the file if that has nothing else: a writer that comes
// while the upload is being completed must not give it more.
func (f *File) keptSnapshot(ctx context.Context) (*snapshot, *kept, error) {
	if err := f.take(ctx, f.turn); err != nil {
		return nil, nil, err
	}
	defer f.turn.give()
	f.mu.Lock()
	k := f.mu.kept
	if k == nil || k.outdated {
		f.mu.Unlock()
		return nil, nil, errWhole
	}
	snap := &snapshot{id: f.mu.id, layout: k.layout.clone(), base: f.mu.base, spool: k.spool, gen: k.gen,
		touches: f.mu.touches, foreign: f.mu.foreign, version: f.versionLocked()}
	var unused *streaming
	if k.bytes == f.bytesLocked() {
		snap.stream = f.mu.stream
	} else {
		unused = f.mu.stream
	}
	f.mu.stream, f.mu.going = nil, k
	f.mu.Unlock()
	f.abort(ctx, unused)
	return snap, k, nil
}

// returnStream gives an upload that could not be completed back to the file, unless the file was written meanwhile.
func (f *File) returnStream(ctx context.Context, snap *snapshot, k *kept) {
	if snap.stream == nil {
		return
	}
	f.mu.Lock()
	fits := f.mu.kept == k && k.bytes == f.bytesLocked() && f.mu.stream == nil && f.mu.writing == nil
	if fits {
		f.mu.stream = snap.stream
	}
	f.mu.Unlock()
	if !fits {
		f.abort(ctx, snap.stream)
	}
}

// recordKept makes obj, which is equal to the kept state, the file's base. What was written since then is unsaved still.
func (f *File) recordKept(snap *snapshot, k *kept, obj s3client.Object) (again bool, err error) {
	f.turn <- struct{}{} // a writer has it no longer than the disk takes; nobody else can: we are sending
	defer f.turn.give()
	f.mu.Lock()
	again = f.rebasedLocked(snap, snap.id, obj)
	f.mu.layout = k.after.clone()
	written := k.bytes != f.bytesLocked()
	f.mu.state = clean
	if again || written {
		f.mu.state = dirty
	}
	if written {
		f.mu.since = k.left
	}
	id, base, later := f.mu.id, f.mu.base, f.mu.kept
	if later != nil && later != k { // kept meanwhile: it has a commit of its own
		f.mu.Unlock()
		return false, f.keepOver(later, id, base)
	}
	if !again {
		drop := f.takeKeptLocked()
		f.mu.Unlock()
		f.dropKept(drop)
		return false, nil
	}
	f.mu.Unlock()
	return true, f.keepAttributes(k, id, base)
}

// keepOver puts a state that was kept while an earlier one was sent over that one, which the store has now; in the record
// too. The caller has the turn.
func (f *File) keepOver(k *kept, id ID, base *Base) error {
	f.recording <- struct{}{}
	defer f.recording.give()
	dirty := k.over.dirty
	if k.over.size <= f.files.o.Uploader.Limits().SinglePut {
		dirty = k.over.local
	}
	err := f.amend(k, func(p *journal.Pending) {
		p.Bucket, p.Key, p.Dirty, p.Base, p.Own = id.Bucket, id.Key, dirty, recordBase(base, k.over.base), nil
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	rebased := *k
	rebased.layout, rebased.after = k.over, k.after.clone() // changed apart from k's from now on (bothLocked)
	f.mu.kept = &rebased
	return err
}

// keepAttributes makes the kept state one that the store has but for its attributes or its name, in the record too.
func (f *File) keepAttributes(k *kept, id ID, base *Base) error {
	f.recording <- struct{}{}
	defer f.recording.give()
	size := k.layout.size
	if err := f.amend(k, func(p *journal.Pending) {
		p.Bucket, p.Key, p.Dirty, p.Base = id.Bucket, id.Key, nil, recordBase(base, size)
	}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	stored := *k
	stored.layout, stored.after = layout{size: size, base: size}, k.after.clone() // k may be going still, and is changed too
	f.mu.kept = &stored
	return nil
}
