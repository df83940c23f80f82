package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// benchDir is a directory on a real disk: tests may run with TMPDIR on a memory file system.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("PAILFS_TEST_BENCH_DIR"), "pailfs-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}

func benchDisk(b *testing.B, dir string) (*Disk, *Blocks) {
	d, err := OpenDisk(DiskOptions{Dir: dir, SizeBytes: 8 << 30})
	if err != nil {
		b.Fatal(err)
	}
	c := NewBlocks(BlocksOptions{Disk: d, Fetch: func(_ context.Context, _ Version, _, n int64) (io.ReadCloser, error) {
		return &patterned{n}, nil
	}})
	b.Cleanup(func() {
		if err := errors.Join(c.Close(context.Background()), d.Close(context.Background())); err != nil {
			b.Error(err)
		}
	})
	return d, c
}

// dropCache makes the kernel forget the files' pages.
func dropCache(b *testing.B, paths []string) {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
}

const benchSize = 512 << 20

// Streaming from disk with a dropped page cache, as a reader with a full window does, beside plain reads of the file.
func BenchmarkDiskStream(b *testing.B) {
	dir := benchDir(b)
	d, c := benchDisk(b, dir)
	v := object("o", benchSize)
	if err := c.Store(context.Background(), v, 0, v.Size); err != nil {
		b.Fatal(err)
	}
	paths := files(b, dir)
	const piece, window = 4 << 20, 96 << 20
	stream := func(b *testing.B, drop bool) {
		b.SetBytes(v.Size)
		for b.Loop() {
			b.StopTimer()
			c.forget()
			if drop {
				dropCache(b, paths)
			}
			b.StartTimer()
			ahead := int64(0)
			for off := int64(0); off < v.Size; off += 1 << 20 {
				for ; ahead < min(off+window, v.Size); ahead += piece {
					c.Prefetch(v, ahead, piece)
				}
				use(b, c, v, off, 1<<20)
				c.Consumed(v, off, 1<<20)
			}
		}
		if st := c.Stats(); st.FetchedBytes != v.Size {
			b.Errorf("%+v %+v", st, d.Stats())
		}
	}
	b.Run("cold", func(b *testing.B) { stream(b, true) })
	b.Run("warm", func(b *testing.B) { stream(b, false) })
	plain := func(b *testing.B, drop bool) {
		b.SetBytes(v.Size)
		p := make([]byte, 1<<20)
		for b.Loop() {
			b.StopTimer()
			if drop {
				dropCache(b, paths)
			}
			b.StartTimer()
			for _, path := range paths {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = f.Read(p)
				}
				if err = errors.Join(f.Close()); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("plain-cold", func(b *testing.B) { plain(b, true) })
	b.Run("plain-warm", func(b *testing.B) { plain(b, false) })
}

// Random small reads from disk, whose pages the kernel has.
func BenchmarkDiskRandom(b *testing.B) {
	_, c := benchDisk(b, benchDir(b))
	v := object("o", benchSize)
	if err := c.Store(context.Background(), v, 0, v.Size); err != nil {
		b.Fatal(err)
	}
	c.forget()
	b.ReportAllocs()
	b.SetBytes(4 << 10)
	for off := int64(0); b.Loop(); off = (off + 37*defaultBlockBytes + 4096) % (benchSize - 4096) {
		use(b, c, v, off, 4<<10)
		c.Consumed(v, off-off%defaultBlockBytes, defaultBlockBytes)
	}
}

// What the filling costs a stream from the network.
func BenchmarkDiskFill(b *testing.B) {
	d, c := benchDisk(b, benchDir(b))
	off, step := int64(0), 1<<20
	v := object("o", 1<<40)
	b.SetBytes(int64(step))
	for b.Loop() {
		if off%(8<<20) == 0 {
			c.Prefetch(v, off, 16<<20)
		}
		use(b, c, v, off, step)
		c.Consumed(v, off, int64(step))
		off += int64(step)
	}
	st := d.Stats()
	b.ReportMetric(float64(st.Skipped)/float64(st.Misses), "skipped/block")
}

func BenchmarkTryView(b *testing.B) {
	c := benchCache(b, 256<<20)
	v := object("o", 64<<20)
	use(b, c, v, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		view, ok := c.TryView(v, 4096, 4096)
		if !ok {
			b.Fatal("missing")
		}
		view.Done()
	}
}
