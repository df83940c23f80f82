package s3mem

import (
	"context"
	"io"
	"maps"
	"sync"
	"time"

	"pailfs/s3client"
)

// object is one version of a key. Immutable once stored.
type object struct {
	content  content
	etag     string
	modified time.Time
	headers  s3client.Headers
	upload   string // the id of the upload that made it
}

func (o *object) describe(c call) s3client.Object {
	return s3client.Object{Bucket: c.bucket, Key: c.key, Size: o.content.size(), ETag: o.etag, Modified: o.modified,
		StorageClass: "STANDARD"}
}

func (o *object) describeFully(c call) s3client.Object {
	d := o.describe(c)
	h := o.headers
	h.Meta = maps.Clone(h.Meta)
	d.Headers = &h
	return d
}

// setLocked makes o the key's object, or deletes the key when o is nil.
func (s *Store) setLocked(b *bucket, key string, o *object) {
	now := s.now()
	if o == nil {
		delete(b.objects, key)
		b.index.remove(key, now.Add(max(s.lag, s.deletionLag)))
	} else {
		b.objects[key] = o
		b.index.put(key, o, now.Add(s.lag))
	}
	b.index.apply(now)
}

// objectLocked is the call's object, of the version etag unless that is empty.
func (s *Store) objectLocked(c call, etag string) (*object, error) {
	b, err := s.findLocked(c)
	if err != nil {
		return nil, err
	}
	o := b.objects[c.key]
	if o == nil {
		return nil, c.fail(s3client.NotFound, 404, "NoSuchKey", "")
	}
	if etag != "" && etag != o.etag {
		return nil, c.fail(s3client.Changed, 412, "PreconditionFailed", "the ETag is "+o.etag)
	}
	return o, nil
}

// Head implements s3client.Store.
func (s *Store) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	c := call{"HEAD Object", bucket, key}
	if err := s.start(ctx, c, "Head"); err != nil {
		return s3client.Object{}, err
	}
	if err := c.checkKey(); err != nil {
		return s3client.Object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.objectLocked(c, "")
	if err != nil {
		return s3client.Object{}, err
	}
	return o.describeFully(c), nil
}

// Get implements s3client.Store. The body delivers the version that was there when Get was called, whatever happens
// to the key meanwhile, until ctx ends.
func (s *Store) Get(ctx context.Context, req s3client.GetRequest) (io.ReadCloser, s3client.Object, error) {
	c := call{"GET Object", req.Bucket, req.Key}
	if err := s.start(ctx, c, "Get"); err != nil {
		return nil, s3client.Object{}, err
	}
	if err := c.checkKey(); err != nil {
		return nil, s3client.Object{}, err
	}
	if req.Offset < 0 || req.Length < 0 || req.Length == 0 && req.Offset != 0 {
		return nil, s3client.Object{}, c.fail(s3client.Invalid, 400, "InvalidArgument", "range")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.objectLocked(c, req.ETag)
	if err != nil {
		return nil, s3client.Object{}, err
	}
	size := o.content.size()
	length := req.Length
	if length == 0 {
		length = size
	} else if req.Offset >= size {
		return nil, s3client.Object{}, c.fail(s3client.Invalid, 416, "InvalidRange", "")
	}
	length = min(length, size-req.Offset)
	b := &body{ctx: ctx, store: s, call: c}
	b.mu.r = io.NewSectionReader(o.content, req.Offset, length)
	return b, o.describeFully(c), nil
}

// body delivers the bytes of a Get.
type body struct {
	ctx   context.Context
	store *Store
	call  call
	mu    struct {
		sync.Mutex
		r *io.SectionReader // nil once closed
	}
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.call.canceled(b.ctx); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.r == nil {
		return 0, io.ErrClosedPipe
	}
	n, err := b.mu.r.Read(p)
	if n > 0 {
		b.store.mu.Lock()
		b.store.mu.counts.BytesIn += int64(n)
		b.store.mu.Unlock()
	}
	return n, err
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.r = nil
	return nil
}

// Put implements s3client.Store.
func (s *Store) Put(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
	c := call{"PUT Object", req.Bucket, req.Key}
	if err := s.start(ctx, c, "Put"); err != nil {
		return s3client.Object{}, err
	}
	if err := c.checkKey(); err != nil {
		return s3client.Object{}, err
	}
	if req.Size > s.profile.MaxPut {
		return s3client.Object{}, c.fail(s3client.TooLarge, 400, "EntityTooLarge", "")
	}
	headers, err := s.storedHeaders(c, req.Headers)
	if err != nil {
		return s3client.Object{}, err
	}
	p, err := s.readBody(ctx, c, req.Body, req.Size)
	if err != nil {
		return s3client.Object{}, err
	}
	data := bytesContent(p)
	o := &object{content: data, etag: data.etag(), headers: headers}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return s3client.Object{}, err
	}
	o.modified = s.modified()
	s.setLocked(b, req.Key, o)
	return o.describe(c), nil
}

