package content

import (
	"bytes"
	"context"
	"io"
	"testing"

	"pailfs/cache"
	"pailfs/s3client"
)

// The bytes between many small changes are fetched in one piece, not one by one.
func TestSourceAhead(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.Readahead = -1 })
	want := pattern(1, 200*kib)
	r.put("k", want)
	f := r.open("k")
	defer f.Close(nil)
	for off := int64(8 * kib); off < 100*kib; off += 16 * kib {
		write(f, off, []byte("x"))
		want[off] = 'x'
	}
	c := newContent(bg, r.present(f), r.blocks)
	got := r.calls(func() {
		c.Ahead(8*kib+1, 90*kib)
		p := make([]byte, 90*kib)
		if _, err := c.ReadAt(p, 8*kib+1); err != nil {
			t.Fatal(err)
		}
	})
	wantCalls(t, "a part with many changes", got, map[string]int64{"Get": 1})
	if c.Ahead(150*kib, 0); r.mem.Calls()["Get"] != 1 {
		t.Error("fetched for nothing")
	}
	wantSync(t, f)
	r.wantStored(t, "k", want)
}

// Where the bytes of many parts at once find no room, each part still asks for large pieces, not for its body's small ones.
func TestSourceAheadWithoutRoom(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.Readahead = -1 })
	size := int64(32 * mib)
	want := pattern(2, int(size))
	r.put("k", want)
	f := r.open("k")
	defer f.Close(nil)
	blocks := cache.NewBlocks(cache.BlocksOptions{MemoryBytes: 8 * mib, BlockBytes: 4 * kib, MaxFetchBytes: 4 * mib,
		Fetch: func(ctx context.Context, v cache.Version, off, n int64) (io.ReadCloser, error) {
			body, _, err := r.fault.Get(ctx, s3client.GetRequest{Bucket: v.Bucket, Key: v.Key, ETag: v.ETag, Offset: off, Length: n})
			return body, err
		}})
	defer blocks.Close(bg)
	snap := r.present(f)
	snap.layout.dirty = ranges{{Off: 0, Len: size}} // all of it is to be read
	c := newContent(bg, snap, blocks)
	got := r.calls(func() {
		c.Ahead(0, size)
		p := make([]byte, 32*kib)
		for off := int64(0); off < size; off += int64(len(p)) {
			if _, err := c.ReadAt(p, off); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p, want[off:off+int64(len(p))]) {
				t.Fatalf("other bytes at %d", off)
			}
		}
	})
	// What was fetched ahead may be evicted before it is read: some of it is asked for twice, in what pieces are missing.
	if gets, most := got["Get"], size/(128*kib); gets > most {
		t.Errorf("%d GETs for 32 MiB, want at most %d", gets, most)
	}
}
