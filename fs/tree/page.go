package tree

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// asked is what was asked for the single names of a directory.
type asked struct {
	at        time.Time // of the latest
	name      string    // which that was
	ascending int       // how many on end, up to it, each came behind the one before
	since     time.Time // of those counted in count: within a TTL
	count     int
	// paged is when its first page was listed and turned out not to be all: single lookups are cheaper for it.
	paged time.Time
}

// pageDue says what to ask the store for, where a name is not known, and behind which name.
//
// The second unknown name of a directory within the TTL costs its first page, which is no more than one name costs and
// tells of all in a small directory. In a large one names that are asked for in order (rm -r, when the TTL is over)
// cost a page each thousand, and when as many were asked for as the directory has pages, all pages are read again.
func (t *Tree) pageDue(path string) (how asking, after string) {
	dir, name := split(path)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	d := t.dirLocked(dir)
	a := &d.asked
	again := !a.at.IsZero() && t.fresh(a.at)
	if again && name > a.name {
		a.ascending++
	} else if name != a.name {
		a.ascending = 0
	}
	if !t.fresh(a.since) {
		a.since, a.count = now, 0
	}
	before := a.name
	a.at, a.name, a.count = now, name, a.count+1
	large := d.names > namesPerPage || !a.paged.IsZero() && now.Sub(a.paged) <= bigFor
	next := large && t.isNext(dir, before, name)
	switch {
	case !again && !next:
		return oneName, ""
	case !large:
		return onePage, ""
	case next || a.ascending >= inOrder:
		_, n := utf8.DecodeLastRuneInString(name)
		return onePage, name[:len(name)-n]
	case d.names > 0 && d.names < t.o.MaxEntries/2 && a.count > 2+d.names/namesPerPage:
		a.count = 0
		return allPages, ""
	}
	return oneName, ""
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
	p, err := l.fetch(ctx, l.from)
	if err != nil {
		return err
	}
	l.take(p, after == "")
	if p.Next != "" {
		l.keepPage(path, laterBound(l.last(p), func(string) bool { return false }), after)
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

// keepPage remembers the names of one page that are final, those below bound.
func (l *lister) keepPage(path, bound, after string) {
	t := l.t
	n := sort.Search(len(l.held), func(i int) bool { return l.held[i].name >= bound })
	t.mu.Lock()
	if after == "" {
		t.dirLocked(l.path).asked.paged = t.o.Now()
	}
	for _, c := range l.held[:n] {
		if e, found, sure := t.mergeLocked(join(l.path, c.name), c.shown, c.asked); found && sure {
			l.seen(c.name, e, c.came)
		}
	}
	t.mu.Unlock()
	if _, name := split(path); name < bound && !l.holds(path) {
		l.keepAbsent(path, after)
	}
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
