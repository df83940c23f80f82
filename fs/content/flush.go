package content

import (
	"context"
	"errors"
	"time"

	"pailfs/s3client"
)

// keepPatience is how much longer than its caller a failed Flush waits for the turn, to keep the file.
const keepPatience = 10 * time.Second

// Flush is close(2). In store durability it is Sync; a file that cannot be stored is kept in the journal before the error
// is returned, and stored in the background later. In journal durability it returns when the journal has the file, and the
// store gets it in the background; only while the store is too far behind it waits for that too.
func (f *File) Flush(ctx context.Context) error {
	f.addPin(1)
	defer f.files.unpin(f)
	if f.files.o.Behind {
		return f.flushBehind(ctx)
	}
	return f.syncOrKeep(ctx)
}

// syncOrKeep stores a file. What the store does not take is kept and tried again; of a punched file as far as it is here, with
// the name of the upload that has the rest.
func (f *File) syncOrKeep(ctx context.Context) error {
	err := f.Sync(ctx)
	if err == nil || f.stored() {
		return err
	}
	if kept := f.keepFailed(ctx, err); kept != nil {
		return errors.Join(err, kept)
	}
	f.files.behind.schedule(f)
	return err
}

func (f *File) stored() bool {
	_, unsaved := f.unsavedID()
	return !unsaved
}

// keepFailed keeps a file whose commit has failed. The caller may have no time left; the disk gets it all the same.
func (f *File) keepFailed(ctx context.Context, reason error) error {
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepPatience)
	defer cancel()
	return f.keepTurn(wait, reason)
}

// keepTurn keeps a file if there is anything to keep.
func (f *File) keepTurn(ctx context.Context, reason error) error {
	if err := f.take(ctx, f.turn); err != nil {
		return err
	}
	defer f.turn.give()
	if f.stored() {
		return f.abandoned()
	}
	if err := f.keep(ctx, reason); err != nil {
		return err
	}
	return f.abandoned()
}

func (f *File) flushBehind(ctx context.Context) error {
	_, _, needed, conflict := f.syncNeeded()
	if !needed {
		return conflict
	}
	if f.isPunched() { // the journal cannot keep what is not here
		return f.syncOrKeep(ctx)
	}
	if f.isForeign() { // one copy inside the store, which is sure as long as its source is what it was
		err := f.Sync(ctx)
		if err == nil || f.stored() {
			return err
		}
		if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
			conflict = err // the source is gone, and with it bytes that nobody has
		}
	}
	if err := f.keepTurn(ctx, nil); err != nil {
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return err
		}
		f.files.o.Log.WarnContext(ctx, "the journal does not take a file: it is stored at once", "file", f.ID().String(), "err", err)
		if stored := f.Sync(ctx); stored == nil || f.stored() {
			return stored
		}
		return err
	}
	f.files.behind.schedule(f)
	if !f.files.behind.late() {
		return conflict
	}
	// In this call and not in the background: the caller has the name, which a commit of nobody's waits for.
	if err := f.Sync(ctx); err == nil || f.stored() {
		return err
	}
	f.files.behind.schedule(f)
	return conflict
}
