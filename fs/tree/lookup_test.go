package tree

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func TestLookupCosts(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, UID: 7, GID: 8})
	r.object("f.txt", "hello", "mode", "33152", "uid", "1", "gid", "2", "mtime", "100.5")
	r.object("d/x", "1")
	r.object("m/", "", "mode", "16832")
	r.object("plain", "abc")
	e := r.lookup("f.txt")
	r.cost("L1 H1")
	if e.Mode != 0o100600 || e.UID != 1 || e.GID != 2 || e.Size != 5 || !e.Full || !e.Mtime.Equal(time.Unix(100, 5e8)) || e.Key != "f.txt" || e.ETag == "" {
		t.Errorf("%+v", e)
	}
	r.lookup("f.txt")
	r.cost("")
	r.clock.add(2 * time.Second)
	r.lookup("f.txt")
	r.cost("L1") // the same version: no HEAD
	if e := r.lookup("d"); !e.IsDir() || e.Mode != 0o40755 || e.UID != 7 || !e.Full {
		t.Errorf("%+v", e)
	}
	r.cost("L2") // the whole directory, and what carries d's attributes: nothing
	if e := r.lookup("m"); e.Mode != 0o40700 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1") // m was in the listing
	r.missing("nothing")
	r.missing("other")
	r.cost("")
	if e := r.lookup("plain"); e.Mode != 0o100644 || e.UID != 7 || !e.Mtime.Equal(e.Modified) {
		t.Errorf("%+v", e)
	}
	r.cost("H1")
	r.clock.add(2 * time.Second)
	r.object("plain", "abcd")
	if e := r.lookup("plain"); e.Size != 4 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1")
	if _, s := r.tree.Known("f.txt"); s != Unknown {
		t.Error("known after the TTL:", s)
	}
	r.cost("")
	if e := r.lookup(""); !e.IsDir() || !e.Full {
		t.Errorf("%+v", e)
	}
	r.cost("")
}

func TestLookupBasic(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, FileMode: 0o640, DirMode: 0o750})
	r.object("f", "hello", "mode", "33152", "color", "red")
	r.object("d/x", "1")
	if e := r.lookup("f"); e.Mode != 0o100640 || e.Full {
		t.Errorf("%+v", e)
	}
	r.cost("L1")
	if e := r.lookup("d"); e.Mode != 0o40750 {
		t.Errorf("%+v", e)
	}
	r.cost("L1")
	e, err := r.tree.Complete(r.ctx, "f")
	r.ok(err)
	if e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	r.cost("H1")
}

// Many names sort before "key/": the directory is found all the same.
func TestLookupBehindManySiblings(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	for i := range 50 {
		r.object(fmt.Sprintf("d-%02d", i), "x")
	}
	r.object("d/x", "x")
	r.object("d", "hidden")
	if e := r.lookup("d"); !e.IsDir() {
		t.Errorf("%+v", e)
	}
	r.cost("L2")
	r.clock.add(time.Hour)
	r.missing("d-")
	r.cost("L1")
	if s := r.tree.Stats(); s.Shadowed != 1 {
		t.Errorf("%+v", s)
	}
	r.tree.Refresh("")
	r.clock.add(time.Hour)
	r.lookup("d-07")
	r.cost("L1")
}

func TestBigDirectory(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	for i := range 1500 {
		r.object(fmt.Sprintf("f%04d", i), "x")
	}
	r.missing("f0000x")
	r.cost("L1")
	r.missing("f0500x") // within the first page
	r.cost("L1")
	r.missing("f0600x")
	r.lookup("f0700")
	r.missing("f1200x") // behind it
	r.missing("f1300x")
	r.cost("L3") // one each: the directory is known to be big
}

func TestSlashlessMarker(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("d", "", "content-type", "application/directory")
	if e := r.lookup("d"); !e.IsDir() {
		t.Fatalf("%+v", e)
	}
	r.list("d", "")
	r.ok(r.tree.Rmdir(r.ctx, "d"))
	if keys := r.mem.Keys(bkt); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	r.missing("d")
}

func TestErrorsAreNotAbsence(t *testing.T) {
	for _, kind := range []s3client.Kind{s3client.Temporary, s3client.Denied, s3client.Throttled, s3client.Unknown} {
		for _, call := range []string{"List", "Head"} {
			r := newRig(t, Options{Bucket: bkt, Full: true})
			r.object("f", "x")
			a := r.fault.Add(s3fault.Rule{Call: call, Before: kind})
			_, err := r.tree.Lookup(r.ctx, "f")
			if !errors.Is(err, kind) || errors.Is(err, ErrNotFound) {
				t.Errorf("%s %v: %v", call, kind, err)
			}
			a.Remove()
			r.lookup("f")
		}
	}
	r := newRig(t, Options{Bucket: "missing", Full: true})
	if _, err := r.tree.Lookup(r.ctx, "f"); !errors.Is(err, s3client.NotFound) || errors.Is(err, ErrNotFound) {
		t.Errorf("the mount's own bucket: %v", err)
	}
	// A listing that fails half way says so, and the directory is not taken for complete.
	r = newRig(t, Options{Bucket: bkt})
	for i := range 2500 {
		r.object(fmt.Sprintf("f%04d", i), "x")
	}
	r.fault.Add(s3fault.Rule{Call: "List", Nth: 2, Before: s3client.Temporary})
	var last error
	for _, err := range r.tree.List(r.ctx, "") {
		last = err
	}
	r.fails(last, s3client.Temporary)
	if _, s := r.tree.Known("nothing"); s != Unknown {
		t.Error("complete after an error")
	}
}
