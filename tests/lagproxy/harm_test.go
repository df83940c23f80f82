package lagproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// keeper is a server that keeps the bodies of PUTs, answers GETs of keys with the last one, and listings with their number.
type keeper struct {
	body  atomic.Pointer[[]byte]
	asked atomic.Int64
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := k.asked.Add(1)
	switch {
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err == nil {
			k.body.Store(&body)
		}
	case strings.Count(r.URL.Path, "/") == 1:
		fmt.Fprint(w, n)
	default:
		w.Write(*k.body.Load())
	}
}

func startKeeper(t *testing.T) (*keeper, *Proxy, func(method, path, body string) (status int, answer string, err error)) {
	t.Helper()
	k := &keeper{}
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	p, err := Listen("127.0.0.1:0", Options{Backend: srv.Listener.Addr().String(), Remember: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c := client(t)
	c.Timeout = time.Minute
	return k, p, func(method, path, body string) (int, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.Addr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(got), err
	}
}

// TestHarmsOfRequests: what the server has heard, and what the client.
func TestHarmsOfRequests(t *testing.T) {
	const old, text = "what was there", "some bytes in a body"
	for _, tc := range []struct {
		fault  Fault
		status int // 0: an error
		answer string
		stored string
		asked  int64
	}{
		{Fault{Harm: Refuse, Status: 503, Code: "SlowDown"}, 503, "<Code>SlowDown</Code>", old, 0},
		{Fault{Harm: Refuse, Status: 500}, 500, "", old, 0},
		{Fault{Harm: Drop}, 0, "", old, 0},
		{Fault{Harm: Reset}, 0, "", old, 0},
		{Fault{Harm: CutUp, At: 3}, 0, "", old, 1},
		{Fault{Harm: FlipUp, At: 3}, 200, "", "som\x64 bytes in a body", 1},
		{Fault{Harm: FlipUp, At: -1}, 200, "", "some bytes\x21in a body", 1},
		{Fault{Harm: Twice}, 200, "", text, 2},
		{Fault{Harm: Lose}, 0, "", text, 1},
		{Fault{Harm: Replace, Status: 200, Code: "InternalError"}, 200, "<Code>InternalError</Code>", text, 1},
	} {
		t.Run(fmt.Sprint(tc.fault.Harm, tc.fault.At, tc.fault.Code), func(t *testing.T) {
			k, p, ask := startKeeper(t)
			if _, _, err := ask("PUT", "/b/k", old); err != nil {
				t.Fatal(err)
			}
			k.asked.Store(0)
			tc.fault.Kinds, tc.fault.Times = []Kind{Put}, 1
			p.Strike(tc.fault)
			status, answer, err := ask("PUT", "/b/k", text)
			if (err != nil) != (tc.status == 0) || status != tc.status || !strings.Contains(answer, tc.answer) || tc.answer == "" && answer != "" {
				t.Errorf("%d %q, %v", status, answer, err)
			}
			for p.InFlight() > 0 { // the end of a connection is seen by one side after the other
				time.Sleep(time.Millisecond)
			}
			given := p.Given()
			if n := given[Given{"PUT", Put, tc.status}]; n == 0 {
				t.Errorf("it was not counted as it was given: %v", given)
			}
			if _, answer, err := ask("GET", "/b/k", ""); err != nil || answer != tc.stored {
				t.Errorf("stored %q, %v", answer, err)
			}
			if n := k.asked.Load() - 1; n != tc.asked {
				t.Errorf("the server was asked %d times", n)
			}
			strokes := p.Strokes()
			if len(strokes) != 1 || strokes[0].Harm != tc.fault.Harm || strokes[0].Kind != Put || p.Struck() != 1 {
				t.Errorf("strokes: %v", strokes)
			}
		})
	}
}

// TestHarmsThatDoNotFit pass over what has nothing to be harmed, and wait for what has.
func TestHarmsThatDoNotFit(t *testing.T) {
	k, p, ask := startKeeper(t)
	p.Strike(Fault{Harm: Flip, At: -1, Kinds: []Kind{Put, Get}, Times: 1})
	if status, _, err := ask("PUT", "/b/k", "text"); status != 200 || err != nil || p.Struck() != 0 {
		t.Errorf("an answer without a body: %d, %v, struck %d", status, err, p.Struck())
	}
	if _, answer, err := ask("GET", "/b/k", ""); err != nil || answer != "teyt" {
		t.Errorf("%q, %v", answer, err)
	}
	if !bytes.Equal(*k.body.Load(), []byte("text")) {
		t.Error("the server has other bytes")
	}
}

// TestPast: a listing that was asked for before comes as it was then; another one is true.
func TestPast(t *testing.T) {
	_, p, ask := startKeeper(t)
	first := func(path string) string {
		_, answer, err := ask("GET", path, "")
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	a := first("/b?prefix=a")
	p.Strike(Fault{Harm: Past, Kind: List})
	if got := first("/b?prefix=a"); got != a {
		t.Errorf("%q is not what it was, %q", got, a)
	}
	if got := first("/b?prefix=b"); got == a || p.Struck() != 1 {
		t.Errorf("%q, struck %d", got, p.Struck())
	}
	p.Heal()
	if got := first("/b?prefix=a"); got == a {
		t.Error("it is late still")
	}
}

// TestStallUp: nothing of the rest is taken, and the server's connection ends when the client's does.
func TestStallUp(t *testing.T) {
	_, p, _ := startKeeper(t)
	p.Strike(Fault{Harm: StallUp, At: 10, Kind: Put, For: time.Second})
	c := client(t)
	c.Timeout = 100 * time.Millisecond
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+p.Addr()+"/b/k", bytes.NewReader(make([]byte, 16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(req); err == nil {
		t.Error("an answer to a request that stands still")
	}
	for p.InFlight() > 0 { // the proxy sees that the client has gone
		time.Sleep(time.Millisecond)
	}
	if in := p.Counts().In; in > 10 {
		t.Errorf("%d bytes came through", in)
	}
}

// TestDateIsOff and the answer as it is else.
func TestDateIsOff(t *testing.T) {
	p, c := startObject(t, sequence(100))
	p.Strike(Fault{Harm: Skew, For: -20 * time.Minute, Kind: Get})
	resp, got, err := get(t, c, p, "")
	if err != nil || len(got) != 100 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || time.Since(date) < 19*time.Minute {
		t.Errorf("%v, %v", date, err)
	}
}
