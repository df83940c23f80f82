package cache

import (
	"errors"
	"fmt"
	"io"
)

// receive brings the run and publishes its blocks as they become complete: from disk where they are there, what is not
// there any more, or not right, in one fetch a run.
func (b *Blocks) receive(f *flight) error {
	if !f.disk {
		return b.fetch(f, 0, len(f.blocks))
	}
	for j := 0; j < len(f.blocks); {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		if n := b.take(f, j); n > 0 {
			j += n
			continue
		}
		n, _ := b.disk.run(f.v, f.version, f.first+int64(j), len(f.blocks)-j)
		if err := b.fetch(f, j, j+n); err != nil {
			return err
		}
		j += n
	}
	return nil
}

// take reads some blocks of the flight from disk, from j on, and publishes the verified ones. It says how many.
func (b *Blocks) take(f *flight, j int) int {
	n := min(b.disk.chunk(), len(f.blocks)-j)
	blocks := make([]*block, 0, n)
	for len(blocks) < n {
		blocks = b.run(f, j+len(blocks), j+n, blocks)
	}
	good := b.disk.take(f.v, f.version, f.first+int64(j), blocks, len(f.blocks)-j-len(blocks))
	b.disk.hits.Add(int64(good))
	if good > 0 {
		b.publish(f, j, blocks[:good])
	}
	b.buffers.releaseAll(blocks[good:])
	return good
}

// run appends buffers for blocks of the flight, from j on and before end: some that lie one behind the other, and no
// more than to the end of a group, so that groups lie together.
func (b *Blocks) run(f *flight, j, end int, blocks []*block) []*block {
	i := f.first + int64(j)
	n := min(end-j, int(groupBlocks-i%groupBlocks))
	block := int64(b.o.BlockBytes)
	return b.buffers.run(blocks, int(min(int64(n)*block, f.v.Size-i*block)), n)
}

// fetch fetches the blocks [from, to) of the flight, and offers them to the disk.
func (b *Blocks) fetch(f *flight, from, to int) error {
	off := (f.first + int64(from)) * int64(b.o.BlockBytes)
	length := min(int64(to-from)*int64(b.o.BlockBytes), f.v.Size-off)
	b.fetches.Add(1)
	if b.disk != nil {
		b.disk.misses.Add(int64(to - from))
	}
	body, err := b.o.Fetch(f.ctx, f.v, off, length)
	if err != nil {
		return err
	}
	defer body.Close() // what was read is complete or an error; how the connection ends says nothing about it
	var room [groupBlocks]*block
	for j := from; j < to; {
		run := b.run(f, j, to, room[:0])
		if err := b.readRun(f, j, run, body); err != nil {
			return short(f.v, off, length, err)
		}
		j += len(run)
	}
	return nil
}

// readRun fills the blocks, which lie one behind the other and are those from j on, with as few reads as the body
// allows, and publishes after each read what is complete.
func (b *Blocks) readRun(f *flight, j int, run []*block, body io.Reader) error {
	_, data := lie(run)
	read, done := 0, 0
	for {
		n, err := body.Read(data[read:])
		read += n
		b.fetched.Add(int64(n))
		complete := read / b.o.BlockBytes
		if read == len(data) {
			complete, err = len(run), nil // what was promised is there
		}
		if complete > done {
			b.arrived(f, j+done, run[done:complete])
			done = complete
		}
		if done == len(run) {
			return nil
		}
		if err != nil {
			b.buffers.releaseAll(run[done:])
			return err
		}
	}
}

// arrived offers fetched blocks to the disk and publishes them.
func (b *Blocks) arrived(f *flight, j int, blocks []*block) {
	if b.disk != nil {
		for n, blk := range blocks {
			b.disk.offer(b, f.v, f.key(j+n), blk)
		}
	}
	b.publish(f, j, blocks)
}

// short gives the end of a body before its last byte its name; other errors pass.
func short(v Version, off, length int64, err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("cache: body of %s/%s, %d bytes from %d, ended early: %w",
			v.Bucket, v.Key, length, off, io.ErrUnexpectedEOF)
	}
	return err
}

// publish takes over the blocks, from j on: into the cache, and a reference to each waiter.
func (b *Blocks) publish(f *flight, j int, blocks []*block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, blk := range blocks {
		p := &f.blocks[j+n]
		if k := f.key(j + n); b.mu.flying[k] == p {
			delete(b.mu.flying, k)
		}
		b.mu.inFlight -= blk.cost
		f.cost -= blk.cost
		f.waiting -= p.waiters
		f.published++
		blk.refs.Add(int32(p.waiters))
		blk.used = p.waiters > 0
		p.block = blk
	}
	if b.mu.closed {
		b.buffers.drop(blocks...)
	} else {
		b.memory.insert(f.key(j), blocks)
	}
	for n := range blocks {
		f.blocks[j+n].settleLocked()
	}
	b.leftLocked(f)
	b.admitLocked()
}
