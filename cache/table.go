package cache

// table holds the records of one directory by name, the one used last at one end. It is a slice with an index, since there
// may be a million: a list element of its own for each would cost as much again as the record. The zero value is empty.
type table[E any] struct {
	index          map[string]int32 // name to slot, counted from one: 0 is none
	slots          []slot[E]
	newest, oldest int32
	free           int32 // the first of the slots without a name; each leads to the next by older
}

type slot[E any] struct {
	name         string
	record       record[E]
	newer, older int32
}

func (t *table[E]) at(i int32) *slot[E] { return &t.slots[i-1] }

// Len is how many names there are.
func (t *table[E]) Len() int { return len(t.index) }

// Contains says whether a name is there.
func (t *table[E]) Contains(name string) bool { return t.index[name] != 0 }

// Peek gives a name's record.
func (t *table[E]) Peek(name string) (r record[E], ok bool) {
	i := t.index[name]
	if i == 0 {
		return r, false
	}
	return t.at(i).record, true
}

// Get is Peek, and makes the name the one used last.
func (t *table[E]) Get(name string) (r record[E], ok bool) {
	i := t.index[name]
	if i == 0 {
		return r, false
	}
	t.unlink(i)
	t.link(i)
	return t.at(i).record, true
}

// Add sets a name's record and makes it the one used last.
func (t *table[E]) Add(name string, r record[E]) {
	i := t.index[name]
	switch {
	case i != 0:
		t.unlink(i)
	case t.free != 0:
		i = t.free
		t.free = t.at(i).older
	default:
		t.slots = append(t.slots, slot[E]{})
		i = int32(len(t.slots))
	}
	if t.index == nil {
		t.index = make(map[string]int32)
	}
	if s := t.at(i); s.name != name || !t.Contains(name) {
		s.name = name
		t.index[name] = i
	}
	t.at(i).record = r
	t.link(i)
}

// Remove takes a name out; false when it is not there.
func (t *table[E]) Remove(name string) bool {
	i := t.index[name]
	if i == 0 {
		return false
	}
	t.unlink(i)
	delete(t.index, name)
	if len(t.index) == 0 {
		*t = table[E]{}
		return true
	}
	*t.at(i) = slot[E]{older: t.free}
	t.free = i
	return true
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
	keys := make([]string, 0, len(t.index))
	for i := t.oldest; i != 0; i = t.at(i).newer {
		keys = append(keys, t.at(i).name)
	}
	return keys
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
