package tree

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pailfs/s3client"
)

// SetAttr changes attributes: a stored object is copied onto itself with new headers, one request for all; a
// directory's marker is put anew. With Later it does that. What is not stored yet, or has unsaved content (Change.Unsaved), changes in memory
// alone: Headers carries it with the upload. What changes nothing costs no request. A bucket's directory has no
// attributes of its own: its times are left, its mode and owner are ErrNotPermitted.
func (t *Tree) SetAttr(ctx context.Context, path string, c Change) (Entry, error) {
	if t.o.ReadOnly {
		return Entry{}, fmt.Errorf("set attributes of %s: %w", path, ErrReadOnly)
	}
	give, err := t.take(ctx, path)
	if err != nil {
		return Entry{}, fmt.Errorf("set attributes of %s: %w", path, err)
	}
	defer give()
	e, err := t.Complete(ctx, path)
	if err != nil {
		return Entry{}, err
	}
	if t.space.top(path) {
		return t.setTop(e, c)
	}
	if e, err = t.setCompleted(ctx, e, c); err != nil {
		return Entry{}, fmt.Errorf("set attributes of %s: %w", path, err)
	}
	return e, nil
}

// setTop is SetAttr of a bucket, or of the root.
func (t *Tree) setTop(e Entry, c Change) (Entry, error) {
	changed, same := applyChange(e, c, t.o.Now())
	switch {
	case c.setsHeaders(), changed.Mode != e.Mode, changed.UID != e.UID, changed.GID != e.GID:
		return Entry{}, fmt.Errorf("set attributes of %s: it has no object: %w", e.Path, ErrNotPermitted)
	case same:
		return t.remembered(changed), nil
	}
	return e, nil
}

// setCompleted is SetAttr of an entry whose attributes are known. The caller has the path's turn.
func (t *Tree) setCompleted(ctx context.Context, e Entry, c Change) (Entry, error) {
	if c.setsHeaders() { // of what is pinned they may not be known yet
		if _, err := t.foreign(ctx, e); err != nil {
			return Entry{}, err
		}
	}
	if e, done, err := t.setUnsaved(e.Path, c); done || err != nil {
		return e, err
	}
	changed, same := applyChange(e, c, t.o.Now())
	if same && !c.setsHeaders() {
		return t.remembered(changed), nil
	}
	foreign, body, err := t.carried(ctx, e)
	if err != nil {
		return Entry{}, err
	}
	foreign, sameHeaders, err := c.headers(&e, foreign, t.o.Store.Profile())
	switch {
	case err != nil:
		return Entry{}, err
	case same && sameHeaders:
		return t.remembered(changed), nil
	case same:
		changed.Ctime = t.o.Now()
	}
	switch {
	case t.o.Later != nil:
		return t.setLater(ctx, changed, foreign, body)
	case e.IsDir():
		return t.putMarker(ctx, changed, foreign)
	}
	return t.copyOnto(ctx, changed, foreign)
}

// applyChange is the entry with a change; same says that it is worth no request.
func applyChange(e Entry, c Change, now time.Time) (changed Entry, same bool) {
	changed = e
	if c.Mode != nil {
		changed.Mode = e.Mode&typeMask | *c.Mode&permMask
	}
	if c.UID != nil {
		changed.UID = *c.UID
	}
	if c.GID != nil {
		changed.GID = *c.GID
	}
	if c.Mtime != nil {
		changed.Mtime = *c.Mtime
	}
	if c.Atime != nil {
		changed.Atime = *c.Atime
	}
	same = changed.Mode == e.Mode && changed.UID == e.UID && changed.GID == e.GID && changed.Mtime.Equal(e.Mtime)
	if !same {
		changed.Ctime = now
	}
	return changed, same
}

// remembered keeps an entry whose change is not stored: an access time.
func (t *Tree) remembered(e Entry) Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.live() && c.it.ETag == e.ETag {
		c.it.Atime = e.Atime
	}
	if e.Path != "" {
		dir, name := split(e.Path)
		if old, seen, ok := t.entries.Get(dir, name); ok && t.fresh(seen) && old.ETag == e.ETag {
			old.Atime = e.Atime
			t.entries.Put(dir, name, old)
		}
	}
	return e
}

// setUnsaved changes what is pinned in memory, or pins what has unsaved content.
func (t *Tree) setUnsaved(path string, c Change) (_ Entry, done bool, _ error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.mu.overlay.get(path, t.o.Now())
	if (o == nil || !o.local()) && !c.Unsaved {
		return Entry{}, false, nil
	}
	p, ok := t.pinLocked(path)
	if !ok {
		return Entry{}, false, nil
	}
	foreign, same, err := c.headers(&p.it, p.foreign, t.o.Store.Profile())
	if err != nil {
		return Entry{}, false, err
	}
	p.foreign = foreign
	p.it, _ = applyChange(p.it, c, t.o.Now())
	if !same {
		p.it.Ctime = t.o.Now()
	}
	p.timesSet = p.timesSet || c.Mtime != nil
	t.showLocked(p)
	return p.it, true, nil
}

// pinLocked is the pinned change of a path that has local changes: the one there, or a new one from what is known.
func (t *Tree) pinLocked(path string) (*change, bool) {
	c := t.mu.overlay.get(path, t.o.Now())
	if c != nil && c.local() {
		return c, true
	}
	n := &change{kind: unsaved}
	dir, name := split(path)
	switch e, _, ok := t.entries.Get(dir, name); {
	case c != nil && c.kind == put:
		n.it, n.ver, n.foreign, n.known = c.it, c.ver, c.foreign, c.known
	case ok:
		n.it, n.ver = e, version{e.ETag, e.Modified, e.Size}
		if r := t.recallLocked(e.Bucket, e.Key, n.ver); r != nil {
			n.foreign, n.known = r.foreign, true
		}
	default:
		return nil, false
	}
	if n.it.IsDir() {
		return nil, false
	}
	t.changeLocked(path, n)
	return n, true
}

