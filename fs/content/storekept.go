package content

import (
	"context"
	"errors"
)

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

// storeKept stores the kept state of a file, without the turn: nobody changes it. The caller holds its name.
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
	return f.finish(covers, f.rounds(ctx, func(ctx context.Context) (again bool, err error) {
		id, begin := f.ID(), f.kept
		if f.isPunched() { // it is stored as a whole or not at all
			if err := f.take(ctx, f.turn); err != nil {
				return false, err
			}
			defer f.turn.give()
			begin = f.whole
		}
		return f.guarded(ctx, id, func(done func(bool)) (bool, error) { return f.round(ctx, begin, id, done) })
	}))
}

// beginKept makes the file a syncing one, unless the kept state has been stored meanwhile: what was written since then nobody
// has asked to be stored. covers is the last change in the kept state.
func (f *File) beginKept() (covers uint64, needed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.keptLocked()
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

// kept begins to send the kept state, if there is one still. It takes the running upload off the file if that has nothing
// else: a writer that comes while the upload is being completed must not give it more.
func (f *File) kept(ctx context.Context) (*sending, error) {
	if err := f.take(ctx, f.turn); err != nil {
		return nil, err
	}
	defer f.turn.give()
	f.mu.Lock()
	k := f.keptLocked()
	if k == nil {
		f.mu.Unlock()
		return nil, nil
	}
	if len(f.goneLocked()) > 0 { // since the round began
		f.mu.Unlock()
		return nil, errAgain
	}
	s := &sending{stage: k}
	var unused *streaming
	if k.bytes == f.bytesLocked() {
		s.stream = f.mu.stream
	} else {
		unused = f.mu.stream
	}
	f.mu.stream, f.mu.going = nil, k
	f.mu.Unlock()
	f.abort(ctx, unused)
	return s, nil
}

// returnStream gives an upload that could not be completed back to the file, unless the file was written meanwhile.
func (f *File) returnStream(ctx context.Context, s *sending) {
	st := s.stream
	if st == nil || s.turn {
		return
	}
	s.stream = nil
	f.mu.Lock()
	fits := s.recorded && s.bytes == f.bytesLocked() && f.mu.stream == nil && f.mu.writing == nil
	if fits {
		f.mu.stream = st
	}
	f.mu.Unlock()
	if !fits {
		f.abort(ctx, st)
	}
}
