package content

import (
	"context"
	"errors"
	"fmt"

	"pailfs/cache"
	"pailfs/s3client"
)

// CloneRange is copy_file_range(2) without moving bytes: the file's base becomes the version that src is, and its commit
// copies inside the store. It works while src is clean, both offsets are equal, and the file holds nothing but a clone of
// the same version up to there. errors.ErrUnsupported otherwise, and nothing is done. It says how many bytes were cloned:
// fewer than n, or none, at the end of src.
//
// The version is pinned by its ETag. Who replaces or removes it through this mount stores its clones before; when somebody
// else does, the commit fetches what is still in memory, or fails with s3client.Changed.
func (f *File) CloneRange(ctx context.Context, src *File, srcOff, dstOff, n int64) (int64, error) {
	if src == f || srcOff != dstOff || srcOff < 0 || n < 0 {
		return 0, errors.ErrUnsupported
	}
	if err := f.take(ctx, f.turn); err != nil {
		return 0, err
	}
	defer f.turn.give()
	return f.files.clone(f, src, srcOff, n)
}

// clone holds Files.mu, so that src cannot begin to leave, unseen, before the clone is one.
func (s *Files) clone(f, src *File, off, n int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Closed(); err != nil {
		return 0, err
	}
	base, ok := src.cloneable()
	if !ok {
		return 0, errors.ErrUnsupported
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.takesCloneLocked(base, off) {
		return 0, errors.ErrUnsupported
	}
	if n = min(n, base.Version.Size-off); n <= 0 {
		return 0, nil
	}
	if off == 0 {
		f.mu.own, f.mu.base, f.mu.foreign = f.underLocked(), &base, true
	}
	f.mu.layout = layout{size: off + n, base: off + n}
	f.changedLocked()
	f.mu.mtime = s.o.Now()
	s.mu.clones[f] = struct{}{}
	return n, nil
}

// cloneable is the stored version that the file is equal to.
func (f *File) cloneable() (Base, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.state != clean || f.mu.base == nil || f.mu.base.Version.ETag == "" || f.mu.detached || f.mu.superseded ||
		f.mu.leaving || f.mu.forgotten {
		return Base{}, false
	}
	return *f.mu.base, true
}

// takesCloneLocked says whether a file has nothing but a clone of the version up to off.
func (f *File) takesCloneLocked(base Base, off int64) bool {
	l := &f.mu.layout
	switch {
	case f.mu.detached || f.mu.forgotten || f.mu.superseded || f.mu.conflict != nil || len(f.mu.chain) > 0 ||
		f.mu.stream != nil || f.mu.settled != nil:
		return false
	case len(l.local) > 0 || l.size != off || l.base != off:
		return false
	}
	return off == 0 || f.mu.foreign && f.mu.base.Version == base.Version
}

func (f *File) isForeign() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.foreign
}

// isCloneOf says whether the file waits for bytes of an object that wanted likes. One whose name is about to go does not: it
// has what its handles may still read.
func (f *File) isCloneOf(wanted func(ID) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mu.foreign || !f.unsavedLocked() || f.mu.leaving {
		return false
	}
	v := f.mu.base.Version
	return wanted(ID{Bucket: v.Bucket, Key: v.Key})
}

// pinClones pins the files that wait for bytes of an object.
func (s *Files) pinClones(id ID) (clones []*File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.mu.clones {
		switch {
		case !f.isForeign():
			delete(s.mu.clones, f)
		case f.isCloneOf(func(of ID) bool { return of == id }):
			f.addPin(1)
			clones = append(clones, f)
		}
	}
	return clones
}

// settleClones stores the files that wait for bytes of an object which is about to be replaced or removed. Clones of clones
// are no ring: a file is clean when it is cloned, and no clone itself until it is stored.
func (s *Files) settleClones(ctx context.Context, id ID) error {
	var errs []error
	for _, f := range s.pinClones(id) {
		if err := f.Sync(ctx); err != nil && !f.stored() {
			errs = append(errs, fmt.Errorf("store %s, a copy of %s, before that changes: %w", f.ID(), id, err))
		}
		s.unpin(f)
	}
	return errors.Join(errs...)
}

// followSource follows the object that a clone's bytes are in to its new name.
func (f *File) followSource(from, to ID, obj s3client.Object) {
	f.mu.Lock()
	v := f.versionLocked()
	follows := f.mu.foreign && v.Bucket == from.Bucket && v.Key == from.Key && (obj.Size == 0 || obj.Size == v.Size)
	if follows {
		f.mu.base = f.baseOf(to, obj, v.Size)
		close(f.mu.rebased)
		f.mu.rebased = make(chan struct{})
	}
	f.mu.Unlock()
	if follows {
		f.again()
	}
}

// lookAtSource finds out whether the version that a clone's bytes are in is there still: errVanished when it is not.
func (f *File) lookAtSource(ctx context.Context, v cache.Version) error {
	obj, err := f.files.o.Store.Head(s3client.Patient(ctx), v.Bucket, v.Key)
	switch {
	case errors.Is(err, s3client.NotFound), err == nil && obj.ETag != v.ETag:
		return errVanished
	case err != nil:
		return fmt.Errorf("look at %s/%s, of which %s is a copy: %w", v.Bucket, v.Key, f.ID(), err)
	}
	return nil
}
