package s3test

import (
	"testing"

	"pailfs/s3client"
)

var copyBehaviours = []behaviour{
	{"a copy keeps headers and metadata", nil, testCopyKeeps},
	{"a copy with headers replaces them all", nil, testCopyReplaces},
	{"a copy onto itself changes headers alone", nil, testSelfCopy},
	{"a copy onto itself without headers says Invalid", nil, testSelfCopyKeep},
	{"a copy crosses buckets and overwrites", nil, testCopyAcross},
	{"a copy of another version says Changed and copies nothing", copyConditions, testCopyVersion},
	{"a copy of a missing key says NotFound and leaves the target", nil, testCopyMissing},
	{"a copy of a multipart object has its bytes", nil, testCopyMultipart},
}

func copyConditions(o Options) string {
	if o.NoCopySourceConditions {
		return "copies ignore the source's ETag"
	}
	return ""
}

// copied are the headers that a copy shows which keeps those of its source.
func (s *suite) copied(t *testing.T, h s3client.Headers) s3client.Headers {
	t.Helper()
	if s.o.CopyLosesExpires && h.Expires != "" {
		s.leaveOut(t, "a copy loses Expires")
		h.Expires = ""
	}
	return h
}

func testCopyKeeps(t *testing.T, s *suite) {
	for _, p := range [][]byte{nil, []byte("bytes to copy")} {
		src := s.putWith(t, s.bucket, "copy/src", p, fullHeaders())
		o, err := s.store.Copy(t.Context(), s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: "copy/src", SrcETag: src.ETag,
			SrcSize: src.Size, Bucket: s.bucket, Key: "copy/dst"})
		must(t, "copy", err)
		head := s.wantObject(t, s.bucket, "copy/dst", p, md5sum(p))
		wantHeaders(t, head.Headers, s.copied(t, fullHeaders()))
		if o.ETag != head.ETag || o.Bucket != s.bucket || o.Key != "copy/dst" || o.Headers != nil {
			t.Errorf("copy answers %+v, head %+v", o, head)
		}
		s.wantObject(t, s.bucket, "copy/src", p, src.ETag)
	}
}

func testCopyReplaces(t *testing.T, s *suite) {
	s.putWith(t, s.bucket, "replaces/src", []byte("x"), fullHeaders())
	h := s3client.Headers{ContentType: "image/png", Meta: map[string]string{"mode": "33152", "new": "1"}}
	_, err := s.store.Copy(t.Context(), s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: "replaces/src", Bucket: s.bucket,
		Key: "replaces/dst", Headers: &h})
	must(t, "copy", err)
	wantHeaders(t, s.wantObject(t, s.bucket, "replaces/dst", []byte("x"), "").Headers, h)
	wantHeaders(t, s.wantObject(t, s.bucket, "replaces/src", []byte("x"), "").Headers, fullHeaders())
}

func testSelfCopy(t *testing.T, s *suite) {
	p := random("self", 100_000)
	o := s.putWith(t, s.bucket, "self", p, fullHeaders())
	h := s3client.Headers{ContentType: "text/csv", Meta: map[string]string{"mode": "33024"}}
	_, err := s.store.Copy(t.Context(), s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: "self", SrcETag: o.ETag,
		SrcSize: o.Size, Bucket: s.bucket, Key: "self", Headers: &h})
	must(t, "copy", err)
	head := s.wantObject(t, s.bucket, "self", p, o.ETag)
	if s.o.SelfCopyMerges {
		s.leaveOut(t, "a copy onto itself keeps headers that it does not name")
		*head.Headers = s3client.Headers{ContentType: head.Headers.ContentType, Meta: head.Headers.Meta}
	}
	wantHeaders(t, head.Headers, h)
}

func testSelfCopyKeep(t *testing.T, s *suite) {
	s.put(t, "self-keep", []byte("x"))
	_, err := s.store.Copy(t.Context(), s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: "self-keep", Bucket: s.bucket,
		Key: "self-keep"})
	wantKind(t, "copy", err, s3client.Invalid)
	s.wantObject(t, s.bucket, "self-keep", []byte("x"), "")
}

func testCopyAcross(t *testing.T, s *suite) {
	b := s.newBucket(t)
	s.putWith(t, s.bucket, "across/src", []byte("new"), fullHeaders())
	s.putWith(t, b, "dst", []byte("overwritten"), s3client.Headers{Meta: map[string]string{"gone": "1"}})
	_, err := s.store.Copy(t.Context(), s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: "across/src", Bucket: b,
		Key: "dst"})
	must(t, "copy", err)
	wantHeaders(t, s.wantObject(t, b, "dst", []byte("new"), "").Headers, s.copied(t, fullHeaders()))
}

func testCopyVersion(t *testing.T, s *suite) {
	old := s.put(t, "copy-version/src", []byte("old"))
	now := s.put(t, "copy-version/src", []byte("new"))
	req := s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: "copy-version/src", SrcETag: old.ETag, Bucket: s.bucket,
		Key: "copy-version/dst"}
	_, err := s.store.Copy(t.Context(), req)
	wantKind(t, "copy of the old version", err, s3client.Changed)
	s.wantGone(t, s.bucket, "copy-version/dst")
	req.SrcETag = now.ETag
	_, err = s.store.Copy(t.Context(), req)
	must(t, "copy of the new version", err)
	s.wantObject(t, s.bucket, "copy-version/dst", []byte("new"), "")
}

func testCopyMissing(t *testing.T, s *suite) {
	s.put(t, "copy-missing/dst", []byte("stays"))
	for _, etag := range []string{"", md5sum(nil)} {
		_, err := s.store.Copy(t.Context(), s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: "copy-missing/src",
			SrcETag: etag, Bucket: s.bucket, Key: "copy-missing/dst"})
		wantKind(t, "copy", err, s3client.NotFound)
	}
	s.wantObject(t, s.bucket, "copy-missing/dst", []byte("stays"), "")
}

func testCopyMultipart(t *testing.T, s *suite) {
	p := random("copy multipart", int(s.store.Profile().MinPart)+1000)
	src := s.upload(t, "copy-multipart/src", fullHeaders(), p[:len(p)-1000], p[len(p)-1000:])
	for _, h := range []*s3client.Headers{nil, {ContentType: "text/css", Meta: map[string]string{"new": "1"}}} {
		o, err := s.store.Copy(t.Context(), s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: src.Key, SrcETag: src.ETag,
			SrcSize: src.Size, Bucket: s.bucket, Key: "copy-multipart/dst", Headers: h})
		must(t, "copy", err)
		head := s.wantObject(t, s.bucket, "copy-multipart/dst", p, o.ETag)
		if h != nil {
			wantHeaders(t, head.Headers, *h)
		} else {
			wantHeaders(t, head.Headers, s.copied(t, s.uploaded(t, fullHeaders())))
		}
	}
	s.wantObject(t, s.bucket, src.Key, p, src.ETag)
}
