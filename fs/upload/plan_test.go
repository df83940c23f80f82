package upload

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pailfs/s3client"
)

const tib = 1 << 40

// swiftProfile and awsProfile have the limits that matter here.
var (
	swiftProfile = s3client.Profile{MinPart: 5 * mib, MaxPart: 5 * gib, MaxParts: 1000, MaxPut: 5 * gib, MaxCopy: 5 * gib}
	awsProfile   = s3client.Profile{MinPart: 5 * mib, MaxPart: 5 * gib, MaxParts: 10000, MaxPut: 5 * gib, MaxCopy: 5 * gib}
)

// docs/SCALE.md has the formula and the first two figures: 3.15 and 31.4 TiB.
func TestLayoutReach(t *testing.T) {
	for _, c := range []struct {
		name  string
		l     Limits
		reach int64 // of MaxParts parts, in MiB
	}{
		{"1000 parts", LimitsOf(swiftProfile, 0), 3_305_976},
		{"10000 parts", LimitsOf(awsProfile, 0), 32_983_952},
		{"1000 parts from 5 MiB", LimitsOf(swiftProfile, 1), 3_210_555},
		{"1000 parts from 64 MiB", LimitsOf(swiftProfile, 64*mib), 3_785_664},
		{"1000 parts of 5 GiB", LimitsOf(swiftProfile, 1<<60), 1000 * 5 << 10},
	} {
		last, _, _ := c.l.PartAt(c.reach*mib - 1)
		beyond, start, _ := c.l.PartAt(c.reach * mib)
		if last != c.l.MaxParts || beyond != c.l.MaxParts+1 || start != c.reach*mib {
			t.Errorf("%s: %d MiB end in part %d, and part %d begins at %d", c.name, c.reach, last, beyond, start)
		}
	}
}

func TestPartAt(t *testing.T) {
	l := LimitsOf(swiftProfile, 0)
	for _, c := range []struct{ off, number, start, length int64 }{
		{0, 1, 0, 8 * mib},
		{8*mib - 1, 1, 0, 8 * mib},
		{8 * mib, 2, 8 * mib, 8 * mib},
		{1000*mib - 1, 125, 992 * mib, 8 * mib},
		{1000 * mib, 126, 1000 * mib, 16 * mib},
		{1496 * mib, 157, 1496 * mib, 32 * mib},
	} {
		number, start, length := l.PartAt(c.off)
		if int64(number) != c.number || start != c.start || length != c.length {
			t.Errorf("PartAt(%d) = %d, %d, %d; want %+v", c.off, number, start, length, c)
		}
	}
}

func TestPartAtIsALayout(t *testing.T) {
	for _, l := range []Limits{LimitsOf(swiftProfile, 0), LimitsOf(awsProfile, 0), LimitsOf(swiftProfile, 7*mib), small} {
		number, start, length := l.PartAt(0)
		if number != 1 || start != 0 {
			t.Fatalf("first part %d at %d", number, start)
		}
		for want := 2; want <= l.MaxParts; want++ {
			end, before := start+length, length
			if n, s, _ := l.PartAt(end - 1); n != number || s != start {
				t.Fatalf("part %d does not reach its end", number)
			}
			number, start, length = l.PartAt(end)
			if number != want || start != end || length < before || length < l.MinPart || length > l.MaxPart {
				t.Fatalf("after %d comes part %d at %d with %d bytes, limits %+v", end, number, start, length, l)
			}
		}
	}
}

// small are limits of bytes, so that tests can write plans down.
var small = Limits{MinPart: 5, MaxPart: 40, MaxPut: 60, MaxCopy: 30, MaxParts: 15, FirstPart: 8, SinglePut: 16}

// show writes pieces as s8 (sent) and c8 (copied).
func show(p Plan) string {
	switch {
	case p.Single:
		return "single"
	case p.CopyWhole:
		return "copy"
	}
	var words []string
	for _, piece := range p.Pieces {
		word := "s"
		if piece.Copy {
			word = "c"
		}
		words = append(words, fmt.Sprintf("%s%d", word, piece.Len))
	}
	return strings.Join(words, " ")
}

