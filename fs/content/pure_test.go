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
	got := conflictID(ID{"b", "dir/name.txt"}, "a/b", r.now(), "chance")
	if want := "dir/name.txt.conflict-a_b-20260102T030405.000Z-chance"; got.Key != want {
		t.Errorf("%s, want %s", got.Key, want)
	}
	long := conflictID(ID{"b", "d/" + string(make([]byte, 255))}, "h", r.now(), "chance")
	if n := len(long.Key) - len("d/"); n != 255 {
		t.Errorf("name of %d bytes", n)
	}
}
