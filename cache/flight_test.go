package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var background = context.Background()

// result is a View taken in a goroutine of its own.
type result struct {
	view *View
	err  error
	done bool
}

func viewing(b *Blocks, ctx context.Context, v Version, off int64, n int) *result {
	r := &result{}
	go func() {
		r.view, r.err = b.View(ctx, v, off, n)
		r.done = true
	}()
	return r
}

// want waits until nothing moves and says how the View must stand then.
func (r *result) want(t *testing.T, done bool, err error) {
	t.Helper()
	synctest.Wait()
	if r.done != done || !errors.Is(r.err, err) {
		t.Fatalf("done %v with %v, want %v with %v", r.done, r.err, done, err)
	}
	if r.done && r.err == nil {
		r.view.Done()
	}
}

// bubble runs a test over a store whose every body waits for leave.
func bubble(t *testing.T, blocks int, test func(t *testing.T, b *Blocks, s *store, taps *valves)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		taps := &valves{}
		s := &store{answer: taps.answer}
		test(t, newTest(t, blocks, s), s, taps)
	})
}

func TestManyReadersOneFetch(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 10*testBlock)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { read(t, b, v, 0, testBlock) })
		}
		synctest.Wait()
		b.check(t)
		close(taps.at(0).open)
		wg.Wait()
		if got := s.ranges(); got != "0+1024" {
			t.Errorf("fetched %q", got)
		}
	})
}

func TestBlocksArePublishedAsTheyCome(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 10*testBlock)
		all := viewing(b, background, v, 0, 4*testBlock)
		synctest.Wait()
		first := viewing(b, background, v, 10, 20)
		second := viewing(b, background, v, testBlock, 1)
		taps.at(0).open <- testBlock - 1
		first.want(t, false, nil)
		taps.at(0).open <- 2
		first.want(t, true, nil)
		second.want(t, false, nil)
		if !b.Contains(v, 0, testBlock) || b.Contains(v, testBlock, 1) {
			t.Error("not just the first block is present")
		}
		taps.at(0).open <- testBlock
		second.want(t, true, nil)
		all.want(t, false, nil)
		close(taps.at(0).open)
		all.want(t, true, nil)
		if got := s.ranges(); got != "0+4096" {
			t.Errorf("fetched %q", got)
		}
	})
}

func TestLastWaiterLeavingCancels(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 10*testBlock)
		ctx1, cancel1 := context.WithCancel(background)
		ctx2, cancel2 := context.WithCancel(background)
		one := viewing(b, ctx1, v, 0, 4*testBlock)
		synctest.Wait()
		two := viewing(b, ctx2, v, testBlock, 4*testBlock) // joins three blocks, fetches one
		synctest.Wait()
		taps.at(0).open <- testBlock
		synctest.Wait()
		cancel1()
		one.want(t, true, context.Canceled)
		b.check(t)
		if taps.at(0).ctx.Err() != nil {
			t.Fatal("cancelled under a waiter")
		}
		cancel2()
		two.want(t, true, context.Canceled)
		if taps.at(0).ctx.Err() == nil || taps.at(1).ctx.Err() == nil {
			t.Error("flights without waiters go on")
		}
		synctest.Wait()
		if st := b.Stats(); st.InFlightBytes != 0 || st.Bytes != testBlock || st.HeldBytes != 0 {
			t.Errorf("%+v", st)
		}
		s.answer = nil
		read(t, b, v, 0, 5*testBlock)
	})
}

// The one that started it leaves after others have what they want: nobody is left for the rest.
func TestRestIsCancelledWhenOthersAreServed(t *testing.T) {
	bubble(t, 64, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 10*testBlock)
		ctx, cancel := context.WithCancel(background)
		all := viewing(b, ctx, v, 0, 4*testBlock)
		synctest.Wait()
		first := viewing(b, background, v, 0, 1)
		synctest.Wait()
		cancel()
		all.want(t, true, context.Canceled)
		taps.at(0).open <- testBlock
		first.want(t, true, nil)
		if taps.at(0).ctx.Err() == nil {
			t.Error("the rest is fetched for nobody")
		}
	})
}

