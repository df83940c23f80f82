package cache

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// checkArena states the invariants of an arena, over all extents that were ever handed out.
func (p *buffers) checkArena(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	unused := 0
	for run, e := range p.mu.free {
		if (e != nil) != (p.mu.runs>>run&1 != 0) {
			t.Errorf("list %d: first %p, bits %b", run, e, p.mu.runs)
		}
		for prev := (*extent)(nil); e != nil; prev, e = e, e.next {
			if longestRun(e.free) != run || e.prev != prev {
				t.Errorf("list %d has an extent with free %08b", run, e.free)
			}
			unused += bits.OnesCount8(e.free)
			for i := range e.blocks {
				if free := e.free>>i&1 != 0; free && e.blocks[i].refs.Load() != 0 {
					t.Errorf("a free block has %d references", e.blocks[i].refs.Load())
				}
			}
		}
	}
	if unused != p.mu.unused || unused > p.mu.taken {
		t.Errorf("%d free blocks, %d noted, of %d", unused, p.mu.unused, p.mu.taken)
	}
}

func wholeRun(p *buffers, n int) []*block { return p.run(nil, n*p.size, n) }

func places(blocks []*block) (s string) {
	for _, b := range blocks {
		s += fmt.Sprint(b.slot)
	}
	return s
}

func TestLongestRun(t *testing.T) {
	for free := range 256 {
		want := 0
		for n := 1; n <= 8; n++ {
			for at := 0; at+n <= 8; at++ {
				if mask := 1<<n - 1; free>>at&mask == mask {
					want = n
					if at == bits.TrailingZeros8(runsOf(uint8(free), n)) {
						break
					}
					t.Fatalf("%08b: the first run of %d is at %d", free, n, at)
				}
			}
		}
		if got := longestRun(uint8(free)); got != want {
			t.Errorf("%08b: %d, want %d", free, got, want)
		}
	}
}

// What was given back block by block is a run again; single blocks fill what is broken; and while there is enough in
// pieces nothing more is taken from the system.
func TestRunsOfBuffers(t *testing.T) {
	p := &buffers{size: testBlock}
	one := wholeRun(p, 8)
	if n, data := lie(one); n != 8 || len(data) != 8*testBlock || places(one) != "01234567" {
		t.Fatalf("run of %d at %s", n, places(one))
	}
	for _, i := range []int{3, 0, 7, 5, 1, 2, 6, 4} {
		p.release(one[i])
		p.checkArena(t)
	}
	two := wholeRun(p, 8)
	if two[0].extent != one[0].extent || len(two) != 8 || p.mu.taken != 8 {
		t.Fatalf("the freed run is not used: %d taken", p.mu.taken)
	}
	three := wholeRun(p, 8)
	p.releaseAll([]*block{two[1], nil, two[4], two[5], three[2], three[3], three[4], three[5], three[6], three[7]})
	for _, c := range []struct {
		n     int
		from  *extent
		slots string
		taken int
	}{
		{3, three[0].extent, "234", 16}, // the only run
		{1, two[0].extent, "1", 16},     // the longest are 2 and 3
		{1, two[0].extent, "4", 16},
		{4, three[0].extent, "567", 16}, // four are free, but not in one place
		{2, nil, "01", 24},              // one is free
	} {
		got := wholeRun(p, c.n)
		if places(got) != c.slots || c.from != nil && got[0].extent != c.from || p.mu.taken != c.taken {
			t.Errorf("run of %d: at %s, %d taken; want %+v", c.n, places(got), p.mu.taken, c)
		}
		p.checkArena(t)
	}
}

// For the sake of a long run more is taken from the system while little lies about in pieces, and then no more.
func TestScatteredBuffers(t *testing.T) {
	p := &buffers{size: testBlock}
	var all [][]*block
	for range 64 {
		all = append(all, wholeRun(p, 8))
	}
	for i := range 15 {
		p.release(all[i][3])
	}
	if run := wholeRun(p, 8); len(run) != 8 || p.mu.taken != 65*8 {
		t.Errorf("a run of %d with 15 of 512 buffers free, %d taken", len(run), p.mu.taken)
	}
	for i := range 5 {
		p.release(all[15+i][3])
	}
	p.releaseAll(all[63][5:7])
	if run := wholeRun(p, 8); len(run) != 2 || run[0] != all[63][5] || p.mu.taken != 65*8 {
		t.Errorf("a run of %d with 22 of 520 buffers free, %d taken", len(run), p.mu.taken)
	}
	p.checkArena(t)
}

