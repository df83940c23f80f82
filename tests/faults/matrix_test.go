package faults

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

var (
	seed    = flag.Uint64("seed", 1, "of the random numbers; 0: another one each time")
	runFor  = flag.Duration("for", 20*time.Second, "how long random cells of the matrix are run; 0: all of them, once")
	pattern = flag.String("cell", "", "run the cells whose names match: DURABILITY/OPERATION/FAULT/REACH, @N behind it for one request")
	workers = flag.Int("workers", 6, "how many mounts at once, half of them in each durability")
	record  = flag.Bool("record", false, "write what came out into "+expectedFile)
)

var durabilities = []string{"store", "journal"}

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	testenv.Main(m)
}

// say prints at once; what a test logs is shown at its end.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "faults: "+format+"\n", args...) }

// task is cells that belong together: with reach once, one for each request of the operation.
type task struct {
	durability string
	op         *op
	fault      fault
	reach      string
	skip       int // the only request that is befallen; -1: each in turn
}

func (k task) String() string {
	return fmt.Sprintf("%s/%s/%s/%s", k.durability, k.op.name, k.fault.name, k.reach)
}

// tasks are those of the whole matrix, in random order.
func tasks(t *testing.T, rnd *rand.Rand) map[string][]task {
	t.Helper()
	name, at, only := strings.Cut(*pattern, "@")
	wanted, err := regexp.Compile("^(?:" + name + ")$")
	if err != nil {
		t.Fatal(err)
	}
	skip := -1
	if only {
		if skip, err = strconv.Atoi(at); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string][]task{}
	for _, d := range durabilities {
		for _, o := range ops {
			for _, f := range faultsOf {
				for _, reach := range []string{once, few, lasting} {
					k := task{d, o, f, reach, skip}
					if f.away && reach == few || *pattern != "" && !wanted.MatchString(k.String()) {
						continue
					}
					if *runFor > 0 && *pattern == "" && reach == once {
						k.skip = rnd.IntN(3)
					}
					all[d] = append(all[d], k)
				}
			}
		}
		rnd.Shuffle(len(all[d]), func(i, j int) { all[d][i], all[d][j] = all[d][j], all[d][i] })
	}
	return all
}

// matrix is what has come of the cells so far.
type matrix struct {
	t     *testing.T
	want  *expected
	until time.Time // zero: the end of all tasks
	mu    struct {
		sync.Mutex
		left     map[string][]task
		found    map[place][]string
		felt     map[string]int
		outcomes map[string]int
		cells    int // that a fault has befallen
		missed   int // that none has
		strokes  int
		bad      int
		slowest  time.Duration
		slow     string
	}
}

