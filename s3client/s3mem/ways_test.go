package s3mem_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// clock is a clock that tests move.
type clock struct {
	mu struct {
		sync.Mutex
		now time.Time
	}
}

func newClock(now time.Time) *clock {
	c := &clock{}
	c.mu.now = now
	return c
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.now = c.mu.now.Add(d)
}

var noon = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

func wantKind(t *testing.T, err error, kind s3client.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want %q", err, kind)
	}
}

func put(t *testing.T, s s3client.Store, bucket, key, content string) s3client.Object {
	t.Helper()
	o, err := s.Put(t.Context(), s3client.PutRequest{Bucket: bucket, Key: key, Body: strings.NewReader(content),
		Size: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func keys(t *testing.T, s s3client.Store, bucket string) (keys []string, sizes []int64) {
	t.Helper()
	page, err := s.List(t.Context(), s3client.ListRequest{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range page.Objects {
		keys, sizes = append(keys, o.Key), append(sizes, o.Size)
	}
	return keys, sizes
}

func TestListingLag(t *testing.T) {
	c := newClock(noon)
	s := s3mem.New(s3mem.WithClock(c.Now), s3mem.WithListingLag(3*time.Second), s3mem.WithBuckets("b"))
	want := func(when string, wantKeys []string, wantSizes []int64) {
		t.Helper()
		if k, n := keys(t, s, "b"); !slices.Equal(k, wantKeys) || !slices.Equal(n, wantSizes) {
			t.Errorf("%s: listed %q %v, want %q %v", when, k, n, wantKeys, wantSizes)
		}
	}
	put(t, s, "b", "k", "1")
	want("created just now", nil, nil)
	if _, err := s.Head(t.Context(), "b", "k"); err != nil {
		t.Errorf("head of what was just created: %v", err)
	}
	c.Advance(2999 * time.Millisecond)
	want("created 2.999 s ago", nil, nil)
	c.Advance(time.Millisecond)
	want("created 3 s ago", []string{"k"}, []int64{1})
	put(t, s, "b", "k", "123")
	want("grown just now", []string{"k"}, []int64{1})
	c.Advance(time.Second)
	if err := s.Delete(t.Context(), "b", "k"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Head(t.Context(), "b", "k")
	wantKind(t, err, s3client.NotFound)
	c.Advance(2 * time.Second)
	want("grown 3 s ago, deleted 2 s ago", []string{"k"}, []int64{3})
	c.Advance(time.Second)
	want("deleted 3 s ago", nil, nil)
	if got := s.Keys("b"); len(got) != 0 {
		t.Errorf("Keys: %q", got)
	}
}

func TestModified(t *testing.T) {
	c := newClock(noon.Add(300 * time.Millisecond))
	exact := s3mem.New(s3mem.WithClock(c.Now), s3mem.WithBuckets("b"))
	whole := s3mem.New(s3mem.WithClock(c.Now), s3mem.WithBuckets("b"), s3mem.WithWholeSeconds())
	if o := put(t, exact, "b", "k", ""); !o.Modified.Equal(noon.Add(300 * time.Millisecond)) {
		t.Errorf("modified %v", o.Modified)
	}
	if o := put(t, whole, "b", "k", ""); !o.Modified.Equal(noon.Add(time.Second)) {
		t.Errorf("modified %v, want it rounded up to a second", o.Modified)
	}
	c.Advance(700 * time.Millisecond)
	if o := put(t, whole, "b", "k", ""); !o.Modified.Equal(noon.Add(time.Second)) {
		t.Errorf("modified %v, want the whole second it is", o.Modified)
	}
}

func TestCopiedETag(t *testing.T) {
	for name, opts := range map[string][]s3mem.Option{"aws": nil, "swift": {s3mem.LikeSwift()}} {
		s := s3mem.New(append(opts, s3mem.WithBuckets("b"))...)
		id, err := s.CreateUpload(t.Context(), "b", "src", s3client.Headers{})
		if err != nil {
			t.Fatal(err)
		}
		part, err := s.UploadPart(t.Context(), s3client.PartRequest{Bucket: "b", Key: "src", UploadID: id, Number: 1,
			Body: strings.NewReader("x"), Size: 1})
		if err != nil {
			t.Fatal(err)
		}
		src, err := s.CompleteUpload(t.Context(), s3client.CompleteRequest{Bucket: "b", Key: "src", UploadID: id,
			Parts: []s3client.Part{part}, Size: 1})
		if err != nil || !strings.HasSuffix(src.ETag, "-1") {
			t.Fatalf("%s: %+v, %v", name, src, err)
		}
		dst, err := s.Copy(t.Context(), s3client.CopyRequest{SrcBucket: "b", SrcKey: "src", Bucket: "b", Key: "dst"})
		want := part.ETag
		if name == "swift" {
			want = src.ETag
		}
		if err != nil || dst.ETag != want {
			t.Errorf("%s: copy has ETag %s, want %s (%v)", name, dst.ETag, want, err)
		}
	}
}

func TestLimits(t *testing.T) {
	p := s3mem.DefaultProfile()
	p.MaxPut, p.MaxCopy, p.MaxParts, p.MaxPart, p.MaxDelete, p.MaxMetaValue = 100, 50, 3, 80, 2, 10
	s := s3mem.New(s3mem.WithProfile(p), s3mem.WithBuckets("b"))
	_, err := s.Put(t.Context(), s3client.PutRequest{Bucket: "b", Key: "k", Body: strings.NewReader(""), Size: 101})
	wantKind(t, err, s3client.TooLarge)
	put(t, s, "b", "k", strings.Repeat("x", 60))
	_, err = s.Copy(t.Context(), s3client.CopyRequest{SrcBucket: "b", SrcKey: "k", Bucket: "b", Key: "l"})
	wantKind(t, err, s3client.TooLarge)
	_, err = s.Put(t.Context(), s3client.PutRequest{Bucket: "b", Key: "k", Body: strings.NewReader(""),
		Headers: s3client.Headers{Meta: map[string]string{"m": strings.Repeat("v", 11)}}})
	wantKind(t, err, s3client.Invalid)
	_, err = s.Put(t.Context(), s3client.PutRequest{Bucket: "b", Key: "k", Body: strings.NewReader(""),
		Headers: s3client.Headers{Meta: map[string]string{"m": "값"}}})
	wantKind(t, err, s3client.Invalid)
	id, err := s.CreateUpload(t.Context(), "b", "u", s3client.Headers{})
	if err != nil {
		t.Fatal(err)
	}
	part := s3client.PartRequest{Bucket: "b", Key: "u", UploadID: id, Number: 4, Body: strings.NewReader("x"), Size: 1}
	_, err = s.UploadPart(t.Context(), part)
	wantKind(t, err, s3client.Invalid)
	part.Number, part.Size = 1, 81
	_, err = s.UploadPart(t.Context(), part)
	wantKind(t, err, s3client.TooLarge)
	part.Size = 1
	sent, err := s.UploadPart(t.Context(), part)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.CompleteUpload(t.Context(), s3client.CompleteRequest{Bucket: "b", Key: "u", UploadID: id,
		Parts: []s3client.Part{sent}, Size: 2})
	wantKind(t, err, s3client.Invalid)
	if got := s.PendingUploads("b"); len(got) != 1 || got[0].ID != id || got[0].Key != "u" {
		t.Errorf("pending uploads %+v", got)
	}
	before := s.Counts()
	if failed, err := s.DeleteMany(t.Context(), "b", []string{"1", "2", "3", "4", "5"}); err != nil || failed != nil {
		t.Errorf("delete many: %v, %v", failed, err)
	}
	if got := s.Counts().Sub(before); got.Post != 3 || got.Total() != 3 {
		t.Errorf("five keys, two a request: %+v", got)
	}
}

func TestCounts(t *testing.T) {
	s := s3mem.New(s3mem.WithBuckets("b"))
	put(t, s, "b", "k", "12345")
	body, _, err := s.Get(t.Context(), s3client.GetRequest{Bucket: "b", Key: "k", Offset: 1, Length: 3})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(body); err != nil || string(p) != "234" {
		t.Fatalf("%q, %v", p, err)
	}
	if _, err := s.Head(t.Context(), "b", "none"); err == nil {
		t.Fatal("head of nothing")
	}
	keys(t, s, "b")
	if got, want := s.Counts(), (s3mem.Counts{Get: 1, Head: 1, List: 1, Put: 1, BytesIn: 3, BytesOut: 5}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	s.Bytes("b", "k")
	s.PutBytes("b", "other", nil, s3client.Headers{})
	if got := s.Counts().Total(); got != 4 {
		t.Errorf("%d requests counted after looking inside, want 4", got)
	}
	if got := s.Calls(); got["Get"] != 1 || got["Put"] != 1 || len(got) != 4 {
		t.Errorf("calls %v", got)
	}
}

func TestInspect(t *testing.T) {
	s := s3mem.New()
	p := []byte("mine")
	o := s.PutBytes("made", "k", p, s3client.Headers{Meta: map[string]string{"A": "b"}})
	p[0] = 'X'
	if got, ok := s.Bytes("made", "k"); !ok || string(got) != "mine" {
		t.Errorf("bytes %q %v", got, ok)
	}
	if got, ok := s.Object("made", "k"); !ok || got.ETag != o.ETag || got.Headers.Meta["a"] != "b" {
		t.Errorf("object %+v %v", got, ok)
	}
	if err := s.HeadBucket(t.Context(), "made"); err != nil {
		t.Error(err)
	}
	s.Remove("made", "k")
	if _, ok := s.Bytes("made", "k"); ok || len(s.Keys("made")) != 0 {
		t.Error("removed object is there")
	}
	if got, ok := s.Bytes("none", "k"); ok || got != nil || s.Keys("none") != nil || s.PendingUploads("none") != nil {
		t.Error("something in a bucket that is not there")
	}
}

// brokenBody gives fewer bytes than it promises, or an error.
type brokenBody struct{ err error }

func (b brokenBody) ReadAt(p []byte, off int64) (int, error) { return len(p) / 2, b.err }

func TestBrokenBody(t *testing.T) {
	s := s3mem.New(s3mem.WithBuckets("b"))
	disk := errors.New("disk on fire")
	for _, cause := range []error{io.EOF, disk} {
		_, err := s.Put(t.Context(), s3client.PutRequest{Bucket: "b", Key: "k", Body: brokenBody{cause}, Size: 10})
		want := cause
		if cause == io.EOF {
			want = io.ErrUnexpectedEOF
		}
		if !errors.Is(err, want) {
			t.Errorf("error %v, want %v in it", err, want)
		}
	}
	if got := s.Keys("b"); len(got) != 0 {
		t.Errorf("stored %q", got)
	}
}

func TestComputed(t *testing.T) {
	const tib = int64(1) << 40
	s := s3mem.New()
	one, two := s.PutComputed("b", "huge", tib, "v1"), s.PutComputed("b", "huge", tib, "v2")
	if one.ETag == two.ETag || two.Size != tib {
		t.Errorf("versions %+v and %+v", one, two)
	}
	want := make([]byte, 10000)
	for _, off := range []int64{0, 1, 7, 8, 4093, tib - 10000} {
		s3mem.ComputedAt("huge", "v2", off, want)
		body, o, err := s.Get(t.Context(), s3client.GetRequest{Bucket: "b", Key: "huge", ETag: two.ETag, Offset: off,
			Length: 10000})
		if err != nil || o.Size != tib {
			t.Fatalf("%+v, %v", o, err)
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("bytes at %d differ (%v)", off, err)
		}
	}
	other := make([]byte, len(want))
	s3mem.ComputedAt("huge", "v1", tib-10000, other)
	same := 0
	for i := range want {
		if want[i] == other[i] {
			same++
		}
	}
	if same > 200 { // 1 in 256 by chance
		t.Errorf("two versions have %d of 10000 bytes in common", same)
	}
}

// TestComputedAt holds every way to read a range against reading byte by byte.
func TestComputedAt(t *testing.T) {
	whole := make([]byte, 200)
	s3mem.ComputedAt("k", "v", 1000, whole)
	for off := range 40 {
		for n := range 40 {
			p := make([]byte, n)
			s3mem.ComputedAt("k", "v", 1000+int64(off), p)
			if !bytes.Equal(p, whole[off:off+n]) {
				t.Fatalf("%d bytes at %d: %x, want %x", n, off, p, whole[off:off+n])
			}
		}
	}
}

// TestComputedParts assembles a huge object of ranges of another and a few bytes.
func TestComputedParts(t *testing.T) {
	const gib = int64(1) << 30
	s := s3mem.New(s3mem.WithMinPart(1))
	src := s.PutComputed("b", "src", 100*gib, "v")
	id, err := s.CreateUpload(t.Context(), "b", "dst", s3client.Headers{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []s3client.Part
	for i, off := range []int64{5, 50 * gib} {
		part, err := s.CopyPart(t.Context(), s3client.CopyPartRequest{Bucket: "b", Key: "dst", UploadID: id,
			Number: 2*i + 1, SrcBucket: "b", SrcKey: "src", SrcETag: src.ETag, Offset: off, Length: 5 * gib})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part)
	}
	middle, err := s.UploadPart(t.Context(), s3client.PartRequest{Bucket: "b", Key: "dst", UploadID: id, Number: 2,
		Body: strings.NewReader("middle"), Size: 6})
	if err != nil {
		t.Fatal(err)
	}
	parts = slices.Insert(parts, 1, middle)
	o, err := s.CompleteUpload(t.Context(), s3client.CompleteRequest{Bucket: "b", Key: "dst", UploadID: id, Parts: parts,
		Size: 10*gib + 6})
	if err != nil || o.Size != 10*gib+6 {
		t.Fatalf("%+v, %v", o, err)
	}
	body, _, err := s.Get(t.Context(), s3client.GetRequest{Bucket: "b", Key: "dst", Offset: 5*gib - 4, Length: 14})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	want := make([]byte, 4, 14)
	s3mem.ComputedAt("src", "v", 5*gib+1, want)
	want = append(want, "middle"...)[:14]
	s3mem.ComputedAt("src", "v", 50*gib, want[10:])
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("across the seams: %x, %v, want %x", got, err, want)
	}
}
