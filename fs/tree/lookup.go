package tree

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pailfs/s3client"
)

const (
	// askMax is how many keys a lookup asks for: the object itself comes first, "key/" after those that go on with one of
	// the 15 characters below '/'.
	askMax = 20
	// bigFor is how long a directory that was more than one page is not listed for a lookup again.
	bigFor = time.Minute
)

// Lookup is what a path is, as of at most the TTL ago, with its attributes if the mount shows them (Options.Full).
// ErrNotFound when there is nothing; any error of the store is that error.
func (t *Tree) Lookup(ctx context.Context, path string) (Entry, error) {
	return t.lookup(ctx, path, t.o.Full)
}

// Complete is Lookup with the attributes whatever the mount shows: before an existing file is opened for writing, so
// that its headers are known when it is stored again.
func (t *Tree) Complete(ctx context.Context, path string) (Entry, error) {
	return t.lookup(ctx, path, true)
}

func (t *Tree) lookup(ctx context.Context, path string, full bool) (Entry, error) {
	if _, _, err := t.space.locate(path); err != nil {
		if errors.Is(err, ErrName) { // no key and no bucket can have it
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return Entry{}, fmt.Errorf("look up %s: %w", path, err)
	}
	e, state := t.Known(path)
	if state == Unknown {
		var err error
		if e, err = t.asks.do(ctx, path, func(ctx context.Context) (Entry, error) { return t.ask(ctx, path) }); err != nil &&
			!errors.Is(err, ErrNotFound) {
			return Entry{}, t.storeErr("look up", path, err)
		}
		if state = Found; err != nil {
			state = Absent
		}
		e, state = t.changedSince(path, e, state)
	}
	if state == Absent {
		return Entry{}, fmt.Errorf("look up %s: %w", path, ErrNotFound)
	}
	if e.Full || !full || t.space.top(path) {
		return e, nil
	}
	return t.complete(ctx, e)
}

// changedSince corrects a shared answer by a change made here after it was formed.
func (t *Tree) changedSince(path string, e Entry, state State) (Entry, State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	if c == nil {
		return e, state
	}
	if e, found, _ := t.changedLocked(path, c, true); found {
		return e, Found
	}
	return Entry{}, Absent
}

// ask finds a path out from the store and remembers the answer.
func (t *Tree) ask(ctx context.Context, path string) (Entry, error) {
	if t.space.top(path) {
		return t.askBucket(ctx, path)
	}
	if t.firstPageDue(path) {
		if err := t.readFirstPage(ctx, path); err != nil {
			return Entry{}, err
		}
		switch e, state := t.Known(path); state {
		case Found:
			return e, nil
		case Absent:
			return Entry{}, ErrNotFound
		}
	}
	s, asked, err := t.askOne(ctx, path)
	if err != nil {
		return Entry{}, err
	}
	return t.settle(ctx, path, s, asked)
}

// firstPageDue says whether this is the second unknown name of its directory within the TTL: then its first page
// costs no more than one name, and tells of all in a small directory.
func (t *Tree) firstPageDue(path string) bool {
	dir, _ := split(path)
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.dirLocked(dir)
	due := !d.asked.IsZero() && t.fresh(d.asked) && (d.paged.IsZero() || t.o.Now().Sub(d.paged) > bigFor)
	d.asked = t.o.Now()
	return due
}

// askOne lists what begins with the path's key: one request, a second one where too many names come before "key/".
func (t *Tree) askOne(ctx context.Context, path string) (shown, time.Time, error) {
	bucket, key, _ := t.space.locate(path)
	asked := t.o.Now()
	p, err := t.o.Store.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: key, Delimiter: "/", Max: askMax})
	if err != nil {
		return shown{}, asked, err
	}
	var s shown
	last := p.Next
	for i := range p.Objects {
		if p.Objects[i].Key == key {
			p.Objects[i].Bucket = bucket
			s.obj = &p.Objects[i]
		}
		last = max(last, p.Objects[i].Key)
	}
	for _, prefix := range p.Prefixes {
		s.prefix = s.prefix || prefix == key+"/"
		last = max(last, prefix)
	}
	if s.prefix || p.Next == "" || last > key+"/" {
		return s, asked, nil
	}
	p, err = t.o.Store.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: key + "/", Max: 1})
	s.prefix = len(p.Objects) > 0
	return s, asked, err
}

// settle merges a listing's answer for one path with the changes made here, asks the store's HEAD where the two
// disagree, and remembers the outcome.
func (t *Tree) settle(ctx context.Context, path string, s shown, asked time.Time) (Entry, error) {
	for {
		t.mu.Lock()
		e, found, sure := t.mergeLocked(path, s, asked)
		at, c := path, t.mu.overlay.byPath[path]
		if sure && found && c == nil && e.IsDir() && !s.prefix { // a directory by what was put below it
			at, c = t.doubtfulLocked(path)
			sure = c == nil
		}
		if sure || c == nil {
			if sure {
				t.recordAskedLocked(path, e, found)
			}
			t.mu.Unlock()
			switch {
			case !sure:
				continue
			case !found:
				return Entry{}, ErrNotFound
			}
			return e, nil
		}
		t.mu.Unlock()
		if err := t.resolve(ctx, at, c, &s, at == path); err != nil {
			return Entry{}, err
		}
	}
}

