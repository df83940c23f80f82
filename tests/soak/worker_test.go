package soak

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// worker does one thing again and again in a directory of its own. What it has left there, files has.
type worker struct {
	w     *world
	h     *host // nil: it is no mount's
	kind  string
	dir   string // its directory, from the root
	home  string // a local one
	rnd   *rand.Rand
	files map[string]want // by key
	do    func(*worker) error
	state any // of its kind

	steps, bytes, stale atomic.Int64
}

// want is what a file has.
type want struct {
	size int64
	sum  uint32
}

func sumOf(content []byte) want { return want{int64(len(content)), crc32.ChecksumIEEE(content)} }

// employ makes the workers: all kinds for each host, and the remote writer.
func (w *world) employ() {
	static := w.makeStatic()
	for _, h := range w.hosts {
		for _, x := range []struct {
			kind string
			do   func(*worker) error
		}{
			{"tar there and back", tar}, {"git init, commit, fsck", git}, {"rsync, twice", rsync}, {"sqlite", sqlite}, {"fio --verify", fio},
			{"a stream whose header is written last", stream}, {"a log appended to", appendLog}, {"small files", small},
		} {
			w.employ1(h, x.kind, x.do, nil)
		}
		for range 2 {
			w.employ1(h, "reading verified objects", readStatic, static)
		}
		w.employ1(h, "reading what another client writes", readRemote, map[string]int{})
	}
	for i, h := range w.hosts {
		other := w.hosts[(i+1)%len(w.hosts)]
		w.employ1(h, "following the other host's log", follow, path.Join(other.name, "log"))
	}
	w.employ1(nil, "writing by an S3 client", writeRemote, map[string]int{})
}

func (w *world) employ1(h *host, kind string, do func(*worker) error, state any) {
	x := &worker{w: w, h: h, kind: kind, home: w.t.TempDir(), rnd: w.random(), files: map[string]want{}, do: do, state: state}
	if h != nil {
		x.dir = path.Join(h.name, fmt.Sprintf("w%d", len(w.workers)))
		if kind == "a log appended to" { // where the other one finds it
			x.dir = path.Join(h.name, "log")
		}
		if err := os.MkdirAll(x.path(), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	w.workers = append(w.workers, x)
}

// path is where the mount has the worker's directory, and what is below it.
func (x *worker) path(elem ...string) string {
	return filepath.Join(append([]string{x.h.m.Dir, x.dir}, elem...)...)
}

// key is where the store has it.
func (x *worker) key(name string) string { return path.Join(x.dir, name) }

func (x *worker) run(stop <-chan struct{}) {
	// A moment between two steps: else those of some microseconds take the processors from all others.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-x.w.failed:
			return
		case <-tick.C:
		}
		began := time.Now()
		if err := x.do(x); errors.Is(err, errIdle) {
			return
		} else if err != nil {
			name := "the S3 client"
			if x.h != nil {
				name = x.h.name
			}
			x.w.fail("%s: %s, after %v: %v", name, x.kind, time.Since(began).Round(time.Millisecond), err)
			return
		}
		x.steps.Add(1)
	}
}

// write writes a file of the worker's, as most programs do.
func (x *worker) write(name string, content []byte) error {
	if err := os.WriteFile(x.path(name), content, 0o644); err != nil {
		return err
	}
	x.files[x.key(name)] = sumOf(content)
	x.bytes.Add(int64(len(content)))
	return nil
}

// check reads a file of the worker's.
func (x *worker) check(name string) error {
	content, err := os.ReadFile(x.path(name))
	if err != nil {
		return err
	}
	x.bytes.Add(int64(len(content)))
	if got, e := sumOf(content), x.files[x.key(name)]; got != e {
		return fmt.Errorf("%s has %d bytes, want %d, or other bytes", name, got.size, e.size)
	}
	return nil
}

// moved says whether what a reader stood on was replaced by another client, which is no error.
func (x *worker) moved(err error) bool {
	if errors.Is(err, syscall.ESTALE) {
		x.stale.Add(1)
		return true
	}
	return false
}

// eventuallySame reads a file until it is what it should be: what another client has written is seen when the TTL is over.
func (w *world) eventuallySame(file string, e want) error {
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		content, err := os.ReadFile(file)
		got := sumOf(content)
		if err == nil && got == e {
			return nil
		}
		if time.Now().After(until) {
			if err == nil {
				err = fmt.Errorf("%d bytes, want %d, or other bytes", got.size, e.size)
			}
			return err
		}
	}
}

// noise is n bytes that do not repeat and differ by seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n+8)
	x := seed*2654435761 + 88172645463325252
	for i := 0; i < n; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for j := range 8 {
			b[i+j] = byte(x >> (8 * j))
		}
	}
	return b[:n]
}
