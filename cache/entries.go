package cache

import (
	"math"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const defaultMaxEntries = 100_000

// Entries remembers what listings and HEADs said about names, by directory, and when. How long that is worth anything
// is the caller's to decide. A directory is an opaque string; "a" is above "a/b", "" is above all.
//
// A name is present (with an E), absent (it was looked for and is not there), removed (it is gone by our own doing,
// which an older listing must not undo) or unknown. A directory may be complete: then a name that is not present was
// not there when it was listed.
//
// The bound counts names of every kind and directories. The directory unused for longest is forgotten first; when one
// directory alone is over the bound it loses its oldest names, and is then not complete.
//
// Safe for concurrent use.
type Entries[E any] struct {
	limit int
	now   func() time.Time

	mu struct {
		sync.Mutex
		dirs  *simplelru.LRU[string, *directory[E]]
		names int    // in all directories
		seq   uint64 // counts changes; what happened later has a higher number
		past  past
	}
}

type kind uint8

const (
	present kind = iota
	absent
	removed
)

// A record is what is known of one name. It is replaced, never changed.
type record[E any] struct {
	entry E
	seen  moment
	made  uint64 // when it was made, and in the lowest two bits its kind: there may be a million
	local uint64 // when the name was last changed by Put, Absent or Remove; 0: never
}

func (r *record[E]) kind() kind  { return kind(r.made & 3) }
func (r *record[E]) seq() uint64 { return r.made >> 2 }

func made(seq uint64, k kind) uint64 { return seq<<2 | uint64(k) }

// moment is a time in eight bytes: nanoseconds since 1970, 0 for the zero time.
type moment int64

func momentOf(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	return moment(t.UnixNano())
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(m))
}

// A directory is guarded by Entries.mu.
type directory[E any] struct {
	names    table[E]
	complete bool
	listed   time.Time // since when it is complete: no name was looked at before
	lost     uint64    // when it last lost a name to the bound
	changed  uint64    // when a name of it was last changed by Put, Absent or Remove, or made unknown
	floor    uint64    // listings begun before it are void
	sorted   []int32   // the slots of the present names in their order, or nil
}

// NewEntries returns an empty cache for at most maxEntries names and directories (0: 100,000). now is the clock, nil
// for time.Now.
func NewEntries[E any](maxEntries int, now func() time.Time) *Entries[E] {
	if maxEntries <= 0 {
		maxEntries = defaultMaxEntries
	}
	if now == nil {
		now = time.Now
	}
	c := &Entries[E]{limit: max(maxEntries, 2), now: now} // a directory and a name
	c.mu.dirs = unbounded[*directory[E]]()
	return c
}

// unbounded returns an LRU that is only ever shortened by its owner.
func unbounded[V any]() *simplelru.LRU[string, V] {
	l, err := simplelru.NewLRU[string, V](math.MaxInt, nil)
	if err != nil { // only for a size that is not positive
		panic(err)
	}
	return l
}

// Get returns a present name's entry and when it was seen.
func (c *Entries[E]) Get(dir, name string) (e E, seen time.Time, ok bool) {
	r, ok := c.get(dir, name, present)
	return r.entry, r.seen.time(), ok
}

// IsAbsent reports whether the name was found absent, and when. It does not look at Complete.
func (c *Entries[E]) IsAbsent(dir, name string) (seen time.Time, ok bool) {
	r, ok := c.get(dir, name, absent)
	return r.seen.time(), ok
}

func (c *Entries[E]) get(dir, name string, k kind) (record[E], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.mu.dirs.Get(dir); ok {
		if r, ok := d.names.Get(name); ok && r.kind() == k {
			return r, true
		}
	}
	return record[E]{}, false
}

// Put remembers that the name is there, seen now. A complete directory stays complete.
func (c *Entries[E]) Put(dir, name string, e E) {
	c.change(dir, name, e, present)
}

// Absent remembers that the name is not there, seen now.
func (c *Entries[E]) Absent(dir, name string) {
	c.change(dir, name, *new(E), absent)
}

