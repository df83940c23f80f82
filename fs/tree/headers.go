package tree

import (
	"context"
	"errors"
	"fmt"

	"pailfs/s3client"
)

// UploadHeaders are what must travel with an upload of a key: the attributes in s3fs's format, the content type, and all
// that the object had besides. It makes a request only for an object whose headers are not remembered: one HEAD; Complete
// before the first write spares it. When that fails nothing may be stored, or the object would lose what it had.
//
// streaming is for an upload that runs while the file is being written: it has no times, which change with every write,
// unless somebody set them. The object's time is then the store's.
func (t *Tree) UploadHeaders(ctx context.Context, bucket, key string, streaming bool) (s3client.Headers, error) {
	path, ok := t.space.pathOf(bucket, key)
	if !ok {
		return s3client.Headers{}, nil
	}
	h, err := t.uploadHeaders(ctx, path, bucket, key)
	if err != nil {
		return s3client.Headers{}, fmt.Errorf("headers of %s: %w", path, err)
	}
	if streaming {
		t.dropTimes(path, h)
	}
	return h, nil
}

func (t *Tree) uploadHeaders(ctx context.Context, path, bucket, key string) (s3client.Headers, error) {
	e, foreign, known := t.headersKnown(path)
	if known {
		return buildHeaders(&e, foreign), nil
	}
	o, err := t.o.Store.Head(ctx, bucket, key)
	if err != nil && !errors.Is(err, s3client.NotFound) {
		return s3client.Headers{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || o.Headers == nil {
		return buildHeaders(&e, nil), nil
	}
	o.Bucket, o.Key = bucket, key
	r := t.askedLocked(bucket, key, &o)
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.live() {
		t.fillLocked(c, r)
		c.foreign, c.known = r.foreign, true
		return buildHeaders(&c.it, r.foreign), nil
	}
	t.apply(&e, key, r)
	return buildHeaders(&e, r.foreign), nil
}

// dropTimes takes the times out of a path's headers, unless they were set.
func (t *Tree) dropTimes(path string, h s3client.Headers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.timesSet {
		return
	}
	for _, name := range []string{metaMtime, metaCtime, metaAtime} {
		delete(h.Meta, name)
	}
}

// headersKnown is the entry and the foreign headers of a path; known is false when an object may have more.
func (t *Tree) headersKnown(path string) (e Entry, foreign *s3client.Headers, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := path
	if from, ok := t.mu.moving[path]; ok {
		at = from
	}
	bucket, key, _ := t.space.locate(path)
	if c := t.mu.overlay.get(at, t.o.Now()); c != nil && c.live() {
		e = c.it
		e.Bucket, e.Key, e.Path = bucket, key, path
		return e, c.foreign, c.known
	}
	dir, name := split(at)
	e, _, ok := t.entries.Get(dir, name)
	if !ok {
		e = t.newEntry(path, typeRegular|t.o.FileMode, Attr{UID: t.o.UID, GID: t.o.GID})
		return e, nil, false
	}
	r := t.recallLocked(e.Bucket, e.Key, version{e.ETag, e.Modified, e.Size})
	e.Bucket, e.Key, e.Path = bucket, key, path
	if r == nil {
		return e, nil, false
	}
	return e, r.foreign, true
}