// TestMatrix is every operation under every fault, or as many as there is time for.
func TestMatrix(t *testing.T) {
	testenv.Require(t)
	rnd := rand.New(rand.NewPCG(*seed, 1))
	x := &matrix{t: t}
	var err error
	if x.want, err = readExpected(); err != nil {
		t.Fatal(err)
	}
	x.mu.left, x.mu.found = tasks(t, rnd), map[place][]string{}
	x.mu.felt, x.mu.outcomes = map[string]int{}, map[string]int{}
	say("-seed %d, -for %v, %d mounts", *seed, *runFor, *workers)
	// On a server of its own whatever the environment says: another one is too far for so many cells.
	s := testenv.StoreIn(t, t.TempDir())
	var all []*worker
	for i := range max(*workers, 2) {
		if d := durabilities[i%2]; len(x.mu.left[d]) > 0 {
			all = append(all, newWorker(t, s, d))
		}
	}
	if *runFor > 0 && *pattern == "" {
		x.until = time.Now().Add(*runFor)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for _, w := range all {
		wg.Go(func() { x.work(w) })
	}
	wg.Wait()
	for _, w := range all {
		limit := 20 * time.Second
		if *runFor == 0 {
			limit = 90 * time.Second // a minute is what a part may be late
		}
		if not := w.end(limit); not != "" {
			t.Errorf("%s: after the next mount %s", w.durability, not)
		}
	}
	x.sum(time.Since(began))
	if *record {
		x.write()
	}
}

// work takes tasks until there are none, or the time is over.
func (x *matrix) work(w *worker) {
	for {
		x.mu.Lock()
		left := x.mu.left[w.durability]
		if len(left) == 0 || !x.until.IsZero() && time.Now().After(x.until) {
			x.mu.Unlock()
			return
		}
		k := left[0]
		x.mu.left[w.durability] = left[1:]
		x.mu.Unlock()
		x.task(w, k)
		if w.dead {
			return
		}
	}
}

// mostRequests bounds the requests of an operation that are befallen in turn.
const mostRequests = 40

func (x *matrix) task(w *worker, k task) {
	for skip := max(k.skip, 0); skip < mostRequests; skip++ {
		c, err := w.cell(k.op, k.fault, k.reach, skip)
		if err == nil && len(c.problems) == 0 && !slices.Contains(x.want.allowed(placeOf(c)), c.outcome) && c.took > timeout/2 {
			// On a machine that had no time for it an operation may come too late. Twice it does not.
			c, err = w.cell(k.op, k.fault, k.reach, skip)
		}
		if err != nil {
			x.t.Errorf("%v@%d: %v", k, skip, err)
			w.dead = true
			return
		}
		x.took(c)
		if w.dead || k.reach != once || k.skip >= 0 || c.fault.away || c.struck == 0 {
			return
		}
	}
}

// took notes a cell and judges it.
func (x *matrix) took(c *cell) {
	p := placeOf(c)
	if c.struck == 0 && c.outcome == "ok" && len(c.problems) == 0 {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.mu.missed++
		return
	}
	if want := x.want.allowed(p); !slices.Contains(want, c.outcome) {
		c.problem("it was %s, and should be one of %v", c.outcome, want)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	add(x.mu.found, p, c.outcome)
	x.mu.cells++
	x.mu.strokes += c.struck
	x.mu.outcomes[c.outcome]++
	for how, n := range c.felt {
		x.mu.felt[how] += n
	}
	if c.took > x.mu.slowest {
		x.mu.slowest, x.mu.slow = c.took, c.String()
	}
	if len(c.problems) > 0 {
		x.mu.bad++
		say("%v: %s", c, strings.Join(c.problems, "\n    "))
		x.t.Errorf("%v (it was %s after %v):\n    %s", c, c.outcome, c.took.Round(time.Millisecond), strings.Join(c.problems, "\n    "))
	}
	if x.mu.cells%250 == 0 {
		say("%d cells, %d bad", x.mu.cells, x.mu.bad)
	}
}

func (x *matrix) sum(took time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	say("-seed %d, %v: %d cells, %d faults injected, %d bad; %d more cells without a request for the fault", *seed, took.Round(time.Second),
		x.mu.cells, x.mu.strokes, x.mu.bad, x.mu.missed)
	for _, part := range []map[string]int{x.mu.outcomes, x.mu.felt} {
		for _, name := range slices.Sorted(maps.Keys(part)) {
			say("  %6d %s", part[name], name)
		}
	}
	say("  the slowest operation: %v, %s", x.mu.slowest.Round(time.Millisecond), x.mu.slow)
	if x.mu.cells == 0 {
		x.t.Error("no fault has befallen anything")
	}
}

// write adds what was found to the table.
func (x *matrix) write() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for p, outcomes := range x.want.seen { // by a law that was another
		may := x.want.allowed(p)
		x.want.seen[p] = slices.DeleteFunc(outcomes, func(o string) bool { return !slices.Contains(may, o) })
	}
	for p, outcomes := range x.mu.found {
		for _, o := range outcomes {
			if slices.Contains(x.want.allowed(p), o) {
				add(x.want.seen, p, o)
			}
		}
	}
	if err := os.WriteFile(expectedFile, []byte(x.want.String()), 0o644); err != nil {
		x.t.Error(err)
	}
}

// TestExpectedFile: the table is what the test would write, and names nothing that there is not.
func TestExpectedFile(t *testing.T) {
	e, err := readExpected()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(expectedFile)
	if err != nil {
		t.Fatal(err)
	}
	if want := e.String(); string(text) != want {
		t.Errorf("%s is not as it would be written: -record writes it", expectedFile)
	}
	for p, outcomes := range e.seen {
		for _, o := range outcomes {
			if !slices.Contains(e.allowed(p), o) {
				t.Errorf("%v: %s was seen and may not be", p, o)
			}
		}
	}
	// What no hand may write into it.
	for p, outcomes := range e.law {
		for _, o := range outcomes {
			if o == "wrong" && p.class != "bit" || o == "hang" || o == unforeseen || o == "ENOENT" && p.class != "404" && p.op == "" {
				t.Errorf("%v: %s is no result", p, o)
			}
		}
	}
}
