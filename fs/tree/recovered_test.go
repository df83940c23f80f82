package tree

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// recover hands what an earlier run's Later held to a new tree with a new Later, as a mount does.
func (l *laterFake) recover(o Options) (*rig, *laterFake) {
	n := &laterFake{queues: l.queues, seq: l.seq}
	o.Later, o.Store, o.Now = n, l.r.fault, l.r.clock.Now
	r := *l.r
	r.tree = New(o)
	n.r = &r
	r.Cleanup(r.tree.Close)
	for _, k := range l.keys() {
		for _, op := range l.queues[k] {
			r.tree.RecoveredChange(op.kind, op.bucket, op.key, op.etag, op.size, op.seq, op.h, op.body, r.clock.Now())
		}
	}
	return &r, n
}

func TestRecoveredChanges(t *testing.T) {
	for _, full := range []bool{true, false} {
		t.Run(fmt.Sprint("full=", full), func(t *testing.T) {
			o := Options{Bucket: bkt, Full: full}
			r, l := newLaterRig(t, o, s3mem.WithListingLag(5*time.Second))
			r.object("f", "hello", "color", "red")
			r.object("g", "x")
			r.object("old", "x")
			r.clock.add(time.Hour)
			r.list("", "f g old")
			r.chmod("f", 0o640)
			r.ok(r.tree.Unlink(r.ctx, "g"))
			r.mkdir("d")
			r.ok(r.tree.Unlink(r.ctx, "old"))
			r.mkdir("old")
			_, err := r.tree.Symlink(r.ctx, "l", "f", Attr{UID: 3})
			r.ok(err)
			_, err = r.tree.Mknod(r.ctx, "p", Attr{Mode: typeFifo | 0o640}, 0)
			r.ok(err)
			r.cost("L1 H1")

			r, l = l.recover(o)
			l.unsettled(6)
			for range 2 {
				if e := r.lookup("f"); e.Mode != 0o100640 || e.Size != 5 || e.ETag == "" || !e.Full {
					t.Errorf("%+v", e)
				}
				r.missing("g")
				if e := r.lookup("d"); e.Mode != 0o40750 || e.UID != 5 || !e.Full {
					t.Errorf("%+v", e)
				}
				if e := r.lookup("l"); e.Mode != typeLink|0o777 || e.UID != 3 || e.Size != 1 {
					t.Errorf("%+v", e)
				}
				if to, err := r.tree.Readlink(r.ctx, "l"); err != nil || to != "f" {
					t.Error(to, err)
				}
				if e := r.lookup("p"); e.Mode != typeFifo|0o640 || e.Size != 0 {
					t.Errorf("%+v", e)
				}
				r.lookup("old")
				r.cost("L3 H1") // f and g: the store may have others by now; where the listing shows g still, the HEAD tells
				r.clock.add(time.Hour)
			}
			r.list("", "d/ f l old/ p")
			r.cost("L1")
			r.chmod("l", 0o777)
			r.chmod("f", 0o600) // again, over what was recovered
			l.all()
			r.cost("P4 C1 D2")
			l.unsettled(0)
			r.meta("f", "color", "red")
			r.meta("f", "mode", "33152")
			r.list("", "d/ f l old/ p")
			r.clock.add(2 * time.Second)
			r.list("", "d/ f l old/ p")
			r.cost("L1")
			if got := fmt.Sprint(r.mem.Keys(bkt)); got != "[d/ f l old/ p]" {
				t.Error(got)
			}
		})
	}
}

// The two records of a name come in any order, and those of a file on top of them.
// What an earlier run was to do with a version says nothing of the one that has replaced it: that run's own, perhaps, which
// was killed between the two.
func TestRecoveredChangesOfReplacedVersions(t *testing.T) {
	o := Options{Bucket: bkt, Full: true}
	r, l := newLaterRig(t, o)
	r.object("f", "hello")
	r.object("g", "x")
	r.list("", "f g")
	r.chmod("f", 0o640)
	r.ok(r.tree.Unlink(r.ctx, "g"))
	f := r.object("f", "hello, world", "mode", "33216")
	g := r.object("g", "new")

	r, l = l.recover(o)
	if e := r.lookup("f"); e.ETag != f.ETag || e.Size != 12 || e.Mode != 0o100700 {
		t.Errorf("f: %+v", e)
	}
	if e := r.lookup("g"); e.ETag != g.ETag {
		t.Errorf("g: %+v", e)
	}
	l.giveUp(at("f"), s3client.Changed)
	l.giveUp(at("g"), s3client.Changed)
	r.list("", "f g")
	r.missing("h")
	l.unsettled(0)
}

