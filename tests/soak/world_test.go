package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/tests/lagproxy"
	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

const (
	latency = 3 * time.Millisecond
	// timeout is --timeout: what is documented to end an operation. One of several requests may take it twice.
	timeout  = 30 * time.Second
	longest  = 2 * timeout
	memory   = 64 << 20
	beside   = 60 << 20 // what a process may take beside --memory: its program, the runtime, connections, stacks
	requests = 32
)

// world is one store and all who work on it.
//
//	hosts -> lagproxy (distance, connections that break) -> storeproxy (answers that fail) -> store <- the remote writer
type world struct {
	t       *testing.T
	s       *testenv.Server // directly
	far     *testenv.Server // as the hosts see it
	lag     *lagproxy.Proxy
	spoiler *storeproxy.Proxy
	bucket  string
	source  string // a local tree
	hosts   []*host
	workers []*worker
	failed  chan struct{} // closed at the first error
	mu      struct {
		sync.Mutex
		rnd    *rand.Rand
		faults map[string]int
		errors int
	}
}

// host is a mount, on whatever process it is just now.
type host struct {
	w       *world
	name    string // its durability
	state   string
	m       *testenv.MountPoint
	born    usage // when nobody had used it yet
	addr    string
	most    int64 // the most memory that it had
	reports []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, s: testenv.Store(t), source: t.TempDir(), failed: make(chan struct{})}
	w.mu.rnd, w.mu.faults = rand.New(rand.NewPCG(*seed, 0)), map[string]int{}
	w.bucket = w.s.Bucket(t)
	var err error
	if w.spoiler, err = storeproxy.Open(w.s.Endpoint); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.spoiler.Close)
	w.spoiler.Forget()
	u, err := url.Parse(w.spoiler.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if w.lag, err = lagproxy.Listen("127.0.0.1:0", lagproxy.Options{Backend: u.Host, Latency: latency}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.lag.Close(); err != nil {
			t.Error(err)
		}
	})
	far := *w.s
	far.Endpoint = "http://" + w.lag.Addr()
	w.far = &far
	w.makeSource()
	for _, durability := range []string{"store", "journal"} {
		h := &host{w: w, name: durability, state: t.TempDir()}
		h.mount()
		w.hosts = append(w.hosts, h)
	}
	w.employ()
	return w
}

func (h *host) mount() {
	h.w.t.Helper()
	options := []testenv.Option{testenv.Of(h.w.bucket), testenv.State(h.state),
		testenv.Args("--durability", h.name, "--timeout", timeout.String(), "--memory", fmt.Sprint(memory), "--max-requests", fmt.Sprint(requests),
			"--metrics-addr", "127.0.0.1:0"),
		// What a store with bad moments makes a mount say; a conflict, or damage, is none of it.
		testenv.AllowLog("is tried again", "does not answer", "(is|are) not stored yet", "cannot abort a multipart upload", "was never answered",
			"^.*level=WARN.* failed.* errno=\"stale")}
	if h.name == "store" { // one of them with a disk cache
		options = append(options, testenv.Args("--cache-size", "64MiB"))
	}
	if h.m != nil {
		options = append(options, testenv.At(h.m.Dir))
	}
	h.m = testenv.Mount(h.w.t, h.w.far, options...)
	h.addr = "" // known when the control socket is there, a moment behind the mount
	for end := time.Now().Add(timeout); h.addr == ""; time.Sleep(20 * time.Millisecond) {
		if h.addr = h.status().MetricsAddr; h.addr == "" && time.Now().After(end) {
			h.w.t.Fatalf("%s tells no address of its metrics", h.name)
		}
	}
	h.born = h.usage()
}

// remount ends a host's process, when it has left nothing behind, and starts another one.
func (h *host) remount() {
	h.w.t.Helper()
	h.report()
	h.idle()
	h.m.Unmount()
	h.nothingLeft()
	h.mount()
}

// fail tells of an error; the load ends.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.errors++
	if w.mu.errors <= 20 {
		w.t.Errorf(format, args...)
	}
	if w.mu.errors == 1 {
		close(w.failed)
	}
}

func (w *world) fault(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.faults[kind]++
}

