package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// get reads a key as content does and tells the tree what the answer said.
func (r *rig) get(key string) s3client.Object {
	r.Helper()
	body, o, err := r.fault.Get(r.ctx, s3client.GetRequest{Bucket: bkt, Key: key})
	r.ok(err)
	_, err = io.ReadAll(body)
	r.ok(err)
	r.ok(body.Close())
	r.tree.Learn(bkt, key, o)
	return o
}

func TestLearnSparesHead(t *testing.T) {
	for _, opts := range [][]s3mem.Option{nil, {s3mem.WithWholeSeconds()}} {
		r := newRig(t, Options{Bucket: bkt, Full: true}, opts...)
		r.clock.add(300 * time.Millisecond)
		r.object("d/f", "hello", "mode", "33152", "uid", "1", "mtime", "100")
		r.object("d/link", "target", "mode", "41471")
		r.object("d/sub", "", "mode", "16832")
		r.list("d", "f link sub")
		r.cost("L1")
		seen, _ := r.tree.Known("d/f")
		r.clock.add(500 * time.Millisecond)
		for _, key := range []string{"d/f", "d/link", "d/sub"} {
			r.get(key)
		}
		r.cost("G3")
		e := r.lookup("d/f")
		if !e.Full || e.Mode != 0o100600 || e.UID != 1 || !e.Mtime.Equal(time.Unix(100, 0)) || e.Size != 5 {
			t.Errorf("%+v", e)
		}
		if !e.Seen.Equal(seen.Seen.Add(500 * time.Millisecond)) {
			t.Errorf("listed at %v, read later, seen at %v", seen.Seen, e.Seen)
		}
		if e := r.lookup("d/link"); e.Mode != 0o120777 || e.Size != 6 {
			t.Errorf("%+v", e)
		}
		if e := r.lookup("d/sub"); e.Mode != 0o040700 || e.Size != 0 || e.ETag != "" {
			t.Errorf("%+v", e)
		}
		r.cost("")
		r.clock.add(900 * time.Millisecond) // the listing is older than the TTL
		r.lookup("d/f")
		r.cost("")
		r.clock.add(2 * time.Second)
		if e := r.lookup("d/f"); e.Mode != 0o100600 {
			t.Errorf("%+v", e)
		}
		r.cost("L1") // the version stands
		r.clock.add(2 * time.Second)
		r.get("d/f")
		r.lookup("d/f")
		r.cost("G1")
	}
}

func TestLearnKnowsNoBetter(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "old", "mode", "33152")
	r.object("gone", "old", "mode", "33152")
	r.object("nobody", "asked", "mode", "33152")
	oldF, oldGone := r.get("f"), r.get("gone") // nothing is known of them: nothing is learned
	r.get("nobody")
	r.tree.Learn(bkt, "f", s3client.Object{ETag: oldF.ETag, Size: oldF.Size}) // no headers
	r.tree.Learn("other", "f", oldF)
	if s := r.tree.Stats(); s.Attributes != 0 || s.Entries != 0 {
		t.Errorf("%+v", s)
	}
	r.lookup("f")
	r.lookup("gone")
	r.cost("L2 H2 G3")
	r.store("f", "newer, by this mount")
	r.ok(r.tree.Unlink(r.ctx, "gone"))
	r.cost("P1 D1")
	r.tree.Learn(bkt, "f", oldF)
	r.tree.Learn(bkt, "gone", oldGone)
	if e := r.lookup("f"); e.Size != 20 || e.ETag == oldF.ETag {
		t.Errorf("%+v", e)
	}
	r.missing("gone")
	r.cost("")
	// A foreign version that a listing has shown is not replaced by an older answer either.
	r.clock.add(time.Hour)
	r.object("f", "foreign", "mode", "33188")
	r.list("", "f nobody")
	r.tree.Learn(bkt, "f", oldF)
	r.cost("L1")
	if e := r.lookup("f"); e.Mode != 0o100644 || e.Size != 7 {
		t.Errorf("%+v", e)
	}
	r.cost("H1")
	// Nor one of the same second.
	first := r.get("f")
	r.object("f", "FOREIGN", "mode", "33261")
	r.tree.Refresh("")
	r.list("", "f nobody")
	r.tree.Learn(bkt, "f", first)
	r.cost("L1 G1")
	if e := r.lookup("f"); e.Mode != 0o100755 {
		t.Errorf("%+v", e)
	}
	r.cost("H1")
	// The same bytes with other attributes: the answer is from before.
	chmodded := r.get("f")
	r.clock.add(time.Hour)
	r.object("f", "FOREIGN", "mode", "33279")
	r.list("", "f nobody")
	r.tree.Learn(bkt, "f", chmodded)
	if e := r.lookup("f"); e.Mode != 0o100777 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1 G1")
}

