package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// pieces is a body that gives at most so many bytes with one Read.
type pieces struct {
	r     io.Reader
	most  int
	given int
}

func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), p.most)])
	p.given += n
	return n, err
}

func (p *pieces) Close() error { return nil }

func TestBodiesInPieces(t *testing.T) {
	const k = testBlock
	for _, size := range []int64{k, 8 * k, 30*k + 3, 30*k + k - 1, 31 * k} {
		for _, most := range []int{1, k - 1, k, k + 1, 2*k + 500, 7 * k, 9 * k, 100 * k} {
			for _, ends := range []string{"EOF behind", "EOF with the last", "too long"} {
				t.Run(fmt.Sprintf("%d by %d, %s", size, most, ends), func(t *testing.T) {
					var body *pieces
					s := &store{answer: func(_ context.Context, c call) (io.ReadCloser, error) {
						body = &pieces{r: bytes.NewReader(contents(c.v, c.off, c.n)), most: most}
						switch ends {
						case "EOF with the last":
							body.r = iotest.DataErrReader(body.r)
						case "too long":
							body.r = io.MultiReader(body.r, bytes.NewReader(make([]byte, k)))
						}
						return body, nil
					}}
					b := newTest(t, 64, s)
					v := object("o", size)
					read(t, b, v, 0, int(size))
					if st := b.Stats(); len(s.calls()) != 1 || st.FetchedBytes != size || body.given != int(size) {
						t.Errorf("fetched %q, %d bytes read, %+v", s.ranges(), body.given, st)
					}
					b.buffers.checkArena(t)
				})
			}
		}
	}
}

// The reads are as long as the buffers lie together, which is at most a group.
func TestReadsAreLong(t *testing.T) {
	var reads []int
	s := &store{answer: func(_ context.Context, c call) (io.ReadCloser, error) {
		return io.NopCloser(noting{bytes.NewReader(contents(c.v, c.off, c.n)), &reads}), nil
	}}
	b := newTest(t, 64, s)
	v := object("o", 40*testBlock+5)
	read(t, b, v, 6*testBlock, 30*testBlock)
	read(t, b, v, 39*testBlock, 2*testBlock)
	if got := fmt.Sprint(reads); got != "[2048 8192 8192 8192 4096 1024 5]" {
		t.Errorf("reads of %s bytes", got)
	}
}

type noting struct {
	r     io.Reader
	asked *[]int
}

func (n noting) Read(p []byte) (int, error) {
	*n.asked = append(*n.asked, len(p))
	return n.r.Read(p)
}

// One read brings three blocks and a half: the three are there at once, for those who wait and for others, the fourth
// is not; and when the flight ends then, the rest of the run is free again.
func TestBlocksArePublishedBeforeTheirRunIsThere(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 10*testBlock)
		ctx, cancel := context.WithCancel(background)
		all := viewing(b, ctx, v, 0, 8*testBlock)
		synctest.Wait()
		third := viewing(b, background, v, 2*testBlock, testBlock)
		fourth := viewing(b, ctx, v, 3*testBlock, testBlock)
		synctest.Wait()
		taps.at(0).open <- 3*testBlock + testBlock/2
		third.want(t, true, nil)
		fourth.want(t, false, nil)
		all.want(t, false, nil)
		for i := range int64(8) {
			if got := b.Contains(v, i*testBlock, 1); got != (i < 3) {
				t.Errorf("block %d present: %v", i, got)
			}
		}
		if st := b.Stats(); st.Bytes != 3*testBlock || st.InFlightBytes != 5*testBlock || st.FetchedBytes != 3*testBlock+testBlock/2 {
			t.Errorf("%+v", st)
		}
		b.check(t)
		cancel()
		all.want(t, true, context.Canceled)
		fourth.want(t, true, context.Canceled)
		b.buffers.checkArena(t)
		if a := &b.buffers.mu; a.taken-a.unused != 3 {
			t.Errorf("%d buffers in use after the flight was cancelled", a.taken-a.unused)
		}
	})
}

// Neighbours in memory are one slice of a View, which nobody can append to.
func TestViewJoinsNeighbours(t *testing.T) {
	const k = testBlock
	b := newTest(t, 64, &store{})
	v := object("o", 24*k+600)
	read(t, b, v, 0, 16*k)
	read(t, b, v, 16*k, 8*k+600)
	for _, c := range []struct {
		off    int64
		n      int
		slices int
	}{
		{0, 8 * k, 1}, {0, 1, 1}, {k - 1, 2, 1}, {8*k - 1, 2, 2}, {3*k + 5, 10 * k, 2}, {0, 25 * k, 4},
		{24*k + 599, 1, 1}, {24*k + 5, 500, 1}, {23*k + 1023, 601, 2},
	} {
		for _, try := range []bool{false, true} {
			view, err := b.View(background, v, c.off, c.n)
			if try {
				view.Done()
				view, _ = b.TryView(v, c.off, c.n)
			}
			if err != nil {
				t.Fatal(err)
			}
			same(t, view, v, c.off, c.n)
			for _, s := range view.Slices() {
				if cap(s) != len(s) {
					t.Errorf("%d+%d: a slice of %d has room for %d", c.off, c.n, len(s), cap(s))
				}
			}
			if got := len(view.Slices()); got != c.slices {
				t.Errorf("%d+%d: %d slices, want %d", c.off, c.n, got, c.slices)
			}
			view.Done()
		}
	}
}

// The disk tier reads into neighbours with one iovec.
func TestDiskReadsIntoRuns(t *testing.T) {
	s := &store{}
	d := openTest(t, t.TempDir())
	var iovs []int
	d.preadv = func(fd int, v [][]byte, off int64) (int, error) {
		iovs = append(iovs, len(v))
		return unix.Preadv(fd, v, off)
	}
	b := over(t, d, 128, s)
	v := object("o", 30*testBlock+600)
	if err := b.Store(background, v, 0, v.Size); err != nil {
		t.Fatal(err)
	}
	b.forget()
	read(t, b, v, 3*testBlock, 28*testBlock)
	if got := fmt.Sprint(iovs); got != "[4]" {
		t.Errorf("iovecs %s", got)
	}
	wantFetched(t, s, "0+31320")
}
