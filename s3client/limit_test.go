package s3client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Bytes pass at the rate of the limit, in both directions, and a body that waits for it is neither stalled nor late: 40 s a MiB
// is longer than every patience.
func TestBandwidth(t *testing.T) {
	const size = 1 << 20
	content := strings.Repeat("x", size)
	rt := func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return nil, err
			}
		}
		h := stored.Clone()
		if r.Method == http.MethodGet {
			h.Set("Content-Length", fmt.Sprint(size))
			return reply(200, h, content), nil
		}
		return reply(200, h, ""), nil
	}
	for name, call := range map[string]func(c *Client) error{
		"up": func(c *Client) error {
			_, err := c.Put(context.Background(), PutRequest{Bucket: "bucket", Key: "k", Body: strings.NewReader(content), Size: size})
			return err
		},
		"down": func(c *Client) error {
			body, _, err := c.Get(context.Background(), GetRequest{Bucket: "bucket", Key: "k"})
			if err != nil {
				return err
			}
			defer body.Close()
			n, err := io.Copy(io.Discard, body)
			if n != size {
				return fmt.Errorf("%d bytes: %w", n, err)
			}
			return err
		},
	} {
		bubble(t, rt, func(t *testing.T, c *Client) {
			for _, limit := range []int64{0, LeastBandwidth, 4 * LeastBandwidth, 0} {
				l := c.Limits()
				l.Up, l.Down = limit, limit
				noError(t, c.SetLimits(l))
				start, before := time.Now(), c.Counters().Snapshot()
				noError(t, call(c))
				took, want := time.Since(start), time.Duration(0)
				if limit > 0 {
					want = size / time.Duration(limit) * time.Second
				}
				if took > want || took < want-2*time.Second { // less the piece that may be spent at once
					t.Errorf("%s at %d bytes a second took %v, want %v", name, limit, took, want)
				}
				if n := c.Counters().Snapshot().Sub(before); n.Retries != 0 || n.Total() != 1 {
					t.Errorf("%s at %d bytes a second: %+v", name, limit, n)
				}
				if l.Up != c.Limits().Up || l.Down != c.Limits().Down {
					t.Errorf("%+v, want %+v", c.Limits(), l)
				}
			}
		}, func(cfg *Config) { cfg.Timeout = 10 * time.Second })
	}
}

// A limit is lifted under a body that waits for it.
func TestBandwidthIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bandwidth
		b.set(LeastBandwidth)
		done := make(chan error)
		go func() { done <- b.wait(t.Context(), 100<<20, func() {}) }()
		time.Sleep(10 * time.Second)
		start := time.Now()
		b.set(0)
		if err := <-done; err != nil || time.Since(start) > longestNap {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		b.set(LeastBandwidth)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- b.wait(ctx, 100<<20, func() {}) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestLimitsAreChecked(t *testing.T) {
	bubble(t, answered200, func(t *testing.T, c *Client) {
		before := c.Limits()
		for _, l := range []Limits{{Up: LeastBandwidth - 1}, {Down: 1}, {Requests: -1}, {WriteRate: -1}} {
			if err := c.SetLimits(l); KindOf(err) != Invalid {
				t.Errorf("%+v: %v", l, err)
			}
		}
		if c.Limits() != before {
			t.Errorf("%+v, was %+v", c.Limits(), before)
		}
	})
	if _, err := Open(Config{Endpoint: "http://store.test", BandwidthUp: 5, Credentials: CredentialsConfig{Anonymous: true}}); KindOf(err) != Invalid {
		t.Error(err)
	}
}

func answered200(*http.Request) (*http.Response, error) { return reply(200, stored.Clone(), ""), nil }

// inUse is how many are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.used
}

// The number of requests in flight follows the limit, down and up, with requests waiting.
func TestRequestsInFlightAreChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(3)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		free := make(chan struct{})
		for range 10 {
			all.Go(func() {
				if s.take(ctx) != nil {
					return
				}
				<-free
				s.free()
			})
		}
		check := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := s.inUse(); n != want {
				t.Fatalf("%d in use, want %d", n, want)
			}
		}
		check(3)
		s.resize(5)
		check(5)
		s.resize(2)
		check(5)
		for range 3 {
			free <- struct{}{}
		}
		check(2)
		free <- struct{}{} // one goes, one comes
		check(2)
		cancel() // those who wait leave
		close(free)
		check(0)
		all.Wait()
		if s.mu.waiting.Len() != 0 {
			t.Error("somebody still waits")
		}
		noError(t, s.take(t.Context()))
	})
}

