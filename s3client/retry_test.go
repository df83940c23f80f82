package s3client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// roundTripper is a store without a network, for tests in a bubble of their own time.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return f(r)
}

func reply(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), ProtoMajor: 1, ProtoMinor: 1}
}

func errorDoc(code string) string {
	return "<Error><Code>" + code + "</Code><Message>m</Message></Error>"
}

func bubble(t *testing.T, rt roundTripper, test func(t *testing.T, c *Client), change ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Endpoint: "http://store.test", Region: "KR1", Provider: "generic", Transport: rt,
			Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}}
		for _, f := range change {
			f(&cfg)
		}
		c, err := Open(cfg)
		noError(t, err)
		test(t, c)
	})
}

var stored = http.Header{"Etag": {`"e"`}, "Last-Modified": {"Tue, 14 Nov 2023 22:13:20 GMT"}}

func TestRetries(t *testing.T) {
	for name, first := range map[string]func() (*http.Response, error){
		"503":          func() (*http.Response, error) { return reply(503, nil, errorDoc("ServiceUnavailable")), nil },
		"SlowDown":     func() (*http.Response, error) { return reply(503, nil, errorDoc("SlowDown")), nil },
		"429":          func() (*http.Response, error) { return reply(429, nil, ""), nil },
		"500":          func() (*http.Response, error) { return reply(500, nil, errorDoc("InternalError")), nil },
		"bad gateway":  func() (*http.Response, error) { return reply(502, nil, "<html><h1>Bad Gateway</h1></html>"), nil },
		"bad digest":   func() (*http.Response, error) { return reply(400, nil, errorDoc("BadDigest")), nil },
		"hiccup":       func() (*http.Response, error) { return reply(403, nil, errorDoc("SignatureDoesNotMatch")), nil },
		"reset":        func() (*http.Response, error) { return nil, errors.New("connection reset by peer") },
		"malformed":    func() (*http.Response, error) { return nil, errors.New(`malformed HTTP response "0"`) },
		"end of file":  func() (*http.Response, error) { return nil, io.EOF },
		"broken error": func() (*http.Response, error) { return reply(503, nil, "<Error><Co"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			var bodies []string
			rt := func(r *http.Request) (*http.Response, error) {
				if n++; n < 3 {
					return first()
				}
				return reply(200, stored.Clone(), ""), nil
			}
			bubble(t, rt, func(t *testing.T, c *Client) {
				o, err := c.Put(t.Context(), PutRequest{Bucket: "bucket", Key: "k", Body: strings.NewReader("body"), Size: 4})
				noError(t, err)
				if n != 3 || o.ETag != "e" || o.Size != 4 || o.Modified.Unix() != 1700000000 {
					t.Errorf("%d requests, %+v, %q", n, o, bodies)
				}
				got := c.Counters().Snapshot()
				if got.Put != 3 || got.Retries != 2 || got.BytesOut != 12 || got.Total() != 3 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestBudget(t *testing.T) {
	n := 0
	bubble(t, func(*http.Request) (*http.Response, error) {
		n++
		return reply(503, nil, errorDoc("ServiceUnavailable")), nil
	}, func(t *testing.T, c *Client) {
		start := time.Now()
		want(t, "always 503", put(c), Temporary, "ServiceUnavailable")
		// Ten seconds is the longest pause, so the last attempt is not much earlier than the end.
		if d := time.Since(start); d > 2*time.Minute || d < 100*time.Second || n < 10 || n > 200 {
			t.Errorf("%d attempts in %v", n, d)
		}
	})
}

// A part has no metadata that a store could answer with 500 for good.
func TestPartsOutlastErrors(t *testing.T) {
	n := 0
	bubble(t, func(*http.Request) (*http.Response, error) {
		if n++; n <= 2*most500 {
			return reply(500, nil, errorDoc("InternalError")), nil
		}
		return reply(200, stored.Clone(), ""), nil
	}, func(t *testing.T, c *Client) {
		part, err := c.UploadPart(t.Context(), PartRequest{Bucket: "bucket", Key: "k", UploadID: "id", Number: 1,
			Body: strings.NewReader("body"), Size: 4})
		noError(t, err)
		if n != 2*most500+1 || part.ETag != "e" {
			t.Errorf("%d attempts, %+v", n, part)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	n := 0
	var times []time.Time
	bubble(t, func(*http.Request) (*http.Response, error) {
		times = append(times, time.Now())
		switch n++; n {
		case 1:
			return reply(503, http.Header{"Retry-After": {"20"}}, errorDoc("SlowDown")), nil
		case 2:
			return reply(429, http.Header{"Retry-After": {time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat)}}, ""), nil
		}
		return reply(200, stored.Clone(), ""), nil
	}, func(t *testing.T, c *Client) {
		noError(t, put(c))
		if a, b := times[1].Sub(times[0]), times[2].Sub(times[1]); a < 20*time.Second || a > 21*time.Second ||
			b < 39*time.Second || b > 42*time.Second {
			t.Errorf("waited %v and %v", a, b)
		}
		if got := c.Counters().Snapshot().Throttled; got != 2 {
			t.Errorf("%d throttled", got)
		}
	})
	// Longer than there is time: no use waiting.
	n = 0
	bubble(t, func(*http.Request) (*http.Response, error) {
		n++
		return reply(503, http.Header{"Retry-After": {"3600"}}, errorDoc("SlowDown")), nil
	}, func(t *testing.T, c *Client) {
		start := time.Now()
		want(t, "slow down", put(c), Throttled, "SlowDown")
		if n != 1 || time.Since(start) > time.Second {
			t.Errorf("%d attempts in %v", n, time.Since(start))
		}
	})
}

// Answers that never come: each attempt is given up, the call ends near its time.
func TestSilence(t *testing.T) {
	for name, tt := range map[string]struct {
		call  func(*Client) error
		wait  time.Duration
		total time.Duration
	}{
		"object": {head, firstWait, 2 * time.Minute},
		"list":   {list, readWait, 2 * time.Minute},
		"write":  {put, writeWait, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var first time.Duration
			bubble(t, func(r *http.Request) (*http.Response, error) {
				start := time.Now()
				<-r.Context().Done()
				if first == 0 {
					first = time.Since(start)
				}
				return nil, r.Context().Err()
			}, func(t *testing.T, c *Client) {
				start := time.Now()
				e := want(t, name, tt.call(c), Temporary, "")
				if !errors.Is(e, errNoAnswer) || first != tt.wait {
					t.Errorf("first attempt given up after %v: %v", first, e)
				}
				if d := time.Since(start); d < tt.total-15*time.Second || d > tt.total+2*time.Second {
					t.Errorf("given up after %v", d)
				}
			})
		})
	}
}

// A write that the service delays for a minute is not given up, and one that copies for long neither.
func TestLongWrites(t *testing.T) {
	bubble(t, func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			time.Sleep(200 * time.Second)
			return reply(200, nil, "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>"), nil
		}
		time.Sleep(61 * time.Second)
		return reply(200, stored.Clone(), ""), nil
	}, func(t *testing.T, c *Client) {
		noError(t, put(c))
		_, err := c.Copy(t.Context(), CopyRequest{SrcBucket: "bucket", SrcKey: "a", SrcSize: 5 << 30, Bucket: "bucket", Key: "b"})
		noError(t, err)
		if got := c.Counters().Snapshot(); got.Retries != 0 || got.Copy != 1 || got.Put != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// The time in which a body moves is not counted as time in vain.
func TestSlowBody(t *testing.T) {
	n := 0
	rt := func(r *http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return reply(503, nil, errorDoc("ServiceUnavailable")), nil
		}
		return reply(200, stored.Clone(), ""), nil
	}
	bubble(t, rt, func(t *testing.T, c *Client) {
		slow := readerAt(func(p []byte, off int64) (int, error) {
			time.Sleep(50 * time.Second)
			return copy(p, "12345678"[off:off+2]), nil
		})
		_, err := c.Put(t.Context(), PutRequest{Bucket: "bucket", Key: "k", Body: slow, Size: 8})
		noError(t, err)
		if n != 2 {
			t.Errorf("%d attempts", n)
		}
	})
}

type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// What cannot be read cannot be stored: the reader's error, once, and nothing of it is a store's failure.
func TestSourceFails(t *testing.T) {
	broken := errors.New("disk is gone")
	for name, tt := range map[string]struct {
		body io.ReaderAt
		want error
	}{
		"error": {readerAt(func(p []byte, off int64) (int, error) { return 0, broken }), broken},
		"short": {bytes.NewReader([]byte("123")), io.ErrUnexpectedEOF},
		"store's": {readerAt(func(p []byte, off int64) (int, error) {
			return 0, &Error{Op: "GET Object", Kind: Changed}
		}), Changed},
	} {
		c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			w.Header().Set("Etag", `"e"`)
		})
		_, err := c.Put(t.Context(), PutRequest{Bucket: "bucket", Key: "k", Body: tt.body, Size: 1 << 20})
		if !errors.Is(err, tt.want) || len(srv.requests()) > 1 {
			t.Errorf("%s: %v after %d requests", name, err, len(srv.requests()))
		}
	}
}

// After Put has returned nobody reads its Body any more, even if the transport would.
func TestBodyIsLeftAlone(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { refuse(w, 403, "AccessDenied", "") })
	var returned atomic.Bool
	body := readerAt(func(p []byte, off int64) (int, error) {
		if returned.Load() {
			t.Error("read after the call has returned")
		}
		return len(p), nil
	})
	for range 20 {
		returned.Store(false)
		_, err := c.Put(t.Context(), PutRequest{Bucket: "bucket", Key: "k", Body: body, Size: 64 << 20})
		returned.Store(true)
		if KindOf(err) != Denied && KindOf(err) != Temporary {
			t.Fatal(err)
		}
	}
}

// A 400 to a HEAD comes without a word. It may be a RequestTimeout, so that it is asked twice more; one to a GET has its code.
func TestA400WithoutAWord(t *testing.T) {
	for fails, want := range map[int]Kind{2: Unknown, 3: Invalid} {
		n, whole := 0, stored.Clone()
		whole.Set("Content-Length", "4")
		bubble(t, func(*http.Request) (*http.Response, error) {
			if n++; n <= fails {
				return reply(400, nil, ""), nil
			}
			return reply(200, whole, ""), nil
		}, func(t *testing.T, c *Client) {
			_, err := c.Head(t.Context(), "bucket", "k")
			if (err == nil) != (fails < 3) || KindOf(err) != want || n != 3 {
				t.Errorf("after %d: %v, %d requests", fails, err, n)
			}
		})
	}
}

func TestCancelDuringPause(t *testing.T) {
	bubble(t, func(*http.Request) (*http.Response, error) {
		return reply(503, http.Header{"Retry-After": {"60"}}, errorDoc("SlowDown")), nil
	}, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Head(ctx, "bucket", "k")
		if e := want(t, "canceled", err, Canceled, ""); !errors.Is(e, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestBackoff(t *testing.T) {
	whole := func(d time.Duration) time.Duration { return d }
	for attempt, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond,
		5: 1600 * time.Millisecond, 7: 6400 * time.Millisecond, 8: longPause, 60: longPause, 1 << 30: longPause} {
		if got := backoff(attempt, whole); got != want {
			t.Errorf("attempt %d: %v, want %v", attempt, got, want)
		}
	}
	for range 1000 {
		if d := fullJitter(time.Second); d <= 0 || d > time.Second {
			t.Fatal(d)
		}
	}
}

// Creations and deletions whose answer was lost and that are told "it is so already" have succeeded.
func TestSettledByTheSecondAttempt(t *testing.T) {
	ctx := context.Background()
	for name, tt := range map[string]struct {
		second int
		code   string
		call   func(*Client) error
	}{
		"create": {409, "BucketAlreadyOwnedByYou", func(c *Client) error { return c.CreateBucket(ctx, "bucket") }},
		"delete": {404, "NoSuchBucket", func(c *Client) error { return c.DeleteBucket(ctx, "bucket") }},
		"abort":  {404, "NoSuchUpload", func(c *Client) error { return c.AbortUpload(ctx, "bucket", "k", "id") }},
	} {
		for _, lost := range []bool{true, false} {
			c, srv := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n == 1 && lost {
					cut(w)
					return
				}
				refuse(w, tt.second, tt.code, "")
			})
			err := tt.call(c)
			if lost && (err != nil || len(srv.requests()) != 2) || !lost && err == nil {
				t.Errorf("%s, answer lost %v: %v after %v", name, lost, err, srv.requests())
			}
		}
	}
}

func TestThreeQuartersOfTheSlotsSendBodies(t *testing.T) {
	g := newGate(8, 0)
	var leaves []func()
	for range 6 {
		leave, err := g.enter(t.Context(), true, true)
		noError(t, err)
		leaves = append(leaves, leave)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := g.enter(ctx, true, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a seventh body: %v", err)
	}
	for range 2 {
		leave, err := g.enter(t.Context(), false, false)
		noError(t, err)
		leaves = append(leaves, leave)
	}
	if _, err := g.enter(ctx, false, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a ninth request: %v", err)
	}
	for _, leave := range leaves {
		leave()
	}
	if g.slots.inUse()+g.bodies.inUse() != 0 {
		t.Error("slots left behind")
	}
}

func TestWriteRate(t *testing.T) {
	bubble(t, func(*http.Request) (*http.Response, error) { return reply(200, stored.Clone(), ""), nil },
		func(t *testing.T, c *Client) {
			start := time.Now()
			for range 200 {
				noError(t, put(c))
			}
			if d := time.Since(start); d < 19*time.Second || d > 20*time.Second {
				t.Errorf("200 writes at 10 a second took %v", d)
			}
		}, func(cfg *Config) { cfg.WriteRate = 10 })
}
