package cache

import (
	"hash/maphash"
	"strings"
)

// table holds the records of one directory by name, the one used last at one end. It is slots with an index of numbers,
// since there may be a million: an element of a list and of a map for each would cost more than the record. The zero
// value is empty.
type table[E any] struct {
	index          []int32     // open addressing, a power of two: slots, counted from one; 0 is none
	chunks         [][]slot[E] // of chunkSlots, but for the first, which grows to that
	n              int         // names
	slots          int32       // in chunks, with a name or without
	newest, oldest int32
	free           int32 // the first of the slots without a name; each leads to the next by older
}

type slot[E any] struct {
	name         string
	record       record[E]
	newer, older int32
}

// chunkSlots is how many slots are taken at a time: what grows is copied then no more, and has no room to spare.
const chunkSlots = 64

var tableSeed = maphash.MakeSeed()

func (t *table[E]) at(i int32) *slot[E] { return &t.chunks[(i-1)/chunkSlots][(i-1)%chunkSlots] }

// home is where the index has a name, if no other is there.
func (t *table[E]) home(name string) int {
	return int(maphash.String(tableSeed, name)) & (len(t.index) - 1)
}

// find is a name's place in the index and its slot; the slot is 0 where the name is not there.
func (t *table[E]) find(name string) (place int, i int32) {
	if len(t.index) == 0 {
		return 0, 0
	}
	for p := t.home(name); ; p = (p + 1) & (len(t.index) - 1) {
		if i := t.index[p]; i == 0 || t.at(i).name == name {
			return p, i
		}
	}
}

// Len is how many names there are.
func (t *table[E]) Len() int { return t.n }

// Contains says whether a name is there.
func (t *table[E]) Contains(name string) bool {
	_, i := t.find(name)
	return i != 0
}

// Peek gives a name's record.
func (t *table[E]) Peek(name string) (r record[E], ok bool) {
	_, i := t.find(name)
	if i == 0 {
		return r, false
	}
	return t.at(i).record, true
}

// Get is Peek, and makes the name the one used last.
func (t *table[E]) Get(name string) (r record[E], ok bool) {
	_, i := t.find(name)
	if i == 0 {
		return r, false
	}
	t.unlink(i)
	t.link(i)
	return t.at(i).record, true
}

// Add sets a name's record and makes it the one used last. It gives the name's slot, which is its own until it is removed.
func (t *table[E]) Add(name string, r record[E]) int32 {
	if _, i := t.find(name); i != 0 {
		t.at(i).record = r
		t.unlink(i)
		t.link(i)
		return i
	}
	if 4*(t.n+1) > 3*len(t.index) {
		t.grow()
	}
	i := t.vacant()
	place, _ := t.find(name)
	t.index[place] = i
	t.n++
	s := t.at(i)
	s.name, s.record = strings.Clone(name), r // it may be a part of something longer
	t.link(i)
	return i
}

// vacant is a slot without a name.
func (t *table[E]) vacant() int32 {
	if i := t.free; i != 0 {
		t.free = t.at(i).older
		return i
	}
	switch last := len(t.chunks) - 1; {
	case last < 0:
		t.chunks = append(t.chunks, make([]slot[E], 1))
	case last == 0 && t.slots < chunkSlots:
		t.chunks[0] = append(t.chunks[0], slot[E]{})
	case t.slots%chunkSlots == 0:
		t.chunks = append(t.chunks, make([]slot[E], chunkSlots))
	}
	t.slots++
	return t.slots
}

// grow doubles the index.
func (t *table[E]) grow() {
	t.index = make([]int32, max(8, 2*len(t.index)))
	for i := t.oldest; i != 0; i = t.at(i).newer {
		place, _ := t.find(t.at(i).name)
		t.index[place] = i
	}
}

// Remove takes a name out; false when it is not there.
func (t *table[E]) Remove(name string) bool {
	place, i := t.find(name)
	if i == 0 {
		return false
	}
	if t.n == 1 {
		*t = table[E]{}
		return true
	}
	t.vacate(place)
	t.unlink(i)
	*t.at(i) = slot[E]{older: t.free}
	t.free, t.n = i, t.n-1
	return true
}

// vacate takes a place out of the index: what had to stand behind it moves up.
func (t *table[E]) vacate(place int) {
	mask := len(t.index) - 1
	for p := (place + 1) & mask; t.index[p] != 0; p = (p + 1) & mask {
		if home := t.home(t.at(t.index[p]).name); (p-home)&mask >= (p-place)&mask {
			t.index[place], place = t.index[p], p
		}
	}
	t.index[place] = 0
}

// RemoveOldest takes out the name that was not used for longest.
func (t *table[E]) RemoveOldest() (name string, r record[E], ok bool) {
	if t.oldest == 0 {
		return "", r, false
	}
	s := *t.at(t.oldest)
	t.Remove(s.name)
	return s.name, s.record, true
}

// Keys are the names, that used least lately first.
func (t *table[E]) Keys() []string {
	keys := make([]string, 0, t.n)
	for i := t.oldest; i != 0; i = t.at(i).newer {
		keys = append(keys, t.at(i).name)
	}
	return keys
}

// compact gives back the room of a table that had many more names. Their slots are others then.
func (t *table[E]) compact() bool {
	if t.slots < 4*chunkSlots || 3*t.n > int(t.slots) {
		return false
	}
	var small table[E]
	for i := t.oldest; i != 0; i = t.at(i).newer {
		small.Add(t.at(i).name, t.at(i).record)
	}
	*t = small
	return true
}

func (t *table[E]) link(i int32) {
	s := t.at(i)
	s.newer, s.older = 0, t.newest
	if t.newest != 0 {
		t.at(t.newest).newer = i
	} else {
		t.oldest = i
	}
	t.newest = i
}

func (t *table[E]) unlink(i int32) {
	s := t.at(i)
	if s.newer != 0 {
		t.at(s.newer).older = s.older
	} else {
		t.newest = s.older
	}
	if s.older != 0 {
		t.at(s.older).newer = s.newer
	} else {
		t.oldest = s.newer
	}
}
