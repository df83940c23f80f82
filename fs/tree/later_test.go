package tree

import (
	"fmt"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// What tar does to a new directory costs nothing until it is settled, and then one request an object.
func TestLaterCosts(t *testing.T) {
	for _, full := range []bool{true, false} {
		t.Run(fmt.Sprint("full=", full), func(t *testing.T) {
			r, l := newLaterRig(t, Options{Bucket: bkt, Full: full})
			r.list("", "")
			r.cost("L1")
			mtime := time.Unix(1000, 0)
			r.mkdir("d")
			r.chmod("d", 0o700)
			r.missing("d/f")
			r.create("d/f")
			r.utimens("d/f", mtime)
			_, err := r.tree.Symlink(r.ctx, "d/l", "f", Attr{UID: 3})
			r.ok(err)
			uid := uint32(9)
			_, err = r.tree.SetAttr(r.ctx, "d/l", Change{UID: &uid, Mtime: &mtime})
			r.ok(err)
			_, err = r.tree.Mknod(r.ctx, "d/p", Attr{Mode: typeFifo | 0o640}, 0)
			r.ok(err)
			r.chmod("d/p", 0o600)
			r.mkdir("d/e")
			r.utimens("d", mtime)
			r.clock.add(time.Hour) // whatever the TTL
			r.list("d", "e/ f l p")
			if e := r.lookup("d"); e.Mode != 0o40700 || e.UID != 5 || !e.Mtime.Equal(mtime) || !e.Full {
				t.Errorf("%+v", e)
			}
			if e := r.lookup("d/l"); e.Mode != typeLink|0o777 || e.UID != 9 || e.Size != 1 || !e.Mtime.Equal(mtime) {
				t.Errorf("%+v", e)
			}
			if to, err := r.tree.Readlink(r.ctx, "d/l"); err != nil || to != "f" {
				t.Error(to, err)
			}
			if e := r.lookup("d/p"); e.Mode != typeFifo|0o600 {
				t.Errorf("%+v", e)
			}
			r.missing("d/nothing")
			r.list("d/e", "")
			r.fails(r.tree.Rmdir(r.ctx, "d"), ErrNotEmpty)
			r.cost("")
			l.want("put d/, put d/e/, put d/l, put d/p")
			l.unsettled(4)
			l.all()
			r.cost("P4")
			l.unsettled(0)
			r.meta("d/", "mode", "16832")
			r.meta("d/l", "uid", "9")
			r.meta("d/p", "mode", "4480")
			if to, err := r.tree.Readlink(r.ctx, "d/l"); err != nil || to != "f" {
				t.Error(to, err)
			}
			r.lookup("d/p")
			r.list("d/e", "")
			r.cost("L1") // made an hour ago: the settlement made it one of now, what is in it is as old as before
			r.clock.add(2 * time.Second)
			r.list("d", "e/ f l p")
			if e := r.lookup("d/l"); e.UID != 9 || e.Mode != typeLink|0o777 {
				t.Errorf("%+v", e)
			}
			r.cost("L1") // the versions are known: no HEAD
		})
	}
}

func TestLaterUnlink(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true}, s3mem.WithListingLag(5*time.Second))
	o := r.object("d/f", "hello")
	r.object("d/g", "x")
	r.clock.add(time.Hour)
	r.list("d", "f g")
	r.cost("L1")
	r.ok(r.tree.Unlink(r.ctx, "d/f"))
	if op := l.head(at("d/f")); op.etag != o.ETag {
		t.Errorf("the deletion is of %q", op.etag)
	}
	r.missing("d/f")
	r.list("d", "g")
	r.cost("")
	r.clock.add(30 * time.Minute) // no listing is asked about it, and nothing drops it
	r.list("d", "g")
	r.missing("d/f")
	r.cost("L1")
	r.tree.Refresh("")
	r.list("d", "g")
	r.cost("L1")
	// a file over it, which goes again before it is stored
	r.create("d/f")
	r.list("d", "f g")
	l.unsettled(1)
	r.ok(r.tree.Unlink(r.ctx, "d/f"))
	r.missing("d/f")
	r.create("d/f")
	r.tree.Discard("d/f")
	r.missing("d/f")
	r.cost("")
	r.clock.add(time.Hour)
	r.missing("d/f")
	r.list("d", "g")
	r.cost("L1")
	l.settle(at("d/f"))
	r.cost("D1")
	l.unsettled(0)
	r.clock.add(2 * time.Second) // the listing lags, the deletion outweighs it
	r.list("d", "g")
	r.missing("d/f")
	r.cost("L1")
	// the last name: the directory gets a marker, which goes with it
	r.ok(r.tree.Unlink(r.ctx, "d/g"))
	l.want("put d/, delete d/g")
	r.lookup("d")
	r.list("d", "")
	r.cost("")
	r.ok(r.tree.Rmdir(r.ctx, "d"))
	r.missing("d")
	r.list("", "")
	r.cost("L1")
	l.want("delete d/, delete d/g")
	l.all()
	r.cost("D2")
	r.missing("d")
	if keys := r.mem.Keys(bkt); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

