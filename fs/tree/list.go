package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// heldMax is how many entries may be held back before the store is asked what they wait for.
const heldMax = 2000

// page is a page of a listing and when it was asked for.
type page struct {
	s3client.ListPage
	asked time.Time
}

// candidate is a name that a listing showed.
type candidate struct {
	name string
	shown
}

// lister streams one directory.
type lister struct {
	t           *Tree
	path        string
	bucket      string
	prefix      string // of all keys in it
	held        []candidate
	ours        []string        // names the overlay has something to say of, sorted, not yet passed
	ruledOut    map[string]bool // possible later directories that have been asked for
	passed      string          // the last name that was merged; "" none
	known       bool            // a listing from before can take over when the store does not answer
	any         bool            // something was there
	unsure      []string        // directories by what was put below them alone, which listings do not show any more
	asked       time.Time       // when the latest page was asked for
	listing     *cache.Listing[Entry]
	added, most int // to listing
}

// List streams a directory's entries in the order of their names: what the store lists, corrected by the changes made
// here. Attributes are as far as known, no HEAD is made. An error ends it. A directory that was listed to its end less
// than the TTL ago costs no request.
func (t *Tree) List(ctx context.Context, path string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := t.list(ctx, path, yield); err != nil {
			yield(Entry{}, fmt.Errorf("list %s: %w", path, err))
		}
	}
}

// errStopped says that the consumer wants no more.
var errStopped = errors.New("stopped")

