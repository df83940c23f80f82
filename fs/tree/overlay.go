package tree

import (
	"container/list"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
)

const (
	// keepFor is how long a change made here outweighs listings that do not show it. Swift's listings lag seconds to
	// minutes; what is not in them after this long was undone by somebody else.
	keepFor = 10 * time.Minute
	// settle is how long a change is held after a listing has agreed, for answers that were asked for earlier and come later.
	settle = 30 * time.Second
)

type changeKind int

const (
	pending changeKind = iota // created here, no object yet
	unsaved                   // an object with content or attributes here that are not stored yet
	put                       // stored here
	gone                      // deleted or renamed away here
)

// version is an object as a listing names it.
type version struct {
	etag     string
	modified time.Time // zero when the store did not say
	size     int64
}

func versionOf(o *s3client.Object) version {
	if o == nil {
		return version{}
	}
	return version{etag: o.ETag, modified: o.Modified, size: o.Size}
}

// change is one name as this mount made it. pending and unsaved ones are pinned: they stay until content stores or
// discards them; put and gone ones are while they wait for Later. The others stay until the store's listings agree, or for
// keepFor.
//
//	pending -> put | (discarded)      unsaved -> put | (discarded)      put, gone [waiting ->] agreed -> (dropped)
type change struct {
	kind changeKind
	it   Entry   // what is there; for gone, what was
	ver  version // of the object (for a directory, its marker) that was put, or that was deleted
	// foreign are the headers that are not attributes, when known is true.
	foreign  *s3client.Headers
	known    bool
	wrote    bool      // its content was changed here: its times are ours
	timesSet bool      // its times were set explicitly after the last change of its content
	at       time.Time // when the store had acknowledged it
	agreed   time.Time // when a listing first agreed; zero: none has
	// checked is when a listing or HEAD last bore it out; it answers for the name as long as an answer of the store would.
	checked time.Time
	// trusted is when it was made, or last borne out by a HEAD: until settle later no listing makes it doubtful.
	trusted time.Time
	proven  time.Time // when a HEAD last bore it out: it outweighs listings asked for before
	// chained: an earlier change of the name had not been agreed to. Listings may then show the earlier states one after the
	// other, so that one agreement proves little.
	chained bool
	// doubted: the last listing that could have borne it out did not, nor a HEAD since.
	doubted bool
	elem    *list.Element // in open, or in agreed when noted; nil when pinned
	noted   bool

	// waits are the entries of Later that are not settled: of this change, and of an earlier one of the path where that
	// had the other of the keys "path" and "path/".
	waits []wait
	// under is what Later had of the path when content was changed on top of it; only where the change is local.
	under *change
	// unsure: Later has given up what was under it.
	unsure bool
	// body is what is being put, nil for a marker and for an object that the store has.
	body []byte
	// made: it is a directory that did not exist before.
	made bool
	// earlier: an earlier run has handed it to Later. Its object may be another version since, also by that run's own doing.
	earlier bool
}

// wait is what Later calls a change of an object, or of the marker of the same path.
type wait struct {
	marker bool
	seq    uint64
}

// pinned: it stays, whatever listings show, until content or Later says what became of it.
func (c *change) pinned() bool { return c.local() || c.waiting() }

// local: it has content, or attributes that travel with content, that are not stored yet.
func (c *change) local() bool { return c.kind == pending || c.kind == unsaved }

// waiting: it was handed to Later and is not settled.
func (c *change) waiting() bool { return len(c.waits) > 0 }

// contestable: it is about a version that the store may not have any more; the store's word outweighs it.
func (c *change) contestable() bool {
	return c.earlier && c.ver.etag != "" && !c.it.IsDir() && len(c.waits) == 1 && c.body == nil
}

// certain: it answers for its name whatever the TTL.
func (c *change) certain() bool { return c.pinned() && !c.contestable() }

// owes: Later has something to do for the path.
func (c *change) owes() bool { return c.waiting() || c.under != nil && c.under.waiting() }

// owesObject: and for the object, not the marker alone.
func (c *change) owesObject() bool {
	return c.waitsFor(false) || c.under != nil && c.under.waitsFor(false)
}

func (c *change) waitsFor(marker bool) bool {
	return slices.ContainsFunc(c.waits, func(w wait) bool { return w.marker == marker })
}

// puts: it is an object, or a marker, that is still to be put.
func (c *change) puts() bool { return c.waiting() && c.kind == put && (c.body != nil || c.it.IsDir()) }

func (c *change) live() bool { return c.kind != gone }

// settle takes an entry of Later off those that are waited for; false when it is none of them.
func (c *change) settle(w wait) bool {
	n := len(c.waits)
	c.waits = slices.DeleteFunc(c.waits, func(have wait) bool { return have == w })
	return len(c.waits) < n
}