// The write rate is changed while the client works.
func TestWriteRateIsChanged(t *testing.T) {
	bubble(t, answered200, func(t *testing.T, c *Client) {
		writes := func() time.Duration {
			start := time.Now()
			for range 100 {
				noError(t, put(c))
			}
			return time.Since(start)
		}
		if d := writes(); d != 0 {
			t.Errorf("without a limit: %v", d)
		}
		noError(t, c.SetLimits(Limits{WriteRate: 10}))
		if d := writes(); d < 9*time.Second || d > 10*time.Second {
			t.Errorf("100 writes at 10 a second took %v", d)
		}
		noError(t, c.SetLimits(Limits{}))
		if d := writes(); d != 0 {
			t.Errorf("without a limit again: %v", d)
		}
	})
}

// Answers are counted by kind and status; what has no answer and what was given up are told apart.
func TestAnswers(t *testing.T) {
	out := newOutage()
	bubble(t, out.RoundTrip, func(t *testing.T, c *Client) {
		noError(t, head(c))
		noError(t, put(c))
		out.set(func(*http.Request) (*http.Response, error) { return reply(404, nil, errorDoc("NoSuchKey")), nil })
		noError(t, c.Delete(t.Context(), "bucket", "k")) // nothing is a success
		out.set(func(*http.Request) (*http.Response, error) { return reply(42, nil, ""), nil })
		if err := list(c); err == nil {
			t.Error("no error")
		}
		out.set(silent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Head(ctx, "bucket", "k")
		want(t, "given up", err, Canceled, "")
		got := map[string]string{}
		for _, a := range c.Counters().Answers() {
			if len(a.Status) > 0 {
				got[a.Kind] = fmt.Sprint(a.Status, a.Took.Count())
			}
		}
		for kind, status := range map[string]string{"head": "map[200:1 canceled:1] 1", "put": "map[200:1] 1", "list": "map[none:1] 1", "delete": "map[404:1] 1"} {
			if got[kind] != status {
				t.Errorf("%s: %s, want %s (all: %v)", kind, got[kind], status, got)
			}
		}
		if n := c.Counters().LastMinute(time.Now()).Count(); n != 4 {
			t.Errorf("%d in the last minute: %v", n, got)
		}
		time.Sleep(2 * time.Minute)
		if n := c.Counters().LastMinute(time.Now()).Count(); n != 0 {
			t.Errorf("%d two minutes later", n)
		}
	})
}

// One call that the store never answers is enough to say so, when nobody else is answered meanwhile.
func TestOneLongSilenceIsAway(t *testing.T) {
	out := newOutage()
	bubble(t, out.RoundTrip, func(t *testing.T, c *Client) {
		noError(t, head(c))
		out.set(silent)
		want(t, "the only try", list(c), Temporary, "")
		if h := c.Health(); !h.Away || out.seen.Load() != 2 {
			t.Errorf("%+v after %d requests", h, out.seen.Load())
		}
	}, func(cfg *Config) { cfg.Timeout = 15 * time.Second })
}

// The store's id of a request is in the error also where the answer broke off, and in what Trace is told.
func TestRequestIDs(t *testing.T) {
	var told []Exchange
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("X-Trans-Id", "tx00042")
		w.Header().Set("Etag", `"e"`)
		w.Header().Set("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(200)
		w.Write(bytes.Repeat([]byte("x"), 10))
		w.(http.Flusher).Flush()
		cut(w)
	}, func(cfg *Config) {
		cfg.Timeout = 2 * time.Second
		cfg.Trace = func(_ context.Context, e Exchange) { told = append(told, e) }
	})
	body, _, err := c.Get(context.Background(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer body.Close()
	_, err = io.ReadAll(body)
	if err == nil || !strings.Contains(err.Error(), "request tx00042") {
		t.Errorf("broken off: %v", err)
	}
	if len(told) == 0 || told[0].RequestID != "tx00042" || told[0].Status != 200 || told[0].Attempt != 1 || told[0].Op != "GET Object" || told[0].Err != nil {
		t.Errorf("%+v", told)
	}
	if line := fmt.Sprint(told[0].LogValue()); !strings.Contains(line, "tx00042") || strings.Contains(line, "secret") {
		t.Errorf("%s", line)
	}
}
