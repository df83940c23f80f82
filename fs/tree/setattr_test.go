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
	for _, later := range []time.Duration{0, 10 * time.Second, time.Hour} { // this mount's own change is still known, and is not
		r.clock.add(later)
		if e := r.lookup("f"); e.Mode != 0o100600 {
			t.Errorf("mode %o %v later", e.Mode, later)
		}
	}
}

func TestSetAttr(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "hello", "content-type", "image/x", "color", "red", "mode", "33188", "mtime", "100")
	r.lookup("f")
	r.cost("L1 H1")
	mode, mtime := uint32(0o600), time.Unix(200, 7)
	e, err := r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode, Mtime: &mtime})
	r.ok(err)
	if e.Mode != 0o100600 || !e.Mtime.Equal(mtime) {
		t.Errorf("%+v", e)
	}
	r.cost("C1")
	o, _ := r.mem.Object(bkt, "f")
	if m := o.Headers.Meta; m["mode"] != "33152" || m["mtime"] != "200.000000007" || m["color"] != "red" || o.Headers.ContentType != "image/x" {
		t.Errorf("%+v", o.Headers)
	}
	_, err = r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode, Mtime: &mtime})
	r.ok(err)
	r.cost("") // changes nothing
	r.clock.add(time.Hour)
	if e := r.lookup("f"); e.Mode != 0o100600 || !e.Mtime.Equal(mtime) {
		t.Errorf("%+v", e)
	}
	r.cost("L1")
}

// Somebody else wrote it meanwhile: their version is not touched.
func TestSetAttrOfAForeignVersion(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "hello", "color", "red", "mode", "33188")
	r.lookup("f")
	r.object("f", "other", "color", "blue")
	mode := uint32(0o640)
	_, err := r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode})
	r.fails(err, s3client.Changed)
	_, err = r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode})
	r.ok(err)
	if o, _ := r.mem.Object(bkt, "f"); o.Headers.Meta["color"] != "blue" || o.Headers.Meta["mode"] != "33184" {
		t.Errorf("%+v", o.Headers)
	}
}

// A directory without marker gets one.
func TestSetAttrMakesAMarker(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("d/x", "1")
	mode := uint32(0o640)
	_, err := r.tree.SetAttr(r.ctx, "d", Change{Mode: &mode})
	r.ok(err)
	if o, ok := r.mem.Object(bkt, "d/"); !ok || o.Headers.Meta["mode"] != "16800" {
		t.Errorf("%+v", o)
	}
	r.tree.Refresh("")
	r.clock.add(time.Hour)
	if e := r.lookup("d"); e.Mode != 0o40640 {
		t.Errorf("%+v", e)
	}
}

// A file that the store does not have yet: memory alone.
func TestSetAttrOfAPendingFile(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	mode, mtime := uint32(0o640), time.Unix(200, 7)
	r.missing("p")
	_, err := r.tree.Create("p", Attr{Mode: 0o644})
	r.ok(err)
	r.last = r.mem.Counts()
	_, err = r.tree.SetAttr(r.ctx, "p", Change{Mode: &mode, Mtime: &mtime})
	r.ok(err)
	r.cost("")
	if h := r.headersOf(bkt, "p", false); h.Meta["mode"] != "33184" || h.Meta["mtime"] != "200.000000007" {
		t.Errorf("%+v", h)
	}
}

// Unsaved content: memory, and the foreign headers travel.
func TestSetAttrOfUnsavedContent(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	mode := uint32(0o640)
	r.object("f", "other", "color", "blue", "mode", "33188")
	r.lookup("f")
	r.last = r.mem.Counts()
	r.tree.Written("f", r.clock.Now())
	_, err := r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode, Unsaved: true})
	r.ok(err)
	r.cost("")
	if h := r.headersOf(bkt, "f", false); h.Meta["color"] != "blue" || h.Meta["mode"] != "33184" {
		t.Errorf("%+v", h)
	}
	// changed again while the upload runs: stays to travel with the next
	h := r.headersOf(bkt, "f", false)
	mode = 0o604
	_, err = r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode, Unsaved: true})
	r.ok(err)
	o, err := r.mem.Put(r.ctx, s3client.PutRequest{Bucket: bkt, Key: "f", Headers: h, Body: strings.NewReader("zz"), Size: 2})
	r.ok(err)
	o.Headers = &h
	r.tree.Stored(bkt, "f", o)
	if e := r.lookup("f"); e.Mode != 0o100604 || e.Size != 2 || e.ETag != o.ETag {
		t.Errorf("%+v", e)
	}
	if h := r.headersOf(bkt, "f", false); h.Meta["mode"] != "33156" {
		t.Errorf("%+v", h)
	}
	r.upload("f", "zz")
	if c := r.tree.mu.overlay.byPath["f"]; c.pinned() {
		t.Error("still unsaved")
	}
}

// In basic mode the headers of an overwritten object are asked for when they must travel.
func TestHeadersOfOverwritten(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	r.object("f", "hello", "content-type", "image/x", "color", "red", "mode", "33152")
	r.lookup("f")
	at := r.clock.Now().Add(time.Minute)
	r.tree.Written("f", at)
	r.cost("L1")
	h := r.headersOf(bkt, "f", false)
	r.cost("H1")
	if h.Meta["color"] != "red" || h.Meta["mode"] != "33152" || h.ContentType != "image/x" || h.Meta["mtime"] != formatTime(at) {
		t.Errorf("%+v", h)
	}
	r.headersOf(bkt, "f", false)
	r.cost("")
}
