package lagproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"
)

// object answers GETs as a store does, ranges included.
func object(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(content))
	}
}

func startObject(t *testing.T, content []byte) (*Proxy, *http.Client) {
	t.Helper()
	srv := httptest.NewServer(object(content))
	t.Cleanup(srv.Close)
	p, err := Listen("127.0.0.1:0", Options{Backend: srv.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() }) // a listener that has left is closed already
	return p, client(t)
}

func get(t *testing.T, c *http.Client, p *Proxy, ranged string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+p.Addr()+"/b/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranged != "" {
		req.Header.Set("Range", ranged)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp, got, err
}

func TestHarms(t *testing.T) {
	content := sequence(200_000)
	p, c := startObject(t, content)
	p.Strike(Fault{Harm: Cut, At: 70_000, Kind: Get, Skip: 1, Times: 1})
	if _, got, err := get(t, c, p, ""); err != nil || !bytes.Equal(got, content) {
		t.Errorf("spared: %d bytes, %v", len(got), err)
	}
	if _, got, err := get(t, c, p, ""); err == nil || !bytes.Equal(got, content[:70_000]) {
		t.Errorf("cut: %d bytes, %v", len(got), err)
	}
	p.Strike(Fault{Harm: Shift, At: 7, Kind: Get, Times: 1})
	resp, got, err := get(t, c, p, "bytes=1000-1999")
	if err != nil || !bytes.Equal(got, content[1000:2000]) || resp.Header.Get("Content-Range") != "bytes 1007-2006/200007" {
		t.Errorf("shift: %v, %v", resp, err)
	}
	p.Strike(Fault{Harm: Extra, At: 5, Kind: Get, Times: 1})
	resp, got, err = get(t, c, p, "bytes=1000-1999")
	if err != nil || string(got) != string(content[1000:2000])+"xxxxx" || resp.ContentLength != 1005 {
		t.Errorf("extra: %d bytes, %v", len(got), err)
	}
	p.Strike(Fault{Harm: Silence, Kind: Put})
	if _, got, err := get(t, c, p, ""); err != nil || !bytes.Equal(got, content) {
		t.Errorf("another kind's fault: %d bytes, %v", len(got), err)
	}
	if p.Struck() != 3 {
		t.Errorf("struck %d", p.Struck())
	}
}

// TestStandingStill: what stalls or is silent does so until the client leaves, and other connections go on.
func TestStandingStill(t *testing.T) {
	content := sequence(200_000)
	p, c := startObject(t, content)
	p.Strike(Fault{Harm: Stall, At: 1000, Kind: Get, Times: 1})
	resp, err := c.Get("http://" + p.Addr() + "/b/k")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1000)
	if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, content[:1000]) {
		t.Fatal(err)
	}
	if _, got, err := get(t, c, p, ""); err != nil || !bytes.Equal(got, content) {
		t.Errorf("beside it: %d bytes, %v", len(got), err)
	}
	resp.Body.Close()
	p.Strike(Fault{Harm: Silence, Kind: Get, Times: 1})
	impatient := &http.Client{Transport: c.Transport, Timeout: 50 * time.Millisecond}
	if _, err := impatient.Get("http://" + p.Addr() + "/b/k"); err == nil {
		t.Error("an answer out of silence")
	}
	p.Strike(Fault{Harm: Silence, Kind: Get})
	p.Heal()
	if _, got, err := get(t, c, p, ""); err != nil || !bytes.Equal(got, content) {
		t.Errorf("healed: %d bytes, %v", len(got), err)
	}
}

// TestFreeze: the connection that is there is dead without a word, a new one is not.
func TestFreeze(t *testing.T) {
	p, c := startObject(t, sequence(100))
	if _, _, err := get(t, c, p, ""); err != nil {
		t.Fatal(err)
	}
	p.Freeze()
	impatient := &http.Client{Transport: c.Transport, Timeout: 50 * time.Millisecond}
	if _, err := impatient.Get("http://" + p.Addr() + "/b/k"); err == nil {
		t.Error("an answer over a frozen connection")
	}
	if _, got, err := get(t, c, p, ""); err != nil || len(got) != 100 {
		t.Errorf("a new connection: %d bytes, %v", len(got), err)
	}
	if n := p.Counts().Connections; n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestLeaveAndReturn(t *testing.T) {
	p, c := startObject(t, sequence(100))
	for range 3 {
		if _, _, err := get(t, c, p, ""); err != nil {
			t.Fatal(err)
		}
		if err := p.Leave(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := get(t, c, p, ""); err == nil {
			t.Error("an answer of one who has left")
		}
		if err := p.Return(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Leave(); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsInJSON(t *testing.T) {
	want := Fault{Harm: Extra, At: 9, Kind: List, Kinds: []Kind{Get}, Skip: 2, Times: 3, Status: 503, Code: "SlowDown", For: time.Second}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Fault
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
	for _, bad := range []string{`{"harm": "flood"}`, `{"kind": "get"}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if s := fmt.Sprint(Silence, Stall, Cut, Shift, Extra); s != "silence stall cut shift extra" {
		t.Error(s)
	}
}
