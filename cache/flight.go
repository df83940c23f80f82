package cache

import (
	"context"
	"slices"
	"unique"
)

// A flight brings a run of absent blocks, by one fetch or from disk:
//
//	queued --room--> running --all blocks published--> landed
//	   |                |
//	   +-- cancelled ---+-- cancelled, or the fetch failed--> landed, the rest of the blocks with an error
//
// A demand flight is made by a View that waits for all its blocks; it may be queued, and is cancelled when its last
// waiter leaves. A prefetch flight is never queued and runs on without waiters. Fields are guarded by Blocks.mu but
// for those that never change.
type flight struct {
	v       Version
	version unique.Handle[Version]
	first   int64 // index of the first block
	ctx     context.Context
	cancel  context.CancelFunc

	blocks    []pending // never changes; the pendings do
	published int       // blocks[:published] are settled with a block
	cost      int64     // of blocks[published:]
	waiting   int       // sum of waiters over blocks[published:]
	prefetch  bool      // runs on without waiters
	disk      bool      // the blocks were on disk when it was made; never changes
	queued    bool
	cancelled bool  // nobody may join any more
	err       error // of the unpublished blocks, once landed
}

// A pending is one block of a flight. Guarded by Blocks.mu; block does not change after done is closed.
type pending struct {
	flight  *flight
	waiters int // Views that wait, or have not fetched the published block yet
	settled bool
	block   *block        // with a reference for each waiter; nil while unsettled and after a failure
	done    chan struct{} // made by the first waiter that must wait; closed when settled
}

func (p *pending) settleLocked() {
	p.settled = true
	if p.done != nil {
		close(p.done)
	}
}

// A wait is a View's interest in one pending.
type wait struct {
	p        *pending
	i        int  // position in the View
	prefetch bool // joined a prefetch: its failure is not the View's yet
}

// fill gathers the nil blocks, each with a reference. A block whose prefetch failed is claimed once more: the guess
// of a readahead, perhaps under another deadline, must not fail a read. On error the caller releases what is there.
func (b *Blocks) fill(ctx context.Context, v Version, version unique.Handle[Version], first int64, blocks []*block) error {
	for again := true; ; again = false {
		waits, err := b.claim(ctx, v, version, first, blocks)
		if err != nil {
			return err
		}
		failed, err := b.gather(ctx, waits, blocks, again)
		if err != nil || !failed {
			return err
		}
	}
}

// claim looks every nil block up once more, joins the flights that bring the others, and starts or queues demand
// flights for the runs nobody brings.
func (b *Blocks) claim(ctx context.Context, v Version, version unique.Handle[Version], first int64, blocks []*block) ([]wait, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return nil, ErrClosed
	}
	waits := make([]wait, 0, len(blocks))
	run := 0 // length of the run of unclaimed blocks before i
	for i := range blocks {
		if blocks[i] != nil {
			waits, run = b.demandLocked(ctx, waits, v, version, first, i, run), 0
			continue
		}
		k := blockKey{version, first + int64(i)}
		if p := b.mu.flying[k]; p != nil && !p.flight.cancelled {
			waits, run = b.demandLocked(ctx, waits, v, version, first, i, run), 0
			waits = append(waits, p.joinLocked(i))
		} else if blocks[i] = b.memory.get(k); blocks[i] != nil {
			waits, run = b.demandLocked(ctx, waits, v, version, first, i, run), 0
		} else if run++; int64(run) == b.maxRun() {
			waits, run = b.demandLocked(ctx, waits, v, version, first, i+1, run), 0
		}
	}
	waits = b.demandLocked(ctx, waits, v, version, first, len(blocks), run)
	b.admitLocked()
	return waits, nil
}

func (p *pending) joinLocked(i int) wait {
	p.waiters++
	p.flight.waiting++
	return wait{p: p, i: i, prefetch: p.flight.prefetch}
}

// demandLocked queues flights for the run of blocks that ends before position end, one for each stretch that is on disk
// or is not, and joins them.
func (b *Blocks) demandLocked(ctx context.Context, waits []wait, v Version, version unique.Handle[Version], first int64, end, run int) []wait {
	for at := end - run; at < end; {
		n, disk := b.tier(v, version, first+int64(at), end-at)
		f := b.newFlightLocked(v, version, first+int64(at), n)
		f.disk = disk
		f.queued = true
		if b.o.Carry != nil {
			f.ctx = b.o.Carry(f.ctx, ctx)
		}
		b.mu.queue = append(b.mu.queue, f)
		b.queued.Add(1)
		for j := range f.blocks {
			waits = append(waits, f.blocks[j].joinLocked(at+j))
		}
		at += n
	}
	return waits
}

// tier says how many of the n blocks from i on have the same answer to the question whether they are on disk, and the
// answer.
func (b *Blocks) tier(v Version, version unique.Handle[Version], i int64, n int) (same int, disk bool) {
	if b.disk == nil {
		return n, false
	}
	return b.disk.run(v, version, i, n)
}

// newFlightLocked makes a flight over n blocks that are absent or fetched by cancelled flights. The caller queues or
// starts it.
func (b *Blocks) newFlightLocked(v Version, version unique.Handle[Version], first int64, n int) *flight {
	f := &flight{v: v, version: version, first: first, blocks: make([]pending, n)}
	f.ctx, f.cancel = context.WithCancel(b.ctx)
	for j := range f.blocks {
		p := &f.blocks[j]
		p.flight = f
		b.mu.flying[f.key(j)] = p
		f.cost += b.buffers.cost(b.blockLen(v, first+int64(j)))
	}
	b.mu.flights[f] = struct{}{}
	return f
}

