package cache

import (
	"context"
	"fmt"
	"io"
	"testing"
)

// patterned delivers bytes at the speed of copy.
type patterned struct{ left int64 }

var pattern = make([]byte, 1<<20)

func (p *patterned) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(int64(len(b)), p.left)], pattern)
	p.left -= int64(n)
	return n, nil
}

func (p *patterned) Close() error { return nil }

func benchCache(b *testing.B, memory int64) *Blocks {
	c := NewBlocks(BlocksOptions{MemoryBytes: memory, Fetch: func(_ context.Context, _ Version, _, n int64) (io.ReadCloser, error) {
		return &patterned{n}, nil
	}})
	b.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return c
}

func use(b *testing.B, c *Blocks, v Version, off int64, n int) {
	view, err := c.View(context.Background(), v, off, n)
	if err != nil {
		b.Fatal(err)
	}
	if view.Len() != n {
		b.Fatal("short")
	}
	view.Done()
}

// Views of what is there, as a kernel asks for it.
func BenchmarkWarm(b *testing.B) {
	const size = 64 << 20
	for _, n := range []int{4 << 10, 128 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dK", n>>10), func(b *testing.B) {
			c := benchCache(b, 256<<20)
			v := object("o", size)
			for off := int64(0); off < size; off += 1 << 20 {
				use(b, c, v, off, 1<<20)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for off := int64(0); pb.Next(); off = (off + int64(n)) % size {
					use(b, c, v, off, n)
				}
			})
		})
	}
}

// A sequential reader of 1 MiB Views through an object much larger than the memory, with and without a readahead.
func BenchmarkStream(b *testing.B) {
	const size, step = int64(1) << 40, 1 << 20
	for _, ahead := range []int64{0, 16 << 20} {
		b.Run(fmt.Sprintf("ahead=%dM", ahead>>20), func(b *testing.B) {
			c := benchCache(b, 128<<20)
			v := object("o", size)
			off := int64(0)
			b.SetBytes(step)
			b.ReportAllocs()
			for b.Loop() {
				if ahead > 0 && off%(8<<20) == 0 {
					c.Prefetch(v, off, ahead)
				}
				use(b, c, v, off, step)
				off += step
			}
		})
	}
}

func BenchmarkEntriesGet(b *testing.B) {
	c := NewEntries[Version](100_000, nil)
	for i := range 1000 {
		c.Put("some/directory", fmt.Sprint(i), Version{})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, ok := c.Get("some/directory", "500"); !ok {
				b.Error("unknown")
			}
		}
	})
}