// showLocked lets the directory's entry follow a pinned change.
func (t *Tree) showLocked(c *change) {
	dir, name := split(c.it.Path)
	t.entries.Put(dir, name, c.it)
}

// copyOnto stores an entry's new attributes by copying its object onto itself.
func (t *Tree) copyOnto(ctx context.Context, e Entry, foreign *s3client.Headers) (Entry, error) {
	h := buildHeaders(&e, foreign)
	copies := t.o.Copy
	size := e.Size
	if e.Mode&typeMask == typeLink {
		size = t.storedSize(e)
	}
	// Copies of large and of multipart objects need what Options.Copy does besides: parts, and a look at the ETag.
	if size <= t.o.Store.Profile().MaxCopy && !strings.Contains(e.ETag, "-") {
		copies = t.copyOnce
	}
	src := s3client.Object{Bucket: e.Bucket, Key: e.Key, Size: size, ETag: e.ETag, Modified: e.Modified}
	o, err := copies(ctx, src, e.Bucket, e.Key, &h)
	if err != nil {
		t.forget(e.Path)
		t.forgetAttributes(e)
		return Entry{}, err
	}
	o.Size, o.Headers = size, &h
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.storedLocked(e, &o), nil
}

// forgetAttributes makes the attributes of an object unknown. After a copy onto itself without an answer the object may have
// others under the same ETag, and a time that nothing tells from that of the version before.
func (t *Tree) forgetAttributes(e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.versions.Remove(e.Bucket + "/" + e.Key)
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.kind == put && c.ver.etag == e.ETag {
		c.it.Full, c.foreign, c.known = false, nil, false
	}
}

// storedSize is the object's size where the entry shows another (links with their target in the metadata).
func (t *Tree) storedSize(e Entry) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.mu.versions.Peek(e.Bucket + "/" + e.Key); ok && r.ver.etag == e.ETag {
		return r.ver.size
	}
	return e.Size
}

// Written tells that a file's content was changed here: its times follow, and its entry stays as it is here until the
// content is stored or discarded. No request.
func (t *Tree) Written(path string, mtime time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.pinLocked(path)
	if !ok {
		e := t.newEntry(path, typeRegular|t.o.FileMode, Attr{UID: t.o.UID, GID: t.o.GID})
		if e.Key == "" {
			return
		}
		e.Full = false
		c = &change{kind: unsaved, it: e}
		t.changeLocked(path, c)
	}
	c.wrote, c.timesSet, c.it.Mtime, c.it.Ctime = true, false, mtime, mtime
	t.showLocked(c)
}

// Stored tells that a file's content is in the store: o has the size, ETag and time, and the headers it was sent with.
// Attributes that were changed since these headers were made stay, to travel with the next upload.
func (t *Tree) Stored(bucket, key string, o s3client.Object) {
	path, ok := t.space.pathOf(bucket, key)
	if !ok || path == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	at := path
	if from, moving := t.mu.moving[path]; moving && (c == nil || !c.live()) {
		at = from
		c = t.mu.overlay.get(from, t.o.Now())
	}
	var e Entry
	if c != nil && c.live() {
		e = c.it
	} else if dir, name := split(at); c == nil {
		e, _, _ = t.entries.Get(dir, name)
	}
	b, k, _ := t.space.locate(path)
	if e.Mode == 0 || e.IsDir() {
		e = t.newEntry(path, typeRegular|t.o.FileMode, Attr{UID: t.o.UID, GID: t.o.GID})
		e.Bucket, e.Key = b, k
		if o.Headers != nil {
			r := remembered{ver: versionOf(&o), attr: readAttributes(k, o.Headers)}
			t.apply(&e, k, &r)
		}
	}
	e.Path, e.Bucket, e.Key = path, b, k
	if o.Headers != nil && o.Headers.Meta[metaMtime] == "" && (c == nil || !c.timesSet) && !o.Modified.IsZero() {
		e.Mtime, e.Ctime, e.Atime = o.Modified, o.Modified, time.Time{} // streamed: the store's time counts
	}
	dirty := c != nil && c.local() && o.Headers != nil && !(sameAttributes(&e, o.Headers) && (!c.known || sameForeign(&e, c.foreign, o.Headers)))
	foreign, known := (*s3client.Headers)(nil), false
	if c != nil {
		foreign, known = c.foreign, c.known
	}
	t.storedLocked(e, &o)
	if dirty {
		e.ETag, e.Modified, e.Size, e.Pending = o.ETag, o.Modified, o.Size, false
		t.changeLocked(path, &change{kind: unsaved, it: e, ver: versionOf(&o), foreign: foreign, known: known})
	}
}

// Moving tells that content is about to store an unsaved file under a new name: Headers of the new name are those of the
// old until done is called, after Renamed or a failure.
func (t *Tree) Moving(from, to string) (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.moving[to] = from
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.mu.moving[to] == from {
			delete(t.mu.moving, to)
		}
	}
}

// Discard tells that content gave a file's unsaved changes up: what was created here is not there, what was changed
// here is as the store has it, or will have it by Later.
func (t *Tree) Discard(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	switch {
	case c == nil || !c.local():
	case c.kind == pending:
		t.vanishLocked(c)
	case c.under != nil: // Later has it so
		t.changeLocked(path, c.under)
	default:
		t.mu.overlay.drop(path)
		t.entries.ForgetName(split(path))
	}
}
