package tree

import "time"

// Known is what is known of a path without a request: found or absent as of less than the TTL ago, or by a change made
// here. The attributes are complete if Entry.Full.
func (t *Tree) Known(path string) (Entry, State) {
	if _, _, err := t.space.locate(path); err != nil {
		return Entry{}, Unknown
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.knownLocked(path)
}

// Remembered is what Lookup would answer for a path that is there, if it would make no request.
func (t *Tree) Remembered(path string) (Entry, bool) {
	e, state := t.Known(path)
	return e, state == Found && (e.Full || !t.o.Full || t.space.top(path))
}

func (t *Tree) knownLocked(path string) (Entry, State) {
	e, state, since, ages := t.recordedLocked(path)
	if ages && !t.fresh(since) {
		return Entry{}, Unknown
	}
	return e, state
}

// lastKnown is Known however long ago that was; then it is Stale, an absent one too.
func (t *Tree) lastKnown(path string) (Entry, State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, state, since, ages := t.recordedLocked(path)
	if ages && !t.fresh(since) {
		e.Seen, e.Stale = since, true
	}
	return e, state
}

// recordedLocked is what is recorded of a path and since when; what does not age needs no asking.
func (t *Tree) recordedLocked(path string) (e Entry, state State, since time.Time, ages bool) {
	if path == "" {
		e := t.plainDir("")
		e.Full = true
		return e, Found, e.Seen, false
	}
	dir, name := split(path)
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil {
		if e, found, _ := t.changedLocked(path, c, true); found {
			return e, Found, c.checked, !c.certain()
		}
		return Entry{}, Absent, c.checked, !c.certain()
	}
	if e, seen, ok := t.entries.at(path); ok {
		e.Seen = seen
		return e, Found, seen, true
	}
	seen, absent := t.entries.IsAbsent(dir, name)
	if !absent {
		seen, absent = t.entries.Complete(dir)
	}
	switch {
	case !absent:
		return Entry{}, Unknown, seen, false
	case t.mu.overlay.living(path):
		return t.dirEntryLocked(path), Found, seen, true
	}
	return Entry{}, Absent, seen, !t.newHereLocked(dir)
}

// newHereLocked says whether a directory was made here and is not in the store yet: what is in it is known as long.
func (t *Tree) newHereLocked(dir string) bool {
	c := t.mu.overlay.get(dir, t.o.Now())
	return c != nil && c.made && c.waiting()
}
