package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

var (
	kills = flag.Int("kills", 10, "how many times a mount is killed")
	seed  = flag.Uint64("seed", 0, "of the random numbers; 0: another one each time")
	only  = flag.String("durability", "store", "store or journal: this one alone; both: in turns")
)

func TestMain(m *testing.M) {
	flag.Parse()
	testenv.Main(m)
}

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
	ledger  *ledger
	kills   int
	looked  map[string]string // by path: the ETag under which it was looked at
}

func newWorld(t *testing.T, s *testenv.Server, journal, faults bool) *world {
	t.Helper()
	w := &world{name: "store", journal: journal, faults: faults, s: s, far: s, bucket: s.Bucket(t), ledger: newLedger(),
		dir: t.TempDir(), state: t.TempDir(), looked: map[string]string{}}
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
	w.p.Meet(func(storeproxy.Request) storeproxy.Fate {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(10) > 0 {
			return storeproxy.Fate{}
		}
		return fates[rnd.IntN(len(fates))]
	})
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

func (w *world) mount(t *testing.T) *testenv.MountPoint {
	t.Helper()
	options := []testenv.Option{testenv.Of(w.bucket), testenv.At(w.dir), testenv.State(w.state), testenv.Args("--timeout", "20s"),
		testenv.Args("--provider", "minio"), // such a store joins parts at once: after a kill nothing need be waited for
		testenv.AllowLog(".")}
	if w.journal {
		options = append(options, testenv.Args("--durability", "journal"))
	}
	return testenv.Mount(t, w.far, options...)
}

// TestCrash is what this package is for.
func TestCrash(t *testing.T) {
	testenv.Require(t)
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	say("crash: %d kills, -seed %d", *kills, *seed)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	// On a server of its own whatever the environment says: another one is too far for so many rounds.
	s := testenv.StoreIn(t, t.TempDir())
	worlds := []*world{newWorld(t, s, false, false), newWorld(t, s, true, false), newWorld(t, s, false, true), newWorld(t, s, true, true)}
	if *only != "both" {
		worlds = slices.DeleteFunc(worlds, func(w *world) bool { return w.journal != (*only == "journal") })
	}
	var counts counts
	began := time.Now()
	for i := range *kills {
		w := worlds[i%len(worlds)]
		t.Run(fmt.Sprintf("kill %d (%s)", i, w.name), func(t *testing.T) {
			w.round(t, rand.New(rand.NewPCG(rnd.Uint64(), rnd.Uint64())), &counts)
		})
		if t.Failed() {
			say("crash: kill %d (%s) of -seed %d FAILED", i, w.name, *seed)
			break
		}
		if i%20 == 19 {
			say("crash: %d kills in %v; %s", i+1, time.Since(began).Round(time.Second), counts.String())
		}
	}
	for _, w := range worlds {
		t.Run("afterwards ("+w.name+")", func(t *testing.T) { w.last(t, &counts) })
	}
	var spoiled int64
	for _, w := range worlds {
		if w.p != nil {
			spoiled += w.p.Spoiled()
		}
		say("crash: %s: %d kills", w.name, w.kills)
	}
	say("crash: -seed %d: %s; %d requests spoiled", *seed, counts.String(), spoiled)
}

func (c *counts) String() string {
	return fmt.Sprintf("%d operations acknowledged (%d MiB), %d failed, %d cut off; %d times looked whether the store has it; another client read %d whole objects and %d absent ones",
		c.operations.Load(), c.bytes.Load()>>20, c.failed.Load(), c.open.Load(), c.checked.Load(), c.observed.Load(), c.absent.Load())
}

// say prints at once; what a test logs is shown at its end.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// round mounts what the kill before it left, looks at it, lets the writers work, and kills.
func (w *world) round(t *testing.T, rnd *rand.Rand, counts *counts) {
	w.spoil(rnd.Uint64(), false)
	m := w.mount(t)
	// Now and then the next load, and the next kill, come while this mount is still recovering.
	if rnd.IntN(4) > 0 {
		w.lookAtOnce(t, m)
		w.settle(t, m)
	}
	if t.Failed() {
		m.Kill()
		return
	}
	w.spoil(rnd.Uint64(), true)
	stop := make(chan struct{})
	var working, observing sync.WaitGroup
	for i := range 4 {
		x := &writer{t: t, w: w, root: m.Dir, name: fmt.Sprintf("w%d", i), large: i == 3, rnd: rand.New(rand.NewPCG(rnd.Uint64(), uint64(i))), counts: counts, stop: stop}
		working.Go(x.run)
	}
	unobserved := make(chan struct{})
	observing.Go(func() { w.observe(t, rand.New(rand.NewPCG(rnd.Uint64(), 9)), counts, unobserved) })
	time.Sleep(time.Duration(100+rnd.IntN(1500)) * time.Millisecond) // the moment of the kill
	close(stop)
	m.Kill()
	w.kills++
	working.Wait()
	close(unobserved)
	observing.Wait()
}

// last mounts, looks, and unmounts: everything is in the store, and nothing is left behind.
func (w *world) last(t *testing.T, counts *counts) {
	if w.p != nil {
		w.p.Meet(nil)
	}
	m := w.mount(t)
	w.lookAtOnce(t, m)
	w.settle(t, m)
	m.Unmount()
	w.compare(t, nil)
}

// lookAtOnce sees that what was acknowledged is shown by a mount that has just begun.
func (w *world) lookAtOnce(t *testing.T, m *testenv.MountPoint) {
	t.Helper()
	for _, p := range w.ledger.paths() {
		want, sure := w.ledger.certain(p)
		if !sure {
			continue
		}
		fi, err := os.Lstat(m.Path(p))
		switch {
		case want.kind == 0 && os.IsNotExist(err):
		case err != nil:
			t.Errorf("%s: %s was acknowledged as %s; at once after the kill: %v", w.name, p, want.name(), err)
		case want.kind == 0:
			t.Errorf("%s: %s was removed; at once after the kill it has %d bytes", w.name, p, fi.Size())
		case want.kind == 'f' && !want.torn && (fi.Size() != want.body.size() || uint32(fi.Mode().Perm()) != want.mode):
			t.Errorf("%s: %s was acknowledged as %s; at once after the kill it has %d bytes, mode %v", w.name, p, want.name(), fi.Size(), fi.Mode())
		case (want.kind == 'd') != fi.IsDir():
			t.Errorf("%s: %s was acknowledged as %s; at once after the kill it is %v", w.name, p, want.name(), fi.Mode())
		}
	}
}

// settle waits until the store has everything, compares, and says in the ledger what is there.
func (w *world) settle(t *testing.T, m *testenv.MountPoint) {
	t.Helper()
	if out, code := m.Command("flush", m.Dir); code != 0 {
		t.Errorf("%s: flush: exit code %d\n%s", w.name, code, out)
		return
	}
	w.compare(t, m)
	for end := time.Now().Add(150 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left, err := w.s.Client.Uploads(context.Background(), w.bucket, "")
		if err == nil && len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s: uploads are left after recovery: %v, %v", w.name, left, err)
			return
		}
	}
}

