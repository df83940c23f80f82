package content

import (
	"context"
	"errors"
	"fmt"
	"io"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
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
	if err := f.take(ctx); err != nil {
		return err
	}
	defer f.give()
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

// commitTurn runs a commit, the caller having the turn, and records its result.
func (f *File) commitTurn(ctx context.Context, commit func(context.Context) error) error {
	f.mu.Lock()
	f.mu.state = syncing
	f.mu.settled = make(chan struct{})
	gen := f.mu.gen
	f.mu.Unlock()
	err := commit(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.mu.settled)
	f.mu.settled = nil
	f.mu.tries++
	f.mu.lastErr = err
	f.mu.lastGen = gen
	if f.mu.state == syncing && err != nil {
		f.mu.state = failed
	}
	if err == nil {
		return f.mu.conflict
	}
	return err
}

// snapshot is one state of a file; the turn keeps its bytes as they are.
type snapshot struct {
	id      ID
	layout  layout
	base    *Base
	spool   *journal.Spool
	stream  *streaming
	touches uint64
	version cache.Version
}

func (f *File) snapshot() *snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &snapshot{id: f.mu.id, layout: f.mu.layout.clone(), base: f.mu.base, spool: f.mu.spool, stream: f.mu.stream,
		touches: f.mu.touches}
	if s.base != nil {
		s.version = s.base.Version
	}
	return s
}

// content reads a snapshot from beginning to end (io.ReaderAt).
type content struct {
	*snapshot
	ctx    context.Context
	blocks *cache.Blocks
}

func (c content) ReadAt(p []byte, off int64) (int, error) {
	l := look{off: off, n: int64(len(p)), segs: c.layout.split(off, int64(len(p))), version: c.version, spool: c.spool}
	if len(l.segs) == 0 {
		return 0, io.EOF
	}
	n := int(end(l.segs[len(l.segs)-1].Range) - off)
	if err := l.fill(c.ctx, c.blocks.ReadAt, p[:n]); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// commit stores the file under its id, again when attributes or the name change meanwhile.
func (f *File) commit(ctx context.Context) error {
	for range maxRounds {
		snap, obj, err := f.try(ctx, nil)
		if errors.Is(err, errAgain) {
			continue
		}
		if err != nil || snap == nil {
			return err
		}
		again := f.record(snap, snap.id, obj)
		f.files.o.Stored(snap.id, obj)
		if err := f.deleteStale(ctx); err != nil {
			return err
		}
		if !again {
			return nil
		}
	}
	return nil
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

// upload makes the object id equal to a snapshot.
func (f *File) upload(ctx context.Context, snap *snapshot, id ID) (s3client.Object, error) {
	if snap.stream != nil && (snap.stream.id != id || snap.layout.base > 0) {
		f.stopStream(ctx)
		snap.stream = nil
	}
	headers, err := f.headersFor(ctx, snap.id, snap.stream != nil)
	if err != nil {
		return s3client.Object{}, fmt.Errorf("store %s: %w", id, err)
	}
	job := upload.Job{Bucket: id.Bucket, Key: id.Key, Headers: headers, Source: content{snap, ctx, f.files.o.Blocks}}
	if snap.stream != nil {
		job.Stream = snap.stream.Stream
	}
	if v := snap.version; snap.layout.base > 0 {
		job.Base = &upload.Base{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Size: v.Size}
	}
	job.Need = snap.layout.need(snap.version.Size)
	obj, err := f.files.o.Uploader.Store(ctx, job)
	if err != nil {
		f.failedUpload(id, err)
		return s3client.Object{}, fmt.Errorf("store %s: %w", id, err)
	}
	obj.Bucket, obj.Key, obj.Size, obj.Headers = id.Bucket, id.Key, snap.layout.size, &job.Headers
	if obj.Modified.IsZero() && job.Stream != nil {
		f.complete(ctx, &obj)
	}
	return obj, nil
}

// failedUpload notes that an upload to the file's own name may have made the object nevertheless.
func (f *File) failedUpload(id ID, err error) {
	if answered(err) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.uncertain = f.mu.uncertain || f.mu.id == id
}

// answered says whether an error is the store's word that it did nothing.
func answered(err error) bool {
	for _, k := range []s3client.Kind{s3client.NotFound, s3client.Exists, s3client.Changed, s3client.Denied,
		s3client.Throttled, s3client.TooLarge, s3client.Unsupported, s3client.Invalid} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// complete asks when a streamed object was stored: its headers carry no time, so that the store's counts. The object is
// safe whatever the answer is.
func (f *File) complete(ctx context.Context, obj *s3client.Object) {
	head, err := f.files.o.Store.Head(s3client.Patient(ctx), obj.Bucket, obj.Key)
	if err == nil && head.ETag == obj.ETag {
		obj.Modified = head.Modified
		return
	}
	f.files.o.Log.Debug("time of a stored object is not known", "object", obj.Bucket+"/"+obj.Key, "err", err)
}

// record makes obj, stored as id, the file's base. again says that there is more to commit: attributes or the name
// changed while the upload ran.
func (f *File) record(snap *snapshot, id ID, obj s3client.Object) (again bool) {
	f.mu.Lock()
	f.mu.layout.committed()
	f.rebaseLocked(id, obj)
	if f.mu.stream == snap.stream {
		f.mu.stream = nil
	}
	if f.mu.id != id {
		f.mu.stale = &id
	}
	again = f.mu.touches != snap.touches || f.mu.id != id
	f.mu.state = clean
	f.mu.superseded, f.mu.recovered, f.mu.uncertain = false, false, false
	if again {
		f.mu.state = dirty
	}
	drop := f.takeKeptLocked()
	f.mu.Unlock()
	f.files.discard(f, drop)
	return again
}

// takeKeptLocked takes a spool off the file of which the journal has a record, once the store has its bytes: the record
// must go with it, or the next run would store them again.
func (f *File) takeKeptLocked() *journal.Spool {
	if !f.mu.kept {
		return nil
	}
	spool := f.mu.spool
	f.mu.spool, f.mu.kept = nil, false
	f.mu.layout.local = nil
	return spool
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
	if err := f.files.o.Store.Delete(ctx, stale.Bucket, stale.Key); err != nil {
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

// keep puts what is unsaved into the journal, for a later run to store; the caller has the turn or nobody else is left.
//
// Where the attributes are not known the record has none: recovered asks for them when it stores the file.
func (f *File) keep(ctx context.Context, reason error) error {
	spool, err := f.ensureSpool()
	if err != nil {
		return err
	}
	snap := f.snapshot()
	if err := spool.Truncate(snap.layout.size); err != nil { // the end may be a hole
		return fmt.Errorf("keep %s: %w", snap.id, err)
	}
	headers, err := f.headersFor(ctx, snap.id, false)
	if err != nil {
		f.files.o.Log.Warn("attributes of a kept file are not known", "object", snap.id.String(), "err", err)
	}
	p := journal.Pending{Bucket: snap.id.Bucket, Key: snap.id.Key, Size: snap.layout.size, Dirty: snap.layout.dirty,
		Headers: journal.Headers(headers), Time: f.files.o.Now()}
	if reason != nil {
		p.Reason = reason.Error()
	}
	if v := snap.version; snap.base != nil {
		p.Base = &journal.Base{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Size: v.Size, Limit: snap.layout.base}
	}
	if err := f.files.o.Journal.Keep(spool, p); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.kept = true
	return nil
}