// Later carries out what an earlier run has left while the store is asked about it: the answer is the older one.
func TestARecoveredChangeIsSettledWhileItIsAskedAbout(t *testing.T) {
	o := Options{Bucket: bkt, Full: true}
	r, l := newLaterRig(t, o)
	r.object("f", "hello")
	r.lookup("f")
	r.ok(r.tree.Unlink(r.ctx, "f"))
	r, l = l.recover(o)
	r.fault.Add(s3fault.Rule{Call: "Head", Times: 1, Hook: func(ctx context.Context, c s3fault.Call) error {
		h, err := r.mem.Head(ctx, bkt, "f")
		r.ok(err)
		r.clock.add(time.Second)
		l.settle(at("f"))
		r.object("f", "hello") // so that the answer is what it was when it was asked
		if now, err := r.mem.Head(ctx, bkt, "f"); err != nil || now.ETag != h.ETag {
			t.Error(now, err)
		}
		return nil
	}})
	r.missing("f")
}

func TestRecoveredOrder(t *testing.T) {
	type record func(tr *Tree)
	del := func(key string, seq uint64) record {
		return func(tr *Tree) {
			tr.RecoveredChange("delete", bkt, key, "e", 3, seq, s3client.Headers{}, nil, time.Time{})
		}
	}
	mark := func(key string, seq uint64) record {
		return func(tr *Tree) {
			tr.RecoveredChange("put", bkt, key, "", 0, seq, s3client.Headers{ContentType: dirContentType, Meta: map[string]string{"mode": "16832"}}, nil, time.Time{})
		}
	}
	link := func(key string, seq uint64) record {
		return func(tr *Tree) {
			tr.RecoveredChange("put", bkt, key, "", 0, seq, s3client.Headers{Meta: map[string]string{"mode": "41471"}}, []byte("to"), time.Time{})
		}
	}
	file := func(key string) record {
		return func(tr *Tree) {
			tr.RecoveredFile(bkt, key, 7, time.Unix(9, 0), s3client.Object{}, &s3client.Headers{Meta: map[string]string{"mode": "33152", "uid": "4"}})
		}
	}
	for _, c := range []struct {
		name    string
		records []record
		check   func(r *rig)
	}{
		{"a directory in place of a file", []record{del("x", 1), mark("x/", 2)}, func(r *rig) {
			if e := r.lookup("x"); e.Mode != 0o40700 {
				r.Errorf("%+v", e)
			}
		}},
		{"a link in place of a directory", []record{del("x/", 1), link("x", 2)}, func(r *rig) {
			if e := r.lookup("x"); e.Mode != typeLink|0o777 || e.Size != 2 {
				r.Errorf("%+v", e)
			}
		}},
		{"a file in place of both", []record{del("x/", 1), del("x", 2), file("x")}, func(r *rig) {
			if e := r.lookup("x"); !e.Pending || e.Size != 7 || e.UID != 4 || e.Mtime.Unix() != 9 {
				r.Errorf("%+v", e)
			}
		}},
		{"a directory with a file in it, in place of a file", []record{del("x", 1), mark("x/", 2), file("x/f")}, func(r *rig) {
			if e := r.lookup("x"); !e.IsDir() {
				r.Errorf("%+v", e)
			}
			r.lookup("x/f")
		}},
	} {
		for i := range c.records {
			for j := range c.records {
				t.Run(fmt.Sprint(c.name, i, j), func(t *testing.T) {
					r, _ := newLaterRig(t, Options{Bucket: bkt, Full: true})
					rs := append([]record(nil), c.records...)
					rs[i], rs[j] = rs[j], rs[i]
					for _, f := range rs {
						f(r.tree)
					}
					c.check(r)
					r.cost("")
					for key, seq := range map[string]uint64{"x": 1, "x/": 1} { // whichever it was, and the other
						r.tree.Settled(bkt, key, seq, s3client.Object{ETag: "n"}, nil)
						r.tree.Settled(bkt, key, seq+1, s3client.Object{ETag: "n"}, nil)
					}
					c.check(r)
					if s := r.tree.Stats(); s.Unsettled != 0 {
						t.Errorf("%+v", s)
					}
					r.cost("")
				})
			}
		}
	}
}

