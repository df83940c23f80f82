package tree

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// asked is what was asked for the single names of a directory.
type asked struct {
	at    time.Time // of the latest
	name  string    // which that was
	since time.Time // of those counted in count: within a TTL
	count int
	// paged is when a page was listed that turned out not to be all: single lookups are cheaper for it.
	paged time.Time
	runs  []run // the latest last
}

// run is somebody who asks for names in their order. There may be several, at different places.
type run struct {
	name      string // the latest that was not known
	at        time.Time
	ascending int    // how many on end, up to it, each came behind the one before
	next      string // the first name that the latest page left open; "" if there was none
	beyond    bool   // a name behind next was asked for before it
	after     string // behind which name a page is being read, for so many
	reading   int
}

// mostRuns in one directory are remembered.
const mostRuns = 4

// runTo is the run that a name goes on with, or a new one: that which stands nearest before it.
func (a *asked) runTo(name string, now time.Time, lasts time.Duration) *run {
	best := -1
	for i := range a.runs {
		r := &a.runs[i]
		if r.next == name {
			best = i
			break
		}
		if r.name <= name && now.Sub(r.at) < lasts && (best < 0 || r.name > a.runs[best].name) {
			best = i
		}
	}
	r := run{name: name}
	if best >= 0 {
		r = a.runs[best]
		a.runs = slices.Delete(a.runs, best, best+1)
	} else if len(a.runs) == mostRuns {
		a.runs = slices.Delete(a.runs, 0, 1)
	}
	switch {
	case r.next != "" && name > r.next && r.reading == 0 && !r.beyond: // far from where it was, perhaps
		r.ascending, r.beyond = 0, true
	case name > r.name:
		r.ascending++
	}
	r.name, r.at = name, now
	a.runs = append(a.runs, r)
	return &a.runs[len(a.runs)-1]
}

// came notes for the run that read a page which name the page has left open, "" for none or an error.
func (a *asked) came(after, next string) {
	for i := range a.runs {
		if r := &a.runs[i]; r.reading > 0 && r.after == after {
			if r.reading--; next != "" {
				r.next, r.beyond = next, false
			}
			return
		}
	}
}

// pageDue says what to ask the store for, where a name is not known, and behind which name.
//
// The second unknown name of a directory within the TTL costs its first page, which is no more than one name costs and
// tells of all in a small directory. In a large one names that are asked for in order (ls -l of more than are remembered,
// rm -r, when the TTL is over) cost a page each thousand, and when as many were asked for as the directory has pages, all
// pages are read again.
func (t *Tree) pageDue(path string) (how asking, after string) {
	dir, name := split(path)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	d := t.dirLocked(dir)
	a := &d.asked
	again := !a.at.IsZero() && t.fresh(a.at)
	if !t.fresh(a.since) {
		a.since, a.count = now, 0
	}
	before := a.name
	a.at, a.name, a.count = now, name, a.count+1
	large := d.names > namesPerPage || !a.paged.IsZero() && now.Sub(a.paged) <= bigFor
	r := a.runTo(name, now, 2*t.o.TTL)
	next := large && (r.next == name || r.ascending >= inOrder || t.isNext(dir, before, name))
	switch {
	case t.o.TTL <= 0, !again && !next:
		return oneName, ""
	case r.reading > 0 && r.after < name:
		r.reading++
		return onePage, r.after
	case !large:
		r.after, r.reading = "", 1
		return onePage, ""
	case next:
		_, n := utf8.DecodeLastRuneInString(name)
		r.after, r.reading = name[:len(name)-n], 1
		return onePage, r.after
	case d.names > 0 && d.names < t.o.MaxEntries/2 && a.count > 2+d.names/namesPerPage:
		a.count = 0
		return allPages, ""
	}
	return oneName, ""
}

// pageRead ends what pageDue began.
func (t *Tree) pageRead(path, after, next string) {
	dir, _ := split(path)
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.mu.dirs.Peek(dir); ok {
		d.asked.came(after, next)
	}
}

// isNext says whether a name is known to come behind another with few or none between them.
func (t *Tree) isNext(dir, before, name string) bool {
	if before == "" || before >= name || !t.listedLately(dir) {
		return false
	}
	n, ok := t.entries.Between(dir, before, name)
	return ok && n <= nextGap
}

// readPages lists the page of a path's directory that begins behind a name, or all: a small directory is then known wholly,
// of a larger one the names of the page, and of the path whether it is among them.
func (t *Tree) readPages(ctx context.Context, path string, how asking, after string) error {
	dir, _ := split(path)
	l := t.newLister(dir, after)
	nobody := func(Entry) bool { return true }
	if how == allPages {
		return notMissing(l.run(ctx, nobody))
	}
	next := ""
	defer func() { t.pageRead(path, after, next) }()
	p, err := l.fetch(ctx, l.from)
	if err != nil {
		return err
	}
	l.take(p, after == "")
	if p.Next != "" {
		next = l.keepPage(path, l.last(p), after)
		return nil
	}
	listed := l.holds(path)
	l.flush("", true, nobody)
	if after != "" && !listed {
		l.keepAbsent(path, after)
	}
	return notMissing(l.end())
}

// notMissing is a listing's error, but that the directory is not there: then no name of it is.
func notMissing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// keepPage remembers those names of one page of which nothing more can come, and whether the path is one: a later page
// cannot show what comes before the key "name/". The page came to the key or prefix last. It gives the first name that
// is left open.
func (l *lister) keepPage(path, last, after string) (open string) {
	if _, name := split(path); name+"/" <= last && !l.holds(path) {
		l.keepAbsent(path, after)
	}
	t := l.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirLocked(l.path).asked.paged = t.o.Now()
	for _, c := range l.held {
		if !c.prefix && c.name+"/" > last {
			if open == "" {
				open = c.name
			}
			continue
		}
		if e, found, sure := t.mergeLocked(join(l.path, c.name), c.shown, c.asked); found && sure {
			l.seen(c.name, e, c.came)
		}
	}
	return open
}

// holds says whether a path is among the names of the page.
func (l *lister) holds(path string) bool {
	_, name := split(path)
	_, ok := slices.BinarySearchFunc(l.held, name, func(c candidate, name string) int { return strings.Compare(c.name, name) })
	return ok
}

// keepAbsent remembers that a path is not among the names behind after.
func (l *lister) keepAbsent(path, after string) {
	t := l.t
	if _, name := split(path); name <= after {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, found, sure := t.mergeLocked(path, shown{}, l.asked); sure {
		t.recordAskedLocked(path, e, found)
	}
}