// A file over a deletion: what is settled of the deletion does not touch it.
func TestLaterCreateOverDeletion(t *testing.T) {
	for _, order := range []string{"settled", "stored", "given up"} {
		t.Run(order, func(t *testing.T) {
			r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
			r.object("f", "old")
			r.list("", "f")
			r.ok(r.tree.Unlink(r.ctx, "f"))
			r.create("f")
			switch order {
			case "settled":
				l.settle(at("f"))
			case "stored":
				l.hold(at("f"), func() { r.upload("f", "hello") })
				r.tree.Settled(bkt, "f", 1, s3client.Object{}, nil) // late
				if e := r.lookup("f"); e.Size != 5 || e.Pending {
					t.Errorf("%+v", e)
				}
				return
			case "given up":
				l.giveUp(at("f"), s3client.Changed)
			}
			if e := r.lookup("f"); !e.Pending {
				t.Errorf("%+v", e)
			}
			r.cost(map[string]string{"settled": "L1 D1", "given up": "L1"}[order])
			r.ok(r.tree.Unlink(r.ctx, "f"))
			r.clock.add(2 * time.Second)
			if order == "settled" {
				r.missing("f")
			} else if e := r.lookup("f"); e.Size != 3 { // the store has it still
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestLaterSetAttr(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true}, s3mem.WithListingLag(5*time.Second))
	o := r.object("f", "hello", "color", "red", "mode", "33152")
	r.clock.add(time.Hour)
	r.lookup("f")
	r.cost("L1 H1")
	if e := r.chmod("f", 0o640); e.Mode != 0o100640 || e.ETag != o.ETag || e.Size != 5 {
		t.Errorf("%+v", e)
	}
	r.utimens("f", time.Unix(7, 0))
	l.want("headers f")
	if op := l.head(at("f")); op.etag != o.ETag || op.size != 5 || op.h.Meta["color"] != "red" || op.h.Meta["mode"] != "33184" {
		t.Errorf("%+v", op)
	}
	r.clock.add(time.Hour)
	if e := r.lookup("f"); e.Mode != 0o100640 || e.Mtime.Unix() != 7 {
		t.Errorf("%+v", e)
	}
	r.chmod("f", 0o640) // as it is
	r.cost("")
	l.settle(at("f"))
	r.cost("C1")
	r.meta("f", "mode", "33184")
	r.meta("f", "color", "red")
	for range 8 { // listings that show it as it was, then as it is
		r.clock.add(2 * time.Second)
		if e := r.lookup("f"); e.Mode != 0o100640 || e.Mtime.Unix() != 7 {
			t.Fatalf("%+v", e)
		}
	}
	r.clock.add(time.Hour)
	r.lookup("f")
	r.cost("L9")
	// attributes again while the first ones are on their way
	r.chmod("f", 0o600)
	l.begin(at("f"))
	r.chmod("f", 0o666)
	l.want("headers f, headers f")
	l.finish(at("f"))
	l.unsettled(1)
	if e := r.lookup("f"); e.Mode != 0o100666 {
		t.Errorf("%+v", e)
	}
	l.all()
	l.unsettled(0)
	r.meta("f", "mode", "33206")
	r.cost("C2")
	// deleted while they are on their way
	r.chmod("f", 0o644)
	r.ok(r.tree.Unlink(r.ctx, "f"))
	l.want("delete f")
	l.all()
	r.missing("f")
	r.cost("D1")
}

// Content on top of attributes that wait.
func TestLaterContentOverAttributes(t *testing.T) {
	for _, order := range []string{"discard", "settle, discard", "give up, discard", "store", "settle, store"} {
		t.Run(order, func(t *testing.T) {
			r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
			r.object("f", "hello", "color", "red", "mode", "33152")
			r.lookup("f")
			r.chmod("f", 0o640)
			r.clock.add(time.Minute)
			r.tree.Written("f", r.clock.Now())
			r.chmod("f", 0o660) // travels with the content
			r.cost("L1 H1")
			l.unsettled(1)
			l.want("headers f")
			var perm uint32 = 0o640
			switch order {
			case "discard":
				r.tree.Discard("f")
				l.unsettled(1)
				r.tree.Discard("f") // of what is not content's
				l.unsettled(1)
				r.cost("")
			case "settle, discard":
				l.settle(at("f"))
				r.tree.Discard("f")
				r.cost("C1")
			case "give up, discard":
				l.giveUp(at("f"), s3client.Changed)
				if e := r.lookup("f"); e.Mode != 0o100660 {
					t.Errorf("%+v", e)
				}
				r.tree.Discard("f")
				perm = 0o600
			case "settle, store":
				l.settle(at("f"))
				fallthrough
			case "store":
				l.hold(at("f"), func() { r.upload("f", "hello!") })
				r.meta("f", "color", "red")
				r.meta("f", "mode", "33200")
				perm = 0o660
				l.unsettled(0)
			}
			if e := r.lookup("f"); e.Mode != 0o100000|perm {
				t.Errorf("%+v", e)
			}
			l.all()
			r.tree.Refresh("")
			r.clock.add(time.Hour)
			if e := r.lookup("f"); e.Mode != 0o100000|perm {
				t.Errorf("%+v", e)
			}
		})
	}
}

// What waits under both names is in the store before the rename begins.
func TestLaterRename(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "hello", "mode", "33152")
	r.object("plain", "x")
	r.list("", "f plain")
	r.ok(r.tree.Rename(r.ctx, "plain", "moved", false, nil))
	if len(l.drains) != 0 {
		t.Error("drained:", l.drains)
	}
	r.cost("L1 H1 C1 D1")
	r.lookup("f")
	r.chmod("f", 0o640)
	_, err := r.tree.Symlink(r.ctx, "g", "f", Attr{})
	r.ok(err)
	r.cost("H1")
	r.ok(r.tree.Rename(r.ctx, "f", "g", false, nil))
	r.cost("P1 C2 D1")
	r.meta("g", "mode", "33184")
	r.missing("f")
	r.mkdir("d")
	r.mkdir("d/e")
	_, err = r.tree.Symlink(r.ctx, "d/l", "f", Attr{})
	r.ok(err)
	r.mkdir("t")
	r.cost("")
	r.ok(r.tree.Rename(r.ctx, "d", "t", false, nil))
	l.want("")
	l.unsettled(0)
	r.missing("d")
	r.list("t", "e/ l")
	if to, err := r.tree.Readlink(r.ctx, "t/l"); err != nil || to != "f" {
		t.Error(to, err)
	}
	if got := fmt.Sprint(l.drains); got != "[bucket/f bucket/g bucket/d/ bucket/t/]" {
		t.Error("drained:", got)
	}
	if got := fmt.Sprint(r.mem.Keys(bkt)); got != "[g moved t/ t/e/ t/l]" {
		t.Error(got)
	}
	// a file that content has not stored keeps its directory where it is
	r.create("t/p")
	r.fails(r.tree.Rename(r.ctx, "t", "u", false, nil), ErrBusy)
}

func TestLaterSlashlessMarker(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	r.object("d", "", "content-type", "application/directory")
	r.lookup("d")
	r.list("d", "")
	r.ok(r.tree.Rmdir(r.ctx, "d"))
	l.want("delete d, delete d/")
	l.settle(at("d/"))
	l.unsettled(1)
	r.clock.add(time.Hour)
	r.missing("d")
	l.settle(at("d"))
	l.unsettled(0)
	r.missing("d")
	if keys := r.mem.Keys(bkt); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

func TestLaterKnownEmpty(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	for _, d := range []string{"a", "b"} {
		for i := range 3 {
			r.object(fmt.Sprintf("%s/f%d", d, i), "x")
		}
	}
	r.object("odd//x", "x")
	for _, d := range []string{"a", "b"} { // rm -r
		r.list(d, "f0 f1 f2")
		for i := range 3 {
			r.ok(r.tree.Unlink(r.ctx, fmt.Sprintf("%s/f%d", d, i)))
		}
		r.ok(r.tree.Rmdir(r.ctx, d))
	}
	r.cost("L2") // the listings
	r.list("odd", "")
	r.fails(r.tree.Rmdir(r.ctx, "odd"), ErrNotEmpty) // what no path reaches lives there
	r.list("", "odd/")
	l.all()
	if got := fmt.Sprint(r.mem.Keys(bkt)); got != "[odd//x]" {
		t.Error(got)
	}
	r.list("", "odd/")
}

func TestLaterBuckets(t *testing.T) {
	r, l := newLaterRig(t, Options{Full: true})
	r.list("", bkt+"/")
	r.mkdir(bkt + "/d")
	r.ok(r.tree.Rmdir(r.ctx, bkt+"/d"))
	l.want("delete d/")
	r.cost("L2") // the buckets, and whether there is a d
	r.ok(r.tree.Rmdir(r.ctx, bkt))
	l.want("")
	if got := fmt.Sprint(l.drains); got != "[bucket/]" {
		t.Error(got)
	}
	r.list("", "")
}
