// Package soak is endless hours in minutes: `make soak`. Two mounts of one bucket, one of each durability, with all that people
// do on file systems at once, on a store that is some milliseconds away and has bad moments. Each is the other's remote writer,
// and an S3 client writes besides.
//
//	soak_test.go      the course of it, and what it says at the end
//	world_test.go     the store, its weather, the two mounts
//	worker_test.go    who works, and what the store must have of it
//	programs_test.go  tar, git, rsync, sqlite, fio
//	files_test.go     streams, logs, small files, readers, what others write
//	idle_test.go      what a mount that nobody uses may hold: nothing is left behind
//
// It fails for a wrong byte, an error that is not documented, an operation that outlasts its deadline, and for what grows:
// goroutines, descriptors, memory, the journal, spool files, unfinished uploads. How fast it was it says and does not judge.
package soak

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

var (
	length = flag.Duration("time", 8*time.Second, "how long the load goes on; it takes a few minutes more until nothing can be left behind, from 30s on")
	seed   = flag.Uint64("seed", 1, "of the random numbers; 0: another one each time")
	calm   = flag.Bool("calm", false, "no faults")
)

// rounds of load; between two of them a mount is unmounted and mounted again.
func rounds() int {
	if patient() {
		return 3
	}
	return 2
}

func TestMain(m *testing.M) {
	flag.Parse()
	testenv.Main(m)
}

// TestSoak is what this package is for.
func TestSoak(t *testing.T) {
	testenv.Require(t)
	testenv.Programs(t, "tar", "git", "rsync", "sqlite3", "fio")
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	began := time.Now()
	say("soak: -time %v -seed %d", *length, *seed)
	w := newWorld(t)
	for round := range rounds() {
		w.work(*length / time.Duration(rounds()))
		if !t.Failed() {
			w.settle()
		}
		if t.Failed() {
			say("soak: -seed %d FAILED in round %d", *seed, round)
			break
		}
		if round < rounds()-1 {
			w.hosts[round].remount()
		}
	}
	if !t.Failed() {
		w.end()
	}
	say("soak: -seed %d, %v\n%s", *seed, time.Since(began).Round(time.Second), w.summary())
}

// patient says whether there is time to wait until nothing can come any more: a request without an answer is looked after for
// a minute.
func patient() bool { return *length >= 30*time.Second }

// say prints at once; what a test logs is shown at its end.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// work lets everybody work for a while, in bad weather, and waits for all.
func (w *world) work(length time.Duration) {
	stop := make(chan struct{})
	var going sync.WaitGroup
	going.Go(func() { w.weather(stop) })
	for _, h := range w.hosts {
		going.Go(func() { h.watch(stop) })
	}
	for _, x := range w.workers {
		going.Go(func() { x.run(stop) })
	}
	select {
	case <-time.After(length):
	case <-w.failed:
	}
	close(stop)
	going.Wait()
	w.fine()
}

// random is a source of its own for somebody.
func (w *world) random() *rand.Rand {
	w.mu.Lock()
	defer w.mu.Unlock()
	return rand.New(rand.NewPCG(w.mu.rnd.Uint64(), w.mu.rnd.Uint64()))
}
