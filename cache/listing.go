package cache

import "time"

// A Listing is one pass over a directory of the store. Its names are known as soon as they are added; Done, which only
// a caller that saw the last page may call, makes the directory complete. A Listing that is given up is just dropped.
//
// Other changes come between. A name that was changed by Put, Absent or Remove since Begin stays as it is; a directory
// that was forgotten or renamed since takes nothing more; one that has lost names to the bound takes names, but does
// not become complete, and keeps only a window of the latest ones so that other directories keep their place.
//
// Not safe for concurrent use, but many Listings may run at once, also over one directory.
type Listing[E any] struct {
	cache *Entries[E]
	name  string
	dir   *directory[E]
	begun time.Time
	seq   uint64
	most  int // names of the directory; 0: as many as there are
}

// leastWindow is how many names a directory too large to be remembered has at least, if that is not more than half of all:
// a program that lists it looks at names that it was told of a few pages ago.
const leastWindow = 5000

// AtMost bounds the names that the directory may have while the listing goes on: where there are more, it is not
// remembered as a whole.
func (l *Listing[E]) AtMost(names int) { l.most = max(names, 1) }

// AsOf dates a Listing back: what it says was known before it began.
func (l *Listing[E]) AsOf(at time.Time) {
	if at.Before(l.begun) {
		l.begun = at
	}
}

// Begin starts a Listing; to be called before the first request for it is sent.
func (c *Entries[E]) Begin(dir string) *Listing[E] {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &Listing[E]{cache: c, name: dir, dir: c.dirLocked(dir), begun: c.now(), seq: c.mu.seq}
	c.shrinkLocked()
	return l
}

// Mark is a moment from which a Listing may begin (BeginAt).
type Mark struct {
	seq uint64
	at  time.Time
}

// Mark is this moment: to be taken before a request whose answer will tell of directories that nobody can name yet.
func (c *Entries[E]) Mark() Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Mark{seq: c.mu.seq, at: c.now()}
}

// BeginAt is a Listing that began at a Mark. It is void if the directory was forgotten or renamed since.
func (c *Entries[E]) BeginAt(dir string, m Mark) *Listing[E] {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &Listing[E]{cache: c, name: dir, begun: m.at, seq: m.seq}
	if !c.mu.past.covers(dir, m.seq) {
		l.dir = c.dirLocked(dir)
		c.shrinkLocked()
	}
	return l
}

// maxPast is how many directories that were forgotten are remembered one by one.
const maxPast = 256

// past are the directories, and trees, that were forgotten, latest last: what was asked before says nothing of them.
type past struct {
	latest []forgotten
	all    uint64 // what was asked before counts as forgotten, wherever it is
}

type forgotten struct {
	dir  string
	tree bool
	seq  uint64
}

func (p *past) add(f forgotten) {
	if len(p.latest) == maxPast {
		p.all = p.latest[0].seq
		p.latest = append(p.latest[:0], p.latest[1:]...)
	}
	p.latest = append(p.latest, f)
}

// covers says whether a directory was forgotten since.
func (p *past) covers(dir string, since uint64) bool {
	if p.all > since {
		return true
	}
	for i := len(p.latest) - 1; i >= 0 && p.latest[i].seq > since; i-- {
		if f := p.latest[i]; f.dir == dir || f.tree && below(dir, f.dir) {
			return true
		}
	}
	return false
}

// validLocked reports whether what the listing says may still be believed, and makes its directory the last used.
func (l *Listing[E]) validLocked() bool {
	d, ok := l.cache.mu.dirs.Get(l.name)
	return ok && d == l.dir && l.seq >= d.floor
}

// Valid says whether the directory has not been forgotten or renamed since Begin.
func (l *Listing[E]) Valid() bool {
	l.cache.mu.Lock()
	defer l.cache.mu.Unlock()
	return l.validLocked()
}

// Add remembers a name, seen now.
func (l *Listing[E]) Add(name string, e E) { l.AddSeen(name, e, l.cache.now()) }

// AddSeen is Add for a name that was seen earlier.
func (l *Listing[E]) AddSeen(name string, e E, seen time.Time) {
	c := l.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.validLocked() {
		return
	}
	old, ok := l.dir.names.Peek(name)
	if ok && old.local > l.seq {
		return
	}
	c.mu.seq++
	i := c.setLocked(l.dir, name, record[E]{entry: e, seen: momentOf(seen), made: made(c.mu.seq, present), local: old.local})
	if !ok || old.kind() != present {
		l.dir.orderLast(i)
	}
	c.shrinkLocked()
	if l.most > 0 && l.dir.names.Len() > l.most {
		c.loseLocked(l.dir)
	}
	if l.dir.lost > l.seq {
		window := max(c.limit/8, min(c.limit/2, leastWindow))
		for range 2 {
			if l.dir.names.Len() > window {
				c.loseLocked(l.dir)
			}
		}
	}
}

// Done says that every name of the directory was added: those that were not, and did not come since Begin, are gone.
func (l *Listing[E]) Done() {
	c := l.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.validLocked() {
		return
	}
	d := l.dir
	for _, name := range d.names.Keys() {
		if r, _ := d.names.Peek(name); r.seq() <= l.seq {
			c.unsetLocked(d, name)
		}
	}
	if d.lost > l.seq {
		return
	}
	if !d.complete || l.begun.After(d.listed) {
		d.complete, d.listed = true, l.begun
	}
}

// Forget makes one directory unknown.
func (c *Entries[E]) Forget(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgottenLocked(dir, false)
	c.takeLocked(dir)
}

func (c *Entries[E]) forgottenLocked(dir string, tree bool) {
	c.mu.seq++
	c.mu.past.add(forgotten{dir, tree, c.mu.seq})
}

// ForgetTree makes dir and all below it unknown; "" is everything.
func (c *Entries[E]) ForgetTree(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takeTreeLocked(dir)
}

// Rename moves what is known of oldDir and all below it to newDir, whose own tree is forgotten. Listings that run
// over the moved directories become void. The entries are moved as they are. "" cannot be moved: nothing happens.
func (c *Entries[E]) Rename(oldDir, newDir string) {
	if oldDir == newDir || oldDir == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	moved := c.takeTreeLocked(oldDir)
	c.takeTreeLocked(newDir)
	c.mu.seq++
	for _, m := range moved {
		m.d.floor = c.mu.seq
		c.mu.dirs.Add(newDir+m.dir[len(oldDir):], m.d)
		c.mu.names += m.d.names.Len()
	}
}

type taken[E any] struct {
	dir string
	d   *directory[E]
}

// takeTreeLocked takes dir and all below it out of the cache, the least recently used first.
func (c *Entries[E]) takeTreeLocked(dir string) []taken[E] {
	c.forgottenLocked(dir, true)
	var all []taken[E]
	for _, name := range c.mu.dirs.Keys() {
		if below(name, dir) {
			all = append(all, taken[E]{name, c.takeLocked(name)})
		}
	}
	return all
}

func (c *Entries[E]) takeLocked(dir string) *directory[E] {
	d, ok := c.mu.dirs.Peek(dir)
	if ok {
		c.mu.dirs.Remove(dir)
		c.mu.names -= d.names.Len()
	}
	return d
}
