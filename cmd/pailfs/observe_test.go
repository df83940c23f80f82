package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pailfs/cmd/pailfs/metrics"
	"pailfs/fs/opid"
	"pailfs/s3client"
)

// seen is a mount that is observed.
type seen struct {
	why   string
	alive error
}

func (s *seen) Numbers() metrics.Numbers {
	return metrics.Numbers{Mountpoint: "/mnt/x", Unsaved: metrics.Unsaved{Files: 3}}
}
func (s *seen) Ready(context.Context) string { return s.why }
func (s *seen) Alive(context.Context) error  { return s.alive }

func fetch(t *testing.T, network, addr, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}}
	resp, err := client.Get("http://pailfs" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestObserver(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "debug.sock")
	o, err := openObserver(t.Context(), "127.0.0.1:0", "unix:"+socket, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want := func(network, addr, path string, status int, text string) {
		t.Helper()
		if got, body := fetch(t, network, addr, path); got != status || !strings.Contains(body, text) {
			t.Errorf("%s: %d %q, want %d %q", path, got, body, status, text)
		}
	}
	tcp := func(path string, status int, text string) { t.Helper(); want("tcp", o.MetricsAddr, path, status, text) }
	tcp("/livez", 200, "ok")
	tcp("/readyz", 503, mounting)
	tcp("/metrics", 503, mounting)
	s := &seen{}
	o.Mounted(s)
	tcp("/livez", 200, "ok")
	tcp("/readyz", 200, "ok")
	tcp("/metrics", 200, "pailfs_unsaved_files 3\n")
	tcp("/debug/vars", 404, "")
	s.why, s.alive = "the store is\naway", errors.New("stuck")
	tcp("/livez", 503, "stuck")
	tcp("/readyz", 503, "the store is away")
	want("unix", socket, "/debug/vars", 200, `"Files":3`)
	want("unix", socket, "/debug/pprof/goroutine?debug=1", 200, "goroutine profile")
	want("unix", socket, "/metrics", 404, "")
	if fi, err := os.Stat(socket); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	taken, err := openObserver(t.Context(), o.MetricsAddr, "", slog.New(slog.DiscardHandler))
	var f *failure
	if !errors.As(err, &f) || f.code != exitHost || !strings.Contains(f.message, "--metrics-addr "+o.MetricsAddr) || !strings.Contains(f.message, "in use") {
		t.Errorf("%v %v", taken, err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is left")
	}
}

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"9090": "127.0.0.1:9090", ":9090": "127.0.0.1:9090", "0.0.0.0:9090": "0.0.0.0:9090", "[::1]:0": "[::1]:0", "unix:/run/x.sock": "unix:/run/x.sock",
		"host": "", "host:": "", "host:http": "", "unix:": "", "70000": "", "": "",
	} {
		var s settings
		err := parseAddress(func(s *settings) *string { return &s.MetricsAddr })(&s, given)
		if s.MetricsAddr != want || (err == nil) != (want != "" || given == "") {
			t.Errorf("%q: %q, %v", given, s.MetricsAddr, err)
		}
	}
	for given, good := range map[string]bool{"6060": true, "localhost:6060": true, "[::1]:6060": true, "unix:/x": true, "0.0.0.0:6060": false, "host:6060": false} {
		var s settings
		if err := parseAddress(func(s *settings) *string { return &s.DebugAddr }, onLoopback)(&s, given); (err == nil) != good {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestBandwidthIsRead(t *testing.T) {
	for given, want := range map[string]bandwidth{"0": {}, "10MiB": {10 << 20, 10 << 20}, "64KiB:0": {64 << 10, 0}, "0:1G": {0, 1 << 30}} {
		var s, again settings
		if err := parseBandwidth(&s, given); err != nil || s.Bandwidth != want {
			t.Errorf("%s: %+v %v", given, s.Bandwidth, err)
		}
		if err := parseBandwidth(&again, s.Bandwidth.String()); err != nil || again.Bandwidth != want {
			t.Errorf("%s: %+v %v", s.Bandwidth, again.Bandwidth, err)
		}
	}
	for _, given := range []string{"", "1K", "x", "10M:", "1:2:3", "-5"} {
		if err := parseBandwidth(&settings{}, given); err == nil {
			t.Errorf("%q was taken", given)
		}
	}
}

// The store is asked when nothing was heard of it for long, and by one at a time; a refusal is an answer.
func TestStoreProbe(t *testing.T) {
	last, asked, away := time.Now(), 0, false
	var fail error
	p := &storeProbe{answered: func() time.Time { return last }, away: func() bool { return away }, ask: func(context.Context) error {
		asked++
		if fail == nil || errors.Is(fail, s3client.Denied) {
			last, away = time.Now().Add(time.Millisecond), false
		}
		return fail
	}}
	if why := p.unanswered(t.Context()); why != "" || asked != 0 {
		t.Errorf("%q after %d questions", why, asked)
	}
	last, fail = time.Now().Add(-time.Minute), &s3client.Error{Kind: s3client.Temporary, Op: "HEAD Bucket", Err: errors.New("refused")}
	if why := p.unanswered(t.Context()); !strings.Contains(why, "refused") || asked != 1 {
		t.Errorf("%q after %d questions", why, asked)
	}
	fail = &s3client.Error{Kind: s3client.Temporary, Code: "StoreAway", Message: "the store has not answered since noon"}
	if why := p.unanswered(t.Context()); why != "the store has not answered since noon" || asked != 2 {
		t.Errorf("%q after %d questions", why, asked)
	}
	last, away, fail = time.Now(), true, &s3client.Error{Kind: s3client.Denied, Status: 403} // back, after answers seconds ago
	if why := p.unanswered(t.Context()); why != "" || asked != 3 {
		t.Errorf("%q after %d questions", why, asked)
	}
}

func TestOptionsAreChangedOverTheSocket(t *testing.T) {
	mount := &fakeMount{unready: "the store is away", options: map[string]string{"log-level": "info"}}
	s := serveFake(t, t.TempDir(), mount)
	d := s.place.daemon("limit")
	now, err := d.Tune(t.Context(), map[string]string{"bandwidth": "1M"})
	if err != nil || fmt.Sprint(now) != "map[bandwidth:1M log-level:info]" {
		t.Errorf("%v %v", now, err)
	}
	if _, err := d.Tune(t.Context(), map[string]string{"log-level": "loud"}); failureOf(err).code != exitUsage || !strings.Contains(err.Error(), "none of debug") {
		t.Errorf("%v", err)
	}
	if why, err := d.Ready(t.Context()); err != nil || why != "the store is away" {
		t.Errorf("%q %v", why, err)
	}
	mount.unready = ""
	if why, err := d.Ready(t.Context()); err != nil || why != "" {
		t.Errorf("%q %v", why, err)
	}
	s.Drain()
	if why, err := d.Ready(t.Context()); err != nil || !strings.Contains(why, "being unmounted") {
		t.Errorf("%q %v", why, err)
	}
}

func TestLogLevelArguments(t *testing.T) {
	for line, want := range map[string]string{"": ":", "debug": ":debug", "/mnt": "/mnt:", "/mnt warn": "/mnt:warn", "./debug": "./debug:", "a b": "error", "a b c": "error"} {
		given, level, err := levelArguments(strings.Fields(line))
		got := given + ":" + level
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

// Lines have the name of the operation, and the level follows.
func TestTheLogFollowsItsLevelAndNamesOperations(t *testing.T) {
	var b bytes.Buffer
	s := &settings{LogLevel: slog.LevelInfo}
	log := newLog(&b, s)
	ctx := opid.With(t.Context(), opid.ID{Kind: 'f', N: 71})
	log.DebugContext(ctx, "unheard")
	s.level.Set(slog.LevelDebug)
	traceTo(log)(ctx, s3client.Exchange{Op: "GET Object", Bucket: "b", Key: "k\x1b", Status: 206, RequestID: "tx1", Attempt: 2})
	log.With("a", 1).WarnContext(ctx, "heard")
	log.Warn("nobody's")
	text := b.String()
	for _, want := range []string{`call="GET Object" object="b/k\x1b" attempt=2 status=206 request=tx1 took=0s op=f1z`, "msg=heard a=1 op=f1z\n", "msg=nobody's\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "unheard") {
		t.Errorf("%s", text)
	}
}

// To the journal of systemd a line has its priority first, and no time.
func TestJournalLines(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newJournalLines(&b, slog.LevelDebug))
	log.Error("e", "k", "two\nlines")
	log.With("a", 1).Warn("w")
	log.WithGroup("g").Info("i", "b", 2)
	log.Debug("d")
	const want = "<3>level=ERROR msg=e k=\"two\\nlines\"\n<4>level=WARN msg=w a=1\n<6>level=INFO msg=i g.b=2\n<7>level=DEBUG msg=d\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for stream, want := range map[string]bool{"": false, "1:2": false} {
		if got := toJournal(f, func(string) string { return stream }); got != want {
			t.Errorf("%q: %v", stream, got)
		}
	}
}

// One close that fails, by several descriptors, is one line; another errno is another.
func TestOneFailedCloseIsOneLine(t *testing.T) {
	var b strings.Builder
	log := slog.New(newRepeats(slog.NewTextHandler(&b, nil), func() time.Time { return testNow }))
	for range 3 {
		log.Warn("store failed", "path", "b/a", "errno", "stale file handle", "err", "conflict")
	}
	log.Warn("store failed", "path", "b/a", "errno", "input/output error", "err", "gone")
	log.Warn("store failed", "path", "b/b", "errno", "stale file handle", "err", "conflict")
	if n := strings.Count(b.String(), "\n"); n != 3 {
		t.Errorf("%d lines\n%s", n, b.String())
	}
}
