package s3client

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"time"
)

const copied = `<CopyObjectResult><LastModified>2024-01-02T03:04:05.678Z</LastModified><ETag>&quot;new&quot;</ETag></CopyObjectResult>`

func TestCopy(t *testing.T) {
	c, srv := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, copied) })
	req := CopyRequest{SrcBucket: "other", SrcKey: "a b/ü+%", SrcETag: "e", SrcSize: 7, Bucket: "bucket", Key: "k"}
	o, err := c.Copy(t.Context(), req)
	noError(t, err)
	if o.ETag != "new" || o.Size != 7 || o.Modified.UnixMilli() != 1704164645678 || o.Bucket != "bucket" || o.Key != "k" {
		t.Errorf("%+v", o)
	}
	h := srv.header(1)
	if h.Get("X-Amz-Copy-Source") != "other/a%20b/%C3%BC%2B%25" || h.Get("X-Amz-Copy-Source-If-Match") != `"e"` ||
		h.Get("X-Amz-Metadata-Directive") != "COPY" || h.Get("Authorization") == "" {
		t.Errorf("%v", h)
	}
	req.Headers = &Headers{ContentType: "a/b", CacheControl: "no", Meta: map[string]string{"mode": "1"}}
	_, err = c.Copy(t.Context(), req)
	noError(t, err)
	h = srv.header(2)
	if h.Get("X-Amz-Metadata-Directive") != "REPLACE" || h.Get("Content-Type") != "a/b" || h.Get("Cache-Control") != "no" ||
		h.Get("X-Amz-Meta-Mode") != "1" {
		t.Errorf("%v", h)
	}
	if got := c.Counters().Snapshot(); got.Copy != 2 || got.Total() != 2 {
		t.Errorf("%+v", got)
	}
	req.SrcSize = c.Profile().MaxCopy + 1
	_, err = c.Copy(t.Context(), req)
	want(t, "too large", err, TooLarge, "EntityTooLarge")
	_, err = c.Copy(t.Context(), CopyRequest{SrcBucket: "B", SrcKey: "k", Bucket: "bucket", Key: "k"})
	want(t, "bad source", err, Invalid, "InvalidBucketName")
}

// An error under a 200 is an error, for objects and for parts: who believes it deletes a rename's source.
func TestErrorInsideACopys200(t *testing.T) {
	for name, tt := range map[string]struct {
		body string
		kind Kind
		code string
		most int
	}{
		"error":       {"\n  \n" + errorDoc("AccessDenied"), Denied, "AccessDenied", 1},
		"gone":        {errorDoc("NoSuchKey"), NotFound, "NoSuchKey", 1},
		"passing":     {errorDoc("InternalError"), Temporary, "InternalError", 0},
		"empty":       {"", Unknown, "UnknownAnswer", 1},
		"empty ETag":  {"<CopyObjectResult><ETag></ETag></CopyObjectResult>", Unknown, "UnknownAnswer", 1},
		"no ETag":     {"<CopyObjectResult></CopyObjectResult>", Unknown, "UnknownAnswer", 1},
		"another":     {"<html></html>", Unknown, "UnknownAnswer", 1},
		"broken off":  {"<CopyObjectResult><ETag>abc</ETag>", Unknown, "UnknownAnswer", 1},
		"white space": {"  \n  ", Unknown, "UnknownAnswer", 1},
	} {
		c, srv := serve(t, says200(tt.body), func(cfg *Config) { cfg.Timeout = 300 * time.Millisecond })
		_, err := c.Copy(t.Context(), CopyRequest{SrcBucket: "bucket", SrcKey: "a", Bucket: "bucket", Key: "b"})
		want(t, name, err, tt.kind, tt.code)
		if n := len(srv.requests()); tt.most > 0 && n != tt.most {
			t.Errorf("%s: %d requests", name, n)
		}
		_, err = c.CopyPart(t.Context(), CopyPartRequest{Bucket: "bucket", Key: "b", UploadID: "u", Number: 1, SrcBucket: "bucket",
			SrcKey: "a", Offset: 0, Length: 10})
		want(t, name+" part", err, tt.kind, tt.code)
	}
}

