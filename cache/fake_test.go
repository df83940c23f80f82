package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"testing"
	"unique"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testBlock = 1024

// contents is what a version has at an offset: every block of every version differs.
func contents(v Version, off, n int64) []byte {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s", v.Bucket, v.Key, v.ETag)
	seed := h.Sum64()
	p := make([]byte, n)
	for i := range p {
		at := uint64(off) + uint64(i)
		p[i] = byte((seed+at/64)*0x9E3779B97F4A7C15>>56) + byte(at)
	}
	return p
}

func object(key string, size int64) Version {
	return Version{Bucket: "b", Key: key, ETag: "1", Size: size}
}

type call struct {
	v      Version
	off, n int64
}

// store is a fake: it computes what it delivers and writes down what it was asked for.
type store struct {
	// answer, where set, is asked for each call. A nil body with a nil error means the usual answer.
	answer func(ctx context.Context, c call) (io.ReadCloser, error)

	mu struct {
		sync.Mutex
		calls []call
	}
}

func (s *store) fetch(ctx context.Context, v Version, off, n int64) (io.ReadCloser, error) {
	c := call{v, off, n}
	s.mu.Lock()
	s.mu.calls = append(s.mu.calls, c)
	s.mu.Unlock()
	if s.answer != nil {
		if body, err := s.answer(ctx, c); body != nil || err != nil {
			return body, err
		}
	}
	return whole(c), nil
}

func whole(c call) io.ReadCloser {
	return io.NopCloser(bytes.NewReader(contents(c.v, c.off, c.n)))
}

func (s *store) calls() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.mu.calls...)
}

// ranges are the calls as "off+n", to be compared with a literal.
func (s *store) ranges() string {
	out := ""
	for _, c := range s.calls() {
		out += fmt.Sprintf(" %d+%d", c.off, c.n)
	}
	return out[min(len(out), 1):]
}

// valve is a body that lets through what it is given leave for, and ends with its ctx.
type valve struct {
	ctx  context.Context
	body io.Reader
	open chan int // bytes allowed; closed: all
	left int
	all  bool
}

func newValve(ctx context.Context, c call) *valve {
	return &valve{ctx: ctx, body: whole(c), open: make(chan int, 100)}
}

func (b *valve) Read(p []byte) (int, error) {
	for b.left == 0 && !b.all {
		select {
		case n, ok := <-b.open:
			b.left, b.all = n, !ok
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	if !b.all {
		p = p[:min(len(p), b.left)]
	}
	n, err := b.body.Read(p)
	if !b.all {
		b.left -= n
	}
	return n, err
}

func (b *valve) Close() error { return nil }

// valves makes every body of a store a valve, in the order of the calls.
type valves struct {
	mu struct {
		sync.Mutex
		all []*valve
	}
}

func (s *valves) answer(ctx context.Context, c call) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := newValve(ctx, c)
	s.mu.all = append(s.mu.all, v)
	return v, nil
}

func (s *valves) at(i int) *valve {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.all[i]
}

func (s *valves) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.all)
}

// newTest returns a cache of so many blocks whose invariants are checked, and whose freed buffers are overwritten.
func newTest(t testing.TB, blocks int, s *store) *Blocks {
	t.Helper()
	b := NewBlocks(BlocksOptions{MemoryBytes: int64(blocks) * testBlock, BlockBytes: testBlock, Fetch: s.fetch})
	b.buffers.freed = func(p []byte) {
		for i := range p {
			p[i] = 0xDB
		}
	}
	t.Cleanup(func() {
		b.check(t)
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
		b.check(t)
		if st := b.Stats(); st.Bytes != 0 || st.InFlightBytes != 0 || st.HeldBytes != 0 {
			t.Errorf("after Close: %+v", st)
		}
	})
	return b
}

func (b *Blocks) check(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkLocked(); err != nil {
		t.Error(err)
	}
}

// checkLocked states the invariants of Blocks.
func (b *Blocks) checkLocked() error {
	var bytes, inFlight int64
	for i := range b.memory.shards {
		n, err := b.memory.shards[i].check()
		if err != nil {
			return err
		}
		bytes += n
	}
	if bytes != b.memory.bytes.Load() {
		return fmt.Errorf("present: %d bytes counted, %d noted", bytes, b.memory.bytes.Load())
	}
	for f := range b.mu.flights {
		waiting := 0
		for j := range f.blocks {
			if settled := f.blocks[j].settled; settled != (j < f.published) {
				return fmt.Errorf("block %d settled %v with %d published", j, settled, f.published)
			}
			if j >= f.published {
				waiting += f.blocks[j].waiters
			}
		}
		if waiting != f.waiting {
			return fmt.Errorf("flight: %d waiters counted, %d noted", waiting, f.waiting)
		}
		if !f.prefetch && !f.cancelled && waiting == 0 && f.published < len(f.blocks) {
			return errors.New("a demand flight flies for nobody")
		}
		if !f.queued {
			inFlight += f.cost
		}
	}
	if inFlight != b.mu.inFlight {
		return fmt.Errorf("in flight: %d bytes counted, %d noted", inFlight, b.mu.inFlight)
	}
	for k, p := range b.mu.flying {
		if p.settled {
			return fmt.Errorf("block %d is settled and flies", k.index)
		}
	}
	if len(b.mu.queue) != int(b.queued.Load()) {
		return fmt.Errorf("queue: %d and %d", len(b.mu.queue), b.queued.Load())
	}
	if len(b.mu.queue) > 0 && b.mu.inFlight == 0 {
		return errors.New("flights are queued and nothing flies")
	}
	if sum := bytes + inFlight; sum > b.o.MemoryBytes {
		return fmt.Errorf("%d bytes present and %d in flight, limit %d", bytes, inFlight, b.o.MemoryBytes)
	}
	return nil
}

func (s *shard) check() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range []*queue{&s.mu.probation, &s.mu.protected} {
		var n int64
		for _, blk := range q.Values() {
			n += blk.cost
			if blk.evicted.Load() || blk.refs.Load() < 1 {
				return 0, fmt.Errorf("present block: evicted %v, %d references", blk.evicted.Load(), blk.refs.Load())
			}
		}
		if n != q.bytes {
			return 0, fmt.Errorf("shard: %d bytes counted, %d noted", n, q.bytes)
		}
	}
	return s.mu.probation.bytes + s.mu.protected.bytes, nil
}

// read takes a View, checks its bytes and gives it back.
func read(t testing.TB, b *Blocks, v Version, off int64, n int) {
	t.Helper()
	view, err := b.View(context.Background(), v, off, n)
	if err != nil {
		t.Errorf("view %d+%d: %v", off, n, err)
		return
	}
	defer view.Done()
	same(t, view, v, off, n)
}

func same(t testing.TB, view *View, v Version, off int64, n int) {
	t.Helper()
	want := contents(v, off, max(0, min(int64(n), v.Size-off)))
	if got := bytes.Join(view.Slices(), nil); !bytes.Equal(got, want) || view.Len() != len(want) {
		t.Errorf("%s at %d+%d: %d other bytes than expected (%d)", v.Key, off, n, len(got), len(want))
	}
}

func keyOf(v Version) unique.Handle[Version] { return unique.Make(v) }
