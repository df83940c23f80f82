package cache

import (
	"math"
	"math/bits"
	"unique"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// layout says in which file a block lies: objects of up to whole bytes have one file, larger ones a file a segment.
type layout struct {
	block, segment, whole int64 // bytes
}

func newLayout(o DiskOptions) layout {
	block := int64(o.BlockBytes)
	segment := min(maxSegmentBytes, o.SizeBytes/segmentShare)
	return layout{block: block, segment: max(segment-segment%block, block), whole: o.SizeBytes / wholeShare}
}

func (l layout) blocks(v Version) int64 { return (v.Size + l.block - 1) / l.block }

// place is the segment of block i, and which blocks it holds.
func (l layout) place(v Version, i int64) (segment, first int64, blocks int) {
	if v.Size <= l.whole {
		return 0, 0, int(l.blocks(v))
	}
	per := l.segment / l.block
	segment = i / per
	first = segment * per
	return segment, first, int(min(per, l.blocks(v)-first))
}

func (l layout) blockLen(v Version, i int64) int64 { return min(l.block, v.Size-i*l.block) }

// fileSize is the length of the file of the part.
func (l layout) fileSize(p *part) int64 {
	return min(int64(p.blocks)*l.block, p.key.version.Value().Size-p.first*l.block)
}

const (
	// partCharge is what a file costs beside its bytes: its inode and the rest of its last block.
	partCharge = 4096
	// Estimates of memory: a part with its slots in the LRU and among the interned versions, and a chunk.
	partMemory  = 500
	chunkMemory = 40
	chunkBlocks = 64
)

type partKey struct {
	version unique.Handle[Version]
	segment int64
}

// A part is one file: a version or a segment of one. Guarded by Disk.mu, but for what never changes.
type part struct {
	key    partKey
	id     uint64 // names the file; never used again in a directory's life
	first  int64  // its first block
	blocks int
	chunks []chunk

	have, verified int   // blocks
	bytes          int64 // charge
	holds          int   // Wholes
	dead           bool  // not in the index any more
	checking       bool  // verified in the background, now or soon
	touched        int64 // second of the last record of its use
}

// A chunk is 64 blocks: which are there, which of these are known to match their checksum, and the checksums.
type chunk struct {
	have, verified uint64
	sums           []uint32 // nil until the first block comes
}

func newPart(key partKey, id uint64, first int64, blocks int) *part {
	return &part{key: key, id: id, first: first, blocks: blocks, bytes: partCharge,
		chunks: make([]chunk, (blocks+chunkBlocks-1)/chunkBlocks)}
}

// at finds block i of the version.
func (p *part) at(i int64) (c *chunk, n int) {
	i -= p.first
	return &p.chunks[i/chunkBlocks], int(i % chunkBlocks)
}

func (p *part) has(i int64) bool {
	c, n := p.at(i)
	return c.have>>n&1 != 0
}

func (p *part) sum(i int64) uint32 {
	c, n := p.at(i)
	return c.sums[n]
}

// known marks a block that is there as verified.
func (p *part) known(i int64) {
	c, n := p.at(i)
	if c.verified>>n&1 == 0 {
		c.verified |= 1 << n
		p.verified++
	}
}

// lost forgets one block.
func (p *part) lost(i int64, length int64) {
	c, n := p.at(i)
	if c.have>>n&1 == 0 {
		return
	}
	if c.verified>>n&1 != 0 {
		p.verified--
	}
	c.have &^= 1 << n
	c.verified &^= 1 << n
	p.have--
	p.bytes -= length
}

// unverified is the first block that is there and not verified.
func (p *part) unverified() (i int64, ok bool) {
	for j := range p.chunks {
		if c := &p.chunks[j]; c.have != c.verified {
			return p.first + int64(j*chunkBlocks+bits.TrailingZeros64(c.have&^c.verified)), true
		}
	}
	return 0, false
}

// memory is an estimate of what the part takes in the index.
func (p *part) memory() int64 {
	v := p.key.version.Value()
	n := int64(partMemory + len(v.Bucket) + len(v.Key) + len(v.ETag) + chunkMemory*len(p.chunks))
	for i := range p.chunks {
		n += 4 * int64(cap(p.chunks[i].sums))
	}
	return n
}

// index is all parts in the order of their use. Guarded by Disk.mu.
type index struct {
	parts  *simplelru.LRU[partKey, *part]
	bytes  int64 // charges of all parts, and of dead ones that are held
	blocks int64
	memory int64
}

func newIndex() index {
	l, err := simplelru.NewLRU[partKey, *part](math.MaxInt, nil)
	if err != nil { // only for a size that is not positive
		panic(err)
	}
	return index{parts: l}
}

func (x *index) addLocked(p *part) {
	x.parts.Add(p.key, p)
	x.bytes += p.bytes
	x.blocks += int64(p.have)
	x.memory += p.memory()
}

// gainLocked notes a block that was written.
func (x *index) gainLocked(p *part, i int64, length int64, sum uint32, verified bool) {
	c, n := p.at(i)
	if c.sums == nil {
		c.sums = make([]uint32, min(chunkBlocks, p.blocks-int(i-p.first)/chunkBlocks*chunkBlocks))
		if !p.dead {
			x.memory += 4 * int64(len(c.sums))
		}
	}
	if c.have>>n&1 == 0 {
		c.have |= 1 << n
		p.have++
		p.bytes += length
		x.bytes += length
		x.blocks++
	}
	c.sums[n] = sum
	if verified {
		p.known(i)
	}
}

// loseLocked forgets a block that does not match its checksum.
func (x *index) loseLocked(p *part, i int64, length int64) {
	if p.has(i) {
		p.lost(i, length)
		x.bytes -= length
		x.blocks--
	}
}

// removeLocked takes a part out. Held ones stay counted until released.
func (x *index) removeLocked(p *part) {
	if p.dead {
		return
	}
	p.dead = true
	x.parts.Remove(p.key)
	x.blocks -= int64(p.have)
	x.memory -= p.memory()
	if p.holds == 0 {
		x.bytes -= p.bytes
	}
}

// releaseLocked ends a hold.
func (x *index) releaseLocked(p *part) {
	if p.holds--; p.holds == 0 && p.dead {
		x.bytes -= p.bytes
	}
}

// oldestLocked is the part to evict next. Held ones are in use, and unlinking them frees nothing: they count as used now.
func (x *index) oldestLocked(but *part) (*part, bool) {
	for range x.parts.Len() {
		k, p, ok := x.parts.GetOldest()
		if !ok {
			return nil, false
		}
		if p.holds == 0 && p != but {
			return p, true
		}
		x.parts.Get(k)
	}
	return nil, false
}

// findLocked is the part where block i of v is or would be, and whether it is there at all.
func (d *Disk) findLocked(v Version, version unique.Handle[Version], i int64) (*part, bool) {
	segment, _, _ := d.layout.place(v, i)
	return d.mu.parts.Peek(partKey{version, segment})
}

// run says how many of the n blocks from i on have the same answer to the question whether they are on disk, and the
// answer. It is no use of them.
func (d *Disk) run(v Version, version unique.Handle[Version], i int64, n int) (same int, have bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for same < n {
		at := i + int64(same)
		_, first, blocks := d.layout.place(v, at)
		p, ok := d.findLocked(v, version, at)
		end := min(n, int(first+int64(blocks)-i)) // of this part
		if same == 0 {
			have = ok && p.has(at)
		}
		for same < end && (ok && p.has(i+int64(same))) == have {
			if !ok {
				same = end
				break
			}
			same++
		}
		if same < end {
			return same, have
		}
	}
	return same, have
}
