package content

import (
	"fmt"
	"slices"
	"sort"

	"pailfs/fs/journal"
	"pailfs/fs/upload"
)

// Range is a run of bytes of a file.
type Range = journal.Range

func end(r Range) int64 { return r.Off + r.Len }

func overlap(r Range, off, n int64) bool { return r.Off < off+n && off < end(r) }

// ranges is a set of bytes: sorted, disjoint, none empty, neighbours joined.
type ranges []Range

// at is the index of the first range that ends behind off.
func (rs ranges) at(off int64) int {
	return sort.Search(len(rs), func(i int) bool { return end(rs[i]) > off })
}

// add is the set with [off, off+n) in it.
func (rs ranges) add(off, n int64) ranges {
	if n <= 0 {
		return rs
	}
	to := off + n
	i := sort.Search(len(rs), func(i int) bool { return end(rs[i]) >= off })
	j := i
	for j < len(rs) && rs[j].Off <= to {
		off, to = min(off, rs[j].Off), max(to, end(rs[j]))
		j++
	}
	if j == i+1 { // the usual case, a write that continues the last one: in place
		rs[i] = Range{Off: off, Len: to - off}
		return rs
	}
	return slices.Replace(rs, i, j, Range{Off: off, Len: to - off})
}

// cut is the set without the bytes from size on.
func (rs ranges) cut(size int64) ranges {
	i := rs.at(size)
	if i < len(rs) && rs[i].Off < size {
		rs[i].Len = size - rs[i].Off
		i++
	}
	return rs[:i]
}

// within is the part of the set that lies in [off, off+n).
func (rs ranges) within(off, n int64) []Range {
	var out []Range
	for i := rs.at(off); i < len(rs) && rs[i].Off < off+n; i++ {
		from, to := max(off, rs[i].Off), min(off+n, end(rs[i]))
		out = append(out, Range{Off: from, Len: to - from})
	}
	return out
}

// gaps is the part of [off, off+n) that is not in the set.
func (rs ranges) gaps(off, n int64) []Range {
	var out []Range
	to := off + n
	for _, r := range rs.within(off, n) {
		if r.Off > off {
			out = append(out, Range{Off: off, Len: r.Off - off})
		}
		off = end(r)
	}
	if off < to {
		out = append(out, Range{Off: off, Len: to - off})
	}
	return out
}

func (rs ranges) bytes() (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}

// layout says where each byte of a file is: in the spool where local, else in the base below the limit base, else it is
// zero. dirty, a part of local, is what the store does not have. Outside local the spool holds nothing but holes.
// A layout is a value without a lock.
type layout struct {
	size  int64 // of the file, bytes
	base  int64 // bytes [0, base) of the base object are the file's where not local; base <= size
	local ranges
	dirty ranges
}

// check is what always holds.
func (l *layout) check(hasSpool bool) error {
	switch {
	case l.base > l.size || l.size < 0:
		return fmt.Errorf("base limit %d of size %d", l.base, l.size)
	case len(l.local) > 0 && (!hasSpool || end(l.local[len(l.local)-1]) > l.size):
		return fmt.Errorf("local bytes %v of size %d, spool %v", l.local, l.size, hasSpool)
	}
	for _, r := range l.dirty {
		if len(l.local.gaps(r.Off, r.Len)) > 0 {
			return fmt.Errorf("dirty %v is not local %v", r, l.local)
		}
	}
	return nil
}

// wrote records bytes that are in the spool now and not in the store.
func (l *layout) wrote(off, n int64) {
	if n <= 0 {
		return
	}
	l.local = l.local.add(off, n)
	l.dirty = l.dirty.add(off, n)
	l.size = max(l.size, off+n)
}

// fetched records bytes of the base that are in the spool now.
func (l *layout) fetched(off, n int64) { l.local = l.local.add(off, n) }

// truncate sets the size; what comes to the file is zeros, what is cut off never comes back.
func (l *layout) truncate(size int64) {
	l.local, l.dirty = l.local.cut(size), l.dirty.cut(size)
	l.base = min(l.base, size)
	l.size = size
}

// orphaned records that the base is gone; all of it must be local. From now on every byte is ours alone.
func (l *layout) orphaned() {
	l.base = 0
	l.dirty = slices.Clone(l.local)
}

// missing is what of the base is not in the spool.
func (l *layout) missing() []Range { return l.local.gaps(0, l.base) }

// need tells upload what the store does not have: the dirty bytes, and the zeros behind the base.
func (l *layout) need(baseSize int64) upload.Need {
	dirty := slices.Clone(l.dirty).add(l.base, l.size-l.base)
	return upload.Need{Size: l.size, Dirty: dirty, Base: l.base, BaseSize: baseSize}
}

// source is where a segment's bytes come from.
type source int

const (
	fromZero source = iota
	fromSpool
	fromBase
)

// segment is a run of bytes that come from one place.
type segment struct {
	Range
	from source
}

// split divides [off, off+n), cut at the size, by source.
func (l *layout) split(off, n int64) []segment {
	n = min(n, l.size-off)
	if n <= 0 {
		return nil
	}
	var out []segment
	rest := func(from, to int64) { // bytes that are not local
		if mid := min(max(from, l.base), to); mid > from {
			out = append(out, segment{Range{Off: from, Len: mid - from}, fromBase})
			from = mid
		}
		if to > from {
			out = append(out, segment{Range{Off: from, Len: to - from}, fromZero})
		}
	}
	at := off
	for _, r := range l.local.within(off, n) {
		rest(at, r.Off)
		out = append(out, segment{r, fromSpool})
		at = end(r)
	}
	rest(at, off+n)
	return out
}

// isWhole says whether the file is its base of that size, byte by byte: the store can copy it.
func (l *layout) isWhole(baseSize int64) bool {
	return len(l.dirty) == 0 && l.base == l.size && l.size == baseSize
}

// nextData is the first byte at or behind off that is not in a hole; false when none is.
func (l *layout) nextData(off int64) (int64, bool) {
	if off < 0 || off >= l.size {
		return 0, false
	}
	if off < l.base {
		return off, true
	}
	if i := l.local.at(off); i < len(l.local) {
		return max(off, l.local[i].Off), true
	}
	return 0, false
}

// nextHole is the first byte at or behind off that is in a hole, the end of the file being one; false behind the end.
func (l *layout) nextHole(off int64) (int64, bool) {
	if off < 0 || off >= l.size {
		return 0, false
	}
	off = max(off, l.base)
	for i := l.local.at(off); i < len(l.local) && l.local[i].Off <= off; i++ {
		off = end(l.local[i])
	}
	return min(off, l.size), true
}
