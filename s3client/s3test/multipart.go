package s3test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"pailfs/s3client"
)

var multipartBehaviours = []behaviour{
	{"parts sent in parallel join in the order of their numbers", nil, testMultipart},
	{"a part sent again replaces the first", nil, testPartReplaced},
	{"a part that was not completed is not in the object", nil, testPartLeftOut},
	{"one small part is an object", nil, testOnePart},
	{"one empty part is an empty object", func(o Options) string {
		if o.NoEmptyPart {
			return "no uploads of one empty part"
		}
		return ""
	}, testEmptyPart},
	{"an upload is invisible until it is complete", nil, testInvisible},
	{"a part below the minimum says Invalid at completion and can be mended", nil, testTooSmall},
	{"a completion with wrong parts says Invalid and can be mended", nil, testWrongParts},
	{"completing twice does no harm", nil, testCompleteTwice},
	{"a completion overwrites what is there", nil, testCompleteOverwrites},
	{"an exclusive completion makes a new object", ifAbsent, testIfAbsentNew},
	{"an exclusive completion says Exists and leaves what is there", ifAbsent, testIfAbsentExists},
}

func ifAbsent(o Options) string {
	if o.NoIfAbsentComplete {
		return "completions ignore If-None-Match"
	}
	return ""
}

// begin initiates an upload in the shared bucket.
func (s *suite) begin(t *testing.T, key string, h s3client.Headers) string {
	t.Helper()
	id, err := s.store.CreateUpload(t.Context(), s.bucket, key, h)
	must(t, "create upload", err)
	if id == "" {
		t.Fatal("create upload: an empty id")
	}
	return id
}

func (s *suite) sendPart(t *testing.T, key, id string, number int, p []byte) s3client.Part {
	t.Helper()
	part, err := s.store.UploadPart(t.Context(), s3client.PartRequest{Bucket: s.bucket, Key: key, UploadID: id,
		Number: number, Body: bytes.NewReader(p), Size: int64(len(p))})
	if err != nil {
		t.Fatalf("part %d: %v", number, err)
	}
	if part.Number != number || part.ETag != md5sum(p) || part.Size != int64(len(p)) {
		t.Errorf("part %d of %d bytes answers %+v, want ETag %s", number, len(p), part, md5sum(p))
	}
	return part
}

func (s *suite) complete(t *testing.T, req s3client.CompleteRequest) (s3client.Object, error) {
	t.Helper()
	req.Bucket = s.bucket
	for _, p := range req.Parts {
		req.Size += p.Size
	}
	return s.store.CompleteUpload(t.Context(), req)
}

// upload makes a multipart object of parts 1, 2, ...
func (s *suite) upload(t *testing.T, key string, h s3client.Headers, parts ...[]byte) s3client.Object {
	t.Helper()
	id := s.begin(t, key, h)
	var sent []s3client.Part
	for i, p := range parts {
		sent = append(sent, s.sendPart(t, key, id, i+1, p))
	}
	o, err := s.complete(t, s3client.CompleteRequest{Key: key, UploadID: id, Parts: sent})
	must(t, "complete", err)
	return o
}

