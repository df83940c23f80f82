package fs_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// world is one history being carried out: a store, one process after the other, writers, and what the writers were told.
type world struct {
	h     history
	mem   *s3mem.Store
	root  string
	born  time.Time
	lives int
	ended sync.WaitGroup // dead processes on their way out
	// watch, where it is not nil, is told of each request that was carried out, in place of the crash model's accounts. mu is held.
	watch func(l *life, name, key string, err error)

	mu struct {
		sync.Mutex
		nth      map[string]int // requests so far by name and key
		healthy  int            // above 0: the store does not fail
		serial   uint64
		next     []int // the next operation of each writer
		paths    map[string]*account
		moves    []moving
		did      map[string]int
		damaged  bool              // a journal
		damage   string            // how
		objects  map[string]string // what the store had when last looked at, by key
		findings []string
		trace    []string
	}
}

func newWorld(h history, root string) *world {
	p := s3mem.DefaultProfile()
	p.MinPart, p.MaxPart, p.MaxPut, p.Name = leastPart, 1<<20, 1<<20, h.Provider
	w := &world{h: h, mem: s3mem.New(s3mem.WithProfile(p), s3mem.WithBuckets("b")), root: root, born: time.Now()}
	w.mu.nth, w.mu.paths, w.mu.objects = make(map[string]int), make(map[string]*account), make(map[string]string)
	w.mu.next, w.mu.did = make([]int, len(h.Writers)), make(map[string]int)
	for _, d := range dirs {
		w.mem.PutBytes("b", d+"/", nil, s3client.Headers{ContentType: "application/directory"})
	}
	return w
}

// Sizes that make a few kilobytes a large file.
const (
	leastPart   = 1 << 10
	firstPart   = 2 << 10
	largestPut  = 4 << 10
	segmentSize = 64 << 10
)

var dirs = []string{"d", "e"}

// run carries the history out.
func (w *world) run() {
	dir := filepath.Join(w.root, "j0")
	for i := 0; ; i++ {
		w.lives++
		l := w.live(dir)
		if i < len(w.h.Kills) {
			l.plan = w.h.Kills[i]
		}
		l.work()
		if i >= len(w.h.Kills) || w.failed() {
			if !w.failed() {
				l.finish()
			}
			if l.journal != nil {
				w.kill(l, "end")
				l.stop()
			}
			break
		}
		w.kill(l, "plan")
		w.ended.Go(l.stop)
		dir = l.left
		if l.plan.Damage && !w.failed() {
			w.inspect(dir)
			break
		}
		if w.failed() {
			break
		}
		time.Sleep(l.plan.Pause)
	}
	w.ended.Wait()
}

// event is a moment at which a process may be killed.
func (w *world) event(l *life, what string) {
	w.mu.Lock()
	if l.dead {
		w.mu.Unlock()
		return
	}
	l.events++
	n := l.events
	if l.movers > 0 {
		l.moving++
	}
	kill := l.plan.Event == n || l.movers > 0 && l.plan.Moving == l.moving
	w.noteLocked("  %s #%d", what, n)
	w.mu.Unlock()
	if kill {
		l.killMe <- struct{}{}
		<-l.killed
	}
}

// seam is a moment between two steps of one process, with a little time in it.
func (w *world) seam(l *life, what string) {
	w.event(l, what)
	n := w.nthOf("seam " + what)
	if d := w.chance("seam ", what, n).IntN(4000); d < 2000 {
		t := time.NewTimer(time.Duration(d) * time.Microsecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-l.killed:
		}
	}
}

func (w *world) kill(l *life, why string) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killLocked(l, why)
}

// killLocked ends a process: its journal is copied as it is, its requests are carried out or not, and no other will be.
func (w *world) killLocked(l *life, why string) {
	if l.dead {
		return
	}
	l.dead = true
	w.noteLocked("KILL (%s) after %d events, %d entries", why, l.events, l.appends)
	l.left = filepath.Join(w.root, fmt.Sprintf("j%d", w.lives))
	if err := copyDir(l.left, l.dir); err != nil {
		w.findLocked("copy the journal: %v", err)
	}
	if l.plan.Damage {
		w.damageLocked(l.left)
	}
	for i, c := range l.calls {
		if c.sent && w.chance("kill ", c.name, " ", c.key, " ", w.lives, " ", i).IntN(2) == 0 {
			w.noteLocked("  %s %s: carried out after the kill", c.name, c.key)
			c.carryOut()
		} else {
			w.noteLocked("  %s %s: never carried out", c.name, c.key)
		}
	}
	l.calls = nil
	close(l.killed)
}

