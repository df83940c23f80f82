package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pailfs/s3client"
)

// fakeMount is a mount without rooms.
type fakeMount struct {
	status  *statusReport // nil: a plain one
	uploads []runningUpload
	unready string // why it is not ready
	options map[string]string
	refresh func(ctx context.Context, path string) error
	flush   func(ctx context.Context, path string, report func(flushProgress)) (flushProgress, error)
	warm    func(ctx context.Context, path string, jobs int, report func(warmProgress)) (warmProgress, error)
}

func (f *fakeMount) Status() statusReport {
	if f.status != nil {
		return *f.status
	}
	return statusReport{Mountpoint: "/mnt/x", Source: "b", Requests: &s3client.Counts{Get: 7}}
}

func (f *fakeMount) Ready(context.Context) string { return f.unready }

func (f *fakeMount) Tune(change map[string]string) (map[string]string, error) {
	if v, ok := change["log-level"]; ok && v == "loud" {
		return nil, usagef("", "--log-level: %q is none of debug, info, warn, error", v)
	}
	maps.Copy(f.options, change)
	return f.options, nil
}

func (f *fakeMount) Uploads() []runningUpload { return f.uploads }

func (f *fakeMount) Refresh(ctx context.Context, path string) error { return f.refresh(ctx, path) }

func (f *fakeMount) Flush(ctx context.Context, path string, report func(flushProgress)) (flushProgress, error) {
	return f.flush(ctx, path, report)
}

func (f *fakeMount) Warm(ctx context.Context, path string, jobs int, report func(warmProgress)) (warmProgress, error) {
	return f.warm(ctx, path, jobs, report)
}

// served is a fake mount that answers on a socket.
type served struct {
	*control
	runtime *runtimeFile
	place   *place
}

func serveFake(t *testing.T, dir string, mount *fakeMount) served {
	t.Helper()
	r := openTestRuntime(t, dir)
	t.Cleanup(func() { r.Discard() }) // a test may have finished it
	c, err := startControl(t.Context(), dir, "/mnt/x", mount, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // a test may have closed it
	if err := r.Socket(filepath.Base(c.path)); err != nil {
		t.Fatal(err)
	}
	return served{c, r, &place{mountpoint: "/mnt/x", path: "dir", view: viewOf(t, dir)}}
}

func TestTheControlSocketAnswers(t *testing.T) {
	var refreshed string
	s := serveFake(t, t.TempDir(), &fakeMount{refresh: func(_ context.Context, path string) error {
		if refreshed = path; path == "bad" {
			return &failure{code: exitDenied, message: "cannot list bad: the store denies it", hint: "ask the owner"}
		}
		return nil
	}})
	d := s.place.daemon("refresh")
	got, err := d.Status(t.Context())
	if err != nil || got.State != stateServing || got.PID != os.Getpid() || got.Version == "" || got.Mountpoint != "/mnt/x" || got.Requests.Get != 7 {
		t.Errorf("%+v %v", got, err)
	}
	if err := d.Refresh(t.Context(), "a/b 한글 \x01"); err != nil || refreshed != "a/b 한글 \x01" {
		t.Errorf("%q %v", refreshed, err)
	}
	f := failureOf(d.Refresh(t.Context(), "bad"))
	if f.code != exitDenied || f.Error() != "refresh: /mnt/x: cannot list bad: the store denies it" || f.hint != "ask the owner" {
		t.Errorf("%+v", f)
	}
	fi, err := os.Stat(s.path)
	if err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v %v", fi, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if f := failureOf(d.Refresh(t.Context(), "a")); f.code != exitMountPoint || !strings.Contains(f.message, "does not listen") {
		t.Errorf("%+v", f)
	}
}

