package tree

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"pailfs/s3client"
)

// Later takes small changes of names instead of the store. What it has accepted it carries out in the background, each
// key's in their order, and tells Settled when it has, or why it gave up. seq is what Settled will name; changes of one
// key that it joins share one. It is called without a lock of the tree, and may call Settled before it returns.
type Later interface {
	// Delete deletes an object: the version etag, or whatever is there when that is "".
	Delete(ctx context.Context, bucket, key, etag string) (seq uint64, err error)
	// Put stores a small object: a directory's marker, a symbolic link, a special file.
	Put(ctx context.Context, bucket, key string, h s3client.Headers, body []byte) (seq uint64, err error)
	// SetHeaders gives a stored object new headers: src has Bucket, Key, ETag and Size.
	SetHeaders(ctx context.Context, src s3client.Object, h s3client.Headers) (seq uint64, err error)
	// Drain carries out what was accepted for the keys under a prefix, and returns when Settled was told of it.
	Drain(ctx context.Context, bucket, prefix string) error
}

// turn is the right to hand changes of one path to Later: what Later has last is then what the overlay has last.
type turn struct {
	free  chan struct{} // holds a token while nobody has the turn
	users int           // who has it or waits for it
	early []settlement  // what was settled since it was taken
}

// settlement is what Settled was told.
type settlement struct {
	wait
	o   s3client.Object
	err error
}

