package tree

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// walkAll lists a directory and all below it as ls -R does, and gives the paths; directories end in a slash.
func (r *rig) walkAll(dir string) (paths []string) {
	r.Helper()
	var dirs []string
	for e, err := range r.tree.List(r.ctx, dir) {
		r.ok(err)
		if e.IsDir() {
			dirs = append(dirs, e.Path)
			paths = append(paths, e.Path+"/")
		} else {
			paths = append(paths, e.Path)
		}
	}
	for _, d := range dirs {
		paths = append(paths, r.walkAll(d)...)
	}
	return paths
}

// fill makes dirs of so many files.
func (r *rig) fill(prefix string, dirs, files int) {
	for d := range dirs {
		for f := range files {
			r.object(fmt.Sprintf("%sd%03d/f%04d", prefix, d, f), "x")
		}
	}
}

// Ten thousand objects in a hundred directories: one LIST for the parent, one for the first directory, then pages.
func TestWalkCosts(t *testing.T) {
	for _, prefix := range []string{"", "p/", "p/q/"} {
		r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
		r.fill(prefix, 100, 100)
		r.last = r.mem.Counts()
		if n := len(r.walkAll(strings.TrimSuffix(prefix, "/"))); n != 10100 {
			t.Errorf("%d names", n)
		}
		r.cost("L12")
		r.walkAll("")
		if prefix == "" {
			r.cost("") // within the TTL
		}
		r.missing(prefix + "d050/nothing")
		r.lookup(prefix + "d099/f0099")
	}
}

// After the TTL a walk begins at once, and its pages serve as long as they are fresh: who takes his time costs a page each
// TTL at most, or a LIST a directory.
func TestWalkAgain(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Second})
	r.fill("", 50, 100)
	r.walkAll("")
	r.last = r.mem.Counts()
	r.clock.add(2 * time.Second)
	r.walkAll("")
	r.cost("L6")
	for d := range 50 {
		r.clock.add(2 * time.Second)
		r.list(fmt.Sprintf("d%03d", d), r.names(fmt.Sprintf("d%03d", d)))
	}
	now := r.mem.Counts()
	if n := now.Sub(r.last).List; n > 52 {
		t.Errorf("%d LISTs", n)
	}
}

// A hundred directories in each of which nobody walks further down, with many more below each: a LIST each and no more
// than a few pages in vain.
func TestWalkThatLeavesOut(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
	for d := range 100 {
		r.fill(fmt.Sprintf("p%02d/sub/", d), 3, 500)
	}
	r.last = r.mem.Counts()
	r.names("")
	for d := range 100 {
		r.list(fmt.Sprintf("p%02d", d), "sub/")
	}
	now := r.mem.Counts()
	if n := now.Sub(r.last).List; n > 101+walkPoor+1 {
		t.Errorf("%d LISTs", n)
	}
}

// Directories of more than a page: no page is read twice.
func TestWalkThroughLargeDirectories(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
	r.fill("", 8, 5500)
	r.last = r.mem.Counts()
	if n := len(r.walkAll("")); n != 8*5501 {
		t.Errorf("%d names", n)
	}
	if n := r.mem.Counts().Sub(r.last).List; n > 1+8*6 {
		t.Errorf("%d LISTs", n)
	}
}