// resolve asks the store's HEAD about a change and trusts it again or drops it. What was found goes into s when the
// change is of the path that s is about.
func (t *Tree) resolve(ctx context.Context, path string, c *change, s *shown, own bool) error {
	seen := *s
	if !own {
		seen = shown{}
	}
	holds, obj, err := t.verify(ctx, path, c, seen)
	if err != nil {
		return err
	}
	if own && (obj != nil || !c.it.IsDir()) {
		s.obj = obj
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.overlay.byPath[path] != c {
		return nil
	}
	if !holds {
		t.mu.overlay.drop(path)
		t.entries.ForgetName(split(path))
		return nil
	}
	c.checked, c.trusted, c.proven = t.o.Now(), t.o.Now(), t.o.Now()
	return nil
}

// doubtfulLocked is a change that keeps a directory alive which listings do not show, if no other change below it is
// beyond doubt: pinned, agreed to, or borne out lately.
func (t *Tree) doubtfulLocked(dir string) (path string, doubtful *change) {
	now := t.o.Now()
	certain := false
	t.mu.overlay.under(dir, func(p string, c *change) {
		switch {
		case !c.live():
		case c.pinned() || !c.agreed.IsZero() || now.Sub(c.trusted) < settle:
			certain = true
		default:
			path, doubtful = p, c
		}
	})
	if certain {
		return "", nil
	}
	return path, doubtful
}

func (t *Tree) recordAskedLocked(path string, e Entry, found bool) {
	dir, name := split(path)
	if found {
		t.entries.Put(dir, name, e)
	} else {
		t.entries.Absent(dir, name)
	}
}

// verify asks for the truth about a change that listings contradict: does it still hold? obj is the object found.
func (t *Tree) verify(ctx context.Context, path string, c *change, s shown) (holds bool, obj *s3client.Object, err error) {
	bucket, key, _ := t.space.locate(path)
	if c.it.IsDir() && c.kind == gone {
		if s.obj != nil && !s.prefix {
			return t.verifyObject(ctx, bucket, key, c)
		}
		live, _, err := t.firstLive(ctx, bucket, key, path)
		return live == "", nil, err
	}
	if c.it.IsDir() {
		holds, _, err = t.verifyObject(ctx, bucket, dirKey(key), c)
		return holds, nil, err
	}
	if c.kind == gone && s.prefix && s.obj == nil {
		live, _, err := t.firstLive(ctx, bucket, key, path)
		return live == "", nil, err
	}
	return t.verifyObject(ctx, bucket, key, c)
}

func (t *Tree) verifyObject(ctx context.Context, bucket, key string, c *change) (bool, *s3client.Object, error) {
	o, err := t.o.Store.Head(ctx, bucket, key)
	if errors.Is(err, s3client.NotFound) {
		return c.kind == gone, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	o.Bucket, o.Key = bucket, key
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.Headers != nil {
		t.rememberLocked(bucket, key, &o)
	}
	return c.kind == put && (c.it.IsDir() || o.ETag == c.ver.etag), &o, nil
}

// firstLive is the first key below a directory that no change made here has removed, "" when there is none; the
// directory's own marker does not count and is returned by itself. Keys that cannot be paths count.
func (t *Tree) firstLive(ctx context.Context, bucket, key, path string) (live string, marker *s3client.Object, err error) {
	prefix := dirKey(key)
	req := s3client.ListRequest{Bucket: bucket, Prefix: prefix, Max: 2}
	for {
		asked := t.o.Now()
		p, err := t.o.Store.List(ctx, req)
		if err != nil {
			return "", nil, err
		}
		for i := range p.Objects {
			o := &p.Objects[i]
			o.Bucket = bucket
			if o.Key == prefix {
				marker = o
			} else if !t.removed(o, asked) {
				return o.Key, marker, nil
			}
		}
		if p.Next == "" {
			return "", marker, nil
		}
		req.After, req.Max = p.Next, 0
	}
}

// removed says whether a listed object is one that was deleted here, and listings lag.
func (t *Tree) removed(o *s3client.Object, asked time.Time) bool {
	path, ok := t.space.pathOf(o.Bucket, o.Key)
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	c := t.mu.overlay.get(path, now)
	if c == nil || c.kind != gone || c.it.IsDir() != strings.HasSuffix(o.Key, "/") {
		return false
	}
	v := c.judge(shown{obj: o}, asked, now)
	return v.keep && v.sure
}

// complete adds an entry's attributes: a HEAD once a version.
func (t *Tree) complete(ctx context.Context, e Entry) (Entry, error) {
	path := e.Path
	e, err := t.heads.do(ctx, path, func(ctx context.Context) (Entry, error) {
		if known, state := t.Known(path); state == Found && known.Full && known.ETag == e.ETag {
			return known, nil // another asker was quicker
		}
		if e.IsDir() {
			return t.completeDir(ctx, e)
		}
		return t.completeFile(ctx, e)
	})
	if err != nil {
		return Entry{}, fmt.Errorf("look up %s: %w", path, err)
	}
	e, state := t.changedSince(path, e, Found)
	if state == Absent {
		return Entry{}, fmt.Errorf("look up %s: %w", path, ErrNotFound)
	}
	return e, nil
}

func (t *Tree) completeFile(ctx context.Context, e Entry) (Entry, error) {
	asked := t.o.Now()
	o, err := t.o.Store.Head(ctx, e.Bucket, e.Key)
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(err, s3client.NotFound) { // a listing showed it: deleted since
		if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.kind == put && c.ver.etag == e.ETag && c.at.Before(asked) {
			t.mu.overlay.drop(e.Path)
		}
		t.recordAskedLocked(e.Path, Entry{}, false)
		return Entry{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return Entry{}, err
	}
	if o.Headers == nil {
		o.Headers = &s3client.Headers{}
	}
	o.Bucket, o.Key = e.Bucket, e.Key
	if o.ETag == e.ETag { // the same version: the listing's word on the size and time, HEAD's on the rest
		o.Size = e.Size
		if !e.Modified.IsZero() {
			o.Modified = e.Modified
		}
	}
	r := t.rememberLocked(e.Bucket, e.Key, &o)
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.live() {
		switch {
		case c.pinned() || c.ver.etag == o.ETag: // changed or renamed here without its attributes being known
			t.fillLocked(c, r)
			return c.it, nil
		case asked.Before(c.at):
			return c.it, nil
		}
		t.mu.overlay.drop(e.Path) // somebody wrote later
	}
	full := t.fileEntryLocked(e.Path, &o)
	full.Full = true
	t.recordAskedLocked(e.Path, full, true)
	return full, nil
}

// fillLocked gives a change the attributes of its object.
func (t *Tree) fillLocked(c *change, r *remembered) {
	if c.it.Full {
		return
	}
	key := c.it.Key
	if c.it.IsDir() {
		key = dirKey(key)
	}
	mtime, ctime := c.it.Mtime, c.it.Ctime
	t.apply(&c.it, key, r)
	if c.wrote {
		c.it.Mtime, c.it.Ctime = mtime, ctime
	}
	c.foreign, c.known = r.foreign, true
	dir, name := split(c.it.Path)
	t.entries.Put(dir, name, c.it)
}

// completeDir finds a directory's marker, by a listing that costs little where there is none, and reads its attributes.
func (t *Tree) completeDir(ctx context.Context, e Entry) (Entry, error) {
	marker, err := t.findMarker(ctx, e)
	if err != nil {
		return Entry{}, err
	}
	var head *s3client.Object
	if marker != nil && !t.recalls(e.Bucket, marker.Key, versionOf(marker)) {
		o, err := t.o.Store.Head(ctx, e.Bucket, marker.Key)
		switch {
		case errors.Is(err, s3client.NotFound): // deleted since; what lies in the directory keeps it
			marker = nil
		case err != nil:
			return Entry{}, err
		default:
			if o.Headers == nil {
				o.Headers = &s3client.Headers{}
			}
			if o.ETag == marker.ETag {
				o.Modified = marker.Modified
			}
			head = &o
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if head != nil {
		head.Bucket, head.Key = e.Bucket, marker.Key
		r := t.rememberLocked(e.Bucket, marker.Key, head)
		marker = head
		if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.live() {
			t.fillLocked(c, r)
		}
	}
	t.markLocked(e.Path, marker)
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.live() {
		c.it.Full = true
		return c.it, nil
	}
	full := t.dirEntryLocked(e.Path)
	full.Full = true
	t.recordAskedLocked(e.Path, full, true)
	return full, nil
}

// findMarker is the object that carries a directory's attributes, nil when none does.
func (t *Tree) findMarker(ctx context.Context, e Entry) (*s3client.Object, error) {
	t.mu.Lock()
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.kind == put && c.ver.etag != "" {
		o := &s3client.Object{Bucket: e.Bucket, Key: dirKey(e.Key), ETag: c.ver.etag, Modified: c.ver.modified, Size: c.ver.size}
		t.mu.Unlock()
		return o, nil
	}
	t.mu.Unlock()
	p, err := t.o.Store.List(ctx, s3client.ListRequest{Bucket: e.Bucket, Prefix: dirKey(e.Key), Max: 1})
	if err != nil || len(p.Objects) == 0 || p.Objects[0].Key != dirKey(e.Key) {
		return nil, err
	}
	return &p.Objects[0], nil
}

func (t *Tree) recalls(bucket, key string, v version) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.recallLocked(bucket, key, v) != nil
}

// markLocked notes that a directory has this marker, or none.
func (t *Tree) markLocked(path string, marker *s3client.Object) {
	d := t.dirLocked(path)
	d.checked, d.marker = t.o.Now(), nil
	if marker != nil {
		v := versionOf(marker)
		d.marker = &v
	}
}