func TestWarmStreams(t *testing.T) {
	seen := make(chan struct{}) // closed when the client has seen progress
	s := serveFake(t, t.TempDir(), &fakeMount{warm: func(_ context.Context, path string, jobs int, report func(warmProgress)) (warmProgress, error) {
		if path != "dir" || jobs != 3 {
			t.Errorf("%q %d", path, jobs)
		}
		report(warmProgress{Files: 4, FilesDone: 1, Bytes: 40, BytesDone: 10, Path: "dir/a"})
		<-seen
		report(warmProgress{Files: 4, FilesDone: 1, Bytes: 40, BytesDone: 10, Failed: 1, Path: "dir/b", Error: "denied"})
		report(warmProgress{Files: 4, FilesDone: 1, Bytes: 40, BytesDone: 10, Failed: 2, Path: "dir/c", Error: "gone"})
		report(warmProgress{Files: 4, FilesDone: 2, Bytes: 40, BytesDone: 20, Failed: 2, Path: "dir/d"})
		return warmProgress{Files: 4, FilesDone: 2, Bytes: 40, BytesDone: 20, Failed: 2}, nil
	}})
	var failed []warmFailure
	lines := 0
	result, err := s.place.daemon("warm").Warm(t.Context(), "dir", 3, func(l warmLine) {
		if lines++; lines == 1 {
			if l.Progress.BytesDone != 10 || l.Done {
				t.Errorf("%+v", l)
			}
			close(seen)
		}
		failed = append(failed, l.Failed...)
	})
	if err != nil || result != (warmProgress{Files: 4, FilesDone: 2, Bytes: 40, BytesDone: 20, Failed: 2}) {
		t.Errorf("%+v %v", result, err)
	}
	if len(failed) != 2 || failed[0] != (warmFailure{"dir/b", "denied"}) || failed[1] != (warmFailure{"dir/c", "gone"}) {
		t.Errorf("%+v", failed)
	}
}

