package tree

import "time"

// guessFor is how old a listing may be that Following and Between go by, where the TTL is shorter: they serve a readahead,
// which may guess wrong, and a walk over a large directory takes longer than the TTL.
const guessFor = 10 * time.Minute

// Following are up to n entries that come after a path in its directory, in the order of List, as far as they are known
// without a request: when the directory was listed lately (guessFor, or the TTL), to its end or as far as that has come. They may have changed since:
// Seen says when they were seen. The path itself need not be there. It costs O(log names + n).
func (t *Tree) Following(after string, n int) []Entry {
	dir, name := split(after)
	if after == "" {
		return nil
	}
	upTo, whole := t.listedTo(dir)
	var out []Entry
	for len(out) < n {
		next := t.entries.behind(dir, name, n-len(out), upTo, whole)
		if len(next) == 0 {
			return out
		}
		name = next[len(next)-1].Name
		t.mu.Lock()
		for _, one := range next {
			e, seen := one.Entry, one.Seen
			if c := t.mu.overlay.get(join(dir, one.Name), t.o.Now()); c != nil {
				var found bool
				if e, found, _ = t.changedLocked(e.Path, c, true); !found {
					continue
				}
				seen = e.Seen
			}
			e.Seen = seen
			out = append(out, e)
		}
		t.mu.Unlock()
	}
	return out
}

// Between is how many entries lie between two paths of one directory in the order of List, whichever comes first: 0 for
// neighbours. ok is false when it is not known without a request, as for Following. It costs O(log names).
func (t *Tree) Between(a, b string) (n int, ok bool) {
	dir, one := split(a)
	other, two := split(b)
	if a == "" || b == "" || dir != other {
		return 0, false
	}
	upTo, whole := t.listedTo(dir)
	if whole {
		return t.entries.Between(dir, one, two)
	}
	if max(one, two) > upTo {
		return 0, false
	}
	return t.entries.NearBetween(dir, one, two), true
}

// listedTo says how far a directory was listed not too long ago for a guess: as a whole, or up to a name, "" for not at all.
func (t *Tree) listedTo(dir string) (upTo string, whole bool) {
	if t.listedLately(dir) {
		return "", true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.mu.dirs.Peek(dir); ok && d.upTo != "" && t.o.Now().Sub(d.upToAt) < max(t.o.TTL, guessFor) {
		return d.upTo, false
	}
	return "", false
}

// listedLately says whether a directory was listed to its end not too long ago for a guess.
func (t *Tree) listedLately(dir string) bool {
	seen, ok := t.entries.Complete(dir)
	return ok && t.o.Now().Sub(seen) < max(t.o.TTL, guessFor)
}

// Few says whether a directory is known to have no more names than so many: it was listed to its end lately.
func (t *Tree) Few(dir string, names int) bool {
	if !t.listedLately(dir) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.mu.dirs.Peek(dir)
	return ok && d.names <= names
}
