package s3client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestGet(t *testing.T) {
	content := pattern(100000)
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("X-Amz-Meta-Mode", "33188")
		w.Header().Set("Expires", "0") // minio-go alone would refuse the whole object for it
		w.Header().Set("Content-Type", "text/plain")
		object(w, r, "e1", content)
	})
	for _, tt := range []struct {
		req  GetRequest
		from int
		to   int
	}{
		{GetRequest{}, 0, 100000},
		{GetRequest{Offset: 0, Length: 1}, 0, 1},
		{GetRequest{Offset: 0, Length: 100000}, 0, 100000},
		{GetRequest{Offset: 99999, Length: 1}, 99999, 100000},
		{GetRequest{Offset: 99990, Length: 500}, 99990, 100000}, // clamped by the store
		{GetRequest{Offset: 1234, Length: 4321, ETag: "e1"}, 1234, 5555},
	} {
		tt.req.Bucket, tt.req.Key = "bucket", "a key+%"
		rc, obj, err := c.Get(t.Context(), tt.req)
		noError(t, err)
		got, err := io.ReadAll(rc)
		noError(t, err)
		noError(t, rc.Close())
		if !bytes.Equal(got, content[tt.from:tt.to]) {
			t.Errorf("%+v: %d bytes", tt.req, len(got))
		}
		if obj.Size != 100000 || obj.ETag != "e1" || obj.Headers.Meta["mode"] != "33188" || obj.Headers.Expires != "0" ||
			obj.Headers.ContentType != "text/plain" || obj.Modified.Unix() != 1700000000 {
			t.Errorf("%+v: %+v %+v", tt.req, obj, obj.Headers)
		}
	}
	if len(srv.requests()) != 6 {
		t.Errorf("%d requests", len(srv.requests()))
	}
	if got := srv.header(6).Get("If-Match"); got != `"e1"` {
		t.Errorf("If-Match %q", got)
	}
	if got := c.Counters().Snapshot(); got.Get != 6 || got.Retries != 0 || got.BytesIn != 100000*2+1+1+10+4321 {
		t.Errorf("%+v", got)
	}
	if n := c.gate.slots.inUse(); n != 0 {
		t.Errorf("%d slots still taken", n)
	}
}

func TestGetAnotherVersion(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		r.Header.Del("If-Match") // a store that ignores it
		object(w, r, "e2", pattern(10))
	})
	_, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k", ETag: "e1"})
	want(t, "the answer's own ETag", err, Changed, "")
	if n := c.gate.slots.inUse(); n != 0 {
		t.Errorf("%d slots still taken", n)
	}
}

func TestGetStrangeAnswers(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"another range":  func(w http.ResponseWriter) { partial(w, "bytes 0-9/100", 10) },
		"a longer range": func(w http.ResponseWriter) { partial(w, "bytes 10-40/100", 31) },
		"a shorter one":  func(w http.ResponseWriter) { partial(w, "bytes 10-18/100", 9) },
		"no range":       func(w http.ResponseWriter) { partial(w, "", 10) },
		"wrong length":   func(w http.ResponseWriter) { partial(w, "bytes 10-19/100", 5) },
		"the whole":      func(w http.ResponseWriter) { w.Header().Set("Etag", `"e"`); w.Write(pattern(100)) },
		"no ETag": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 10-19/100")
			w.WriteHeader(206)
			w.Write(pattern(10))
		},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { answer(w) })
		_, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k", Offset: 10, Length: 10})
		want(t, name, err, Unknown, "UnknownAnswer")
		if n := c.gate.slots.inUse(); n != 0 {
			t.Errorf("%s: %d slots still taken", name, n)
		}
	}
}

func partial(w http.ResponseWriter, contentRange string, n int) {
	w.Header().Set("Etag", `"e"`)
	w.Header().Set("Content-Range", contentRange)
	w.Header().Set("Content-Length", strconv.Itoa(n))
	w.WriteHeader(206)
	w.Write(pattern(n))
}

