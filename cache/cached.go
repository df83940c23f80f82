package cache

import "unique"

// Cached is how many bytes of a version are present in memory and in the disk tier. It is no use of the blocks, and any of
// them may be gone a moment later.
func (b *Blocks) Cached(v Version) (memory, disk int64) {
	sp, ok := b.spanOf(v, 0, v.Size)
	if !ok {
		return 0, 0
	}
	version := unique.Make(v)
	for i := sp.first; i <= sp.last; i++ {
		if b.memory.contains(blockKey{version, i}) {
			memory += min(int64(b.o.BlockBytes), v.Size-i*int64(b.o.BlockBytes))
		}
	}
	if b.disk != nil {
		disk = v.Size - b.disk.Missing(v)
	}
	return memory, disk
}