func TestMakePlan(t *testing.T) {
	at := func(pairs ...int64) (rs []Range) {
		for i := 0; i < len(pairs); i += 2 {
			rs = append(rs, Range{Off: pairs[i], Len: pairs[i+1]})
		}
		return rs
	}
	for _, c := range []struct {
		name string
		need Need
		want string
	}{
		{"empty", Need{}, "single"},
		{"small", Need{Size: 16}, "single"},
		{"small edit", Need{Size: 16, Base: 16, Dirty: at(3, 1)}, "single"},
		{"small, cut", Need{Size: 10, Base: 10, BaseSize: 12}, "single"},
		{"unchanged", Need{Size: 10, Base: 10}, "copy"},
		{"unchanged, at the limit of a copy", Need{Size: 30, Base: 30}, "copy"},
		{"unchanged, beyond it", Need{Size: 31, Base: 31}, "c16 c15"},
		{"large, new", Need{Size: 17}, "s8 s9"},
		{"large, all dirty", Need{Size: 30, Base: 30, Dirty: at(0, 30)}, "s8 s16 s6"},
		{"cut", Need{Size: 30, Base: 30, BaseSize: 50}, "c30"},
		{"append", Need{Size: 35, Base: 30, Dirty: at(30, 5)}, "c30 s5"},
		{"append a little", Need{Size: 31, Base: 30, Dirty: at(30, 1)}, "c30 s1"},
		{"append a hole", Need{Size: 40, Base: 20, Dirty: at(35, 1)}, "c20 s7 s7 s6"},
		{"header", Need{Size: 30, Base: 30, Dirty: at(0, 1)}, "s5 c25"},
		{"middle", Need{Size: 30, Base: 30, Dirty: at(14, 2)}, "c11 s5 c14"},
		{"last byte", Need{Size: 30, Base: 30, Dirty: at(29, 1)}, "c29 s1"},
		{"near the end: a short copy at last", Need{Size: 30, Base: 30, Dirty: at(20, 6)}, "c20 s6 c4"},
		{"near the end: the rest is cheaper than a least part", Need{Size: 30, Base: 30, Dirty: at(26, 1)}, "c26 s4"},
		{"two edits, a copy between", Need{Size: 30, Base: 30, Dirty: at(4, 2, 16, 2)}, "s6 c7 s5 c12"},
		{"two edits, too near", Need{Size: 40, Base: 40, Dirty: at(10, 1, 14, 1)}, "c10 s5 c25"},
		{"from the left", Need{Size: 30, Base: 30, Dirty: at(12, 1, 18, 12)}, "c8 s5 c5 s6 s6"},
		{"neither side has enough", Need{Size: 30, Base: 30, Dirty: at(5, 1, 11, 19)}, "c5 s7 s6 s6 s6"},
	} {
		p, err := MakePlan(c.need, small)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := show(p); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if err := checkPlan(c.need, small, p); err != nil {
			t.Errorf("%s: %s: %v", c.name, show(p), err)
		}
	}
}

func TestMakePlanOfNewFilesFollowsTheLayout(t *testing.T) {
	for _, size := range []int64{17, 18, 100, 250} {
		p, err := MakePlan(Need{Size: size}, small)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := planLayout(size, small)
		if !ok || !reflect.DeepEqual(p.Pieces, want) {
			t.Errorf("%d bytes: %v, want %v", size, show(p), show(Plan{Pieces: want}))
		}
	}
}

func TestSmallEditOfALargeFileSendsLittle(t *testing.T) {
	l := LimitsOf(swiftProfile, 0)
	p, err := MakePlan(Need{Size: 10 * gib, Base: 10 * gib, Dirty: []Range{{Off: 3*gib + 17, Len: 4096}}}, l)
	if err != nil {
		t.Fatal(err)
	}
	if p.sent() != 5*mib || len(p.Pieces) > 19 {
		t.Errorf("%d bytes in %d pieces", p.sent(), len(p.Pieces))
	}
}

func TestManyEditsFitTheParts(t *testing.T) {
	l := LimitsOf(swiftProfile, 0)
	n := Need{Size: 100 * gib, Base: 100 * gib}
	for off := int64(0); off < n.Size; off += 20 * mib {
		n.Dirty = append(n.Dirty, Range{Off: off, Len: 4096})
	}
	p, err := MakePlan(n, l)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPlan(n, l, p); err != nil {
		t.Error(err)
	}
}

