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
		if !bucketShown(b.Name) || there[b.Name] {
			continue
		}
		there[b.Name] = true
		l.held = append(l.held, candidate{b.Name, shown{prefix: true}})
	}
	sortCandidates(l.held)
	l.asked = got.asked
	t.mu.Lock()
	l.ours = t.mu.overlay.names("")
	t.mu.Unlock()
	out = l.merge(l.held, l.ours)
	for _, e := range out {
		listing.Add(e.Path, e)
	}
	listing.Done()
	return out, false, nil
}

// listBuckets yields the account's buckets.
func (t *Tree) listBuckets(ctx context.Context, yield func(Entry, error) bool) error {
	es, stale, err := t.askBuckets(ctx, t.wasListed(""))
	if stale {
		return t.listStale("", "", cmp.Or(err, errLate), yield)
	}
	if err != nil {
		return err
	}
	for _, e := range es {
		if !yield(e, nil) {
			break
		}
	}
	return nil
}

// askBucket finds a bucket out by the account's list; where that may not be read, by a HEAD of the bucket.
func (t *Tree) askBucket(ctx context.Context, path string) (Entry, error) {
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
	if err := checkNewBucket(path); err != nil {
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
	if _, err := t.checkEmpty(ctx, e); err != nil {
		return fail(t.storeErr("list", path, err))
	}
	uploads, err := t.o.Store.Uploads(ctx, e.Bucket, "")
	if err != nil {
		return fail(t.storeErr("uploads of", path, err))
	}
	if len(uploads) > 0 {
		return fail(fmt.Errorf("%w: %d unfinished uploads, of %q first", ErrBusy, len(uploads), uploads[0].Key))
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
