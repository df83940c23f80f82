package s3mem

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"

	"pailfs/s3client"
)

// What tests do behind the back of the code under test: no request is counted, no context can end, and buckets that
// are written to come into being. Keys, Bytes and the like see the truth at once, whatever the listing lag.

// Bytes are the object's bytes; ok is false when there is none. Do not call it on a huge computed object.
func (s *Store) Bytes(bucket, key string) (p []byte, ok bool) {
	o := s.peek(bucket, key)
	if o == nil {
		return nil, false
	}
	p, err := io.ReadAll(io.NewSectionReader(o.content, 0, o.content.size()))
	if err != nil {
		panic(fmt.Sprintf("s3mem: content of %s/%s: %v", bucket, key, err)) // cannot be: content is in memory
	}
	return p, true
}

// Object is what Head would answer; ok is false when there is none.
func (s *Store) Object(bucket, key string) (obj s3client.Object, ok bool) {
	o := s.peek(bucket, key)
	if o == nil {
		return s3client.Object{}, false
	}
	return o.describeFully(call{bucket: bucket, key: key}), true
}

func (s *Store) peek(bucket, key string) *object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.mu.buckets[bucket]; b != nil {
		return b.objects[key]
	}
	return nil
}

// Keys are the bucket's keys in order.
func (s *Store) Keys(bucket string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mu.buckets[bucket]
	if b == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(b.objects))
}

// PendingUploads are the bucket's unfinished multipart uploads, by key.
func (s *Store) PendingUploads(bucket string) []s3client.Upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mu.buckets[bucket]
	if b == nil {
		return nil
	}
	return b.uploadsLocked("")
}

// PutBytes stores an object as another client would, making the bucket where it is missing. It panics on a key or
// headers that no store takes.
func (s *Store) PutBytes(bucket, key string, p []byte, h s3client.Headers) s3client.Object {
	return s.place(bucket, key, bytesContent(bytes.Clone(p)), h)
}

// PutComputed stores an object of size bytes whose content is ComputedAt(key, version), making the bucket where it is
// missing. It costs no memory. Its ETag depends on key, version and size and is not the MD5 of the bytes.
func (s *Store) PutComputed(bucket, key string, size int64, version string) s3client.Object {
	return s.place(bucket, key, newContent(extent{key: key, version: version, length: size}), s3client.Headers{})
}

func (s *Store) place(bucket, key string, data content, h s3client.Headers) s3client.Object {
	c := call{"place", bucket, key}
	if err := c.checkKey(); err != nil {
		panic(err)
	}
	headers, err := s.storedHeaders(c, h)
	if err != nil {
		panic(err)
	}
	o := &object{content: data, etag: data.etag(), headers: headers}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.modified = s.modified()
	s.setLocked(s.bucketLocked(bucket), key, o)
	return o.describe(c)
}

// Remove deletes an object as another client would.
func (s *Store) Remove(bucket, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.mu.buckets[bucket]; b != nil && b.objects[key] != nil {
		s.setLocked(b, key, nil)
	}
}
