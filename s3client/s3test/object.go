package s3test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
)

var objectBehaviours = []behaviour{
	{"objects of any size come back as they were put", nil, testSizes},
	{"a put replaces bytes, headers and metadata", nil, testReplace},
	{"headers and metadata come back", nil, testHeaders},
	{"metadata with an empty value comes back", func(o Options) string {
		if o.NoEmptyMeta {
			return "empty metadata is lost"
		}
		return ""
	}, testEmptyMeta},
	{"metadata too large for the profile is refused and stores nothing", nil, testMetaTooLarge},
	{"a missing key says NotFound", nil, testMissingKey},
	{"deleting what is not there is a success", nil, testDeleteMissing},
	{"a put whose body is too short fails and stores nothing", nil, testShortBody},
	{"the profile has limits", nil, testProfile},
}

func testSizes(t *testing.T, s *suite) {
	start := time.Now()
	for _, n := range []int{0, 1, 100, 4096, 65537, 1<<20 + 1, 6<<20 + 3} {
		key, p := fmt.Sprintf("sizes/%d", n), random("sizes", n)
		o := s.put(t, key, p)
		if o.Bucket != s.bucket || o.Key != key || o.Size != int64(n) || o.ETag != md5sum(p) || o.Headers != nil {
			t.Errorf("put of %d bytes answers %+v", n, o)
		}
		head := s.wantObject(t, s.bucket, key, p, md5sum(p))
		if !o.Modified.IsZero() && o.Modified.Sub(head.Modified).Abs() > time.Second {
			t.Errorf("put says modified %v, head %v", o.Modified, head.Modified)
		}
		if d := head.Modified.Sub(start); d < -time.Hour || d > time.Hour {
			t.Errorf("modified %v, at about %v", head.Modified, start)
		}
	}
}

func testReplace(t *testing.T, s *suite) {
	const key = "replace"
	s.putWith(t, s.bucket, key, []byte("the old and longer text"), s3client.Headers{ContentType: "text/plain",
		CacheControl: "no-cache", Meta: map[string]string{"old": "1", "both": "old"}})
	s.putWith(t, s.bucket, key, []byte("new"), s3client.Headers{ContentType: "text/html",
		Meta: map[string]string{"both": "new"}})
	h := s.wantObject(t, s.bucket, key, []byte("new"), md5sum([]byte("new"))).Headers
	if h.ContentType != "text/html" || h.CacheControl != "" || !maps.Equal(h.Meta, map[string]string{"both": "new"}) {
		t.Errorf("headers after the second put: %+v", *h)
	}
}

// fullHeaders are headers of every kind, with metadata as s3fs writes it.
func fullHeaders() s3client.Headers {
	return s3client.Headers{
		ContentType: "text/plain; charset=utf-8", CacheControl: "max-age=60, private",
		ContentDisposition: `attachment; filename="a b.txt"`, ContentEncoding: "identity", ContentLanguage: "ko",
		Expires: "Thu, 01 Dec 2033 16:00:00 GMT",
		Meta: map[string]string{
			"mode": "33188", "uid": "1000", "gid": "100", "mtime": "1700000000.123456789", "xattr-user_name": "b64==",
			"with_underscore": "x", "name": url.PathEscape("한글 값"), "long": strings.Repeat("v", 256),
			"symbols": `a "quoted", <b> & 'c' = 100% ; \ ~`,
		},
	}
}

// uploaded are the headers that an object made by an upload shows when CreateUpload was given h.
func (s *suite) uploaded(t *testing.T, h s3client.Headers) s3client.Headers {
	t.Helper()
	if !s.o.UploadMetaDashes {
		return h
	}
	s.leaveOut(t, "names of an upload's metadata lose their underscores")
	meta := make(map[string]string)
	for name, v := range h.Meta {
		meta[strings.ReplaceAll(name, "_", "-")] = v
	}
	h.Meta = meta
	return h
}

