package cache

import (
	"context"
	"sync"
	"unique"
)

// A queued is a block that waits to be written, with a reference.
type queued struct {
	owner   *Blocks
	v       Version
	version unique.Handle[Version]
	i       int64
	blk     *block   // nil: only to be told when all before it is done
	keeping *keeping // who waits for it; nil: nobody, it may be skipped
}

// A keeping waits until blocks are written, or were skipped.
type keeping struct {
	done chan struct{} // closed with the last one
	mu   struct {
		sync.Mutex
		left int
		err  error // the first
	}
}

func newKeeping(blocks int) *keeping {
	k := &keeping{done: make(chan struct{})}
	k.mu.left = blocks
	return k
}

func (k *keeping) settle(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.err == nil {
		k.mu.err = err
	}
	if k.mu.left--; k.mu.left == 0 {
		close(k.done)
	}
}

// diskQueue is first in first out. Its bound is Disk.room, which the items have acquired.
type diskQueue struct {
	wake chan struct{} // one token: there is something to look at
	mu   struct {
		sync.Mutex
		items  []queued
		bytes  int64 // of items, and of the batch being written
		closed bool
	}
}

func (q *diskQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// push reports false, and takes nothing, once the queue is closed.
func (q *diskQueue) push(it queued) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.closed {
		return false
	}
	q.mu.items = append(q.mu.items, it)
	if it.blk != nil {
		q.mu.bytes += int64(len(it.blk.data))
	}
	q.poke()
	return true
}

// next cuts a batch off the head. It reports closed when nothing will ever come again.
func (q *diskQueue) next() (batch []queued, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.mu.items) && bytes < batchBytes {
		if b := q.mu.items[n].blk; b != nil {
			bytes += len(b.data)
		}
		n++
	}
	batch = q.mu.items[:n:n]
	if q.mu.items = q.mu.items[n:]; len(q.mu.items) == 0 {
		q.mu.items = nil
	}
	return batch, n == 0 && q.mu.closed
}

// cutHeld cuts items out, the oldest first, that nobody waits for and whose blocks take memory only because they are
// queued, until these are enough bytes.
func (q *diskQueue) cutHeld(enough int64) (cut []queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var left []queued
	for _, it := range q.mu.items {
		if enough > 0 && it.keeping == nil && it.blk != nil && it.blk.evicted.Load() {
			cut = append(cut, it)
			enough -= it.blk.cost
			q.mu.bytes -= int64(len(it.blk.data))
		} else {
			left = append(left, it)
		}
	}
	q.mu.items = left
	return cut
}

func (q *diskQueue) all() []queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.mu.items
	q.mu.items = nil
	return items
}

func (q *diskQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.closed = true
	q.poke()
}

func (q *diskQueue) freed(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.bytes -= n
}

func (q *diskQueue) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.bytes
}

// offer queues a block that was fetched, if there is room: it never waits.
func (d *Disk) offer(owner *Blocks, v Version, k blockKey, blk *block) {
	n := int64(len(blk.data))
	if !d.fills() || owner.toDisk.Load()+n > owner.o.MemoryBytes/toDiskShare || !d.room.TryAcquire(n) {
		d.skipped.Add(1)
		return
	}
	owner.toDisk.Add(n)
	blk.refs.Add(1)
	if !d.queue.push(queued{owner: owner, v: v, version: k.version, i: k.index, blk: blk}) {
		d.skipped.Add(1)
		d.giveBack(queued{owner: owner, blk: blk})
	}
}

// shed skips queued blocks for the memory they hold, about as many bytes as are needed, and reports whether there were
// any: the disk never slows the network.
func (d *Disk) shed(bytes int64) bool {
	cut := d.queue.cutHeld(bytes)
	for _, it := range cut {
		d.skipped.Add(1)
		d.giveBack(it)
	}
	return len(cut) > 0
}

// giveBack releases the item's block and its room in the queue, and reports whether that made room in the memory.
func (d *Disk) giveBack(it queued) (room bool) {
	n := int64(len(it.blk.data))
	if it.keeping == nil {
		it.owner.toDisk.Add(-n)
	}
	room = it.owner.buffers.release(it.blk)
	d.room.Release(n)
	return room
}

// keep queues the blocks from i on, waiting for room, and waits until they are written. An error says why one was not.
func (d *Disk) keep(ctx context.Context, owner *Blocks, v Version, version unique.Handle[Version], i int64, blocks []*block) error {
	k := newKeeping(len(blocks))
	for j, blk := range blocks {
		n := int64(len(blk.data))
		if err := d.room.Acquire(ctx, n); err != nil {
			return err
		}
		blk.refs.Add(1)
		it := queued{owner: owner, v: v, version: version, i: i + int64(j), blk: blk, keeping: k}
		if !d.queue.push(it) {
			d.giveBack(it)
			return errDiskClosed
		}
	}
	select {
	case <-k.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.err
}

// settled ends items that were written, or skipped for err.
func (d *Disk) settled(items []queued, err error) {
	bytes, owners := int64(0), map[*Blocks]bool{}
	for _, it := range items {
		if it.blk != nil {
			bytes += int64(len(it.blk.data))
			if d.giveBack(it) {
				owners[it.owner] = true
			}
			if err != nil {
				d.skipped.Add(1)
			}
		}
	}
	d.queue.freed(bytes)
	for b := range owners {
		b.roomFreed()
	}
	for _, it := range items { // last: who waited finds all given back
		if it.keeping != nil {
			it.keeping.settle(err)
		}
	}
}

// dropQueue skips all that waits, and reports how much.
func (d *Disk) dropQueue() int {
	items := d.queue.all()
	d.settled(items, errDiskClosed)
	return len(items)
}
