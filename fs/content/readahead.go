package content

const (
	mib = 1 << 20

	// wholeBytes: a file up to this size, read from its beginning, is fetched whole in one GET: the GET's latency is
	// worth more than its bytes (a store gives 50 to 100 MB/s a connection and answers in 10 to 50 ms).
	wholeBytes = 4 * mib
	// firstWindow is how far ahead the first sequential reads look.
	firstWindow = 1 * mib
	// pieceBytes is the size of the GETs of a grown window: 96 MiB of window make 24 of them.
	pieceBytes = 4 * mib
	// slackBytes: the kernel's own readahead sends reads of up to 1 MiB from several threads; so far ahead of its turn a
	// read is still sequential.
	slackBytes = 2 * mib
	// behindBytes of what a streaming reader has read stay in memory, for reads that come late (the kernel has up to four
	// of 1 MiB under way for who has announced to read on end); what lies further back is in the kernel's page cache and
	// given up here.
	behindBytes = 8 * mib
	// backWindow is the most that is fetched before a reader who reads backward: such readers look for something.
	backWindow = 16 * mib
	// mostStrides are fetched ahead of a reader who skips.
	mostStrides = 16
	// strideProof: so many equal steps make a stride.
	strideProof = 3
)

// access is how a reader is believed to read.
type access int

const (
	random access = iota
	forward
	backward
	strided
)

// readahead guesses what a reader wants next. It is a pure state machine of one handle, without a lock. A record is what
// was read on end; a step is the distance between the beginnings of two records.
//
//	            read at 0 first, or two reads that go on from a third
//	random --------------------------------------------------------> forward: window 1, 4, 16 ... max MiB ahead
//	  ^ | \
//	  | |  `-- three equal steps back, each as long as its record --> backward: window 1, 2, 4 ... 16 MiB before
//	  | `----- three equal steps with gaps -------------------------> strided: the next 2, 4 ... 16 records
//	  |                                                                   |
//	  +--- a read outside the pattern: what was fetched for it is given up +
//
// A forward reader who turns out to skip becomes strided. In random nothing is fetched ahead.
type readahead struct {
	started bool
	how     access

	// of the records
	start, end int64 // the latest record
	step       int64 // between the last two records; 0 before there are two
	steps      int   // how many equal ones on end
	length     int64 // of the record before the latest

	// of a forward reader
	run    int   // reads on end since the last seek
	next   int64 // where it reads next
	window int64 // bytes looked ahead
	grown  int64 // next when the window grew last
	behind int64 // given up to here

	ahead int64 // forward: fetched ahead up to here; backward and strided: down or up to here, exclusive
	depth int64 // backward: bytes looked back; strided: records looked ahead
}

// guess is what to do about a read: fetch count ranges of length bytes, the first at off, each step further; and give up
// what was fetched ahead for a pattern that ended.
type guess struct {
	off, length int64
	step        int64
	count       int
	drop        Range // was fetched ahead for a pattern that has ended
}

// ranges are the ranges of a guess.
func (g guess) ranges() []Range {
	var out []Range
	for i := range int64(g.count) {
		out = append(out, Range{Off: g.off + i*g.step, Len: g.length})
	}
	return out
}

func fetch(from, to int64) guess {
	if from >= to {
		return guess{}
	}
	return guess{off: from, length: to - from, count: 1}
}

// read records a read of n bytes at off in a file of size bytes and says what to fetch now. most is the largest window
// in bytes that the budget allows at this moment; 0 turns the readahead off.
func (r *readahead) read(off, n, size, most int64) guess {
	first := !r.started
	r.started = true
	if most <= 0 || n <= 0 || off >= size {
		return guess{}
	}
	if first {
		return r.begin(off, n, size, most)
	}
	step, stepped := r.record(off, n)
	switch r.how {
	case forward:
		if stepped && r.skips(step) {
			return r.stride(size, most, true)
		}
		if off > max(r.next+slackBytes, r.ahead) || off < r.next-behindBytes {
			return r.lost(off, n)
		}
		return r.goOn(off, n, size, most)
	case backward:
		if !stepped || step == -(r.end-r.start) || step < 0 && -step <= slackBytes {
			return r.back(size, most)
		}
		return r.lost(off, n)
	case strided:
		if !stepped {
			return guess{} // a record in several reads
		}
		if r.steps >= strideProof {
			return r.stride(size, most, false)
		}
		return r.lost(off, n)
	}
	switch {
	case stepped && step < 0 && r.steps >= strideProof && -step <= r.length+slackBytes/16:
		r.how, r.depth, r.ahead = backward, 0, r.start
		return r.back(size, most)
	case stepped && r.skips(step):
		return r.stride(size, most, true)
	case off > r.next+slackBytes || off < r.next:
		return r.lost(off, n)
	}
	return r.goOn(off, n, size, most)
}

// begin is the first read of a handle.
func (r *readahead) begin(off, n, size, most int64) guess {
	r.start, r.end, r.next, r.behind = off, off+n, off+n, off
	if off != 0 {
		return guess{}
	}
	r.how, r.run = forward, 1
	// Who begins with a large read means to read on: eight of its reads are not too much to guess.
	r.window = min(max(firstWindow, 8*n), most)
	if size <= wholeBytes {
		r.ahead = size
		return fetch(0, size)
	}
	return r.advance(size, true)
}

