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
	// slackBytes: the kernel's own readahead sends reads of up to 1 MiB from several threads; so much out of order is
	// still sequential.
	slackBytes = 2 * mib
	// behindBytes of what a streaming reader has read stay in memory, for reads that come late; what lies further back is
	// in the kernel's page cache and given up here.
	behindBytes = 8 * mib
)

// readahead guesses what a reader wants next. It is a pure state machine of one handle, without a lock:
//
//	     first read at 0, or two reads that go on from a third
//	random ---------------------------------------> sequential: window 1, 4, 16 ... max
//	   ^                                                |
//	   +-------- a read outside the tolerance ----------+
//
// In random nothing is fetched ahead.
type readahead struct {
	max     int64 // largest window in bytes; 0 turns readahead off
	started bool
	run     int   // reads on end since the last seek
	next    int64 // where a sequential reader reads next
	window  int64 // bytes looked ahead; 0 in random
	grown   int64 // next when the window grew last
	ahead   int64 // fetched ahead up to here
	behind  int64 // given up to here
}

// read records a read of n bytes at off in a file of size bytes and says which bytes [from, to) to fetch now; from == to
// for none.
func (r *readahead) read(off, n, size int64) (from, to int64) {
	first := !r.started
	r.started = true
	if r.max <= 0 || n <= 0 || off >= size {
		return 0, 0
	}
	switch {
	case first && off == 0:
		// Who begins with a large read means to read on: eight of its reads are not too much to guess.
		r.next, r.window, r.run = 0, min(max(firstWindow, 8*n), r.max), 1
		if size <= wholeBytes {
			r.next, r.ahead = n, size
			return 0, size
		}
	case first, off > r.next+slackBytes, off < r.next-slackBytes:
		r.run, r.next, r.window, r.ahead = 0, off+n, 0, 0
		return 0, 0
	}
	r.next = max(r.next, off+n)
	r.ahead = max(r.ahead, off) // what is read now goes with the first piece
	r.run++
	if r.window == 0 {
		if r.run < 2 {
			return 0, 0
		}
		r.window, r.grown = min(firstWindow, r.max), r.next
	}
	r.grow()
	return r.advance(size, r.ahead == off)
}

// grow widens the window fourfold each time a quarter of it was read. Each step waits for an answer of the store, so
// that few steps matter: the full window is open after a few MiB and three of them.
func (r *readahead) grow() {
	for r.window < r.max && r.next-r.grown >= r.window/4 {
		r.grown += r.window / 4
		r.window = min(4*r.window, r.max)
	}
}

// advance moves ahead to the window's end, on boundaries of pieces, and says what that adds. bare: nothing is ahead yet,
// so less than a whole piece is worth a GET too.
func (r *readahead) advance(size int64, bare bool) (from, to int64) {
	grain := int64(firstWindow)
	if r.window >= 2*pieceBytes {
		grain = pieceBytes
	}
	to = (r.next + r.window) / grain * grain
	to = min(max(to, r.next), size)
	if to <= r.ahead || to-r.ahead < grain && to != size && !bare {
		return 0, 0
	}
	from, r.ahead = r.ahead, to
	return from, to
}

// passed says which bytes [from, to) a reader whose window is fully open has left behind; from == to for none yet.
func (r *readahead) passed() (from, to int64) {
	if r.window == 0 || r.window < r.max {
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
func (r *readahead) sequential() bool { return r.window > 0 }

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