func TestLearnOfWhatWasChangedHere(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("d/a", "1", "mode", "33152", "uid", "9")
	r.list("d", "a")
	r.ok(r.tree.Rename(r.ctx, "d", "e", false, nil)) // copied without its attributes being known
	r.last = r.mem.Counts()
	r.get("e/a")
	if e := r.lookup("e/a"); !e.Full || e.UID != 9 || e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	r.cost("G1")
	r.clock.add(2 * time.Second)
	r.get("e/a")
	r.lookup("e/a")
	r.cost("G1")
	if h := r.headersOf(bkt, "e/a", false); h.Meta["uid"] != "9" {
		t.Errorf("%+v", h)
	}
	r.cost("")
}

// A mount without attributes does not change a file's mode because it was read.
func TestLearnNothingWithoutAttributes(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	r.object("f", "hello", "mode", "33152")
	r.lookup("f")
	r.clock.add(time.Hour)
	r.get("f") // but it is there
	if e := r.lookup("f"); e.Mode != 0o100644 || e.Full {
		t.Errorf("%+v", e)
	}
	r.cost("L1 G1")
}

func TestLearnIsCheapWhenKnown(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("d/f", "hello")
	r.lookup("d/f")
	o := r.get("d/f")
	if n := testing.AllocsPerRun(100, func() { r.tree.Learn(bkt, "d/f", o) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func TestAttributesByOtherMeans(t *testing.T) {
	var r *rig
	asked, answer := 0, func(e Entry) (s3client.Object, error) { return s3client.Object{}, nil }
	r = newRig(t, Options{Bucket: bkt, Full: true, Attributes: func(_ context.Context, e Entry) (s3client.Object, error) {
		asked++
		return answer(e)
	}})
	get := func(e Entry) (s3client.Object, error) {
		body, o, err := r.fault.Get(r.ctx, s3client.GetRequest{Bucket: e.Bucket, Key: e.Key, ETag: e.ETag})
		if err != nil {
			return o, err
		}
		return o, body.Close()
	}
	r.object("a", "hello", "mode", "33152")
	r.object("b", "hello", "mode", "33152")
	r.object("c", "hello", "mode", "33152")
	r.object("d/x", "")
	answer = get
	if e := r.lookup("a"); e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 G1")
	e, err := r.tree.Complete(r.ctx, "b") // before a write nobody wants bytes
	r.ok(err)
	if e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	r.lookup("d") // a directory has no bytes
	r.cost("L2 H1")
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	// Another version than the listing's, then an answer without headers, then errors.
	for _, tc := range []struct {
		answer func(Entry) (s3client.Object, error)
		want   error
		cost   string
	}{
		{func(Entry) (s3client.Object, error) {
			return s3client.Object{}, fmt.Errorf("get: %w", s3client.Changed)
		}, nil, "L1 H1"},
		{func(e Entry) (s3client.Object, error) { return s3client.Object{ETag: e.ETag, Size: e.Size}, nil }, nil, "L1 H1"},
		{func(e Entry) (s3client.Object, error) { r.get(e.Key); return s3client.Object{}, nil }, nil, "L1 G1"}, // learned
		{func(Entry) (s3client.Object, error) { return s3client.Object{}, nil }, nil, "L1 H1"},
		{func(Entry) (s3client.Object, error) { return s3client.Object{}, s3client.Denied }, s3client.Denied, "L1"},
		{func(Entry) (s3client.Object, error) { return s3client.Object{}, s3client.NotFound }, ErrNotFound, "L1"},
	} {
		answer = tc.answer
		r.clock.add(time.Hour)
		r.object("c", "hello", "mode", "33152")
		if _, err := r.tree.Lookup(r.ctx, "c"); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%v, want %v", err, tc.want)
		}
		r.cost(tc.cost)
	}
}

// A GET that finds its version gone makes the name unknown, however long it would have been believed.
func TestOutdated(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: forEver})
	old := r.object("f", "old")
	r.lookup("f")
	r.cost("L1 H1")
	r.clock.add(time.Minute)
	r.object("f", "foreign")
	r.tree.Outdated(bkt, "f", "another")
	r.tree.Outdated(bkt, "unknown", old.ETag)
	if e := r.lookup("f"); e.ETag != old.ETag {
		t.Errorf("%+v", e)
	}
	r.cost("")
	r.tree.Outdated(bkt, "f", old.ETag)
	if e := r.lookup("f"); e.Size != 7 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1")
	mine := r.store("f", "written here")
	r.object("f", "foreign again")
	r.last = r.mem.Counts()
	r.tree.Outdated(bkt, "f", mine.ETag)
	if e := r.lookup("f"); e.Size != 13 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1")
	r.tree.Written("f", r.clock.Now()) // unsaved: the store's versions are of no account
	r.tree.Outdated(bkt, "f", r.lookup("f").ETag)
	r.lookup("f")
	r.cost("")
}