func TestAClientThatLeavesEndsItsWarm(t *testing.T) {
	ended := make(chan error, 1)
	began := make(chan struct{})
	s := serveFake(t, t.TempDir(), &fakeMount{warm: func(ctx context.Context, _ string, _ int, _ func(warmProgress)) (warmProgress, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return warmProgress{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := s.place.daemon("warm").Warm(ctx, "", 1, func(warmLine) {})
	if f := failureOf(err); f.code != exitInterrupted {
		t.Errorf("%+v", f)
	}
	<-ended
}

func TestAnUnmountEndsAWarmAndNotStatus(t *testing.T) {
	began := make(chan struct{})
	s := serveFake(t, t.TempDir(), &fakeMount{warm: func(ctx context.Context, _ string, _ int, report func(warmProgress)) (warmProgress, error) {
		report(warmProgress{Files: 2, FilesDone: 1})
		close(began)
		<-ctx.Done()
		return warmProgress{Files: 2, FilesDone: 1}, ctx.Err()
	}, refresh: func(ctx context.Context, _ string) error { return ctx.Err() }})
	go func() {
		<-began
		s.Drain()
	}()
	d := s.place.daemon("warm")
	result, err := d.Warm(t.Context(), "", 1, func(warmLine) {})
	if f := failureOf(err); f.code != exitMountPoint || !strings.Contains(f.message, "being unmounted") || result.FilesDone != 1 {
		t.Errorf("%+v %+v", result, f)
	}
	if got, err := d.Status(t.Context()); err != nil || got.State != stateDraining {
		t.Errorf("%+v %v", got, err)
	}
	if f := failureOf(d.Refresh(t.Context(), "")); f.code != exitMountPoint || !strings.Contains(f.message, "being unmounted") {
		t.Errorf("%+v", f)
	}
}

func TestCloseWaitsForTheAnswers(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	s := serveFake(t, t.TempDir(), &fakeMount{warm: func(ctx context.Context, _ string, _ int, _ func(warmProgress)) (warmProgress, error) {
		close(began)
		<-ctx.Done()
		defer close(ended)
		return warmProgress{}, ctx.Err()
	}})
	left := make(chan struct{})
	go func() {
		defer close(left)
		s.place.daemon("warm").Warm(t.Context(), "", 1, func(warmLine) {}) // its error is the end
	}()
	<-began
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("closed while a mount was still asked")
	}
	<-left
}

func TestPathsOfAnyLength(t *testing.T) {
	for _, mountpoint := range []string{"/mnt/x", "/" + strings.Repeat("한글/", 60) + "x"} {
		dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "run")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		c, err := startControl(t.Context(), dir, mountpoint, &fakeMount{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(c.path); name != socketName(mountpoint) || len(name) > longestSocketName {
			t.Errorf("%s", name)
		}
		conn, err := dialControl(t.Context(), dir, socketName(mountpoint), ownOrRoot)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v %v", left, err)
		}
	}
	if socketName("/a/"+strings.Repeat("x", 100)) == socketName("/b/"+strings.Repeat("x", 100)) {
		t.Error("two mounts have one socket")
	}
}

func TestALeftoverSocketIsReplacedAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, socketName("/mnt/x"))
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close() // as a killed process does
	r := openTestRuntime(t, dir)
	defer r.Discard()
	if err := r.Socket(filepath.Base(path)); err != nil {
		t.Fatal(err)
	}
	d := daemon{viewOf(t, dir), "status", "/mnt/x"}
	if _, err := d.Status(t.Context()); failureOf(err).code != exitMountPoint {
		t.Errorf("%v", err)
	}
	c, err := startControl(t.Context(), dir, "/mnt/x", &fakeMount{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Status(t.Context()); err != nil || got.State != stateServing {
		t.Errorf("%+v %v", got, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := startControl(t.Context(), dir, "/mnt/x", &fakeMount{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is no socket was taken away")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("%q %v", b, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	dir := t.TempDir()
	l, path, err := listenControl(t.Context(), dir, "s.sock")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan uint32, 1)
	accepted := make(chan error, 1)
	go func() {
		_, err := peerListener{l, func(uid uint32) bool { asked <- uid; return false }, slog.New(slog.DiscardHandler)}.Accept()
		accepted <- err
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if uid := <-asked; int(uid) != os.Geteuid() {
		t.Errorf("user %d", uid)
	}
	if _, err := dialControl(t.Context(), dir, "s.sock", func(uint32) bool { return false }); err == nil || !strings.Contains(err.Error(), "answers there") {
		t.Errorf("a client talks to a stranger: %v", err)
	}
	l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// request sends a raw request to the socket.
func (s served) request(t *testing.T, method, path, protocol, body string) (status int, answer string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", s.path) }}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://pailfs"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(headerProtocol, protocol)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get(headerProtocol) != "1" {
		t.Errorf("%s %s: the answer names no protocol", method, path)
	}
	return resp.StatusCode, string(b)
}

func TestRequestsThatAreNone(t *testing.T) {
	s := serveFake(t, t.TempDir(), &fakeMount{refresh: func(_ context.Context, path string) error {
		t.Errorf("refreshed %q", path)
		return nil
	}})
	for _, c := range []struct {
		method, path, protocol, body string
		status                       int
		says                         string
	}{
		{"GET", "/status", "2", "", 400, `protocol \"2\"`},
		{"GET", "/status", "", "", 400, "protocol"},
		{"POST", "/status", "1", "", 405, ""},
		{"GET", "/nothing", "1", "", 404, ""},
		{"POST", "/refresh", "1", "x", 400, "no JSON"},
		{"POST", "/refresh", "1", `{"path":"` + strings.Repeat("a", mostRequestBytes) + `"}`, 400, "too large"},
		{"POST", "/refresh", "1", `{"path":"` + strings.Repeat("a", longestPath+1) + `"}`, 400, "too long"},
		{"POST", "/refresh", "1", `{"path":"/a"}`, 400, "no path"},
		{"POST", "/refresh", "1", `{"path":"a/../../b"}`, 400, "no path"},
		{"POST", "/refresh", "1", `{"path":"a//b"}`, 400, "no path"},
		{"POST", "/refresh", "1", `{"path":"a\u0000"}`, 400, "no path"},
		{"POST", "/flush", "1", `{"path":"a/.."}`, 400, "no path"},
		{"POST", "/flush", "1", `{"path":"a","timeout":-1}`, 400, "timeout"},
		{"POST", "/flush", "1", `{"path":"a","timeout":1e300}`, 400, "timeout"},
		{"GET", "/flush", "1", "", 405, ""},
		{"POST", "/warm", "1", `{"path":"a","jobs":-1}`, 400, "jobs"},
		{"POST", "/warm", "1", `{"path":"a","jobs":100000}`, 400, "jobs"},
	} {
		if status, answer := s.request(t, c.method, c.path, c.protocol, c.body); status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s %s %.40s: %d %s", c.method, c.path, c.body, status, answer)
		}
	}
}

func TestAnotherProtocolIsSaid(t *testing.T) {
	for _, c := range []struct {
		protocol, version string
		code              int
		says, hint        string
	}{
		{"2", "9.9", exitGeneral, "it is served by pailfs 9.9, which this pailfs", "use the pailfs that mounted it"},
		{"", "", exitGeneral, "no pailfs", ""},
	} {
		dir := t.TempDir()
		r := openTestRuntime(t, dir)
		l, path, err := listenControl(t.Context(), dir, "s.sock")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.protocol != "" {
				w.Header().Set(headerProtocol, c.protocol)
				w.Header().Set(headerVersion, c.version)
			}
			io.WriteString(w, `{"state":"serving"}`)
		})}
		done := make(chan error)
		go func() { done <- server.Serve(l) }()
		if err := r.Socket(filepath.Base(path)); err != nil {
			t.Fatal(err)
		}
		_, err = daemon{viewOf(t, dir), "status", "/mnt/x"}.Status(t.Context())
		if f := failureOf(err); f.code != c.code || !strings.Contains(f.message, c.says) || !strings.Contains(f.hint, c.hint) {
			t.Errorf("%+v", f)
		}
		server.Close()
		<-done
		if err := r.Discard(); err != nil {
			t.Error(err)
		}
	}
}
