package upload

import (
	"fmt"

	"pailfs/s3client"
)

// Need says what of a file the store has and what it has not.
type Need struct {
	Size  int64   // bytes of the file
	Dirty []Range // bytes that only we have; sorted and disjoint, may reach beyond Size
	Base  int64   // bytes [0, Base) of the base are the file's where not dirty; from there to Size are zeros where not dirty
	// BaseSize is the base object's whole size; less than Base means Base. Only an object of exactly the file's size can be
	// copied whole. Store fills it in.
	BaseSize int64
}

// Piece is one part of a multipart upload.
type Piece struct {
	Number   int // from 1, without gaps
	Off, Len int64
	Copy     bool // from the base by UploadPartCopy; otherwise sent
}

// Plan is the cheapest sequence of requests that was found: one PUT, one CopyObject, or the pieces of a multipart upload.
type Plan struct {
	Single    bool
	CopyWhole bool
	Pieces    []Piece
}

// sent is the number of bytes that a multipart plan uploads.
func (p Plan) sent() (n int64) {
	for _, piece := range p.Pieces {
		if !piece.Copy {
			n += piece.Len
		}
	}
	return n
}

// copies says whether the plan copies anything from the base.
func (p Plan) copies() bool {
	for _, piece := range p.Pieces {
		if piece.Copy {
			return true
		}
	}
	return p.CopyWhole
}

// MakePlan plans how an object becomes equal to a file. The pieces cover [0, Size) exactly and in order; all but the last
// have at least MinPart bytes, none more than MaxPart (MaxCopy for copies), and there are at most MaxParts. A file larger
// than that gives s3client.TooLarge.
func MakePlan(n Need, l Limits) (Plan, error) {
	if err := l.check(); err != nil {
		return Plan{}, err
	}
	n, err := n.normal()
	if err != nil {
		return Plan{}, err
	}
	switch {
	case len(n.Dirty) == 0 && n.Base == n.Size && n.BaseSize == n.Size && n.Size > 0 && n.Size <= l.MaxCopy:
		return Plan{CopyWhole: true}, nil
	case n.Size <= l.single():
		return Plan{Single: true}, nil
	}
	return planParts(n, l)
}

// planParts plans a multipart upload, whatever the size: copies where they help, the layout's parts where they do not,
// and equal parts for a file that the layout does not reach.
func planParts(n Need, l Limits) (Plan, error) {
	if n.Size > 0 && (n.Size-1)/l.MaxPart >= int64(l.MaxParts) {
		return Plan{}, &s3client.Error{Op: "plan upload", Kind: s3client.TooLarge,
			Message: fmt.Sprintf("%d bytes do not fit %d parts of %d", n.Size, l.MaxParts, l.MaxPart)}
	}
	if pieces, ok := planCopies(n, l); ok {
		return Plan{Pieces: pieces}, nil
	}
	if pieces, ok := planLayout(n.Size, l); ok {
		return Plan{Pieces: pieces}, nil
	}
	return Plan{Pieces: cutRuns([]run{{0, n.Size, false}}, l, 0, l.MaxPart)}, nil
}

// normal is the need with Base and Dirty cut at Size, touching dirty ranges joined, and everything beyond Base dirty.
func (n Need) normal() (Need, error) {
	if n.Size < 0 || n.Base < 0 {
		return n, fmt.Errorf("plan upload: size %d, base %d", n.Size, n.Base)
	}
	n.BaseSize = max(n.BaseSize, n.Base)
	n.Base = min(n.Base, n.Size)
	var dirty []Range
	end := int64(0) // of the ranges so far, uncut
	add := func(off, to int64) {
		if last := len(dirty) - 1; last >= 0 && dirty[last].Off+dirty[last].Len >= off {
			dirty[last].Len = max(dirty[last].Len, to-dirty[last].Off)
			return
		}
		dirty = append(dirty, Range{Off: off, Len: to - off})
	}
	for _, r := range n.Dirty {
		if r.Off < end || r.Len < 0 || r.Off+r.Len < r.Off {
			return n, fmt.Errorf("plan upload: dirty range %d+%d overlaps or is out of order", r.Off, r.Len)
		}
		end = r.Off + r.Len
		if to := min(end, n.Base); r.Off < to {
			add(r.Off, to)
		}
	}
	if n.Base < n.Size {
		add(n.Base, n.Size)
	}
	n.Dirty = dirty
	return n, nil
}

// planLayout cuts a file along PartAt; false when that takes too many parts.
func planLayout(size int64, l Limits) ([]Piece, bool) {
	if size == 0 {
		return []Piece{{Number: 1}}, true
	}
	if last, _, _ := l.PartAt(size - 1); last > l.MaxParts {
		return nil, false
	}
	var pieces []Piece
	for off := int64(0); off < size; {
		number, start, length := l.PartAt(off)
		pieces = append(pieces, Piece{Number: number, Off: start, Len: min(length, size-start)})
		off = start + length
	}
	return pieces, true
}

// planCopies copies what it can; false when there is nothing to copy, or when the parts do not suffice. When there would
// be too many pieces it tries again with longer ones, and where that is not enough with a coarser eye: shorter stretches
// are sent instead of copied.
func planCopies(n Need, l Limits) ([]Piece, bool) {
	for minCopy := l.MinPart; ; minCopy = min(2*minCopy, n.Size+1) {
		runs := chooseRuns(n, minCopy, l.MinPart)
		copyPart, scale := l.copyAim(n.Size), int64(1)
		for countPieces(runs, l, copyPart, scale) > int64(l.MaxParts) && (copyPart < l.maxCopyPart() || scale < l.MaxPart) {
			copyPart, scale = min(2*copyPart, l.maxCopyPart()), min(2*scale, l.MaxPart)
		}
		if countPieces(runs, l, copyPart, scale) <= int64(l.MaxParts) {
			pieces := cutRuns(runs, l, copyPart, scale)
			return pieces, Plan{Pieces: pieces}.copies()
		}
		if minCopy > n.Size {
			return nil, false
		}
	}
}

// cutRuns cuts runs into pieces of equal length.
func cutRuns(runs []run, l Limits, copyPart, scale int64) []Piece {
	var pieces []Piece
	for _, r := range runs {
		n := r.pieces(l, copyPart, scale)
		for i := range n {
			from, to := cut(r.len, i, n), cut(r.len, i+1, n)
			pieces = append(pieces, Piece{Number: len(pieces) + 1, Off: r.off + from, Len: to - from, Copy: r.copy})
		}
	}
	return pieces
}

func countPieces(runs []run, l Limits, copyPart, scale int64) (n int64) {
	for _, r := range runs {
		n += r.pieces(l, copyPart, scale)
	}
	return n
}

// pieces is the number of pieces that a run is cut into: copied ones of about copyPart, sent ones as long as the layout's
// first parts (what is sent between copies is little, and goes by as many connections as there are), times scale, and
// none shorter than MinPart if the run is not.
func (r run) pieces(l Limits, copyPart, scale int64) int64 {
	aim := copyPart
	if !r.copy {
		if aim = l.FirstPart; aim > l.MaxPart/scale {
			aim = l.MaxPart
		} else {
			aim *= scale
		}
	}
	return max(1, min((r.len+aim-1)/aim, r.len/l.MinPart))
}

// cut is the i-th of the n+1 borders that divide length into n pieces of lengths that differ by at most one.
func cut(length, i, n int64) int64 {
	q, rest := length/n, length%n
	return q*i + min(i, rest)
}
