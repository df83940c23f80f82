package cache

import (
	"context"
	"io"
	"testing"
)

type viewerKey struct{}

// A fetch knows what of its View it was told to carry, and does not end with it; a readahead carries nothing.
func TestAFetchCarriesWhatItsViewGives(t *testing.T) {
	seen := map[int64]any{}
	s := &store{}
	b := NewBlocks(BlocksOptions{MemoryBytes: 64 * testBlock, BlockBytes: testBlock, MaxFetchBytes: 8 * testBlock,
		Carry: func(own, view context.Context) context.Context {
			return context.WithValue(own, viewerKey{}, view.Value(viewerKey{}))
		},
		Fetch: func(ctx context.Context, v Version, off, n int64) (io.ReadCloser, error) {
			seen[off] = ctx.Value(viewerKey{})
			return s.fetch(ctx, v, off, n)
		}})
	v := object("o", 8*testBlock)
	view, err := b.View(context.WithValue(t.Context(), viewerKey{}, "reader"), v, 0, testBlock)
	if err != nil {
		t.Fatal(err)
	}
	view.Done()
	b.Prefetch(v, 4*testBlock, testBlock)
	if view, err = b.View(context.WithValue(t.Context(), viewerKey{}, "another"), v, 4*testBlock, testBlock); err != nil {
		t.Fatal(err)
	}
	view.Done()
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ahead, fetched := seen[4*testBlock]; seen[0] != "reader" || ahead != nil || !fetched {
		t.Errorf("%v", seen)
	}
}
