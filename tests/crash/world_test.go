package crash

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"pailfs/s3client"
	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// world is a bucket with a state directory and what was done there.
type world struct {
	name    string
	journal bool
	faults  bool
	s       *testenv.Server // directly
	far     *testenv.Server // as the mount sees it
	p       *storeproxy.Proxy
	bucket  string
	dir     string // mount point
	state   string
	cache   string // of the disk
	trace   *trace
	ledger  *ledger
	counts  counts
	looked  map[string]string // by path: the ETag under which it was looked at
	log     string            // of the mount that was killed last
}

// counts are what a world went through, and what was wrong.
type counts struct {
	kills, starting                    int          // starting: those of a mount that was not there yet
	operations, failed, bytes, checked atomic.Int64 // checked: acknowledged ones that the store was asked for
	open                               atomic.Int64 // operations that a kill found going on
	observed, absent                   atomic.Int64 // what another client read
	uploads                            int          // found after kills
	requests                           atomic.Int64
	trees                              atomic.Int64 // directories renamed
	caches                             int          // damaged
	lost, torn, orphans                atomic.Int64
}

func (c *counts) add(d *counts) {
	c.kills, c.starting, c.uploads, c.caches = c.kills+d.kills, c.starting+d.starting, c.uploads+d.uploads, c.caches+d.caches
	for _, n := range []struct{ to, from *atomic.Int64 }{
		{&c.operations, &d.operations}, {&c.failed, &d.failed}, {&c.bytes, &d.bytes}, {&c.checked, &d.checked}, {&c.open, &d.open},
		{&c.observed, &d.observed}, {&c.absent, &d.absent}, {&c.requests, &d.requests}, {&c.lost, &d.lost}, {&c.torn, &d.torn},
		{&c.orphans, &d.orphans}, {&c.trees, &d.trees},
	} {
		n.to.Add(n.from.Load())
	}
}

func (c *counts) String() string {
	return fmt.Sprintf("%d kills, %d more while starting; %d operations acknowledged (%d MiB, %d directories renamed), %d failed, %d cut off; %d disk caches damaged; asked the store for %d; "+
		"another client read %d objects and %d absent ones; kills left %d uploads; lost %d, torn %d, orphan uploads %d",
		c.kills, c.starting, c.operations.Load(), c.bytes.Load()>>20, c.trees.Load(), c.failed.Load(), c.open.Load(), c.caches, c.checked.Load(),
		c.observed.Load(), c.absent.Load(), c.uploads, c.lost.Load(), c.torn.Load(), c.orphans.Load())
}

func newWorld(t *testing.T, s *testenv.Server, journal, faults bool) *world {
	t.Helper()
	tr := &trace{}
	w := &world{name: "store", journal: journal, faults: faults, s: s, far: s, bucket: s.Bucket(t), trace: tr, ledger: newLedger(tr),
		dir: t.TempDir(), state: t.TempDir(), cache: t.TempDir(), looked: map[string]string{}}
	if journal {
		w.name = "journal"
	}
	if faults {
		w.name += ", faults"
		p, err := storeproxy.Open(s.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		p.Forget()
		far := *s
		far.Endpoint = p.Endpoint()
		w.p, w.far = p, &far
	}
	return w
}

var acts = map[storeproxy.Act]string{storeproxy.Pass: "passes", storeproxy.Refuse: "refused", storeproxy.Break: "broken off",
	storeproxy.DoneLost: "done and broken off", storeproxy.DoneFail: "done and refused", storeproxy.DoneHold: "done and never answered"}

// spoil lets one request in ten fail. Silence costs the time-out, so that it comes only while a kill ends the waiting.
func (w *world) spoil(seed uint64, silence bool) {
	if w.p == nil {
		return
	}
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 1))
	fates := []storeproxy.Fate{
		{Act: storeproxy.Refuse, Status: 500, Code: "InternalError"}, {Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"},
		{Act: storeproxy.Break}, {Act: storeproxy.DoneLost}, {Act: storeproxy.DoneFail, Status: 500, Code: "InternalError"},
	}
	if silence {
		fates = append(fates, storeproxy.Fate{Act: storeproxy.DoneHold})
	}
	w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
		w.counts.requests.Add(1)
		mu.Lock()
		defer mu.Unlock()
		var fate storeproxy.Fate
		if rnd.IntN(10) == 0 {
			fate = fates[rnd.IntN(len(fates))]
		}
		if r.Key != "" {
			w.trace.add(r.Key, "request: %s, upload %q, %d bytes: %s", r.Op, r.UploadID, r.Size, acts[fate.Act])
		}
		return fate
	})
}

func (w *world) options() []testenv.Option {
	options := []testenv.Option{testenv.Of(w.bucket), testenv.At(w.dir), testenv.State(w.state), testenv.Args("--timeout", "20s"),
		testenv.Args("--provider", "minio"), // such a store joins parts at once: after a kill nothing need be waited for
		testenv.Args("--cache-dir", w.cache, "--cache-size", "64MiB"),
		testenv.Args("--log-level", "debug"), testenv.AllowLog(".")}
	if w.journal {
		options = append(options, testenv.Args("--durability", "journal"))
	}
	return options
}

func (w *world) mount(t *testing.T) *testenv.MountPoint {
	t.Helper()
	return testenv.Mount(t, w.far, w.options()...)
}

// wrong counts and tells what must not be, and what led to it. found is one of the world's counts.
func (w *world) wrong(t *testing.T, found *atomic.Int64, p, format string, args ...any) {
	t.Helper()
	found.Add(1)
	t.Errorf("%s: %s: %s%s", w.name, p, fmt.Sprintf(format, args...), w.trace.of(p))
}

// get reads an object as another client does.
func (w *world) get(p string) (body, s3client.Object, error) {
	rc, o, err := w.s.Client.Get(context.Background(), s3client.GetRequest{Bucket: w.bucket, Key: p})
	if err != nil {
		return nil, o, err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return nil, o, err
	}
	found, err := parse(b)
	return found, o, err
}
