package tree

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// What Later gives up is asked of the store, and believed.
func TestLaterGivesUp(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true, TTL: forEver})
	r.object("f", "hello", "mode", "33152")
	r.object("g", "hello")
	r.list("", "f g")
	r.chmod("f", 0o640)
	r.ok(r.tree.Unlink(r.ctx, "g"))
	r.mkdir("d")
	_, err := r.tree.Symlink(r.ctx, "l", "f", Attr{})
	r.ok(err)
	r.cost("L1 H1")
	for _, k := range l.keys() {
		l.giveUp(k, s3client.Denied)
	}
	l.unsettled(0)
	if e := r.lookup("f"); e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	if e := r.lookup("g"); e.Size != 5 {
		t.Errorf("%+v", e)
	}
	r.missing("d")
	r.missing("l")
	r.list("", "f g")
}

// The seq is settled before the call that made it has returned.
func TestLaterSettledEarly(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "hello")
	r.object("g", "hello")
	r.lookup("f")
	r.lookup("g")
	l.at = func(op *laterOp) { l.settle(op.bucket + "/" + op.key) }
	r.mkdir("d")
	r.chmod("d", 0o700)
	r.chmod("f", 0o640)
	r.chmod("f", 0o600)
	_, err := r.tree.Symlink(r.ctx, "d/l", "f", Attr{})
	r.ok(err)
	r.ok(r.tree.Unlink(r.ctx, "g"))
	l.unsettled(0)
	r.missing("g")
	r.meta("f", "mode", "33152")
	if e := r.lookup("f"); e.Mode != 0o100600 || e.Modified.IsZero() {
		t.Errorf("%+v", e)
	}
	if to, err := r.tree.Readlink(r.ctx, "d/l"); err != nil || to != "f" {
		t.Error(to, err)
	}
	l.at = func(op *laterOp) { l.giveUp(op.bucket+"/"+op.key, s3client.Denied) }
	r.ok(r.tree.Unlink(r.ctx, "f"))
	r.lookup("f")
	l.unsettled(0)
}

// Many change one name at once: what Later has last is what the tree shows.
func TestLaterTurns(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "hello")
	r.lookup("f")
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			mode := uint32(0o600 + i)
			if _, err := r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode}); err != nil {
				t.Error(err)
			}
			if i%8 == 0 {
				l.settle(at("f"))
			}
		})
	}
	wg.Wait()
	e := r.lookup("f")
	l.all()
	r.meta("f", "mode", fmt.Sprint(e.Mode))
	l.unsettled(0)
	if len(r.tree.mu.turns) != 0 {
		t.Error("turns are left")
	}
	// who waits for a turn may leave
	give, err := r.tree.take(r.ctx, "f")
	r.ok(err)
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	if err := r.tree.Unlink(ctx, "f"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	give()
	r.lookup("f")
}

func TestLaterRefuses(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "hello")
	r.object("d/x", "x")
	r.list("", "d/ f")
	r.lookup("f")
	full := errors.New("the disk is full")
	l.fault = full
	_, err := r.tree.Mkdir(r.ctx, "n", Attr{})
	r.fails(err, full)
	_, err = r.tree.Symlink(r.ctx, "n", "f", Attr{})
	r.fails(err, full)
	r.fails(r.tree.Unlink(r.ctx, "f"), full)
	mode := uint32(0o700)
	for _, p := range []string{"f", "d"} {
		_, err = r.tree.SetAttr(r.ctx, p, Change{Mode: &mode})
		r.fails(err, full)
	}
	l.fault = nil
	r.clock.add(time.Hour)
	r.list("", "d/ f")
	if e := r.lookup("f"); e.Mode != 0o100644 {
		t.Errorf("%+v", e)
	}
	// a rename whose names cannot be drained is none
	r.chmod("f", 0o600)
	r.mkdir("m")
	r.cost("L4 H1")
	l.fault = full
	r.fails(r.tree.Rename(r.ctx, "f", "g", false, nil), full)
	r.fails(r.tree.Rename(r.ctx, "d", "m", false, nil), full)
	r.cost("")
}

