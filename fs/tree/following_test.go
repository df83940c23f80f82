package tree

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pailfs/s3client/s3mem"
)

func following(t *Tree, after string, n int) string {
	var names []string
	for _, e := range t.Following(after, n) {
		name := e.Path
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestFollowing(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true}, s3mem.WithListingLag(time.Minute))
	for _, k := range []string{"d/a", "d/b-", "d/b/x", "d/c", "d/e", "top"} {
		r.object(k, "1")
	}
	r.clock.add(time.Hour)
	want := func(after string, n int, want string) {
		t.Helper()
		if got := following(r.tree, after, n); got != want {
			t.Errorf("%d after %s: %q, want %q", n, after, got, want)
		}
		r.cost("")
	}
	between := func(a, b string, n int, ok bool) {
		t.Helper()
		if got, known := r.tree.Between(a, b); got != n || known != ok {
			t.Errorf("between %s and %s: %d %v, want %d %v", a, b, got, known, n, ok)
		}
	}
	want("d/a", 3, "") // never listed
	between("d/a", "d/c", 0, false)
	r.list("d", "a b/ b- c e")
	r.cost("L1")
	want("d/a", 3, "d/b/ d/b- d/c")
	want("d/b-", 9, "d/c d/e")
	want("d/bb", 1, "d/c") // not there itself
	want("d/e", 1, "")
	want("d/a", 0, "")
	want("top", 1, "") // the root was not listed
	want("", 1, "")
	between("d/a", "d/e", 3, true)
	between("d/e", "d/a", 3, true)
	between("d/a", "d/b", 0, true)
	between("d/a", "d/b/x", 0, false)
	between("d/a", "", 0, false)
	between("d", "top", 0, false)
	// What this mount does shows at once.
	r.store("d/bb", "2")
	r.ok(r.tree.Unlink(r.ctx, "d/c"))
	_, err := r.tree.Create("d/d", Attr{Mode: 0o600})
	r.ok(err)
	r.last = r.mem.Counts()
	want("d/b-", 9, "d/bb d/d d/e")
	between("d/a", "d/e", 4, true)
	if es := r.tree.Following("d/b", 3); es[0].ETag != "" && len(es) == 3 && (!es[2].Pending || es[1].Size != 1) {
		t.Errorf("%+v", es)
	}
	r.clock.add(guessFor - time.Second)
	want("d/b-", 9, "d/bb d/d d/e") // longer ago than the TTL: good enough for a guess
	r.clock.add(time.Second)
	want("d/a", 3, "")
	between("d/a", "d/b", 0, false)
}

// Neither a look ahead nor a change in between sorts a large directory again.
func TestFollowingInALargeDirectory(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: forEver})
	const many = 5000
	for i := range many {
		r.object(fmt.Sprintf("d/%05d", i), "")
	}
	for range r.tree.List(r.ctx, "d") {
	}
	r.last = r.mem.Counts()
	for i := range many - 3 {
		if got, want := following(r.tree, fmt.Sprintf("d/%05d", i), 2), fmt.Sprintf("d/%05d d/%05d", i+1, i+2); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	if n, ok := r.tree.Between("d/00000", fmt.Sprintf("d/%05d", many-1)); !ok || n != many-2 {
		t.Error(n, ok)
	}
	r.cost("")
	if n := testing.AllocsPerRun(100, func() { r.tree.Following("d/01000", 2) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

// A listing that has not come to its end serves as far as it has come.
func TestFollowingWhileAListingGoesOn(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Minute})
	for i := range 2500 {
		r.object(fmt.Sprintf("d/f%04d", i), "x")
	}
	seen := 0
	for e, err := range r.tree.List(r.ctx, "d") {
		r.ok(err)
		if e.Path != fmt.Sprintf("d/f%04d", seen) {
			t.Fatalf("%s", e.Path)
		}
		next := r.tree.Following(e.Path, 64)
		n, ok := 0, false
		if len(next) > 0 {
			n, ok = r.tree.Between(e.Path, next[len(next)-1].Path)
		}
		// Of each page the last names wait for the next: a directory may come among them.
		if in := seen % 1000; in < 900 && seen < 2400 && (len(next) != 64 || next[0].Path != fmt.Sprintf("d/f%04d", seen+1) || !ok || n != 63) {
			t.Fatalf("behind %s: %d names, %d between, %v", e.Path, len(next), n, ok)
		}
		if _, ok := r.tree.Between(e.Path, "d/zzz"); ok && seen < 1000 {
			t.Fatal("it is known what lies beyond")
		}
		if seen++; seen == 2400 {
			break
		}
	}
	if next := r.tree.Following("d/f0100", 3); len(next) != 3 {
		t.Errorf("%v", next)
	}
	r.clock.add(guessFor + time.Minute)
	if next := r.tree.Following("d/f0100", 3); len(next) != 0 {
		t.Errorf("what was seen long ago: %v", next)
	}
}