func TestRunOfShortBlocks(t *testing.T) {
	p := &buffers{size: testBlock}
	for _, c := range []struct {
		total, n int
		want     []int // lengths
		whole    bool
	}{
		{10, 1, []int{10}, false},
		{testBlock / 2, 1, []int{testBlock / 2}, false},
		{testBlock/2 + 1, 1, []int{testBlock/2 + 1}, true},
		{3*testBlock + 10, 4, []int{testBlock, testBlock, testBlock}, true}, // the short one apart
		{2*testBlock + 600, 3, []int{testBlock, testBlock, 600}, true},
	} {
		got := p.run(nil, c.total, c.n)
		sum, cost := 0, int64(0)
		for i, b := range got {
			if i >= len(c.want) || len(b.data) != c.want[i] || (b.extent != nil) != c.whole || b.refs.Load() != 1 {
				t.Errorf("%d bytes: block %d has %d", c.total, i, len(b.data))
			}
			sum, cost = sum+len(b.data), cost+p.cost(len(b.data))
		}
		if n, data := lie(got); len(got) != len(c.want) || n != len(got) || len(data) != sum || cap(data) != sum {
			t.Errorf("%d bytes: %d blocks, %d of them together with %d bytes", c.total, len(got), n, len(data))
		}
		p.releaseAll(got)
	}
}

func TestExtentsOfLargeBlocks(t *testing.T) {
	for size, want := range map[int]int{32 << 10: 8, 512 << 10: 8, 1 << 20: 4, 3 << 20: 1, 5 << 20: 1} {
		p := &buffers{size: size}
		if got := wholeRun(p, 8); len(got) != want || len(got[want-1].data) != size {
			t.Errorf("blocks of %d: a run of %d, want %d", size, len(got), want)
		}
		p.checkArena(t)
	}
}

// However runs and single blocks are taken and given back, the memory taken from the system is at most a 31st and an
// extent more than what was in use at once, no buffer has two owners, and single blocks alone cost nothing more.
func TestMemoryTakenFromTheSystem(t *testing.T) {
	for seed := range uint64(16) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := &buffers{size: 64}
		longest := 1 + r.IntN(8)
		var have []*block
		peak, tag := 0, uint64(0)
		for range 30 {
			for bound := r.IntN(2000); len(have) < bound; {
				run := wholeRun(p, 1+r.IntN(longest))
				for _, b := range run {
					tag++
					for i := range b.data {
						b.data[i] = byte(tag)
					}
					b.since = int64(tag)
				}
				have = append(have, run...)
			}
			peak = max(peak, len(have))
			limit := peak + peak/31 + extentBlocks
			if longest == 1 {
				limit = peak + extentBlocks - 1
			}
			if p.mu.taken > limit {
				t.Fatalf("seed %d: %d buffers taken from the system for %d", seed, p.mu.taken, peak)
			}
			if p.mu.taken-p.mu.unused != len(have) {
				t.Fatalf("seed %d: %d in use, %d free of %d", seed, len(have), p.mu.unused, p.mu.taken)
			}
			r.Shuffle(len(have), func(i, j int) { have[i], have[j] = have[j], have[i] })
			left := r.IntN(len(have) + 1)
			for _, b := range have[left:] {
				for _, c := range b.data {
					if c != byte(b.since) {
						t.Fatalf("seed %d: a buffer has two owners", seed)
					}
				}
				p.release(b)
			}
			have = have[:left]
			p.checkArena(t)
		}
	}
}

// A cache under random reads, streams and Views that are held takes hardly more from the system than it counts.
func TestMemoryTakenByACache(t *testing.T) {
	const blocks, held = 512, 40
	b := newTest(t, blocks, &store{})
	v := object("o", 4000*testBlock+700)
	r := rand.New(rand.NewPCG(7, 7))
	var views []*View
	for range 3000 {
		off, n := r.Int64N(v.Size), 1
		switch r.IntN(4) {
		case 0:
			n = 1 + r.IntN(9*testBlock)
		case 1:
			off -= off % (8 * testBlock)
			b.Prefetch(v, off, 64*testBlock)
			n = 8 * testBlock
			b.Consumed(v, off-8*testBlock, 8*testBlock)
		}
		view, err := b.View(background, v, off, n)
		if err != nil {
			t.Fatal(err)
		}
		if views = append(views, view); len(views) > held/10 {
			i := r.IntN(len(views))
			views[i].Done()
			views = append(views[:i], views[i+1:]...)
		}
	}
	for _, view := range views {
		view.Done()
	}
	const most = blocks + held + 10 // a View is 10 blocks at most
	if b.buffers.mu.taken > most+most/31+extentBlocks {
		t.Errorf("%d buffers taken from the system by a cache of %d", b.buffers.mu.taken, blocks)
	}
	b.buffers.checkArena(t)
}

// What is evicted for a stream lies together, so that the stream goes on in long runs and takes nothing more.
func TestStreamKeepsItsRuns(t *testing.T) {
	b := newTest(t, 1024, &store{})
	v := object("o", 20_000*testBlock)
	slices := 0
	for off := int64(0); off < v.Size; off += 8 * testBlock {
		view, err := b.View(background, v, off, 8*testBlock)
		if err != nil {
			t.Fatal(err)
		}
		slices += len(view.Slices())
		view.Done()
	}
	if slices != 20_000/8 || b.buffers.mu.taken != 1024 {
		t.Errorf("%d slices for %d groups, %d buffers taken", slices, 20_000/8, b.buffers.mu.taken)
	}
}
