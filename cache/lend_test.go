package cache

import (
	"bytes"
	"context"
	"testing"
)

func fill(pieces [][]byte, b byte) (n int) {
	for _, p := range pieces {
		for i := range p {
			p[i] = b
		}
		n += len(p)
	}
	return n
}

// What is lent is memory of the blocks: they make room for it, and have it back.
func TestLend(t *testing.T) {
	ctx := context.Background()
	s := &store{}
	b := newTest(t, 48, s)
	v := object("k", 40*testBlock)
	view, err := b.View(ctx, v, 0, int(v.Size))
	if err != nil {
		t.Fatal(err)
	}
	view.Done()
	pieces, back, ok := b.Lend(16*testBlock - 5)
	if !ok || fill(pieces, 'a') != 16*testBlock || len(pieces) > 3 {
		t.Fatalf("%d pieces, %v", len(pieces), ok)
	}
	if st := b.Stats(); st.HeldBytes != 16*testBlock || st.Bytes > 32*testBlock {
		t.Errorf("%+v", st)
	}
	second, back2, ok := b.Lend(8 * testBlock)
	if !ok || fill(second, 'b') != 8*testBlock || b.Lendable() != 24*testBlock {
		t.Fatalf("%d pieces, %v; lendable %d", len(second), ok, b.Lendable())
	}
	for _, p := range pieces {
		if bytes.Count(p, []byte{'a'}) != len(p) {
			t.Error("memory was lent twice")
		}
	}
	if _, _, ok := b.Lend(1); ok {
		t.Error("more than half is lent")
	}
	b.check(t)
	back()
	if st := b.Stats(); st.HeldBytes != 8*testBlock {
		t.Errorf("%+v", st)
	}
	got := make([]byte, v.Size)
	if _, err := b.ReadAt(ctx, v, got, 0); err != nil || !bytes.Equal(got, contents(v, 0, v.Size)) {
		t.Errorf("read beside what is lent: %v", err)
	}
	if st := b.Stats(); st.Bytes+st.InFlightBytes+st.HeldBytes > 48*testBlock {
		t.Errorf("%+v", st)
	}
	back2()
}

// Prefetches have half of what is not lent, as they have half of all otherwise.
func TestPrefetchBesideWhatIsLent(t *testing.T) {
	s, gates := &store{}, &valves{}
	s.answer = gates.answer
	b := newTest(t, 48, s)
	_, back, ok := b.Lend(16 * testBlock)
	if !ok {
		t.Fatal("nothing is lent")
	}
	b.Prefetch(object("k", 1000*testBlock), 0, 1000*testBlock)
	if st := b.Stats(); st.InFlightBytes != 16*testBlock {
		t.Errorf("%+v", st)
	}
	if _, _, ok := b.Lend(8 * testBlock); ok {
		t.Error("the last quarter is lent")
	}
	back()
	b.Prefetch(object("k", 1000*testBlock), 0, 1000*testBlock)
	if st := b.Stats(); st.InFlightBytes != 24*testBlock {
		t.Errorf("%+v", st)
	}
}

// Who has borrowed has it to the end, also after the cache's.
func TestLendAndClose(t *testing.T) {
	b := NewBlocks(BlocksOptions{MemoryBytes: 48 * testBlock, BlockBytes: testBlock, Fetch: (&store{}).fetch})
	pieces, back, ok := b.Lend(testBlock)
	if err := b.Close(context.Background()); err != nil || !ok {
		t.Fatal(err)
	}
	fill(pieces, 'x')
	if _, _, ok := b.Lend(testBlock); ok {
		t.Error("lent after the end")
	}
	back()
	if st := b.Stats(); st.HeldBytes != 0 {
		t.Errorf("%+v", st)
	}
}
