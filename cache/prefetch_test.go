package cache

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"unique"
)

func TestPrefetchFetchesWhatIsMissing(t *testing.T) {
	const k = testBlock
	for _, c := range []struct {
		name    string
		size    int64
		warm    []int64 // blocks read before
		off, n  int64
		fetches string
	}{
		{"one block", 100 * k, nil, 5, 1, "0+1024"},
		{"cut at the end", 2*k + 5, nil, k, 100 * k, "1024+1029"},
		{"past the end", 2 * k, nil, 2 * k, k, ""},
		{"nothing", 2 * k, nil, 0, 0, ""},
		{"negative", 2 * k, nil, -5, 10, ""},
		{"in pieces", 100 * k, nil, 0, 20 * k, "0+8192 8192+8192 16384+4096"},
		{"around what is there", 100 * k, []int64{0, 3, 4, 9}, 0, 10 * k, "1024+2048 5120+3072 8192+1024"},
		{"all there", 100 * k, []int64{1, 2}, k, 2 * k, ""},
		{"as far as half the memory goes", 1000 * k, nil, 0, 1000 * k, "0+8192 8192+8192 16384+8192 24576+8192"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				taps := &valves{}
				s := &store{}
				b := newTest(t, 64, s)
				b.o.MaxFetchBytes = 8 * k
				v := object("o", c.size)
				for _, i := range c.warm {
					read(t, b, v, i*k, 1)
				}
				warm := len(s.calls())
				s.answer = taps.answer
				b.Prefetch(v, c.off, c.n)
				synctest.Wait()
				b.check(t)
				b.Prefetch(v, c.off, c.n) // all in flight: nothing new
				synctest.Wait()
				s.mu.calls = s.mu.calls[warm:]
				slices.SortFunc(s.mu.calls, func(a, b call) int { return int(a.off - b.off) })
				if got := s.ranges(); got != c.fetches {
					t.Errorf("fetched %q, want %q", got, c.fetches)
				}
				for i := range taps.len() {
					close(taps.at(i).open)
				}
				synctest.Wait()
				if c.off >= 0 && !b.Contains(v, c.off, min(c.n, 32*k)) {
					t.Error("not all is present")
				}
			})
		})
	}
}

func TestPrefetchTakesThePartThatFits(t *testing.T) {
	bubble(t, 16, func(t *testing.T, b *Blocks, s *store, taps *valves) { // 8 blocks for prefetches
		v := object("o", 100*testBlock)
		one := viewing(b, background, v, 0, 5*testBlock)
		synctest.Wait()
		b.Prefetch(v, 5*testBlock, 10*testBlock)
		synctest.Wait()
		b.Prefetch(v, 20*testBlock, testBlock)
		synctest.Wait()
		if got := s.ranges(); got != "0+5120 5120+3072" {
			t.Errorf("fetched %q", got)
		}
		close(taps.at(0).open)
		one.want(t, true, nil)
		b.Prefetch(v, 20*testBlock, testBlock)
		synctest.Wait()
		if got := s.ranges(); got != "0+5120 5120+3072 20480+1024" {
			t.Errorf("fetched %q", got)
		}
	})
}

func TestViewJoinsPrefetch(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 100*testBlock)
		b.Prefetch(v, 0, 8*testBlock)
		synctest.Wait()
		ctx, cancel := context.WithCancel(background)
		leaver := viewing(b, ctx, v, 0, testBlock)
		over := viewing(b, background, v, 6*testBlock, 4*testBlock)
		synctest.Wait()
		cancel()
		leaver.want(t, true, context.Canceled)
		if taps.at(0).ctx.Err() != nil {
			t.Fatal("a prefetch was cancelled with its waiter")
		}
		close(taps.at(0).open)
		close(taps.at(1).open)
		over.want(t, true, nil)
		if got := s.ranges(); got != "0+8192 8192+2048" {
			t.Errorf("fetched %q", got)
		}
		if !b.Contains(v, 0, 10*testBlock) {
			t.Error("not all present")
		}
	})
}

