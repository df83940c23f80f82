package cache

// A View is bytes of one version, in place in cached blocks. Its owner may read them until Done, in any goroutine, and
// must not write them. A View is not safe for concurrent Done.
type View struct {
	cache  *Blocks
	blocks []*block // each with a reference; nil where not gathered yet
	slices [][]byte
	n      int

	// Room for the usual small read, to save two allocations.
	fewBlocks [4]*block
	fewSlices [4][]byte
}

func newView(b *Blocks, blocks int) *View {
	v := &View{cache: b}
	if blocks <= len(v.fewBlocks) {
		v.blocks, v.slices = v.fewBlocks[:blocks], v.fewSlices[:blocks]
	} else {
		v.blocks, v.slices = make([]*block, blocks), make([][]byte, blocks)
	}
	return v
}

// cut makes the slices, once all blocks are there.
func (v *View) cut(sp span, blockBytes int64) {
	for i, b := range v.blocks {
		start := (sp.first + int64(i)) * blockBytes
		from, to := max(sp.off-start, 0), min(sp.end-start, int64(len(b.data)))
		v.slices[i] = b.data[from:to:to]
	}
	v.n = int(sp.end - sp.off)
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
	room := false
	for i, b := range v.blocks {
		if b != nil && v.cache.buffers.release(b) {
			room = true
		}
		v.blocks[i] = nil
	}
	clear(v.slices)
	v.blocks, v.slices, v.n = nil, nil, 0
	if room {
		v.cache.roomFreed()
	}
}
