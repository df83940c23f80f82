package cache

import (
	"slices"
	"strings"
)

// After returns up to n present names that come after name in the order of All, if the directory is complete; the name
// itself need not be there. It costs O(log names + n) while names come and go by Put, Absent and Remove alone.
func (c *Entries[E]) After(dir, name string, n int) (next []Named[E], ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.orderedLocked(dir)
	if !ok {
		return nil, false
	}
	i, there := d.place(name)
	if there {
		i++
	}
	return d.named(d.sorted[i : i+min(max(n, 0), len(d.sorted)-i)]), true
}

// Between counts the present names of a complete directory that lie between two names, which need not be there
// themselves and may stand in either order.
func (c *Entries[E]) Between(dir, a, b string) (n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.orderedLocked(dir)
	if !ok {
		return 0, false
	}
	return d.between(a, b), true
}

// Near is After in a directory that need not be complete: of the names that are known of it.
func (c *Entries[E]) Near(dir, name string, n int) []Named[E] {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.sortedLocked(dir)
	if !ok {
		return nil
	}
	i, there := d.place(name)
	if there {
		i++
	}
	return d.named(d.sorted[i : i+min(max(n, 0), len(d.sorted)-i)])
}

// NearBetween is Between in a directory that need not be complete: of the names that are known of it.
func (c *Entries[E]) NearBetween(dir, a, b string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.sortedLocked(dir)
	if !ok {
		return 0
	}
	return d.between(a, b)
}

// Amend lets f replace what is known of a present name by what was seen now of the same thing. It is no change: a listing
// that is going on may still correct it. f returns false to leave all as it is; it must not use the cache.
func (c *Entries[E]) Amend(dir, name string, f func(E) (E, bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.mu.dirs.Peek(dir)
	if !ok {
		return
	}
	r, ok := d.names.Peek(name)
	if !ok || r.kind() != present {
		return
	}
	if r.entry, ok = f(r.entry); ok {
		r.seen = momentOf(c.now())
		d.names.Add(name, r)
	}
}

// orderedLocked is a complete directory with its names in order.
func (c *Entries[E]) orderedLocked(dir string) (*directory[E], bool) {
	if d, ok := c.mu.dirs.Get(dir); !ok || !d.complete {
		return nil, false
	}
	return c.sortedLocked(dir)
}

// sortedLocked is a directory with what is known of its names in order.
func (c *Entries[E]) sortedLocked(dir string) (*directory[E], bool) {
	d, ok := c.mu.dirs.Get(dir)
	if !ok {
		return nil, false
	}
	if d.sorted == nil {
		d.sorted = d.sort()
	}
	return d, true
}

// between counts the names that lie between two.
func (d *directory[E]) between(a, b string) int {
	i, there := d.place(min(a, b))
	if there {
		i++
	}
	j, _ := d.place(max(a, b))
	return max(j-i, 0)
}

// place is where a name stands, or would, in the order.
func (d *directory[E]) place(name string) (n int, there bool) {
	return slices.BinarySearchFunc(d.sorted, name, func(i int32, name string) int { return strings.Compare(d.names.at(i).name, name) })
}

func (d *directory[E]) named(slots []int32) []Named[E] {
	all := make([]Named[E], 0, len(slots))
	for _, i := range slots {
		s := d.names.at(i)
		all = append(all, Named[E]{Name: s.name, Entry: s.record.entry, Seen: s.record.seen.time()})
	}
	return all
}

func (d *directory[E]) sort() []int32 {
	slots := make([]int32, 0, d.names.Len())
	for i := d.names.oldest; i != 0; i = d.names.at(i).newer {
		if r := &d.names.at(i).record; r.kind() == present {
			slots = append(slots, i)
		}
	}
	slices.SortFunc(slots, func(a, b int32) int { return strings.Compare(d.names.at(a).name, d.names.at(b).name) })
	return slots
}

// orderLast is order for a name that a listing brings: behind all others, as a rule. Else many may come, which are put in order
// at once when it is wanted.
func (d *directory[E]) orderLast(slot int32) {
	if n := len(d.sorted); n > 0 && d.names.at(slot).name > d.names.at(d.sorted[n-1]).name {
		d.sorted = append(d.sorted, slot)
	} else {
		d.sorted = nil
	}
}

// order keeps the remembered order while the name of a slot comes or goes.
func (d *directory[E]) order(slot int32, comes bool) {
	if d.sorted == nil {
		return
	}
	n, there := d.place(d.names.at(slot).name)
	switch {
	case comes && !there:
		d.sorted = slices.Insert(d.sorted, n, slot)
	case !comes && there && n == 0: // as a window over a large directory moves on
		d.sorted = d.sorted[1:]
	case !comes && there:
		d.sorted = slices.Delete(d.sorted, n, n+1)
	}
}
