package content

import (
	"fmt"
	"slices"
	"time"

	"pailfs/fs/journal"
)

// A File is a chain of states: the base, which the store has; then the states that do not change any more, each of them
// over the one before; then the present one. What the store has got becomes the base, and all before it goes; what comes
// after it stands where it stood. Nothing else is needed to know what of any state the store lacks.
//
//	base <- on its way to the store <- in the journal <- present
//	        (often the same one)

// change is what a state has that the one before it has not: bytes [0, limit) are the same where they are not dirty. It is
// a value without a lock; its dirty set is not shared.
type change struct {
	limit int64
	dirty ranges
}

func (c *change) wrote(off, n int64) { c.dirty = c.dirty.add(off, n) }

func (c *change) truncate(size int64) { c.dirty, c.limit = c.dirty.cut(size), min(c.limit, size) }

func (c *change) clone() change { return change{c.limit, slices.Clone(c.dirty)} }

// then is the change that c and, after it, next are together.
func (c *change) then(next *change) change {
	both := change{min(c.limit, next.limit), slices.Clone(c.dirty).cut(next.limit)}
	for _, r := range next.dirty {
		both.dirty = both.dirty.add(r.Off, r.Len)
	}
	return both
}

// stage is a state of a File's bytes that does not change any more: one that is being stored, or that the journal has.
// Whoever overwrites its bytes gets a new spool. Fields are guarded by File.mu, but for spool and size, which do not change
// once it has a record.
type stage struct {
	spool *journal.Spool // nil: none of its bytes are here
	size  int64
	local ranges // of its bytes, in the spool
	from  change // over the state before it
	gen   uint64 // of the file then
	bytes uint64

	recorded bool            // the journal has it, as record says
	record   journal.Pending // the last one written
	touches  uint64          // attributes that the record has
	since    time.Time       // the journal has had something of the file all the time since then
	left     time.Time       // the first change of bytes after it; zero: none
}

// stageLocked is the present state, as one that does not change any more.
func (f *File) stageLocked() *stage {
	st := &stage{spool: f.mu.spool, size: f.mu.layout.size, local: slices.Clone(f.mu.layout.local), gen: f.mu.gen,
		bytes: f.bytesLocked(), touches: f.mu.touches, from: f.overBaseLocked(nil)}
	if len(f.mu.chain) > 0 {
		st.from = f.mu.latest.clone()
	}
	return st
}

// pushLocked puts the present state, frozen as st, at the chain's end.
func (f *File) pushLocked(st *stage) {
	f.mu.chain = append(f.mu.chain, st)
	f.mu.latest = change{limit: st.size}
}

// removeLocked takes a stage out of the chain that nobody will store: the next state's change has its change too.
func (f *File) removeLocked(st *stage) {
	i := slices.Index(f.mu.chain, st)
	if i < 0 {
		return
	}
	after := &f.mu.latest
	if i+1 < len(f.mu.chain) {
		after = &f.mu.chain[i+1].from
	}
	*after = st.from.then(after)
	f.mu.chain = slices.Delete(f.mu.chain, i, i+1)
}

// storedLocked makes the state st of the chain the base: it goes, and all before it. The layout is over it then.
func (f *File) storedLocked(st *stage) {
	i := slices.Index(f.mu.chain, st)
	f.mu.chain = slices.Delete(f.mu.chain, 0, i+1)
	c := f.mu.latest.clone()
	if len(f.mu.chain) > 0 {
		c = f.overBaseLocked(nil)
	}
	f.mu.layout.base, f.mu.layout.dirty = c.limit, c.dirty
}

// overBaseLocked is the change between the base and a stage, or the present state, which is nil or a stage of nobody's.
func (f *File) overBaseLocked(st *stage) change {
	if len(f.mu.chain) == 0 {
		return change{f.mu.layout.base, slices.Clone(f.mu.layout.dirty)}
	}
	c := f.mu.chain[0].from.clone()
	if f.mu.chain[0] == st {
		return c
	}
	for _, next := range f.mu.chain[1:] {
		if c = c.then(&next.from); next == st {
			return c
		}
	}
	return c.then(&f.mu.latest)
}

// layoutLocked is where a stage's bytes are, as layout says it of the present state.
func (f *File) layoutLocked(st *stage) layout {
	c := f.overBaseLocked(st)
	return layout{size: st.size, base: c.limit, local: slices.Clone(st.local), dirty: c.dirty}
}

// changeLocked changes the present state.
func (f *File) changeLocked(here func(*layout), since func(*change)) {
	here(&f.mu.layout)
	if len(f.mu.chain) > 0 {
		since(&f.mu.latest)
	}
}

func (f *File) wroteLocked(off, n int64) {
	f.changeLocked(func(l *layout) { l.wrote(off, n) }, func(c *change) { c.wrote(off, n) })
}

func (f *File) truncatedLocked(size int64) {
	f.changeLocked(func(l *layout) { l.truncate(size) }, func(c *change) { c.truncate(size) })
}

// orphanedLocked records that the base is gone, all of it being local in every state: each byte is the file's own.
func (f *File) orphanedLocked() {
	if len(f.mu.chain) == 0 {
		f.mu.layout.orphaned()
		return
	}
	first := f.mu.chain[0]
	first.from = change{0, slices.Clone(first.local)}
	c := f.overBaseLocked(nil)
	f.mu.layout.base, f.mu.layout.dirty = c.limit, c.dirty
}

// keptLocked is the state that the journal has, nil if it has none.
func (f *File) keptLocked() *stage {
	for _, st := range f.mu.chain {
		if st.recorded {
			return st
		}
	}
	return nil
}

// usesLocked says whether the present state or a stage has bytes in a spool.
func (f *File) usesLocked(spool *journal.Spool) bool {
	return f.mu.spool == spool || slices.ContainsFunc(f.mu.chain, func(st *stage) bool { return st.spool == spool })
}

// spoolsLocked are all spools of the file.
func (f *File) spoolsLocked() []*journal.Spool {
	var all []*journal.Spool
	add := func(s *journal.Spool) {
		if s != nil && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, st := range f.mu.chain {
		add(st.spool)
	}
	add(f.mu.spool)
	return all
}

// checkChainLocked is what holds whenever nobody is inside a method.
func (f *File) checkChainLocked() error {
	recorded := 0
	for _, st := range f.mu.chain {
		if st.recorded {
			recorded++
		}
		l := f.layoutLocked(st)
		if err := l.check(st.spool != nil); err != nil {
			return fmt.Errorf("a frozen state: %w", err)
		}
		if st.bytes == f.bytesLocked() && (st.size != f.mu.layout.size || len(f.mu.latest.dirty) > 0 || f.mu.latest.limit != st.size) {
			return fmt.Errorf("frozen with %d bytes and unchanged, has %d, changed %v", st.size, f.mu.layout.size, f.mu.latest)
		}
	}
	if recorded > 1 {
		return fmt.Errorf("%d states in the journal", recorded)
	}
	if len(f.mu.chain) == 0 {
		return nil
	}
	c := f.overBaseLocked(nil)
	if c.limit != f.mu.layout.base || !slices.Equal(c.dirty, f.mu.layout.dirty) {
		return fmt.Errorf("changes %v of the chain, layout %v", c, f.mu.layout)
	}
	return nil
}
