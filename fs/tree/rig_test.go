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