func TestLargestFiles(t *testing.T) {
	l := LimitsOf(swiftProfile, 0)
	all := int64(l.MaxParts) * l.MaxPart
	for _, n := range []Need{{Size: 4 * tib}, {Size: all}, {Size: all, Base: all}, {Size: all, Base: all, Dirty: []Range{{Off: 9, Len: 9}}},
		{Size: 4 * tib, Base: 3 * tib}} {
		p, err := MakePlan(n, l)
		if err != nil {
			t.Errorf("%+v: %v", n, err)
			continue
		}
		if err := checkPlan(n, l, p); err != nil {
			t.Errorf("%+v: %v", n, err)
		}
	}
	for _, size := range []int64{all + 1, 1 << 62} {
		if _, err := MakePlan(Need{Size: size, Base: 9}, l); !errors.Is(err, s3client.TooLarge) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestMakePlanRefusesNonsense(t *testing.T) {
	for name, n := range map[string]Need{
		"negative size": {Size: -1},
		"negative base": {Size: 1, Base: -1},
		"out of order":  {Size: 9, Base: 9, Dirty: []Range{{Off: 5, Len: 1}, {Off: 2, Len: 1}}},
		"overlap":       {Size: 9, Base: 9, Dirty: []Range{{Off: 5, Len: 2}, {Off: 6, Len: 1}}},
		"negative off":  {Size: 9, Base: 9, Dirty: []Range{{Off: -1, Len: 2}}},
		"overflow":      {Size: 9, Base: 9, Dirty: []Range{{Off: 5, Len: 1<<63 - 1}}},
	} {
		if p, err := MakePlan(n, small); err == nil {
			t.Errorf("%s: %v", name, show(p))
		}
	}
	tight := small
	tight.MaxPart = 9
	if _, err := MakePlan(Need{Size: 100}, tight); !errors.Is(err, errLimits) {
		t.Errorf("tight limits: %v", err)
	}
}

func TestMakePlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLimits(t)
		n := drawNeed(t, int64(l.MaxParts)*l.MaxPart)
		p, err := MakePlan(n, l)
		if err != nil {
			t.Fatalf("%+v in %+v: %v", n, l, err)
		}
		if err := checkPlan(n, l, p); err != nil {
			t.Fatalf("%+v in %+v: %s: %v", n, l, show(p), err)
		}
	})
}

// With parts to spare, an edit sends at most two least parts more than it has dirty bytes, and a stretch of the base is
// copied if it is long enough for its neighbours and itself.
func TestMakePlanSendsLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLimits(t)
		l.MaxParts = 10000
		n := drawNeed(t, 3000)
		p, err := MakePlan(n, l)
		if err != nil {
			t.Fatal(err)
		}
		norm, err := n.normal()
		if err != nil {
			t.Fatal(err)
		}
		if p.Single {
			return
		}
		most := int64(0)
		for _, r := range norm.Dirty {
			most += r.Len + 2*l.MinPart
		}
		if sent := p.sent(); sent > most {
			t.Fatalf("%+v in %+v: %s sends %d, %d would do", n, l, show(p), sent, most)
		}
	})
}

// Where the parts suffice, no plan moves fewer bytes up and down.
func TestMakePlanMovesTheLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLimits(t)
		l.MinPart = rapid.Int64Range(1, 8).Draw(t, "min")
		l.MaxPart, l.MaxCopy = max(l.MaxPart, 2*l.MinPart), max(l.MaxCopy, 2*l.MinPart)
		l.MaxParts = 10000
		n, err := drawNeed(t, 150).normal()
		if err != nil {
			t.Fatal(err)
		}
		p, err := planParts(n, l)
		if err != nil {
			t.Fatal(err)
		}
		up, down := n.moved(p.Pieces)
		if least := leastMoved(n, l); up+down != least {
			t.Fatalf("%+v in %+v: %s moves %d up, %d down; %d would do", n, l, show(p), up, down, least)
		}
	})
}

// leastMoved tries all ways to cut a file into legal pieces.
func leastMoved(n Need, l Limits) int64 {
	clean := make([]bool, n.Size)
	for i := range n.Base {
		clean[i] = true
	}
	for _, r := range n.Dirty {
		for i := r.Off; i < r.Off+r.Len; i++ {
			clean[i] = false
		}
	}
	const never = 1 << 40
	best := make([]int64, n.Size+1) // to reach an offset
	for i := range best[1:] {
		best[i+1] = never
	}
	for off := range n.Size {
		cost, copied := int64(0), true
		for to := off + 1; to <= n.Size; to++ {
			cost++
			if clean[to-1] {
				cost++
			} else {
				copied = false
			}
			if to-off < l.MinPart && to != n.Size {
				continue
			}
			if to-off <= l.MaxPart {
				best[to] = min(best[to], best[off]+cost)
			}
			if copied && to-off <= l.maxCopyPart() {
				best[to] = min(best[to], best[off])
			}
		}
	}
	return best[n.Size]
}