// inherit takes over what an earlier change of the path leaves to be waited for.
func (c *change) inherit(prev *change) {
	c.chained = prev.chained || !prev.local() && prev.agreed.IsZero()
	below := prev
	if prev.local() {
		below = prev.under
		c.unsure = c.local() && prev.unsure
	}
	switch {
	case below == nil || below == c:
	case !c.local():
		for _, w := range below.waits {
			if !c.waitsFor(w.marker) && w.marker != c.it.IsDir() {
				c.waits = append(c.waits, w)
			}
		}
		c.made = c.made || c.live() && c.it.IsDir() && below.made && below.waiting()
	case below.waiting() || prev.local():
		c.under = below
	}
}

// shown is what a listing says of a name: an object, a prefix with a slash, both or neither.
type shown struct {
	obj    *s3client.Object
	prefix bool
	headed bool // the object is a HEAD's: listings need not show it yet
}

// verdict compares a change with a listing. keep: the change still describes the name. sure: no need to ask the
// store's HEAD, which does not lag, before saying so to a program that waits for this very name.
type verdict struct{ keep, sure bool }

// judge compares a change that is not pinned with what a listing, asked for at that time, shows; it notes an agreement.
func (c *change) judge(s shown, asked, now time.Time) verdict {
	v := c.compare(s, asked, now)
	if v.keep && v.sure && asked.After(c.checked) {
		c.checked = asked
	}
	if asked.After(c.at) && asked.After(c.proven) {
		c.doubted = !c.agrees(s)
	}
	return v
}

func (c *change) compare(s shown, asked, now time.Time) verdict {
	if s.prefix && !c.it.IsDir() && !c.chained && asked.After(c.at) && asked.After(c.proven) {
		// Somebody has made a directory of the name, whatever it is or was here: no listing that lags shows one where there was a file.
		return verdict{keep: false, sure: true}
	}
	if c.agrees(s) {
		if c.kind == put && c.it.IsDir() && asked.Sub(c.at) >= settle {
			// A listing names no version of a marker: held any longer, the change would hide attributes that others have given it.
			return verdict{keep: false, sure: true}
		}
		if c.agreed.IsZero() && !asked.Before(c.at) && !s.headed {
			c.agreed = now
		}
		return verdict{keep: true, sure: true}
	}
	if s.obj != nil && !c.it.IsDir() && !s.prefix && !c.ver.modified.IsZero() {
		newer := s.obj.Modified.Compare(c.ver.modified)
		switch {
		case sameTime(s.obj.Modified, c.ver.modified):
			if v, decided := c.compareSameTime(s.obj, asked); decided {
				return v
			}
		case newer < 0:
			return verdict{keep: true, sure: true} // the listing lags
		case c.kind == put:
			return verdict{keep: false, sure: true} // somebody wrote later
		}
		switch {
		case c.kind != gone || newer <= 0:
		case s.obj.Modified.After(c.at):
			return verdict{} // made anew, it seems
		case !s.obj.Modified.Before(c.at.Truncate(time.Second)) && !c.decided(asked):
			return verdict{keep: true} // perhaps, in the same second
		}
	}
	if s.obj != nil && !s.prefix && c.it.IsDir() && c.kind == gone && !c.ver.modified.IsZero() &&
		!s.obj.Modified.After(c.ver.modified) {
		return verdict{keep: true, sure: true} // the marker of old
	}
	if asked.Before(c.at) || !asked.After(c.proven) {
		return verdict{keep: true, sure: true}
	}
	holds := c.chained && now.Sub(c.at) < settle
	if !c.agreed.IsZero() && !asked.Before(c.agreed) && !holds {
		return verdict{}
	}
	return verdict{keep: true, sure: now.Sub(c.trusted) < settle}
}

// compareSameTime compares a change with an object that a listing shows, of which the store's times cannot say whether
// it is the older or the newer one. A HEAD can.
func (c *change) compareSameTime(o *s3client.Object, asked time.Time) (v verdict, decided bool) {
	if c.kind == gone {
		was := o.ETag == c.ver.etag && o.Size == c.ver.size // what was deleted: the listing lags
		return verdict{keep: true, sure: true}, was
	}
	return verdict{keep: true, sure: c.decided(asked)}, true
}

// decided says whether an object that a listing shows with the same time can only be an older one: the listing was asked
// for before the change or before a HEAD bore that out, or a HEAD did so when the second was over.
func (c *change) decided(asked time.Time) bool {
	return asked.Before(c.at) || !asked.After(c.proven) || c.proven.Sub(c.at) >= time.Second
}

// agrees says whether the listing shows what the change made.
func (c *change) agrees(s shown) bool {
	switch {
	case c.kind == gone:
		return s.obj == nil && !s.prefix
	case c.it.IsDir():
		return s.prefix
	}
	if s.obj == nil || s.obj.ETag != c.ver.etag {
		return false
	}
	if c.ver.modified.IsZero() || s.obj.Modified.IsZero() {
		return true
	}
	// An answer to a write may carry whole seconds where the listing has fractions.
	return s.obj.Modified.Sub(c.ver.modified).Abs() < time.Second
}

// overlay holds the changes made here, by path. Not safe for concurrent use: the tree's lock guards it.
type overlay struct {
	max int
	// forget is told of a doubted change that is dropped for its age or for want of room: what it said of the name must
	// not be taken for the store's word.
	forget func(p string)
	byPath map[string]*change
	// below counts, for each directory, the changes at or below each of its names.
	below map[string]map[string]int
	// alive counts the changes below each directory that leave something there.
	alive        map[string]int
	open, agreed list.List // paths, oldest first
}

