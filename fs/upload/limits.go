package upload

import (
	"errors"
	"fmt"
	"math"

	"pailfs/s3client"
)

const (
	mib = 1 << 20
	gib = 1 << 30

	defaultFirstPart = 8 * mib
	defaultSinglePut = 16 * mib
	// defaultCopyPart is the most of what one copy aims at. Stores copy byte by byte while the request waits (Swift and AWS
	// do, at 100 MB/s or so), and proxies in front of them give up on a silent request after a minute or so.
	defaultCopyPart = gib
	// copiesAtOnce is how many copies an object is cut into, so that they run beside each other, but for those of less than
	// leastCopy.
	copiesAtOnce = 16
	leastCopy    = 64 * mib
)

// Limits are what a store allows in one request and one upload, and what is asked of it by choice. All sizes in bytes.
type Limits struct {
	MinPart, MaxPart, MaxPut, MaxCopy int64
	MaxParts                          int
	// FirstPart is the size that the layout of a file's parts begins with (--part-size).
	FirstPart int64
	// SinglePut: up to this size a file is sent by one PUT.
	SinglePut int64
	// CopyPart is the most that one copied part has where the number of parts allows it; 0 means as much as MaxPart and
	// MaxCopy allow.
	CopyPart int64
}

// LimitsOf takes a store's limits and the size of the first part (0: 8 MiB; brought within the store's limits).
func LimitsOf(p s3client.Profile, firstPart int64) Limits {
	if firstPart <= 0 {
		firstPart = defaultFirstPart
	}
	l := Limits{
		MinPart: p.MinPart, MaxPart: p.MaxPart, MaxPut: p.MaxPut, MaxCopy: p.MaxCopy, MaxParts: p.MaxParts,
		FirstPart: min(max(firstPart, p.MinPart), p.MaxPart),
		SinglePut: min(defaultSinglePut, p.MaxPut),
		CopyPart:  defaultCopyPart,
	}
	return l
}

var errLimits = errors.New("limits that no plan can keep")

// check refuses limits within which some sizes could not be cut into parts.
func (l Limits) check() error {
	switch {
	case l.MinPart < 1, l.MaxPart < 2*l.MinPart, l.MaxCopy < 2*l.MinPart, l.MaxParts < 1, l.FirstPart < 1,
		l.MaxPut < 0, l.SinglePut < 0, l.CopyPart < 0:
		return fmt.Errorf("%w: %+v", errLimits, l)
	}
	return nil
}

// Largest is the size of the largest object that the store takes.
func (l Limits) Largest() int64 {
	if l.MaxPart > math.MaxInt64/int64(l.MaxParts) {
		return math.MaxInt64
	}
	return max(l.MaxPut, l.MaxPart*int64(l.MaxParts))
}

// single is the most bytes that go by one PUT.
func (l Limits) single() int64 { return min(l.SinglePut, l.MaxPut) }

// copyAim is the length that the copied parts of an object of some size aim at; maxCopyPart is what they may have.
func (l Limits) copyAim(size int64) int64 {
	aim := l.maxCopyPart()
	if l.CopyPart > 0 {
		aim = min(aim, max(l.CopyPart, 2*l.MinPart))
	}
	return min(aim, max(leastCopy, size/copiesAtOnce))
}

func (l Limits) maxCopyPart() int64 { return min(l.MaxPart, l.MaxCopy) }

// evenParts is how many parts of FirstPart the layout begins with, an eighth of all: what is on its way of a file of common
// size is many small parts and not a few large ones, each of which has a connection's speed. growth is the number of parts
// after which their size doubles from there on. With 1000 parts from 8 MiB to 5 GiB that reaches 3.15 TiB, with 10,000 over
// 31 TiB, and where it doubles a part is at most a thirtieth (a three-hundredth) of what lies before it. Files beyond that get
// parts of MaxPart throughout (MakePlan).
func (l Limits) evenParts() int64 { return max(1, int64(l.MaxParts)/8) }
func (l Limits) growth() int64    { return max(2, int64(l.MaxParts)/32) }

// PartAt is the part of the layout that covers the byte at off: evenParts() parts of FirstPart, doubling then after every
// growth() parts, at most MaxPart. The layout depends on nothing but the limits, so that parts can be sent before a file's
// size is known. Numbers beyond MaxParts are given for offsets that the layout does not reach.
func (l Limits) PartAt(off int64) (number int, start, length int64) {
	k := l.evenParts()
	size := min(max(l.FirstPart, l.MinPart), l.MaxPart)
	first := int64(0) // parts before this run of equal ones
	for size < l.MaxPart && off-start >= k*size {
		start += k * size
		first += k
		size = min(2*size, l.MaxPart)
		k = l.growth()
	}
	n := (off - start) / size
	return int(first+n) + 1, start + n*size, size
}

// usualMaxParts are the numbers of parts that stores allow, whose layouts an earlier run may have had.
var usualMaxParts = []int{10_000, 1000}

// fitting are the limits whose layout has these parts, in order of their numbers: l itself, or l with the first part's size
// and the number of parts that an earlier run had. l and false when there are none.
func (l Limits) fitting(parts []Sent) (Limits, bool) {
	if l.has(parts) {
		return l, true
	}
	earlier := l
	for _, earlier.MaxParts = range append([]int{l.MaxParts}, usualMaxParts...) {
		earlier.FirstPart = parts[0].Len
		if n := int64(parts[0].Number); n > 1 { // the first ones of a layout are even
			earlier.FirstPart = parts[0].Off / (n - 1)
		}
		if earlier.has(parts) {
			return earlier, true
		}
	}
	return l, false
}

// has says whether parts are of the layout. The last may be shorter: the file ended there.
func (l Limits) has(parts []Sent) bool {
	for i, p := range parts {
		number, start, length := l.PartAt(p.Off)
		if number != p.Number || start != p.Off || p.Len > length || p.Len < length && i < len(parts)-1 {
			return false
		}
	}
	return true
}
