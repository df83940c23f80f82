package fs

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The crash model: whole histories of a mount, the rooms as the command wires them, in one process and in virtual time.
// Programs work, the mount is killed between any two steps, what it has left is taken over by the next one, and so on. In
// the end the store has what the programs were told, and nothing else.
//
//	go test ./fs -run CrashModel -crash.seed 0 -crash.for 10m
//	go test ./fs -run CrashModel -crash.seed 17 -crash.runs 1
//
// A history that fails is made smaller as long as it goes on failing.

var (
	crashSeed   = flag.Uint64("crash.seed", 1, "the first history of TestCrashModel; 0: any")
	crashRuns   = flag.Int("crash.runs", 0, "so many histories, however long it takes; 0: as many as there is time for")
	crashFor    = flag.Duration("crash.for", 10*time.Second, "how long TestCrashModel goes on")
	crashShrink = flag.Duration("crash.shrink", 30*time.Second, "how long a history is made smaller")
	crashMore   = flag.Int("crash.failures", 1, "so many failures before the end")
	crashFaults = flag.String("crash.faults", "both", "the durability that meets a store that fails now and then: store, journal, both or none")
	crashOnly   = flag.String("crash.only", "", "store or journal: that durability alone")
)

// history is what happens, but for the order of what happens at the same moment.
type history struct {
	Seed     uint64
	Behind   bool
	Faults   bool
	Look     bool // all names are read at each start
	Provider string
	Memory   int64 // of the journal's spools
	TTL      time.Duration
	Settle   time.Duration
	MaxLag   time.Duration
	Writers  [][]op
	Kills    []kill
}

// kill says when a process is killed: before its nth entry in the journal, at its nth event, or at a time.
type kill struct {
	Entry, Event int
	After        time.Duration
	Pause        time.Duration // until the next one
}

func (h history) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "seed %d behind %v faults %v look %v provider %s memory %d ttl %v settle %v max-lag %v\n", h.Seed, h.Behind, h.Faults,
		h.Look, h.Provider, h.Memory, h.TTL, h.Settle, h.MaxLag)
	for i, ops := range h.Writers {
		for _, o := range ops {
			fmt.Fprintf(&s, "  writer %d %v\n", i, o)
		}
	}
	for _, k := range h.Kills {
		fmt.Fprintf(&s, "  kill %+v\n", k)
	}
	return s.String()
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// newHistory makes a history of a seed.
func newHistory(seed uint64) history {
	r := rand.New(rand.NewPCG(seed, 0x70a11f5))
	h := history{Seed: seed, Behind: r.IntN(4) > 0, Faults: r.IntN(4) == 0, Look: r.IntN(2) == 0,
		Provider: pick(r, "minio", "minio", "generic"), Memory: pick[int64](r, 0, 0, -1, 8<<10),
		TTL: pick(r, 5*time.Second, 5*time.Second, time.Second, time.Minute), Settle: pick(r, 100*time.Millisecond, time.Millisecond, time.Second),
		MaxLag: pick(r, 30*time.Second, 30*time.Second, 200*time.Millisecond)}
	switch *crashOnly {
	case "store":
		h.Behind = false
	case "journal":
		h.Behind = true
	}
	if f := *crashFaults; f != "both" {
		h.Faults = h.Faults && f == map[bool]string{false: "store", true: "journal"}[h.Behind]
	}
	for id := range 1 + r.IntN(3) {
		var ops []op
		for range 3 + r.IntN(18) {
			ops = append(ops, newOp(r, id))
		}
		h.Writers = append(h.Writers, ops)
	}
	for range r.IntN(5) {
		h.Kills = append(h.Kills, newKill(r))
	}
	return h
}

func newKill(r *rand.Rand) (k kill) {
	n := 1 + r.IntN(pick(r, 10, 40, 160))
	switch r.IntN(8) {
	case 0, 1, 2:
		k.Entry = n
	case 3:
		k.After = time.Duration(1+r.IntN(5000)) * time.Millisecond
	default:
		k.Event = n
	}
	k.Pause = pick(r, 0, time.Duration(r.IntN(100))*time.Millisecond, time.Duration(r.IntN(5000))*time.Millisecond, 3*time.Minute)
	return k
}

func newOp(r *rand.Rand, id int) op {
	name := func() string { return fmt.Sprintf("%s/%c%d", pick(r, dirs...), 'a'+id, r.IntN(2)) }
	o := op{Name: name(), Think: pick(r, 0, time.Duration(r.IntN(20))*time.Millisecond, time.Duration(r.IntN(400))*time.Millisecond,
		time.Duration(r.IntN(8000))*time.Millisecond)}
	o.Kind = pick(r, "save", "save", "save", "append", "edit", "cut", "chmod", "chmod", "rename", "rename", "unlink", "again", "again",
		"replace", "replace", "read", "flush")
	switch o.Kind {
	case "rename":
		for o.To = name(); o.To == o.Name; o.To = name() {
		}
	case "chmod":
		o.Mode = pick[uint32](r, 0o600, 0o640, 0o755)
	case "save", "append", "edit", "cut", "again", "replace":
		for range r.IntN(pick(r, 2, 5)) + pick(r, 0, 1, 1, 1) {
			o.Sizes = append(o.Sizes, 1+r.IntN(pick(r, 100, 3000, 3000, 12000)))
		}
		o.Sync = pick(r, 0, 0, 0, r.IntN(8))
		o.At = r.IntN(101)
		o.Pause = pick(r, 0, 0, time.Duration(r.IntN(300))*time.Millisecond)
	}
	return o
}

