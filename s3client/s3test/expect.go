package s3test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
)

// wantKind fails the test unless err is an *s3client.Error of that kind.
func wantKind(t *testing.T, what string, err error, kind s3client.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %q", what, kind)
		return
	}
	var e *s3client.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %T is not an *s3client.Error: %v", what, err, err)
		return
	}
	if e.Kind != kind {
		t.Errorf("%s: kind %q, want %q: %v", what, e.Kind, kind, err)
	}
	if e.Op == "" {
		t.Errorf("%s: the error does not name its call: %v", what, err)
	}
}

// must ends the test when there is an error.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// random are n bytes that depend on the seed.
func random(seed string, n int) []byte {
	sum := md5.Sum([]byte(seed))
	var key [32]byte
	copy(key[:], sum[:])
	p := make([]byte, n)
	rand.NewChaCha8(key).Read(p)
	return p
}

// md5sum is the ETag of a plain object.
func md5sum(p []byte) string {
	sum := md5.Sum(p)
	return hex.EncodeToString(sum[:])
}

// joinedETag is the ETag of an object of parts.
func joinedETag(parts ...[]byte) string {
	var sums []byte
	for _, p := range parts {
		sum := md5.Sum(p)
		sums = append(sums, sum[:]...)
	}
	return fmt.Sprintf("%s-%d", md5sum(sums), len(parts))
}

// put stores an object in the shared bucket.
func (s *suite) put(t *testing.T, key string, p []byte) s3client.Object {
	t.Helper()
	return s.putWith(t, s.bucket, key, p, s3client.Headers{})
}

func (s *suite) putWith(t *testing.T, bucket, key string, p []byte, h s3client.Headers) s3client.Object {
	t.Helper()
	o, err := s.store.Put(t.Context(), putRequest(bucket, key, p, h))
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return o
}

func putRequest(bucket, key string, p []byte, h s3client.Headers) s3client.PutRequest {
	return s3client.PutRequest{Bucket: bucket, Key: key, Headers: h, Body: bytes.NewReader(p), Size: int64(len(p))}
}

// read reads an answer's body in full.
func (s *suite) read(ctx context.Context, req s3client.GetRequest) ([]byte, s3client.Object, error) {
	body, o, err := s.store.Get(ctx, req)
	if err != nil {
		return nil, o, err
	}
	p, err := io.ReadAll(body)
	return p, o, errors.Join(err, body.Close())
}

// wantObject holds an object's bytes, size and ETag against what was stored; etag "" takes any that is not empty.
func (s *suite) wantObject(t *testing.T, bucket, key string, want []byte, etag string) s3client.Object {
	t.Helper()
	head, err := s.store.Head(t.Context(), bucket, key)
	if err != nil {
		t.Fatalf("head %q: %v", key, err)
	}
	p, got, err := s.read(t.Context(), s3client.GetRequest{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	if !bytes.Equal(p, want) {
		t.Fatalf("get %q: %d bytes %.20q..., want %d bytes %.20q...", key, len(p), p, len(want), want)
	}
	for _, o := range []s3client.Object{head, got} {
		if o.Bucket != bucket || o.Key != key || o.Size != int64(len(want)) {
			t.Errorf("%q described as %s/%q of %d bytes, want %s/%q of %d bytes", key, o.Bucket, o.Key, o.Size, bucket, key,
				len(want))
		}
		if o.ETag == "" || etag != "" && o.ETag != etag {
			t.Errorf("%q has ETag %q, want %q", key, o.ETag, etag)
		}
		if o.Headers == nil {
			t.Errorf("%q: Headers are nil", key)
		}
		if o.Modified.IsZero() {
			t.Errorf("%q: Modified is zero", key)
		}
	}
	if head.ETag != got.ETag || !head.Modified.Equal(got.Modified) {
		t.Errorf("%q: Head says %s %v, Get says %s %v", key, head.ETag, head.Modified, got.ETag, got.Modified)
	}
	return head
}

// wantGone fails the test unless the key is NotFound.
func (s *suite) wantGone(t *testing.T, bucket, key string) {
	t.Helper()
	_, err := s.store.Head(t.Context(), bucket, key)
	wantKind(t, fmt.Sprintf("head %q", key), err, s3client.NotFound)
}

// list reads all pages and checks that each keeps to the rules of a page.
func (s *suite) list(t *testing.T, req s3client.ListRequest) (objects []s3client.Object, prefixes []string, pages int) {
	t.Helper()
	last := ""
	for {
		page, err := s.store.List(t.Context(), req)
		if err != nil {
			t.Fatalf("list %+v: %v", req, err)
		}
		pages++
		first, end := checkPage(t, req, page)
		if pages > 1 && first != "" && first <= last {
			t.Fatalf("list %+v: page begins with %q, the one before ended with %q", req, first, last)
		}
		last = max(last, end)
		objects = append(objects, page.Objects...)
		prefixes = append(prefixes, page.Prefixes...)
		if page.Next == "" {
			return objects, prefixes, pages
		}
		if len(page.Objects)+len(page.Prefixes) == 0 {
			t.Fatalf("list %+v: an empty page that is not the last", req)
		}
		req.After = page.Next
	}
}

// checkPage checks order and length of a page and returns its least and its greatest name.
func checkPage(t *testing.T, req s3client.ListRequest, page s3client.ListPage) (first, last string) {
	t.Helper()
	names := slices.Clone(page.Prefixes)
	if !slices.IsSorted(page.Prefixes) {
		t.Errorf("list %+v: prefixes are not in order: %q", req, page.Prefixes)
	}
	for i, o := range page.Objects {
		if i > 0 && o.Key <= page.Objects[i-1].Key {
			t.Errorf("list %+v: %q comes after %q", req, o.Key, page.Objects[i-1].Key)
		}
		if o.Bucket != req.Bucket || o.Headers != nil {
			t.Errorf("list %+v: object %+v: want its bucket and no headers", req, o)
		}
		names = append(names, o.Key)
	}
	if req.Max > 0 && len(names) > req.Max || len(names) > 1000 {
		t.Errorf("list %+v: %d names in a page", req, len(names))
	}
	if len(names) == 0 {
		return "", ""
	}
	return slices.Min(names), slices.Max(names)
}

// wantList waits until a listing shows exactly these keys and prefixes; a store whose listings are not late gets one
// try.
func (s *suite) wantList(t *testing.T, req s3client.ListRequest, keys, prefixes []string) []s3client.Object {
	t.Helper()
	for until := time.Now().Add(s.o.ListingLag); ; time.Sleep(100 * time.Millisecond) {
		objects, gotPrefixes, _ := s.list(t, req)
		var got []string
		for _, o := range objects {
			got = append(got, o.Key)
		}
		if slices.Equal(got, keys) && slices.Equal(gotPrefixes, prefixes) {
			return objects
		}
		if !time.Now().Before(until) {
			t.Errorf("list %+v:\n got %q and prefixes %q\nwant %q and prefixes %q", req, got, gotPrefixes, keys, prefixes)
			return objects
		}
	}
}

// parallel runs f for 0..n-1, eight at once, and joins the errors.
func parallel(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	slots := make(chan struct{}, 8)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