// weather lets things go wrong until it is stopped.
func (w *world) weather(stop <-chan struct{}) {
	if *calm {
		return
	}
	w.answersFail()
	rnd := w.random()
	pause := func(least, most int) bool {
		select {
		case <-stop:
			return false
		case <-time.After(time.Duration(least+rnd.IntN(most-least)) * time.Millisecond):
			return true
		}
	}
	reads := []lagproxy.Kind{lagproxy.Get, lagproxy.Get, lagproxy.List, lagproxy.Head}
	kinds := 10
	if !patient() { // what takes seconds to be noticed is for longer runs
		kinds = 4
	}
	for pause(500, 2500) {
		switch n := rnd.IntN(kinds); {
		case n < 4:
			w.lag.Strike(lagproxy.Fault{Harm: lagproxy.Cut, At: rnd.Int64N(200 << 10), Kind: lagproxy.Get, Times: 1 + rnd.IntN(3)})
			w.fault("bodies cut off")
		case n < 7:
			w.lag.Strike(lagproxy.Fault{Harm: lagproxy.Stall, At: rnd.Int64N(200 << 10), Kind: lagproxy.Get, Times: 1})
			w.fault("bodies that stand still")
		case n < 8:
			w.lag.Strike(lagproxy.Fault{Harm: lagproxy.Silence, Kind: reads[rnd.IntN(len(reads))], Times: 1})
			w.fault("reads without an answer")
		default:
			w.fault("times that the store was away")
			err := w.lag.Leave()
			pause(100, 1500)
			if err = errors.Join(err, w.lag.Return()); err != nil {
				w.fail("the proxy: %v", err)
				return
			}
		}
	}
}

// answersFail lets one request in a hundred fail.
func (w *world) answersFail() {
	rnd := w.random()
	var mu sync.Mutex
	fates := map[string]storeproxy.Fate{
		"500":                      {Act: storeproxy.Refuse, Status: 500, Code: "InternalError"},
		"503":                      {Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"},
		"broken off":               {Act: storeproxy.Break},
		"done and broken off":      {Act: storeproxy.DoneLost},
		"done and answered by 500": {Act: storeproxy.DoneFail, Status: 500, Code: "InternalError"},
	}
	names := slices.Sorted(maps.Keys(fates))
	w.spoiler.Meet(func(storeproxy.Request) storeproxy.Fate {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(100) > 0 {
			return storeproxy.Fate{}
		}
		name := names[rnd.IntN(len(names))]
		w.fault("requests " + name)
		return fates[name]
	})
}

// fine ends the bad weather.
func (w *world) fine() {
	w.spoiler.Meet(nil)
	w.lag.Heal()
	if err := w.lag.Return(); err != nil {
		w.fail("the proxy: %v", err)
	}
}

// settle waits until the store has everything, and holds it against what everybody has written.
func (w *world) settle() {
	w.t.Helper()
	for _, h := range w.hosts {
		if out, code := h.m.Command("flush", h.m.Dir); code != 0 {
			w.t.Fatalf("%s: flush: exit code %d\n%s", h.name, code, out)
		}
	}
	want := map[string]want{}
	for _, x := range w.workers {
		maps.Copy(want, x.files)
	}
	found := 0
	for _, key := range w.s.Keys(w.t, w.bucket, "") {
		if strings.HasSuffix(key, "/") {
			continue // a marker
		}
		e, ok := want[key]
		if !ok {
			w.t.Errorf("%s is in the store, and nobody has left it there", key)
			continue
		}
		found++
		if got := sumOf(w.s.Get(w.t, w.bucket, key)); got != e {
			w.t.Errorf("%s in the store: %d bytes, want %d, or other bytes", key, got.size, e.size)
		}
	}
	if found != len(want) {
		w.t.Errorf("%d of %d files are in the store", found, len(want))
	}
	// Each host sees the same, what the other has written too.
	for _, h := range w.hosts {
		for key, e := range want {
			if err := w.eventuallySame(filepath.Join(h.m.Dir, key), e); err != nil {
				w.t.Errorf("%s: %s: %v", h.name, key, err)
			}
		}
		h.settled()
	}
}

// end unmounts all, when they have left nothing behind.
func (w *world) end() {
	for _, h := range w.hosts {
		h.report()
		h.idle()
	}
	uploads, err := w.s.Client.Uploads(context.Background(), w.bucket, "")
	if err != nil && !errors.Is(err, s3client.Unsupported) {
		w.t.Error(err)
	}
	for _, u := range uploads {
		w.t.Errorf("an unfinished upload of %s, begun %v", u.Key, u.Initiated)
	}
	for _, h := range w.hosts {
		h.m.Unmount()
		h.nothingLeft()
	}
}

// summary is what was done and how long it took.
func (w *world) summary() string {
	var b strings.Builder
	steps, bytes, stale := map[string]int64{}, int64(0), int64(0)
	for _, x := range w.workers {
		steps[x.kind] += x.steps.Load()
		bytes += x.bytes.Load()
		stale += x.stale.Load()
	}
	for _, kind := range slices.Sorted(maps.Keys(steps)) {
		fmt.Fprintf(&b, "  %5d times %s\n", steps[kind], kind)
	}
	fmt.Fprintf(&b, "  %d MiB read and written, each byte held against what it should be; %d times a version was gone (ESTALE)\n", bytes>>20, stale)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(w.mu.faults)) {
		fmt.Fprintf(&b, "  faults: %5d %s\n", w.mu.faults[kind], kind)
	}
	for _, h := range w.hosts {
		for _, r := range h.reports {
			fmt.Fprintf(&b, "  %s durability: %s\n", h.name, r)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