// result is what came of a history.
type result struct {
	findings, trace []string
	kills           int
}

// carryOut runs a history in a bubble of its own.
func carryOut(t *testing.T, root string, h history) (res result) {
	dir, err := os.MkdirTemp(root, "h")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var w *world
	synctest.Test(t, func(*testing.T) {
		w = newWorld(h, dir)
		w.run()
	})
	return result{w.mu.findings, w.mu.trace, min(w.lives-1, len(h.Kills))}
}

func TestCrashModel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that a history goes the same way again
	root := inMemory(t)
	seed, began, kills, n, failures := *crashSeed, time.Now(), 0, 0, 0
	if seed == 0 {
		seed = uint64(began.UnixNano()) % 1e12
	}
	for ; (*crashRuns == 0 || n < *crashRuns) && (*crashRuns > 0 || time.Since(began) < *crashFor) && failures < *crashMore; n++ {
		h := newHistory(seed + uint64(n))
		res := carryOut(t, root, h)
		kills += res.kills
		if len(res.findings) > 0 {
			failures++
			small, res := shrink(t, root, h, res)
			t.Errorf("history %d: %s\n%s%s\nall: %s", h.Seed, res.findings[0], small, strings.Join(res.trace, "\n"), strings.Join(res.findings, "\n"))
		}
	}
	t.Logf("%d histories from %d with %d kills in %v", n, seed, kills, time.Since(began).Round(time.Second))
}

// inMemory is a directory in memory, where there is one: the model calls no fsync that counts.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "pailfs-crashmodel")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// shrink leaves out of a history what it does not need to fail.
func shrink(t *testing.T, root string, h history, res result) (history, result) {
	end := time.Now().Add(*crashShrink)
	r := rand.New(rand.NewPCG(h.Seed, 1))
	try := func(c history) bool {
		for k := range 8 {
			if time.Now().After(end) {
				return false
			}
			if k > 0 && len(c.Kills) > 0 { // what was left out has moved the events
				c.Kills = append([]kill(nil), c.Kills...)
				i := r.IntN(len(c.Kills))
				if n := c.Kills[i].Event; n > 0 {
					c.Kills[i].Event = 1 + r.IntN(n)
				}
				if n := c.Kills[i].Entry; n > 0 {
					c.Kills[i].Entry = 1 + r.IntN(n)
				}
			}
			if got := carryOut(t, root, c); len(got.findings) > 0 {
				h, res = c, got
				return true
			}
			if len(c.Kills) == 0 {
				return false
			}
		}
		return false
	}
	for smaller := true; smaller && time.Now().Before(end); {
		smaller = false
		for _, c := range candidates(h) {
			if try(c) {
				smaller = true
				break
			}
		}
	}
	return h, res
}

// candidates are histories with something left out, the most first.
func candidates(h history) (all []history) {
	for i := range h.Kills {
		c := h
		c.Kills = append(append([]kill(nil), h.Kills[:i]...), h.Kills[i+1:]...)
		all = append(all, c)
	}
	for i := range h.Writers {
		for n := len(h.Writers[i]); n >= 1; n /= 2 {
			for at := 0; at+n <= len(h.Writers[i]); at += n {
				c := h
				c.Writers = append([][]op(nil), h.Writers...)
				c.Writers[i] = append(append([]op(nil), h.Writers[i][:at]...), h.Writers[i][at+n:]...)
				all = append(all, c)
			}
		}
	}
	if h.Faults {
		c := h
		c.Faults = false
		all = append(all, c)
	}
	if h.Look {
		c := h
		c.Look = false
		all = append(all, c)
	}
	for i, ops := range h.Writers {
		for j, o := range ops {
			change := func(f func(*op)) {
				c := h
				c.Writers = append([][]op(nil), h.Writers...)
				c.Writers[i] = append([]op(nil), ops...)
				f(&c.Writers[i][j])
				all = append(all, c)
			}
			if len(o.Sizes) > 1 {
				change(func(o *op) { o.Sizes = o.Sizes[:len(o.Sizes)-1] })
			}
			if o.Sync > 0 {
				change(func(o *op) { o.Sync = 0 })
			}
			if o.Pause > 0 {
				change(func(o *op) { o.Pause = 0 })
			}
		}
	}
	return all
}
