package cache

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// errNoRoom is why a block is not kept when everything else in the tier is in use.
var errNoRoom = errors.New("cache: no room in the disk tier")

// write is the writer goroutine: batches of the queue, until it is closed and empty.
func (d *Disk) write() {
	defer close(d.done)
	var tick <-chan time.Time
	if d.o.MinFreeBytes > 0 {
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		tick = t.C
	}
	for {
		batch, closed := d.queue.next()
		switch {
		case closed:
			d.finish()
			return
		case len(batch) > 0:
			d.writeBatch(batch)
			continue
		}
		select {
		case <-d.queue.wake:
			d.flushMuch()
		case <-tick:
			_ = d.lookAtFree(0, nil) // which says so itself
		}
	}
}

// finish writes the log anew: without garbage, in the order of use.
func (d *Disk) finish() {
	if d.orphaned() {
		d.logged(d.leave())
		return
	}
	d.logged(errors.Join(d.rewrite(), d.leave()))
}

func (d *Disk) logged(err error) {
	if err != nil {
		d.o.Log.Warn("the disk cache", "error", err)
	}
}

// writeBatch writes the blocks of a batch, part by part, each in the order of the file, and then the log.
func (d *Disk) writeBatch(batch []queued) {
	groups := make(map[partKey][]queued)
	var keys []partKey
	for _, it := range batch {
		if it.blk == nil {
			continue
		}
		segment, _, _ := d.layout.place(it.v, it.i)
		k := partKey{it.version, segment}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], it)
	}
	failed := make(map[partKey]error)
	for _, k := range keys {
		slices.SortStableFunc(groups[k], func(a, b queued) int { return cmp.Compare(a.i, b.i) })
		if err := d.writePart(k, groups[k]); err != nil {
			failed[k] = err
		}
	}
	if err := d.flush(); err != nil {
		d.pauseFor(err)
	}
	for _, k := range keys {
		d.settled(groups[k], failed[k])
	}
	d.settled(slices.DeleteFunc(batch, func(it queued) bool { return it.blk != nil }), nil)
}

// writePart writes what the part lacks of the items, which are in order. An error is why they are not kept.
func (d *Disk) writePart(k partKey, items []queued) error {
	if err := d.paused(); err != nil {
		return err
	}
	p, items, need := d.lacks(k, items)
	if len(items) == 0 {
		return nil
	}
	if !d.evictTo(d.o.SizeBytes-need, p) {
		return errNoRoom
	}
	if err := d.lookAtFree(need, p); err != nil {
		return err
	}
	err := d.writeInto(k, p, items)
	if errors.Is(err, os.ErrNotExist) && p != nil { // its file was removed by somebody
		d.unreadable(p, err)
		err = d.writeInto(k, nil, items)
	}
	if err != nil {
		d.pauseFor(err)
		return err
	}
	d.resume()
	return nil
}

// lacks finds the part, nil where there is none, the items it lacks, each once, and what they will be charged.
func (d *Disk) lacks(k partKey, items []queued) (p *part, lack []queued, need int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.mu.parts.Get(k)
	if !ok {
		need = partCharge
	}
	for _, it := range items {
		if ok && p.has(it.i) || len(lack) > 0 && lack[len(lack)-1].i == it.i {
			continue
		}
		lack = append(lack, it)
		need += int64(len(it.blk.data))
	}
	return p, lack, need
}

// writeInto writes the items into the part's file, which it makes when p is nil. What was written before an error is
// kept.
func (d *Disk) writeInto(k partKey, p *part, items []queued) error {
	var fd int
	var err error
	fresh := p == nil
	if fresh {
		p, fd, err = d.createPart(k, items[0])
	} else {
		fd, err = openFile(d.path(p.id), unix.O_RDWR)
	}
	if err != nil {
		return err
	}
	wrote := 0
	for wrote < len(items) && err == nil {
		n := run(items[wrote:])
		if err = d.writeRun(fd, p, items[wrote:wrote+n]); err == nil {
			wrote += n
		}
	}
	err = errors.Join(err, unix.Close(fd))
	if fresh && wrote == 0 {
		d.unlink(p)
		return err
	}
	d.commit(p, items[:wrote], fresh)
	return err
}

// run is how many of the items, the first ones, follow one another.
func run(items []queued) int {
	n := 1
	for n < len(items) && n < maxChunkBlocks && items[n].i == items[n-1].i+1 {
		n++
	}
	return n
}

func (d *Disk) writeRun(fd int, p *part, items []queued) error {
	iovs := make([][]byte, len(items))
	for j, it := range items {
		iovs[j] = it.blk.data
	}
	n, err := transfer(d.pwritev, fd, iovs, (items[0].i-p.first)*d.layout.block)
	d.written.Add(n)
	if err != nil {
		return fmt.Errorf("cache: write %s: %w", d.path(p.id), err)
	}
	return nil
}

// createPart makes the file of a part, of its full length and empty, and the part, which is not in the index yet.
func (d *Disk) createPart(k partKey, it queued) (*part, int, error) {
	segment, first, blocks := d.layout.place(it.v, it.i)
	p := newPart(partKey{k.version, segment}, d.nextID, first, blocks)
	d.nextID++
	p.touched = d.o.Now().Unix()
	fd, err := d.createFile(p.id)
	if err != nil {
		return nil, -1, err
	}
	if err := unix.Ftruncate(fd, d.layout.fileSize(p)); err != nil {
		err = fmt.Errorf("cache: make %s: %w", d.path(p.id), errors.Join(err, unix.Close(fd)))
		d.unlink(p)
		return nil, -1, err
	}
	return p, fd, nil
}

// createFile makes the directories on the way when they are missing.
func (d *Disk) createFile(id uint64) (int, error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL
	path := d.path(id)
	fd, err := openFile(path, flags)
	if !errors.Is(err, os.ErrNotExist) {
		return fd, err
	}
	if d.orphaned() {
		if err := d.revive(); err != nil {
			return -1, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return -1, fmt.Errorf("cache: make a directory of the disk tier: %w", err)
	}
	return openFile(path, flags)
}

// commit notes what was written. The part may have been dropped meanwhile.
func (d *Disk) commit(p *part, items []queued, fresh bool) {
	sums := make([]uint32, len(items))
	for j, it := range items {
		sums[j] = crc32.Checksum(it.blk.data, castagnoli)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.dead {
		return
	}
	if fresh {
		d.mu.addLocked(p)
		d.mu.records = appendCreated(d.mu.records, p)
	}
	for j, it := range items {
		d.mu.gainLocked(p, it.i, int64(len(it.blk.data)), sums[j], true)
	}
	for len(items) > 0 {
		n := run(items)
		d.mu.records = appendWritten(d.mu.records, p.id, items[0].i, sums[:n])
		items, sums = items[n:], sums[n:]
	}
}
