package s3client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// act is what a store does to one answer of an object: it gives at most `give` bytes of the body, and then ...
type act struct {
	give   int
	end    string // "": goes on to the end; "stall", "cut" (an error), "eof" (a clean end), "silence" (no answer)
	change func(h http.Header)
	status int // instead of the right one
	body   func(right []byte) []byte
	open   bool // no Content-Length: chunked
}

// actor is a store of one object that follows a script; what is behind its end is answered as it should be.
type actor struct {
	content []byte
	script  []act
	pace    time.Duration // between two pieces of a body
	piece   int
	seen    []*http.Request
}

func (a *actor) RoundTrip(r *http.Request) (*http.Response, error) {
	var do act
	if n := len(a.seen); n < len(a.script) {
		do = a.script[n]
	} else {
		do = act{give: len(a.content)}
	}
	a.seen = append(a.seen, r)
	if do.end == "silence" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	from, to, status := 0, len(a.content), 200
	h := http.Header{"Etag": {`"e1"`}, "Last-Modified": stored["Last-Modified"]}
	if f, l, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"); ok {
		from, _ = strconv.Atoi(f)
		to, _ = strconv.Atoi(l)
		to = min(to+1, len(a.content))
		status = 206
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(a.content)))
	}
	right := a.content[from:to]
	if do.body != nil {
		right = do.body(right)
	}
	h.Set("Content-Length", strconv.Itoa(len(right)))
	if do.open {
		h.Del("Content-Length")
	}
	if do.change != nil {
		do.change(h)
	}
	if do.status != 0 {
		status = do.status
	}
	b := &actedBody{ctx: r.Context(), rest: right, left: do.give, end: do.end, pace: a.pace, piece: a.piece}
	return &http.Response{StatusCode: status, Header: h, Body: b, ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1}, nil
}

type actedBody struct {
	ctx         context.Context
	rest        []byte
	left, piece int
	end         string
	pace        time.Duration
}

func (b *actedBody) Read(p []byte) (int, error) {
	if b.pace > 0 {
		time.Sleep(b.pace)
	}
	if b.piece > 0 {
		p = p[:min(len(p), b.piece)]
	}
	n := copy(p[:min(len(p), max(b.left, 0))], b.rest)
	b.rest, b.left = b.rest[n:], b.left-n
	switch {
	case n > 0:
		return n, nil
	case b.end == "stall":
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	case b.end == "cut":
		return 0, errors.New("connection reset by peer")
	}
	return 0, io.EOF
}

func (b *actedBody) Close() error { return nil }

// read reads the range and compares it: what is given is always the beginning of what is right.
func (a *actor) read(t *testing.T, c *Client, off, length int) ([]byte, error) {
	t.Helper()
	rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k", Offset: int64(off), Length: int64(length)})
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	right := a.content[off:min(off+length, len(a.content))]
	if !bytes.HasPrefix(right, got) {
		t.Errorf("%d bytes that are not the object's", len(got))
	}
	if err == nil && len(got) != len(right) {
		t.Errorf("%d bytes and no error, want %d", len(got), len(right))
	}
	if err != nil {
		if n, again := rc.Read(make([]byte, 1)); n != 0 || again == nil || again == io.EOF {
			t.Errorf("after the error the next read says %d, %v", n, again)
		}
	}
	if n := c.gate.slots.inUse(); n != 0 {
		t.Errorf("%d slots still taken", n)
	}
	return got, err
}

func act1(t *testing.T, content int, script []act, test func(t *testing.T, a *actor, c *Client)) {
	a := &actor{content: pattern(content), script: script}
	bubble(t, a.RoundTrip, func(t *testing.T, c *Client) { test(t, a, c) })
}

