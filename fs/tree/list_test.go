package tree

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// smallPages makes every page of a listing this long at most.
type smallPages struct {
	s3client.Store
	max int
}

func (s smallPages) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	if req.Max == 0 || req.Max > s.max {
		req.Max = s.max
	}
	return s.Store.List(ctx, req)
}

// Whatever the keys and wherever the pages end, names come once, in their order, and nothing is missing.
func TestListOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"a", "b", "-", ".", "!", "0", "~", " ", "é", "_", "A", "\t", "+", "*x"}
	for round := range 300 {
		r := newRig(t, Options{Bucket: bkt})
		want := map[string]bool{}
		for range rnd.IntN(40) {
			var b strings.Builder
			for range 1 + rnd.IntN(4) {
				b.WriteString(pieces[rnd.IntN(len(pieces))])
			}
			name := b.String()
			if name == "." || name == ".." {
				continue
			}
			switch rnd.IntN(3) {
			case 0:
				r.object("d/"+name, "x")
				want[name] = want[name] || false
			case 1:
				r.object("d/"+name+"/sub", "x")
				want[name] = true
			case 2:
				r.object("d/"+name+"/", "")
				want[name] = true
			}
		}
		if len(want) == 0 {
			continue
		}
		r.tree.o.Store = smallPages{r.mem, 1 + rnd.IntN(5)}
		var got []string
		for e, err := range r.tree.List(r.ctx, "d") {
			r.ok(err)
			_, name := split(e.Path)
			got = append(got, name)
			if e.IsDir() != want[name] {
				t.Fatalf("round %d: %q directory %v", round, name, e.IsDir())
			}
		}
		var names []string
		for name := range want {
			names = append(names, name)
		}
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Fatalf("round %d: got %q, want %q", round, got, names)
		}
		r.last = r.mem.Counts()
		r.list("d", r.names("d"))
		r.missing("d/nothing at all")
		r.cost("") // complete
	}
}

// The same with names that only the overlay has, across pages.
func TestListOrderWithChanges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for round := range 200 {
		r := newRig(t, Options{Bucket: bkt}, s3mem.WithListingLag(time.Hour))
		want := map[string]bool{}
		for i := range 30 {
			name := fmt.Sprintf("%c%s", 'a'+rune(rnd.IntN(4)), []string{"", "-", ".x", "0", "--1"}[rnd.IntN(5)])
			if want[name] {
				continue
			}
			want[name] = true
			if i == 15 {
				r.clock.add(2 * time.Hour) // what was stored so far is listed
			}
			if _, err := r.tree.Create(name, Attr{}); err == nil {
				r.upload(name, "x")
			}
		}
		for name := range want {
			if rnd.IntN(4) == 0 {
				r.ok(r.tree.Unlink(r.ctx, name))
				delete(want, name)
			}
		}
		r.tree.o.Store = smallPages{r.mem, 1 + rnd.IntN(4)}
		r.tree.Refresh("")
		if got := strings.Fields(r.names("")); len(got) != len(want) {
			t.Fatalf("round %d: %q, want %v", round, got, want)
		}
	}
}

// A directory made and removed, a file written and deleted, show up in listings that come to them late one after the
// other, although a listing in between had neither.
func TestGhosts(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Nanosecond}, s3mem.WithListingLag(5*time.Second))
	r.object("keep", "x")
	r.clock.add(time.Minute)
	_, err := r.tree.Mkdir(r.ctx, "d", Attr{})
	r.ok(err)
	r.store("f", "one")
	r.clock.add(time.Second)
	r.store("f", "two")
	r.ok(r.tree.Rmdir(r.ctx, "d"))
	r.clock.add(time.Second)
	r.ok(r.tree.Unlink(r.ctx, "f"))
	for range 80 {
		r.list("", "keep")
		r.clock.add(100 * time.Millisecond)
	}
	if keys := r.mem.Keys(bkt); len(keys) != 1 {
		t.Errorf("%q", keys)
	}
}