// A cancelled flight that has not ended yet must not fail those who come now.
func TestCancelledFlightIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		n := 0
		s := &store{answer: func(context.Context, call) (io.ReadCloser, error) {
			if n++; n == 1 {
				<-stuck // deaf to its ctx for a while
				return nil, errors.New("too late")
			}
			return nil, nil
		}}
		b := newTest(t, 64, s)
		v := object("o", 4*testBlock)
		ctx, cancel := context.WithCancel(background)
		gone := viewing(b, ctx, v, 0, 2*testBlock)
		synctest.Wait()
		cancel()
		gone.want(t, true, context.Canceled)
		read(t, b, v, 0, 3*testBlock)
		if got := s.ranges(); got != "0+2048 0+3072" {
			t.Errorf("fetched %q", got)
		}
		close(stuck)
		synctest.Wait()
		b.check(t)
	})
}

func TestEndedContext(t *testing.T) {
	s := &store{}
	b := newTest(t, 64, s)
	v := object("o", 4*testBlock)
	read(t, b, v, 0, testBlock)
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := b.View(ctx, v, 0, 2*testBlock); err != context.Canceled {
		t.Errorf("missing block: %v", err)
	}
	if view, err := b.View(ctx, v, 0, testBlock); err != nil {
		t.Errorf("present block: %v", err)
	} else {
		view.Done()
	}
	if got := s.ranges(); got != "0+1024" {
		t.Errorf("fetched %q", got)
	}
}

type failure struct{ what string }

func (f *failure) Error() string { return f.what }

func TestErrorReachesEveryWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &failure{"broken"}
		gate := make(chan struct{})
		s := &store{answer: func(context.Context, call) (io.ReadCloser, error) {
			<-gate
			return nil, broken
		}}
		b := newTest(t, 64, s)
		v := object("o", 10*testBlock)
		all := []*result{viewing(b, background, v, 0, 4*testBlock)}
		synctest.Wait()
		for i := range int64(4) {
			all = append(all, viewing(b, background, v, i*testBlock, 1))
		}
		synctest.Wait()
		close(gate)
		for _, r := range all {
			r.want(t, true, broken)
			if r.err != error(broken) {
				t.Errorf("changed to %v", r.err)
			}
		}
		if n := len(s.calls()); n != 1 {
			t.Errorf("%d fetches", n)
		}
		s.answer = nil
		read(t, b, v, 0, 4*testBlock)
	})
}

func TestBodiesThatFail(t *testing.T) {
	broken := &failure{"broken"}
	for _, c := range []struct {
		name    string
		bytes   int
		end     error
		want    error
		present int64 // whole blocks that came before
	}{
		{"empty", 0, io.EOF, io.ErrUnexpectedEOF, 0},
		{"short of a block", testBlock - 1, io.EOF, io.ErrUnexpectedEOF, 0},
		{"whole blocks", 2 * testBlock, io.EOF, io.ErrUnexpectedEOF, 2},
		{"short at the end", 4*testBlock + 6, io.EOF, io.ErrUnexpectedEOF, 4},
		{"already named", testBlock, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, 1},
		{"error at once", 0, broken, broken, 0},
		{"error in a block", 3*testBlock + 1, broken, broken, 3},
		{"error at an edge", 3 * testBlock, broken, broken, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &store{answer: func(_ context.Context, r call) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(contents(r.v, r.off, int64(c.bytes))), failing{c.end})), nil
			}}
			b := newTest(t, 64, s)
			v := object("o", 4*testBlock+7)
			if _, err := b.View(background, v, 0, int(v.Size)); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			for i := range int64(5) {
				if got := b.Contains(v, i*testBlock, 1); got != (i < c.present) {
					t.Errorf("block %d present: %v", i, got)
				}
			}
			s.answer = nil
			read(t, b, v, 0, int(v.Size))
			want := fmt.Sprintf("0+%d %d+%d", v.Size, c.present*testBlock, v.Size-c.present*testBlock)
			if got := s.ranges(); got != want {
				t.Errorf("fetched %q, want %q", got, want)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestDemandWaitsForRoom(t *testing.T) {
	bubble(t, 8, func(t *testing.T, b *Blocks, s *store, taps *valves) { // 4 blocks a flight, two of them
		v := object("o", 100*testBlock)
		ctx, cancel := context.WithCancel(background)
		one := viewing(b, background, v, 0, 4*testBlock)
		two := viewing(b, background, v, 10*testBlock, 4*testBlock)
		synctest.Wait()
		three := viewing(b, ctx, v, 20*testBlock, 4*testBlock)
		synctest.Wait()
		four := viewing(b, background, v, 30*testBlock, testBlock)
		synctest.Wait()
		joined := viewing(b, background, v, 30*testBlock+5, 10)
		four.want(t, false, nil)
		if n := taps.len(); n != 2 {
			t.Fatalf("%d fetches fly", n)
		}
		b.check(t)
		b.Prefetch(v, 50*testBlock, testBlock)
		cancel() // leaves the queue
		three.want(t, true, context.Canceled)
		b.check(t)
		taps.at(0).open <- testBlock // room for one block
		synctest.Wait()
		b.check(t)
		if n := taps.len(); n != 3 {
			t.Fatalf("%d fetches fly", n)
		}
		for i := range 3 {
			close(taps.at(i).open)
		}
		one.want(t, true, nil)
		two.want(t, true, nil)
		four.want(t, true, nil)
		joined.want(t, true, nil)
		if n := len(s.calls()); n != 3 {
			t.Errorf("%d fetches: one that was cancelled in the queue, or a prefetch while others wait, was sent", n)
		}
	})
}

// Views that are never done hold far more than the memory: reads go on, one flight at a time.
func TestHeldViewsDoNotStall(t *testing.T) {
	s := &store{}
	b := newTest(t, 8, s)
	v := object("o", 100*testBlock)
	var views []*View
	for off := int64(0); off < v.Size; off += 10 * testBlock {
		view, err := b.View(background, v, off, 10*testBlock)
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, view)
		b.check(t)
	}
	if st := b.Stats(); st.HeldBytes < 92*testBlock {
		t.Errorf("%+v", st)
	}
	b.Prefetch(object("other", 100), 0, 100)
	if n := b.Stats().InFlightBytes; n != 0 {
		t.Errorf("a prefetch of %d bytes began while Views hold all the memory", n)
	}
	for i, view := range views {
		same(t, view, v, int64(i)*10*testBlock, 10*testBlock)
		view.Done()
	}
	if st := b.Stats(); st.HeldBytes != 0 {
		t.Errorf("%+v", st)
	}
}

