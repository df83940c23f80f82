package cache

import "slices"

// After returns up to n present names that come after name in the order of All, if the directory is complete; the name
// itself need not be there. It costs O(log names + n) while names come and go by Put, Absent and Remove alone.
func (c *Entries[E]) After(dir, name string, n int) (next []Named[E], ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.orderedLocked(dir)
	if !ok {
		return nil, false
	}
	i, there := slices.BinarySearch(d.sorted, name)
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
	i, there := slices.BinarySearch(d.sorted, min(a, b))
	if there {
		i++
	}
	j, _ := slices.BinarySearch(d.sorted, max(a, b))
	return max(j-i, 0), true
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
	if !ok || r.kind != present {
		return
	}
	if r.entry, ok = f(r.entry); ok {
		r.seen = momentOf(c.now())
		d.names.Add(name, r)
	}
}

// orderedLocked is a complete directory with its names in order.
func (c *Entries[E]) orderedLocked(dir string) (*directory[E], bool) {
	d, ok := c.mu.dirs.Get(dir)
	if !ok || !d.complete {
		return nil, false
	}
	if d.sorted == nil {
		d.sorted = d.sort()
	}
	return d, true
}

func (d *directory[E]) named(names []string) []Named[E] {
	all := make([]Named[E], 0, len(names))
	for _, name := range names {
		r, _ := d.names.Peek(name)
		all = append(all, Named[E]{Name: name, Entry: r.entry, Seen: r.seen.time()})
	}
	return all
}

func (d *directory[E]) sort() []string {
	names := make([]string, 0, d.names.Len())
	for _, name := range d.names.Keys() {
		if r, _ := d.names.Peek(name); r.kind == present {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// order keeps the remembered order while one name comes or goes.
func (d *directory[E]) order(name string, comes bool) {
	if d.sorted == nil {
		return
	}
	i, there := slices.BinarySearch(d.sorted, name)
	switch {
	case comes && !there:
		d.sorted = slices.Insert(d.sorted, i, name)
	case !comes && there:
		d.sorted = slices.Delete(d.sorted, i, i+1)
	}
}
