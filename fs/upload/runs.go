package upload

// Which stretches of a base are copied. A stretch of the base that nobody has changed (a gap between dirty ranges) can be
// copied when it has MinPart bytes, or is the file's end. What is not copied is sent, and what of that is the base's has
// to be read from the store first, so that such a byte counts twice. What makes it hard is that sent runs, too, need
// MinPart bytes unless they are the last: a short one takes bytes from the gaps beside it, as long as these stay long
// enough, or a gap is given up and sent.
//
// The cheapest choice is found along the gaps from left to right. Of a gap that is copied only two things matter for what
// follows: the cost so far, and its slack, which is what the next sent run may take from it. A short run takes from its
// left first: nobody else can use that. A few gaps have to be looked back for:
//   - one of 3 MinPart can always be copied, and never costs more so;
//   - of three gaps given up in a row the middle one could be copied: both runs beside it have a gap in them.
// So at most two gaps before the file's end are given up in a row.

// lookBack is the most gaps before one that may be the last copied before it: those given up, and one more at the end,
// where the last gap may be too short to be one of the two.
const lookBack = 4

// run is a stretch of a file that is copied or sent.
type run struct {
	off, len int64
	copy     bool
}

func (r run) end() int64 { return r.off + r.len }

// choice is a gap that is copied, and the best known way to it.
type choice struct {
	gap    run   // without what the runs beside it have taken, so far
	cost   int64 // of everything before it
	slack  int64 // of the gap: what the run behind it may take
	taken  int64 // by the run before it, from the gap before that
	before *choice
}

// chooseRuns cuts [0, Size) into runs that are sent and copied by turns, all but the last at least minPart long, so that
// the fewest bytes are moved up and down. Gaps shorter than minCopy are not copied, but for one at the very end.
func chooseRuns(n Need, minCopy, minPart int64) []run {
	clean := n.cleanBefore()
	// cost of sending [from, to)
	cost := func(from, to int64) int64 { return to - from + clean(to) - clean(from) }
	ways := [][]*choice{{{}}} // by gap, the first stands for the file's beginning
	for _, gap := range n.gaps(minCopy) {
		var to []*choice
		for _, from := range ways[max(0, len(ways)-lookBack):] {
			for _, c := range from {
				to = keepBest(to, c.next(gap, gap.end() == n.Size, minPart, cost))
			}
		}
		ways = append(ways, to)
	}
	var best *choice
	total := int64(0)
	for _, from := range ways[max(0, len(ways)-lookBack):] {
		for _, c := range from {
			if t := c.cost + cost(c.gap.end(), n.Size); best == nil || t < total {
				best, total = c, t
			}
		}
	}
	return best.runs(n.Size)
}

// next is the way from a copied gap to another, nil when it cannot be gone.
func (c *choice) next(gap run, last bool, minPart int64, cost func(from, to int64) int64) *choice {
	short := int64(0)
	between := gap.off - c.gap.end()
	if between > 0 || c.before != nil {
		short = max(0, minPart-between)
	}
	left := min(c.slack, short)
	right := short - left
	d := &choice{gap: run{gap.off + right, gap.len - right, true}, taken: left, before: c}
	d.cost = c.cost + cost(c.gap.end()-left, d.gap.off)
	d.slack = min(d.gap.len-minPart, minPart)
	if d.slack < 0 {
		if !last || d.gap.len <= 0 {
			return nil
		}
		d.slack = 0
	}
	return d
}

// keepBest adds a way to those that lead to the same gap, unless one of them is as good, and drops what it makes needless.
func keepBest(ways []*choice, c *choice) []*choice {
	if c == nil {
		return ways
	}
	kept := ways[:0]
	for i, w := range ways {
		if w.cost <= c.cost && w.slack >= c.slack {
			return append(kept, ways[i:]...)
		}
		if w.cost < c.cost || w.slack > c.slack {
			kept = append(kept, w)
		}
	}
	return append(kept, c)
}

// runs are the runs of a way that ends with the file.
func (c *choice) runs(size int64) []run {
	var back []run // from the last
	end, taken := size, int64(0)
	for ; c.before != nil; c = c.before {
		gap := c.gap
		gap.len -= taken
		if end > gap.end() {
			back = append(back, run{gap.end(), end - gap.end(), false})
		}
		back = append(back, gap)
		end, taken = gap.off, c.taken
	}
	if end > 0 {
		back = append(back, run{0, end, false})
	}
	runs := make([]run, 0, len(back))
	for i := len(back) - 1; i >= 0; i-- {
		runs = append(runs, back[i])
	}
	return runs
}

// gaps are the stretches of a normal need that can be copied: those between the dirty ranges that are long enough, and
// the one at the end.
func (n Need) gaps(minCopy int64) (gaps []run) {
	off := int64(0)
	for _, r := range n.Dirty {
		if r.Off-off >= minCopy {
			gaps = append(gaps, run{off, r.Off - off, true})
		}
		off = r.Off + r.Len
	}
	if off < n.Size {
		gaps = append(gaps, run{off, n.Size - off, true})
	}
	return gaps
}

// cleanBefore counts the bytes of a normal need before an offset that are the base's. Offsets may go back a little.
func (n Need) cleanBefore() func(off int64) int64 {
	sums := make([]int64, len(n.Dirty)+1) // of dirty bytes
	for i, r := range n.Dirty {
		sums[i+1] = sums[i] + r.Len
	}
	return func(off int64) int64 {
		lo, hi := 0, len(n.Dirty) // ranges that begin before off
		for lo < hi {
			if mid := (lo + hi) / 2; n.Dirty[mid].Off < off {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo == 0 {
			return off
		}
		last := n.Dirty[lo-1]
		return off - sums[lo] + max(0, last.Off+last.Len-off)
	}
}

// moved is what pieces cost in bytes: those sent, and those of the sent ones that have to be read from the base first.
func (n Need) moved(pieces []Piece) (up, down int64) {
	clean := n.cleanBefore()
	for _, p := range pieces {
		if !p.Copy {
			up += p.Len
			down += clean(p.Off+p.Len) - clean(p.Off)
		}
	}
	return up, down
}

func (n Need) cost(pieces []Piece) int64 {
	up, down := n.moved(pieces)
	return up + down
}
