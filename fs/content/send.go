package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"pailfs/cache"
	"pailfs/fs/journal"
	"pailfs/fs/upload"
	"pailfs/s3client"
)

// snapshot is a state of a file, and what it stands on.
type snapshot struct {
	id      ID
	layout  layout
	base    *Base
	spool   *journal.Spool
	stream  *streaming
	touches uint64
	version cache.Version
	foreign bool
	state   string // names the bytes and the attributes
}

// snapshot is a state with what it stands on now.
func (f *File) snapshot(s *sending) *snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	snap := f.snapshotLocked(s.stage)
	snap.stream = s.stream
	return snap
}

func (f *File) snapshotLocked(st *stage) *snapshot {
	f.nameLocked()
	return &snapshot{id: f.mu.id, layout: f.layoutLocked(st), base: f.mu.base, spool: st.spool, touches: f.mu.touches,
		foreign: f.mu.foreign, version: f.versionLocked(), state: fmt.Sprintf("%s.%d.%d", f.mu.lineage, st.bytes, f.mu.touches)}
}

// content reads a snapshot from beginning to end (io.ReaderAt).
type content struct {
	*snapshot
	ctx    context.Context
	blocks *cache.Blocks
	told   *told
}

func newContent(ctx context.Context, snap *snapshot, blocks *cache.Blocks) content {
	return content{snap, ctx, blocks, &told{}}
}

func (c content) ReadAt(p []byte, off int64) (int, error) {
	l := look{off: off, n: int64(len(p)), segs: c.layout.split(off, int64(len(p))), version: c.version, spool: c.spool}
	if len(l.segs) == 0 {
		return 0, io.EOF
	}
	n := int(end(l.segs[len(l.segs)-1].Range) - off)
	if err := l.fill(c.ctx, c.readBase, p[:n]); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// told are the ranges that are about to be read, as Ahead said.
type told struct {
	sync.Mutex
	ranges ranges
}

// after is how many bytes from off on are about to be read.
func (t *told) after(off int64) int64 {
	t.Lock()
	defer t.Unlock()
	if in := t.ranges.within(off, math.MaxInt64-off); len(in) > 0 && in[0].Off == off {
		return in[0].Len
	}
	return 0
}

var (
	_ upload.Ahead   = content{}
	_ upload.Grained = content{}
)

// Grain says what a read at off reads at least.
func (c content) Grain(off int64) int64 {
	if i := c.layout.local.at(off); c.spool == nil || i == len(c.layout.local) || c.layout.local[i].Off > off {
		return 0
	}
	return c.spool.Grain(off)
}

// Ahead fetches what of the base lies in a range that is about to be read, in few large pieces.
func (c content) Ahead(off, n int64) {
	from, to := int64(-1), int64(0)
	for _, s := range c.layout.split(off, n) {
		if s.from == fromBase {
			if from < 0 {
				from = s.Off
			}
			to = end(s.Range)
		}
	}
	if from < 0 {
		return
	}
	c.told.Lock()
	c.told.ranges = c.told.ranges.add(from, to-from)
	c.told.Unlock()
	for _, piece := range pieces(from, to) {
		c.blocks.Prefetch(c.version, piece.Off, piece.Len)
	}
}

// readBase reads bytes of the base. Where there was no room to fetch them ahead they come in pieces as large as what is read
// next allows, not in the small ones of a request's body.
func (c content) readBase(ctx context.Context, v cache.Version, p []byte, off int64) (int, error) {
	n := min(c.told.after(off), mib, c.blocks.MaxFetchBytes())
	if n <= int64(len(p)) || c.blocks.Contains(v, off, int64(len(p))) {
		return c.blocks.ReadAt(ctx, v, p, off)
	}
	view, err := c.blocks.View(ctx, v, off, int(n))
	if err != nil {
		return 0, err
	}
	defer view.Done()
	if next := min(c.told.after(off+n), mib); next > 0 {
		c.blocks.Prefetch(v, off+n, next)
	}
	done := 0
	for _, s := range view.Slices() {
		done += copy(p[done:], s)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// upload makes the object id equal to a snapshot.
func (f *File) upload(ctx context.Context, snap *snapshot, id ID) (s3client.Object, error) {
	if st := snap.stream; st != nil && (st.id != id || snap.layout.base > 0) {
		if f.isPunched() {
			return s3client.Object{}, fmt.Errorf("store %s: its bytes are in an upload of %s: %w", id, st.id, journal.ErrReleased)
		}
		f.forgetStream(st)
		f.abort(ctx, st)
		snap.stream = nil
	}
	headers, err := f.headersFor(ctx, snap.id, snap.stream != nil)
	if err != nil {
		return s3client.Object{}, fmt.Errorf("store %s: %w", id, err)
	}
	job := upload.Job{State: snap.state, Bucket: id.Bucket, Key: id.Key, Headers: headers, Source: newContent(ctx, snap, f.files.o.Blocks)}
	if snap.stream != nil {
		job.Stream = snap.stream.Stream
	}
	job.Resume = f.resume(id)
	if v := snap.version; snap.layout.base > 0 {
		job.Base = &upload.Base{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Size: v.Size}
	}
	job.Need = snap.layout.need(snap.version.Size)
	if id == snap.id {
		job.Making = func(etag string) { f.noteSent(etag, stamp(snap.layout.size, &headers)) }
		job.Spoiled = f.noteSpoiled
	} else if making, err := f.replaceAt(ctx, snap, id); err != nil {
		return s3client.Object{}, fmt.Errorf("store %s: %w", id, err)
	} else {
		job.Making = making
	}
	if err := f.foretell(ctx, snap, id, &headers); err != nil {
		return s3client.Object{}, fmt.Errorf("store %s: %w", id, err)
	}
	noted, doubt := s3client.WithDoubt(ctx)
	obj, err := f.files.o.Uploader.Store(noted, job)
	if err != nil {
		if stored, ok := f.completedAnyway(ctx, snap); ok {
			obj, err = stored, nil
		}
	}
	if err != nil {
		f.failedUpload(ctx, snap, id, err, doubt.Any())
		return s3client.Object{}, fmt.Errorf("store %s: %w", id, err)
	}
	obj.Bucket, obj.Key, obj.Size, obj.Headers = id.Bucket, id.Key, snap.layout.size, &job.Headers
	if obj.Modified.IsZero() && job.Stream != nil {
		f.complete(ctx, &obj)
	}
	return obj, nil
}

// failedUpload notes that an upload to the file's own name may have made the object nevertheless. What broke it off may be a read of
// the bytes, whose error says nothing of an attempt before that had no answer.
func (f *File) failedUpload(ctx context.Context, snap *snapshot, id ID, err error, inDoubt bool) {
	if !inDoubt && answered(err) || f.ID() != id {
		return
	}
	f.addLost(ctx, snap)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.uncertain = true
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
	f.files.o.Log.DebugContext(ctx, "time of a stored object is not known", "object", obj.Bucket+"/"+obj.Key, "err", err)
}

// resume are the uploads of an earlier run that may have parts of the file.
func (f *File) resume(id ID) []string {
	f.mu.Lock()
	ids, recovered := f.mu.resume, f.mu.recovered
	f.mu.Unlock()
	if recovered && f.files.o.Resume != nil {
		ids = append(slices.Clone(ids), f.files.o.Resume(id)...)
	}
	return ids
}
