package mount

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

// ledger is an HTTP proxy in front of a store that writes down what the store is asked, range by range, and can spoil
// answers. It changes nothing else: Host is the one that was signed.
type ledger struct {
	store   *testenv.Server // through the ledger
	backend *url.URL
	next    *http.Transport
	ended   chan struct{} // closed at the test's end: nothing stands still any more

	mu struct {
		sync.Mutex
		asked  []asked
		flying int // GETs
		most   int
		others int // requests of other kinds that are going on
		delay  time.Duration
		spoil  func(asked) spoiled
	}
}

// asked is one request.
type asked struct {
	kind   string // GET and HEAD of an object, LIST, else the method
	key    string
	off    int64 // of a GET
	length int64 // of a GET, -1 for everything
	bytes  int64 // of the answer's body that were passed on
}

func (a asked) String() string {
	if a.kind != "GET" {
		return a.kind + " " + a.key
	}
	return fmt.Sprintf("GET %s [%d, +%d) -> %d", a.key, a.off, a.length, a.bytes)
}

// spoiled is what becomes of an answer's body behind its first bytes.
type spoiled struct {
	how    func(l *ledger, r *http.Request) // nil: nothing
	after  int64
	unsaid bool // the answer's length says that this is all
}

// standStill passes nothing on any more, until the client goes or the test ends.
func standStill(l *ledger, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-l.ended:
	}
	breakOff(l, r)
}

// breakOff closes the connection.
func breakOff(*ledger, *http.Request) { panic(http.ErrAbortHandler) }

// endEarly ends the answer as if that were all.
func endEarly(*ledger, *http.Request) {}

// watch puts a ledger before a store.
func watch(t *testing.T, s *testenv.Server) *ledger {
	t.Helper()
	backend, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{backend: backend, ended: make(chan struct{}), next: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256}}
	front := httptest.NewServer(l)
	t.Cleanup(func() {
		close(l.ended)
		front.Close()
		l.next.CloseIdleConnections()
	})
	through := *s
	through.Endpoint = front.URL
	l.store = &through
	return l
}

// watched starts a store, fills a bucket and mounts it behind a ledger.
func watched(t *testing.T, objects map[string][]byte, options ...testenv.Option) (*testenv.Server, string, *ledger, *testenv.MountPoint) {
	t.Helper()
	s := start(t)
	bucket := s.Bucket(t)
	putAll(t, s, bucket, objects)
	l := watch(t, s)
	return s, bucket, l, mount(t, l.store, bucket, options...)
}

// putAll writes many objects behind the mount's back.
func putAll(t *testing.T, s *testenv.Server, bucket string, objects map[string][]byte) {
	t.Helper()
	var putting sync.WaitGroup
	turns := make(chan struct{}, 16)
	for key, content := range objects {
		turns <- struct{}{}
		putting.Go(func() {
			defer func() { <-turns }()
			_, err := s.Client.Put(t.Context(), s3client.PutRequest{Bucket: bucket, Key: key, Body: bytes.NewReader(content), Size: int64(len(content))})
			if err != nil {
				t.Errorf("put %s: %v", key, err)
			}
		})
	}
	putting.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i, spoil, delay := l.begin(r)
	var passed int64
	defer func() { l.end(i, passed) }()
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = l.backend.Scheme, l.backend.Host, ""
	res, err := l.next.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler) // the client sees what it would see of a server that is down
	}
	defer res.Body.Close()
	time.Sleep(delay)
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	if spoil.how == nil || res.StatusCode >= 300 {
		w.WriteHeader(res.StatusCode)
		passed, err = io.Copy(w, res.Body)
	} else {
		err = l.passSome(w, r, res, spoil, &passed)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// passSome passes the first bytes on, and spoils the rest. passed is right also where that ends the handler.
func (l *ledger) passSome(w http.ResponseWriter, r *http.Request, res *http.Response, spoil spoiled, passed *int64) (err error) {
	if spoil.unsaid {
		w.Header().Set("Content-Length", strconv.FormatInt(min(spoil.after, res.ContentLength), 10))
	}
	w.WriteHeader(res.StatusCode)
	*passed, err = io.CopyN(w, res.Body, spoil.after)
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	spoil.how(l, r)
	return nil
}

// begin writes a request down.
func (l *ledger) begin(r *http.Request) (int, spoiled, time.Duration) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a := asked{kind: r.Method, key: key, length: -1}
	if key == "" && r.Method == http.MethodGet && !r.URL.Query().Has("location") {
		a.kind = "LIST"
	}
	if a.kind == http.MethodGet {
		var last int64
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &a.off, &last); n == 2 {
			a.length = last - a.off + 1
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.asked = append(l.mu.asked, a)
	if a.kind != http.MethodGet {
		l.mu.others++
		return len(l.mu.asked) - 1, spoiled{}, 0
	}
	l.mu.flying++
	l.mu.most = max(l.mu.most, l.mu.flying)
	var spoil spoiled
	if l.mu.spoil != nil {
		spoil = l.mu.spoil(a)
	}
	return len(l.mu.asked) - 1, spoil, l.mu.delay
}

func (l *ledger) end(i int, passed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.mu.asked[i]
	a.bytes = passed
	if a.kind == http.MethodGet {
		l.mu.flying--
	} else {
		l.mu.others--
	}
}

// spoil asks of each GET from now on what shall become of its answer; nil: nothing.
func (l *ledger) spoil(how func(asked) spoiled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.spoil = how
}

// delay lets each answer to a GET come so much later.
func (l *ledger) delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.delay = d
}

// tally is what was asked.
type tally struct {
	gets, heads, lists, others int
	bytes                      int64 // of the GETs
	twice                      int64 // of these, passed on before
	most                       int   // GETs at once
	asked                      []asked
}

func (c tally) String() string {
	return fmt.Sprintf("%d GETs of %d bytes (%d not for the first time, %d at once), %d HEADs, %d LISTs, %d others",
		c.gets, c.bytes, c.twice, c.most, c.heads, c.lists, c.others)
}

func (c tally) total() int { return c.gets + c.heads + c.lists + c.others }

// page shows the requests, as many as fit.
func (c tally) page() string {
	var b strings.Builder
	for i, a := range c.asked {
		if i == 25 {
			b.WriteString("\n  ...")
			break
		}
		fmt.Fprintf(&b, "\n  %v", a)
	}
	return b.String()
}

// tally waits until nothing is going on and gives what was asked since the last one.
func (l *ledger) tally(t *testing.T) tally {
	t.Helper()
	c := tally{}
	eventually(t, "all requests have ended", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.mu.flying > 0 || l.mu.others > 0 {
			return false
		}
		c.asked, c.most = l.mu.asked, l.mu.most
		l.mu.asked, l.mu.most = nil, 0
		return true
	})
	byKey := map[string][]asked{}
	for _, a := range c.asked {
		switch a.kind {
		case "GET":
			c.gets++
			c.bytes += a.bytes
			byKey[a.key] = append(byKey[a.key], a)
		case "HEAD":
			c.heads++
		case "LIST":
			c.lists++
		default:
			c.others++
		}
	}
	for _, list := range byKey {
		c.twice += again(list)
	}
	return c
}

// again is how many bytes of an object were passed on that were before.
func again(list []asked) (n int64) {
	slices.SortFunc(list, func(a, b asked) int { return int(a.off - b.off) })
	var end int64
	for _, a := range list {
		n += max(min(end, a.off+a.bytes)-a.off, 0)
		end = max(end, a.off+a.bytes)
	}
	return n
}
