package s3test

import (
	"fmt"
	"slices"
	"testing"

	"pailfs/s3client"
)

var partBehaviours = []behaviour{
	{"parts are copied from ranges of objects", nil, testCopyPart},
	{"a part copied from another version says Changed", copyConditions, testCopyPartVersion},
	{"a part copied from a missing key says NotFound", nil, testCopyPartMissing},
	{"parts are listed with number, ETag and size", nil, testParts},
}

var uploadBehaviours = []behaviour{
	{"an aborted upload is gone", nil, testAbort},
	{"uploads are listed under their prefix", func(o Options) string {
		if o.NoUploadListing {
			return "uploads cannot be listed"
		}
		return ""
	}, testUploads},
	{"many parts are listed in full", nil, testManyParts},
}

func testCopyPart(t *testing.T, s *suite) {
	const key = "copy-part/dst"
	least := int(s.store.Profile().MinPart)
	plain, joined := random("plain source", least+5000), random("joined source", 2*least)
	src := s.put(t, "copy-part/plain + 100%", plain)
	two := s.upload(t, "copy-part/joined", s3client.Headers{}, joined[:least], joined[least:])
	id := s.begin(t, key, s3client.Headers{})
	copyPart := func(number int, src s3client.Object, off, length int) s3client.Part {
		t.Helper()
		part, err := s.store.CopyPart(t.Context(), s3client.CopyPartRequest{Bucket: s.bucket, Key: key, UploadID: id,
			Number: number, SrcBucket: src.Bucket, SrcKey: src.Key, SrcETag: src.ETag, Offset: int64(off),
			Length: int64(length)})
		must(t, "copy part", err)
		if part.Number != number || part.ETag == "" || part.Size != int64(length) {
			t.Errorf("copied part %d of %d bytes answers %+v", number, length, part)
		}
		return part
	}
	own := random("own", least)
	parts := []s3client.Part{copyPart(1, src, 1000, least), s.sendPart(t, key, id, 2, own),
		copyPart(3, two, least/2, least), copyPart(4, src, 5000, least), copyPart(5, src, least+4990, 10)}
	_, err := s.complete(t, s3client.CompleteRequest{Key: key, UploadID: id, Parts: parts})
	must(t, "complete", err)
	s.wantObject(t, s.bucket, key, slices.Concat(plain[1000:1000+least], own, joined[least/2:least/2+least],
		plain[5000:5000+least], plain[least+4990:]), "")
}

func testCopyPartVersion(t *testing.T, s *suite) {
	old := s.put(t, "copy-part-version/src", []byte("old"))
	now := s.put(t, "copy-part-version/src", []byte("new"))
	id := s.begin(t, "copy-part-version/dst", s3client.Headers{})
	req := s3client.CopyPartRequest{Bucket: s.bucket, Key: "copy-part-version/dst", UploadID: id, Number: 1,
		SrcBucket: s.bucket, SrcKey: "copy-part-version/src", SrcETag: old.ETag, Length: 3}
	_, err := s.store.CopyPart(t.Context(), req)
	wantKind(t, "copy of the old version", err, s3client.Changed)
	req.SrcETag = now.ETag
	_, err = s.store.CopyPart(t.Context(), req)
	must(t, "copy of the new version", err)
	must(t, "abort", s.store.AbortUpload(t.Context(), s.bucket, "copy-part-version/dst", id))
}

func testCopyPartMissing(t *testing.T, s *suite) {
	id := s.begin(t, "copy-part-missing", s3client.Headers{})
	_, err := s.store.CopyPart(t.Context(), s3client.CopyPartRequest{Bucket: s.bucket, Key: "copy-part-missing",
		UploadID: id, Number: 1, SrcBucket: s.bucket, SrcKey: "copy-part-missing/none", Length: 3})
	wantKind(t, "copy part", err, s3client.NotFound)
	must(t, "abort", s.store.AbortUpload(t.Context(), s.bucket, "copy-part-missing", id))
}

func testParts(t *testing.T, s *suite) {
	const key = "parts"
	id := s.begin(t, key, s3client.Headers{})
	parts, err := s.store.Parts(t.Context(), s.bucket, key, id)
	if err != nil || len(parts) != 0 {
		t.Errorf("parts of a new upload: %v, %v", parts, err)
	}
	var want []s3client.Part
	for _, number := range []int{12, 1, 3} {
		want = append(want, s.sendPart(t, key, id, number, random("listed part", 100*number)))
	}
	want[1] = s.sendPart(t, key, id, 1, []byte("replaced"))
	slices.SortFunc(want, func(a, b s3client.Part) int { return a.Number - b.Number })
	parts, err = s.store.Parts(t.Context(), s.bucket, key, id)
	if err != nil || !slices.Equal(parts, want) {
		t.Errorf("parts %+v, %v\nwant %+v", parts, err, want)
	}
	must(t, "abort", s.store.AbortUpload(t.Context(), s.bucket, key, id))
}

