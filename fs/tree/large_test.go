package tree

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pailfs/s3client"
)

// counting counts what an endless store is asked.
type counting struct {
	endless
	lists atomic.Int64
}

func (s *counting) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	s.lists.Add(1)
	return s.endless.List(ctx, req)
}

// largeRig is a directory of n names, of which so many are remembered.
type largeRig struct {
	*testing.T
	n     int
	tree  *Tree
	store *counting
	now   *clock
}

func newLargeRig(t *testing.T, n, remembered int, ttl time.Duration) *largeRig {
	s, c := &counting{endless: endless{n: n}}, &clock{now: time.Unix(1.7e9, 0)}
	r := &largeRig{t, n, New(Options{Bucket: bkt, TTL: ttl, MaxEntries: remembered, Store: s, Now: c.Now}), s, c}
	t.Cleanup(r.tree.Close)
	return r
}

func (r *largeRig) look(from, to int) {
	for i := from; i < to; i++ {
		if e, err := r.tree.Lookup(r.Context(), endlessKey(i)); err != nil || e.Size != int64(i) {
			r.Errorf("%s: %d bytes, %v", endlessKey(i), e.Size, err)
			return
		}
	}
}

// list lists everything, and calls each with how many names it has seen.
func (r *largeRig) list(each func(n int)) {
	r.Helper()
	n := 0
	for e, err := range r.tree.List(r.Context(), endlessDir) {
		if err != nil || e.Path != endlessKey(n) {
			r.Fatalf("name %d is %s, %v", n, e.Path, err)
		}
		n++
		each(n)
	}
	if n != r.n {
		r.Errorf("%d names", n)
	}
}

func (r *largeRig) cost(what string, lists int64) {
	r.Helper()
	if n := r.store.lists.Swap(0); n != lists {
		r.Errorf("%s: %d LISTs instead of %d", what, n, lists)
	}
}

// ls reads a buffer of names and asks what they are, and so on: a LIST a page, and one more for what all the names begin
// with (another page of "part" might show the directory "part").
func TestLsOfMoreNamesThanAreRemembered(t *testing.T) {
	r := newLargeRig(t, 100_000, 52_000, time.Hour)
	r.list(func(n int) {
		if n%1300 == 0 || n == r.n {
			r.look((n-1)/1300*1300, n)
		}
	})
	r.cost("listed and looked up", 101)
}

// A directory of more names than are remembered: whoever looks all of them up in their order, after a listing or without,
// has a page a thousand read.
func TestMoreNamesThanAreRemembered(t *testing.T) {
	for _, remembered := range []int{6000, 15_000, 60_000} {
		r := newLargeRig(t, 20_000, remembered, time.Hour)
		again, look := int64(21), int64(20+3)
		if remembered > 2*r.n {
			again, look = 0, 0
		}
		r.list(func(int) {})
		r.cost("listed", 21)
		r.list(func(int) {})
		r.cost("listed again", again)
		r.look(0, r.n)
		r.cost("looked up", look)
		r.tree.Refresh(endlessDir)
		r.look(0, r.n)
		r.cost("looked up without a listing", 20+2)
		if n := r.tree.entries.Len(); n > remembered {
			t.Errorf("%d names remembered of at most %d", n, remembered)
		}
	}
}

// Several at different places, and slowly: the TTL goes by before a page is used up.
func TestManyWhoLookNamesUpInOrder(t *testing.T) {
	r := newLargeRig(t, 20_000, 10_000, 5*time.Second)
	r.list(func(int) {})
	r.store.lists.Store(0)
	for i := range 5000 { // three in turns: each is found to be one by two names, and has a page left over
		for at := range 3 {
			r.look(at*6000+i, at*6000+i+1)
		}
	}
	r.cost("three, each 5,000 names", 3*(2+6))
	r = newLargeRig(t, 20_000, 10_000, 5*time.Second)
	r.list(func(int) {})
	r.store.lists.Store(0)
	for i := range 5000 { // 500 names a TTL
		r.look(i, i+1)
		r.now.add(10 * time.Millisecond)
	}
	r.cost("slowly", 2+10)
}

// Many at once, each with every eighth name: how many LISTs depends on who comes first, but is far from a LIST a name.
func TestManyWhoShareARun(t *testing.T) {
	r := newLargeRig(t, 20_000, 10_000, time.Hour)
	r.list(func(int) {})
	r.store.lists.Store(0)
	const n, many = 4000, 8
	for i := 0; i < n; i += many {
		var all sync.WaitGroup
		for j := range many {
			all.Go(func() { r.look(i+j, i+j+1) })
		}
		all.Wait()
	}
	if l := r.store.lists.Load(); l > n/10 {
		t.Errorf("%d LISTs for %d names", l, n)
	}
}
