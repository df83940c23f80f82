package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pailfs/tests/lagproxy"
	"pailfs/tests/testenv"
)

func itoa(n int) string { return strconv.Itoa(n) }

// timeout is --timeout of the mounts: what a fault that does not end costs an operation, each time it waits.
const timeout = 3 * time.Second

// worker is a mount of a whole account behind a proxy of its own, and a bucket. It does one thing at a time.
type worker struct {
	t          *testing.T
	s          *testenv.Server // past the proxy
	p          *lagproxy.Proxy
	m          *testenv.MountPoint
	bucket     string
	durability string
	metrics    *http.Client
	control    *http.Client
	cells      int
	dead       bool // its mount hung
}

func newWorker(t *testing.T, s *testenv.Server, durability string, options ...testenv.Option) *worker {
	t.Helper()
	w := &worker{t: t, s: s, durability: durability, bucket: s.Bucket(t)}
	p, err := lagproxy.Listen("127.0.0.1:0", lagproxy.Options{Backend: strings.TrimPrefix(s.Endpoint, "http://"), Remember: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() }) // of a listener that has left it says that it is closed
	w.p = p
	w.mount(options...)
	return w
}

// mount mounts, also again at the same place.
func (w *worker) mount(more ...testenv.Option) {
	w.t.Helper()
	far := *w.s
	far.Endpoint = "http://" + w.p.Addr()
	dir, err := os.MkdirTemp("", "pff-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(dir) }) // a socket: what is left of it fails the run of .ci
	socket := filepath.Join(dir, "m")
	options := []testenv.Option{testenv.AllowLog("."), testenv.Args("--durability", w.durability, "--timeout", timeout.String(), "--xattr",
		"--part-size", "5MiB", "--verify", "full", "--memory", "64MiB", "--metrics-addr", "unix:"+socket)}
	if w.m != nil {
		options = append(options, testenv.At(w.m.Dir), testenv.State(w.m.StateDir))
	}
	w.m = testenv.Mount(w.t, &far, append(options, more...)...)
	w.metrics = over(w.t, socket)
	w.control = over(w.t, w.controlSocket())
}

// over is a client of a UNIX socket.
func over(t *testing.T, socket string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// controlSocket is how `pailfs flush` and `status` talk to the mount. It is there a moment after the mount.
func (w *worker) controlSocket() string {
	w.t.Helper()
	dir := ""
	for _, v := range w.m.RunEnv() {
		if d, ok := strings.CutPrefix(v, "PAILFS_RUN_DIR="); ok {
			dir = d
		}
	}
	var found []string
	if not := eventually(10*time.Second, func() string {
		found, _ = filepath.Glob(filepath.Join(dir, "*.sock")) // the pattern is good
		if len(found) != 1 {
			return fmt.Sprintf("%d control sockets in %q", len(found), dir)
		}
		return ""
	}); not != "" {
		w.t.Fatal(not)
	}
	return found[0]
}

// ask sends a request to the control socket.
func (w *worker) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://mount"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Pailfs-Protocol", "1")
	return w.control.Do(req)
}

// errLeft is a flush that has not stored everything.
var errLeft = errors.New("not everything is stored")

// flush is `pailfs flush` of a path below the mount point.
func (w *worker) flush(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := w.ask(ctx, "POST", "/flush", map[string]any{"path": path})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var last struct {
		Done    bool
		Failure *struct{ Message string }
		Message string
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return fmt.Errorf("flush: %w: %s", err, lines.Bytes())
		}
	}
	switch {
	case lines.Err() != nil:
		return lines.Err()
	case last.Failure != nil:
		return fmt.Errorf("%w: %s", errLeft, last.Failure.Message)
	case !last.Done:
		return fmt.Errorf("%w: %s", errLeft, last.Message)
	}
	return nil
}

// path is a path below the worker's bucket.
func (w *worker) path(elem ...string) string {
	return w.m.Path(append([]string{w.bucket}, elem...)...)
}

// eventually waits until something is so; the answer says what is not, "" when it is.
func eventually(limit time.Duration, look func() string) string {
	for until := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		not := look()
		if not == "" || time.Now().After(until) {
			return not
		}
	}
}