func testMultipart(t *testing.T, s *suite) {
	const key = "multipart"
	least := int(s.store.Profile().MinPart)
	bodies := map[int][]byte{1: random("p1", least), 2: random("p2", least+1), 5: random("p5", least), 9: random("p9", 100)}
	id := s.begin(t, key, fullHeaders())
	var mu sync.Mutex
	var parts []s3client.Part
	order := []int{9, 5, 1, 2}
	must(t, "parts", parallel(len(order), func(i int) error {
		p := bodies[order[i]]
		part, err := s.store.UploadPart(t.Context(), s3client.PartRequest{Bucket: s.bucket, Key: key, UploadID: id,
			Number: order[i], Body: bytes.NewReader(p), Size: int64(len(p))})
		mu.Lock()
		defer mu.Unlock()
		parts = append(parts, part)
		return err
	}))
	slices.SortFunc(parts, func(a, b s3client.Part) int { return a.Number - b.Number })
	o, err := s.complete(t, s3client.CompleteRequest{Key: key, UploadID: id, Parts: parts})
	must(t, "complete", err)
	etag := joinedETag(bodies[1], bodies[2], bodies[5], bodies[9])
	whole := slices.Concat(bodies[1], bodies[2], bodies[5], bodies[9])
	if o.Bucket != s.bucket || o.Key != key || o.ETag != etag || o.Size != int64(len(whole)) || o.Headers != nil {
		t.Errorf("complete answers %+v, want %d bytes, ETag %s", o, len(whole), etag)
	}
	wantHeaders(t, s.wantObject(t, s.bucket, key, whole, etag).Headers, s.uploaded(t, fullHeaders()))
	req := s3client.GetRequest{Bucket: s.bucket, Key: key, ETag: etag, Offset: int64(least) - 10, Length: int64(least) + 50}
	p, described, err := s.read(t.Context(), req)
	if err != nil || !bytes.Equal(p, whole[least-10:2*least+40]) || described.Size != int64(len(whole)) {
		t.Errorf("a pinned range across parts: %d bytes of %d, %v", len(p), described.Size, err)
	}
	for _, listed := range s.wantList(t, s3client.ListRequest{Bucket: s.bucket, Prefix: key}, []string{key}, nil) {
		if listed.ETag != etag || listed.Size != int64(len(whole)) {
			t.Errorf("listed as %+v, want ETag %s", listed, etag)
		}
	}
}

func testPartReplaced(t *testing.T, s *suite) {
	id := s.begin(t, "replaced", s3client.Headers{})
	least := int(s.store.Profile().MinPart)
	s.sendPart(t, "replaced", id, 1, random("first try", least))
	two := s.sendPart(t, "replaced", id, 2, []byte("end"))
	p := random("second try", least+5)
	one := s.sendPart(t, "replaced", id, 1, p)
	_, err := s.complete(t, s3client.CompleteRequest{Key: "replaced", UploadID: id, Parts: []s3client.Part{one, two}})
	must(t, "complete", err)
	s.wantObject(t, s.bucket, "replaced", append(p, "end"...), joinedETag(p, []byte("end")))
}

func testPartLeftOut(t *testing.T, s *suite) {
	id := s.begin(t, "left-out", s3client.Headers{})
	one := s.sendPart(t, "left-out", id, 1, []byte("in the object"))
	s.sendPart(t, "left-out", id, 2, []byte("not in it"))
	_, err := s.complete(t, s3client.CompleteRequest{Key: "left-out", UploadID: id, Parts: []s3client.Part{one}})
	must(t, "complete", err)
	s.wantObject(t, s.bucket, "left-out", []byte("in the object"), "")
}

func testOnePart(t *testing.T, s *suite) {
	s.upload(t, "one-part", s3client.Headers{}, []byte("x"))
	s.wantObject(t, s.bucket, "one-part", []byte("x"), joinedETag([]byte("x")))
}

func testEmptyPart(t *testing.T, s *suite) {
	s.upload(t, "empty-part", s3client.Headers{}, nil)
	s.wantObject(t, s.bucket, "empty-part", nil, joinedETag(nil))
}

func testInvisible(t *testing.T, s *suite) {
	id := s.begin(t, "invisible/k", s3client.Headers{})
	s.sendPart(t, "invisible/k", id, 1, []byte("x"))
	s.wantGone(t, s.bucket, "invisible/k")
	s.wantList(t, s3client.ListRequest{Bucket: s.bucket, Prefix: "invisible/"}, nil, nil)
	must(t, "abort", s.store.AbortUpload(t.Context(), s.bucket, "invisible/k", id))
	s.wantGone(t, s.bucket, "invisible/k")
}

func testTooSmall(t *testing.T, s *suite) {
	id := s.begin(t, "too-small", s3client.Headers{})
	least := int(s.store.Profile().MinPart)
	one := s.sendPart(t, "too-small", id, 1, random("small", least-1))
	two := s.sendPart(t, "too-small", id, 2, []byte("end"))
	_, err := s.complete(t, s3client.CompleteRequest{Key: "too-small", UploadID: id, Parts: []s3client.Part{one, two}})
	wantKind(t, "complete", err, s3client.Invalid)
	s.wantGone(t, s.bucket, "too-small")
	p := random("enough", least)
	one = s.sendPart(t, "too-small", id, 1, p)
	_, err = s.complete(t, s3client.CompleteRequest{Key: "too-small", UploadID: id, Parts: []s3client.Part{one, two}})
	must(t, "complete", err)
	s.wantObject(t, s.bucket, "too-small", append(p, "end"...), "")
}