// A directory that listings do not show yet is renamed with all that is in it.
func TestRenameUnlisted(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt}, s3mem.WithListingLag(5*time.Second))
	_, err := r.tree.Mkdir(r.ctx, "d", Attr{})
	r.ok(err)
	r.object("d/old/x", "x")
	r.clock.add(time.Minute)
	_, err = r.tree.Mkdir(r.ctx, "d/sub", Attr{})
	r.ok(err)
	r.store("d/f", "f")
	r.store("d/sub/g", "g")
	r.ok(r.tree.Rename(r.ctx, "d", "e", false, nil))
	if got := strings.Join(r.mem.Keys(bkt), " "); got != "e/ e/f e/old/x e/sub/ e/sub/g" {
		t.Error(got)
	}
	for range 20 {
		r.list("", "e/")
		r.list("e", "f old/ sub/")
		r.list("e/old", "x")
		r.list("e/sub", "g")
		r.lookup("e/old")
		r.missing("d")
		r.clock.add(700 * time.Millisecond)
	}
}

// Ten thousand names begin with what could still be a directory: they are not held back for long.
func TestListStreams(t *testing.T) {
	for _, late := range []bool{false, true} {
		r := newRig(t, Options{Bucket: bkt})
		const n = 10000
		for i := range n {
			r.object(fmt.Sprintf("2024-%05d.txt", i), "x")
		}
		if late {
			r.object("2024/x", "x")
		}
		l := r.tree.newLister("", "")
		count, most, dirs := 0, 0, 0
		last := ""
		err := l.run(r.ctx, func(e Entry) bool {
			if e.Path <= last {
				t.Fatalf("%q after %q", e.Path, last)
			}
			last = e.Path
			if e.IsDir() {
				dirs++
			}
			count++
			most = max(most, len(l.held))
			return true
		})
		r.ok(err)
		if (dirs == 1) != late || count != n+dirs || most > heldMax+2000 {
			t.Errorf("%d entries, %d directories, %d held", count, dirs, most)
		}
	}
}

func TestListHides(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	for _, k := range []string{"ok", "/lead", ".", "..", "./x", "../x", "d//x", "d/", "d/y", "d/" + strings.Repeat("l", 256), "same", "same/x", "d/./x"} {
		r.object(k, "x")
	}
	r.list("", "d/ ok same/")
	r.list("d", "y")
	s := r.tree.Stats()
	if s.HiddenNames != 8 || s.Shadowed != 2 || len(r.tree.Hidden()) != 10 { // same, and the bytes of d/
		t.Errorf("%+v %q", s, r.tree.Hidden())
	}
	r.fails(r.tree.Rmdir(r.ctx, "d"), ErrNotEmpty)
	r.ok(r.tree.Unlink(r.ctx, "d/y"))
	r.fails(r.tree.Rmdir(r.ctx, "d"), ErrNotEmpty) // what cannot be seen is there
}

func TestListMissing(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	r.object("f", "x")
	for _, p := range []string{"nothing", "f/x"} {
		var got error
		for _, err := range r.tree.List(r.ctx, p) {
			got = err
		}
		r.fails(got, ErrNotFound)
	}
	r.lookup("f")
	for _, err := range r.tree.List(r.ctx, "f") {
		r.fails(err, ErrNotDir)
	}
	r.list("", "f")
}