func newOverlay(most int, forget func(p string)) *overlay {
	return &overlay{max: most, forget: forget, byPath: make(map[string]*change), below: make(map[string]map[string]int), alive: make(map[string]int)}
}

// get is the path's change, nil when there is none or it has had its time.
func (o *overlay) get(p string, now time.Time) *change {
	o.sweep(now)
	return o.byPath[p]
}

// sweep drops the changes that have had their time. Both lists are in the order in which that comes.
func (o *overlay) sweep(now time.Time) {
	for e := o.open.Front(); e != nil && now.Sub(o.byPath[e.Value.(string)].at) > keepFor; e = o.open.Front() {
		o.retire(e.Value.(string))
	}
	for e := o.agreed.Front(); e != nil && now.Sub(o.byPath[e.Value.(string)].agreed) > settle; e = o.agreed.Front() {
		o.retire(e.Value.(string))
	}
}

// set records a change in place of an earlier one of the path. Something that lives revives the directories above it.
func (o *overlay) set(p string, c *change) {
	if prev := o.byPath[p]; prev != nil {
		c.inherit(prev)
		o.drop(p)
	}
	c.checked, c.trusted = c.at, c.at
	o.byPath[p] = c
	o.count(p, 1, c.live())
	if c.live() {
		for dir, _ := split(p); dir != ""; dir, _ = split(dir) {
			if a := o.byPath[dir]; a != nil && a.kind == gone {
				o.drop(dir)
			}
		}
	}
	if !c.pinned() {
		c.elem = o.open.PushBack(p)
	}
	o.trim()
}

// release makes a change that was pinned one that was made at this moment.
func (o *overlay) release(p string, c *change, now time.Time) {
	c.at, c.checked, c.trusted = now, now, now
	c.elem = o.open.PushBack(p)
	o.trim()
}

// note moves a change that a listing has agreed to among those that go first.
func (o *overlay) note(p string, c *change) {
	if c.elem != nil && !c.noted && !c.agreed.IsZero() && o.byPath[p] == c {
		o.unlink(c)
		c.noted = true
		c.elem = o.agreed.PushBack(p)
	}
}

func (o *overlay) drop(p string) {
	c := o.byPath[p]
	if c == nil {
		return
	}
	o.unlink(c)
	delete(o.byPath, p)
	o.count(p, -1, c.live())
}

func (o *overlay) unlink(c *change) {
	if c.elem == nil {
		return
	}
	o.open.Remove(c.elem) // each does nothing to the other's elements
	o.agreed.Remove(c.elem)
	c.elem = nil
}

// trim drops the oldest changes over the bound, agreed ones first, pinned ones never.
func (o *overlay) trim() {
	for o.open.Len()+o.agreed.Len() > o.max {
		e := o.agreed.Front()
		if e == nil {
			e = o.open.Front()
		}
		o.retire(e.Value.(string))
	}
}

// retire drops a change that nobody has undone.
func (o *overlay) retire(p string) {
	doubted := o.byPath[p].doubted
	o.drop(p)
	if doubted {
		o.forget(p)
	}
}

func (o *overlay) count(p string, n int, live bool) {
	for p != "" {
		dir, name := split(p)
		names := o.below[dir]
		if names == nil {
			names = make(map[string]int)
			o.below[dir] = names
		}
		if names[name] += n; names[name] == 0 {
			delete(names, name)
		}
		if len(names) == 0 {
			delete(o.below, dir)
		}
		if live {
			if o.alive[dir] += n; o.alive[dir] == 0 {
				delete(o.alive, dir)
			}
		}
		p = dir
	}
}

// names are the names in dir that have changes at or below them, sorted.
func (o *overlay) names(dir string) []string {
	names := make([]string, 0, len(o.below[dir]))
	for name := range o.below[dir] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// living says whether a change below dir left something there.
func (o *overlay) living(dir string) bool { return o.alive[dir] > 0 }

// under calls f for each change below dir.
func (o *overlay) under(dir string, f func(p string, c *change)) {
	var walk func(dir string)
	walk = func(dir string) {
		for _, name := range o.names(dir) {
			p := join(dir, name)
			if c := o.byPath[p]; c != nil {
				f(p, c)
			}
			walk(p)
		}
	}
	walk(dir)
}

// check is the overlay's invariants, for tests; "" when they hold.
func (o *overlay) check() string {
	alive := 0
	for p, c := range o.byPath {
		if (c.elem == nil) != c.pinned() {
			return "order of " + p
		}
		if c.live() {
			alive++
			for dir, _ := split(p); dir != ""; dir, _ = split(dir) {
				if a := o.byPath[dir]; a != nil && a.kind == gone {
					return "gone above living: " + strings.Join([]string{dir, p}, " ")
				}
			}
		}
	}
	if alive != o.alive[""] {
		return "count of living changes"
	}
	return ""
}