// copyDir copies what is there; a file that goes meanwhile was not needed.
func copyDir(to, from string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(order(a), order(b)) })
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			if err := copyDir(dst, src); err != nil {
				return err
			}
			continue
		}
		p, err := os.ReadFile(src)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(dst, p, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// order has the log before the spools that it speaks of.
func order(e os.DirEntry) string {
	if e.Name() == "log" {
		return ""
	}
	return e.Name()
}

// chance is a source that depends on the history and on what is asked about alone.
func (w *world) chance(about ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, about...)
	return rand.New(rand.NewPCG(w.h.Seed, h.Sum64()))
}

func (w *world) nthOf(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.nth[what]++
	return w.mu.nth[what]
}

func (w *world) fateOf(name, key string) (f fate) {
	n := w.nthOf(name + " " + key)
	r := w.chance(name, " ", key, " ", n)
	span := func() time.Duration {
		switch k := r.IntN(100); {
		case k < 40:
			return time.Duration(r.IntN(2000)) * time.Microsecond
		case k < 85:
			return time.Duration(2000+r.IntN(28000)) * time.Microsecond
		case k < 97 || name == "List" || name == "Head" || name == "Get": // longer than 3 s in all would be a store that is away
			return time.Duration(30+r.IntN(300)) * time.Millisecond
		}
		return time.Duration(r.IntN(4000)) * time.Millisecond
	}
	f.there, f.back = span(), span()
	f.whole, f.stays = r.IntN(2) == 0, r.IntN(2) == 0
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.h.Faults && w.mu.healthy == 0 {
		f.refused, f.lost = r.IntN(100) < 5, r.IntN(100) < 5
		f.then = [...]s3client.Kind{s3client.Temporary, s3client.Throttled, s3client.Denied}[r.IntN(3)]
		if (name == "Delete" || name == "DeleteMany") && r.IntN(100) < 10 {
			f.again = time.Duration(r.IntN(4500)) * time.Millisecond // fs/late waits so long
		}
	}
	return f
}

// body makes bytes that no other body has.
func (w *world) body(n int) []byte {
	w.mu.Lock()
	w.mu.serial++
	r := rand.NewChaCha8([32]byte{byte(w.mu.serial), byte(w.mu.serial >> 8), byte(w.mu.serial >> 16)})
	w.mu.Unlock()
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		panic(err)
	}
	return p
}

// heals begins or ends a time in which the store does not fail.
func (w *world) heals(begins bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.healthy++; !begins {
		w.mu.healthy -= 2
	}
}

func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for name := range w.mu.paths {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *world) noteLocked(format string, args ...any) {
	w.mu.trace = append(w.mu.trace, fmt.Sprintf("%9.3f %s", time.Since(w.born).Seconds(), fmt.Sprintf(format, args...)))
}

func (w *world) counts(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.did[what]++
}

// find notes something that must not be.
func (w *world) find(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.findLocked(format, args...)
}

func (w *world) findLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.noteLocked("FOUND: %s", text)
	w.mu.findings = append(w.mu.findings, text)
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.findings) > 0
}

// traceLog writes what the rooms log into the history's trace.
type traceLog struct{ w *world }

func (t traceLog) Enabled(context.Context, slog.Level) bool { return true }

func (t traceLog) WithAttrs([]slog.Attr) slog.Handler { return t }

func (t traceLog) WithGroup(string) slog.Handler { return t }

func (t traceLog) Handle(_ context.Context, r slog.Record) error {
	var s strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&s, " %s=%v", a.Key, a.Value); return true })
	t.w.note("  log %s: %s%s", r.Level, r.Message, s.String())
	return nil
}
