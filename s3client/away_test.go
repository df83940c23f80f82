package s3client

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/tests/lagproxy"
)

// viaProxy starts a store of one object behind a proxy that can do it harm.
func viaProxy(t *testing.T, content []byte, change func(*Config)) (*Client, *lagproxy.Proxy) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { object(w, r, "e1", content) }))
	t.Cleanup(srv.Close)
	p, err := lagproxy.Listen("127.0.0.1:0", lagproxy.Options{Backend: strings.TrimPrefix(srv.URL, "http://")})
	noError(t, err)
	t.Cleanup(func() { p.Close() }) // a listener that has left is closed already
	cfg := Config{Endpoint: "http://" + p.Addr(), Region: "us-east-1", MaxRequests: 16,
		Credentials: CredentialsConfig{AccessKey: "access", SecretKey: "secret"}}
	change(&cfg)
	c, err := Open(cfg)
	noError(t, err)
	t.Cleanup(func() { c.Close() })
	return c, p
}

func readAll(t *testing.T, c *Client, req GetRequest) ([]byte, error) {
	t.Helper()
	req.Bucket, req.Key = "bucket", "k"
	rc, _, err := c.Get(t.Context(), req)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// A pool of connections that a router has forgotten costs one wait, not one for each connection.
func TestForgottenConnections(t *testing.T) {
	content := pattern(100_000)
	const pool = 8
	c, p := viaProxy(t, content, func(cfg *Config) { cfg.Timeout = 8 * time.Second })
	var all sync.WaitGroup
	var bodies [pool]io.ReadCloser
	for i := range pool { // bodies that nobody has read yet: each needs a connection of its own
		rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
		noError(t, err)
		bodies[i] = rc
	}
	for _, rc := range bodies {
		all.Go(func() {
			if n, err := io.Copy(io.Discard, rc); err != nil || n != int64(len(content)) {
				t.Errorf("%d bytes, %v", n, err)
			}
			rc.Close()
		})
	}
	all.Wait()
	if n := p.Counts().Connections; n != pool {
		t.Fatalf("%d connections", n)
	}
	p.Freeze()
	got, err := readAll(t, c, GetRequest{})
	noError(t, err)
	if !bytes.Equal(got, content) {
		t.Errorf("%d bytes", len(got))
	}
	if n := c.Counters().Snapshot(); n.Get != pool+2 || n.Retries != 1 {
		t.Errorf("%+v", n)
	}
	if n := p.Counts().Connections; n != pool+1 {
		t.Errorf("%d connections", n)
	}
}

// A body that was being read when the connections were forgotten is taken over by a new one, not by an idle one.
func TestForgottenWhileReading(t *testing.T) {
	content := bytes.Repeat(pattern(1<<20), 64) // more than the buffers on its way hold
	c, p := viaProxy(t, content, func(cfg *Config) { cfg.BodyStall = time.Second })
	rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
	noError(t, err)
	defer rc.Close()
	if _, err := readAll(t, c, GetRequest{Length: 10}); err != nil { // leaves a connection idle
		t.Fatal(err)
	}
	got := make([]byte, len(content))
	_, err = io.ReadFull(rc, got[:1000])
	noError(t, err)
	p.Freeze()
	_, err = io.ReadFull(rc, got[1000:])
	noError(t, err)
	if !bytes.Equal(got, content) {
		t.Error("other bytes")
	}
	if n := c.Counters().Snapshot(); n.Get != 3 || n.Retries != 1 {
		t.Errorf("%+v", n)
	}
	if n := p.Counts().Connections; n != 3 {
		t.Errorf("%d connections", n)
	}
}

// The idle connections are dropped once for all that failed on them, not once each.
func TestIdleConnectionsAreDroppedOnce(t *testing.T) {
	c, _ := viaProxy(t, nil, func(*Config) {})
	early := []*attempt{{start: time.Now()}, {start: time.Now()}}
	c.wire.dropIdle(early[0])
	first := c.wire.dropped.Load()
	if first == 0 {
		t.Fatal("not dropped")
	}
	c.wire.dropIdle(early[1])
	if c.wire.dropped.Load() != first {
		t.Error("dropped for an attempt that began before")
	}
	c.wire.dropIdle(&attempt{start: time.Now().Add(time.Millisecond)})
	if c.wire.dropped.Load() == first {
		t.Error("not dropped for an attempt that began since")
	}
}

// The harms that a network and what stands in it can do to an answer, over real connections.
func TestHarmedAnswers(t *testing.T) {
	content := pattern(3 << 20)
	c, p := viaProxy(t, content, func(cfg *Config) { cfg.BodyStall = time.Second })
	for _, f := range []lagproxy.Fault{{Harm: lagproxy.Stall, At: 1 << 20}, {Harm: lagproxy.Cut, At: 1 << 20},
		{Harm: lagproxy.Stall}, {Harm: lagproxy.Cut}} {
		f.Kind, f.Times = lagproxy.Get, 1
		p.Strike(f)
		before := c.Counters().Snapshot()
		got, err := readAll(t, c, GetRequest{Offset: 100, Length: 2 << 20})
		noError(t, err)
		if !bytes.Equal(got, content[100:100+2<<20]) {
			t.Errorf("%v at %d: %d bytes", f.Harm, f.At, len(got))
		}
		if n := c.Counters().Snapshot().Sub(before); n.Get != 2 || n.BytesIn != 2<<20 {
			t.Errorf("%v at %d: %+v", f.Harm, f.At, n)
		}
	}
	for _, f := range []lagproxy.Fault{{Harm: lagproxy.Shift, At: 1}, {Harm: lagproxy.Extra, At: 1}} {
		f.Kind, f.Times = lagproxy.Get, 1
		p.Strike(f)
		_, err := readAll(t, c, GetRequest{Offset: 100, Length: 2 << 20})
		want(t, f.Harm.String(), err, Unknown, "UnknownAnswer")
		// The same, of a takeover.
		p.Strike(lagproxy.Fault{Harm: lagproxy.Cut, At: 1000, Kind: lagproxy.Get, Times: 1})
		p.Strike(f)
		got, err := readAll(t, c, GetRequest{Offset: 100, Length: 2 << 20})
		want(t, f.Harm.String(), err, Unknown, "UnknownAnswer")
		if !bytes.Equal(got, content[100:1100]) {
			t.Errorf("%v: %d bytes before the error", f.Harm, len(got))
		}
	}
}

// An endpoint that goes away and comes back at the same address.
func TestEndpointGoesAway(t *testing.T) {
	content := pattern(1000)
	c, p := viaProxy(t, content, func(cfg *Config) { cfg.Timeout = 500 * time.Millisecond })
	if _, err := readAll(t, c, GetRequest{}); err != nil {
		t.Fatal(err)
	}
	noError(t, p.Leave())
	// Its absence began, as the client saw it, longer ago than awayAfter.
	c.health.mu.Lock()
	c.health.mu.since = time.Now().Add(-awayAfter)
	c.health.mu.Unlock()
	_, err := readAll(t, c, GetRequest{})
	want(t, "left", err, Temporary, "")
	if h := c.Health(); !h.Away || h.Err == nil {
		t.Fatalf("%+v", h)
	}
	before := c.Counters().Snapshot()
	_, err = readAll(t, c, GetRequest{})
	want(t, "away", err, Temporary, "StoreAway")
	if n := c.Counters().Snapshot().Sub(before); n.Total() != 1 || n.Retries != 0 {
		t.Errorf("%+v", n)
	}
	noError(t, p.Return())
	if got, err := readAll(t, c, GetRequest{}); err != nil || !bytes.Equal(got, content) {
		t.Errorf("back: %d bytes, %v", len(got), err)
	}
	if h := c.Health(); h != (Health{}) {
		t.Errorf("back: %+v", h)
	}
}
