package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

const bkt = "bucket"

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a tree on a store in memory, with a clock that stands still and faults to order.
type rig struct {
	*testing.T
	ctx    context.Context
	mem    *s3mem.Store
	fault  *s3fault.Store
	clock  *clock
	tree   *Tree
	last   s3mem.Counts
	called int64 // of calls
}

func newRig(t *testing.T, o Options, opts ...s3mem.Option) *rig {
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r := newRigAt(t, o, c.Now, opts...)
	r.clock = c
	return r
}

// newRigAt is a rig with another clock: that of a bubble.
func newRigAt(t *testing.T, o Options, now func() time.Time, opts ...s3mem.Option) *rig {
	r := &rig{T: t, ctx: t.Context()}
	r.mem = s3mem.New(append([]s3mem.Option{s3mem.WithClock(now), s3mem.WithBuckets(bkt)}, opts...)...)
	r.fault = s3fault.New(r.mem)
	o.Store, o.Now = r.fault, now
	r.tree = New(o)
	t.Cleanup(func() {
		r.tree.Close()
		r.tree.mu.Lock()
		defer r.tree.mu.Unlock()
		if wrong := r.tree.mu.overlay.check(); wrong != "" {
			t.Error("overlay:", wrong)
		}
	})
	return r
}

// object stores an object behind the tree's back.
func (r *rig) object(key, body string, meta ...string) s3client.Object {
	h := s3client.Headers{Meta: map[string]string{}}
	for i := 0; i < len(meta); i += 2 {
		if meta[i] == "content-type" {
			h.ContentType = meta[i+1]
		} else {
			h.Meta[meta[i]] = meta[i+1]
		}
	}
	return r.mem.PutBytes(bkt, key, []byte(body), h)
}

// cost checks the requests since the last call: "L1 H1" and the like; "" is none.
func (r *rig) cost(want string) {
	r.Helper()
	now := r.mem.Counts()
	d := now.Sub(r.last)
	r.last = now
	var parts []string
	for _, p := range []struct {
		name string
		n    int64
	}{{"L", d.List}, {"H", d.Head}, {"G", d.Get}, {"P", d.Put}, {"C", d.Copy}, {"M", d.Post}, {"D", d.Delete}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%s%d", p.name, p.n))
		}
	}
	if got := strings.Join(parts, " "); got != want {
		r.Errorf("requests: %q, want %q", got, want)
	}
}

func (r *rig) lookup(path string) Entry {
	r.Helper()
	e, err := r.tree.Lookup(r.ctx, path)
	if err != nil {
		r.Fatal(err)
	}
	if e.Path != path {
		r.Errorf("%q has the path %q", path, e.Path)
	}
	return e
}

func (r *rig) missing(path string) {
	r.Helper()
	if e, err := r.tree.Lookup(r.ctx, path); !errors.Is(err, ErrNotFound) {
		r.Fatalf("%s: %+v %v", path, e, err)
	}
}