// record takes a read into the latest record or makes it the next one; stepped says that it did, and step how far.
func (r *readahead) record(off, n int64) (step int64, stepped bool) {
	if off == r.end {
		r.end = off + n
		return 0, false
	}
	step = off - r.start
	if step == r.step {
		r.steps++
	} else {
		r.step, r.steps = step, 1
	}
	r.length = r.end - r.start
	r.start, r.end = off, off+n
	return step, true
}

// skips says whether the records lie apart at equal steps: then what lies between them is not wanted.
func (r *readahead) skips(step int64) bool {
	return r.steps >= strideProof && (step > 2*r.length || step < -2*r.length) && r.length > 0
}

// lost ends a pattern: the reader is somewhere else.
func (r *readahead) lost(off, n int64) guess {
	g := guess{drop: r.unread()}
	r.how, r.run, r.next, r.window, r.ahead, r.depth = random, 0, off+n, 0, 0, 0
	return g
}

// unread is what was fetched ahead and not read when the reader left the pattern with the record that is the latest now.
func (r *readahead) unread() Range {
	from, to := r.next, r.ahead
	last := r.start - r.step // the latest record of the pattern
	switch r.how {
	case random:
		return Range{}
	case backward:
		from, to = r.ahead, last
	case strided:
		from, to = min(last, r.ahead), max(last+r.length, r.ahead)
	}
	from = max(from, 0)
	return Range{Off: from, Len: max(to-from, 0)}
}

// goOn is a read within the tolerance of a forward reader, or of one who may become one.
func (r *readahead) goOn(off, n, size, most int64) guess {
	r.next = max(r.next, off+n)
	r.ahead = max(r.ahead, off) // what is read now goes with the first piece
	r.run++
	if r.how == random {
		if r.run < 2 {
			return guess{}
		}
		r.how, r.window, r.grown = forward, min(firstWindow, most), r.next
	}
	r.grow(most)
	return r.advance(size, r.ahead == off)
}

// grow widens the window fourfold each time a quarter of it was read. Each step waits for an answer of the store, so
// that few steps matter: the full window is open after a few MiB and three of them. The budget may have become less.
func (r *readahead) grow(most int64) {
	for r.window < most && r.next-r.grown >= r.window/4 {
		r.grown += r.window / 4
		r.window = 4 * r.window
	}
	r.window = min(r.window, most)
}

// advance moves ahead to the window's end, on boundaries of pieces, and says what that adds. bare: nothing is ahead yet,
// so less than a whole piece is worth a GET too.
func (r *readahead) advance(size int64, bare bool) guess {
	grain := int64(firstWindow) // half of the window at the most, so that two requests are under way
	for grain < pieceBytes && 4*grain <= r.window {
		grain *= 2
	}
	to := (r.next + r.window) / grain * grain
	to = min(max(to, r.next), size)
	if to <= r.ahead || to-r.ahead < grain && to != size && !bare {
		return guess{}
	}
	from := r.ahead
	r.ahead = to
	return fetch(from, to)
}

// back fetches before a backward reader: more when half of what is there was read.
func (r *readahead) back(size, most int64) guess {
	r.ahead = min(r.ahead, r.start)
	if r.depth > 0 && r.start-r.ahead > r.depth/2 {
		return guess{}
	}
	r.depth = min(max(firstWindow, 2*r.depth), min(backWindow, most))
	from, to := max(r.start-r.depth, 0), min(r.ahead, size)
	r.ahead = from
	return fetch(from, to)
}

// stride fetches the next records of a reader who skips; anew: he has just been found out.
func (r *readahead) stride(size, most int64, anew bool) guess {
	var g guess
	if anew {
		g.drop = r.unread()
		r.how, r.depth, r.ahead, r.window = strided, 1, r.start+r.step, 0
	}
	long := max(r.length, r.end-r.start)
	fits := max(most/long, 1)
	r.depth = min(2*r.depth, mostStrides, fits)
	// ahead is the first record not asked for yet.
	last := r.start + r.depth*r.step
	g.off, g.length, g.step = r.ahead, long, r.step
	for at := r.ahead; (last-at)*sign(r.step) >= 0 && at >= 0 && at < size; at += r.step {
		g.count++
		r.ahead = at + r.step
	}
	return g
}

func sign(n int64) int64 {
	if n < 0 {
		return -1
	}
	return 1
}

// passed says which bytes [from, to) a reader whose window is fully open has left behind; from == to for none yet.
func (r *readahead) passed(most int64) (from, to int64) {
	if r.how != forward || r.window < most {
		r.behind = r.next
		return 0, 0
	}
	if to = r.next - behindBytes; to-r.behind < mib {
		return 0, 0
	}
	from, r.behind = r.behind, to
	return from, to
}

// sequential says whether the reader is believed to go on reading on end.
func (r *readahead) sequential() bool { return r.how == forward && r.window > 0 }

// pieces cuts [from, to) at multiples of pieceBytes: one GET each.
func pieces(from, to int64) []Range {
	var out []Range
	for from < to {
		stop := min(to, (from/pieceBytes+1)*pieceBytes)
		out = append(out, Range{Off: from, Len: stop - from})
		from = stop
	}
	return out
}