func TestFailedPrefetchIsTriedOnce(t *testing.T) {
	broken := &failure{"broken"}
	for _, c := range []struct {
		name    string
		fails   int
		want    error
		fetches string
	}{
		{"second works", 1, nil, "0+4096 2048+2048"},
		{"second fails too", 2, broken, "0+4096 2048+2048"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				n := 0
				s := &store{answer: func(_ context.Context, c0 call) (io.ReadCloser, error) {
					n++
					if n == 1 {
						<-gate
					}
					if n <= c.fails {
						return nil, broken
					}
					return nil, nil
				}}
				b := newTest(t, 64, s)
				v := object("o", 100*testBlock)
				b.Prefetch(v, 0, 4*testBlock)
				synctest.Wait()
				one := viewing(b, background, v, 2*testBlock, 2*testBlock)
				synctest.Wait()
				close(gate)
				one.want(t, true, c.want)
				if got := s.ranges(); got != c.fetches {
					t.Errorf("fetched %q, want %q", got, c.fetches)
				}
			})
		})
	}
}

// A second try that meets another failing prefetch ends with its error.
func TestThereIsNoThirdTry(t *testing.T) {
	broken := &failure{"broken"}
	s := &store{answer: func(context.Context, call) (io.ReadCloser, error) { return nil, broken }}
	b := newTest(t, 64, s)
	v := object("o", 100*testBlock)
	for _, again := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			claimed := make(chan struct{})
			b := newTest(t, 64, &store{answer: func(context.Context, call) (io.ReadCloser, error) {
				<-claimed
				return nil, broken
			}})
			b.Prefetch(v, 0, testBlock)
			blocks := make([]*block, 1)
			waits, err := b.claim(background, v, unique.Make(v), 0, blocks)
			if err != nil {
				t.Fatal(err)
			}
			close(claimed)
			failed, err := b.gather(background, waits, blocks, again)
			if failed != again || (err == nil) != again {
				t.Errorf("may try again %v: failed %v, %v", again, failed, err)
			}
		})
	}
	if _, err := b.View(background, v, 0, 1); err != error(broken) {
		t.Errorf("%v", err)
	}
}

// Many readers of one failed prefetch share the second try as well.
func TestSecondTryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, again := make(chan struct{}), make(chan struct{})
		n := 0
		s := &store{answer: func(context.Context, call) (io.ReadCloser, error) {
			if n++; n == 1 {
				<-gate
				return nil, errors.New("broken")
			}
			<-again
			return nil, nil
		}}
		b := newTest(t, 64, s)
		v := object("o", 100*testBlock)
		b.Prefetch(v, 0, 4*testBlock)
		synctest.Wait()
		var all []*result
		for range 20 {
			all = append(all, viewing(b, background, v, 0, 4*testBlock))
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		close(again)
		for _, r := range all {
			r.want(t, true, nil)
		}
		if got := s.ranges(); got != "0+4096 0+4096" {
			t.Errorf("fetched %q", got)
		}
	})
}

func TestCancelPrefetch(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v, other := object("o", 100*testBlock), object("other", 100*testBlock)
		b.Prefetch(v, 0, 4*testBlock)
		synctest.Wait()
		b.Prefetch(v, 10*testBlock, 4*testBlock)
		synctest.Wait()
		b.Prefetch(other, 0, 4*testBlock)
		one := viewing(b, background, v, 10*testBlock, testBlock)
		synctest.Wait()
		b.CancelPrefetch(v, 0, v.Size)
		one.want(t, false, nil)
		b.check(t)
		for i, cancelled := range []bool{true, false, false} {
			if got := taps.at(i).ctx.Err() != nil; got != cancelled {
				t.Errorf("flight %d cancelled: %v", i, got)
			}
		}
		taps.at(1).open <- testBlock
		one.want(t, true, nil)
		if taps.at(1).ctx.Err() == nil {
			t.Error("the prefetch goes on after its last waiter was served")
		}
		if st := b.Stats(); st.InFlightBytes != 4*testBlock {
			t.Errorf("%+v", st)
		}
		close(taps.at(2).open)
	})
}
