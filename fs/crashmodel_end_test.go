package fs_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"pailfs/fs/journal"
	"pailfs/fs/wired"
)

// finish is the end of a history: everything is stored, and nothing is left.
func (l *life) finish() {
	w := l.w
	w.heals(true)
	l.rested()
	if w.h.Faults {
		time.Sleep(w.h.TTL + 10*time.Second)
	}
	x := &writer{w, l, l.kernel, 0}
	for _, name := range w.names() {
		if _, err := x.see(name); err != nil {
			w.find("look at %s in the end: %v", name, err)
		}
		if !l.unsure(name) {
			x.sure(name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := l.rooms.Server.Flush(ctx, "", nil); err != nil {
		w.find("flush in the end: %v", err)
	}
	l.stored()
	time.Sleep(5 * time.Minute)
	l.nothingLeft()
	if err := l.close(ctx); err != nil {
		w.find("close: %v", err)
	}
	l.stored()
	l.journalIsEmpty(false)
	if !w.failed() {
		w.another(l.dir).journalIsEmpty(true)
		w.noUploads()
	}
	if !w.failed() {
		w.another(w.root + "/fresh") // a host that has never seen the names
	}
}

// stored compares the store with what the names are.
func (l *life) stored() {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, a := range w.mu.paths {
		p, there := w.mem.Bytes("b", name)
		if !slices.ContainsFunc(a.possible, func(v version) bool { return w.has(name, v) }) {
			w.findLocked("in the end %s is stored as %v, %s; it may be %v", name, there, contentName(p), a.possible)
		}
	}
	for _, key := range w.mem.Keys("b") {
		if w.mu.paths[key] == nil && !strings.HasSuffix(key, "/") {
			w.findLocked("in the end there is %s", key)
		}
	}
}

func (w *world) noUploads() {
	if ups := w.mem.PendingUploads("b"); len(ups) > 0 {
		w.find("uploads are left: %v", ups)
	}
}

func (l *life) nothingLeft() {
	w := l.w
	if u := l.rooms.Files.Unsaved(); len(u) > 0 {
		w.find("unsaved in the end: %v", u)
	}
	if c := l.rooms.Files.Conflicts(); len(c) > 0 {
		w.find("conflicts: %v", c)
	}
	if l.rooms.Outbox != nil && l.rooms.Outbox.Len() > 0 {
		w.find("the outbox has %v", l.rooms.Outbox.Pending())
	}
}

// journalIsEmpty looks at what the process has left. An upload's note may wait for the next one, where its creation was not
// answered.
func (l *life) journalIsEmpty(really bool) {
	j, err := journal.Open(l.dir)
	if err != nil {
		l.w.find("open the journal again: %v", err)
		return
	}
	defer j.Close()
	kept, err := wired.KeptIn(j)
	if !really && len(l.halfway) > 0 {
		kept.Renames = nil // what is left of them the next process does
	}
	if err != nil || kept.Len() > 0 {
		l.w.find("the journal has %+v in the end, %v", kept, err)
	}
	if n := j.Stats().Notes; really && n > 0 {
		l.w.find("the journal has %d notes in the end", n)
	}
}

// another is a process that looks at all names and ends.
func (w *world) another(dir string) *life {
	w.lives++
	l := w.live(dir)
	if !l.start() {
		return l
	}
	l.rested()
	x := &writer{w, l, l.kernel, 0}
	for _, name := range w.names() {
		if _, err := x.see(name); err != nil {
			w.find("another mount: look at %s: %v", name, err)
		}
	}
	time.Sleep(5 * time.Minute)
	if err := l.close(context.Background()); err != nil {
		w.find("close another mount: %v", err)
	}
	return l
}