// Remove says that the name is gone: nothing is known of it any more but that listings begun earlier are wrong about
// it. In a complete directory it is thereby known not to be there. To say "unknown" use ForgetName.
func (c *Entries[E]) Remove(dir, name string) {
	c.change(dir, name, *new(E), removed)
}

func (c *Entries[E]) change(dir, name string, e E, k kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.seq++
	d := c.dirLocked(dir)
	d.changed = c.mu.seq
	i := c.setLocked(d, name, record[E]{entry: e, seen: momentOf(c.now()), made: made(c.mu.seq, k), local: c.mu.seq})
	d.order(i, k == present)
	c.shrinkLocked()
}

// ForgetName makes one name unknown; its directory is not complete any more.
func (c *Entries[E]) ForgetName(dir, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.seq++
	if d, ok := c.mu.dirs.Peek(dir); ok {
		d.complete, d.floor, d.changed = false, c.mu.seq, c.mu.seq
		c.unsetLocked(d, name)
	} else {
		c.mu.past.add(forgotten{dir, false, c.mu.seq})
	}
}

// Complete reports whether the whole directory is known, and since when: the start of the listing that said so.
func (c *Entries[E]) Complete(dir string) (seen time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.mu.dirs.Get(dir); ok && d.complete {
		return d.listed, true
	}
	return time.Time{}, false
}

// Named is a present name of a directory.
type Named[E any] struct {
	Name  string
	Entry E
	Seen  time.Time
}

// All returns the present names of a complete directory, sorted; ok is false for any other directory.
func (c *Entries[E]) All(dir string) (all []Named[E], ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.orderedLocked(dir)
	if !ok {
		return nil, false
	}
	return d.named(d.sorted), true
}

// Len is how many names are remembered, of whatever kind.
func (c *Entries[E]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.names
}

// dirLocked returns the directory, made where it is missing, as the one used last.
func (c *Entries[E]) dirLocked(dir string) *directory[E] {
	d, ok := c.mu.dirs.Get(dir)
	if !ok {
		d = &directory[E]{}
		c.mu.dirs.Add(dir, d)
	}
	return d
}

// setLocked sets a name's record and gives its slot.
func (c *Entries[E]) setLocked(d *directory[E], name string, r record[E]) int32 {
	before := d.names.Len()
	i := d.names.Add(name, r)
	c.mu.names += d.names.Len() - before
	return i
}

func (c *Entries[E]) unsetLocked(d *directory[E], name string) {
	if d.names.Remove(name) {
		c.mu.names--
		d.sorted = nil
	}
}

// shrinkLocked brings the cache back within its bound: whole directories go, but of the last one left only names.
func (c *Entries[E]) shrinkLocked() {
	for c.mu.names+c.mu.dirs.Len() > c.limit {
		if c.mu.dirs.Len() > 1 {
			dir, d, _ := c.mu.dirs.RemoveOldest()
			c.mu.names -= d.names.Len()
			if d.changed > 0 { // what was changed here is not known any more: what was asked before could undo it
				c.forgottenLocked(dir, false)
			}
			continue
		}
		_, d, _ := c.mu.dirs.GetOldest()
		c.loseLocked(d)
	}
}

// loseLocked drops the directory's oldest name for want of room. If that was a change made here, listings begun before
// it could bring the old state back: they are void from then on.
func (c *Entries[E]) loseLocked(d *directory[E]) {
	if i := d.names.oldest; i != 0 && d.names.at(i).record.kind() == present {
		d.order(i, false)
	}
	_, r, ok := d.names.RemoveOldest()
	if !ok {
		return
	}
	c.mu.names--
	c.mu.seq++
	d.lost, d.complete = c.mu.seq, false
	if d.names.compact() {
		d.sorted = nil
	}
	d.floor = max(d.floor, r.local)
}

// below reports whether dir is tree or in it.
func below(dir, tree string) bool {
	return tree == "" || dir == tree || strings.HasPrefix(dir, tree) && dir[len(tree)] == '/'
}