func testManyParts(t *testing.T, s *suite) {
	const key, n = "many-parts", 30
	id := s.begin(t, key, s3client.Headers{})
	must(t, "parts", parallel(n, func(i int) error {
		p := []byte(fmt.Sprintf("part %d", i+1))
		_, err := s.store.UploadPart(t.Context(), s3client.PartRequest{Bucket: s.bucket, Key: key, UploadID: id,
			Number: i + 1, Body: readerAt(p), Size: int64(len(p))})
		return err
	}))
	parts, err := s.store.Parts(t.Context(), s.bucket, key, id)
	must(t, "parts", err)
	if len(parts) != n {
		t.Fatalf("%d parts listed, want %d", len(parts), n)
	}
	for i, p := range parts {
		if want := fmt.Sprintf("part %d", i+1); p.Number != i+1 || p.ETag != md5sum([]byte(want)) {
			t.Errorf("part %d listed as %+v", i+1, p)
		}
	}
	must(t, "abort", s.store.AbortUpload(t.Context(), s.bucket, key, id))
}

func testAbort(t *testing.T, s *suite) {
	const key = "aborted"
	ctx, id := t.Context(), s.begin(t, key, s3client.Headers{})
	part := s.sendPart(t, key, id, 1, []byte("x"))
	must(t, "abort", s.store.AbortUpload(ctx, s.bucket, key, id))
	err := s.store.AbortUpload(ctx, s.bucket, key, id)
	if s.o.AbortAlwaysWorks {
		s.leaveOut(t, "aborting an upload that is not there is a success")
		must(t, "abort again", err)
	} else {
		wantKind(t, "abort again", err, s3client.NotFound)
	}
	_, err = s.store.UploadPart(ctx, s3client.PartRequest{Bucket: s.bucket, Key: key, UploadID: id, Number: 2,
		Body: readerAt("y"), Size: 1})
	wantKind(t, "part", err, s3client.NotFound)
	_, err = s.store.Parts(ctx, s.bucket, key, id)
	wantKind(t, "parts", err, s3client.NotFound)
	_, err = s.complete(t, s3client.CompleteRequest{Key: key, UploadID: id, Parts: []s3client.Part{part}})
	wantKind(t, "complete", err, s3client.NotFound)
	src := s.put(t, "aborted-source", []byte("source"))
	_, err = s.store.CopyPart(ctx, s3client.CopyPartRequest{Bucket: s.bucket, Key: key, UploadID: id, Number: 3,
		SrcBucket: s.bucket, SrcKey: src.Key, Length: 3})
	wantKind(t, "copy part", err, s3client.NotFound)
	s.wantGone(t, s.bucket, key)
}

func testUploads(t *testing.T, s *suite) {
	b := s.newBucket(t)
	none, err := s.store.Uploads(t.Context(), b, "")
	if err != nil || len(none) != 0 {
		t.Errorf("uploads of a new bucket: %v, %v", none, err)
	}
	want := make(map[string]string) // key by id
	for _, key := range []string{"in/a", "in/b/c", "in/a", "in/ab", "in/한글 %+", "out/d"} {
		id, err := s.store.CreateUpload(t.Context(), b, key, s3client.Headers{})
		must(t, "create upload", err)
		want[id] = key
	}
	for prefix, n := range map[string]int{"": 6, "in/": 5, "in/a": 3, "in/b": 1, "in/b/c": 1, "none": 0} {
		uploads, err := s.store.Uploads(t.Context(), b, prefix)
		must(t, "uploads", err)
		if len(uploads) != n {
			t.Errorf("%d uploads under %q, want %d: %+v", len(uploads), prefix, n, uploads)
		}
		for _, u := range uploads {
			if want[u.ID] != u.Key {
				t.Errorf("upload %s is of %q, listed with %q", u.ID, want[u.ID], u.Key)
			}
			if u.Initiated.IsZero() {
				t.Errorf("upload of %q has no time", u.Key)
			}
		}
	}
	for id, key := range want {
		must(t, "abort", s.store.AbortUpload(t.Context(), b, key, id))
	}
	left, err := s.store.Uploads(t.Context(), b, "")
	if err != nil || len(left) != 0 {
		t.Errorf("uploads after they were aborted: %v, %v", left, err)
	}
}
