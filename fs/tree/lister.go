package tree

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
)

// What makes listing hard:
//
//  1. Stores list in key order, programs want names once each and we merge by name: the directory a is the key "a/",
//     which comes behind "a-" and "a.txt". An entry is held back until no later page can bring a smaller name
//     (laterBound), a name that is an object and a prefix until both have been seen.
//  2. Many names may begin with what could still be a directory ("2024-01-01", "2024-01-02", ... while "2024/" may
//     come): beyond heldMax the store is asked for that one prefix, so that a directory of any size streams in constant memory.
//  3. Listings lag behind what this mount did: every name goes through the overlay, and names that only the overlay
//     has are merged in at their place.
//  4. What was seen is remembered in passing, but a directory is complete only when its listing came to its end.

const (
	// heldMax is how many entries may be held back before the store is asked what they wait for, and heldFirst while no
	// entry was shown yet: somebody waits for the first one ("part-0001", "part-0002" ... wait for "part/").
	heldMax   = 2000
	heldFirst = 100
)

// page is a page of a listing, when it was asked for and when it came.
type page struct {
	s3client.ListPage
	asked, came time.Time
}

// candidate is a name that a listing showed.
type candidate struct {
	name string
	shown
	asked, came time.Time // as its page
}

// lister streams one directory.
type lister struct {
	t        *Tree
	path     string
	bucket   string
	prefix   string // of all keys in it
	from     string // the key behind which it begins, "" for the directory's first
	after    string // a name: those up to it are not wanted
	part     bool   // the names up to after are not looked at
	held     []candidate
	ours     []string        // names the overlay has something to say of, sorted, not yet passed
	ruledOut map[string]bool // possible later directories that have been asked for
	passed   string          // the last name that was merged; "" none
	known    bool            // a listing from before can take over when the store does not answer
	any      bool            // something was there
	unsure   []string        // directories by what was put below them alone, which listings do not show any more
	asked    time.Time       // when the latest page was asked for
	listing  *cache.Listing[packed]
	added    int // names
}

// newLister is a listing of a directory, of what is behind a name ("": all).
func (t *Tree) newLister(path, after string) *lister {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.overlay.sweep(t.o.Now()) // here: what it forgets would make the listing void
	l := t.listerLocked(path, t.entries.Begin(path))
	if after != "" {
		l.part, l.from, l.after, l.passed = true, l.prefix+after, after, after
		l.ours = l.ours[sort.Search(len(l.ours), func(i int) bool { return l.ours[i] > after }):]
	}
	return l
}

func (t *Tree) listerLocked(path string, listing *cache.Listing[packed]) *lister {
	bucket, key, _ := t.space.locate(path)
	listing.AtMost(t.o.MaxEntries / 2)
	return &lister{t: t, path: path, bucket: bucket, prefix: dirKey(key), ours: t.mu.overlay.names(path), listing: listing}
}

// errLate says that the store has not answered in time, and that an older listing is to be used. The listing that goes on
// without its listener is one page.
var errLate = fmt.Errorf("list: %w", ErrStale)

// fetch reads the page behind a key; those who list the same directory at the same time share it.
func (l *lister) fetch(ctx context.Context, after string) (page, error) {
	key := l.bucket + "\x00" + l.prefix + "\x00" + after
	p, stale, err := orStale(ctx, l.t, &l.t.pages, key, l.known, func(ctx context.Context) (page, error) {
		asked := l.t.o.Now()
		p, err := l.t.o.Store.List(ctx, s3client.ListRequest{Bucket: l.bucket, Prefix: l.prefix, Delimiter: "/", After: after})
		for i := range p.Objects { // here: the page is shared
			p.Objects[i].Bucket = l.bucket
		}
		return page{p, asked, l.t.o.Now()}, err
	})
	if stale && err == nil {
		err = errLate
	}
	return p, err
}

// fetched is a page or why there is none.
type fetched struct {
	page
	err error
}

var closed = func() chan fetched { c := make(chan fetched); close(c); return c }()

// ahead fetches a page while the one before is consumed.
func (l *lister) ahead(ctx context.Context, after string) chan fetched {
	next := make(chan fetched, 1)
	go func() {
		p, err := l.fetch(ctx, after)
		next <- fetched{p, err}
		close(next)
	}()
	return next
}