// compare compares bucket and ledger, and the mount with both.
func (w *world) compare(t *testing.T, m *testenv.MountPoint) {
	t.Helper()
	objects := map[string]s3client.Object{}
	for after := ""; ; {
		page, err := w.s.Client.List(context.Background(), s3client.ListRequest{Bucket: w.bucket, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			objects[o.Key] = o
		}
		if after = page.Next; after == "" {
			break
		}
	}
	found := map[string]state{}
	for _, p := range w.ledger.paths() {
		s := w.found(t, objects, p)
		if ok, possible := w.ledger.may(p, s); !ok {
			t.Errorf("%s: %s is %s; it can only be one of %q", w.name, p, s.name(), possible)
		}
		found[p] = s
		w.shown(t, m, p, s)
	}
	for _, move := range w.ledger.openMoves() {
		if found[move.from].name() != move.what.name() && found[move.to].name() != move.what.name() {
			t.Errorf("%s: a rename lost %s: %s is %s, %s is %s", w.name, move.what.name(), move.from, found[move.from].name(), move.to, found[move.to].name())
		}
	}
	for key := range objects {
		if _, ok := found[strings.TrimSuffix(key, "/")]; !ok {
			t.Errorf("%s: the bucket has %q, which nobody wrote", w.name, key)
		}
	}
	w.ledger.settleMoves()
	for p, s := range found {
		w.ledger.done(p, s)
	}
}

// found says what the store has under a path.
func (w *world) found(t *testing.T, objects map[string]s3client.Object, p string) state {
	t.Helper()
	o, ok := objects[p]
	if !ok {
		for key := range objects {
			if strings.HasPrefix(key, p+"/") {
				return state{kind: 'd'}
			}
		}
		return state{}
	}
	if s, sure := w.ledger.certain(p); sure && s.kind == 'f' && w.looked[p] == s.name()+o.ETag {
		if h, err := w.s.Client.Head(context.Background(), w.bucket, p); err == nil && h.ETag == o.ETag && mode(h) == s.mode {
			return s // it was read before, and is the same version
		}
	}
	b, o, err := w.get(p)
	if errors.Is(err, errTorn) && w.ledger.mayBeTorn(p) {
		return state{kind: 'f', torn: true}
	}
	if err != nil {
		t.Errorf("%s: %s: %v", w.name, p, err)
		return state{}
	}
	s := state{kind: 'f', body: b, mode: mode(o)}
	w.looked[p] = s.name() + o.ETag
	return s
}

// mode is an object's, in s3fs's format.
func mode(o s3client.Object) uint32 {
	var m uint32
	if o.Headers == nil {
		return 0o644
	}
	if n, _ := fmt.Sscanf(o.Headers.Meta["mode"], "%d", &m); n != 1 {
		return 0o644
	}
	return m & 0o777
}

// shown sees that the mount shows what the store has.
func (w *world) shown(t *testing.T, m *testenv.MountPoint, p string, s state) {
	t.Helper()
	if m == nil {
		return
	}
	fi, err := os.Lstat(m.Path(p))
	if s.kind == 0 {
		if !os.IsNotExist(err) {
			t.Errorf("%s: the store has no %s; the mount: %v, %v", w.name, p, fi, err)
		}
		return
	}
	if err != nil || fi.IsDir() != (s.kind == 'd') {
		t.Errorf("%s: the store has %s as %s; the mount: %v, %v", w.name, p, s.name(), fi, err)
		return
	}
	if s.kind != 'f' || s.torn {
		return
	}
	if fi.Size() != s.body.size() || uint32(fi.Mode().Perm()) != s.mode {
		t.Errorf("%s: the store has %s as %s; the mount shows %d bytes, %v", w.name, p, s.name(), fi.Size(), fi.Mode())
	}
	if fi.Size() > 1<<20 {
		return
	}
	b, err := os.ReadFile(m.Path(p))
	if err == nil {
		var got body
		if got, err = parse(b); err == nil && got.name() != s.body.name() {
			err = fmt.Errorf("it is %s", got.name())
		}
	}
	if err != nil {
		t.Errorf("%s: the store has %s as %s; read through the mount: %v", w.name, p, s.name(), err)
	}
}