// names lists a directory; directories have a slash.
func (r *rig) names(path string) string {
	r.Helper()
	var names []string
	for e, err := range r.tree.List(r.ctx, path) {
		if err != nil {
			r.Fatal(err)
		}
		dir, name := split(e.Path)
		if dir != path {
			r.Errorf("%q in the listing of %q", e.Path, path)
		}
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	if !slices.IsSortedFunc(names, func(a, b string) int { return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")) }) {
		r.Errorf("not sorted: %q", names)
	}
	return strings.Join(names, " ")
}

func (r *rig) list(path, want string) {
	r.Helper()
	if got := r.names(path); got != want {
		r.Errorf("list %q: %q, want %q", path, got, want)
	}
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) fails(err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("error %v, want %v", err, want)
	}
}

// store makes a file as content does: create, upload, tell.
func (r *rig) store(path, body string) s3client.Object {
	r.Helper()
	if _, state := r.tree.Known(path); state != Found {
		_, err := r.tree.Create(path, Attr{Mode: 0o600, UID: 1, GID: 2})
		r.ok(err)
	} else {
		r.tree.Written(path, r.clock.Now())
	}
	return r.upload(path, body)
}

// headersOf are the headers of an upload.
func (r *rig) headersOf(bucket, key string, streaming bool) s3client.Headers {
	r.Helper()
	h, err := r.tree.UploadHeaders(r.ctx, bucket, key, streaming)
	r.ok(err)
	return h
}

func (r *rig) upload(path, body string) s3client.Object {
	r.Helper()
	bucket, key, err := r.tree.Locate(path)
	r.ok(err)
	h := r.headersOf(bucket, key, false)
	o, err := r.fault.Put(r.ctx, s3client.PutRequest{Bucket: bucket, Key: key, Headers: h, Body: strings.NewReader(body), Size: int64(len(body))})
	r.ok(err)
	o.Headers = &h
	r.tree.Stored(bucket, key, o)
	return o
}

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

func TestCreateStoreUnlink(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	_, err := r.tree.Mkdir(r.ctx, "d", Attr{Mode: 0o750, UID: 5, GID: 6})
	r.ok(err)
	r.cost("L1 P1")
	if o, ok := r.mem.Object(bkt, "d/"); !ok || o.Size != 0 || o.Headers.ContentType != dirContentType || o.Headers.Meta["mode"] != "16872" {
		t.Errorf("%+v", o)
	}
	r.missing("d/f")
	_, err = r.tree.Create("d/f", Attr{Mode: 0o600, UID: 1, GID: 2})
	r.ok(err)
	r.cost("") // the new directory is known to be empty
	if e := r.lookup("d/f"); !e.Pending || e.Mode != 0o100600 {
		t.Errorf("%+v", e)
	}
	if _, err := r.tree.Create("d/f", Attr{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	r.list("d", "f")
	r.fails(r.tree.Rmdir(r.ctx, "d"), ErrNotEmpty)
	r.cost("")
	r.clock.add(time.Hour) // a pending file outlives everything
	r.lookup("d/f")
	r.list("d", "f")
	r.cost("L1")
	r.upload("d/f", "hello")
	if e := r.lookup("d/f"); e.Pending || e.Size != 5 || e.ETag == "" || e.UID != 1 {
		t.Errorf("%+v", e)
	}
	r.cost("P1")
	r.clock.add(2 * time.Second)
	if e := r.lookup("d/f"); e.Mode != 0o100600 || !e.Full {
		t.Errorf("%+v", e)
	}
	r.cost("L1")
	r.ok(r.tree.Unlink(r.ctx, "d/f"))
	r.missing("d/f")
	r.cost("D1")
	r.list("d", "")
	r.ok(r.tree.Rmdir(r.ctx, "d"))
	r.missing("d")
	if keys := r.mem.Keys(bkt); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	// never stored: no request
	r.missing("p")
	r.cost("L4 D1")
	_, err = r.tree.Create("p", Attr{})
	r.ok(err)
	r.ok(r.tree.Unlink(r.ctx, "p"))
	r.missing("p")
	_, err = r.tree.Create("p", Attr{})
	r.ok(err)
	r.tree.Discard("p")
	r.missing("p")
	r.cost("")
	if s := r.tree.Stats(); s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

func TestImplicitDirectoryStays(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	r.object("d/a", "1")
	r.object("d/b", "1")
	r.list("d", "a b")
	r.ok(r.tree.Unlink(r.ctx, "d/a"))
	r.cost("L1 D1")
	r.ok(r.tree.Unlink(r.ctx, "d/b"))
	if keys := r.mem.Keys(bkt); !slices.Equal(keys, []string{"d/"}) {
		t.Errorf("left: %q", keys)
	}
	r.clock.add(time.Hour)
	if e := r.lookup("d"); !e.IsDir() {
		t.Error("the directory is gone")
	}
	r.list("d", "")
	// both at once
	r.object("e/a", "1")
	r.object("e/b", "1")
	r.list("e", "a b")
	var wg sync.WaitGroup
	for _, n := range []string{"e/a", "e/b"} {
		wg.Go(func() { r.ok2(r.tree.Unlink(r.ctx, n)) })
	}
	wg.Wait()
	if keys := r.mem.Keys(bkt); !slices.Equal(keys, []string{"d/", "e/"}) {
		t.Errorf("left: %q", keys)
	}
	// by renaming the last away
	r.object("g/a", "1")
	r.clock.add(time.Hour)
	r.list("g", "a")
	r.ok(r.tree.Rename(r.ctx, "g/a", "d/a", false, nil))
	if _, ok := r.mem.Object(bkt, "g/"); !ok {
		t.Error("no marker")
	}
}

func (r *rig) ok2(err error) {
	if err != nil {
		r.Error(err)
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
	// somebody else wrote it meanwhile: their version is not touched
	r.object("f", "other", "color", "blue")
	mode = 0o640
	_, err = r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode})
	r.fails(err, s3client.Changed)
	_, err = r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode})
	r.ok(err)
	if o, _ := r.mem.Object(bkt, "f"); o.Headers.Meta["color"] != "blue" || o.Headers.Meta["mode"] != "33184" {
		t.Errorf("%+v", o.Headers)
	}
	// a directory without marker gets one
	r.object("d/x", "1")
	r.clock.add(time.Hour)
	e, err = r.tree.SetAttr(r.ctx, "d", Change{Mode: &mode})
	r.ok(err)
	if o, ok := r.mem.Object(bkt, "d/"); !ok || o.Headers.Meta["mode"] != "16800" {
		t.Errorf("%+v", o)
	}
	r.tree.Refresh("")
	r.clock.add(time.Hour)
	if e := r.lookup("d"); e.Mode != 0o40640 {
		t.Errorf("%+v", e)
	}
	// pending: memory alone
	r.missing("p")
	_, err = r.tree.Create("p", Attr{Mode: 0o644})
	r.ok(err)
	r.last = r.mem.Counts()
	_, err = r.tree.SetAttr(r.ctx, "p", Change{Mode: &mode, Mtime: &mtime})
	r.ok(err)
	r.cost("")
	if h := r.headersOf(bkt, "p", false); h.Meta["mode"] != "33184" || h.Meta["mtime"] != "200.000000007" {
		t.Errorf("%+v", h)
	}
	// unsaved content: memory, and the foreign headers travel
	r.lookup("f")
	r.last = r.mem.Counts()
	r.tree.Written("f", r.clock.Now())
	_, err = r.tree.SetAttr(r.ctx, "f", Change{Mode: &mode, Unsaved: true})
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
	o, err = r.mem.Put(r.ctx, s3client.PutRequest{Bucket: bkt, Key: "f", Headers: h, Body: strings.NewReader("zz"), Size: 2})
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

func TestSpecialFiles(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	_, err := r.tree.Symlink(r.ctx, "l", "some/where", Attr{UID: 3})
	r.ok(err)
	_, err = r.tree.Mknod(r.ctx, "c", Attr{Mode: typeChar | 0o600}, 0x103)
	r.ok(err)
	_, err = r.tree.Mknod(r.ctx, "p", Attr{Mode: typeFifo | 0o600}, 0)
	r.ok(err)
	r.fails(func() error { _, err := r.tree.Symlink(r.ctx, "l", "x", Attr{}); return err }(), ErrExists)
	for range 2 {
		if e := r.lookup("l"); e.Mode != 0o120777 || e.Size != 10 || e.UID != 3 {
			t.Errorf("%+v", e)
		}
		if e := r.lookup("c"); e.Mode != typeChar|0o600 || e.Rdev != 0x103 {
			t.Errorf("%+v", e)
		}
		if target, err := r.tree.Readlink(r.ctx, "l"); err != nil || target != "some/where" {
			t.Error(target, err)
		}
		r.clock.add(time.Hour)
		r.tree.Refresh("")
	}
	if b, _ := r.mem.Bytes(bkt, "l"); string(b) != "some/where" {
		t.Errorf("%q", b)
	}
	r.object("g", "", "--symlink-target", "tgt")
	if e := r.lookup("g"); e.Mode != 0o120777 || e.Size != 3 {
		t.Errorf("%+v", e)
	}
	r.last = r.mem.Counts()
	if target, err := r.tree.Readlink(r.ctx, "g"); err != nil || target != "tgt" {
		t.Error(target, err)
	}
	r.cost("")
	r.ok(r.tree.Rename(r.ctx, "g", "h", false, nil))
	if target, err := r.tree.Readlink(r.ctx, "h"); err != nil || target != "tgt" {
		t.Error(target, err)
	}
	if _, err := r.tree.Readlink(r.ctx, "p"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestReadOnlyAndNames(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, ReadOnly: true})
	r.object("f", "x")
	_, err := r.tree.Create("x", Attr{})
	r.fails(err, ErrReadOnly)
	_, err = r.tree.Mkdir(r.ctx, "x", Attr{})
	r.fails(err, ErrReadOnly)
	_, err = r.tree.Symlink(r.ctx, "x", "y", Attr{})
	r.fails(err, ErrReadOnly)
	_, err = r.tree.SetAttr(r.ctx, "f", Change{})
	r.fails(err, ErrReadOnly)
	r.fails(r.tree.Unlink(r.ctx, "f"), ErrReadOnly)
	r.fails(r.tree.Rmdir(r.ctx, "f"), ErrReadOnly)
	r.fails(r.tree.Rename(r.ctx, "f", "g", false, nil), ErrReadOnly)
	r = newRig(t, Options{Bucket: bkt})
	long := strings.Repeat("x", 256)
	_, err = r.tree.Create(long, Attr{})
	r.fails(err, ErrNameTooLong)
	_, err = r.tree.Lookup(r.ctx, long)
	r.fails(err, ErrNameTooLong)
	_, err = r.tree.Create("a\xff", Attr{})
	r.fails(err, ErrInvalid)
	_, err = r.tree.Lookup(r.ctx, "a\xff")
	r.fails(err, ErrNotFound)
	r.object("f", "x")
	r.fails(r.tree.Rmdir(r.ctx, "f"), ErrNotDir)
	_, err = r.tree.Mkdir(r.ctx, "f", Attr{})
	r.fails(err, ErrExists)
	r.object("d/x", "x")
	r.fails(r.tree.Unlink(r.ctx, "d"), ErrIsDir)
	r.fails(r.tree.Rmdir(r.ctx, "d"), ErrNotEmpty)
	r.fails(r.tree.Unlink(r.ctx, "nix"), ErrNotFound)
	r.fails(r.tree.Rmdir(r.ctx, ""), ErrBusy)
}

func TestAccount(t *testing.T) {
	r := newRig(t, Options{Full: true}, s3mem.WithBuckets("bucket+segments", "Bad_Name", "second"))
	r.object("d/f", "x")
	r.list("", "bucket/ second/")
	r.cost("L1")
	r.missing("nothing")
	r.missing("Bad_Name")
	r.missing("bucket+segments")
	if e := r.lookup("bucket"); !e.IsDir() || e.Bucket != bkt || e.Key != "" {
		t.Errorf("%+v", e)
	}
	r.cost("")
	if e := r.lookup("bucket/d/f"); e.Bucket != bkt || e.Key != "d/f" {
		t.Errorf("%+v", e)
	}
	_, err := r.tree.Create("file", Attr{})
	r.fails(err, ErrNotPermitted)
	_, err = r.tree.Mkdir(r.ctx, "No", Attr{})
	r.fails(err, ErrInvalid)
	_, err = r.tree.Mkdir(r.ctx, bkt, Attr{})
	r.fails(err, ErrExists)
	r.last = r.mem.Counts()
	_, err = r.tree.Mkdir(r.ctx, "third", Attr{})
	r.ok(err)
	r.cost("P1")
	r.list("", "bucket/ second/ third/")
	r.missing("third/x")
	_, err = r.tree.Create("third/x", Attr{})
	r.ok(err)
	r.cost("")
	r.fails(r.tree.Rmdir(r.ctx, "third"), ErrNotEmpty)
	r.ok(r.tree.Unlink(r.ctx, "third/x"))
	r.fails(r.tree.Rmdir(r.ctx, bkt), ErrNotEmpty)
	_, err = r.mem.CreateUpload(r.ctx, "third", "big", s3client.Headers{})
	r.ok(err)
	r.fails(r.tree.Rmdir(r.ctx, "third"), ErrBusy)
	r.ok(r.tree.Rmdir(r.ctx, "second"))
	r.missing("second")
	r.list("", "bucket/ third/")
	r.fails(r.tree.Rename(r.ctx, "third", "fourth", false, nil), ErrCross)
	r.fails(r.tree.Rename(r.ctx, "bucket/d/f", "fourth", false, nil), ErrCross)
	r.ok(r.tree.Rename(r.ctx, "bucket/d/f", "third/g", false, nil))
	if b, ok := r.mem.Bytes("third", "g"); !ok || string(b) != "x" {
		t.Error("not moved across buckets")
	}
	// a bucket that vanished is a missing directory
	if _, err := r.tree.Lookup(r.ctx, "nosuch/x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	// where the list of buckets may not be read
	r = newRig(t, Options{Full: true})
	r.fault.Add(s3fault.Rule{Call: "Buckets", Before: s3client.Denied})
	r.lookup(bkt)
	r.missing("other")
	zero := uint32(0o700)
	_, err = r.tree.SetAttr(r.ctx, bkt, Change{Mode: &zero})
	r.fails(err, ErrNotPermitted)
}

func TestPrefix(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Prefix: "p/q/"})
	r.object("p/q/a", "1")
	r.object("p/other", "1")
	r.list("", "a")
	r.lookup("a")
	_, err := r.tree.Mkdir(r.ctx, "d", Attr{Mode: 0o755})
	r.ok(err)
	if _, ok := r.mem.Object(bkt, "p/q/d/"); !ok {
		t.Error("the marker is elsewhere")
	}
	r.list("", "a d/")
	if p, ok := r.tree.PathOf(bkt, "p/q/d/x"); !ok || p != "d/x" {
		t.Error(p, ok)
	}
}