// A body that stands still is taken over after five seconds: the rest, of the same version.
func TestTakeover(t *testing.T) {
	act1(t, 300_000, []act{{give: 100_000, end: "stall"}, {give: 50_000, end: "cut"}}, func(t *testing.T, a *actor, c *Client) {
		start := time.Now()
		_, err := a.read(t, c, 1000, 290_000)
		noError(t, err)
		if d := time.Since(start); d < bodyStallTime || d > bodyStallTime+time.Second || len(a.seen) != 3 {
			t.Errorf("%d requests in %v", len(a.seen), d)
		}
		for i, want := range []string{"bytes=1000-290999", "bytes=101000-290999", "bytes=151000-290999"} {
			if got := a.seen[i].Header.Get("Range"); got != want {
				t.Errorf("request %d: %s, want %s", i+1, got, want)
			}
			if got := a.seen[i].Header.Get("If-Match"); i > 0 && got != `"e1"` {
				t.Errorf("request %d is not pinned: %q", i+1, got)
			}
		}
		if got := c.Counters().Snapshot(); got.Retries != 2 || got.BytesIn != 290_000 {
			t.Errorf("%+v", got)
		}
	})
}

// An answer that does not begin is asked for again, on another connection, with more time each try.
func TestFirstByteWaits(t *testing.T) {
	silent := act{end: "silence"}
	act1(t, 1000, []act{silent, silent, silent}, func(t *testing.T, a *actor, c *Client) {
		start := time.Now()
		_, err := a.read(t, c, 0, 1000)
		noError(t, err)
		if d := time.Since(start); d < 6*firstWait || d > 6*firstWait+time.Second || len(a.seen) != 4 {
			t.Errorf("%d requests in %v", len(a.seen), d)
		}
	})
}

// The call's time bounds all tries together, whatever they fail of.
func TestTakeoversEnd(t *testing.T) {
	for name, again := range map[string]act{"stall": {end: "stall"}, "cut": {end: "cut"}, "eof": {end: "eof"},
		"a byte and a stall": {give: 1, end: "stall"}, "a byte and a cut": {give: 1, end: "cut"}, "silence": {end: "silence"}} {
		script := []act{{give: 5000, end: "cut"}}
		for range 1000 {
			script = append(script, again)
		}
		act1(t, 1<<20, script, func(t *testing.T, a *actor, c *Client) {
			start := time.Now()
			got, err := a.read(t, c, 0, 1<<20)
			want(t, name, err, Temporary, "")
			if d := time.Since(start); d < 80*time.Second || d > 125*time.Second {
				t.Errorf("%s: given up after %v and %d requests", name, d, len(a.seen))
			}
			if len(got) < 5000 || len(got) > 5100 || len(a.seen) > 60 {
				t.Errorf("%s: %d bytes, %d requests", name, len(got), len(a.seen))
			}
		})
	}
}

// Time in which bytes move is not counted, however long it is.
func TestSlowBodyIsReadToItsEnd(t *testing.T) {
	a := &actor{content: pattern(600_000), script: []act{{give: 200_000, end: "stall"}, {give: 200_000, end: "stall"}},
		pace: 4 * time.Second, piece: 1000}
	bubble(t, a.RoundTrip, func(t *testing.T, c *Client) {
		start := time.Now()
		_, err := a.read(t, c, 0, 600_000)
		noError(t, err)
		if d := time.Since(start); d < 2400*time.Second || len(a.seen) != 3 {
			t.Errorf("%d requests in %v", len(a.seen), d)
		}
	})
}

// wrongAnswers are answers to a request for [off, off+length) that are no answers to it.
var wrongAnswers = map[string]act{
	"another offset": {change: func(h http.Header) { h.Set("Content-Range", "bytes 0-4999/10000") }},
	"another total": {change: func(h http.Header) {
		h.Set("Content-Range", strings.Replace(h.Get("Content-Range"), "/10000", "/10001", 1))
	}},
	"a shorter range": {body: func(p []byte) []byte { return p[:len(p)-1] }, change: func(h http.Header) {
		h.Set("Content-Range", strings.Replace(h.Get("Content-Range"), "9999/", "9998/", 1))
	}},
	"no range":             {change: func(h http.Header) { h.Del("Content-Range") }},
	"the whole object":     {status: 200},
	"another version":      {change: func(h http.Header) { h.Set("Etag", `"e2"`) }},
	"no version":           {change: func(h http.Header) { h.Del("Etag") }},
	"a length too short":   {change: func(h http.Header) { h.Set("Content-Length", "7") }},
	"a length too long":    {change: func(h http.Header) { h.Set("Content-Length", "70000") }},
	"a body longer by one": {body: func(p []byte) []byte { return append(bytes.Clone(p), 'x') }},
}

