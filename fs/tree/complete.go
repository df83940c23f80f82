package tree

import (
	"context"
	"errors"
	"fmt"

	"pailfs/s3client"
)

// complete adds an entry's attributes: a HEAD once a version.
func (t *Tree) complete(ctx context.Context, e Entry, m manner) (Entry, error) {
	path := e.Path
	old, known := Entry{}, false
	if m.stale {
		old, known = t.lastAttributes(e)
	}
	e, stale, err := orStale(ctx, t, &t.heads, path, known, func(ctx context.Context) (Entry, error) {
		if known, state := t.Known(path); state == Found && known.Full && known.ETag == e.ETag {
			return known, nil // another asker was quicker
		}
		if e.IsDir() {
			return t.completeDir(ctx, e)
		}
		return t.completeFile(ctx, e, m)
	})
	if stale {
		e, err = old, nil
	}
	if err != nil {
		return Entry{}, fmt.Errorf("look up %s: %w", path, err)
	}
	e, state := t.changedSince(path, e, Found)
	if state == Absent {
		return Entry{}, fmt.Errorf("look up %s: %w", path, ErrNotFound)
	}
	return e, nil
}

// lastAttributes is an entry with the attributes that were known of it last, if any were.
func (t *Tree) lastAttributes(e Entry) (Entry, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key, v := e.Key, version{e.ETag, e.Modified, e.Size}
	if e.IsDir() {
		d, ok := t.mu.dirs.Peek(e.Path)
		if !ok || d.checked.IsZero() {
			return e, false
		}
		if d.marker == nil {
			e.Full, e.Stale = true, true
			return e, true
		}
		key, v = dirKey(key), *d.marker
	}
	r := t.recallLocked(e.Bucket, key, v)
	if r == nil {
		return e, false
	}
	e.Modified, e.Mtime, e.Ctime, e.Atime = v.modified, v.modified, v.modified, v.modified
	t.apply(&e, key, r)
	e.Stale = true
	return e, true
}

func (t *Tree) completeFile(ctx context.Context, e Entry, m manner) (Entry, error) {
	asked := t.o.Now()
	o, ok, err := s3client.Object{}, false, error(nil)
	if m.cheap && t.o.Attributes != nil && e.Mode&typeMask == typeRegular {
		if o, ok, err = t.askCheaply(ctx, e); !ok {
			if full, ok := t.learned(e); ok {
				return full, nil
			}
		}
	}
	if !ok {
		o, err = t.o.Store.Head(ctx, e.Bucket, e.Key)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(err, s3client.NotFound) { // a listing showed it: deleted since
		switch c := t.mu.overlay.get(e.Path, t.o.Now()); {
		case c != nil && c.pinned() && c.live(): // what is here is the name's
			c.it.Full, c.known = true, true
			t.showLocked(c)
			return c.it, nil
		case c != nil && c.kind == put && c.ver.etag == e.ETag && c.at.Before(asked):
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
	r := t.askedLocked(e.Bucket, e.Key, &o)
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

// askCheaply lets Options.Attributes read an object's attributes; ok is false when the store's HEAD is to be asked.
func (t *Tree) askCheaply(ctx context.Context, e Entry) (o s3client.Object, ok bool, err error) {
	sent := t.o.Now()
	o, err = t.o.Attributes(ctx, e)
	if err != nil || o.Headers != nil {
		t.absence.note(sent, err)
	}
	if errors.Is(err, s3client.Changed) {
		return o, false, nil
	}
	return o, err != nil || o.Headers != nil, err
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
	marker, err := t.markerOf(ctx, e)
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
		r := t.askedLocked(e.Bucket, marker.Key, head)
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

// markerOf is findMarker, by what a walk has said within the TTL where it can be.
func (t *Tree) markerOf(ctx context.Context, e Entry) (*s3client.Object, error) {
	t.walkedTo(e.Path)
	v, known := t.markerKnown(e.Path)
	if !known {
		t.walkMarker(ctx, e.Path)
		v, known = t.markerKnown(e.Path)
	}
	switch {
	case !known:
		return t.findMarker(ctx, e)
	case v == nil:
		return nil, nil
	}
	return &s3client.Object{Bucket: e.Bucket, Key: dirKey(e.Key), ETag: v.etag, Modified: v.modified, Size: v.size}, nil
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

// markLocked notes that a directory has this marker, or none. A listing without one says nothing against one that was put
// here: it waits, or listings lag.
func (t *Tree) markLocked(path string, marker *s3client.Object) {
	d := t.dirLocked(path)
	d.checked, d.marker = t.o.Now(), nil
	if marker != nil {
		v := versionOf(marker)
		d.marker = &v
		if bytesLost(marker) {
			t.hideLocked(marker.Bucket, marker.Key, "content")
		}
	} else if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.kind == put && c.it.IsDir() && c.ver.etag != "" {
		v := c.ver
		d.marker = &v
	}
}