func drawLimits(t *rapid.T) Limits {
	l := Limits{MinPart: rapid.Int64Range(1, 20).Draw(t, "MinPart")}
	l.MaxPart = rapid.Int64Range(2*l.MinPart, 100).Draw(t, "MaxPart")
	l.MaxCopy = rapid.Int64Range(2*l.MinPart, 120).Draw(t, "MaxCopy")
	l.MaxParts = rapid.IntRange(1, 60).Draw(t, "MaxParts")
	l.FirstPart = rapid.Int64Range(1, l.MaxPart).Draw(t, "FirstPart")
	l.MaxPut = rapid.Int64Range(0, 120).Draw(t, "MaxPut")
	l.SinglePut = rapid.Int64Range(0, 60).Draw(t, "SinglePut")
	l.CopyPart = rapid.Int64Range(0, 120).Draw(t, "CopyPart")
	return l
}

func drawNeed(t *rapid.T, maxSize int64) Need {
	n := Need{Size: rapid.Int64Range(0, maxSize).Draw(t, "Size")}
	n.Base = rapid.Int64Range(0, n.Size+n.Size/4).Draw(t, "Base")
	n.BaseSize = n.Base + rapid.SampledFrom([]int64{0, 0, 1, 100}).Draw(t, "more")
	off := int64(0)
	for range rapid.IntRange(0, 12).Draw(t, "ranges") {
		off += rapid.Int64Range(0, max(1, maxSize/8)).Draw(t, "gap")
		length := rapid.Int64Range(0, max(1, maxSize/16)).Draw(t, "len")
		n.Dirty = append(n.Dirty, Range{Off: off, Len: length})
		off += length
	}
	return n
}

// checkPlan says what is wrong with a plan, by the rules alone.
func checkPlan(n Need, l Limits, p Plan) error {
	dirty := func(off, to int64) bool {
		for _, r := range n.Dirty {
			if r.Len > 0 && r.Off < to && off < r.Off+r.Len {
				return true
			}
		}
		return false
	}
	switch {
	case p.Single:
		if n.Size > l.SinglePut || n.Size > l.MaxPut || p.Pieces != nil || p.CopyWhole {
			return errors.New("single")
		}
		return nil
	case p.CopyWhole:
		if n.Size > l.MaxCopy || n.Base != n.Size || n.BaseSize > n.Size || dirty(0, n.Size) || p.Pieces != nil {
			return errors.New("copied whole")
		}
		return nil
	case len(p.Pieces) > l.MaxParts:
		return fmt.Errorf("%d pieces", len(p.Pieces))
	}
	off := int64(0)
	for i, piece := range p.Pieces {
		switch {
		case piece.Number != i+1, piece.Off != off, piece.Len <= 0:
			return fmt.Errorf("piece %+v at place %d, %d", piece, i, off)
		case piece.Len > l.MaxPart, piece.Copy && piece.Len > l.MaxCopy:
			return fmt.Errorf("piece %+v is too long", piece)
		case piece.Len < l.MinPart && i < len(p.Pieces)-1:
			return fmt.Errorf("piece %+v is too short", piece)
		case piece.Copy && (piece.Off+piece.Len > n.Base || dirty(piece.Off, piece.Off+piece.Len)):
			return fmt.Errorf("piece %+v is not the base's", piece)
		}
		off += piece.Len
	}
	if off != n.Size {
		return fmt.Errorf("pieces end at %d", off)
	}
	return nil
}

// An unfinished upload shows what the limits were that it was begun with.
func TestFitting(t *testing.T) {
	now := LimitsOf(swiftProfile, 0)
	for _, was := range []Limits{now, LimitsOf(swiftProfile, 5*mib), LimitsOf(swiftProfile, 64*mib), LimitsOf(awsProfile, 0), LimitsOf(awsProfile, 24*mib)} {
		var parts []Sent
		for off := was.FirstPart; off < 40*gib; { // the first part is kept here
			number, start, length := was.PartAt(off)
			if off = start + length; number%3 != 0 {
				parts = append(parts, Sent{Piece: Piece{Number: number, Off: start, Len: length}})
			}
		}
		got, ok := now.fitting(parts)
		if !ok {
			t.Errorf("%+v: nothing fits", was)
		}
		for off := int64(0); off < 40*gib; off += 4 * mib {
			gotNumber, gotStart, gotLength := got.PartAt(off)
			if number, start, length := was.PartAt(off); gotNumber != number || gotStart != start || gotLength != length {
				t.Errorf("%+v: at %d part %d from %d with %d, was %d, %d, %d", was, off, gotNumber, gotStart, gotLength, number, start, length)
				break
			}
		}
	}
	odd := []Sent{{Piece: Piece{Number: 2, Off: 8 * mib, Len: 8 * mib}}, {Piece: Piece{Number: 3, Off: 20 * mib, Len: 8 * mib}}}
	if got, ok := now.fitting(odd); ok || got != now {
		t.Errorf("parts of no layout fit %+v", got)
	}
}
