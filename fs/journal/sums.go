package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
)

const (
	// checkBytes is what one CRC covers: 4 bytes of memory for 64 KiB of file, and the most a small read reads besides.
	checkBytes  = 64 << 10
	groupBlocks = 1024
	// mostBlocks: no file goes further.
	mostBlocks = math.MaxInt64 / checkBytes
)

// sums are the checks of a file: of each block of 64 KiB, the CRC32C of its first n bytes, behind which it is zero up to
// its end. A block without one is a hole. n is 64 KiB for nearly all: the others stand in short.
type sums struct {
	groups map[int64]*sumGroup // by block / groupBlocks
	short  map[int64]int32
	// loose: a block without a check is not known to be a hole, since the file is from a run that left none.
	loose bool
}

type sumGroup struct {
	crc  [groupBlocks]uint32
	have [groupBlocks / 64]uint64
	n    int
}

// blockSum is a block's check; without known nothing can be said.
type blockSum struct {
	crc   uint32
	n     int32
	known bool
}

func newSums(loose bool) *sums {
	return &sums{groups: make(map[int64]*sumGroup), short: make(map[int64]int32), loose: loose}
}

func (s *sums) get(block int64) blockSum {
	i := block % groupBlocks
	g := s.groups[block/groupBlocks]
	if g == nil || g.have[i/64]&(1<<(i%64)) == 0 {
		return blockSum{known: !s.loose}
	}
	n := int32(checkBytes)
	if short, ok := s.short[block]; ok {
		n = short
	}
	return blockSum{g.crc[i], n, true}
}

// set records a check; one of n 0 makes the block a hole.
func (s *sums) set(block int64, sum blockSum) {
	if sum.n == 0 && !s.loose {
		s.drop(block)
		return
	}
	g := s.groups[block/groupBlocks]
	if g == nil {
		g = &sumGroup{}
		s.groups[block/groupBlocks] = g
	}
	i := block % groupBlocks
	if bit := uint64(1) << (i % 64); g.have[i/64]&bit == 0 {
		g.have[i/64] |= bit
		g.n++
	}
	g.crc[i] = sum.crc
	if delete(s.short, block); sum.n < checkBytes {
		s.short[block] = sum.n
	}
}

func (s *sums) drop(block int64) {
	g := s.groups[block/groupBlocks]
	i := block % groupBlocks
	if g == nil || g.have[i/64]&(1<<(i%64)) == 0 {
		return
	}
	g.have[i/64] &^= 1 << (i % 64)
	g.crc[i] = 0
	delete(s.short, block)
	if g.n--; g.n == 0 {
		delete(s.groups, block/groupBlocks)
	}
}

// holes makes blocks [from, to) holes. They may be far more than there are checks.
func (s *sums) holes(from, to int64) {
	for _, k := range slices.Collect(maps.Keys(s.groups)) {
		for b := max(from, k*groupBlocks); b < min(to, (k+1)*groupBlocks); b++ {
			s.drop(b)
		}
	}
	if s.loose { // what was zeroed is known now; only as much as one would look at
		for b := from; b < min(to, from+groupBlocks); b++ {
			s.set(b, blockSum{})
		}
	}
}

// blocks are those with a check, ascending.
func (s *sums) blocks() []int64 {
	var out []int64
	for _, k := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[k]
		for i := range int64(groupBlocks) {
			if g.have[i/64]&(1<<(i%64)) != 0 {
				out = append(out, k*groupBlocks+i)
			}
		}
	}
	return out
}

// count is how many blocks have a check.
func (s *sums) count() (n int64) {
	for _, g := range s.groups {
		n += int64(g.n)
	}
	return n
}

// end is where the last byte that is not in a hole ends.
func (s *sums) end() (end int64) {
	for k, g := range s.groups {
		for i := range int64(groupBlocks) {
			if b := k*groupBlocks + i; g.have[i/64]&(1<<(i%64)) != 0 {
				end = max(end, b*checkBytes+int64(s.get(b).n))
			}
		}
	}
	return end
}

// encode writes the checks as runs of neighbouring blocks, then the short ones.
func (s *sums) encode() []byte {
	blocks := s.blocks()
	b := make([]byte, 0, 16+5*len(blocks))
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && blocks[n] == blocks[n-1]+1 {
			n++
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(n)), uint64(blocks[0]))
		for _, block := range blocks[:n] {
			b = little.AppendUint32(b, s.get(block).crc)
		}
		blocks = blocks[n:]
	}
	b = binary.AppendUvarint(b, 0)
	for _, block := range slices.Sorted(maps.Keys(s.short)) {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(block)), uint64(s.short[block]))
	}
	return b
}

func decodeSums(b []byte) (*sums, error) {
	s := newSums(false)
	f := &fields{b: b}
	for {
		n := f.number()
		if n == 0 || n > uint64(len(f.b))/4 {
			f.bad = f.bad || n != 0
			break
		}
		first := int64(f.number())
		if first < 0 || first > mostBlocks-int64(n) {
			return nil, fmt.Errorf("%w: checks of block %d", ErrDamaged, first)
		}
		for i := range int64(n) {
			if len(f.b) < 4 {
				return nil, fmt.Errorf("%w: checks end early", ErrDamaged)
			}
			s.set(first+i, blockSum{crc: little.Uint32(f.b), n: checkBytes})
			f.b = f.b[4:]
		}
	}
	for len(f.b) > 0 {
		block, n := int64(f.number()), f.number()
		if block < 0 || s.get(block).n == 0 || n >= checkBytes {
			return nil, fmt.Errorf("%w: check of %d bytes of block %d", ErrDamaged, n, block)
		}
		s.short[block] = int32(n)
	}
	if f.bad {
		return nil, fmt.Errorf("%w: malformed checks", ErrDamaged)
	}
	return s, nil
}

// sumOf is the check of a block whose bytes are b and then zeros.
func sumOf(b []byte) blockSum { return blockSum{crc(b), int32(len(b)), true} }

// extended is the check after p was written at off, at or behind the end of what the check covers.
func (sum blockSum) extended(off int, p []byte) blockSum {
	c := sum.crc
	if gap := off - int(sum.n); gap > 0 {
		c = crc32.Update(c, castagnoli, zeros[:gap])
	}
	return blockSum{crc32.Update(c, castagnoli, p), int32(off + len(p)), true}
}

// fits says whether a whole block is what the check says.
func (sum blockSum) fits(block []byte) bool {
	return !sum.known || crc(block[:sum.n]) == sum.crc && isZero(block[sum.n:])
}