// A body that breaks off goes on where it stopped, pinned to its version.
func TestGetResumes(t *testing.T) {
	content := pattern(300000)
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		from, to := 0, len(content)
		if f, l, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"); ok {
			from, _ = strconv.Atoi(f)
			to, _ = strconv.Atoi(l)
			to++
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)))
		}
		w.Header().Set("Etag", `"e1"`)
		w.Header().Set("Content-Length", strconv.Itoa(to-from))
		if from > 0 || r.Header.Get("Range") != "" {
			w.WriteHeader(206)
		}
		if n < 4 {
			w.Write(content[from : from+50000])
			w.(http.Flusher).Flush()
			cut(w)
			return
		}
		w.Write(content[from:to])
	})
	rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer rc.Close()
	got, err := io.ReadAll(rc)
	noError(t, err)
	if !bytes.Equal(got, content) {
		t.Errorf("%d bytes", len(got))
	}
	if n := len(srv.requests()); n != 4 {
		t.Errorf("%d requests", n)
	}
	if got := srv.header(2); got.Get("If-Match") != `"e1"` || got.Get("Range") == "" {
		t.Errorf("resumed with %v", got)
	}
	if got := c.Counters().Snapshot().Retries; got != 3 {
		t.Errorf("%d retries", got)
	}
}

// A store that has replaced the object meanwhile must not be mixed in.
func TestGetResumeOfAnotherVersion(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			w.Header().Set("Etag", `"e1"`)
			w.Header().Set("Content-Length", "1000")
			w.Write(pattern(100))
			w.(http.Flusher).Flush()
			cut(w)
			return
		}
		object(w, r, "e2", pattern(1000))
	})
	rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer rc.Close()
	got, err := io.ReadAll(rc)
	want(t, "mixed", err, Changed, "")
	if len(got) > 100 {
		t.Errorf("%d bytes of two versions", len(got))
	}
}

// A body that stands still is given up, by the wire and by what is above it: with a store that ignores the range of the
// takeover, what comes first is not what is missing.
func TestGetStalls(t *testing.T) {
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Etag", `"e1"`)
		w.Header().Set("Content-Length", "1000")
		w.Write(pattern(100))
		w.(http.Flusher).Flush()
		hang(r)
	}, func(cfg *Config) { cfg.BodyStall = 500 * time.Millisecond })
	rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer rc.Close()
	if got, err := io.ReadAll(io.LimitReader(rc, 100)); err != nil || len(got) != 100 {
		t.Fatal(len(got), err)
	}
	_, err = rc.Read(make([]byte, 10))
	want(t, "stalled", err, Unknown, "UnknownAnswer")
	if n := len(srv.requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
	o := op{name: "GET Object", bucket: "bucket", key: "k", stall: 500 * time.Millisecond}
	s, err := c.open(t.Context(), o, GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer s.close()
	if _, err = io.ReadAll(s.rc); !errors.Is(err, errStalled) {
		t.Error(err)
	}
}

// A reader that takes its time is not a body that stalls.
func TestSlowReader(t *testing.T) {
	content := pattern(1 << 20)
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { object(w, r, "e", content) },
		func(cfg *Config) { cfg.Timeout = 80 * time.Millisecond })
	rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer rc.Close()
	first := make([]byte, 10)
	_, err = io.ReadFull(rc, first)
	noError(t, err)
	<-time.After(250 * time.Millisecond)
	rest, err := io.ReadAll(rc)
	noError(t, err)
	if !bytes.Equal(append(first, rest...), content) {
		t.Error("other bytes")
	}
}

func TestGetCanceledBody(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Etag", `"e1"`)
		w.Header().Set("Content-Length", "1000")
		w.Write(pattern(100))
		w.(http.Flusher).Flush()
		hang(r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	rc, _, err := c.Get(ctx, GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer rc.Close()
	_, err = io.ReadFull(rc, make([]byte, 100))
	noError(t, err)
	cancel()
	_, err = rc.Read(make([]byte, 1))
	want(t, "canceled", err, Canceled, "")
}

// Close ends a Read that waits and gives the slot free.
func TestCloseWhileReading(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("Etag", `"e1"`)
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		hang(r)
	})
	rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	done := make(chan error)
	go func() {
		_, err := rc.Read(make([]byte, 1))
		done <- err
	}()
	noError(t, rc.Close())
	if err := <-done; err == nil || err == io.EOF {
		t.Errorf("read of a closed body: %v", err)
	}
	if n := c.gate.slots.inUse(); n != 0 {
		t.Errorf("%d slots still taken", n)
	}
}

func TestContentRange(t *testing.T) {
	for s, ok := range map[string]bool{"bytes 0-0/1": true, "bytes 5-9/10": true, "bytes 5-9/9": false, "bytes 9-5/10": false,
		"bytes */10": false, "bytes 0-1/*": false, "": false, "0-1/2": false, "bytes -1-1/2": false, "bytes 0-1": false} {
		if _, _, _, got := contentRange(s); got != ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}
