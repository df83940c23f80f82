package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
)

// List streams a directory's entries in the order of their names: what the store lists, corrected by the changes made
// here. Attributes are as far as known, no HEAD is made. An error ends it. A directory that was listed to its end less
// than the TTL ago costs no request. Of what comes or goes meanwhile it may show either; all else it shows once.
func (t *Tree) List(ctx context.Context, path string) iter.Seq2[Entry, error] {
	return t.ListAfter(ctx, path, "")
}

// ListAfter is List of the names behind one, which need not be there. It begins with the page that they are on.
func (t *Tree) ListAfter(ctx context.Context, path, name string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := t.list(ctx, path, name, yield); err != nil {
			yield(Entry{}, fmt.Errorf("list %s: %w", path, err))
		}
	}
}

// errStopped says that the consumer wants no more.
var errStopped = errors.New("stopped")

func (t *Tree) list(ctx context.Context, path, after string, yield func(Entry, error) bool) error {
	if _, _, err := t.space.locate(path); err != nil {
		return err
	}
	e, state := t.Known(path)
	switch {
	case state == Absent:
		return ErrNotFound
	case state == Found && !e.IsDir():
		return ErrNotDir
	}
	began := t.o.Now()
	t.walkedTo(path)
	after, all := t.yieldListed(path, after, time.Time{}, yield)
	if all {
		return nil
	}
	if path == "" && t.space.account() {
		return t.listBuckets(ctx, after, yield)
	}
	if t.removedHere(path) {
		if _, err := t.Lookup(ctx, path); err != nil {
			return err
		}
	}
	l := t.walk(ctx, path, after, began)
	if after, all = t.yieldListed(path, after, began, yield); all {
		return nil
	}
	if l == nil {
		l = t.newLister(path, after)
	}
	l.after, l.known = after, t.wasListed(path)
	err := l.run(ctx, func(e Entry) bool { return yield(e, nil) })
	if (errors.Is(err, errLate) || silent(err)) && l.known {
		err = t.listStale(path, max(l.passed, after), err, yield)
	}
	if errors.Is(err, errStopped) {
		return nil
	}
	if err != nil && t.space.account() && errors.Is(err, s3client.NotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// listedAtOnce is how many names are taken out of the cache at a time.
const listedAtOnce = 256

// yieldListed yields what is behind a name in a directory that was listed to its end within the TTL, or since. It gives
// the last name that was yielded: all is false when the directory was forgotten meanwhile, or was not known.
func (t *Tree) yieldListed(path, after string, since time.Time, yield func(Entry, error) bool) (last string, all bool) {
	for ok := t.isListed(path, since); ok; {
		next, complete := t.entries.After(path, after, listedAtOnce)
		if !complete {
			return after, false
		}
		for i := range next {
			after = next[i].Name
			if !yield(next[i].Entry, nil) {
				return after, true
			}
		}
		if len(next) < listedAtOnce {
			return after, true
		}
	}
	return after, false
}

// listStale yields what was in a directory when it was last listed to its end, behind a name; cause is why.
func (t *Tree) listStale(path, after string, cause error, yield func(Entry, error) bool) error {
	for {
		next, ok := t.entries.After(path, after, listedAtOnce)
		if !ok { // forgotten since
			return cause
		}
		for _, n := range next {
			e := n.Entry
			after, e.Seen, e.Stale = n.Name, n.Seen, !t.fresh(n.Seen)
			if !yield(e, nil) {
				return nil
			}
		}
		if len(next) < listedAtOnce {
			return nil
		}
	}
}

// wasListed says whether a directory has ever been listed to its end and is still known so.
func (t *Tree) wasListed(path string) bool {
	_, ok := t.entries.Complete(path)
	return ok
}

// isListed says whether a directory was listed to its end within the TTL, or by a listing that began since (zero: no
// other).
func (t *Tree) isListed(path string, since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen, ok := t.entries.Complete(path)
	return ok && (t.fresh(seen) || t.newHereLocked(path) || !since.IsZero() && !seen.Before(since))
}

// listed is a directory that was listed to its end within the TTL.
func (t *Tree) listed(path string) ([]cache.Named[Entry], bool) {
	if !t.isListed(path, time.Time{}) {
		return nil, false
	}
	return t.entries.All(path)
}

func (t *Tree) removedHere(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	return c != nil && c.kind == gone
}
