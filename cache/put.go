package cache

import (
	"io"
	"unique"
)

// Put brings a version into memory whose bytes the caller has, all of them: what was just stored need not be fetched to
// be read. It never waits for room and says nothing, as a prefetch: where there is no room, where some of it is there or
// on its way already, where it is longer than MaxFetchBytes, or where the bytes cannot be read, it is fetched when it is
// read. It returns when the bytes are needed no longer.
func (b *Blocks) Put(v Version, bytes io.ReaderAt) {
	f := b.putting(v)
	if f == nil {
		return
	}
	b.land(f, b.copyIn(f, bytes))
}

// putting is a flight over all of a version, with room reserved, or nil.
func (b *Blocks) putting(v Version) *flight {
	sp, ok := b.spanOf(v, 0, v.Size)
	if !ok || int64(sp.blocks()) > b.maxRun() {
		return nil
	}
	version := unique.Make(v)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := sp.first; i <= sp.last; i++ {
		if k := (blockKey{version, i}); b.mu.flying[k] != nil || b.memory.contains(k) {
			return nil
		}
	}
	if n, disk := b.tier(v, version, sp.first, sp.blocks()); b.mu.closed || disk || n < sp.blocks() ||
		b.fitsLocked(v, sp.first, n) < n {
		return nil
	}
	f := b.newFlightLocked(v, version, sp.first, sp.blocks())
	f.prefetch = true
	b.reserveLocked(f)
	return f
}

// copyIn publishes the flight's blocks with the bytes of a reader.
func (b *Blocks) copyIn(f *flight, bytes io.ReaderAt) error {
	var room [groupBlocks]*block
	for j := 0; j < len(f.blocks); {
		run := b.run(f, j, len(f.blocks), room[:0])
		_, data := lie(run)
		off := (f.first + int64(j)) * int64(b.o.BlockBytes)
		if n, err := bytes.ReadAt(data, off); n < len(data) {
			b.buffers.releaseAll(run)
			return short(f.v, off, int64(len(data)), err)
		}
		b.arrived(f, j, run)
		j += len(run)
	}
	return nil
}
