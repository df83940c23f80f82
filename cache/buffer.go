package cache

import (
	"sync"
	"sync/atomic"
)

// blockOverhead is what a short block is charged beside its bytes: LRU element, map slot and header come to about
// 250 bytes, which is most of what the block of a tiny object costs. For whole blocks it does not matter.
const blockOverhead = 256

// A block is the bytes of one block of one version.
//
// It is made by a flight, which fills data and then only shares it: from then on data is read-only. refs counts the
// flight or (after publishing) the cache, and each View; who takes it to zero gives the buffer back.
type block struct {
	data    []byte
	refs    atomic.Int32
	cost    int64       // bytes this block is charged
	evicted atomic.Bool // counted in buffers.held; set before the cache's reference is dropped

	// Where a whole buffer lies; nil for the bytes of a short block, which are the collector's. Never changes.
	extent *extent
	slot   int

	// For memory.go, guarded by the shard's mutex.
	used  bool  // a View had it
	since int64 // shard.mu.inserts when it was first used
}

// buffers makes blocks and takes them back. Safe for concurrent use.
type buffers struct {
	size int // bytes of a whole block
	mu   struct {
		sync.Mutex
		arena
	}
	held atomic.Int64 // cost of blocks that left the cache (or never came in) and are still referenced

	freed func(data []byte) // tests: sees each buffer whose last reference is gone; nil otherwise
}

// cost is the charge in bytes of a block of n bytes. A block of more than half the size has a whole buffer.
func (p *buffers) cost(n int) int64 {
	if p.whole(n) {
		return int64(p.size)
	}
	return int64(min(n+blockOverhead, p.size))
}

func (p *buffers) whole(n int) bool { return n > p.size/2 }

// run appends to blocks at least one block and at most n, with one reference each and undefined content, that hold the
// first of total bytes. They lie one behind the other in memory: see lie.
func (p *buffers) run(blocks []*block, total, n int) []*block {
	from := len(blocks)
	if first := min(total, p.size); !p.whole(first) {
		blocks = append(blocks, &block{data: make([]byte, first)})
	} else {
		if last := total - (n-1)*p.size; !p.whole(last) {
			n-- // a short one has bytes of its own
		}
		p.mu.Lock()
		blocks = p.mu.takeLocked(p, blocks, n)
		p.mu.Unlock()
	}
	for _, b := range blocks[from:] {
		n := min(total, p.size)
		b.data = b.data[:n]
		b.cost = p.cost(n)
		b.evicted.Store(false)
		b.used, b.since = false, 0
		b.refs.Store(1)
		total -= n
	}
	return blocks
}

// lie says how many of the blocks, the first ones, lie one behind the other in memory, and returns their bytes as one
// slice. There is at least one block.
func lie(blocks []*block) (n int, data []byte) {
	first := blocks[0]
	e := first.extent
	if e == nil {
		return 1, first.data
	}
	length := len(first.data)
	for n = 1; n < len(blocks); n++ {
		if b := blocks[n]; b.extent != e || b.slot != first.slot+n || length != n*e.size {
			break
		}
		length += len(blocks[n].data)
	}
	from := first.slot * e.size
	return n, e.data[from : from+length : from+length]
}

// someSlices is room for what joined makes of so many blocks, where they lie well.
func someSlices(blocks int) int { return blocks/extentBlocks + 2 }

// joined appends the bytes of the blocks, in as few slices as their places allow.
func joined(slices [][]byte, blocks []*block) [][]byte {
	for len(blocks) > 0 {
		n, data := lie(blocks)
		slices = append(slices, data)
		blocks = blocks[n:]
	}
	return slices
}

// release drops one reference. It reports whether that ended a held block, so that there is more room now.
func (p *buffers) release(b *block) (room bool) {
	last, room := p.unref(b)
	if last && b.extent != nil {
		p.mu.Lock()
		p.mu.freeLocked(b)
		p.mu.Unlock()
	}
	return room
}

// releaseAll is release of several blocks, in which there may be nils.
func (p *buffers) releaseAll(blocks []*block) (room bool) {
	locked := false
	for _, b := range blocks {
		if b == nil {
			continue
		}
		last, r := p.unref(b)
		room = room || r
		if !last || b.extent == nil {
			continue
		}
		if !locked {
			locked = true
			p.mu.Lock()
		}
		p.mu.freeLocked(b)
	}
	if locked {
		p.mu.Unlock()
	}
	return room
}

// unref drops one reference and reports whether it was the last, and then whether it ended a held block.
func (p *buffers) unref(b *block) (last, room bool) {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return false, false
	case n < 0:
		panic("cache: a block was released more often than it was taken")
	}
	if room = b.evicted.Load(); room {
		p.held.Add(-b.cost)
	}
	if p.freed != nil {
		p.freed(b.data)
	}
	return true, room
}

// drop releases the cache's (or the flight's) references of blocks that are not in the cache any more; what others
// still hold of them counts as held.
func (p *buffers) drop(blocks ...*block) {
	for _, b := range blocks {
		b.evicted.Store(true)
		p.held.Add(b.cost)
	}
	p.releaseAll(blocks)
}
