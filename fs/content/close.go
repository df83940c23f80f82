package content

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Close commits everything, keeps in the journal what the store does not take, and names it in the error. Afterwards nothing
// runs in the background. It ends within ctx's time but for the disk, and turnPatience.
//
// Programs may have files open still. From the beginning of Close on no file can be opened or changed, moved or detached: what
// is kept of a file is all that anybody was told is written. An fsync stores it until the end, and then is an error.
func (s *Files) Close(ctx context.Context) error {
	s.close()
	s.behind.rest()
	var errs []error
	if err := s.SyncAll(ctx, nil); err != nil {
		// What is not stored is named below; a conflict is stored, and was logged.
		s.o.Log.DebugContext(ctx, "not everything could be committed at close", "err", err)
	}
	s.behind.stop()
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), turnPatience)
	defer cancel()
	for _, f := range s.pinUnsaved(func(*File, ID) bool { return true }) {
		errs = append(errs, f.keepAtClose(ctx, wait))
	}
	return errors.Join(append(errs, s.forgetAll(), s.dropAgain())...)
}

// turnPatience bounds the waiting for changes that began before Close, of all files together: a write takes as long as the disk.
const turnPatience = 10 * time.Second

func (s *Files) close() {
	s.mu.Lock() // a clone is made under it
	defer s.mu.Unlock()
	s.closed.Store(true)
}

// keepAtClose puts an unsaved file into the journal and says so; nil when it is stored after all. wait bounds the waiting for
// whoever changes the file.
func (f *File) keepAtClose(ctx, wait context.Context) error {
	if f.turn.try() || f.take(wait, f.turn) == nil {
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

// abandonedLocked is ErrClosed for a File that ended at the end of the run with changes that the store has not: nobody can say
// that they are stored, and what is written of them into the journal from now on is not kept.
func (f *File) abandonedLocked() error {
	if f.mu.forgotten && !f.mu.detached && f.mu.state != clean {
		return fmt.Errorf("store %s: %w", f.mu.id, ErrClosed)
	}
	return nil
}

func (f *File) abandoned() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.abandonedLocked()
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