// A consumer that stops early leaves no complete directory and no goroutine behind.
func TestListStopped(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	for i := range 3000 {
		r.object(fmt.Sprintf("f%04d", i), "x")
	}
	for e, err := range r.tree.List(r.ctx, "") {
		r.ok(err)
		if e.Path == "f0003" {
			break
		}
	}
	if _, s := r.tree.Known("x"); s != Unknown {
		t.Error("complete")
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var last error
	for e, err := range r.tree.List(ctx, "") {
		last = err
		if e.Path == "f0003" {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Error(last)
	}
}

// What this mount did it sees, however late listings are.
func TestListingLag(t *testing.T) {
	for _, full := range []bool{false, true} {
		r := newRig(t, Options{Bucket: bkt, Full: full}, s3mem.WithListingLag(5*time.Second))
		r.object("old", "1")
		r.object("e/x", "1")
		r.clock.add(time.Minute)
		r.lookup("old")
		_, err := r.tree.Mkdir(r.ctx, "d", Attr{Mode: 0o700})
		r.ok(err)
		r.store("d/f", "hello")
		r.store("new", "hello")
		mode := uint32(0o640)
		_, err = r.tree.SetAttr(r.ctx, "old", Change{Mode: &mode})
		r.ok(err)
		for range 12 {
			r.list("", "d/ e/ new old")
			r.list("d", "f")
			if e := r.lookup("d/f"); e.Size != 5 || e.Mode != 0o100600 {
				t.Fatalf("%+v", e)
			}
			if e := r.lookup("old"); full && e.Mode != 0o100640 {
				t.Fatalf("%+v", e)
			}
			r.clock.add(700 * time.Millisecond)
		}
		r.clock.add(time.Hour)
		// deletions, renames and overwriting, before the listings have shown anything
		r.store("new", "hello again")
		r.store("t", "t")
		r.ok(r.tree.Unlink(r.ctx, "t"))
		r.ok(r.tree.Unlink(r.ctx, "old"))
		r.ok(r.tree.Rename(r.ctx, "d", "D", false, nil))
		r.ok(r.tree.Rename(r.ctx, "e/x", "e/y", false, nil))
		r.store("u", "u")
		r.ok(r.tree.Rename(r.ctx, "u", "v", false, nil))
		_, err = r.tree.Mkdir(r.ctx, "gone", Attr{})
		r.ok(err)
		r.store("gone/x", "x")
		r.ok(r.tree.Unlink(r.ctx, "gone/x"))
		r.ok(r.tree.Rmdir(r.ctx, "gone"))
		for i := range 60 {
			r.list("", "D/ e/ new v")
			r.list("D", "f")
			r.list("e", "y")
			if e := r.lookup("new"); e.Size != 11 {
				t.Fatalf("%d: %+v", i, e)
			}
			for _, p := range []string{"old", "d", "d/f", "t", "u", "gone", "gone/x", "e/x"} {
				r.missing(p)
			}
			if e := r.lookup("D"); !e.IsDir() || full && e.Mode != 0o40700 {
				t.Fatalf("%d: %+v", i, e)
			}
			r.lookup("D/f")
			r.clock.add(700 * time.Millisecond)
		}
		// The listings have agreed to every change, and settle is over: the store has the word.
		r.list("", "D/ e/ new v")
		if s := r.tree.Stats(); s.Changes != 0 {
			r.Errorf("%d changes are still held", s.Changes)
		}
	}
}

// Others' changes are seen although this mount made changes of the same names.
func TestForeignAfterOurs(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.store("f", "ours")
	r.store("g", "ours")
	r.store("h", "ours")
	r.ok(r.tree.Unlink(r.ctx, "h"))
	r.clock.add(2 * time.Second)
	r.object("f", "theirs, longer")
	r.object("h", "theirs")
	r.clock.add(2 * time.Second)
	if e := r.lookup("f"); e.Size != 14 {
		t.Errorf("%+v", e)
	}
	if e := r.lookup("h"); e.Size != 6 {
		t.Errorf("%+v", e)
	}
	r.mem.Remove(bkt, "g")
	r.clock.add(time.Minute)
	r.missing("g")
	r.list("", "f h")
	_, err := r.tree.Mkdir(r.ctx, "d", Attr{})
	r.ok(err)
	r.mem.Remove(bkt, "d/")
	r.clock.add(time.Minute)
	r.missing("d")
	_, err = r.tree.Mkdir(r.ctx, "d", Attr{})
	r.ok(err)
	r.ok(r.tree.Rmdir(r.ctx, "d"))
	r.object("d/x", "theirs")
	r.clock.add(time.Minute)
	if e := r.lookup("d"); !e.IsDir() {
		t.Errorf("%+v", e)
	}
	r.list("d", "x")
}

// The overlay keeps within its bound, and never drops what is not stored.
func TestOverlayBound(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, MaxEntries: 20}, s3mem.WithListingLag(time.Minute))
	for i := range 30 {
		_, err := r.tree.Create(fmt.Sprintf("p%02d", i), Attr{})
		r.ok(err)
	}
	for i := range 100 {
		r.store(fmt.Sprintf("f%02d", i), "x")
	}
	if s := r.tree.Stats(); s.Changes != 50 || s.Pending != 30 || s.Attributes > 20 {
		t.Errorf("%+v", s)
	}
	r.clock.add(2 * time.Minute)
	if n := len(strings.Fields(r.names(""))); n != 130 {
		t.Errorf("%d names", n)
	}
	if s := r.tree.Stats(); s.Entries > 20 {
		t.Errorf("%+v", s)
	}
}