func says200(body string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, body) }
}

func TestCopyPart(t *testing.T) {
	c, srv := serve(t, says200(`<CopyPartResult><ETag>"p"</ETag></CopyPartResult>`))
	p, err := c.CopyPart(t.Context(), CopyPartRequest{Bucket: "bucket", Key: "k", UploadID: "u", Number: 3, SrcBucket: "bucket",
		SrcKey: "s", SrcETag: "e", Offset: 0, Length: 1})
	if err != nil || p != (Part{3, "p", 1}) {
		t.Fatal(p, err)
	}
	if h := srv.header(1); h.Get("X-Amz-Copy-Source-Range") != "bytes=0-0" || h.Get("X-Amz-Copy-Source-If-Match") != `"e"` {
		t.Errorf("%v", h)
	}
	if line := srv.requests()[0]; line != "PUT /bucket/k?partNumber=3&uploadId=u" {
		t.Error(line)
	}
}

// A store of Swift's kind never finds a multipart object's ETag in a copy's condition.
func TestCopyOfAMultipartObject(t *testing.T) {
	modified := time.Unix(1700000000, 0)
	now := "e-2"
	answer := func(w http.ResponseWriter, r *http.Request, _ int) {
		switch {
		case r.Method == http.MethodHead:
			headAnswer(w, now, 7, modified)
		case r.Header.Get(ifMatch) != "":
			refuse(w, 412, "PreconditionFailed", "")
		case r.Header.Get(ifUnchanged) != modified.UTC().Format(http.TimeFormat):
			t.Errorf("copy without a condition: %v", r.Header)
		default:
			io.WriteString(w, copied)
		}
	}
	req := CopyRequest{SrcBucket: "bucket", SrcKey: "s", SrcETag: "e-2", SrcSize: 7, Bucket: "bucket", Key: "k"}
	for provider, lines := range map[string][]string{
		"swift":   {"HEAD", "PUT", "HEAD", "PUT"},
		"generic": {"PUT", "HEAD", "PUT", "HEAD", "PUT"}, // finds out, and remembers
	} {
		c, srv := serve(t, answer, func(cfg *Config) { cfg.Provider = provider })
		for range 2 {
			_, err := c.Copy(t.Context(), req)
			noError(t, err)
		}
		if got := methods(srv); !slices.Equal(got, lines) {
			t.Errorf("%s: %v", provider, got)
		}
		now = "f-2"
		_, err := c.Copy(t.Context(), req)
		want(t, provider+": another version", err, Changed, "PreconditionFailed")
		now = "e-2"
	}
}

func methods(s *server) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.mu.requests {
		for i, b := range line {
			if b == ' ' {
				all = append(all, line[:i])
				break
			}
		}
	}
	return all
}

// A copy onto itself whose answer was lost has changed what it was pinned to.
func TestCopyOntoItselfWithALostAnswer(t *testing.T) {
	for _, fresh := range []bool{true, false} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
			switch {
			case n == 1:
				cut(w)
			case r.Method == http.MethodHead && fresh:
				headAnswer(w, "plain", 7, time.Now())
			case r.Method == http.MethodHead:
				headAnswer(w, "plain", 7, time.Now().Add(-time.Hour))
			default:
				refuse(w, 412, "PreconditionFailed", "")
			}
		})
		o, err := c.Copy(t.Context(), CopyRequest{SrcBucket: "bucket", SrcKey: "k", SrcETag: "e", SrcSize: 7, Bucket: "bucket", Key: "k",
			Headers: &Headers{}})
		if fresh && (err != nil || o.ETag != "plain") {
			t.Errorf("done by the first attempt: %+v %v", o, err)
		}
		if !fresh {
			want(t, "changed by another", err, Changed, "PreconditionFailed")
		}
	}
}
