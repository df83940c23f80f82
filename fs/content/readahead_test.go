package content

import "testing"

const k128 = 128 * kib

func TestReadahead(t *testing.T) {
	type step struct{ off, n, from, to int64 }
	for _, c := range []struct {
		name  string
		size  int64
		steps []step
	}{
		{"small file whole", 3 * mib, []step{{0, k128, 0, 3 * mib}, {k128, k128, 0, 0}, {2 * mib, k128, 0, 0}}},
		{"exactly whole", 4 * mib, []step{{0, 10, 0, 4 * mib}}},
		{"empty", 0, []step{{0, 10, 0, 0}}},
		{"large file from its beginning", 1 << 30, []step{{0, k128, 0, mib}, {k128, k128, mib, 4 * mib}}},
		{"first read in the middle", 1 << 30, []step{{100 * mib, k128, 0, 0}}},
		{"a seek and two reads", 1 << 30, []step{{100 * mib, k128, 0, 0}, {100*mib + k128, k128, 0, 0},
			{100*mib + 2*k128, k128, 100*mib + 2*k128, 101 * mib}}},
		{"random", 1 << 30, []step{{100 * mib, 4096, 0, 0}, {500 * mib, 4096, 0, 0}, {20 * mib, 4096, 0, 0},
			{900 * mib, 4096, 0, 0}}},
		{"out of order a little", 1 << 30, []step{{0, k128, 0, mib}, {2 * k128, k128, mib, 4 * mib}, {k128, k128, 0, 0}}},
		{"sequential, then a seek", 1 << 30, []step{{0, mib, 0, 8 * mib}, {500 * mib, k128, 0, 0}}},
		{"a seek to what is fetched already", 1 << 30, []step{{0, mib, 0, 8 * mib}, {6 * mib, mib, 8 * mib, 36 * mib}}},
		{"the same place again and again", 1 << 30, []step{{9 * mib, 4096, 0, 0}, {9 * mib, 4096, 0, 0}, {9 * mib, 4096, 0, 0},
			{9 * mib, 4096, 0, 0}}},
	} {
		var r readahead
		for i, s := range c.steps {
			g := r.read(s.off, s.n, c.size, 64*mib)
			if from, to := g.off, g.off+g.length; g.count > 1 || from != s.from && from != to || to != s.to && from != to || (from == to) != (s.from == s.to) {
				t.Errorf("%s, read %d at %d: fetch %+v, want [%d, %d)", c.name, i, s.off, g, s.from, s.to)
			}
		}
	}
}

// TestReadaheadWindow reads a large file on end: everything is asked for once, in order, never further than the window
// ahead, and the full window is reached early.
func TestReadaheadWindow(t *testing.T) {
	const size, window = 512*mib + 12345, 64 * mib
	var r readahead
	asked := int64(0)
	full := int64(-1)
	for off := int64(0); off < size; off += k128 {
		g := r.read(off, k128, size, window)
		if g.drop.Len > 0 || g.count > 1 {
			t.Fatalf("at %d: %+v", off, g)
		}
		if g.count == 1 {
			if g.off != asked {
				t.Fatalf("at %d: asked for %+v after %d", off, g, asked)
			}
			asked += g.length
		}
		if asked < min(off+k128, size) {
			t.Fatalf("at %d: fetched only up to %d", off, asked)
		}
		if asked-off > window+k128 {
			t.Fatalf("at %d: %d ahead", off, asked-off)
		}
		if full < 0 && asked-off >= window-pieceBytes {
			full = off
		}
		if full >= 0 && asked < size && asked-off < window-2*pieceBytes {
			t.Fatalf("at %d: the window fell back to %d", off, asked-off)
		}
	}
	if asked != size {
		t.Errorf("asked for %d of %d", asked, int64(size))
	}
	if full < 0 || full > 32*mib {
		t.Errorf("full window at %d", full)
	}
	var off readahead
	if g := off.read(0, 10, size, 0); g.count != 0 {
		t.Error("readahead that is off fetches")
	}
}

// A reader who loses a part of the budget looks less far ahead, and further again when he has it back.
func TestReadaheadWindowFollowsTheBudget(t *testing.T) {
	var r readahead
	off := int64(0)
	for ; off < 64*mib; off += mib {
		r.read(off, mib, 1<<30, 64*mib)
	}
	for range 70 {
		r.read(off, mib, 1<<30, 8*mib)
		off += mib
	}
	if ahead := r.ahead - r.next; ahead > 8*mib {
		t.Errorf("%d ahead of a budget of 8 MiB", ahead)
	}
	for range 70 {
		r.read(off, mib, 1<<30, 64*mib)
		off += mib
	}
	if ahead := r.ahead - r.next; ahead < 56*mib {
		t.Errorf("%d ahead of a budget of 64 MiB", ahead)
	}
}