// Listings that lag do not bring an outdated version back for longer than they lag.
func TestOutdatedWithLag(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, TTL: forEver}, s3mem.WithListingLag(5*time.Second))
	old := r.object("f", "old")
	r.clock.add(time.Minute)
	r.lookup("f")
	r.object("f", "foreign")
	r.last = r.mem.Counts()
	r.tree.Outdated(bkt, "f", old.ETag)
	if e := r.lookup("f"); e.Size != 7 {
		t.Errorf("%+v", e)
	}
	r.cost("L1 H1")
}

func TestUploadHeadersSaySo(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, MaxEntries: 2})
	r.object("f", "hello", "mode", "33152", "color", "red")
	for i := range 5 {
		r.object(fmt.Sprintf("other%d", i), "")
	}
	_, err := r.tree.Complete(r.ctx, "f")
	r.ok(err)
	for i := range 5 {
		r.lookup(fmt.Sprintf("other%d", i)) // f's attributes are forgotten
	}
	rule := r.fault.Add(s3fault.Rule{Call: "Head", Before: s3client.Temporary})
	if h, err := r.tree.UploadHeaders(r.ctx, bkt, "f", false); !errors.Is(err, s3client.Temporary) || len(h.Meta) > 0 {
		t.Errorf("%+v %v", h, err)
	}
	rule.Remove()
	h, err := r.tree.UploadHeaders(r.ctx, bkt, "f", false)
	r.ok(err)
	if h.Meta["color"] != "red" || h.Meta["mode"] != "33152" || h.Meta["mtime"] == "" {
		t.Errorf("%+v", h)
	}
	h, err = r.tree.UploadHeaders(r.ctx, bkt, "f", true)
	r.ok(err)
	if h.Meta["color"] != "red" || h.Meta["mtime"] != "" {
		t.Errorf("%+v", h)
	}
	h, err = r.tree.UploadHeaders(r.ctx, bkt, "new", false) // nothing is there: defaults are right
	r.ok(err)
	if !strings.HasPrefix(h.Meta["mode"], "33") {
		t.Errorf("%+v", h)
	}
}