func (t *Tree) list(ctx context.Context, path string, yield func(Entry, error) bool) error {
	if _, _, err := t.space.locate(path); err != nil {
		return err
	}
	e, state := t.Known(path)
	switch {
	case state == Absent:
		return ErrNotFound
	case state == Found && !e.IsDir():
		return ErrNotDir
	}
	if all, ok := t.listed(path); ok {
		for _, n := range all {
			if !yield(n.Entry, nil) {
				return nil
			}
		}
		return nil
	}
	if path == "" && t.space.account() {
		return t.listBuckets(ctx, yield)
	}
	if t.removedHere(path) {
		if _, err := t.Lookup(ctx, path); err != nil {
			return err
		}
	}
	l := t.newLister(path)
	l.known = t.wasListed(path)
	err := l.run(ctx, func(e Entry) bool { return yield(e, nil) })
	if (errors.Is(err, errLate) || silent(err)) && l.known {
		err = t.listStale(path, l.passed, err, yield)
	}
	if errors.Is(err, errStopped) {
		return nil
	}
	if err != nil && t.space.account() && errors.Is(err, s3client.NotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// listStale yields what was in a directory when it was last listed to its end, behind a name; cause is why.
func (t *Tree) listStale(path, after string, cause error, yield func(Entry, error) bool) error {
	all, ok := t.entries.All(path)
	if !ok { // forgotten since
		return cause
	}
	for _, n := range all {
		if n.Name <= after {
			continue
		}
		e := n.Entry
		e.Seen, e.Stale = n.Seen, !t.fresh(n.Seen)
		if !yield(e, nil) {
			return nil
		}
	}
	return nil
}

// wasListed says whether a directory has ever been listed to its end and is still known so.
func (t *Tree) wasListed(path string) bool {
	_, ok := t.entries.Complete(path)
	return ok
}

// listed is a directory that was listed to its end within the TTL.
func (t *Tree) listed(path string) ([]cache.Named[Entry], bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen, ok := t.entries.Complete(path)
	if !ok || !t.fresh(seen) && !t.newHereLocked(path) {
		return nil, false
	}
	return t.entries.All(path)
}

func (t *Tree) removedHere(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	return c != nil && c.kind == gone
}

func (t *Tree) newLister(path string) *lister {
	bucket, key, _ := t.space.locate(path)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.overlay.sweep(t.o.Now()) // here: what it forgets would make the listing void
	return &lister{t: t, path: path, bucket: bucket, prefix: dirKey(key), ours: t.mu.overlay.names(path),
		ruledOut: make(map[string]bool), listing: t.entries.Begin(path), most: max(t.o.MaxEntries/2, 1)}
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
		return page{p, asked}, err
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
	after := ""
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
		l.take(p, after == "")
		if p.Next == "" {
			break
		}
		if p.Next <= after {
			return fmt.Errorf("the listing of %s%s does not go on behind %q", l.bucket, l.prefix, after)
		}
		after = p.Next
		next = l.ahead(ctx, after)
		bound, err := l.bound(ctx, l.last(p))
		if err != nil {
			return err
		}
		if !l.flush(bound, false, yield) {
			return errStopped
		}
	}
	if !l.flush("", true, yield) {
		return errStopped
	}
	return l.end()
}

// end marks the directory complete, or finds that there is none.
func (l *lister) end() error {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if !l.any && !l.existsLocked() {
		return ErrNotFound
	}
	if l.listing != nil {
		l.listing.Done()
		l.t.dirLocked(l.path).names = l.added
		for _, name := range l.unsure { // whoever asks for one of these is told by a HEAD
			l.t.entries.ForgetName(l.path, name)
		}
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
		l.hold(name, o.Key, shown{obj: o})
	}
	for _, prefix := range p.Prefixes {
		l.hold(strings.TrimSuffix(strings.TrimPrefix(prefix, l.prefix), "/"), prefix, shown{prefix: true})
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
func (l *lister) hold(name, key string, s shown) {
	l.any = true
	if checkName(name) != nil || len(key) > maxKey {
		l.t.mu.Lock()
		defer l.t.mu.Unlock()
		l.t.dirLocked(l.path).odd = true
		l.t.hideLocked(l.bucket, key, "name")
		return
	}
	if l.passed == "" || name > l.passed {
		l.held = append(l.held, candidate{name, s})
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
		if len(l.held)-n <= heldMax || bound == last {
			return bound, nil
		}
		p, err := l.t.o.Store.List(ctx, s3client.ListRequest{Bucket: l.bucket, Prefix: l.prefix + bound + "/", Max: 1})
		if err != nil {
			return "", err
		}
		l.ruledOut[bound] = true
		if len(p.Objects) > 0 {
			l.held = slices.Insert(l.held, n, candidate{bound, shown{prefix: true}})
			l.joinSame()
		}
	}
}

// flush merges and yields what is below bound, or everything.
func (l *lister) flush(bound string, all bool, yield func(Entry) bool) bool {
	held := len(l.held)
	ours := len(l.ours)
	if !all {
		held = sort.Search(held, func(i int) bool { return l.held[i].name >= bound })
		ours = sort.SearchStrings(l.ours, bound)
	}
	for _, e := range l.merge(l.held[:held], l.ours[:ours]) {
		if l.listing != nil {
			if l.added++; l.added > l.most { // more than the cache shall hold of one directory
				l.listing = nil
			} else {
				_, name := split(e.Path)
				l.listing.Add(name, e)
			}
		}
		if !yield(e) {
			return false
		}
	}
	l.held = slices.Delete(l.held, 0, held)
	l.ours = l.ours[ours:]
	return true
}

// merge is the entries of listed names and of names of the overlay, both sorted.
func (l *lister) merge(listed []candidate, ours []string) []Entry {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	out := make([]Entry, 0, len(listed)+len(ours))
	for len(listed) > 0 || len(ours) > 0 {
		var c candidate
		if len(ours) == 0 || len(listed) > 0 && listed[0].name <= ours[0] {
			c, listed = listed[0], listed[1:]
		} else {
			c.name = ours[0]
		}
		if len(ours) > 0 && ours[0] == c.name {
			ours = ours[1:]
		}
		l.passed = c.name
		path := join(l.path, c.name)
		e, found, _ := l.t.mergeLocked(path, c.shown, l.asked)
		if found {
			l.any = true
			out = append(out, e)
			if !c.prefix && e.IsDir() {
				if _, doubtful := l.t.doubtfulLocked(path); doubtful != nil {
					l.unsure = append(l.unsure, c.name)
				}
			}
		}
	}
	return out
}

// readFirstPage lists the first page of a path's directory: a small directory is then known wholly, of a larger one
// the names of the page, and of the path whether it is among them.
func (t *Tree) readFirstPage(ctx context.Context, path string) error {
	dir, name := split(path)
	l := t.newLister(dir)
	p, err := l.fetch(ctx, "")
	if err != nil {
		return err
	}
	l.take(p, true)
	if p.Next == "" {
		l.flush("", true, func(Entry) bool { return true })
		if err := l.end(); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return nil
	}
	bound := laterBound(l.last(p), func(string) bool { return false })
	n := sort.Search(len(l.held), func(i int) bool { return l.held[i].name >= bound })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirLocked(dir).paged = t.o.Now()
	for _, c := range l.held[:n] {
		if e, found, sure := t.mergeLocked(join(dir, c.name), c.shown, l.asked); found && sure {
			t.entries.Put(dir, c.name, e)
		}
	}
	_, listed := slices.BinarySearchFunc(l.held, name, func(c candidate, name string) int { return strings.Compare(c.name, name) })
	if !listed && name < bound {
		if e, found, sure := t.mergeLocked(path, shown{}, l.asked); sure {
			t.recordAskedLocked(path, e, found)
		}
	}
	return nil
}