func (l *lister) run(ctx context.Context, yield func(Entry) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	after, first := l.from, l.from == ""
	next := l.ahead(ctx, after)
	defer func() {
		cancel()
		<-next // the goroutine ends with the listing
	}()
	for {
		got := <-next
		next = closed
		if got.err != nil {
			return got.err
		}
		p := got.page
		l.take(p, first)
		first = false
		if p.Next == "" {
			break
		}
		if p.Next <= after {
			return errNoProgress(l.bucket, l.prefix, after)
		}
		after = p.Next
		next = l.ahead(ctx, after)
		bound, err := l.bound(ctx, l.last(p))
		if err != nil {
			return err
		}
		l.prove(ctx, bound, false)
		if !l.flush(bound, false, yield) {
			return errStopped
		}
	}
	l.prove(ctx, "", true)
	rest := l.settled("", true)
	if err := l.end(); err != nil {
		return err
	}
	if !l.give(rest, yield) { // the directory is known wholly by now: who gets a name can ask how many there are
		return errStopped
	}
	return nil
}

func errNoProgress(bucket, prefix, after string) error {
	return fmt.Errorf("the listing of %s/%s does not go on behind %q", bucket, prefix, after)
}

// end marks the directory complete, or finds that there is none.
func (l *lister) end() error {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if l.part {
		return nil
	}
	if !l.any && !l.existsLocked() {
		return ErrNotFound
	}
	l.listing.Done()
	l.t.dirLocked(l.path).names = l.added
	for _, name := range l.unsure { // whoever asks for one of these is told by a HEAD
		l.t.entries.ForgetName(l.path, name)
	}
	return nil
}

// existsLocked says whether a directory without entries is one.
func (l *lister) existsLocked() bool {
	t := l.t
	if t.space.top(l.path) || t.mu.overlay.living(l.path) {
		return true
	}
	if c := t.mu.overlay.get(l.path, t.o.Now()); c != nil {
		return c.live() && c.it.IsDir()
	}
	d := t.dirLocked(l.path)
	return d.marker != nil || d.slashless
}

// last is the key or prefix, without the directory's own, that a page came to.
func (l *lister) last(p page) string {
	last := ""
	if n := len(p.Objects); n > 0 {
		last = p.Objects[n-1].Key
	}
	if n := len(p.Prefixes); n > 0 {
		last = max(last, p.Prefixes[n-1])
	}
	return strings.TrimPrefix(last, l.prefix)
}

// take holds what a page shows.
func (l *lister) take(p page, first bool) {
	l.asked = p.asked
	if first {
		l.t.mu.Lock()
		l.t.dirLocked(l.path).odd = false
		l.t.mu.Unlock()
	}
	var marker *s3client.Object
	for i := range p.Objects {
		o := &p.Objects[i]
		name := strings.TrimPrefix(o.Key, l.prefix)
		if name == "" {
			marker = o
			continue
		}
		l.hold(candidate{name, shown{obj: o}, p.asked, p.came}, o.Key)
	}
	for _, prefix := range p.Prefixes {
		name := strings.TrimSuffix(strings.TrimPrefix(prefix, l.prefix), "/")
		l.hold(candidate{name, shown{prefix: true}, p.asked, p.came}, prefix)
	}
	if first {
		l.t.mu.Lock()
		l.t.markLocked(l.path, marker)
		l.t.mu.Unlock()
	}
	sortCandidates(l.held)
	l.joinSame()
}

func sortCandidates(cs []candidate) {
	slices.SortStableFunc(cs, func(a, b candidate) int { return strings.Compare(a.name, b.name) })
}

// hold keeps a name until its turn. Keys that cannot be paths are counted.
func (l *lister) hold(c candidate, key string) {
	l.any = true
	if noPath(c.name, key) != "" {
		l.t.mu.Lock()
		defer l.t.mu.Unlock()
		l.t.dirLocked(l.path).odd = true
		l.t.hideLocked(l.bucket, key, "name")
		return
	}
	if l.passed == "" || c.name > l.passed {
		l.held = append(l.held, c)
	}
}

