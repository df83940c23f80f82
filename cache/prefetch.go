package cache

import "unique"

// Prefetch starts fetches for what of [off, off+length), cut at v.Size, is neither present nor in flight: one a run,
// long runs in pieces of MaxFetchBytes, all at once. It never waits and says nothing: a prefetch that fails is seen
// by nobody but the Views that joined it. It begins no more than fits into half of the memory together with all that
// is in flight, and nothing while Views wait for room.
func (b *Blocks) Prefetch(v Version, off, length int64) {
	sp, ok := b.spanOf(v, off, length)
	if !ok {
		return
	}
	version := unique.Make(v)
	for i := sp.first; i <= sp.last; i += b.maxRun() {
		if !b.prefetchPiece(v, version, i, min(i+b.maxRun()-1, sp.last)) {
			return
		}
	}
}

// prefetchPiece prefetches within first..last, at most maxRun blocks. It reports false when there is no more room.
func (b *Blocks) prefetchPiece(v Version, version unique.Handle[Version], first, last int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	run := 0
	for i := first; i <= last; i++ {
		k := blockKey{version, i}
		p := b.mu.flying[k]
		if p == nil && !b.memory.contains(k) || p != nil && p.flight.cancelled {
			run++
			continue
		}
		if !b.aheadLocked(v, version, i-int64(run), run) {
			return false
		}
		run = 0
	}
	return b.aheadLocked(v, version, last+1-int64(run), run)
}

// aheadLocked starts prefetch flights over the run, or over the part of it that there is room for, one for each stretch
// that is on disk or is not, and reports whether that was all of it.
func (b *Blocks) aheadLocked(v Version, version unique.Handle[Version], first int64, run int) bool {
	if b.mu.closed {
		return false
	}
	for run > 0 {
		n, disk := b.tier(v, version, first, run)
		fits := b.fitsLocked(v, first, n)
		if over := int64(n-fits) * int64(b.o.BlockBytes); over > 0 && b.shed(over) {
			fits = b.fitsLocked(v, first, n)
		}
		if fits > 0 {
			f := b.newFlightLocked(v, version, first, fits)
			f.prefetch, f.disk = true, disk
			b.startLocked(f)
		}
		if fits < n {
			return false
		}
		first, run = first+int64(n), run-n
	}
	return true
}

// fitsLocked is how many of n blocks there is room for, in the half of what is not lent. While a demand flight is queued
// there is none.
func (b *Blocks) fitsLocked(v Version, first int64, n int) int {
	if len(b.mu.queue) > 0 {
		return 0
	}
	lent := b.lent.Load()
	room := (b.o.MemoryBytes-lent)/2 - b.mu.inFlight - (b.buffers.held.Load() - lent)
	fits := 0
	for fits < n {
		if room -= b.buffers.cost(b.blockLen(v, first+int64(fits))); room < 0 {
			break
		}
		fits++
	}
	return fits
}

// CancelPrefetch ends the prefetches of [off, off+length) of v that nobody waits for; those that still bring bytes beyond it go on.
// One that Views wait for becomes theirs: it is cancelled when the last of them has left or has all it waits for.
func (b *Blocks) CancelPrefetch(v Version, off, length int64) {
	sp, ok := b.spanOf(v, off, length)
	if !ok {
		return
	}
	version := unique.Make(v)
	b.mu.Lock()
	defer b.mu.Unlock()
	for f := range b.mu.flights {
		if f.version == version && f.prefetch && f.first+int64(f.published) >= sp.first && f.first+int64(len(f.blocks))-1 <= sp.last {
			f.prefetch = false
			b.leftLocked(f)
		}
	}
}

// Consumed says that a sequential reader has passed [off, off+length) of v, and that somebody else (the kernel's page
// cache) has what it read. Whole blocks of it that nobody has read twice are dropped and their memory is used again for
// what the reader reads next: a long read needs no more memory than its window, and leaves the rest of the cache alone.
func (b *Blocks) Consumed(v Version, off, length int64) {
	size := int64(b.o.BlockBytes)
	first, end := (off+size-1)/size, (off+length)/size
	if off+length >= v.Size {
		end = (v.Size + size - 1) / size
	}
	if end > first {
		b.memory.consumed(blockKey{unique.Make(v), first}, int(end-first))
	}
	b.roomFreed()
}