func wantHeaders(t *testing.T, got *s3client.Headers, want s3client.Headers) {
	t.Helper()
	if got == nil {
		t.Error("headers are nil")
		return
	}
	for name, pair := range map[string][2]string{
		"Content-Type":        {got.ContentType, want.ContentType},
		"Cache-Control":       {got.CacheControl, want.CacheControl},
		"Content-Disposition": {got.ContentDisposition, want.ContentDisposition},
		"Content-Encoding":    {got.ContentEncoding, want.ContentEncoding},
		"Content-Language":    {got.ContentLanguage, want.ContentLanguage},
		"Expires":             {got.Expires, want.Expires},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", name, pair[0], pair[1])
		}
	}
	if !maps.Equal(got.Meta, want.Meta) {
		t.Errorf("metadata is %q\nwant %q", got.Meta, want.Meta)
	}
}

func testHeaders(t *testing.T, s *suite) {
	for _, p := range [][]byte{nil, []byte("some bytes")} {
		s.putWith(t, s.bucket, "headers", p, fullHeaders())
		wantHeaders(t, s.wantObject(t, s.bucket, "headers", p, "").Headers, fullHeaders())
		_, o, err := s.read(t.Context(), s3client.GetRequest{Bucket: s.bucket, Key: "headers"})
		must(t, "get", err)
		wantHeaders(t, o.Headers, fullHeaders())
	}
}

func testEmptyMeta(t *testing.T, s *suite) {
	want := map[string]string{"empty": "", "full": "x"}
	s.putWith(t, s.bucket, "empty-meta", nil, s3client.Headers{ContentType: "text/plain", Meta: want})
	o := s.wantObject(t, s.bucket, "empty-meta", nil, "")
	if !maps.Equal(o.Headers.Meta, want) {
		t.Errorf("metadata is %q, want %q", o.Headers.Meta, want)
	}
}

func testMetaTooLarge(t *testing.T, s *suite) {
	limit := s.store.Profile().MaxMeta
	h := s3client.Headers{Meta: map[string]string{}}
	for i := range limit/200 + 2 {
		h.Meta[fmt.Sprintf("name-%d", i)] = strings.Repeat("m", 200)
	}
	_, err := s.store.Put(t.Context(), putRequest(s.bucket, "meta-too-large", []byte("x"), h))
	wantKind(t, "put", err, s3client.Invalid)
	s.wantGone(t, s.bucket, "meta-too-large")
}

func testMissingKey(t *testing.T, s *suite) {
	ctx := t.Context()
	s.wantGone(t, s.bucket, "no/such/key")
	_, _, err := s.read(ctx, s3client.GetRequest{Bucket: s.bucket, Key: "no/such/key"})
	wantKind(t, "get", err, s3client.NotFound)
	_, _, err = s.read(ctx, s3client.GetRequest{Bucket: s.bucket, Key: "no/such/key", Offset: 5, Length: 10})
	wantKind(t, "get of a range", err, s3client.NotFound)
	_, _, err = s.read(ctx, s3client.GetRequest{Bucket: s.bucket, Key: "no/such/key", ETag: md5sum(nil)})
	wantKind(t, "get of a version", err, s3client.NotFound)
}

func testDeleteMissing(t *testing.T, s *suite) {
	must(t, "delete what never was", s.store.Delete(t.Context(), s.bucket, "never/was"))
	s.put(t, "twice", []byte("x"))
	must(t, "delete", s.store.Delete(t.Context(), s.bucket, "twice"))
	s.wantGone(t, s.bucket, "twice")
	must(t, "delete again", s.store.Delete(t.Context(), s.bucket, "twice"))
}

func testShortBody(t *testing.T, s *suite) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := s.store.Put(ctx, s3client.PutRequest{Bucket: s.bucket, Key: "short", Body: bytes.NewReader([]byte("short")),
		Size: 100})
	if err == nil {
		t.Error("put of 5 bytes that were promised as 100: no error")
	}
	s.wantGone(t, s.bucket, "short")
}

func testProfile(t *testing.T, s *suite) {
	p := s.store.Profile()
	if p.Name == "" || p.MinPart <= 0 || p.MaxPart < p.MinPart || p.MaxParts < 1 || p.MaxPut <= 0 || p.MaxCopy <= 0 ||
		p.MaxDelete < 1 || p.MaxMeta < 1 || p.MaxMetaValue < 1 {
		t.Errorf("profile %+v", p)
	}
}