// joinSame makes one candidate of an object and a prefix of the same name.
func (l *lister) joinSame() {
	out := l.held[:0]
	for _, c := range l.held {
		if n := len(out); n > 0 && out[n-1].name == c.name {
			out[n-1].prefix = out[n-1].prefix || c.prefix
			if c.obj != nil {
				out[n-1].obj = c.obj
			}
			continue
		}
		out = append(out, c)
	}
	l.held = out
}

// bound is the name below which all is final. When too many names wait, the store is asked for what they wait for.
func (l *lister) bound(ctx context.Context, last string) (string, error) {
	for p := range l.ruledOut {
		if !strings.HasPrefix(last, p) {
			delete(l.ruledOut, p)
		}
	}
	for {
		bound := laterBound(last, func(p string) bool { return l.ruledOut[p] })
		n := sort.Search(len(l.held), func(i int) bool { return l.held[i].name >= bound })
		most := heldMax
		if l.passed == "" && n == 0 {
			most = heldFirst
		}
		if len(l.held)-n <= most || bound == last {
			return bound, nil
		}
		p, err := l.t.o.Store.List(ctx, s3client.ListRequest{Bucket: l.bucket, Prefix: l.prefix + bound + "/", Max: 1})
		if err != nil {
			return "", err
		}
		if l.ruledOut == nil {
			l.ruledOut = make(map[string]bool)
		}
		l.ruledOut[bound] = true
		if len(p.Objects) > 0 {
			l.held = slices.Insert(l.held, n, candidate{bound, shown{prefix: true}, l.asked, l.t.o.Now()})
			l.joinSame()
		}
	}
}

// flush merges and yields what is below bound, or everything.
func (l *lister) flush(bound string, all bool, yield func(Entry) bool) bool {
	return l.give(l.settled(bound, all), yield)
}

// settled merges and remembers what is below bound, or everything.
func (l *lister) settled(bound string, all bool) []merged {
	held := len(l.held)
	ours := len(l.ours)
	if !all {
		held = sort.Search(held, func(i int) bool { return l.held[i].name >= bound })
		ours = sort.SearchStrings(l.ours, bound)
	}
	out := l.merge(l.held[:held], l.ours[:ours])
	l.added += len(out)
	for _, m := range out {
		_, name := split(m.Path)
		l.seen(name, m.Entry, m.came)
	}
	l.held = slices.Delete(l.held, 0, held)
	l.ours = l.ours[ours:]
	if !l.part && len(out) > 0 {
		l.reached(out[len(out)-1].Path)
	}
	return out
}

// reached notes that the names up to a path are known.
func (l *lister) reached(path string) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	d := l.t.dirLocked(l.path)
	_, d.upTo = split(path)
	d.upToAt = l.asked
}

func (l *lister) give(out []merged, yield func(Entry) bool) bool {
	for _, m := range out {
		if _, name := split(m.Path); name > l.after && !yield(m.Entry) {
			return false
		}
	}
	return true
}

// merged is an entry, and when the store said so.
type merged struct {
	Entry
	came time.Time
}

// merge is the entries of listed names and of names of the overlay, both sorted.
func (l *lister) merge(listed []candidate, ours []string) []merged {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	now := l.t.o.Now()
	out := make([]merged, 0, len(listed)+len(ours))
	for len(listed) > 0 || len(ours) > 0 {
		var c candidate
		if len(ours) == 0 || len(listed) > 0 && listed[0].name <= ours[0] {
			c, listed = listed[0], listed[1:]
		} else {
			c = candidate{name: ours[0], asked: l.asked, came: now}
		}
		if len(ours) > 0 && ours[0] == c.name {
			ours = ours[1:]
		}
		l.passed = c.name
		path := join(l.path, c.name)
		e, found, _ := l.t.mergeLocked(path, c.shown, c.asked)
		if found {
			l.any = true
			out = append(out, merged{e, c.came})
			if !c.prefix && e.IsDir() {
				if _, doubtful := l.t.doubtfulLocked(path); doubtful != nil {
					l.unsure = append(l.unsure, c.name)
				}
			}
		}
	}
	return out
}
