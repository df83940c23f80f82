package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
)

func TestViewFetchesWhatIsMissing(t *testing.T) {
	const k = testBlock
	for _, c := range []struct {
		name    string
		size    int64
		warm    [][2]int64 // read before
		off     int64
		n       int
		fetches string
	}{
		{"one byte", 10 * k, nil, 5000, 1, "4096+1024"},
		{"one block", 10 * k, nil, k, k, "1024+1024"},
		{"over an edge", 10 * k, nil, k - 1, 2, "0+2048"},
		{"many blocks, one fetch", 10 * k, nil, 100, 5 * k, "0+6144"},
		{"short last block", 2*k + 7, nil, 0, 10 * k, "0+2055"},
		{"only the short last block", 2*k + 7, nil, 2*k + 3, 100, "2048+7"},
		{"small object", 3, nil, 0, 4096, "0+3"},
		{"all there", 10 * k, [][2]int64{{0, 4 * k}}, 10, 3 * k, ""},
		{"hole in the middle", 10 * k, [][2]int64{{0, 1}, {4 * k, 1}}, 0, 5 * k, "1024+3072"},
		{"two holes", 10 * k, [][2]int64{{2 * k, 1}}, 0, 5 * k, "0+2048 3072+2048"},
		{"longer than a fetch", 100 * k, nil, 0, 40 * k, "0+16384 16384+16384 32768+8192"},
		{"at the end", 10 * k, nil, 10 * k, 1, ""},
		{"past the end", 10 * k, nil, 11 * k, 1, ""},
		{"nothing", 10 * k, nil, 0, 0, ""},
		{"empty object", 0, nil, 0, 100, ""},
		{"no overflow", 3 * k, nil, 2 * k, math.MaxInt, "2048+1024"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &store{}
			b := newTest(t, 32, s) // a fetch is 16 blocks at most
			v := object("o", c.size)
			for _, w := range c.warm {
				read(t, b, v, w[0], int(w[1]))
			}
			warm := len(s.calls())
			read(t, b, v, c.off, c.n)
			s.mu.calls = s.mu.calls[warm:]
			slices.SortFunc(s.mu.calls, func(a, b call) int { return int(a.off - b.off) })
			if got := s.ranges(); got != c.fetches {
				t.Errorf("fetched %q, want %q", got, c.fetches)
			}
			if n := len(s.calls()); n > 0 && c.n <= 16*k {
				read(t, b, v, c.off, c.n)
				if len(s.calls()) != n {
					t.Error("fetched again")
				}
			}
		})
	}
}

func TestVersionsAreApart(t *testing.T) {
	s := &store{}
	b := newTest(t, 64, s)
	old := object("o", 3000)
	changed := old
	changed.ETag = "2"
	for range 2 {
		read(t, b, old, 0, 3000)
		read(t, b, changed, 0, 3000)
	}
	if n := len(s.calls()); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestNegativeOffset(t *testing.T) {
	b := newTest(t, 64, &store{})
	if _, err := b.View(context.Background(), object("o", 10), -1, 5); err == nil {
		t.Error("no error")
	}
}

type readerAt struct {
	b *Blocks
	v Version
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	return r.b.ReadAt(context.Background(), r.v, p, off)
}

func TestReadAt(t *testing.T) {
	b := newTest(t, 8, &store{}) // less memory than object: ReadAt goes in steps
	v := object("o", 20*testBlock+5)
	r := io.NewSectionReader(readerAt{b, v}, 0, v.Size)
	if err := iotest.TestReader(r, contents(v, 0, v.Size)); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		off  int64
		n    int
		want int
		err  error
	}{{0, 10, 10, nil}, {v.Size - 5, 5, 5, nil}, {v.Size - 5, 6, 5, io.EOF}, {v.Size, 1, 0, io.EOF}, {v.Size + 9, 1, 0, io.EOF}, {v.Size, 0, 0, nil}} {
		n, err := b.ReadAt(context.Background(), v, make([]byte, c.n), c.off)
		if n != c.want || err != c.err {
			t.Errorf("ReadAt(%d, %d) = %d, %v", c.off, c.n, n, err)
		}
	}
}