func (f *flight) key(j int) blockKey { return blockKey{f.version, f.first + int64(j)} }

// admitLocked starts queued flights while they fit. The head goes also when nothing is in flight, however much Views
// hold: that it ends depends on the fetch alone, so the queue moves.
func (b *Blocks) admitLocked() {
	for len(b.mu.queue) > 0 {
		f := b.mu.queue[0]
		for b.mu.inFlight > 0 {
			over := b.mu.inFlight + b.buffers.held.Load() + f.cost - b.o.MemoryBytes
			if over <= 0 {
				break
			}
			if !b.shed(over) {
				return
			}
		}
		b.unqueueLocked(f)
		b.startLocked(f)
	}
}

func (b *Blocks) unqueueLocked(f *flight) {
	if i := slices.Index(b.mu.queue, f); i >= 0 {
		b.mu.queue = slices.Delete(b.mu.queue, i, i+1)
		b.queued.Add(-1)
		f.queued = false
	}
}

// startLocked reserves what the flight needs and lets it fly.
func (b *Blocks) startLocked(f *flight) {
	b.reserveLocked(f)
	go b.fly(f)
}

// reserveLocked reserves the flight's bytes and evicts for them. land ends it.
func (b *Blocks) reserveLocked(f *flight) {
	b.mu.inFlight += f.cost
	b.evictLocked()
	b.mu.running++
}

// evictLocked makes room for what is in flight and held.
func (b *Blocks) evictLocked() {
	for b.memory.bytes.Load()+b.mu.inFlight+b.buffers.held.Load() > b.o.MemoryBytes {
		if !b.memory.evictOldest() {
			break
		}
	}
}

// shed takes blocks from the disk's queue that take memory for its sake alone: the disk never slows the network. It
// reports whether there were any.
func (b *Blocks) shed(bytes int64) bool { return b.disk != nil && b.disk.shed(bytes) }

// roomFreed is called without locks when held bytes were given back.
func (b *Blocks) roomFreed() {
	if b.queued.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.admitLocked()
}

func (b *Blocks) fly(f *flight) {
	b.land(f, b.receive(f))
}

// land ends a flight that ran: what is not published has err.
func (b *Blocks) land(f *flight, err error) {
	f.cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.inFlight -= f.cost
	b.failLocked(f, err)
	b.endLocked()
	b.admitLocked()
}

// failLocked settles what is not published, and forgets the flight.
func (b *Blocks) failLocked(f *flight, err error) {
	if b.mu.closed {
		err = ErrClosed
	}
	f.err = err
	for j := f.published; j < len(f.blocks); j++ {
		p := &f.blocks[j]
		if k := f.key(j); b.mu.flying[k] == p {
			delete(b.mu.flying, k)
		}
		p.settleLocked()
	}
	f.cost, f.waiting = 0, 0
	delete(b.mu.flights, f)
}

// gather waits for the claimed blocks. A flight settles its blocks in order, so that the last one that is wanted of it is
// waited for and no other: each wait costs a goroutine's sleep. With again it passes over blocks whose prefetch failed,
// leaves them nil and reports failed; any other error ends it.
func (b *Blocks) gather(ctx context.Context, waits []wait, blocks []*block, again bool) (failed bool, err error) {
	for n := 0; n < len(waits); {
		end := n + 1
		for end < len(waits) && waits[end].p.flight == waits[n].p.flight {
			end++
		}
		if err := b.await(ctx, waits[end-1].p); err != nil {
			b.leave(waits[n:])
			return false, err
		}
		for ; n < end; n++ {
			w := waits[n]
			switch {
			case w.p.block != nil:
				blocks[w.i] = w.p.block
			case again && w.prefetch && ctx.Err() == nil:
				failed = true
			default:
				b.leave(waits[n:])
				return false, w.p.flight.err
			}
		}
	}
	return failed, nil
}

// await returns when the block is settled. When ctx ends first the caller is still a waiter.
func (b *Blocks) await(ctx context.Context, p *pending) error {
	b.mu.Lock()
	if !p.settled && p.done == nil {
		p.done = make(chan struct{})
	}
	settled, done := p.settled, p.done
	b.mu.Unlock()
	if settled {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives up waits that were not gathered, and their blocks where they came meanwhile.
func (b *Blocks) leave(waits []wait) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range waits {
		switch p := w.p; {
		case p.block != nil:
			b.buffers.release(p.block)
		case !p.settled:
			p.waiters--
			p.flight.waiting--
			b.leftLocked(p.flight)
		}
	}
	b.admitLocked()
}

// leftLocked cancels a demand flight that has blocks left and nobody who waits for them.
func (b *Blocks) leftLocked(f *flight) {
	if !f.prefetch && !f.cancelled && f.waiting == 0 && f.published < len(f.blocks) {
		b.cancelLocked(f)
	}
}

// cancelLocked ends a flight early. Its blocks may be claimed anew at once; a running one keeps its reservation until
// it has landed.
func (b *Blocks) cancelLocked(f *flight) {
	f.cancelled = true
	f.cancel()
	if f.queued {
		b.unqueueLocked(f)
		b.failLocked(f, context.Canceled)
	}
}
