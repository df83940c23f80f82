package cache

// A View is bytes of one version, in place in cached blocks. Its owner may read them until Done, in any goroutine, and
// must not write them. A View is not safe for concurrent Done.
type View struct {
	cache  *Blocks
	blocks []*block // each with a reference; nil where not gathered yet
	slices [][]byte // of neighbours in memory one
	n      int

	// Room for the usual read, up to 128 KiB anywhere, to save two allocations.
	fewBlocks [5]*block
	fewSlices [3][]byte
}

func newView(b *Blocks, blocks int) *View {
	v := &View{cache: b}
	if blocks <= len(v.fewBlocks) {
		v.blocks, v.slices = v.fewBlocks[:blocks], v.fewSlices[:0]
	} else {
		v.blocks, v.slices = make([]*block, blocks), make([][]byte, 0, someSlices(blocks))
	}
	return v
}

// cut makes the slices, once all blocks are there.
func (v *View) cut(sp span, blockBytes int64) {
	v.slices = joined(v.slices, v.blocks)
	v.n = int(sp.end - sp.off)
	v.slices[0] = v.slices[0][sp.off-sp.first*blockBytes:]
	over := sp.last*blockBytes + int64(len(v.blocks[len(v.blocks)-1].data)) - sp.end
	last := &v.slices[len(v.slices)-1]
	n := int64(len(*last)) - over
	*last = (*last)[:n:n]
}

// Slices returns the bytes in order. They are valid until Done.
func (v *View) Slices() [][]byte {
	if v.n == 0 {
		return nil
	}
	return v.slices
}

// Len is the number of bytes in all slices.
func (v *View) Len() int { return v.n }

// Done gives the bytes back; the slices must not be used after it. A second Done does nothing.
func (v *View) Done() {
	room := len(v.blocks) > 0 && v.cache.buffers.releaseAll(v.blocks)
	clear(v.blocks)
	clear(v.slices)
	v.blocks, v.slices, v.n = nil, nil, 0
	if room {
		v.cache.roomFreed()
	}
}