func TestReadAtKeepsWhatCameBeforeAnError(t *testing.T) {
	broken := errors.New("broken")
	s := &store{answer: func(_ context.Context, c call) (io.ReadCloser, error) {
		if c.off >= 8*testBlock {
			return nil, broken
		}
		return nil, nil
	}}
	b := newTest(t, 8, s)
	v := object("o", 20*testBlock)
	p := make([]byte, 20*testBlock)
	n, err := b.ReadAt(context.Background(), v, p, 0)
	if n != 8*testBlock || !errors.Is(err, broken) || !bytes.Equal(p[:n], contents(v, 0, int64(n))) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
}

func TestStats(t *testing.T) {
	s := &store{}
	b := newTest(t, 64, s)
	v := object("o", 4*testBlock+10)
	read(t, b, v, 0, 2*testBlock)
	read(t, b, v, testBlock, 10*testBlock)
	want := BlocksStats{Hits: 1, Misses: 5, Bytes: 4*testBlock + 10 + blockOverhead, Fetches: 2, FetchedBytes: v.Size}
	if got := b.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestContains(t *testing.T) {
	b := newTest(t, 64, &store{})
	v := object("o", 4*testBlock)
	read(t, b, v, testBlock, 1)
	for _, c := range []struct {
		off, n int64
		want   bool
	}{{testBlock, testBlock, true}, {testBlock + 5, 1, true}, {testBlock, testBlock + 1, false}, {0, testBlock, false}, {v.Size, 5, true}, {0, 0, true}} {
		if got := b.Contains(v, c.off, c.n); got != c.want {
			t.Errorf("Contains(%d, %d) = %v", c.off, c.n, got)
		}
	}
}

// Readers hold Views while others push everything out of the cache again and again: no byte that is held may change,
// and the bound holds whenever one looks.
func TestChurn(t *testing.T) {
	broken := errors.New("broken")
	var look sync.Mutex
	var b *Blocks
	n := 0
	s := &store{answer: func(_ context.Context, c call) (io.ReadCloser, error) {
		b.check(t)
		look.Lock()
		defer look.Unlock()
		switch n++; {
		case n%17 == 0:
			return nil, broken
		case n%19 == 0:
			return io.NopCloser(bytes.NewReader(contents(c.v, c.off, c.n/2))), nil
		}
		return nil, nil
	}}
	b = newTest(t, 24, s)
	versions := []Version{object("a", 40*testBlock+77), object("b", 9*testBlock), object("c", 100), object("d", 64*testBlock)}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			type held struct {
				view *View
				v    Version
				off  int64
				n    int
			}
			var holds []held
			for range 300 {
				v := versions[r.IntN(len(versions))]
				off, n := r.Int64N(v.Size), 1+r.IntN(8*testBlock)
				ctx, cancel := context.WithCancel(context.Background())
				switch r.IntN(8) {
				case 0:
					b.Prefetch(v, off, int64(n)*2)
				case 1:
					go cancel()
				case 2:
					b.CancelPrefetch(v, 0, v.Size)
				}
				view, err := b.View(ctx, v, off, n)
				cancel()
				switch {
				case err == nil:
					same(t, view, v, off, n)
					holds = append(holds, held{view, v, off, n})
				case errors.Is(err, broken), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
				default:
					t.Error(err)
				}
				for len(holds) > r.IntN(4) {
					h := holds[0]
					same(t, h.view, h.v, h.off, h.n)
					h.view.Done()
					holds = holds[1:]
				}
			}
			for _, h := range holds {
				same(t, h.view, h.v, h.off, h.n)
				h.view.Done()
			}
		})
	}
	wg.Wait()
}

func TestDoneTwice(t *testing.T) {
	b := newTest(t, 64, &store{})
	v := object("o", 10*testBlock)
	view, err := b.View(context.Background(), v, 0, int(v.Size))
	if err != nil {
		t.Fatal(err)
	}
	view.Done()
	view.Done()
	if view.Len() != 0 || view.Slices() != nil {
		t.Error("a View that is done shows bytes")
	}
	read(t, b, v, 0, int(v.Size))
	(&View{}).Done()
}
