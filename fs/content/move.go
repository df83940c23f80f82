package content

import (
	"context"
	"errors"
	"fmt"

	"pailfs/s3client"
)

// Moved says that the store has an object under another key now: the File follows, its base is obj. from and to may be
// equal, when only the object's attributes were stored anew.
func (s *Files) Moved(from, to ID, obj s3client.Object) {
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
	defer f.mu.Unlock()
	if f.mu.base == nil || obj.Size != 0 && obj.Size != f.mu.base.Version.Size {
		return
	}
	obj.Size = f.mu.base.Version.Size
	f.rebaseLocked(to, obj)
}

// Move renames a file with unsaved changes: it is committed under its new name, what the store has of it copied from the
// old one, and the old object deleted. moved is false, and nothing done, for a file that is clean or not known; also for
// one that is being streamed to its old name, which is committed there first: the store renames it faster than we could
// send it again. After an error the file is under its old name, unsaved.
func (s *Files) Move(ctx context.Context, from, to ID) (obj s3client.Object, moved bool, err error) {
	f := s.pin(from)
	if f == nil {
		return obj, false, nil
	}
	defer s.unpin(f)
	if err := f.take(ctx); err != nil {
		return obj, false, err
	}
	defer f.give()
	if _, unsaved := f.unsavedID(); !unsaved {
		return obj, false, nil
	}
	if f.currentStream() != nil {
		return obj, false, f.commitTurn(ctx, f.commit)
	}
	err = f.commitTurn(ctx, func(ctx context.Context) (err error) {
		obj, moved, err = f.moveTo(ctx, to)
		return err
	})
	if moved {
		return obj, true, nil
	}
	return obj, false, err
}

// moveTo commits a file under another id.
func (f *File) moveTo(ctx context.Context, to ID) (obj s3client.Object, moved bool, err error) {
	for range maxRounds {
		snap, obj, err := f.try(ctx, &to)
		if errors.Is(err, errAgain) {
			continue
		}
		if err != nil || snap == nil {
			return obj, false, err
		}
		if snap.base != nil || f.isUncertain() {
			if err := f.files.o.Store.Delete(ctx, snap.id.Bucket, snap.id.Key); err != nil {
				return obj, false, fmt.Errorf("delete %s after storing it as %s: %w", snap.id, to, err)
			}
		}
		f.files.rekey(f, to)
		f.record(snap, to, obj)
		f.files.o.Stored(to, obj)
		return obj, true, nil
	}
	return obj, false, fmt.Errorf("move %s to %s: %w", f.ID(), to, s3client.Changed)
}

// Detaching is a File on its way to a life without a name. It has the File's turn: writes and commits wait, so that
// nothing is stored under the name after the store has deleted it. It ends with Done or Undo; both may be called on nil.
type Detaching struct{ f *File }

// Detach prepares the File of an id for the end of its object: what its handles may still read is fetched into the
// spool. Nothing is given up yet. Nil without an error when nothing is known of the id.
func (s *Files) Detach(ctx context.Context, id ID) (*Detaching, error) {
	f := s.pin(id)
	if f == nil {
		return nil, nil
	}
	if err := f.prepareDetach(ctx); err != nil {
		s.unpin(f)
		return nil, fmt.Errorf("detach %s: %w", id, err)
	}
	return &Detaching{f}, nil
}

// prepareDetach returns with the turn taken, or an error.
func (f *File) prepareDetach(ctx context.Context) error {
	if err := f.take(ctx); err != nil {
		return err
	}
	f.stopStream(ctx)
	if !f.isOpen() {
		return nil
	}
	err := f.fetchBase(ctx)
	if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
		err = nil // somebody else took the bytes away already; reading them fails as it did before
	}
	if err != nil {
		f.give()
	}
	return err
}

func (f *File) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.refs > 0
}

// Erase deletes the object of a new file whose upload had no answer: nobody knows whether it is there, and nobody else
// would delete it. For every other file it does nothing.
func (d *Detaching) Erase(ctx context.Context) error {
	if d == nil || d.f == nil || !d.f.isUncertain() {
		return nil
	}
	id := d.f.ID()
	if err := d.f.files.o.Store.Delete(ctx, id.Bucket, id.Key); err != nil {
		return fmt.Errorf("delete %s, of which an upload had no answer: %w", id, err)
	}
	return nil
}

func (f *File) isUncertain() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.base == nil && f.mu.uncertain
}

// Done says that the name is gone: the File lives on for its handles alone, Sync has nothing to do any more, and what
// nobody has open is dropped, unsaved changes too.
func (d *Detaching) Done() {
	if d == nil || d.f == nil {
		return
	}
	f := d.f
	d.f = nil
	f.files.detach(f)
	f.give()
	f.files.unpin(f)
}

// Undo says that the name stays: the File goes on as before.
func (d *Detaching) Undo() {
	if d == nil || d.f == nil {
		return
	}
	f := d.f
	d.f = nil
	f.give()
	f.files.unpin(f)
}

// detach takes a File's id away.
func (s *Files) detach(f *File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := f.ID(); s.mu.byID[id] == f {
		delete(s.mu.byID, id)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.detached = true
}
