package cache

import (
	"testing"
	"testing/synctest"
	"unique"
)

// A working set that is read now and then survives a scan over much more than the memory.
func TestScanLeavesTheWorkingSet(t *testing.T) {
	s := &store{}
	b := newTest(t, 256, s)
	hot, scan := object("hot", 64*testBlock), object("scan", 4096*testBlock)
	rounds, missed := 0, int64(0)
	for i := int64(0); i < 4096; i++ {
		read(t, b, scan, i*testBlock, testBlock)
		if i%32 == 0 {
			before := b.Stats().Misses
			read(t, b, hot, 0, int(hot.Size))
			if rounds++; rounds > 8 {
				missed += b.Stats().Misses - before
			}
		}
	}
	if missed > 64*3 { // of 120 rounds of 64 blocks
		t.Errorf("the working set was missed %d times under a scan", missed)
	}
}

// A reader with small reads comes to the same block many times; that is one pass.
func TestSmallReadsAreOnePass(t *testing.T) {
	b := newTest(t, 256, &store{})
	scan := object("scan", 1024*testBlock)
	for off := int64(0); off < scan.Size; off += testBlock / 4 {
		read(t, b, scan, off, testBlock/4)
	}
	for i := range b.memory.shards {
		if n := b.memory.shards[i].mu.protected.Len(); n > 0 {
			t.Errorf("%d blocks protected after one pass", n)
		}
	}
}

// A working set of the past makes room for the next one.
func TestProtectedBlocksGiveWay(t *testing.T) {
	s := &store{}
	b := newTest(t, 128, s) // one shard: several are not of one size
	old, next := object("old", 100*testBlock), object("next", 48*testBlock)
	for range 4 {
		read(t, b, old, 0, int(old.Size))
		read(t, b, object("between", 20*testBlock), 0, 20*testBlock)
	}
	pass := func() {
		for i := range next.Size / testBlock {
			read(t, b, next, i*testBlock, testBlock)
		}
	}
	pass()
	before := b.Stats().Misses
	pass()
	if missed := b.Stats().Misses - before; missed > 0 {
		t.Errorf("%d of 48 blocks just read are gone", missed)
	}
}

// What was fetched ahead is still there when its reader comes, though a lot was read meanwhile: what was read before
// goes first.
func TestPrefetchedBlocksOutliveReadOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		b := newTest(t, 256, s)
		before, ahead := object("before", 128*testBlock), object("ahead", 64*testBlock)
		read(t, b, before, 0, int(before.Size))
		b.Prefetch(ahead, 0, ahead.Size)
		synctest.Wait()
		for i := range int64(96) {
			read(t, b, object("meanwhile", 96*testBlock), i*testBlock, testBlock)
		}
		if !b.Contains(ahead, 0, ahead.Size) {
			t.Error("prefetched blocks are gone")
		}
		if b.Contains(before, 0, before.Size) {
			t.Error("nothing was evicted")
		}
	})
}

func TestMemoryEvictsAll(t *testing.T) {
	bufs := &buffers{size: testBlock}
	m := newMemory(bufs, 4096*testBlock)
	if len(m.shards) != maxShards {
		t.Fatalf("%d shards", len(m.shards))
	}
	version := unique.Make(object("o", 1<<30))
	for i := range int64(1000) {
		m.insert(blockKey{version, i}, []*block{bufs.get(testBlock)})
	}
	again := bufs.get(testBlock)
	if m.insert(blockKey{version, 0}, []*block{again}); m.bytes.Load() != 1000*testBlock || again.refs.Load() != 0 {
		t.Error("inserted twice")
	}
	for n := 1000; n > 0; n-- {
		if got := m.bytes.Load(); got != int64(n)*testBlock {
			t.Fatalf("%d bytes with %d blocks", got, n)
		}
		if !m.evictOldest() {
			t.Fatalf("%d blocks left that cannot be evicted", n)
		}
	}
	if m.evictOldest() {
		t.Error("evicted from an empty memory")
	}
	if bufs.held.Load() != 0 {
		t.Error("blocks nobody holds count as held")
	}
}

// No shard outgrows the others, so that a block grows as old in one as in any other.
func TestShardsStayEven(t *testing.T) {
	const blocks = 4096
	bufs := &buffers{size: testBlock}
	m := newMemory(bufs, blocks*testBlock)
	version := unique.Make(object("o", 1<<30))
	for i := range int64(20 * blocks) {
		if m.insert(blockKey{version, i}, []*block{bufs.get(testBlock)}); i >= blocks {
			m.evictOldest()
		}
	}
	for i := range m.shards {
		if n := m.shards[i].bytes.Load() / testBlock; n > blocks/maxShards+2*groupBlocks {
			t.Errorf("shard %d has %d of %d blocks", i, n, blocks)
		}
	}
}

func TestReleasedTooOftenPanics(t *testing.T) {
	bufs := &buffers{size: testBlock}
	blk := bufs.get(10)
	bufs.release(blk)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	bufs.release(blk)
}

func TestShardCounts(t *testing.T) {
	for _, c := range []struct {
		limit int64
		want  int
	}{{4, 1}, {255, 1}, {256, 2}, {1000, 4}, {1 << 20, 16}} {
		if got := len(newMemory(&buffers{size: testBlock}, c.limit*testBlock).shards); got != c.want {
			t.Errorf("%d blocks: %d shards, want %d", c.limit, got, c.want)
		}
	}
}

// get is a block of n bytes, their content undefined, with one reference.
func (p *buffers) get(n int) *block {
	return p.run(make([]*block, 0, 1), n, 1)[0]
}