// Copy implements s3client.Store.
func (s *Store) Copy(ctx context.Context, req s3client.CopyRequest) (s3client.Object, error) {
	c := call{"COPY Object", req.Bucket, req.Key}
	if err := s.start(ctx, c, "Copy"); err != nil {
		return s3client.Object{}, err
	}
	if err := c.checkKey(); err != nil {
		return s3client.Object{}, err
	}
	if req.Headers == nil && req.SrcBucket == req.Bucket && req.SrcKey == req.Key {
		return s3client.Object{}, c.fail(s3client.Invalid, 400, "InvalidRequest", "copy onto itself changes nothing")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	src, err := s.objectLocked(call{c.op, req.SrcBucket, req.SrcKey}, req.SrcETag)
	if err != nil {
		return s3client.Object{}, err
	}
	if src.content.size() > s.profile.MaxCopy {
		return s3client.Object{}, c.fail(s3client.TooLarge, 400, "InvalidRequest", "the source is too large to copy")
	}
	b, err := s.findLocked(c)
	if err != nil {
		return s3client.Object{}, err
	}
	o := &object{content: src.content, etag: s.copiedETag(src), headers: src.headers, modified: s.modified()}
	if req.Headers != nil {
		if o.headers, err = s.storedHeaders(c, *req.Headers); err != nil {
			return s3client.Object{}, err
		}
	}
	s.setLocked(b, req.Key, o)
	return o.describe(c), nil
}

// copiedETag is the ETag of a copy: Swift keeps the one with "-N", AWS gives the copy that of a plain object.
func (s *Store) copiedETag(src *object) string {
	if s.swift || src.upload == "" {
		return src.etag
	}
	return src.content.etag()
}

// Delete implements s3client.Store.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	c := call{"DELETE Object", bucket, key}
	if err := s.start(ctx, c, "Delete"); err != nil {
		return err
	}
	if err := c.checkKey(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return err
	}
	if b.objects[key] != nil {
		s.setLocked(b, key, nil)
	}
	return nil
}

// DeleteMany implements s3client.Store.
func (s *Store) DeleteMany(ctx context.Context, bucket string, keys []string) ([]s3client.KeyError, error) {
	c := call{op: "DELETE Multiple Objects", bucket: bucket}
	if err := c.canceled(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := max(1, s.profile.MaxDelete)
	s.countLocked("DeleteMany", int64((len(keys)+batch-1)/batch))
	b, err := s.findLocked(c)
	if err != nil {
		return nil, err
	}
	var failed []s3client.KeyError
	for _, key := range keys {
		if err := (call{c.op, bucket, key}).checkKey(); err != nil {
			failed = append(failed, s3client.KeyError{Key: key, Err: err})
		} else if b.objects[key] != nil {
			s.setLocked(b, key, nil)
		}
	}
	return failed, nil
}