func TestRecoveredFiles(t *testing.T) {
	for _, full := range []bool{true, false} {
		t.Run(fmt.Sprint("full=", full), func(t *testing.T) {
			r, _ := newLaterRig(t, Options{Bucket: bkt, Full: full, UID: 8})
			base := r.object("d/changed", "hello", "mode", "33152", "color", "red")
			lost := r.object("d/lost", "x")
			r.mem.Remove(bkt, "d/lost")
			bare := r.object("d/bare", "abc", "mode", "33188", "uid", "2")
			mtime := time.Unix(99, 0)
			h := s3client.Headers{ContentType: "text/plain; charset=utf-8", Meta: map[string]string{"mode": "33184", "uid": "4", "color": "red", "mtime": "77"}}
			r.tree.RecoveredFile(bkt, "d/new.txt", 1000, mtime, s3client.Object{}, &h)
			r.tree.RecoveredFile(bkt, "d/changed", 6, mtime, base, &h)
			r.tree.RecoveredFile(bkt, "d/unknown", 3, mtime, s3client.Object{}, nil)
			r.tree.RecoveredFile(bkt, "d/bare", 4, mtime, bare, nil)
			r.tree.RecoveredFile(bkt, "d/lost", 5, mtime, lost, nil)
			if e := r.lookup("d"); !e.IsDir() {
				t.Errorf("%+v", e)
			}
			r.cost(map[bool]string{true: "L2", false: "L1"}[full]) // what it is, and whether it has a marker
			e := r.lookup("d/new.txt")
			if !e.Pending || e.Size != 1000 || e.Mode != 0o100640 || e.UID != 4 || e.Mtime.Unix() != 77 || !e.Full {
				t.Errorf("%+v", e)
			}
			if e := r.lookup("d/changed"); e.Pending || e.Size != 6 || e.ETag != base.ETag || e.Mode != 0o100640 || !e.Full {
				t.Errorf("%+v", e)
			}
			if e := r.lookup("d/unknown"); !e.Pending || e.Size != 3 || !e.Mtime.Equal(mtime) || e.UID != 8 {
				t.Errorf("%+v", e)
			}
			r.cost("")
			if e := r.lookup("d/bare"); e.Size != 4 || full && (e.UID != 2 || !e.Mtime.Equal(mtime)) {
				t.Errorf("%+v", e)
			}
			if e := r.lookup("d/lost"); e.Size != 5 {
				t.Errorf("%+v", e)
			}
			r.cost(map[bool]string{true: "H2"}[full])
			r.list("d", "bare changed lost new.txt unknown")
			r.cost("L1")
			r.fails(r.tree.Rename(r.ctx, "d", "e", false, nil), ErrBusy)
			r.last = r.mem.Counts()
			if got := r.headersOf(bkt, "d/changed", true); got.Meta["color"] != "red" || got.Meta["mtime"] != "77" || got.Meta["mode"] != "33184" {
				t.Errorf("%+v", got)
			}
			// a new one takes the type of its new name
			r.tree.RenamedPending("d/new.txt", "d/new.json")
			if got := r.headersOf(bkt, "d/new.json", false); got.ContentType != "application/json" || got.Meta["color"] != "red" || got.Meta["uid"] != "4" {
				t.Errorf("%+v", got)
			}
			r.cost("")
			r.upload("d/new.json", "hello")
			if e := r.lookup("d/new.json"); e.Pending || e.Size != 5 || e.UID != 4 {
				t.Errorf("%+v", e)
			}
			r.ok(r.tree.Unlink(r.ctx, "d/unknown"))
			r.tree.Discard("d/changed")
			r.clock.add(time.Hour)
			r.missing("d/unknown")
			if e := r.lookup("d/changed"); e.Size != 5 || full && e.Mode != 0o100600 {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestRenamedPending(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true}, s3mem.WithListingLag(5*time.Second))
	r.object("a", "old a")
	stored := r.object("b", "old b")
	r.clock.add(time.Hour)
	r.list("", "a b")
	// created over a deletion, renamed over a stored file
	r.ok(r.tree.Unlink(r.ctx, "a"))
	r.create("a")
	mtime := time.Unix(7, 0)
	r.utimens("a", mtime)
	r.tree.RenamedPending("a", "b")
	r.missing("a")
	if e := r.lookup("b"); e.Mode != 0o100600 || !e.Mtime.Equal(mtime) || e.Pending || e.ETag != stored.ETag {
		t.Errorf("%+v", e)
	}
	if h := r.headersOf(bkt, "b", true); h.Meta["mtime"] != "7" {
		t.Errorf("%+v", h)
	}
	r.cost("L1")
	l.want("delete a")
	l.settle(at("a"))
	r.clock.add(2 * time.Second) // the listing shows a still
	r.missing("a")
	r.list("", "b")
	r.cost("L2 D1")
	// and deleted: the store has what was replaced
	r.ok(r.tree.Unlink(r.ctx, "b"))
	l.want("delete b")
	r.missing("b")
	// to and fro where nothing ever was
	r.create("c")
	r.tree.RenamedPending("c", "d")
	r.missing("c")
	r.tree.RenamedPending("d", "c")
	r.missing("d")
	if e := r.lookup("c"); !e.Pending {
		t.Errorf("%+v", e)
	}
	r.tree.RenamedPending("c", "b") // over a pending deletion
	if e := r.lookup("b"); !e.Pending {
		t.Errorf("%+v", e)
	}
	r.ok(r.tree.Unlink(r.ctx, "b"))
	r.missing("b")
	l.want("delete b")
	l.all()
	r.cost("D1")
	r.clock.add(time.Minute)
	r.list("", "")
}

// A file whose upload had no answer is deleted by Later, wherever it is.
func TestLaterUnlinkUncertain(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	r.list("", "")
	r.create("f")
	r.object("f", "it has arrived")
	r.ok(r.tree.UnlinkUncertain(r.ctx, "f"))
	l.want("delete f")
	r.clock.add(time.Hour)
	r.missing("f")
	l.all()
	r.cost("L1 D1")
	r.clock.add(time.Minute)
	r.missing("f")
}

// A mount in store durability after one that left changes: these come first.
func TestRecoveredWithoutLater(t *testing.T) {
	l := &laterFake{queues: map[string][]*laterOp{}}
	r := newRig(t, Options{Bucket: bkt, Full: true, Drain: l.Drain})
	l.r = r
	for _, key := range []string{"l", "m", "n/"} {
		h := s3client.Headers{Meta: map[string]string{"mode": "41471"}}
		if isMarker(key) {
			h.Meta["mode"] = "16832"
		}
		seq, err := l.Put(r.ctx, bkt, key, h, []byte("to")[:len("to")*(1-len(key)/2)])
		r.ok(err)
		r.tree.RecoveredChange("put", bkt, key, "", 0, seq, h, l.head(at(key)).body, time.Time{})
	}
	r.list("", "l m n/")
	r.cost("L1")
	r.ok(r.tree.Unlink(r.ctx, "l"))
	r.cost("P1 D1")
	r.chmod("m", 0o700)
	r.cost("P1 C1")
	l.fault = errors.New("the store is away")
	r.fails(r.tree.Rmdir(r.ctx, "n"), l.fault)
	r.lookup("n")
	l.fault = nil
	r.ok(r.tree.Rmdir(r.ctx, "n"))
	r.list("", "m")
	if got := fmt.Sprint(r.mem.Keys(bkt)); got != "[m]" {
		t.Error(got)
	}
}
