package tree

import (
	"time"

	"pailfs/s3client"
)

// RecoveredChange installs what an earlier run has left with Later: kind is "delete", "put" or "headers", seq what
// Settled will name. Before the mount answers; in the order in which they were accepted, of several of one key the last.
func (t *Tree) RecoveredChange(kind, bucket, key, etag string, size int64, seq uint64, h s3client.Headers, body []byte, at time.Time) {
	path, ok := t.space.pathOf(bucket, key)
	if !ok || t.space.top(path) {
		return
	}
	mode := uint32(typeRegular | t.o.FileMode)
	if isMarker(key) {
		mode = typeDir | t.o.DirMode
	}
	e := t.newEntry(path, mode, Attr{UID: t.o.UID, GID: t.o.GID})
	if !at.IsZero() {
		e.Mtime, e.Ctime, e.Atime = at, at, at
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var c *change
	switch kind {
	case "delete":
		e.ETag, e.Size = etag, size
		c = &change{kind: gone, it: e, ver: version{etag: etag, size: size}}
	case "put":
		if body == nil && !e.IsDir() {
			body = []byte{}
		}
		o := laterObject(bucket, key, body)
		o.Headers = &h
		c = t.putChangeLocked(t.withHeaders(e, key, o.Size, &h), &o, body)
	case "headers":
		src := s3client.Object{Bucket: bucket, Key: key, ETag: etag, Size: size}
		e.ETag = etag
		c = t.headersChangeLocked(t.withHeaders(e, key, size, &h), src, &h)
	default:
		return
	}
	c.waits, c.earlier = []wait{{e.IsDir(), seq}}, true
	t.installLocked(path, c)
	c.checked, c.trusted = time.Time{}, time.Time{} // the store has not been asked yet
}

// withHeaders is an entry of an object of that size with the attributes that its headers say.
func (t *Tree) withHeaders(e Entry, key string, size int64, h *s3client.Headers) Entry {
	if key[len(key)-1] != '/' {
		e.Size = size
	}
	t.apply(&e, key, &remembered{ver: version{size: size}, attr: readAttributes(key, h)})
	return e
}

// installLocked lays a recovered change beneath what is known of the path from other records, in whatever order they
// come: unsaved content is on top, then what is there, then what is gone.
func (t *Tree) installLocked(path string, c *change) {
	top := t.mu.overlay.get(path, t.o.Now())
	prev := top
	if top != nil && top.local() {
		prev = top.under
	}
	switch {
	case prev != nil && prev.live() && !c.live() && prev.it.IsDir() != c.it.IsDir():
		prev.waits = append(prev.waits, c.waits...)
	case top != prev:
		if prev != nil {
			c.inherit(prev)
		}
		top.under = c
	case !c.live() && t.mu.overlay.living(path):
		// a directory of the name is there by what is in it
	default:
		t.changeLocked(path, c)
	}
}

// RecoveredFile installs a file of an earlier run that is not stored yet, with the headers that it is to be stored with
// (nil when nobody knows them). base is the version in the store that was changed; without an ETag there is none. Before
// the mount answers.
func (t *Tree) RecoveredFile(bucket, key string, size int64, mtime time.Time, base s3client.Object, h *s3client.Headers) {
	path, ok := t.space.pathOf(bucket, key)
	if !ok || t.space.top(path) || isMarker(key) {
		return
	}
	e := t.newEntry(path, typeRegular|t.o.FileMode, Attr{UID: t.o.UID, GID: t.o.GID})
	if !mtime.IsZero() {
		e.Mtime, e.Ctime, e.Atime = mtime, mtime, mtime
	}
	c := &change{kind: pending, wrote: true, known: true}
	if base.ETag != "" {
		c.kind, c.ver, c.known = unsaved, versionOf(&base), h != nil
	}
	e.Full = c.known
	if h != nil {
		foreign := foreignHeaders(*h)
		if c.kind == pending && foreign.ContentType == contentType(&e) {
			foreign.ContentType = "" // its name's, which may change yet
		}
		c.foreign, c.timesSet = &foreign, h.Meta[metaMtime] != ""
		e = t.withHeaders(e, key, size, h)
	}
	e.Mode = typeRegular | e.Mode&permMask
	e.Size, e.ETag, e.Modified, e.Pending = size, base.ETag, base.Modified, c.kind == pending
	c.it = e
	t.mu.Lock()
	defer t.mu.Unlock()
	if prev := t.mu.overlay.get(path, t.o.Now()); prev != nil && prev.local() {
		return // the later record of the two
	}
	t.changeLocked(path, c)
}
