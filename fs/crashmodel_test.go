package fs_test

import (
	"flag"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The crash model: whole histories of a mount, the rooms wired as for the command, in one process and in virtual time.
// Programs work, the mount is killed between any two steps, what it has left is taken over by the next one, and so on. In
// the end the store has what the programs were told, and nothing else.
//
// There are files (made, appended to, edited, cut, replaced as editors do, copied by copy_file_range, removed and made anew),
// their modes, owners and times, symbolic links, and directories that are made, renamed with all that is in them, and removed.
// A process may have the other durability than the one before, and find its journal damaged: then what it shows and stores is
// at least what somebody has written. Not here: extended attributes and special files, mmap, more than one bucket, a full
// disk, power failures (fs/journal has these), journals of former formats (fs/journal), the disk cache, other clients (the
// model of two mounts).
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

// result is what came of a history.
type result struct {
	findings, trace []string
	kills           int
	did             map[string]int // operations acknowledged and renames completed by the next process
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
	return result{w.mu.findings, w.mu.trace, min(w.lives-1, len(h.Kills)), w.mu.did}
}

func TestCrashModel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that a history goes the same way again
	root := inMemory(t)
	seed, began, kills, n, failures := *crashSeed, time.Now(), 0, 0, 0
	did := make(map[string]int)
	if seed == 0 {
		seed = uint64(began.UnixNano()) % 1e12
	}
	for ; (*crashRuns == 0 || n < *crashRuns) && (*crashRuns > 0 || time.Since(began) < *crashFor) && failures < *crashMore; n++ {
		h := newHistory(seed + uint64(n))
		res := carryOut(t, root, h)
		kills += res.kills
		for what, n := range res.did {
			did[what] += n
		}
		if len(res.findings) > 0 {
			failures++
			small, res := shrink(t, root, h, res)
			t.Errorf("history %d: %s\n%s%s\nall: %s", h.Seed, res.findings[0], small, strings.Join(res.trace, "\n"), strings.Join(res.findings, "\n"))
		}
	}
	t.Logf("%d histories from %d with %d kills in %v: %v", n, seed, kills, time.Since(began).Round(time.Second), did)
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
