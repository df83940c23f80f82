package cache

import (
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// slabBytes is how much memory is taken from the system at once. Huge pages were tried (MADV_HUGEPAGE): a cold read was
// no faster, as clearing 2 MiB at a time costs what the page faults did.
const slabBytes = 4 << 20

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
	pooled  bool        // data has a whole block's capacity and is used again
	evicted atomic.Bool // counted in buffers.held; set before the cache's reference is dropped

	// For memory.go, guarded by the shard's mutex.
	used  bool  // a View had it
	since int64 // shard.mu.inserts when it was first used
}

// buffers makes blocks and takes them back. Safe for concurrent use.
type buffers struct {
	size int // bytes of a whole block
	mu   struct {
		sync.Mutex
		free []*block // whole blocks nobody has
		slab []byte   // the rest of the newest slab
	}
	held atomic.Int64 // cost of blocks that left the cache (or never came in) and are still referenced

	freed func(data []byte) // tests: sees each buffer whose last reference is gone; nil otherwise
}

// cost is the charge in bytes of a block of n bytes. A block of more than half the size has a whole buffer.
func (p *buffers) cost(n int) int64 {
	if n > p.size/2 {
		return int64(p.size)
	}
	return int64(min(n+blockOverhead, p.size))
}

// get returns a block of n bytes, their content undefined, with one reference.
func (p *buffers) get(n int) *block {
	var b *block
	if n <= p.size/2 {
		b = &block{data: make([]byte, n)}
	} else {
		b = p.whole()
	}
	b.data = b.data[:n]
	b.cost = p.cost(n)
	b.evicted.Store(false)
	b.used, b.since = false, 0
	b.refs.Store(1)
	return b
}

// whole returns a block with a whole buffer: one that was used before, or the next piece of a slab. What was taken from
// the system is kept for later blocks, so it is as much as the cache ever held, and goes when the cache itself does.
func (p *buffers) whole() *block {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.mu.free); n > 0 {
		b := p.mu.free[n-1]
		p.mu.free[n-1] = nil
		p.mu.free = p.mu.free[:n-1]
		return b
	}
	if len(p.mu.slab) < p.size {
		p.mu.slab = p.newSlab()
	}
	b := &block{data: p.mu.slab[:p.size:p.size], pooled: true}
	p.mu.slab = p.mu.slab[p.size:]
	return b
}

// newSlab takes memory from the system, outside the collected heap; from the heap where that cannot be had.
func (p *buffers) newSlab() []byte {
	n := max(slabBytes/p.size, 1) * p.size
	slab, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return make([]byte, n)
	}
	runtime.AddCleanup(p, func(slab []byte) { _ = unix.Munmap(slab) }, slab)
	return slab
}

// release drops one reference. It reports whether that ended a held block, so that there is more room now.
func (p *buffers) release(b *block) (room bool) {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return false
	case n < 0:
		panic("cache: a block was released more often than it was taken")
	}
	if room = b.evicted.Load(); room {
		p.held.Add(-b.cost)
	}
	if p.freed != nil {
		p.freed(b.data)
	}
	if b.pooled {
		p.mu.Lock()
		p.mu.free = append(p.mu.free, b)
		p.mu.Unlock()
	}
	return room
}

// drop releases the cache's (or the flight's) reference of a block that is not in the cache any more; what others
// still hold of it counts as held.
func (p *buffers) drop(b *block) {
	b.evicted.Store(true)
	p.held.Add(b.cost)
	p.release(b)
}