// TestReadaheadBackward reads a file from its end to its beginning: everything is asked for once, before it is read but
// for the first reads, and the readahead does not take it for a forward reader.
func TestReadaheadBackward(t *testing.T) {
	for _, n := range []int64{4096, 64 * kib, mib} {
		var r readahead
		const size = 64 * mib
		asked := make(map[int64]bool)
		late, fetched := 0, int64(0)
		for off := int64(size) - n; off >= 0; off -= n {
			g := r.read(off, n, size, 64*mib)
			if g.drop.Len > 0 {
				t.Fatalf("%d at %d: drops %+v", n, off, g.drop)
			}
			for _, p := range g.ranges() {
				fetched += p.Len
				for at := p.Off; at < end(p); at += 4096 {
					if asked[at] {
						t.Fatalf("%d at %d: %d is asked for twice", n, off, at)
					}
					asked[at] = true
				}
			}
			if !asked[off] {
				late++
			}
		}
		if late > 5 || fetched > size {
			t.Errorf("reads of %d: %d were not fetched ahead, %d bytes were", n, late, fetched)
		}
	}
}

// TestReadaheadStrided reads a record of a matrix's column after another: only the records are asked for.
func TestReadaheadStrided(t *testing.T) {
	for _, c := range []struct {
		name            string
		from, step, rec int64
		split           int64 // the kernel asks for a record in reads of this size
	}{
		{"far apart", 0, 10 * mib, 64 * kib, 64 * kib},
		{"near each other", 0, 512 * kib, 16 * kib, 16 * kib},
		{"records in several reads", 300 * mib, 4 * mib, 512 * kib, k128},
		{"backward", 1<<30 - mib, -3 * mib, 64 * kib, 64 * kib},
	} {
		var r readahead
		const size = 1 << 30
		asked := make(map[int64]bool)
		var fetched, dropped int64
		records, late := 0, 0
		for at := c.from; at >= 0 && at+c.rec <= size && records < 80; at += c.step {
			records++
			for off := at; off < at+c.rec; off += c.split {
				g := r.read(off, c.split, size, 64*mib)
				dropped += g.drop.Len
				for _, p := range g.ranges() {
					fetched += p.Len
					for b := p.Off; b < end(p); b += 4096 {
						asked[b] = true
					}
				}
				if !asked[off] {
					late++
				}
			}
		}
		// Before the stride is known, a reader from 0 looks like one who reads on.
		if late > 10*int(c.rec/c.split) || fetched-dropped > int64(records+mostStrides+4)*c.rec+8*mib {
			t.Errorf("%s: %d of %d records late, %d bytes fetched, %d given up again", c.name, late, records, fetched, dropped)
		}
		if r.how != strided {
			t.Errorf("%s: taken for %v", c.name, r.how)
		}
	}
}

// Reads that come late, as the kernel's do when it has several under way, change nothing.
func TestReadaheadLateReads(t *testing.T) {
	var r readahead
	asked := int64(0)
	order := []int64{0, 1, 2, 3, 5, 4, 6, 9, 8, 10, 7, 11, 14, 13, 12, 15, 16, 17, 20, 19, 21, 18}
	for _, at := range order {
		g := r.read(at*mib, mib, 1<<30, 64*mib)
		if g.drop.Len > 0 || r.how != forward {
			t.Fatalf("at %d MiB: %+v, access %v", at, g, r.how)
		}
		for _, p := range g.ranges() {
			if p.Off != asked {
				t.Fatalf("at %d MiB: asks for %+v after %d", at, p, asked)
			}
			asked = end(p)
		}
	}
}

// A wrong guess is given up: what was fetched ahead of a reader who went away is not wanted any more.
func TestReadaheadGivesUpAWrongGuess(t *testing.T) {
	var r readahead
	for off := int64(0); off < 32*mib; off += mib {
		r.read(off, mib, 1<<30, 64*mib)
	}
	ahead := r.ahead
	g := r.read(800*mib, 4096, 1<<30, 64*mib)
	if g.drop.Off != 32*mib || end(g.drop) != ahead || g.count != 0 {
		t.Errorf("a seek gives up %+v of [%d, %d), fetches %d", g.drop, 32*mib, ahead, g.count)
	}
	if g := r.read(400*mib, 4096, 1<<30, 64*mib); g.drop.Len != 0 {
		t.Errorf("a random reader gives up %+v", g.drop)
	}
}

func TestReadaheadGivesUpWhatLiesBehind(t *testing.T) {
	const most = 16 * mib
	var r readahead
	var given int64
	for off := int64(0); off < 100*mib; off += mib {
		r.read(off, mib, 1<<30, most)
		from, to := r.passed(most)
		if from > to || to > max(0, r.next-behindBytes) || to > from && from < given {
			t.Fatalf("at %d: gives up [%d, %d), gave %d", off, from, to, given)
		}
		given = max(given, to)
	}
	if given < 80*mib {
		t.Errorf("a reader at 100 MiB has given up %d bytes", given)
	}
	r.read(500*mib, mib, 1<<30, most) // a seek: random again
	if from, to := r.passed(most); from != to {
		t.Errorf("a random reader gives up [%d, %d)", from, to)
	}
}

// TestReadaheadRandom: a reader at random places has nothing fetched ahead, whatever it meets by chance.
func TestReadaheadRandom(t *testing.T) {
	var r readahead
	var fetched int64
	seed := uint64(1)
	for range 10_000 {
		seed = seed*6364136223846793005 + 1442695040888963407
		off := int64(seed>>33) % (1 << 30) &^ 4095
		g := r.read(off, 4096, 1<<30, 64*mib)
		for _, p := range g.ranges() {
			fetched += p.Len
		}
	}
	if fetched > 10*mib {
		t.Errorf("10,000 random reads had %d bytes fetched ahead", fetched)
	}
}
