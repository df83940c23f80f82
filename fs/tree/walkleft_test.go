package tree

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pailfs/s3client"
)

// onePageAhead is a store that answers a number of pages without delimiter, and the others when free is closed.
type onePageAhead struct {
	s3client.Store
	pages *int
	free  chan struct{}
}

func (o onePageAhead) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	if req.Delimiter == "" && req.Max == 0 {
		if *o.pages--; *o.pages < 0 {
			select {
			case <-o.free:
			case <-ctx.Done():
				return s3client.ListPage{}, ctx.Err()
			}
		}
	}
	return o.Store.List(ctx, req)
}

// walkInto lets a walk's page end in d003/sub, while nobody has asked for d003.
func (r *rig) walkInto(files int) {
	for d := range 5 {
		dir := fmt.Sprintf("d%03d/", d)
		r.object(dir+"a", "x")
		for f := range 7 {
			r.object(fmt.Sprintf("%ssub/f%04d", dir, f), "x")
		}
		r.object(dir+"z", "x")
	}
	for f := range files {
		r.object(fmt.Sprintf("d003/sub/g%04d", f), "x")
	}
	pages, free := 1, make(chan struct{})
	r.Cleanup(func() { close(free) })
	r.tree.o.Store = onePageAhead{smallPages{r.tree.o.Store, 20}, &pages, free}
	r.names("")
	r.names("d000")
	r.names("d001")
}

// What was made or removed here after a walk had read a directory in part is in its listing, which begins with that part.
func TestWalkLeavesADirectoryThatWasChangedHere(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Hour})
	r.walkInto(0)
	r.clock.add(time.Second)
	_, err := r.tree.Create("d003/new", Attr{})
	r.ok(err)
	r.ok(r.tree.Unlink(r.ctx, "d003/a"))
	r.store("d003/b", "x")
	r.list("d003", "b new sub/ z")
}

// A walk goes on for long: what it has held of a directory for longer than the TTL is not the directory's listing.
func TestWalkLeavesADirectoryThatItReadLongAgo(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
	r.walkInto(100)
	*r.tree.o.Store.(onePageAhead).pages = 3
	r.clock.add(time.Second)
	r.object("d003/b", "x")
	r.clock.add(50 * time.Second)
	r.names("d003/sub") // its pages are new
	r.clock.add(20 * time.Second)
	r.list("d003", "a b sub/ z")
}

// What is to be asked for anew is not told by what a walk has read before.
func TestWalkLeavesADirectoryThatWasForgotten(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Hour})
	r.walkInto(0)
	r.object("d003/b", "x")
	r.tree.Refresh("d003")
	r.list("d003", "a b sub/ z")
}
