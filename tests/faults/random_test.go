package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/tests/lagproxy"
	"pailfs/tests/testenv"
)

var randomFor = flag.Duration("random", 8*time.Second, "how long random operations run under random faults")

// random is the class of faults that were drawn.
const random = "random"

// TestRandom draws operations and several faults at once for each, of any kinds of requests, anywhere in a body, as often as it
// comes. Whatever the operation answers, the same is asked as in the matrix: of the store, of the mount, of the numbers.
func TestRandom(t *testing.T) {
	testenv.Require(t)
	say("random: -seed %d, -random %v", *seed, *randomFor)
	s := testenv.StoreIn(t, t.TempDir())
	var all []*worker
	for i := range max(*workers, 2) {
		all = append(all, newWorker(t, s, durabilities[i%2]))
	}
	var total struct {
		sync.Mutex
		cells, strokes, bad int
	}
	until := time.Now().Add(*randomFor)
	var wg sync.WaitGroup
	for i, w := range all {
		rnd := rand.New(rand.NewPCG(*seed, uint64(i)))
		wg.Go(func() {
			for time.Now().Before(until) && !w.dead {
				o, f := ops[rnd.IntN(len(ops))], drawn(rnd)
				c, err := w.cell(o, f, lasting, 0)
				if err != nil {
					t.Errorf("-seed %d: %s/%s/%s: %v", *seed, w.durability, o.name, f.name, err)
					return
				}
				c.judge()
				total.Lock()
				total.cells++
				total.strokes += c.struck
				if len(c.problems) > 0 {
					total.bad++
					t.Errorf("-seed %d: %v (it was %s after %v):\n    %s", *seed, c, c.outcome, c.took.Round(time.Millisecond), strings.Join(c.problems, "\n    "))
				}
				total.Unlock()
			}
		})
	}
	wg.Wait()
	for _, w := range all {
		if not := w.end(90 * time.Second); not != "" {
			t.Errorf("%s: after the next mount %s", w.durability, not)
		}
	}
	say("random: -seed %d: %d operations, %d faults injected, %d bad", *seed, total.cells, total.strokes, total.bad)
}

// judge says what no faults excuse.
func (c *cell) judge() {
	switch {
	case c.outcome == "wrong":
		c.problem("it was wrong, which nothing excuses")
	case c.outcome == "ENOENT" && !c.lied():
		c.problem("it said that there is no such file, which no store did")
	}
}

// drawn are one to three faults. A bit of an answer over http is nobody's to find, so that it is left out; so are late listings,
// which need to be prepared.
func drawn(rnd *rand.Rand) fault {
	f := fault{class: random}
	var names []string
	for range 1 + rnd.IntN(3) {
		one := faultsOf[rnd.IntN(len(faultsOf))]
		if one.away || one.class == "bit" || one.late() {
			continue
		}
		h := one.of(rnd.IntN(4), 1+rnd.IntN(4))[0]
		if len(h.Kinds) == len(every) && rnd.IntN(2) == 0 {
			h.Kinds = []lagproxy.Kind{every[rnd.IntN(len(every))], every[rnd.IntN(len(every))], every[rnd.IntN(len(every))]}
		}
		if h.At < 0 {
			h.At = rnd.Int64N(1 << (1 + rnd.IntN(22)))
		}
		f.many = append(f.many, h)
		names = append(names, fmt.Sprintf("%s skip %d times %d at %d of %v", one.name, h.Skip, h.Times, h.At, h.Kinds))
	}
	if f.many == nil {
		return drawn(rnd)
	}
	f.name = strings.Join(names, " + ")
	return f
}
