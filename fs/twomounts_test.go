package fs_test

import (
	"flag"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The model of two mounts: programs on two hosts work in one bucket at the same time, and a client of the store that knows
// nothing of file systems writes, deletes and copies its objects. The rooms are wired as for the command (life), time
// and the store are virtual, the kernels are imitated with what they trust and for how long (machine). What a program sees
// must be what its own host did last, or what others did, not longer ago than the promises allow; what it was told is in
// the bucket; and in the end all agree.
//
//	go test ./fs -run TwoMounts -two.seed 0 -two.for 10m
//	go test ./fs -run TwoMounts -two.seed 17 -two.runs 1
//
// A history that fails is made smaller as long as it goes on failing.

var (
	twoSeed   = flag.Uint64("two.seed", 1, "the first history of TestTwoMounts; 0: any")
	twoRuns   = flag.Int("two.runs", 0, "so many histories, however long it takes; 0: as many as there is time for")
	twoFor    = flag.Duration("two.for", 10*time.Second, "how long TestTwoMounts goes on")
	twoSteps  = flag.Int("two.steps", 0, "so many steps at least, however long it takes")
	twoShrink = flag.Duration("two.shrink", 30*time.Second, "how long a history is made smaller")
	twoMore   = flag.Int("two.failures", 1, "so many failures before the end")
	twoOnly   = flag.String("two.only", "", "store or journal: that durability alone")
)

func share(t *testing.T, root string, h shared) (res result) {
	dir, err := os.MkdirTemp(root, "h")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var d *duo
	synctest.Test(t, func(*testing.T) {
		d = newDuo(h, dir)
		d.run()
	})
	return result{findings: d.w.mu.findings, trace: d.w.mu.trace}
}

func TestTwoMounts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that a history goes the same way again
	root := inMemory(t)
	seed, began, n, steps, failures := *twoSeed, time.Now(), 0, 0, 0
	if seed == 0 {
		seed = uint64(began.UnixNano()) % 1e12
	}
	wanted := func() bool {
		return *twoRuns > n || *twoRuns == 0 && (time.Since(began) < *twoFor || steps < *twoSteps)
	}
	for ; wanted() && failures < *twoMore; n++ {
		h := newShared(seed + uint64(n))
		res := share(t, root, h)
		for _, s := range h.Steps {
			steps += len(s)
		}
		if len(res.findings) > 0 {
			failures++
			small, res := smaller(t, root, h, res)
			t.Errorf("history %d: %s\n%s%s\nall: %s", h.Seed, res.findings[0], small, strings.Join(res.trace, "\n"), strings.Join(res.findings, "\n"))
		}
	}
	t.Logf("%d histories from %d with %d steps in %v", n, seed, steps, time.Since(began).Round(time.Second))
}

// smaller leaves out of a history what it does not need to fail.
func smaller(t *testing.T, root string, h shared, res result) (shared, result) {
	end := time.Now().Add(*twoShrink)
	for again := true; again; {
		again = false
		for who := range h.Steps {
			for n := len(h.Steps[who]); n >= 1; n /= 2 {
				for at := 0; at+n <= len(h.Steps[who]); {
					if time.Now().After(end) {
						return h, res
					}
					c := h
					c.Steps[who] = append(slices.Clone(h.Steps[who][:at]), h.Steps[who][at+n:]...)
					if at+n < len(h.Steps[who]) { // what comes later comes when it came
						c.Steps[who][at].Think += thought(h.Steps[who][at : at+n])
					}
					if got := share(t, root, c); len(got.findings) > 0 {
						h, res, again = c, got, true
					} else {
						at += n
					}
				}
			}
		}
	}
	return h, res
}

func thought(steps []step) (d time.Duration) {
	for _, s := range steps {
		d += s.Think
	}
	return d
}
