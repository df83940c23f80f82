package tree

import (
	"testing"
	"time"

	"pailfs/s3client/s3mem"
)

const forEver = 100 * 365 * 24 * time.Hour

// With a TTL for ever nothing is asked twice, for years, and what this mount does is seen all the same.
func TestTTLForEver(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: forEver}, s3mem.WithListingLag(time.Minute))
	r.object("d/a", "1", "mode", "33152")
	r.object("d/b", "1")
	r.clock.add(time.Hour)
	r.list("d", "a b")
	r.lookup("d")
	r.lookup("d/a")
	r.missing("d/nothing")
	r.cost("L2 H1")
	for range 3 {
		r.clock.add(20 * 365 * 24 * time.Hour)
		r.list("d", "a b")
		r.lookup("d")
		r.lookup("d/a")
		r.missing("d/nothing")
		r.cost("")
	}
	r.store("d/c", "mine")
	r.ok(r.tree.Unlink(r.ctx, "d/b"))
	r.cost("P1 D1")
	for range 3 {
		r.list("d", "a c")
		r.clock.add(time.Hour) // nobody contradicts: the changes are known for good
	}
	r.lookup("d/c")
	r.missing("d/b")
	r.cost("")
	r.tree.Refresh("")
	r.list("d", "a c")
	r.cost("L1")
}

// A change made here that listings never bore out is not taken for the store's word when its time is over.
func TestDoubtedChangeIsAskedFor(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: forEver})
	r.object("d/keep", "1")
	r.store("d/mine", "1")
	r.mem.Remove(bkt, "d/mine") // somebody deletes it at once
	r.clock.add(time.Second)
	r.list("d", "keep mine") // the listing may lag
	r.last = r.mem.Counts()
	r.clock.add(keepFor + time.Second)
	r.missing("d/mine")
	r.list("d", "keep")
	r.cost("L2")
}

func TestDoubtedDeletionIsAskedFor(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: forEver})
	r.object("d/keep", "1")
	r.object("d/f", "1")
	r.lookup("d/f")
	r.ok(r.tree.Unlink(r.ctx, "d/f"))
	r.clock.add(-time.Minute)
	r.object("d/f", "by a clock that is slow")
	r.clock.add(time.Minute + time.Second)
	r.list("d", "keep")
	r.last = r.mem.Counts()
	r.clock.add(keepFor + time.Second)
	if e := r.lookup("d/f"); e.Size != 23 {
		t.Errorf("%+v", e)
	}
	r.cost("L1")
}

// Refresh asks for what was changed here too.
func TestRefreshAsksAboutOwnChanges(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: forEver})
	r.store("d/f", "1")
	r.clock.add(time.Second)
	r.mem.Remove(bkt, "d/f")
	r.lookup("d/f")
	r.cost("P1")
	r.tree.Refresh("d")
	r.missing("d/f")
	r.cost("L1 H1")
}

// A directory that lives by what was put into it here alone is not known for good because a listing passed by.
func TestDoubtfulDirectoryIsNotComplete(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: forEver})
	r.object("keep", "1")
	r.store("d/f", "1")
	r.mem.Remove(bkt, "d/f")
	r.clock.add(settle + time.Second)
	r.tree.Refresh("")
	r.list("", "d/ keep")
	r.last = r.mem.Counts()
	r.missing("d")
	r.cost("L1 H1")
	r.list("", "keep")
	r.cost("L1")
}

// Whose version is the later of two in one second only a HEAD can say.
func TestSameSecond(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []s3mem.Option
	}{{"whole seconds", []s3mem.Option{s3mem.WithWholeSeconds()}}, {"equal times", nil}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, Options{Bucket: bkt}, tc.opts...)
			r.store("f", "mine")
			r.object("f", "foreign, in the same second")
			r.clock.add(1100 * time.Millisecond)
			r.last = r.mem.Counts()
			if e := r.lookup("f"); e.Size != 27 {
				t.Errorf("a foreign version is not seen: %+v", e)
			}
			r.cost("L1 H1")
		})
	}
}

// A listing that shows the version before ours, of the same second, is found out by one HEAD.
func TestSameSecondListingLags(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt}, s3mem.WithWholeSeconds(), s3mem.WithListingLag(10*time.Second))
	r.clock.add(100 * time.Millisecond)
	r.object("f", "foreign, earlier in the same second")
	r.clock.add(800 * time.Millisecond)
	r.store("f", "mine")
	r.clock.add(9500 * time.Millisecond) // the first version is listed, the second not yet
	r.last = r.mem.Counts()
	for e, err := range r.tree.List(r.ctx, "") {
		r.ok(err)
		if e.Size != 4 {
			t.Errorf("%+v", e)
		}
	}
	if e := r.lookup("f"); e.Size != 4 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1")
	r.clock.add(200 * time.Millisecond)
	r.tree.Refresh("")
	if e := r.lookup("f"); e.Size != 4 {
		t.Errorf("%+v", e)
	}
	r.cost("L1") // decided
}

// What somebody makes anew in the second in which it was deleted here.
func TestSameSecondAfterDeletion(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt}, s3mem.WithWholeSeconds())
	r.clock.add(-time.Hour)
	r.object("f", "old")
	r.object("keep", "")
	r.clock.add(time.Hour + 100*time.Millisecond)
	r.lookup("f")
	r.ok(r.tree.Unlink(r.ctx, "f"))
	r.clock.add(-100 * time.Millisecond) // their clock is a little behind
	r.object("f", "foreign")
	r.clock.add(1200 * time.Millisecond)
	r.last = r.mem.Counts()
	if e := r.lookup("f"); e.Size != 7 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1")
}
