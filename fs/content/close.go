package content

import (
	"context"
	"errors"
	"fmt"
)

// Close commits everything, keeps in the journal what the store does not take, and names it in the error. Afterwards no
// file can be opened and nothing runs in the background. It ends within ctx's time but for the disk.
func (s *Files) Close(ctx context.Context) error {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.behind.rest()
	var errs []error
	if err := s.SyncAll(ctx, nil); err != nil {
		// What is not stored is named below; a conflict is stored, and was logged.
		s.o.Log.DebugContext(ctx, "not everything could be committed at close", "err", err)
	}
	s.behind.stop()
	for _, f := range s.pinUnsaved(func(*File, ID) bool { return true }) {
		errs = append(errs, f.keepAtClose(ctx))
	}
	return errors.Join(append(errs, s.forgetAll(), s.dropAgain())...)
}

// keepAtClose puts an unsaved file into the journal and says so; nil when it is stored after all.
func (f *File) keepAtClose(ctx context.Context) error {
	if f.turn.try() || f.take(ctx, f.turn) == nil {
		defer f.turn.give()
	} // else somebody's commit is still running: the journal only reads the spool, and a late success drops the record
	u, unsaved := f.unsaved()
	if !unsaved {
		return nil
	}
	f.leaveStream(ctx)
	reason := u.Err
	if reason == nil {
		reason = ctx.Err()
	}
	if err := f.keep(ctx, reason); err != nil {
		return fmt.Errorf("%s is neither stored nor kept: %w", u.ID, errors.Join(err, reason))
	}
	return fmt.Errorf("%s is not stored, %d bytes are kept in the journal: %w", u.ID, u.Bytes, reason)
}

// dropAgain discards what could not be discarded before.
func (s *Files) dropAgain() error {
	if err := s.drops(s.takeUndropped()); err != nil {
		return fmt.Errorf("what is stored or removed stays in the journal: %w", err)
	}
	return nil
}

// forgetAll closes the spools of what is still open: nobody is left to use them.
func (s *Files) forgetAll() error {
	s.mu.Lock()
	files := make([]*File, 0, len(s.mu.all))
	for f := range s.mu.all {
		files = append(files, f)
	}
	clear(s.mu.all)
	clear(s.mu.byID)
	s.mu.Unlock()
	var errs []error
	for _, f := range files {
		errs = append(errs, f.abandon())
	}
	return errors.Join(errs...)
}

// abandon ends a File at the end of the run. What the journal has a record of stays for the next one.
func (f *File) abandon() error {
	f.mu.Lock()
	k, spools := f.keptLocked(), f.spoolsLocked()
	f.mu.forgotten = true
	f.mu.spool, f.mu.chain, f.mu.going = nil, nil, nil
	unsaved := f.mu.state != clean && !f.mu.detached
	f.mu.Unlock()
	var errs []error
	for _, spool := range spools {
		if k != nil && k.spool == spool || k == nil && unsaved { // unsaved and not kept: the disk failed, and said so
			errs = append(errs, spool.Close())
		} else {
			errs = append(errs, spool.Discard())
		}
	}
	return errors.Join(errs...)
}
