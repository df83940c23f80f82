package content

import (
	"context"
	"errors"
	"fmt"

	"pailfs/fs/journal"
	"pailfs/s3client"
)

// Detaching is a File on its way to a life without a name. It has all the File's tokens: writes and commits wait, so that
// nothing is stored under the name after the store has deleted it. It ends with Done, Undo or UndoReplacing; all may be called on nil.
type Detaching struct {
	f  *File
	by *journal.Version // what a rename was to put there (Replacing); nil: nothing
}

// Detach prepares the File of an id for the end of its object: what its handles may still read is fetched into the
// spool. Nothing is given up yet. Nil without an error when nothing is known of the id.
func (s *Files) Detach(ctx context.Context, id ID) (*Detaching, error) {
	if err := s.Closed(); err != nil {
		return nil, fmt.Errorf("detach %s: %w", id, err)
	}
	if err := s.settleClones(ctx, id); err != nil {
		return nil, fmt.Errorf("detach %s: %w", id, err)
	}
	f := s.pin(id)
	if f == nil {
		return nil, nil
	}
	if err := f.prepareDetach(ctx); err != nil {
		s.unpin(f)
		return nil, fmt.Errorf("detach %s: %w", id, err)
	}
	return &Detaching{f: f}, nil
}

// prepareDetach returns with everything taken, or an error.
func (f *File) prepareDetach(ctx context.Context) error {
	if err := f.takeAll(ctx); err != nil {
		return err
	}
	f.files.setLeaving(f, true)
	err := f.files.settleClones(ctx, f.ID()) // who cloned it while we waited
	if old := f.left(); err == nil && old != nil {
		err = f.eraseStale(ctx, old)
	}
	if err == nil {
		if !f.isPunched() { // else Undo needs it
			f.dropStream() // whoever removes a file does not wait for a store that hangs
		}
		if !f.isOpen() {
			return nil
		}
		err = f.fetchBase(ctx)
	}
	if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
		err = nil // somebody else took the bytes away already; reading them fails as it did before
	}
	if err != nil {
		f.files.setLeaving(f, false)
		f.giveAll()
	}
	return err
}

// left is what a rename of an earlier run has left under the former name of a file that is stored under its name: nobody will
// know of it when the file goes.
func (f *File) left() *stale {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.mu.stale; old != nil && old.etag != "" {
		return old
	}
	return nil
}

// setLeaving is seen by every CloneRange that begins afterwards.
func (s *Files) setLeaving(f *File, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.leaving = yes
}

func (f *File) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.refs > 0
}

// Uncertain says whether an upload of the file had no answer: nobody knows which object there is, if any.
func (d *Detaching) Uncertain() bool { return d != nil && d.f != nil && d.f.isUncertain() }

// Erase deletes the object of a file whose upload had no answer: nobody knows whether it is there, and for a new file nobody
// else would delete it. For every other file it does nothing.
func (d *Detaching) Erase(ctx context.Context) error {
	if !d.Uncertain() {
		return nil
	}
	id := d.f.ID()
	if err := d.f.files.erase(ctx, id); err != nil {
		return fmt.Errorf("delete %s, of which an upload had no answer: %w", id, err)
	}
	return nil
}

func (f *File) isUncertain() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.uncertain
}

// Done says that the name is gone: the File lives on for its handles alone, Sync has nothing to do any more, and what
// nobody has open is dropped, unsaved changes too. Its record goes from the journal: whoever deleted a stored object in the
// journal has made that durable before, and syncs the journal after Done where the store had nothing. An error says that the
// record may be there still, and the file in the next run; everything else is as without one.
func (d *Detaching) Done() error {
	if d == nil || d.f == nil {
		return nil
	}
	f := d.f
	d.f = nil
	id := f.ID()
	f.dropStream()
	f.recording <- struct{}{}
	err := f.giveBack(f.files.detach(f))
	f.recording.give()
	f.files.o.Uploader.Forget(id.Bucket, id.Key)
	f.giveAll()
	f.files.unpin(f)
	if err != nil {
		return fmt.Errorf("drop what the journal has of %s: %w", id, err)
	}
	return nil
}

// Undo says that the name stays: the File goes on as before.
func (d *Detaching) Undo() {
	if d == nil || d.f == nil {
		return
	}
	f := d.f
	d.f = nil
	f.files.setLeaving(f, false)
	f.giveAll()
	f.files.unpin(f)
}

// detach takes a File's id away, and says which spools it had.
func (s *Files) detach(f *File) (spools []*journal.Spool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := f.ID(); s.mu.byID[id] == f {
		delete(s.mu.byID, id)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.detached = true
	spools = f.spoolsLocked()
	f.unkeepLocked()
	return spools
}