func TestWrongAnswerToATakeover(t *testing.T) {
	for name, wrong := range wrongAnswers {
		wrong.give = 10_000
		act1(t, 10_000, []act{{give: 2000, end: "cut"}, wrong}, func(t *testing.T, a *actor, c *Client) {
			got, err := a.read(t, c, 0, 10_000)
			kind, code := Unknown, "UnknownAnswer"
			if name == "another version" {
				kind, code = Changed, ""
			}
			want(t, name, err, kind, code)
			if len(got) != 2000 || len(a.seen) != 2 {
				t.Errorf("%s: %d bytes of %d requests", name, len(got), len(a.seen))
			}
		})
	}
}

// Without a length the range says how much is right: less is asked for again, more is not given.
func TestChunkedRange(t *testing.T) {
	for name, odd := range map[string]act{
		"as promised": {open: true, give: 1 << 20},
		"more":        {open: true, give: 1 << 20, body: func(p []byte) []byte { return append(bytes.Clone(p), make([]byte, 5000)...) }},
		"less":        {open: true, give: 100},
	} {
		act1(t, 10_000, []act{odd}, func(t *testing.T, a *actor, c *Client) {
			if got, err := a.read(t, c, 3000, 4000); err != nil || len(got) != 4000 {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
			if n := len(a.seen); n != 1 && name != "less" {
				t.Errorf("%s: %d requests", name, n)
			}
		})
	}
	act1(t, 10_000, []act{{open: true, give: 1 << 20}}, func(t *testing.T, a *actor, c *Client) {
		_, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
		want(t, "a whole object without a length", err, Unknown, "UnknownAnswer")
	})
}

// Whatever befalls the answers, what a reader is given is right, and all of it when there is no error.
func TestBadDay(t *testing.T) {
	var names []string
	for name := range wrongAnswers {
		names = append(names, name)
	}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var script []act
		for range rnd.IntN(12) {
			do := act{give: rnd.IntN(10_000), end: []string{"", "stall", "cut", "eof", "silence"}[rnd.IntN(5)], open: rnd.IntN(4) == 0}
			if rnd.IntN(5) == 0 {
				wrong := wrongAnswers[names[rnd.IntN(len(names))]]
				do.change, do.status, do.body = wrong.change, wrong.status, wrong.body
			}
			script = append(script, do)
		}
		act1(t, 10_000, script, func(t *testing.T, a *actor, c *Client) {
			off := rnd.IntN(10_000)
			a.read(t, c, off, 1+rnd.IntN(10_000)) // looks at what it got itself
		})
	}
}

// Close ends a takeover that waits for its answer.
func TestCloseDuringATakeover(t *testing.T) {
	act1(t, 1000, []act{{give: 10, end: "cut"}, {end: "silence"}}, func(t *testing.T, a *actor, c *Client) {
		rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
		noError(t, err)
		time.AfterFunc(3*time.Second, func() { noError(t, rc.Close()) })
		start := time.Now()
		got, err := io.ReadAll(rc)
		if len(got) != 10 || !errors.Is(err, io.ErrClosedPipe) || time.Since(start) != 3*time.Second {
			t.Errorf("%d bytes, %v after %v", len(got), err, time.Since(start))
		}
		if n := c.gate.slots.inUse(); n != 0 {
			t.Errorf("%d slots still taken", n)
		}
	})
}