// take waits for a path's turn. Who has one takes that of a directory above, never of anything below. Without Later it
// has what an earlier run left of the path carried out first.
func (t *Tree) take(ctx context.Context, path string) (give func(), err error) {
	if t.o.Later == nil {
		return func() {}, t.drain(ctx, path)
	}
	tn := t.join(path)
	select {
	case <-tn.free: // as a rule; Done costs something (fs.operation)
	default:
		select {
		case <-tn.free:
		case <-ctx.Done():
			t.leave(path, tn)
			return nil, ctx.Err()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tn.early = nil
	return func() {
		tn.free <- struct{}{}
		t.leave(path, tn)
	}, nil
}

func (t *Tree) join(path string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	tn := t.mu.turns[path]
	if tn == nil {
		tn = &turn{free: make(chan struct{}, 1)}
		tn.free <- struct{}{}
		t.mu.turns[path] = tn
	}
	tn.users++
	return tn
}

func (t *Tree) leave(path string, tn *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tn.users--; tn.users == 0 {
		delete(t.mu.turns, path)
	}
}

// acceptedLocked records a change that Later has accepted. The caller has the path's turn.
func (t *Tree) acceptedLocked(c *change, waits ...wait) {
	path := c.it.Path
	c.waits = waits
	t.changeLocked(path, c)
	if tn := t.mu.turns[path]; tn != nil {
		for _, s := range tn.early {
			t.settledLocked(path, s)
		}
	}
}

// putLater hands an entry without content of its own to Later: a marker, a link, a special file. The caller has the
// path's turn. body is nil for a marker alone.
//
// The version that it will have is known: the ETag of a small object is the MD5 of its body, so that listings that show
// it agree with the change without a HEAD. Where a store has other ETags, Settled brings them.
func (t *Tree) putLater(ctx context.Context, e Entry, foreign *s3client.Headers, body []byte) (Entry, error) {
	h := buildHeaders(&e, foreign)
	key := e.objectKey()
	seq, err := t.o.Later.Put(ctx, e.Bucket, key, h, body)
	if err != nil {
		return Entry{}, err
	}
	o := laterObject(e.Bucket, key, body)
	o.Headers = &h
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.putChangeLocked(e, &o, body)
	t.acceptedLocked(c, wait{e.IsDir(), seq})
	return c.it, nil
}

// laterObject is the object that a body will be.
func laterObject(bucket, key string, body []byte) s3client.Object {
	sum := md5.Sum(body)
	return s3client.Object{Bucket: bucket, Key: key, ETag: hex.EncodeToString(sum[:]), Size: int64(len(body))}
}

// putChangeLocked is the change that puts an entry as o, which has its headers.
func (t *Tree) putChangeLocked(e Entry, o *s3client.Object, body []byte) *change {
	r := t.rememberLocked(e.Bucket, o.Key, o)
	e.Full, e.Pending, e.Modified, e.Seen = true, false, o.Modified, t.o.Now()
	if e.IsDir() {
		t.markLocked(e.Path, o)
	} else {
		e.ETag = o.ETag
	}
	if e.Mode&typeMask == typeLink {
		target := string(body)
		r.attr.link, r.attr.isLink = &target, true
	}
	return &change{kind: put, it: e, ver: versionOf(o), foreign: r.foreign, known: true, body: body}
}

// setLater hands an entry's new attributes to Later. The caller has the path's turn. What is not in the store yet is put
// again with its body, since nobody knows the ETag that a request could be pinned to.
func (t *Tree) setLater(ctx context.Context, e Entry, foreign *s3client.Headers, body []byte) (Entry, error) {
	if e.IsDir() || body != nil {
		return t.putLater(ctx, e, foreign, body)
	}
	src := s3client.Object{Bucket: e.Bucket, Key: e.Key, ETag: e.ETag, Size: e.Size, Modified: e.Modified}
	if e.Mode&typeMask == typeLink {
		src.Size = t.storedSize(e)
	}
	h := buildHeaders(&e, foreign)
	seq, err := t.o.Later.SetHeaders(ctx, src, h)
	if err != nil {
		return Entry{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.headersChangeLocked(e, src, &h)
	t.acceptedLocked(c, wait{false, seq})
	return c.it, nil
}

// headersChangeLocked is the change that gives the object src new headers. Until it is settled the name is the version
// that the store has, so that reading goes on.
func (t *Tree) headersChangeLocked(e Entry, src s3client.Object, h *s3client.Headers) *change {
	var link *string
	if r, ok := t.mu.versions.Peek(e.Bucket + "/" + e.Key); ok && r.ver.etag == src.ETag {
		link = r.attr.link
	}
	o := src
	o.Modified, o.Headers = time.Time{}, h // the time comes with Settled
	r := t.rememberLocked(e.Bucket, e.Key, &o)
	if e.Mode&typeMask == typeLink && link != nil {
		r.attr.link, r.attr.isLink = link, true
	}
	return &change{kind: put, it: e, ver: versionOf(&src), foreign: r.foreign, known: true}
}

// carried is what goes with new attributes of an entry: its foreign headers, and its body where it is still to be put.
// Headers that are not remembered any more cost a HEAD.
func (t *Tree) carried(ctx context.Context, e Entry) (foreign *s3client.Headers, body []byte, err error) {
	key := e.objectKey()
	t.mu.Lock()
	c := t.mu.overlay.get(e.Path, t.o.Now())
	if c != nil && c.kind == put && c.known && c.it.IsDir() == e.IsDir() {
		defer t.mu.Unlock()
		if c.waiting() {
			body = c.body
		}
		return c.foreign, body, nil
	}
	r, ok := t.mu.versions.Get(e.Bucket + "/" + key)
	d, known := t.mu.dirs.Peek(e.Path)
	t.mu.Unlock()
	switch {
	case ok:
		return r.foreign, nil, nil
	case e.IsDir() && known && d.marker == nil:
		return nil, nil, nil
	}
	o, err := t.o.Store.Head(ctx, e.Bucket, key)
	if e.IsDir() && errors.Is(err, s3client.NotFound) {
		return nil, nil, nil // it has no marker, or one of another form
	}
	if err != nil || o.Headers == nil {
		return nil, nil, err
	}
	h := foreignHeaders(*o.Headers)
	return &h, nil, nil
}

// deleteLater hands the deletion of an entry's object, of a directory's markers, to Later. The caller has the path's
// turn. ver is the version to be deleted, as far as it is known.
func (t *Tree) deleteLater(ctx context.Context, e Entry, ver version) error {
	t.mu.Lock()
	d, ok := t.mu.dirs.Peek(e.Path)
	slashless := e.IsDir() && ok && d.slashless
	t.mu.Unlock()
	seq, err := t.o.Later.Delete(ctx, e.Bucket, e.objectKey(), ver.etag)
	if err != nil {
		return err
	}
	waits := []wait{{e.IsDir(), seq}}
	if slashless {
		if seq, err = t.o.Later.Delete(ctx, e.Bucket, e.Key, ""); err != nil {
			return err
		}
		waits = append(waits, wait{false, seq})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.versions.Remove(e.Bucket + "/" + e.objectKey())
	if e.IsDir() {
		t.entries.Forget(e.Path)
		t.mu.dirs.Remove(e.Path)
	}
	t.acceptedLocked(&change{kind: gone, it: e, ver: ver}, waits...)
	return nil
}

// finish has what waits for a path's key carried out.
func (t *Tree) finish(ctx context.Context, path string) error {
	bucket, key, err := t.space.locate(path)
	if err != nil || t.o.Finish == nil {
		return err
	}
	return t.o.Finish(ctx, bucket, key)
}

// drain has Later carry out what it holds of a path and below it, if it holds anything.
func (t *Tree) drain(ctx context.Context, path string) error {
	drain := t.o.Drain
	switch {
	case t.o.Later != nil:
		drain = t.o.Later.Drain
	case drain == nil:
		return nil
	}
	bucket, key, err := t.space.locate(path)
	if err != nil {
		return err
	}
	prefix := dirKey(key)
	t.mu.Lock()
	c := t.mu.overlay.get(path, t.o.Now())
	waits := c != nil && c.owes()
	if waits && c.owesObject() {
		prefix = key
	}
	t.mu.overlay.under(path, func(_ string, c *change) { waits = waits || c.owes() })
	t.mu.Unlock()
	if !waits {
		return nil
	}
	if err := drain(ctx, bucket, prefix); err != nil {
		return fmt.Errorf("store what is pending of %s: %w", path, err)
	}
	return nil
}