// An answer asked for before a change and arriving after it does not undo the change.
func TestLateAnswer(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	r.object("f", "x")
	asked, proceed := make(chan struct{}), make(chan struct{})
	late := &lateStore{Store: r.fault, asked: asked, proceed: proceed}
	r.tree.o.Store = late
	done := make(chan error)
	go func() {
		_, err := r.tree.Lookup(r.ctx, "n")
		done <- err
	}()
	<-asked
	r.clock.add(time.Millisecond)
	_, err := r.tree.Create("n", Attr{})
	r.ok(err)
	o := r.upload("n", "hello")
	close(proceed)
	r.ok(<-done) // the lookup ends after the creation: it may see it, and must not hide it
	if e := r.lookup("n"); e.ETag != o.ETag {
		t.Errorf("%+v", e)
	}
}

// lateStore holds the first listing's answer back.
type lateStore struct {
	s3client.Store
	asked, proceed chan struct{}
	once           bool
}

func (s *lateStore) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	p, err := s.Store.List(ctx, req)
	if !s.once {
		s.once = true
		close(s.asked)
		<-s.proceed
	}
	return p, err
}

// A store whose listings show new objects at once and deletions late: what was deleted, renamed or made anew here is right
// all the time, and what others delete goes when the listings say so.
func TestDeletionsAreListedLate(t *testing.T) {
	for _, full := range []bool{false, true} {
		for _, ttl := range []time.Duration{time.Second, time.Minute} {
			r := newRig(t, Options{Bucket: bkt, Full: full, TTL: ttl}, s3mem.WithDeletionLag(5*time.Second))
			for _, key := range []string{"a", "b", "c", "d/x", "d/y", "e/x", "g/h/x", "theirs"} {
				r.object(key, "1")
			}
			r.walkAll("")
			r.ok(r.tree.Unlink(r.ctx, "a"))
			r.ok(r.tree.Rename(r.ctx, "b", "B", false, nil))
			r.ok(r.tree.Unlink(r.ctx, "c"))
			r.store("c", "made anew")
			r.ok(r.tree.Rename(r.ctx, "d", "D", false, nil))
			r.ok(r.tree.Unlink(r.ctx, "e/x")) // its directory stays by a marker
			r.ok(r.tree.Unlink(r.ctx, "g/h/x"))
			r.ok(r.tree.Rmdir(r.ctx, "g/h"))
			r.ok(r.tree.Rmdir(r.ctx, "g"))
			r.mem.Remove(bkt, "theirs")
			for i := range 40 {
				rest := " theirs"
				if time.Duration(i)*300*time.Millisecond > 5*time.Second+ttl {
					rest = ""
				}
				if got := r.names(""); got != "B D/ c e/"+rest && got != "B D/ c e/" {
					t.Fatalf("%d: %s", i, got)
				}
				r.list("D", "x y")
				r.list("e", "")
				if e := r.lookup("c"); e.Size != 9 {
					t.Fatalf("%d: %+v", i, e)
				}
				for _, p := range []string{"a", "b", "d", "d/x", "e/x", "g", "g/h", "g/h/x"} {
					r.missing(p)
				}
				r.clock.add(300 * time.Millisecond)
			}
		}
	}
}
