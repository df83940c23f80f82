package s3client

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var twoParts = []Part{{1, "0cc175b9c0f1b6a831c399e269772661", 5 << 20}, {2, "92eb5ffee6ae2fec3ad71c777531578f", 3}}

func completeRequest() CompleteRequest {
	return CompleteRequest{Bucket: "bucket", Key: "k", UploadID: "id", Parts: twoParts, Size: 5<<20 + 3}
}

const joined = "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>k</Key><ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>"

// headAnswer is an object as HEAD shows it.
func headAnswer(w http.ResponseWriter, etag string, size int64, modified time.Time) {
	w.Header().Set("Etag", `"`+etag+`"`)
	w.Header().Set("Content-Length", fmt.Sprint(size))
	w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
}

func TestComplete(t *testing.T) {
	want2, ok := joinedETag(twoParts)
	if !ok || !strings.HasSuffix(want2, "-2") {
		t.Fatal(want2)
	}
	old := time.Now().Add(-time.Hour)
	const size = 5<<20 + 3
	for name, tt := range map[string]struct {
		post     []func(http.ResponseWriter)
		head     func(http.ResponseWriter)
		ifAbsent bool
		kind     Kind // Unknown: success
		etag     string
		code     string
	}{
		"at once":               {post: posts(says(200, fmt.Sprintf(joined, want2))), etag: want2},
		"white space first":     {post: posts(says(200, "  \n \n<?xml version='1.0'?>"+fmt.Sprintf(joined, want2))), etag: want2},
		"an error inside a 200": {post: posts(says(200, "  \n"+errorDoc("InvalidPart"))), kind: Invalid, code: "InvalidPart"},
		"a passing error inside a 200": {post: posts(says(200, errorDoc("InternalError")), says(200, fmt.Sprintf(joined, want2))),
			head: says(404, ""), etag: want2},
		"answer lost, done": {post: posts(cut), head: func(w http.ResponseWriter) { headAnswer(w, want2, size, time.Now()) }, etag: want2},
		"500, done":         {post: posts(says(500, "")), head: func(w http.ResponseWriter) { headAnswer(w, want2, size, time.Now()) }, etag: want2},
		// The version that is replaced has the size and the shape of the new one: it must not be taken for it.
		"500, the old version is alike": {post: posts(says(500, ""), says(200, fmt.Sprintf(joined, want2))),
			head: func(w http.ResponseWriter) { headAnswer(w, strings.Repeat("e", 32)+"-2", size, old) }, etag: want2},
		"answer lost, upload gone, the old version is alike": {post: posts(cut, says(404, errorDoc("NoSuchUpload"))),
			head: func(w http.ResponseWriter) { headAnswer(w, strings.Repeat("e", 32)+"-2", size, old) }, kind: NotFound, code: "NoSuchUpload"},
		"answer lost, upload gone, an ETag of another kind": {post: posts(cut, says(404, errorDoc("NoSuchUpload"))),
			head: func(w http.ResponseWriter) { headAnswer(w, "odd-2", size, time.Now()) }, etag: "odd-2"},
		"no such upload": {post: posts(says(404, errorDoc("NoSuchUpload"))), kind: NotFound, code: "NoSuchUpload"},
		"exists":         {post: posts(says(412, errorDoc("InvalidRequest"))), ifAbsent: true, kind: Exists, code: "PreconditionFailed"},
		"exists, and it is ours": {post: posts(cut, says(412, errorDoc("InvalidRequest"))), ifAbsent: true,
			head: func(w http.ResponseWriter) { headAnswer(w, want2, size, time.Now()) }, etag: want2},
		"exists, another's": {post: posts(cut, says(412, errorDoc("InvalidRequest"))), ifAbsent: true,
			head: func(w http.ResponseWriter) { headAnswer(w, strings.Repeat("e", 32), 5, time.Now()) }, kind: Exists, code: "PreconditionFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				if r.Method == http.MethodHead {
					tt.head(w)
					return
				}
				io.Copy(io.Discard, r.Body)
				tt.post[min(int(n.Add(1)), len(tt.post))-1](w)
			})
			req := completeRequest()
			req.IfAbsent = tt.ifAbsent
			o, err := c.CompleteUpload(t.Context(), req)
			if tt.kind != Unknown {
				want(t, name, err, tt.kind, tt.code)
				return
			}
			noError(t, err)
			if o.ETag != tt.etag || o.Size != size || o.Headers != nil || o.Key != "k" {
				t.Errorf("%+v", o)
			}
			if tt.ifAbsent && srv.header(1).Get("If-None-Match") != "*" {
				t.Error("no If-None-Match")
			}
		})
	}
}

