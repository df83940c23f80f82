package tree

import (
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// An upload that runs while the file is being written leaves the times out, unless somebody set them.
func TestStreamHeaders(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.missing("f")
	_, err := r.tree.Create("f", Attr{Mode: 0o640})
	r.ok(err)
	r.tree.Written("f", r.clock.Now())
	h := r.headersOf(bkt, "f", true)
	if h.Meta["mtime"] != "" || h.Meta["ctime"] != "" || h.Meta["mode"] != "33184" {
		t.Errorf("%+v", h)
	}
	r.clock.add(time.Minute)
	r.tree.Written("f", r.clock.Now())
	o, err := r.mem.Put(r.ctx, s3client.PutRequest{Bucket: bkt, Key: "f", Headers: h, Body: strings.NewReader("x"), Size: 1})
	r.ok(err)
	o.Headers = &h
	r.tree.Stored(bkt, "f", o)
	if e := r.lookup("f"); !e.Mtime.Equal(o.Modified) || e.Mode != 0o100640 {
		t.Errorf("%+v", e)
	}
	if c := r.tree.mu.overlay.byPath["f"]; c.pinned() {
		t.Error("still unsaved")
	}
	r.tree.Written("f", r.clock.Now())
	mtime := time.Unix(100, 0)
	_, err = r.tree.SetAttr(r.ctx, "f", Change{Mtime: &mtime, Unsaved: true})
	r.ok(err)
	if h := r.headersOf(bkt, "f", true); h.Meta["mtime"] != "100" {
		t.Errorf("%+v", h)
	}
}

// What has unsaved content keeps its foreign headers although the caches have forgotten them.
func TestWrittenPins(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, MaxEntries: 4})
	r.object("f", "x", "color", "red", "mode", "33152")
	r.lookup("f")
	r.tree.Written("f", r.clock.Now())
	for _, k := range []string{"a", "b", "c", "d", "e", "g", "h"} {
		r.object(k, k)
		r.clock.add(time.Hour)
		r.lookup(k)
	}
	r.tree.Refresh("")
	r.clock.add(time.Hour)
	r.last = r.mem.Counts()
	if h := r.headersOf(bkt, "f", false); h.Meta["color"] != "red" || h.Meta["mode"] != "33152" {
		t.Errorf("%+v", h)
	}
	r.cost("")
	r.tree.Discard("f")
	if e := r.lookup("f"); e.Size != 1 || e.Mode != 0o100600 || e.Mtime.Equal(r.clock.Now()) {
		t.Errorf("%+v", e)
	}
}

// A change of attributes whose answer is lost may have been carried out within the second of the version before: the object is
// asked.
func TestAttributesOfACopyWithoutAnAnswer(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.missing("f")
	_, err := r.tree.Create("f", Attr{Mode: 0o640})
	r.ok(err)
	h := r.headersOf(bkt, "f", false)
	o, err := r.mem.Put(r.ctx, s3client.PutRequest{Bucket: bkt, Key: "f", Headers: h, Body: strings.NewReader("x"), Size: 1})
	r.ok(err)
	o.Headers, o.Modified = &h, time.Time{} // as a store answers
	r.tree.Stored(bkt, "f", o)
	r.fault.Add(s3fault.Rule{Call: "Copy", Times: 1, After: s3client.Temporary})
	mode := uint32(0o600)
	if _, err := r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode}); err == nil {
		t.Fatal("no error")
	}
	r.clock.add(time.Hour)
	if e := r.lookup("f"); e.Mode != 0o100600 {
		t.Errorf("mode %o", e.Mode)
	}
}
