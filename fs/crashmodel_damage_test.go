package fs_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// damageLocked does to a file of a journal what disks do.
func (w *world) damageLocked(dir string) {
	var files []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != "lock" {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		w.findLocked("read the journal's directory: %v", err)
	}
	if err != nil || len(files) == 0 {
		return
	}
	slices.Sort(files)
	r := w.chance("damage ", w.lives)
	p := pick(r, files...)
	b, err := os.ReadFile(p)
	if err != nil || len(b) == 0 {
		return
	}
	at := r.IntN(len(b))
	what := pick(r, "flipped", "cut", "zeros")
	switch what {
	case "flipped":
		b[at] ^= 1 << r.IntN(8)
	case "cut":
		b = b[:at]
	case "zeros":
		clear(b[at:min(len(b), at+4096)])
	}
	w.noteLocked("%s at %d: %s", p, at, what)
	w.mu.damaged, w.mu.damage = true, what
	if what == "cut" && filepath.Base(filepath.Dir(p)) == "log" {
		w.mu.damage = "log cut" // nothing tells it from a log that ended there
	}
	w.mu.did["journal "+w.mu.damage]++
	if err := os.WriteFile(p, b, 0o600); err != nil {
		w.findLocked("damage the journal: %v", err)
	}
}

// inspect is a process over a damaged journal. It starts; what it shows and stores somebody has written; what was acknowledged and
// is lost is in the log, as what cannot be read; and a flipped bit costs no more than the one operation whose entry it was in.
func (w *world) inspect(dir string) {
	w.heals(true)
	w.lives++
	l := w.live(dir)
	since := w.traced()
	if !l.start() {
		return
	}
	l.rested()
	x := &writer{w, l, l.kernel, -1}
	var lost []string
	for _, name := range w.names() {
		if v, err := x.readAll(name); err != nil || !w.mayBe(name, v) {
			lost = append(lost, name)
		}
	}
	if w.mu.damage != "log cut" {
		w.reported(lost, since)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	err := l.rooms.Server.Flush(ctx, "", nil)
	time.Sleep(5 * time.Minute)
	w.note("flush: %v, close: %v", err, l.close(ctx))
}

// mayBe says whether a name is what its writers were told; what nobody has written is found.
func (w *world) mayBe(name string, v version) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.accountLocked(name)
	if _, asked := a.asked[contentName(v.body)]; v.there && v.kind != aDir && !asked {
		w.findLocked("%s reads as %v, which nobody has written", name, v)
	}
	if a.may(v) {
		return true
	}
	w.noteLocked("  %s is %v; before the damage it was %v", name, v, a.possible)
	return false
}

func (w *world) traced() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.trace)
}

// reported looks whether the log tells of what was lost. A rename has two names, and so has each that was under way.
func (w *world) reported(lost []string, since int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(lost) == 0 {
		return
	}
	w.mu.did["names lost by damage"] += len(lost)
	if !slices.ContainsFunc(w.mu.trace[since:], func(line string) bool {
		return (strings.Contains(line, "log ERROR: ") || strings.Contains(line, "log WARN: ")) && (strings.Contains(line, "cannot be read") || strings.Contains(line, "damaged journal"))
	}) {
		w.findLocked("%v are not what they were, and no log says so", lost)
	}
	if w.mu.damage == "flipped" && len(lost) > 2 {
		w.findLocked("a flipped bit has cost %v", lost)
	}
}