func posts(f ...func(http.ResponseWriter)) []func(http.ResponseWriter) { return f }

func says(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestUploadPart(t *testing.T) {
	content := pattern(200000)
	var got []byte
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		got, _ = io.ReadAll(r.Body)
		if n == 1 {
			refuse(w, 503, "ServiceUnavailable", "")
			return
		}
		w.Header().Set("Etag", `"part"`)
	})
	p, err := c.UploadPart(t.Context(), PartRequest{Bucket: "bucket", Key: "a b", UploadID: "u/+=", Number: 7,
		Body: bytes.NewReader(content), Size: int64(len(content))})
	noError(t, err)
	if p != (Part{7, "part", 200000}) || !bytes.Equal(got, content) {
		t.Errorf("%+v, %d bytes", p, len(got))
	}
	if line := srv.requests()[1]; line != "PUT /bucket/a%20b?partNumber=7&uploadId=u%2F%2B%3D" {
		t.Error(line)
	}
	if h := srv.header(2); h.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" || h.Get("User-Agent") != "pailfs/test" {
		t.Errorf("%v", h)
	}
	// An empty part is a part.
	p, err = c.UploadPart(t.Context(), PartRequest{Bucket: "bucket", Key: "k", UploadID: "id", Number: 1, Body: bytes.NewReader(nil)})
	if err != nil || p.Size != 0 || len(got) != 0 {
		t.Errorf("%+v %v", p, err)
	}
	_, err = c.UploadPart(t.Context(), PartRequest{Bucket: "bucket", Key: "k", UploadID: "id", Number: 1, Body: bytes.NewReader(nil),
		Size: c.Profile().MaxPart + 1})
	want(t, "too large", err, TooLarge, "EntityTooLarge")
}

func TestCreateUpload(t *testing.T) {
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			io.WriteString(w, "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>k</Key><UploadId>id</UploadId></InitiateMultipartUploadResult>")
			return
		}
		io.WriteString(w, "<InitiateMultipartUploadResult></InitiateMultipartUploadResult>")
	})
	id, err := c.CreateUpload(t.Context(), "bucket", "k", Headers{ContentType: "a/b", Expires: "0", Meta: map[string]string{"mode": "1",
		"content-type": "mine"}})
	if err != nil || id != "id" {
		t.Fatal(id, err)
	}
	// Metadata named like a header stays metadata.
	if h := srv.header(1); h.Get("Content-Type") != "a/b" || h.Get("Expires") != "0" || h.Get("X-Amz-Meta-Mode") != "1" ||
		h.Get("X-Amz-Meta-Content-Type") != "mine" {
		t.Errorf("%v", h)
	}
	_, err = c.CreateUpload(t.Context(), "bucket", "k", Headers{})
	want(t, "no id", err, Unknown, "UnknownAnswer")
}

func TestBadHeaders(t *testing.T) {
	c, srv := serve(t, nil, func(cfg *Config) { cfg.Provider = "swift" })
	for name, tt := range map[string]struct {
		h    Headers
		code string
	}{
		"raw UTF-8":    {Headers{Meta: map[string]string{"name": "한글"}}, "InvalidMetadata"},
		"a line end":   {Headers{Meta: map[string]string{"a": "x\r\nEvil: 1"}}, "InvalidMetadata"},
		"a bad name":   {Headers{Meta: map[string]string{"a b": "x"}}, "InvalidMetadata"},
		"no name":      {Headers{Meta: map[string]string{"": "x"}}, "InvalidMetadata"},
		"long value":   {Headers{Meta: map[string]string{"a": strings.Repeat("v", 257)}}, "MetadataTooLarge"},
		"too much":     {Headers{Meta: many(17, 250)}, "MetadataTooLarge"},
		"content type": {Headers{ContentType: "a/b\x00"}, "InvalidHeader"},
	} {
		_, err := c.CreateUpload(t.Context(), "bucket", "k", tt.h)
		want(t, name, err, Invalid, tt.code)
		_, err = c.Copy(t.Context(), CopyRequest{SrcBucket: "bucket", SrcKey: "k", Bucket: "bucket", Key: "k", Headers: &tt.h})
		want(t, name, err, Invalid, tt.code)
	}
	if n := srv.requests(); len(n) > 0 {
		t.Errorf("sent %v", n)
	}
}

func many(n, size int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("m", i)] = strings.Repeat("v", size)
	}
	return m
}