// Held bytes keep a second flight on the ground until Done, not for ever.
func TestDoneMakesRoom(t *testing.T) {
	bubble(t, 8, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 100*testBlock)
		s.answer = nil
		held, err := b.View(background, v, 0, 8*testBlock)
		if err != nil {
			t.Fatal(err)
		}
		s.answer = taps.answer
		one := viewing(b, background, v, 10*testBlock, 4*testBlock)
		synctest.Wait()
		two := viewing(b, background, v, 20*testBlock, 4*testBlock)
		synctest.Wait()
		if n := taps.len(); n != 1 {
			t.Fatalf("%d flights while Views hold all", n)
		}
		held.Done()
		synctest.Wait()
		if n := taps.len(); n != 2 {
			t.Fatalf("%d flights after Done", n)
		}
		close(taps.at(0).open)
		close(taps.at(1).open)
		one.want(t, true, nil)
		two.want(t, true, nil)
	})
}

func TestClose(t *testing.T) {
	bubble(t, 8, func(t *testing.T, b *Blocks, s *store, taps *valves) {
		v := object("o", 100*testBlock)
		s.answer = nil
		held, err := b.View(background, v, 90*testBlock, testBlock)
		if err != nil {
			t.Fatal(err)
		}
		s.answer = taps.answer
		all := []*result{
			viewing(b, background, v, 0, 4*testBlock),
			viewing(b, background, v, 10*testBlock, 4*testBlock),
			viewing(b, background, v, 20*testBlock, 4*testBlock), // queued
		}
		synctest.Wait()
		b.check(t)
		if err := b.Close(background); err != nil {
			t.Error(err)
		}
		for _, r := range all {
			r.want(t, true, ErrClosed)
		}
		if _, err := b.View(background, v, 90*testBlock, 1); err != ErrClosed {
			t.Errorf("View after Close: %v", err)
		}
		n := len(s.calls())
		b.Prefetch(v, 0, 100)
		synctest.Wait()
		if len(s.calls()) != n {
			t.Error("Prefetch after Close fetches")
		}
		same(t, held, v, 90*testBlock, testBlock)
		held.Done()
	})
}

func TestCloseGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		s := &store{answer: func(context.Context, call) (io.ReadCloser, error) {
			<-stuck
			return nil, nil
		}}
		b := newTest(t, 8, s)
		b.Prefetch(object("o", 100), 0, 100)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		close(stuck)
		if err := b.Close(background); err != nil {
			t.Errorf("Close again: %v", err)
		}
		if st := b.Stats(); st.Bytes != 0 {
			t.Errorf("kept after Close: %+v", st)
		}
	})
}
