package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"pailfs/s3client"
)

// buckets is the account's list and when it was asked for.
type buckets struct {
	all   []s3client.Bucket
	asked time.Time
}

// askBuckets lists the account's buckets, remembers them, and returns them as entries in name order. stale is true
// instead when the store does not answer and an older list is known.
func (t *Tree) askBuckets(ctx context.Context, known bool) (out []Entry, stale bool, err error) {
	t.mu.Lock()
	listing := t.entries.Begin("")
	t.mu.Unlock()
	got, stale, err := orStale(ctx, t, &t.roots, "", known, func(ctx context.Context) (buckets, error) {
		asked := t.o.Now()
		all, err := t.o.Store.Buckets(ctx)
		return buckets{all, asked}, err
	})
	if stale || err != nil {
		return nil, stale, err
	}
	there := make(map[string]bool, len(got.all))
	l := lister{t: t}
	for _, b := range got.all {
		if !bucketShown(b.Name) || !t.wanted(b.Name) || there[b.Name] {
			continue
		}
		there[b.Name] = true
		l.held = append(l.held, candidate{name: b.Name, shown: shown{prefix: true}, asked: got.asked, came: t.o.Now()})
	}
	sortCandidates(l.held)
	l.asked = got.asked
	t.mu.Lock()
	l.ours = t.mu.overlay.names("")
	t.mu.Unlock()
	for _, m := range l.merge(l.held, l.ours) {
		listing.AddSeen(m.Path, t.pack(m.Path, m.Entry), m.came)
		out = append(out, m.Entry)
	}
	listing.Done()
	return out, false, nil
}

// listBuckets yields the account's buckets behind a name.
func (t *Tree) listBuckets(ctx context.Context, after string, yield func(Entry, error) bool) error {
	es, stale, err := t.askBuckets(ctx, t.wasListed(""))
	if stale {
		return t.listStale("", after, cmp.Or(err, errLate), yield)
	}
	if err != nil {
		return err
	}
	for _, e := range es {
		if e.Path > after && !yield(e, nil) {
			break
		}
	}
	return nil
}

// askBucket finds a bucket out by the account's list; where that may not be read, by a HEAD of the bucket.
func (t *Tree) askBucket(ctx context.Context, path string) (Entry, error) {
	if !t.wanted(path) {
		return Entry{}, ErrNotFound
	}
	es, _, err := t.askBuckets(ctx, false)
	if errors.Is(err, s3client.Denied) || errors.Is(err, s3client.Unsupported) {
		return t.headBucket(ctx, path)
	}
	if err != nil {
		return Entry{}, err
	}
	for _, e := range es {
		if e.Path == path {
			return e, nil
		}
	}
	return Entry{}, ErrNotFound
}

func (t *Tree) headBucket(ctx context.Context, path string) (Entry, error) {
	err := t.o.Store.HeadBucket(ctx, path)
	if err != nil && !errors.Is(err, s3client.NotFound) {
		return Entry{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.recordAskedLocked(path, Entry{}, false)
		return Entry{}, ErrNotFound
	}
	e := t.dirEntryLocked(path)
	t.recordAskedLocked(path, e, true)
	return e, nil
}

// makeBucket is mkdir in an account's root.
func (t *Tree) makeBucket(ctx context.Context, path string) (Entry, error) {
	fail := func(err error) (Entry, error) { return Entry{}, fmt.Errorf("make bucket %s: %w", path, err) }
	if t.o.ReadOnly {
		return fail(ErrReadOnly)
	}
	if err := t.checkNewBucket(path); err != nil {
		t.o.Log.InfoContext(ctx, "a bucket cannot have this name", "name", path, "err", err) // mkdir can say EINVAL alone
		return fail(err)
	}
	if err := t.drain(ctx, path); err != nil {
		return fail(err)
	}
	err := t.o.Store.CreateBucket(ctx, path)
	switch {
	case errors.Is(err, s3client.Exists):
		return fail(fmt.Errorf("%w: %w", ErrExists, err))
	case errors.Is(err, s3client.Invalid):
		return fail(fmt.Errorf("%w: %w", ErrInvalid, err))
	case err != nil:
		t.forget(path)
		return fail(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.dirEntryLocked(path)
	now := t.o.Now()
	e.Mtime, e.Ctime, e.Atime = now, now, now
	t.changeLocked(path, &change{kind: put, it: e, known: true})
	t.entries.Begin(path).Done()
	return e, nil
}

// quietBucket is how long a bucket of a Swift is looked at before it is deleted. There the deletion first takes away the
// parts of all large objects and asks afterwards whether the bucket is empty, by a listing that may be seconds late: an
// object that another host has just completed would lose its bytes.
const quietBucket = 5 * time.Second

// checkUnused looks for objects and unfinished uploads in a bucket.
func (t *Tree) checkUnused(ctx context.Context, e Entry) error {
	if _, err := t.checkEmpty(ctx, e); err != nil {
		return t.storeErr("list", e.Path, err)
	}
	uploads, err := t.o.Store.Uploads(ctx, e.Bucket, "")
	if err != nil {
		return t.storeErr("uploads of", e.Path, err)
	}
	if len(uploads) > 0 {
		err := fmt.Errorf("%w: %d unfinished uploads, of %q first", ErrBusy, len(uploads), uploads[0].Key)
		t.o.Log.InfoContext(ctx, "a bucket is in use; `pailfs uploads abort` ends uploads that nobody goes on with", "bucket", e.Bucket, "err", err)
		return err
	}
	return nil
}

// removeBucket is rmdir in an account's root. The store would destroy the unfinished uploads of others with the
// bucket, so these make it ErrBusy.
func (t *Tree) removeBucket(ctx context.Context, path string) error {
	fail := func(err error) error { return fmt.Errorf("remove bucket %s: %w", path, err) }
	if err := t.drain(ctx, path); err != nil {
		return fail(err)
	}
	e, err := t.lookup(ctx, path, manner{})
	if err != nil {
		return fail(err)
	}
	if err := t.checkUnused(ctx, e); err != nil {
		return fail(err)
	}
	if p := t.o.Store.Profile().Name; p == "nhn" || p == "swift" {
		select {
		case <-time.After(quietBucket):
		case <-ctx.Done():
			return fail(ctx.Err())
		}
		if err := t.checkUnused(ctx, e); err != nil {
			return fail(err)
		}
	}
	err = t.o.Store.DeleteBucket(ctx, e.Bucket)
	switch {
	case errors.Is(err, s3client.NotEmpty):
		return fail(fmt.Errorf("%w: %w", ErrNotEmpty, err))
	case err != nil:
		t.forget(path)
		return fail(t.storeErr("delete", path, err))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetTreeLocked(path)
	t.changeLocked(path, &change{kind: gone, it: e})
	return nil
}
