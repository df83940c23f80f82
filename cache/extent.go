package cache

import (
	"math/bits"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	// slabBytes is how much memory is taken from the system at once. Huge pages were tried (MADV_HUGEPAGE): a cold read
	// was no faster, as clearing 2 MiB at a time costs what the page faults did.
	slabBytes = 4 << 20
	// extentBlocks is the longest run of blocks, 256 KiB of the default ones: what one read of a socket brings at best.
	// A free block is a bit of a byte.
	extentBlocks = 8
	// scatteredShare is which part of the memory may lie free in pieces too short for the run that is asked for before
	// the run is made of such pieces.
	scatteredShare = 32
)

// An extent is some whole buffers that lie one behind the other. Guarded by buffers.mu, but for what never changes.
type extent struct {
	data   []byte
	size   int // bytes of a buffer
	blocks []block
	free   uint8 // bit i: blocks[i] is nobody's

	next, prev *extent // in arena.free
}

func (e *extent) buffer(slot int) []byte {
	return e.data[slot*e.size : (slot+1)*e.size : (slot+1)*e.size]
}

// An arena is the whole buffers of a buffers, and which of them are free. All of it is guarded by buffers.mu.
//
// An extent with free buffers is in the list of its longest free run. A run of n is cut from the shortest one that has
// n, so that single blocks fill what is broken already, and whole extents stay whole for long runs. Where no run is long
// enough, new memory is taken only while less than n buffers or a 32nd of all are free: so all that was ever taken
// from the system is at most a 31st and one extent more than what was in use at once. Else the longest run there is has
// to do. What was taken is kept for later blocks, and goes when the cache itself does.
type arena struct {
	free   [extentBlocks + 1]*extent // by longest free run, last freed first; none at 0
	runs   uint16                    // bit i: free[i] is not empty
	fresh  []extent                  // of the newest slab, not taken yet
	taken  int                       // buffers of all extents but the fresh ones
	unused int                       // of these, free
}

// takeLocked appends a run of at least one block and at most n.
func (a *arena) takeLocked(p *buffers, blocks []*block, n int) []*block {
	n = min(n, p.perExtent())
	if a.runs>>n == 0 && (a.unused < n || a.unused < a.taken/scatteredShare) {
		a.freshLocked(p)
	}
	longest := bits.Len16(a.runs) - 1
	if a.runs>>n != 0 {
		longest = n + bits.TrailingZeros16(a.runs>>n)
	}
	n = min(n, longest)
	e := a.free[longest]
	a.unlinkLocked(e, longest)
	at := bits.TrailingZeros8(runsOf(e.free, n))
	e.free &^= uint8(1<<n-1) << at
	a.linkLocked(e)
	a.unused -= n
	for i := range n {
		b := &e.blocks[at+i]
		b.data = e.buffer(b.slot)
		blocks = append(blocks, b)
	}
	return blocks
}

func (a *arena) freeLocked(b *block) {
	e := b.extent
	a.unlinkLocked(e, longestRun(e.free))
	e.free |= 1 << b.slot
	a.linkLocked(e)
	a.unused++
}

// freshLocked adds an extent to the free ones, of which nothing was ever used.
func (a *arena) freshLocked(p *buffers) {
	if len(a.fresh) == 0 {
		a.fresh = p.newSlab()
	}
	e := &a.fresh[0]
	a.fresh = a.fresh[1:]
	a.linkLocked(e)
	a.taken += len(e.blocks)
	a.unused += len(e.blocks)
}

func (a *arena) linkLocked(e *extent) {
	run := longestRun(e.free)
	if run == 0 {
		return
	}
	if e.next = a.free[run]; e.next != nil {
		e.next.prev = e
	}
	a.free[run] = e
	a.runs |= 1 << run
}

// unlinkLocked takes an extent out of the list of its longest run; it is in none when that is 0.
func (a *arena) unlinkLocked(e *extent, run int) {
	if run == 0 {
		return
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else if a.free[run] = e.next; e.next == nil {
		a.runs &^= 1 << run
	}
	e.next, e.prev = nil, nil
}

// runsOf has a bit where n free ones begin.
func runsOf(free uint8, n int) uint8 {
	for i := 1; i < n; i++ {
		free &= free >> 1
	}
	return free
}

func longestRun(free uint8) (n int) {
	for ; free != 0; n++ {
		free &= free >> 1
	}
	return n
}

// perExtent is how many blocks an extent has.
func (p *buffers) perExtent() int { return min(max(slabBytes/p.size, 1), extentBlocks) }

// newSlab takes memory from the system, outside the collected heap; from the heap where that cannot be had.
func (p *buffers) newSlab() []extent {
	per := p.perExtent()
	bytes := per * p.size
	extents := make([]extent, max(slabBytes/bytes, 1))
	slab, err := unix.Mmap(-1, 0, len(extents)*bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		slab = make([]byte, len(extents)*bytes)
	} else {
		runtime.AddCleanup(p, func(slab []byte) { _ = unix.Munmap(slab) }, slab)
	}
	blocks := make([]block, len(extents)*per)
	for i := range extents {
		e := &extents[i]
		e.data, e.size, e.free = slab[i*bytes:(i+1)*bytes:(i+1)*bytes], p.size, uint8(1<<per-1)
		e.blocks = blocks[i*per : (i+1)*per : (i+1)*per]
		for slot := range e.blocks {
			e.blocks[slot].extent, e.blocks[slot].slot = e, slot
		}
	}
	return extents
}
