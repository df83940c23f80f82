package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
)

// A file that was changed here in part, and whose base somebody else has removed or replaced meanwhile, has lost what of the
// base is in no cache: nobody will ever store it as its writer left it. What was written here is kept beside the name, as in
// any conflict, and whoever wrote is told. The file has no name any more then; its handles read what is here and get
// s3client.Changed for the rest. Where nothing was written, only cut off or given other attributes, there is nothing to keep.

const (
	// mostZeros is how many bytes that are lost stand as zeros in what is kept, so that all others are where they were. Where
	// more are lost they are left out: nobody wants to send gigabytes of zeros to keep a page.
	mostZeros = 64 * mib
	// salvagePiece is how much of a lost base is looked for in the caches at once.
	salvagePiece = 64 << 10
	// salvageMisses is how often what is not in memory is looked for elsewhere: each miss is a request.
	salvageMisses = 8
)

// keepRest ends a file of which bytes are lost, cause saying how. The caller has the turn and sends; the error is ErrConflict.
// Where the store does not take what is left the file stays as it is, in the journal too, and is tried again.
func (f *File) keepRest(ctx context.Context, cause error) error {
	if old := f.left(); old != nil {
		if err := f.eraseStale(ctx, old); err != nil {
			return err
		}
	}
	f.stopStream(ctx)
	f.salvage(ctx)
	id := f.ID()
	r := f.rest()
	if len(r.parts) == 0 {
		f.files.o.Log.WarnContext(ctx, "a change without bytes of its own is void: somebody else has removed or replaced the file", "object", id.String(), "err", cause)
		return f.lose(fmt.Errorf("%s: %w, and nothing was written here", id, ErrConflict))
	}
	to, at, err := f.storeRest(ctx, id, r)
	if err != nil {
		err = fmt.Errorf("%s: %w, and bytes that it stood on are gone; what was written here is not stored yet: %w", id, ErrConflict, err)
		return errors.Join(err, f.keep(ctx, err))
	}
	f.files.addConflict(Conflict{ID: id, Kept: to, Time: at})
	f.files.o.Log.WarnContext(ctx, "conflict: what was written here is kept; bytes that it stood on are gone", "object", id.String(), "local", to.String(),
		"lost", r.lost, "at", r.where(), "err", cause)
	return f.lose(fmt.Errorf("%s: %w; what was written here is %s, and %d bytes that it stood on are gone", id, ErrConflict, to, r.lost))
}

// storeRest stores what is left of a file beside its name.
func (f *File) storeRest(ctx context.Context, id ID, r *rest) (to ID, at time.Time, err error) {
	to, at = f.files.conflictName(id)
	h, err := f.headersFor(ctx, id, false)
	if err != nil {
		return to, at, err
	}
	done, err := f.files.o.Guard(ctx, to)
	if err != nil {
		return to, at, err
	}
	obj, err := f.files.o.Uploader.Store(ctx, upload.Job{Bucket: to.Bucket, Key: to.Key, Headers: h, Source: r,
		Need: upload.Need{Size: r.size, Dirty: []Range{{Len: r.size}}}})
	done(err == nil)
	if err != nil {
		return to, at, err
	}
	f.files.isNew(to)
	f.files.o.Stored(to, obj)
	return to, at, nil
}

// lose takes a file's name away, its changes being kept elsewhere or void. why is what Sync, and who changes it, gets from now on.
func (f *File) lose(why error) error {
	id := f.ID()
	f.mu.Lock()
	base := f.versionLocked()
	f.mu.conflict, f.mu.lost, f.mu.stale = why, true, nil
	f.mu.Unlock()
	f.recording <- struct{}{}
	f.release(f.files.detach(f))
	f.recording.give()
	f.files.o.Uploader.Forget(id.Bucket, id.Key)
	if f.files.o.Lost != nil {
		f.files.o.Lost(id)
	}
	if f.files.o.Outdated != nil && base.ETag != "" {
		f.files.o.Outdated(base)
	}
	return why
}

// salvage brings into the spool what the caches have of a base that is gone.
func (f *File) salvage(ctx context.Context) {
	f.mu.Lock()
	missing, version := f.mu.layout.missing(), f.versionLocked()
	f.mu.Unlock()
	misses, buf := 0, make([]byte, salvagePiece)
	for _, r := range missing {
		for off := r.Off; off < end(r) && ctx.Err() == nil; {
			n := min(salvagePiece-off%salvagePiece, end(r)-off)
			if misses < salvageMisses || f.files.o.Blocks.Contains(version, off, n) {
				if err := f.salvaged(ctx, version, buf[:n], off); err != nil {
					misses++
				}
			}
			off += n
		}
	}
}

func (f *File) salvaged(ctx context.Context, version cache.Version, p []byte, off int64) error {
	if _, err := f.files.o.Blocks.ReadAt(ctx, version, p, off); err != nil {
		return err
	}
	spool, err := f.writable(ctx, off, off)
	if err != nil {
		return err
	}
	if _, err := spool.WriteAt(p, off); err != nil {
		return err
	}
	f.fetched(spool, Range{Off: off, Len: int64(len(p))})
	return nil
}

// rest is what is left of a file (io.ReaderAt).
type rest struct {
	spool *journal.Spool
	parts []restPart // in order, not empty
	size  int64
	lost  int64 // bytes of the base that are not in it
	exact bool  // each byte is where it was
}

// restPart is a run of the file's bytes, and where it is in what is left.
type restPart struct {
	Range
	at int64
}

// rest is what is left of the present state; the caller has the turn. Without bytes of the file's own it is empty.
func (f *File) rest() *rest {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.mu.layout
	r := &rest{spool: f.mu.spool}
	if len(l.dirty) == 0 {
		return r
	}
	for _, m := range l.missing() {
		r.lost += m.Len
	}
	r.exact = r.lost <= mostZeros
	for _, here := range l.local {
		at := r.size
		if r.exact {
			at = here.Off
		}
		r.parts = append(r.parts, restPart{here, at})
		r.size = at + here.Len
	}
	if r.exact {
		r.size = max(r.size, l.size)
	}
	return r
}

func (r *rest) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), r.size-off))
	if n <= 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	for _, part := range r.parts {
		from, to := max(off, part.at), min(off+int64(n), part.at+part.Len)
		if from >= to {
			continue
		}
		if err := readSpool(r.spool, p[from-off:to-off], part.Off+from-part.at); err != nil {
			return 0, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// where says, for a person, which bytes of the file are in what is left, and from where on.
func (r *rest) where() string {
	const most = 20
	var s []string
	for _, p := range r.parts[:min(most, len(r.parts))] {
		s = append(s, fmt.Sprintf("%d+%d", p.Off, p.Len))
	}
	if more := len(r.parts) - len(s); more > 0 {
		s = append(s, fmt.Sprintf("and %d more", more))
	}
	if !r.exact {
		s = append(s, "one behind the other")
	}
	return fmt.Sprint(s)
}

// lostLocked is why a file takes no changes any more; nil: it does.
func (f *File) lostLocked() error {
	if f.mu.lost {
		return f.mu.conflict
	}
	return f.files.Closed()
}