// Whatever the keys, the pages and the walker's order, what a walk tells is what is there; and it costs little more than a
// LIST a directory at the worst.
func TestWalkTellsTheTruth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	pieces := []string{"a", "b", "-", "a-", "0", "é", "a.b", ".", "..", "", "c"}
	saved, dirs := 0, 0
	for round := range 400 {
		r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
		for range 5 + rnd.IntN(60) {
			var parts []string
			for range 1 + rnd.IntN(5) {
				parts = append(parts, pieces[rnd.IntN(len(pieces))])
			}
			key := strings.Join(parts, "/")
			if rnd.IntN(5) == 0 {
				key += "/"
			}
			if key != "" {
				r.object(key, "x")
			}
		}
		plain := New(Options{Bucket: bkt, TTL: -1, Store: r.mem, Now: r.clock.Now})
		truth := &rig{T: t, ctx: r.ctx, mem: r.mem, tree: plain}
		before := r.mem.Counts().List
		want := truth.walkAll("")
		cost := r.mem.Counts().List - before
		pageSize := 2 + rnd.IntN(20)
		r.tree.o.Store = smallPages{r.mem, pageSize}
		before = r.mem.Counts().List
		if rnd.IntN(2) == 0 {
			if got := r.walkAll(""); !slices.Equal(got, want) {
				t.Fatalf("round %d: got %q\nwant %q\nkeys %q", round, got, want, r.mem.Keys(bkt))
			}
			if pageSize > 12 {
				saved += int(cost - (r.mem.Counts().List - before))
				dirs++
			}
		}
		for range 30 { // at random, and some things change
			p := want[rnd.IntN(len(want))]
			dir := strings.TrimSuffix(p, "/")
			if dir == p {
				dir, _ = split(p)
			}
			if got, should := r.names(dir), truth.names(dir); got != should {
				t.Fatalf("round %d: %s: got %q, want %q", round, dir, got, should)
			}
			if rnd.IntN(10) == 0 {
				r.clock.add(2 * time.Minute)
			}
		}
		plain.Close()
	}
	if saved < 0 {
		t.Errorf("%d LISTs more than one a directory", -saved)
	}
}

// What this mount did is in what walks tell, whatever the store's listings show yet.
func TestWalkWithLag(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Second}, s3mem.WithListingLag(5*time.Second))
	r.fill("", 6, 20)
	r.clock.add(time.Minute)
	want := map[string]bool{}
	for _, p := range r.walkAll("") {
		want[p] = true
	}
	r.clock.add(time.Minute)
	rnd := rand.New(rand.NewPCG(9, 10))
	for range 60 {
		d := rnd.IntN(6)
		p := fmt.Sprintf("d%03d/f%04d", d, rnd.IntN(30))
		switch {
		case want[p]:
			r.ok(r.tree.Unlink(r.ctx, p))
			delete(want, p)
		case rnd.IntN(4) > 0:
			r.store(p, "new")
			want[p] = true
		default:
			_, err := r.tree.Create(p, Attr{}) // pending
			r.ok(err)
			want[p] = true
		}
		r.clock.add(1100 * time.Millisecond)
		got := r.walkAll("")
		if len(got) != len(want) {
			t.Fatalf("%q\nwant %d", got, len(want))
		}
		for _, p := range got {
			if !want[p] {
				t.Fatalf("%s is shown", p)
			}
		}
	}
}

// An error of a walk's page is no answer: the directory is asked for by itself, and its error is the program's.
func TestWalkErrors(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
	r.fill("", 20, 100)
	r.names("")
	r.names("d000")
	r.last = r.mem.Counts()
	r.fault.Add(s3fault.Rule{Call: "List", Before: s3client.Temporary, Times: 1})
	r.names("d001")
	r.cost("L1")
	r.fault.Add(s3fault.Rule{Call: "List", Before: s3client.Denied})
	for _, err := range r.tree.List(r.ctx, "d002") {
		r.fails(err, s3client.Denied)
	}
	r.fault.Clear()
	r.list("d003", r.names("d003"))
}

// meanwhile is a store on which something happens between a listing and its answer.
type meanwhile struct {
	s3client.Store
	happens func(s3client.ListRequest)
}

func (m meanwhile) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	p, err := m.Store.List(ctx, req)
	m.happens(req)
	return p, err
}