func TestParts(t *testing.T) {
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.URL.Query().Get("part-number-marker") == "" {
			io.WriteString(w, `<ListPartsResult><IsTruncated>true</IsTruncated><Part><PartNumber>1</PartNumber><ETag>"a"</ETag><Size>5</Size></Part>`+
				`<Part><PartNumber>9</PartNumber><ETag>&quot;b&quot;</ETag><Size>6</Size></Part></ListPartsResult>`)
			return
		}
		io.WriteString(w, `<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>10</PartNumber><ETag>c</ETag><Size>0</Size></Part></ListPartsResult>`)
	})
	got, err := c.Parts(t.Context(), "bucket", "k", "id")
	if err != nil || !slices.Equal(got, []Part{{1, "a", 5}, {9, "b", 6}, {10, "c", 0}}) || len(srv.requests()) != 2 {
		t.Errorf("%v %v %v", got, err, srv.requests())
	}
}

func TestListsThatDoNotGoOn(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch {
		case r.URL.Query().Has("uploads"):
			io.WriteString(w, `<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><Upload><Key>k</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>`)
		case r.URL.Query().Has("uploadId"):
			io.WriteString(w, `<ListPartsResult><IsTruncated>true</IsTruncated><Part><PartNumber>1</PartNumber><ETag>a</ETag><Size>5</Size></Part></ListPartsResult>`)
		case r.URL.Query().Get("prefix") == "empty":
			io.WriteString(w, `<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated></ListBucketResult>`)
		}
	})
	_, err := c.Uploads(t.Context(), "bucket", "")
	want(t, "uploads", err, Unknown, "UnknownAnswer")
	_, err = c.Parts(t.Context(), "bucket", "k", "id")
	want(t, "parts", err, Unknown, "UnknownAnswer")
	_, err = c.List(t.Context(), ListRequest{Bucket: "bucket", Prefix: "empty"})
	want(t, "keys", err, Unknown, "UnknownAnswer")
}

func TestUploads(t *testing.T) {
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.URL.Query().Get("key-marker") == "" {
			// Swift leaves the markers empty.
			io.WriteString(w, `<ListMultipartUploadsResult><EncodingType>url</EncodingType><NextKeyMarker/><IsTruncated>true</IsTruncated>`+
				`<Upload><Key>a%0Ab+c</Key><UploadId>u1</UploadId><Initiated>2024-01-02T03:04:05.000Z</Initiated></Upload></ListMultipartUploadsResult>`)
			return
		}
		io.WriteString(w, `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>b</Key><UploadId>u2</UploadId></Upload></ListMultipartUploadsResult>`)
	})
	got, err := c.Uploads(t.Context(), "bucket", "")
	noError(t, err)
	if len(got) != 2 || got[0].Key != "a\nb c" || got[0].ID != "u1" || got[0].Initiated.Year() != 2024 || got[1].Key != "b" {
		t.Errorf("%+v", got)
	}
	for _, line := range srv.requests() {
		if strings.Contains(line, "delimiter") {
			t.Errorf("%s has a delimiter", line)
		}
	}
}

// TestUploadsOfAWholeKey is against a store that takes the prefix for a whole key, and that has forgotten an upload in
// the list of all.
func TestUploadsOfAWholeKey(t *testing.T) {
	lists := map[string][][2]string{"": {{"a/bc", "new"}, {"c", "other"}, {"a/b", "known"}}, "a/b": {{"a/b", "old"}, {"a/b", "known"}}}
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		io.WriteString(w, `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>`)
		for _, u := range lists[r.URL.Query().Get("prefix")] {
			fmt.Fprintf(w, `<Upload><Key>%s</Key><UploadId>%s</UploadId></Upload>`, u[0], u[1])
		}
		io.WriteString(w, `</ListMultipartUploadsResult>`)
	})
	for _, q := range []struct {
		prefix, ids string
		requests    int
	}{{"", "new other known", 1}, {"a/", "new known", 2}, {"a/b", "old known new", 2}, {"d", "", 2}} {
		before := len(srv.requests())
		got, err := c.Uploads(t.Context(), "bucket", q.prefix)
		noError(t, err)
		var ids []string
		for _, u := range got {
			ids = append(ids, u.ID)
		}
		if n := len(srv.requests()) - before; strings.Join(ids, " ") != q.ids || n != q.requests {
			t.Errorf("under %q: %v in %d requests, want %s in %d", q.prefix, ids, n, q.ids, q.requests)
		}
	}
}