// A file, a directory and a file again of one name have two keys, which are settled in any order.
func TestLaterTwoKeys(t *testing.T) {
	for _, order := range [][]string{{"x", "x/"}, {"x/", "x"}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			r, l := newLaterRig(t, Options{Bucket: bkt, Full: true}, s3mem.WithListingLag(5*time.Second))
			r.object("d/x", "file")
			r.object("d/x/", "") // shadows it, and is not listed yet
			r.mem.Remove(bkt, "d/x/")
			r.clock.add(time.Hour)
			r.list("d", "x")
			r.ok(r.tree.Unlink(r.ctx, "d/x"))
			r.mkdir("d/x")
			l.want("put d/, delete d/x, put d/x/")
			r.ok(r.tree.Rmdir(r.ctx, "d/x"))
			l.unsettled(2)
			l.settle(at("d/" + order[0]))
			l.unsettled(2)
			r.clock.add(time.Minute)
			r.missing("d/x")
			r.list("d", "")
			r.cost("L2 D1")
			r.clock.add(2 * time.Second)
			r.ok(r.tree.Rmdir(r.ctx, "d")) // its listing shows what is to be deleted
			r.missing("d")
			l.settle(at("d/" + order[1]))
			l.unsettled(1)
			l.all()
			l.unsettled(0)
			r.clock.add(time.Minute)
			r.missing("d")
			r.missing("d/x")
		})
	}
}

// The overlay's bounds are not for what waits.
func TestLaterNeverDropped(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true, MaxEntries: 10}, s3mem.WithListingLag(time.Hour))
	for i := range 50 {
		r.object(fmt.Sprintf("f%02d", i), "x")
	}
	r.clock.add(2 * time.Hour)
	for i := range 50 {
		r.ok(r.tree.Unlink(r.ctx, fmt.Sprintf("f%02d", i)))
	}
	r.clock.add(time.Hour)
	l.unsettled(50)
	for i := range 50 {
		r.missing(fmt.Sprintf("f%02d", i))
	}
	r.list("", "")
	l.all()
	if s := r.tree.Stats(); s.Changes > 10 || s.Unsettled != 0 {
		t.Errorf("%+v", s)
	}
}

// A copy may have another ETag than its source: the name follows, and what is known of its attributes too.
func TestLaterOtherETag(t *testing.T) {
	r, l := newLaterRig(t, Options{Bucket: bkt, Full: true})
	id, err := r.mem.CreateUpload(r.ctx, bkt, "f", s3client.Headers{Meta: map[string]string{"mode": "33152", "color": "red"}})
	r.ok(err)
	p, err := r.mem.UploadPart(r.ctx, s3client.PartRequest{Bucket: bkt, Key: "f", UploadID: id, Number: 1, Body: strings.NewReader("hello"), Size: 5})
	r.ok(err)
	o, err := r.mem.CompleteUpload(r.ctx, s3client.CompleteRequest{Bucket: bkt, Key: "f", UploadID: id, Parts: []s3client.Part{p}, Size: 5})
	r.ok(err)
	r.last = r.mem.Counts()
	r.chmod("f", 0o640)
	r.clock.add(time.Minute)
	r.tree.Outdated(bkt, "f", o.ETag) // it is about to be: the copy has been made, and not been told of
	if e := r.lookup("f"); e.ETag != o.ETag {
		t.Errorf("%+v", e)
	}
	r.tree.Written("f", r.clock.Now())
	l.all()
	now, _ := r.mem.Object(bkt, "f")
	if e := r.lookup("f"); now.ETag == o.ETag || e.ETag != now.ETag {
		t.Errorf("%+v, stored as %q", e, now.ETag)
	}
	r.tree.Discard("f")
	r.cost("L1 H1 C1")
	for range 2 {
		if e := r.lookup("f"); e.ETag != now.ETag || e.Mode != 0o100640 {
			t.Errorf("%+v", e)
		}
		r.clock.add(time.Hour)
	}
	r.lookup("f")
	r.cost("L2")
	r.chmod("f", 0o600)
	l.all()
	r.clock.add(time.Hour)
	if e := r.lookup("f"); e.ETag != now.ETag || e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 C1")
	r.meta("f", "color", "red")
}
