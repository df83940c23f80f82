package cache

// lendShare is the part of the memory that is lent at most.
const lendShare = 2

// Lendable is the most that Lend gives out at once, in bytes.
func (b *Blocks) Lendable() int64 { return b.o.MemoryBytes / lendShare }

// Lend gives n bytes of the memory away until back is called, in pieces of whole blocks, for bytes that are no copies of
// anything: those of a file being written, which is what a mount does when it reads little. It counts as memory that a
// View holds. ok is false where readers need the room: a View waits for it, or what is lent, held and in flight would take
// the last quarter. What is lent stays as it is also after Close.
func (b *Blocks) Lend(n int) (pieces [][]byte, back func(), ok bool) {
	blocks := b.lend((n + b.o.BlockBytes - 1) / b.o.BlockBytes)
	if blocks == nil {
		return nil, nil, false
	}
	bytes := int64(len(blocks) * b.o.BlockBytes)
	return joined(make([][]byte, 0, someSlices(len(blocks))), blocks), func() {
		b.lent.Add(-bytes)
		if b.buffers.releaseAll(blocks) {
			b.roomFreed()
		}
	}, true
}

func (b *Blocks) lend(n int) (blocks []*block) {
	bytes := int64(n * b.o.BlockBytes)
	b.mu.Lock()
	defer b.mu.Unlock()
	busy := b.mu.inFlight + b.buffers.held.Load() + bytes
	if b.mu.closed || b.queued.Load() > 0 || busy > b.o.MemoryBytes/4*3 || b.lent.Load()+bytes > b.Lendable() {
		return nil
	}
	b.lent.Add(bytes)
	b.buffers.held.Add(bytes)
	b.evictLocked()
	for len(blocks) < n {
		blocks = b.buffers.run(blocks, (n-len(blocks))*b.o.BlockBytes, n-len(blocks))
	}
	for _, lent := range blocks {
		lent.evicted.Store(true) // so that its end is the end of a held one
	}
	return blocks
}
