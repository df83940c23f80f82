package s3client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// outage is a store that answers, or refuses connections, or says nothing.
type outage struct {
	how  atomic.Pointer[func(*http.Request) (*http.Response, error)]
	seen atomic.Int64
}

func newOutage() *outage {
	o := &outage{}
	o.set(answers)
	return o
}

func (o *outage) set(how func(*http.Request) (*http.Response, error)) { o.how.Store(&how) }

func (o *outage) RoundTrip(r *http.Request) (*http.Response, error) {
	o.seen.Add(1)
	return (*o.how.Load())(r)
}

func answers(*http.Request) (*http.Response, error) {
	h := stored.Clone()
	h.Set("Content-Length", "4")
	return reply(200, h, "body"), nil
}

func refuses(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// took runs a call and tells how long it took and how many requests it made.
func (o *outage) took(call func() error) (d time.Duration, requests int64, err error) {
	start, before := time.Now(), o.seen.Load()
	err = call()
	return time.Since(start), o.seen.Load() - before, err
}

// A dead endpoint is waited for once; what comes after fails at once, and works again at once.
func TestAway(t *testing.T) {
	for name, tt := range map[string]struct {
		how   func(*http.Request) (*http.Response, error)
		quick time.Duration
	}{"refuses": {refuses, 0}, "silent": {silent, quickTime}} {
		out := newOutage()
		bubble(t, out.RoundTrip, func(t *testing.T, c *Client) {
			noError(t, head(c))
			time.Sleep(time.Hour)
			began := time.Now()
			out.set(tt.how)
			d, _, err := out.took(func() error { return head(c) })
			want(t, name, err, Temporary, "")
			if d < 100*time.Second || d > 122*time.Second {
				t.Errorf("%s: the first call took %v", name, d)
			}
			h := c.Health()
			if !h.Away || !h.Since.Equal(began) || KindOf(h.Err) != Temporary {
				t.Errorf("%s: %+v, want since %v", name, h, began)
			}
			for _, call := range []func(*Client) error{head, list, func(c *Client) error {
				return c.Delete(context.Background(), "bucket", "k")
			}, func(c *Client) error {
				_, _, err := c.Get(context.Background(), GetRequest{Bucket: "bucket", Key: "k"})
				return err
			}} {
				d, n, err := out.took(func() error { return call(c) })
				e := want(t, name, err, Temporary, "StoreAway")
				if d > tt.quick || n != 1 || !strings.Contains(e.Error(), began.Format(time.RFC3339)) {
					t.Errorf("%s: %v after %v and %d requests", name, err, d, n)
				}
			}
			out.set(answers)
			d, n, err := out.took(func() error { return head(c) })
			if err != nil || d != 0 || n != 1 || c.Health() != (Health{}) {
				t.Errorf("%s: back: %v after %v and %d requests, %+v", name, err, d, n, c.Health())
			}
			// Patience is back as well.
			out.set(tt.how)
			if d, _, _ := out.took(func() error { return head(c) }); d < 100*time.Second {
				t.Errorf("%s: the first call of the next outage took %v", name, d)
			}
		})
	}
}

// What would fail a close(2) keeps its whole time, and so does what its caller asks it for; all of them see the end.
func TestPatienceWhileAway(t *testing.T) {
	out := newOutage()
	bubble(t, out.RoundTrip, func(t *testing.T, c *Client) {
		out.set(silent)
		head(c)
		if !c.Health().Away {
			t.Fatal("not away")
		}
		for name, call := range map[string]func() error{"put": func() error { return put(c) }, "patient head": func() error {
			_, err := c.Head(Patient(t.Context()), "bucket", "key")
			return err
		}} {
			d, _, err := out.took(call)
			want(t, name, err, Temporary, "")
			if d < 100*time.Second || d > 125*time.Second {
				t.Errorf("%s: %v", name, d)
			}
		}
		// The endpoint comes back while an upload is waiting: that ends it for all.
		out.set(refuses)
		time.AfterFunc(time.Minute, func() { out.set(answers) })
		noError(t, put(c))
		if c.Health().Away {
			t.Error("away after an upload")
		}
	})
}

// A store that is back but slower than a quick call finds its way: one call at a time waits longer.
func TestProbe(t *testing.T) {
	out := newOutage()
	bubble(t, out.RoundTrip, func(t *testing.T, c *Client) {
		out.set(silent)
		head(c)
		time.Sleep(probeEvery)
		ends := make(chan time.Duration, 8)
		for range 8 {
			go func() {
				start := time.Now()
				want(t, "away", head(c), Temporary, "StoreAway")
				ends <- time.Since(start)
			}()
		}
		long := 0
		for range 8 {
			if d := <-ends; d == firstWait {
				long++
			} else if d != quickTime {
				t.Errorf("a call took %v", d)
			}
		}
		if long != 1 {
			t.Errorf("%d probes at a time", long)
		}
		out.set(func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(8 * time.Second):
				return answers(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		want(t, "between probes", head(c), Temporary, "StoreAway")
		time.Sleep(probeEvery)
		noError(t, head(c)) // the probe
		noError(t, head(c)) // everybody
	})
}

// What counts as no answer, and for how long.
func TestWhatIsAway(t *testing.T) {
	for name, tt := range map[string]struct {
		how  func(*http.Request) (*http.Response, error)
		away bool
	}{
		"bare 503":  {func(*http.Request) (*http.Response, error) { return reply(503, nil, ""), nil }, true},
		"bare 502":  {func(*http.Request) (*http.Response, error) { return reply(502, nil, ""), nil }, true},
		"its page":  {func(*http.Request) (*http.Response, error) { return reply(504, nil, "<html>Gateway</html>"), nil }, true},
		"bare 500":  {func(*http.Request) (*http.Response, error) { return reply(500, nil, ""), nil }, false},
		"a refusal": {func(*http.Request) (*http.Response, error) { return reply(503, nil, errorDoc("SlowDown")), nil }, false},
		"come again": {func(*http.Request) (*http.Response, error) {
			return reply(503, http.Header{"Retry-After": {"1"}}, ""), nil
		}, false},
		"denied": {func(*http.Request) (*http.Response, error) { return reply(403, nil, errorDoc("AccessDenied")), nil }, false},
	} {
		bubble(t, tt.how, func(t *testing.T, c *Client) {
			if list(c) == nil {
				t.Fatalf("%s: no error", name)
			}
			if got := c.Health().Away; got != tt.away {
				t.Errorf("%s: away %v", name, got)
			}
		})
	}
	// A single hung request among answered ones, a broken source, a caller that leaves.
	out := newOutage()
	bubble(t, out.RoundTrip, func(t *testing.T, c *Client) {
		n := 0
		out.set(func(r *http.Request) (*http.Response, error) {
			if n++; n == 1 {
				return silent(r)
			}
			return answers(r)
		})
		noError(t, head(c))
		out.set(refuses)
		ctx, cancel := context.WithTimeout(t.Context(), awayAfter-time.Second)
		defer cancel()
		_, err := c.Head(ctx, "bucket", "key")
		want(t, "a caller that leaves", err, Canceled, "")
		broken := readerAt(func([]byte, int64) (int, error) { return 0, &Error{Kind: Temporary} })
		time.Sleep(time.Hour)
		_, err = c.Put(t.Context(), PutRequest{Bucket: "bucket", Key: "k", Body: broken, Size: 1})
		want(t, "a broken source", err, Temporary, "SourceFailed")
		if h := c.Health(); h.Away {
			t.Errorf("%+v", h)
		}
	})
}

// A quick call does not wait behind all those that wait for the store.
func TestQuickCallFindsNoSlot(t *testing.T) {
	out := newOutage()
	bubble(t, out.RoundTrip, func(t *testing.T, c *Client) {
		out.set(silent)
		head(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := c.List(Patient(ctx), ListRequest{Bucket: "bucket"})
				done <- err
			}()
		}
		synctest.Wait()
		d, n, err := out.took(func() error { return head(c) })
		want(t, "no slot", err, Temporary, "StoreAway")
		if !errors.Is(err, errNoSlot) || d != quickTime || n != 0 {
			t.Errorf("%v after %v and %d requests", err, d, n)
		}
		cancel()
		want(t, "canceled", <-done, Canceled, "")
		want(t, "canceled", <-done, Canceled, "")
	}, func(cfg *Config) { cfg.MaxRequests = 2 })
}
