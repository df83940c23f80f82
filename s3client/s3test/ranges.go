package s3test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"pailfs/s3client"
)

var rangeBehaviours = []behaviour{
	{"ranges give exactly their bytes, cut at the object's end", nil, testRanges},
	{"a range behind the end says Invalid", nil, testRangeBehindEnd},
	{"a body closed early leaves the store usable", nil, testCloseEarly},
}

var versionBehaviours = []behaviour{
	{"a read of one version says Changed when there is another", nil, testIfMatch},
	{"a body does not mix versions", versionedReads, testBodyVersion},
	{"parallel puts leave one of them whole", nil, testParallelPuts},
	{"pinned reads beside a writer are never torn", versionedReads, testPinnedReads},
}

func versionedReads(o Options) string {
	if o.NoVersionedReads {
		return "objects are replaced in place"
	}
	return ""
}

func testRanges(t *testing.T, s *suite) {
	const key, size = "ranges", 1000
	p := random(key, size)
	o := s.put(t, key, p)
	for _, r := range [][2]int64{{0, 1}, {0, 1000}, {1, 998}, {999, 1}, {500, 500}, {500, 5000}, {0, 1 << 40}, {999, 1000},
		{7, 13}} {
		for _, etag := range []string{"", o.ETag} {
			got, described, err := s.read(t.Context(), s3client.GetRequest{Bucket: s.bucket, Key: key, ETag: etag, Offset: r[0],
				Length: r[1]})
			if err != nil {
				t.Errorf("%d bytes at %d: %v", r[1], r[0], err)
				continue
			}
			if want := p[r[0]:min(size, r[0]+r[1])]; !bytes.Equal(got, want) {
				t.Errorf("%d bytes at %d: got %d bytes, want %d; or other bytes", r[1], r[0], len(got), len(want))
			}
			if described.Size != size || described.ETag != o.ETag || described.Headers == nil {
				t.Errorf("%d bytes at %d: object of %d bytes %s, want the whole object's %d %s with headers", r[1], r[0],
					described.Size, described.ETag, size, o.ETag)
			}
		}
	}
}

func testRangeBehindEnd(t *testing.T, s *suite) {
	s.put(t, "behind/full", random("behind", 1000))
	s.put(t, "behind/empty", nil)
	for _, r := range []s3client.GetRequest{{Key: "behind/full", Offset: 1000, Length: 1},
		{Key: "behind/full", Offset: 5000, Length: 100}, {Key: "behind/empty", Offset: 0, Length: 1}} {
		r.Bucket = s.bucket
		p, _, err := s.read(t.Context(), r)
		wantKind(t, fmt.Sprintf("%d bytes at %d of %s (got %d)", r.Length, r.Offset, r.Key, len(p)), err, s3client.Invalid)
	}
}

func testCloseEarly(t *testing.T, s *suite) {
	p := random("early", 1<<20)
	s.put(t, "early", p)
	for range 100 { // more than any limit of requests in flight
		body, _, err := s.store.Get(t.Context(), s3client.GetRequest{Bucket: s.bucket, Key: "early"})
		must(t, "get", err)
		var head [10]byte
		if _, err := io.ReadFull(body, head[:]); err != nil || !bytes.Equal(head[:], p[:10]) {
			t.Fatalf("first bytes %x, %v", head, err)
		}
		must(t, "close", body.Close())
	}
	s.wantObject(t, s.bucket, "early", p, "")
}

func testIfMatch(t *testing.T, s *suite) {
	old, p := s.put(t, "pinned", []byte("the old version")), []byte("the new version")
	o := s.put(t, "pinned", p)
	for _, length := range []int64{0, 5} {
		req := s3client.GetRequest{Bucket: s.bucket, Key: "pinned", Length: length, ETag: old.ETag}
		_, _, err := s.read(t.Context(), req)
		wantKind(t, "get of the old version", err, s3client.Changed)
		req.ETag = o.ETag
		got, _, err := s.read(t.Context(), req)
		if err != nil || !bytes.HasPrefix(p, got) || len(got) == 0 {
			t.Errorf("get of the new version: %q, %v", got, err)
		}
	}
	must(t, "delete", s.store.Delete(t.Context(), s.bucket, "pinned"))
	_, _, err := s.read(t.Context(), s3client.GetRequest{Bucket: s.bucket, Key: "pinned", ETag: o.ETag})
	wantKind(t, "get of a version of what was deleted", err, s3client.NotFound)
}

func testBodyVersion(t *testing.T, s *suite) {
	old, p := random("body old", 8<<20), random("body new", 8<<20)
	s.put(t, "body", old)
	body, _, err := s.store.Get(t.Context(), s3client.GetRequest{Bucket: s.bucket, Key: "body"})
	must(t, "get", err)
	defer body.Close()
	got := make([]byte, 1000, len(old))
	if _, err := io.ReadFull(body, got); err != nil {
		t.Fatalf("first bytes: %v", err)
	}
	s.put(t, "body", p)
	rest, err := io.ReadAll(body)
	if got = append(got, rest...); err == nil && !bytes.Equal(got, old) {
		t.Error("a body that was being read when the object was replaced ended well with other bytes")
	}
	if !bytes.Equal(got, old[:len(got)]) {
		t.Error("a body that was being read when the object was replaced mixes two versions")
	}
}

func testParallelPuts(t *testing.T, s *suite) {
	const n = 8
	versions := make(map[string][]byte)
	for i := range n {
		p := random(fmt.Sprint("parallel", i), 200_000+i)
		versions[md5sum(p)] = p
	}
	all := make([][]byte, 0, n)
	for _, p := range versions {
		all = append(all, p)
	}
	errs := make([]error, n)
	must(t, "parallel puts", parallel(n, func(i int) error {
		_, errs[i] = s.store.Put(t.Context(), putRequest(s.bucket, "parallel", all[i], s3client.Headers{}))
		return nil
	}))
	stored := 0
	for _, err := range errs {
		switch {
		case err == nil:
			stored++
		case s.o.OvertakenPutFails:
			wantKind(t, "an overtaken put", err, s3client.Changed)
		default:
			t.Errorf("parallel put: %v", err)
		}
	}
	if stored == 0 {
		t.Fatalf("none of %d parallel puts was stored", n)
	}
	head, err := s.store.Head(t.Context(), s.bucket, "parallel")
	must(t, "head", err)
	p := versions[head.ETag]
	if p == nil {
		t.Fatalf("ETag %s is none of those put", head.ETag)
	}
	s.wantObject(t, s.bucket, "parallel", p, head.ETag)
}

func testPinnedReads(t *testing.T, s *suite) {
	a, b := random("torn a", 300_000), random("torn b", 300_000)
	s.put(t, "torn", a)
	written := make(chan error, 1)
	go func() {
		for i := range 20 {
			p := b
			if i%2 == 1 {
				p = a
			}
			if _, err := s.store.Put(t.Context(), putRequest(s.bucket, "torn", p, s3client.Headers{})); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for done := false; !done; {
		select {
		case err := <-written:
			must(t, "put", err)
			done = true
		default:
		}
		req := s3client.GetRequest{Bucket: s.bucket, Key: "torn", Offset: 1000, Length: 200_000, ETag: md5sum(a)}
		got, _, err := s.read(t.Context(), req)
		if err != nil {
			wantKind(t, "pinned read", err, s3client.Changed)
			continue
		}
		switch {
		case bytes.Equal(got, a[1000:201_000]):
		case s.o.PinsRace && bytes.Equal(got, b[1000:201_000]): // one of the two, whole
		default:
			t.Error("a pinned read gave bytes of another version")
		}
	}
}
