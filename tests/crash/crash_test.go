package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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

// TestCrash is what this package is for.
func TestCrash(t *testing.T) {
	testenv.Require(t)
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	say("crash: %d kills, -seed %d, -durability %s", *kills, *seed, *only)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	// On a server of its own whatever the environment says: another one is too far for so many rounds.
	s := testenv.StoreIn(t, t.TempDir())
	worlds := []*world{newWorld(t, s, false, false), newWorld(t, s, true, false), newWorld(t, s, false, true), newWorld(t, s, true, true)}
	if *only != "both" {
		worlds = slices.DeleteFunc(worlds, func(w *world) bool { return w.journal != (*only == "journal") })
	}
	began := time.Now()
	broken := &damages{}
	for i := range *kills {
		w := worlds[i%len(worlds)]
		t.Run(fmt.Sprintf("kill %d (%s)", i, w.name), func(t *testing.T) {
			w.round(t, rand.New(rand.NewPCG(rnd.Uint64(), rnd.Uint64())))
		})
		if i%8 == 7 {
			t.Run(fmt.Sprintf("damage %d", i), func(t *testing.T) {
				broken.round(t, s, rand.New(rand.NewPCG(rnd.Uint64(), rnd.Uint64())), i%16 == 7)
			})
		}
		if t.Failed() {
			say("crash: kill %d (%s) of -seed %d FAILED", i, w.name, *seed)
			break
		}
		if i%20 == 19 {
			say("crash: %v: %s", time.Since(began).Round(time.Second), sum(worlds))
		}
	}
	for _, w := range worlds {
		t.Run("afterwards ("+w.name+")", func(t *testing.T) { w.last(t) })
	}
	for _, w := range worlds {
		say("crash: %s: %s", w.name, &w.counts)
		if w.p != nil {
			say("crash: %s: %d of %d requests spoiled", w.name, w.p.Spoiled(), w.counts.requests.Load())
		}
	}
	say("crash: %v", broken)
	say("crash: -seed %d, %v: %s", *seed, time.Since(began).Round(time.Second), sum(worlds))
}

func sum(worlds []*world) *counts {
	all := &counts{}
	for _, w := range worlds {
		all.add(&w.counts)
	}
	return all
}

// say prints at once; what a test logs is shown at its end.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// round mounts what the kill before it left, looks at it, lets the writers work, and kills. The other client looks all the
// while, also when the mount recovers.
func (w *world) round(t *testing.T, rnd *rand.Rand) {
	w.spoil(rnd.Uint64(), false)
	unobserved := make(chan struct{})
	var observing sync.WaitGroup
	eyes := rand.New(rand.NewPCG(rnd.Uint64(), 9))
	observing.Go(func() { w.observe(t, eyes, unobserved) })
	var m *testenv.MountPoint
	defer func() {
		close(unobserved)
		observing.Wait()
		if m != nil {
			w.keepLog(t, m)
		}
	}()
	if w.counts.kills > 0 && rnd.IntN(5) == 0 {
		w.killStarting(t, time.Duration(rnd.IntN(300))*time.Millisecond)
	}
	if rnd.IntN(3) == 0 {
		if what := damage(t, w.cache, rnd, "lock"); what != "" {
			w.trace.add("", "the disk cache: %s", what)
			w.counts.caches++
		}
	}
	m = w.mount(t)
	w.trace.add("", "mounted")
	// Now and then the next load, and the next kill, come while this mount is still recovering.
	if rnd.IntN(4) > 0 {
		w.countUploads(t)
		w.lookAtOnce(t, m, rnd)
		w.settle(t, m)
	}
	if t.Failed() {
		m.Kill()
		return
	}
	w.spoil(rnd.Uint64(), true)
	stop := make(chan struct{})
	var working sync.WaitGroup
	for i := range 4 {
		x := &writer{t: t, w: w, root: m.Dir, name: fmt.Sprintf("w%d", i), large: i == 3, rnd: rand.New(rand.NewPCG(rnd.Uint64(), uint64(i))), counts: &w.counts, stop: stop}
		working.Go(x.run)
	}
	time.Sleep(time.Duration(rnd.IntN(1600)) * time.Millisecond) // the moment of the kill
	close(stop)
	w.trace.add("", "killed")
	m.Die()
	w.counts.kills++
	working.Wait() // before the dead mount goes: a name that is not there below it was not removed
	m.Kill()
}

// killStarting kills a mount before anybody uses it, perhaps before it is there.
func (w *world) killStarting(t *testing.T, after time.Duration) {
	m := testenv.Start(t, w.far, w.options()...)
	time.Sleep(after)
	m.Kill()
	w.trace.add("", "started and killed after %v", after)
	w.counts.starting++
}

// keepLog shows the logs of the mount and of the one before it when something was wrong.
func (w *world) keepLog(t *testing.T, m *testenv.MountPoint) {
	log := m.Log()
	if t.Failed() {
		t.Logf("the mount before:\n%s\nthis mount:\n%s", tail(w.log), tail(log))
	}
	w.log = log
}

// tail is a log's end, without the kernel's requests.
func tail(log string) string {
	lines := slices.DeleteFunc(strings.SplitAfter(log, "\n"), func(l string) bool { return strings.Contains(l, `msg="fuse: `) })
	return strings.Join(lines[max(0, len(lines)-200):], "")
}

// last mounts, looks, and unmounts: everything is in the store, and nothing is left behind.
func (w *world) last(t *testing.T) {
	if w.p != nil {
		w.p.Meet(nil)
	}
	m := w.mount(t)
	w.lookAtOnce(t, m, rand.New(rand.NewPCG(*seed, 2)))
	w.settle(t, m)
	m.Unmount()
	w.compare(t, nil)
	w.nothingKept(t)
}