func testWrongParts(t *testing.T, s *suite) {
	id := s.begin(t, "wrong", s3client.Headers{})
	p := random("wrong", int(s.store.Profile().MinPart))
	one, two := s.sendPart(t, "wrong", id, 1, p), s.sendPart(t, "wrong", id, 2, []byte("end"))
	other := s3client.Part{Number: 1, ETag: md5sum([]byte("other")), Size: one.Size}
	unknown := s3client.Part{Number: 3, ETag: two.ETag, Size: two.Size}
	for name, parts := range map[string][]s3client.Part{"no part": nil, "a wrong ETag": {other, two},
		"a part never sent": {one, two, unknown}, "parts in wrong order": {two, one}} {
		_, err := s.complete(t, s3client.CompleteRequest{Key: "wrong", UploadID: id, Parts: parts})
		wantKind(t, "complete with "+name, err, s3client.Invalid)
	}
	s.wantGone(t, s.bucket, "wrong")
	_, err := s.complete(t, s3client.CompleteRequest{Key: "wrong", UploadID: id, Parts: []s3client.Part{one, two}})
	must(t, "complete", err)
	s.wantObject(t, s.bucket, "wrong", append(p, "end"...), "")
}

func testCompleteTwice(t *testing.T, s *suite) {
	id := s.begin(t, "twice-complete", s3client.Headers{})
	req := s3client.CompleteRequest{Key: "twice-complete", UploadID: id,
		Parts: []s3client.Part{s.sendPart(t, "twice-complete", id, 1, []byte("once"))}}
	o, err := s.complete(t, req)
	must(t, "complete", err)
	again, err := s.complete(t, req)
	switch {
	case err == nil && again.ETag != o.ETag:
		t.Errorf("completed again with ETag %s, first %s", again.ETag, o.ETag)
	case err != nil && !errors.Is(err, s3client.NotFound):
		t.Errorf("complete again: %v, want success or %q", err, s3client.NotFound)
	}
	s.wantObject(t, s.bucket, "twice-complete", []byte("once"), o.ETag)
}

func testCompleteOverwrites(t *testing.T, s *suite) {
	s.putWith(t, s.bucket, "overwritten", []byte("a plain object"), fullHeaders())
	h := s3client.Headers{ContentType: "text/plain", Meta: map[string]string{"v": "2"}}
	s.upload(t, "overwritten", h, []byte("an upload"))
	wantHeaders(t, s.wantObject(t, s.bucket, "overwritten", []byte("an upload"), "").Headers, h)
	s.upload(t, "overwritten", h, []byte("another upload"))
	s.wantObject(t, s.bucket, "overwritten", []byte("another upload"), "")
	s.put(t, "overwritten", []byte("plain again"))
	s.wantObject(t, s.bucket, "overwritten", []byte("plain again"), md5sum([]byte("plain again")))
}

func testIfAbsentNew(t *testing.T, s *suite) {
	id := s.begin(t, "if-absent/new", s3client.Headers{})
	part := s.sendPart(t, "if-absent/new", id, 1, []byte("created"))
	_, err := s.complete(t, s3client.CompleteRequest{Key: "if-absent/new", UploadID: id, IfAbsent: true,
		Parts: []s3client.Part{part}})
	must(t, "complete", err)
	s.wantObject(t, s.bucket, "if-absent/new", []byte("created"), "")
}

func testIfAbsentExists(t *testing.T, s *suite) {
	id := s.begin(t, "if-absent/there", s3client.Headers{})
	part := s.sendPart(t, "if-absent/there", id, 1, []byte("too late"))
	s.put(t, "if-absent/there", []byte("first"))
	_, err := s.complete(t, s3client.CompleteRequest{Key: "if-absent/there", UploadID: id, IfAbsent: true,
		Parts: []s3client.Part{part}})
	wantKind(t, "complete", err, s3client.Exists)
	s.wantObject(t, s.bucket, "if-absent/there", []byte("first"), "")
	err = s.store.AbortUpload(t.Context(), s.bucket, "if-absent/there", id)
	if err != nil && !errors.Is(err, s3client.NotFound) { // some stores drop the upload with the 412
		t.Errorf("abort: %v", err)
	}
}