// What was changed, renamed or forgotten while a page was on its way is not known by that page.
func TestWalkAndChanges(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
	r.fill("", 9, 3)
	r.names("")
	r.names("d000")
	store, first := r.tree.o.Store, true
	r.tree.o.Store = meanwhile{store, func(req s3client.ListRequest) {
		if req.Delimiter == "/" || !first {
			return
		}
		first = false
		r.ok(r.tree.Unlink(r.ctx, "d001/f0000"))
		r.ok(r.tree.Rename(r.ctx, "d002", "e", false, nil))
		_, err := r.tree.Mkdir(r.ctx, "d004/new", Attr{})
		r.ok(err)
		r.store("d005/new", "x")
		_, err = r.tree.Create("d006/new", Attr{})
		r.ok(err)
		r.object("d003/theirs", "x")
		r.tree.Refresh("d003")
	}}
	r.list("d001", "f0001 f0002")
	if first {
		t.Fatal("no page without delimiter")
	}
	for _, err := range r.tree.List(r.ctx, "d002") {
		r.fails(err, ErrNotFound)
	}
	r.list("e", "f0000 f0001 f0002")
	r.list("d003", "f0000 f0001 f0002 theirs")
	r.list("d004", "f0000 f0001 f0002 new/")
	r.list("d005", "f0000 f0001 f0002 new")
	r.list("d006", "f0000 f0001 f0002 new")
	r.list("", "d000/ d001/ d003/ d004/ d005/ d006/ d007/ d008/ e/")
	r.missing("d001/f0000")
	r.lookup("d004/new")
}

// The stat of one directory after the other, with attributes: markers come by the same pages.
func TestWalkMarkers(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute, Full: true})
	r.fill("", 50, 100)
	for d := range 5 {
		r.object(fmt.Sprintf("d%03d/", 10*d), "", "mode", "16832") // 040700
	}
	r.last = r.mem.Counts()
	r.names("")
	for d := range 50 {
		e := r.lookup(fmt.Sprintf("d%03d", d))
		want := uint32(0o40755)
		if d%10 == 0 {
			want = 0o40700
		}
		if !e.Full || e.Mode != want {
			t.Errorf("d%03d: %o, full %v", d, e.Mode, e.Full)
		}
	}
	r.cost("L7 H5") // the parent, the first directory's marker, 4,905 keys
	for d := 1; d < 50; d++ {
		r.names(fmt.Sprintf("d%03d", d))
	}
	r.cost("")
}

// Many walk at once, in different orders, while files come and go and time passes.
func TestWalkAtOnce(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Second})
	r.fill("", 30, 40)
	r.fill("d005/", 10, 10)
	r.tree.o.Store = smallPages{r.mem, 50}
	var walkers sync.WaitGroup
	for i := range 8 {
		walkers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for range 60 {
				d := rnd.IntN(30)
				for range rnd.IntN(8) {
					d = (d + 1) % 30
					dir, n := fmt.Sprintf("d%03d", d), 0
					for e, err := range r.tree.List(r.ctx, dir) {
						if err != nil {
							t.Error(err)
						}
						if !strings.Contains(e.Path, "new") {
							n++
						}
					}
					want := 40
					if d == 5 {
						want = 50
					}
					if n != want {
						t.Errorf("%s: %d names", dir, n)
					}
				}
				if i == 0 {
					r.clock.add(300 * time.Millisecond)
					r.tree.Refresh(fmt.Sprintf("d%03d", d))
				}
				p := fmt.Sprintf("d%03d/new%d", d, i)
				if _, err := r.tree.Create(p, Attr{}); err == nil && rnd.IntN(2) == 0 {
					r.tree.Discard(p)
				}
			}
		})
	}
	walkers.Wait()
}

// ls -lR asks for the markers of all directories before it lists the first: the pages that told of them are not read again.
func TestWalkForMarkersServesListings(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute, Full: true})
	r.fill("", 100, 100)
	r.last = r.mem.Counts()
	r.names("")
	for d := range 100 {
		r.lookup(fmt.Sprintf("d%03d", d))
	}
	r.cost("L12") // the root, the first one's marker, ten pages
	for d := range 100 {
		r.names(fmt.Sprintf("d%03d", d))
	}
	r.cost("L1")
}
