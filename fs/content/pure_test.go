package content

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestRanges compares a set of ranges with a set of bytes.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const max = 40
		var rs ranges
		var in [max]bool
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			off := rapid.Int64Range(0, max-1).Draw(t, "off")
			n := rapid.Int64Range(0, max-off).Draw(t, "n")
			if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
				rs = rs.cut(off)
				clear(in[off:])
			} else {
				rs = rs.add(off, n)
				for i := range n {
					in[off+i] = true
				}
			}
			for i := 1; i < len(rs); i++ {
				if rs[i].Off <= end(rs[i-1]) {
					t.Fatalf("not joined: %v", rs)
				}
			}
			var back [max]bool
			for _, r := range rs.within(off, n) {
				mark(back[:], r)
			}
			for _, r := range rs.gaps(off, n) {
				for i := r.Off; i < end(r); i++ {
					if in[i] {
						t.Fatalf("%d is in %v, not in a gap", i, rs)
					}
				}
			}
			total := int64(0)
			for i, yes := range in {
				inside := int64(i) >= off && int64(i) < off+n
				if back[i] != (yes && inside) {
					t.Fatalf("byte %d of %v within %d+%d: %v", i, rs, off, n, back[i])
				}
				if yes {
					total++
				}
			}
			if rs.bytes() != total {
				t.Fatalf("%v has %d bytes, want %d", rs, rs.bytes(), total)
			}
		}
	})
}

func mark(in []bool, r Range) {
	for i := r.Off; i < end(r); i++ {
		in[i] = true
	}
}

func TestLayoutSplit(t *testing.T) {
	l := layout{size: 100, base: 50}
	l.wrote(10, 10)
	l.wrote(60, 5)
	var got string
	for _, s := range l.split(5, 70) {
		got += fmt.Sprintf("%d+%d %s ", s.Off, s.Len, [...]string{"zero", "spool", "base"}[s.from])
	}
	want := "5+5 base 10+10 spool 20+30 base 50+10 zero 60+5 spool 65+10 zero "
	if got != want {
		t.Errorf("split: %s\nwant   %s", got, want)
	}
	if segs := l.split(100, 10); segs != nil {
		t.Errorf("behind the end: %v", segs)
	}
}

func TestHoles(t *testing.T) {
	l := layout{size: 100, base: 20}
	l.wrote(15, 10) // data [0,25)
	l.wrote(40, 10) // data [40,50)
	for _, c := range []struct {
		off, data, hole int64
		dataOK, holeOK  bool
	}{
		{0, 0, 25, true, true}, {22, 22, 25, true, true}, {25, 40, 25, true, true}, {45, 45, 50, true, true},
		{50, 0, 50, false, true}, {99, 0, 99, false, true}, {100, 0, 0, false, false}, {-1, 0, 0, false, false},
	} {
		if got, ok := l.nextData(c.off); got != c.data || ok != c.dataOK {
			t.Errorf("data from %d: %d %v", c.off, got, ok)
		}
		if got, ok := l.nextHole(c.off); got != c.hole || ok != c.holeOK {
			t.Errorf("hole from %d: %d %v", c.off, got, ok)
		}
	}
}

func TestReadahead(t *testing.T) {
	const k128 = 128 * kib
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
	} {
		r := readahead{max: 64 * mib}
		for i, s := range c.steps {
			if from, to := r.read(s.off, s.n, c.size); from != s.from || to != s.to {
				t.Errorf("%s, read %d at %d: fetch [%d, %d), want [%d, %d)", c.name, i, s.off, from, to, s.from, s.to)
			}
		}
	}
}

// TestReadaheadWindow reads a large file on end: everything is asked for once, in order, never further than the window
// ahead, and the full window is reached early.
func TestReadaheadWindow(t *testing.T) {
	const size, window = 512*mib + 12345, 64 * mib
	r := readahead{max: window}
	asked := int64(0)
	full := int64(-1)
	for off := int64(0); off < size; off += 128 * kib {
		from, to := r.read(off, 128*kib, size)
		if from != to {
			if from != asked {
				t.Fatalf("at %d: asked for [%d, %d) after %d", off, from, to, asked)
			}
			asked = to
		}
		if asked < min(off+128*kib, size) {
			t.Fatalf("at %d: fetched only up to %d", off, asked)
		}
		if asked-off > window+128*kib {
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
	if off := (&readahead{max: 0}); true {
		if from, to := off.read(0, 10, size); from != to {
			t.Error("readahead that is off fetches")
		}
	}
}

func TestPieces(t *testing.T) {
	for _, c := range []struct {
		from, to int64
		want     string
	}{
		{0, 0, "[]"},
		{1, 10, "[{1 9}]"},
		{3 * mib, 9 * mib, fmt.Sprintf("[{%d %d} {%d %d} {%d %d}]", 3*mib, mib, 4*mib, 4*mib, 8*mib, mib)},
	} {
		if got := fmt.Sprint(pieces(c.from, c.to)); got != c.want {
			t.Errorf("pieces(%d, %d) = %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestConflictID(t *testing.T) {
	r := &rig{}
	r.start(t.TempDir())
	defer r.journal.Close()
	got := conflictID(ID{"b", "dir/name.txt"}, "a/b", r.now())
	if want := "dir/name.txt.conflict-a_b-20260102T030405.000Z"; got.Key != want {
		t.Errorf("%s, want %s", got.Key, want)
	}
	long := conflictID(ID{"b", "d/" + string(make([]byte, 255))}, "h", r.now())
	if n := len(long.Key) - len("d/"); n != 255 {
		t.Errorf("name of %d bytes", n)
	}
}

func TestReadaheadGivesUpWhatLiesBehind(t *testing.T) {
	r := readahead{max: 16 * mib}
	var given int64
	for off := int64(0); off < 100*mib; off += mib {
		r.read(off, mib, 1<<30)
		from, to := r.passed()
		if from > to || to > max(0, r.next-behindBytes) || to > from && from < given {
			t.Fatalf("at %d: gives up [%d, %d), gave %d", off, from, to, given)
		}
		given = max(given, to)
	}
	if given < 80*mib {
		t.Errorf("a reader at 100 MiB has given up %d bytes", given)
	}
	r.read(500*mib, mib, 1<<30) // a seek: random again
	if from, to := r.passed(); from != to {
		t.Errorf("a random reader gives up [%d, %d)", from, to)
	}
}
