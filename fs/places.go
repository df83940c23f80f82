package fs

import (
	"iter"
	"path"
	"sort"

	"pailfs/fs/tree"
)

const (
	// firstName is the offset behind "..": 0 is the beginning, 1 behind ".".
	firstName = 2
	// recentNames is how many of the names handed out last are kept one by one.
	recentNames = 2048
	// mostMarks of the earlier ones are kept at most; then only every other one, and half as many later.
	mostMarks   = 1024
	firstSpaced = 256
)

// places are the offsets of an open directory: each stands behind a name that was handed out, and finds that name again
// whatever came and went meanwhile. The memory they take does not grow with the directory.
//
// An offset is how many names (and "." and "..") were handed out before, and above these 32 bits a hash of the last one.
// Of the names themselves the latest are kept, and marks at equal distances, behind one of which the listing begins anew:
// the hash says which of the names from there on it was.
type places struct {
	count  int // the most names that were handed out
	spaced int // names from one mark to the next
	marks  []mark
	recent []string // the names handed out last, in order
	first  int      // how many were handed out before these
}

// mark is a name that was handed out, and the how manyeth it was. After a seek the same number may fall to another name,
// where the directory has changed: first and last are the smallest and the greatest of these. So no name that was handed out
// as the nth or later comes before first, and none that was earlier comes behind last.
type mark struct {
	n           int
	first, last string
}

func newPlaces() places { return places{spaced: firstSpaced} }

// offset is that behind a name, which is handed out as the nth, counted from one.
func (p *places) offset(n int, name string) uint64 {
	p.keep(n, name)
	return uint64(hashOf(name))<<32 | uint64(n+firstName)
}

func (p *places) keep(n int, name string) {
	if n != p.first+len(p.recent)+1 { // after a seek
		p.recent, p.first = nil, n-1
	}
	if len(p.recent) == recentNames {
		p.recent = append(p.recent[:0], p.recent[recentNames/2:]...)
		p.first += recentNames / 2
	}
	p.recent = append(p.recent, name)
	switch {
	case n <= p.count: // not for the first time
		i := sort.Search(len(p.marks), func(i int) bool { return p.marks[i].n >= n })
		if i < len(p.marks) && p.marks[i].n == n {
			p.marks[i].first, p.marks[i].last = min(p.marks[i].first, name), max(p.marks[i].last, name)
		}
	case n%p.spaced == 0:
		p.marks = append(p.marks, mark{n, name, name})
		p.thin()
	}
	p.count = max(p.count, n)
}

// thin halves the marks when there are too many.
func (p *places) thin() {
	if len(p.marks) <= mostMarks {
		return
	}
	p.spaced *= 2
	left := p.marks[:0]
	for _, m := range p.marks {
		if m.n%p.spaced == 0 {
			left = append(left, m)
		}
	}
	p.marks = left
}

// spot is where to begin a listing to come to an offset: behind a name, and then, unless it is that one, behind the one
// with the hash, which comes before the name until ("": anywhere).
type spot struct {
	after string
	exact bool
	hash  uint32
	until string
}

// find is the place of an offset, and how many names were handed out before it; ok is false for one that was never given.
func (p *places) find(off uint64) (at spot, n int, ok bool) {
	n = int(off&0xffffffff) - firstName
	if n > p.count {
		return spot{}, 0, false
	}
	if n <= 0 {
		return spot{exact: true}, n, true
	}
	hash := uint32(off >> 32)
	if i := n - p.first - 1; i >= 0 && i < len(p.recent) && hashOf(p.recent[i]) == hash {
		return spot{after: p.recent[i], exact: true}, n, true
	}
	at = spot{hash: hash}
	i := sort.Search(len(p.marks), func(i int) bool { return p.marks[i].n > n })
	if i < len(p.marks) {
		at.until = p.marks[i].last
	}
	if i > 0 {
		at.after = p.marks[i-1].first
		at.exact = p.marks[i-1].n == n && hashOf(at.after) == hash
	}
	return at, n, true
}

// hashOf is 31 bits of FNV-1a: an offset is no negative number.
func hashOf(name string) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h &^ (1 << 31)
}

// from is the part of a listing, begun behind at.after, that is behind the spot. When the name is not there any more,
// nobody knows where it was: then rather some names come again than that some do not come.
func (at spot) from(all iter.Seq2[tree.Entry, error]) iter.Seq2[tree.Entry, error] {
	if at.exact {
		return all
	}
	return func(yield func(tree.Entry, error) bool) {
		found := false
		for e, err := range all {
			switch name := path.Base(e.Path); {
			case err != nil || found:
				if !yield(e, err) {
					return
				}
			case at.until != "" && name > at.until:
				all(yield)
				return
			default:
				found = hashOf(name) == at.hash
			}
		}
		if !found {
			all(yield)
		}
	}
}
