package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const testBucket = "test"

// newTest is a store with a bucket and a client of its counted address.
func newTest(t *testing.T) (*Server, minio.Core) {
	t.Helper()
	s, err := Listen(t.TempDir(), Link{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c := client(t, s.Endpoint())
	if err := c.MakeBucket(t.Context(), testBucket, minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	s.Reset()
	return s, c
}

func client(t *testing.T, endpoint string) minio.Core {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(tr.CloseIdleConnections)
	c, err := minio.NewCore(u.Host, &minio.Options{Creds: credentials.NewStaticV4("a", "bbbbbbbb", ""), Region: "us-east-1",
		BucketLookup: minio.BucketLookupPath, Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func put(t *testing.T, c minio.Core, key string, b []byte) minio.UploadInfo {
	t.Helper()
	info, err := c.PutObject(t.Context(), testBucket, key, bytes.NewReader(b), int64(len(b)), "", "", minio.PutObjectOptions{
		UserMetadata: map[string]string{"mode": "33188"}})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func get(t *testing.T, c minio.Core, key string, from, to int64) []byte {
	t.Helper()
	var o minio.GetObjectOptions
	if to >= 0 {
		if err := o.SetRange(from, to); err != nil {
			t.Fatal(err)
		}
	}
	body, _, _, err := c.GetObject(t.Context(), testBucket, key, o)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func code(err error) (string, int) {
	var e minio.ErrorResponse
	if !errors.As(err, &e) {
		return fmt.Sprint(err), 0
	}
	return e.Code, e.StatusCode
}

func wantCode(t *testing.T, err error, name string, status int) {
	t.Helper()
	if n, s := code(err); n != name || s != status {
		t.Errorf("%s, status %d; want %s, %d", n, s, name, status)
	}
}

func TestObjectsComeBackAsTheyWere(t *testing.T) {
	_, c := newTest(t)
	for _, size := range []int{0, 1, smallBytes, smallBytes + 1, 3 << 20} {
		b := content(size)
		key := fmt.Sprintf("dir/ä +%d", size)
		info := put(t, c, key, b) // signed in chunks
		if got := get(t, c, key, 0, -1); !bytes.Equal(got, b) {
			t.Errorf("%d bytes came back as %d others", size, len(got))
		}
		st, err := c.StatObject(t.Context(), testBucket, key, minio.StatObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if st.Size != int64(size) || st.ETag != info.ETag || st.UserMetadata["Mode"] != "33188" || len(st.ETag) != 32 {
			t.Errorf("attributes: %+v, put gave ETag %s", st, info.ETag)
		}
	}
}

func TestRanges(t *testing.T) {
	s, c := newTest(t)
	b := content(200000)
	put(t, c, "k", b)
	s.Reset()
	for _, r := range [][2]int64{{0, 0}, {0, 99}, {100, 70000}, {199999, 199999}, {199990, 300000}, {0, 199999}} {
		want := b[r[0]:min(r[1]+1, int64(len(b)))]
		if got := get(t, c, "k", r[0], r[1]); !bytes.Equal(got, want) {
			t.Errorf("range %v: %d bytes, want %d", r, len(got), len(want))
		}
	}
	var o minio.GetObjectOptions
	if err := o.SetRange(200000, 200001); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := c.GetObject(t.Context(), testBucket, "k", o)
	wantCode(t, err, "InvalidRange", 416)
	for _, tc := range []struct {
		header string
		off, n int64
		ok     bool
	}{
		{"bytes=0-", 0, 10, true}, {"bytes=9-", 9, 1, true}, {"bytes=10-", 0, 0, false}, {"bytes=-3", 7, 3, true},
		{"bytes=-30", 0, 10, true}, {"bytes=-0", 10, 0, false}, {"bytes=3-2", 0, 0, false}, {"lines=1-2", 0, 10, true},
		{"bytes=x-2", 0, 0, false}, {"bytes=2-x", 0, 0, false}, {"bytes=0-1,3-4", 0, 10, true},
	} {
		off, n, ok := parseRange(tc.header, 10)
		if ok != tc.ok || ok && (off != tc.off || n != tc.n) {
			t.Errorf("%s: %d, %d, %t", tc.header, off, n, ok)
		}
	}
}

func TestConditions(t *testing.T) {
	_, c := newTest(t)
	etag := put(t, c, "k", []byte("one")).ETag
	var o minio.GetObjectOptions
	if err := o.SetMatchETag(etag); err != nil {
		t.Fatal(err)
	}
	body, _, _, err := c.GetObject(t.Context(), testBucket, "k", o)
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	put(t, c, "k", []byte("two"))
	_, _, _, err = c.GetObject(t.Context(), testBucket, "k", o)
	wantCode(t, err, "PreconditionFailed", 412)
	_, err = c.StatObject(t.Context(), testBucket, "k", o)
	if _, status := code(err); status != 412 {
		t.Errorf("HEAD: %v", err)
	}
	fresh := minio.PutObjectOptions{}
	fresh.SetMatchETagExcept("*")
	_, err = c.PutObject(t.Context(), testBucket, "k", strings.NewReader("x"), 1, "", "", fresh)
	wantCode(t, err, "PreconditionFailed", 412)
	if got := get(t, c, "k", 0, -1); string(got) != "two" {
		t.Errorf("the object is %q", got)
	}
}

func TestListsInPages(t *testing.T) {
	s, c := newTest(t)
	for _, k := range []string{"a", "b b/1", "b b/2", "b b/deep/3", "c+d", "e/", "e/f", "ü", "z&<"} {
		put(t, c, k, []byte(k))
	}
	for _, tc := range []struct {
		prefix, delimiter, after string
		want                     []string
	}{
		{"", "", "", []string{"a", "b b/1", "b b/2", "b b/deep/3", "c+d", "e/", "e/f", "z&<", "ü"}},
		{"", "/", "", []string{"a", "b b/", "c+d", "e/", "z&<", "ü"}},
		{"b b/", "/", "", []string{"b b/1", "b b/2", "b b/deep/"}},
		{"b b/", "", "b b/1", []string{"b b/2", "b b/deep/3"}},
		{"e/", "/", "", []string{"e/", "e/f"}},
		{"", "/", "b b/", []string{"c+d", "e/", "z&<", "ü"}},
		{"", "/", "b b/2", []string{"c+d", "e/", "z&<", "ü"}},
		{"x", "", "", nil},
	} {
		for _, page := range []int{1, 2, 1000} {
			for _, v2 := range []bool{false, true} {
				s.Reset()
				got := listAll(t, c, tc.prefix, tc.delimiter, tc.after, page, v2)
				if !slices.Equal(got, tc.want) {
					t.Errorf("%+v, pages of %d, v2 %t: %q", tc, page, v2, got)
				}
				pages := max(1, (len(tc.want)+page-1)/page)
				if n := s.Counts().Requests["List"]; n != int64(pages) {
					t.Errorf("%+v, pages of %d: %d requests, want %d", tc, page, n, pages)
				}
			}
		}
	}
}

// listAll lists with minio-go, which asks for encoding-type=url, page after page.
func listAll(t *testing.T, c minio.Core, prefix, delimiter, after string, page int, v2 bool) (names []string) {
	t.Helper()
	token := ""
	for {
		var contents []minio.ObjectInfo
		var prefixes []minio.CommonPrefix
		var more bool
		if v2 {
			r, err := c.ListObjectsV2(testBucket, prefix, after, token, delimiter, page)
			if err != nil {
				t.Fatal(err)
			}
			contents, prefixes, more, token = r.Contents, r.CommonPrefixes, r.IsTruncated, r.NextContinuationToken
		} else {
			r, err := c.ListObjects(testBucket, prefix, after, delimiter, page)
			if err != nil {
				t.Fatal(err)
			}
			contents, prefixes, more, after = r.Contents, r.CommonPrefixes, r.IsTruncated, r.NextMarker
		}
		for _, o := range contents {
			if o.Size != int64(len(o.Key)) && o.Key != "" {
				t.Errorf("%q has %d bytes", o.Key, o.Size)
			}
			names = append(names, o.Key)
		}
		for _, p := range prefixes {
			names = append(names, p.Prefix)
		}
		if !more {
			slices.Sort(names)
			return names
		}
	}
}

func TestMultipart(t *testing.T) {
	s, c := newTest(t)
	ctx := t.Context()
	id, err := c.NewMultipartUpload(ctx, testBucket, "m", minio.PutObjectOptions{UserMetadata: map[string]string{"x": "y"}})
	if err != nil {
		t.Fatal(err)
	}
	b := content(300000)
	var parts []minio.CompletePart
	for i, r := range [][2]int{{0, 100000}, {100000, 250000}, {250000, 300000}} {
		p, err := c.PutObjectPart(ctx, testBucket, "m", id, i+1, bytes.NewReader(b[r[0]:r[1]]), int64(r[1]-r[0]),
			minio.PutObjectPartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, minio.CompletePart{PartNumber: i + 1, ETag: p.ETag})
	}
	listed, err := c.ListObjectParts(ctx, testBucket, "m", id, 0, 1000)
	if err != nil || len(listed.ObjectParts) != 3 || listed.ObjectParts[1].Size != 150000 {
		t.Errorf("parts: %+v, %v", listed.ObjectParts, err)
	}
	wrong := slices.Clone(parts)
	wrong[1].ETag = "0"
	_, err = c.CompleteMultipartUpload(ctx, testBucket, "m", id, wrong, minio.PutObjectOptions{})
	wantCode(t, err, "InvalidPart", 400)
	if _, err := c.CompleteMultipartUpload(ctx, testBucket, "m", id, parts, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "m", 0, -1); !bytes.Equal(got, b) {
		t.Error("the content is another one")
	}
	if got := get(t, c, "m", 90000, 260000); !bytes.Equal(got, b[90000:260001]) {
		t.Error("a range over three parts is another one")
	}
	st, err := c.StatObject(ctx, testBucket, "m", minio.StatObjectOptions{})
	if err != nil || st.UserMetadata["X"] != "y" || !strings.HasSuffix(st.ETag, "-3") {
		t.Errorf("%+v, %v", st, err)
	}
	want := map[string]int64{"CreateUpload": 1, "Part": 3, "Uploads": 1, "CompleteUpload": 2, "Get": 2, "Head": 1}
	if got := s.Counts().Requests; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("requests: %v, want %v", got, want)
	}
}

func TestAbortedUploadLeavesNothing(t *testing.T) {
	s, c := newTest(t)
	ctx := t.Context()
	id, err := c.NewMultipartUpload(ctx, testBucket, "m", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObjectPart(ctx, testBucket, "m", id, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{}); err != nil {
		t.Fatal(err)
	}
	uploads, err := c.ListMultipartUploads(ctx, testBucket, "", "", "", "", 1000)
	if err != nil || len(uploads.Uploads) != 1 || uploads.Uploads[0].UploadID != id {
		t.Errorf("uploads: %+v, %v", uploads, err)
	}
	if err := c.AbortMultipartUpload(ctx, testBucket, "m", id); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.AbortMultipartUpload(ctx, testBucket, "m", id), "NoSuchUpload", 404)
	wantFiles(t, s, 0)
}

func wantFiles(t *testing.T, s *Server, want int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.objects.dir, "*"))
	if err != nil || len(files) != want {
		t.Errorf("files %v, %v; want %d", files, err, want)
	}
}

func TestCopies(t *testing.T) {
	s, c := newTest(t)
	ctx := t.Context()
	b := content(100000)
	etag := put(t, c, "from", b).ETag
	_, err := c.CopyObject(ctx, testBucket, "from", testBucket, "to", map[string]string{
		"X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-Mode": "1"}, minio.CopySrcOptions{Bucket: testBucket, Object: "from"}, minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveObject(ctx, testBucket, "from", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	st, err := c.StatObject(ctx, testBucket, "to", minio.StatObjectOptions{})
	if err != nil || st.ETag != etag || st.UserMetadata["Mode"] != "1" {
		t.Errorf("%+v, %v", st, err)
	}
	id, err := c.NewMultipartUpload(ctx, testBucket, "m", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.CopyObjectPart(ctx, testBucket, "to", testBucket, "m", id, 1, 1000, 50000, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CompleteMultipartUpload(ctx, testBucket, "m", id, []minio.CompletePart{p}, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "m", 0, -1); !bytes.Equal(got, b[1000:51000]) {
		t.Errorf("the copied range is another one (%d bytes)", len(got))
	}
	if got := get(t, c, "to", 0, -1); !bytes.Equal(got, b) {
		t.Error("the copy is another one")
	}
	wantFiles(t, s, 2)
}

func TestDeletes(t *testing.T) {
	s, c := newTest(t)
	keys := make(chan minio.ObjectInfo, 4)
	for _, k := range []string{"a", "b/c", "d&e"} {
		put(t, c, k, []byte(k))
		keys <- minio.ObjectInfo{Key: k}
	}
	keys <- minio.ObjectInfo{Key: "never was"}
	close(keys)
	s.Reset()
	for e := range c.RemoveObjects(t.Context(), testBucket, keys, minio.RemoveObjectsOptions{}) {
		t.Error(e)
	}
	if got := fmt.Sprint(s.Counts().Requests); got != "map[DeleteMany:1]" {
		t.Errorf("requests: %v", got)
	}
	_, _, _, err := c.GetObject(t.Context(), testBucket, "a", minio.GetObjectOptions{})
	wantCode(t, err, "NoSuchKey", 404)
	wantFiles(t, s, 0)
	if err := c.RemoveBucket(t.Context(), testBucket); err != nil {
		t.Fatal(err)
	}
	if there, err := c.BucketExists(t.Context(), testBucket); there || err != nil {
		t.Errorf("the bucket: %t, %v", there, err)
	}
	_, err = c.ListObjectsV2(testBucket, "", "", "", "", 10)
	wantCode(t, err, "NoSuchBucket", 404)
}

func TestBuckets(t *testing.T) {
	_, c := newTest(t)
	l, err := c.ListBuckets(t.Context())
	if err != nil || len(l) != 1 || l[0].Name != testBucket {
		t.Errorf("buckets: %+v, %v", l, err)
	}
	if err := c.MakeBucket(t.Context(), testBucket, minio.MakeBucketOptions{}); err == nil {
		t.Error("a bucket was made twice")
	}
	put(t, c, "k", []byte("x"))
	wantCode(t, c.RemoveBucket(t.Context(), testBucket), "BucketNotEmpty", 409)
	loc, err := c.GetBucketLocation(t.Context(), testBucket)
	if err != nil || loc != "us-east-1" {
		t.Errorf("location %q, %v", loc, err)
	}
}

func TestCountsAreExactAndOfTheCountedAddressAlone(t *testing.T) {
	s, far := newTest(t)
	near := client(t, s.Direct())
	b := content(1 << 20)
	put(t, near, "k", b)
	get(t, near, "k", 0, -1)
	if c := s.Counts(); len(c.Requests) > 0 || c.Out+c.In+c.Data > 0 {
		t.Errorf("the direct address was counted: %+v", c)
	}
	get(t, far, "k", 0, 4095)
	get(t, far, "k", 4096, 300000)
	far.GetObject(t.Context(), testBucket, "none", minio.GetObjectOptions{})
	c := s.Counts()
	if c.Requests["Get"] != 3 || c.Data != 300001 || c.Out <= c.Data || c.In != 0 || c.MaxInFlight != 1 || c.Aborted != 0 || c.Failed != 0 {
		t.Errorf("%+v", c)
	}
	put(t, far, "l", b)
	if c := s.Counts(); c.In <= int64(len(b)) || c.Requests["Put"] != 1 { // the chunks' signatures besides
		t.Errorf("%+v", c)
	}
}

func TestAbortedGetIsCounted(t *testing.T) {
	s, c := newTest(t)
	put(t, c, "k", make([]byte, 64<<20)) // more than sockets hold
	s.Reset()
	ctx, cancel := context.WithCancel(t.Context())
	body, _, _, err := c.GetObject(ctx, testBucket, "k", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	body.Close()
	if err := s.Close(); err != nil { // waits for the handler
		t.Fatal(err)
	}
	if n := s.Counts(); n.Aborted != 1 || n.Data >= 64<<20 {
		t.Errorf("%+v", n)
	}
}

func TestUnknownRequestsAreRefused(t *testing.T) {
	s, _ := newTest(t)
	resp, err := http.Get(s.Endpoint() + "/" + testBucket + "?versions")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotImplemented || s.Counts().Failed != 1 {
		t.Errorf("status %d, %+v", resp.StatusCode, s.Counts())
	}
}

// A capped connection is paced by the kernel; how exactly is not a matter of a test.
func TestLinkIsSetOnNewConnections(t *testing.T) {
	s, c := newTest(t)
	b := content(100000)
	put(t, c, "k", b)
	s.SetLink(Link{Rate: 1 << 30})
	if got := get(t, client(t, s.Endpoint()), "k", 0, -1); !bytes.Equal(got, b) {
		t.Error("another content")
	}
	select {
	case err := <-s.Failed():
		t.Errorf("the kernel does not pace: %v", err)
	default:
	}
	if _, err := Listen(os.DevNull, Link{}); err == nil {
		t.Error("a store in a file")
	}
}
