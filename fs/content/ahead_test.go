package content

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func (r *rig) versionOf(key string) cache.Version {
	o, _ := r.mem.Object("b", key)
	return cache.Version{Bucket: "b", Key: key, ETag: o.ETag, Size: o.Size}
}

// Sequential readers share the bytes of the readahead, and a reader who stops gives his share to the others.
func TestReadersShareTheReadahead(t *testing.T) {
	var s readers
	now := time.Unix(1000, 0)
	var rs [16]reader
	share := func(i int) int64 { return s.share(&rs[i], now, 96*mib, 64*mib) }
	if n := share(0); n != 64*mib {
		t.Errorf("one reader has %d", n)
	}
	if n := share(1); n != 32*mib {
		t.Errorf("the second has %d", n)
	}
	for i := range rs {
		share(i)
	}
	if n := share(3); n != 4*mib {
		t.Errorf("one of sixteen has %d", n)
	}
	s.leave(&rs[5])
	s.leave(&rs[5])
	if n, most := share(3), int64(64*mib)/15; n != most {
		t.Errorf("one of fifteen has %d, not %d", n, most)
	}
	now = now.Add(idleReader + time.Second)
	if n := share(3); n != 64*mib {
		t.Errorf("the only one who still reads has %d", n)
	}
	if n := s.share(&rs[1], now, 8*mib, 64*mib); n != 8*mib {
		t.Errorf("more than the largest window: %d", n)
	}
	for i := range rs {
		share(i)
	}
	if n := s.share(&rs[1], now, 96*mib, mib); n != mib {
		t.Errorf("more than there is in all: %d", n)
	}
}

// TryReadAt gives what is in memory, tells the readahead the same as ReadAt, and never waits.
func TestTryReadAt(t *testing.T) {
	r := rigFor(t)
	want := pattern(3, 3*mib)
	r.put("k", want)
	f := r.open("k")
	h := f.Handle(false)
	defer f.Close(h)
	if _, ok := f.TryReadAt(h, 0, 100); ok {
		t.Fatal("reads what is not here")
	}
	p, err := read(f, h, 0, 100)
	if err != nil || !bytes.Equal(p, want[:100]) {
		t.Fatal(err)
	}
	if err := r.files.Peek(context.Background(), r.versionOf("k"), 3*mib); err != nil { // the rest is on its way
		t.Fatal(err)
	}
	d, ok := f.TryReadAt(h, 3*mib-50, 100)
	if !ok || d.Len() != 50 || !bytes.Equal(d.Slices()[0], want[3*mib-50:]) {
		t.Errorf("%d bytes at the end, %v", d.Len(), ok)
	}
	d.Done()
	if _, ok := f.TryReadAt(h, 3*mib, 100); ok {
		t.Error("reads behind the end")
	}
	write(f, 10, []byte("x"))
	if _, ok := f.TryReadAt(h, 0, 100); ok {
		t.Error("reads past the bytes that are only here")
	}
	wantSync(t, f)
	if n := r.mem.Calls()["Get"]; n != 1 {
		t.Errorf("%d GETs for a small file", n)
	}
}

// A direct handle asks the store each time and keeps nothing; what was written here it reads from here.
func TestDirectReadsPassTheCaches(t *testing.T) {
	r := rigFor(t)
	want := pattern(5, 100*kib)
	r.put("k", want)
	f := r.open("k")
	h := f.Handle(true)
	defer f.Close(h)
	for i := range 3 {
		p, err := read(f, h, 7, 5000)
		if err != nil || !bytes.Equal(p, want[7:5007]) {
			t.Fatal(err)
		}
		if n := r.mem.Calls()["Get"]; n != int64(i+1) {
			t.Errorf("%d GETs after %d reads", n, i+1)
		}
	}
	if n := r.blocks.Stats().Bytes; n != 0 {
		t.Errorf("%d bytes kept", n)
	}
	write(f, 100, []byte("local"))
	copy(want[100:], "local")
	if p, err := read(f, h, 0, 200); err != nil || !bytes.Equal(p, want[:200]) {
		t.Errorf("reads past a change that is here: %v", err)
	}
	wantSync(t, f)
}

// What is fetched ahead of an open costs the open and the read nothing more.
func TestAhead(t *testing.T) {
	r := rigFor(t)
	want := pattern(9, 20*kib)
	r.put("k", want)
	v := r.versionOf("k")
	r.files.Ahead(v, 1<<20)
	if err := r.files.Peek(context.Background(), v, 20*kib); err != nil {
		t.Fatal(err)
	}
	f := r.open("k")
	h := f.Handle(false)
	defer f.Close(h)
	if p, err := read(f, h, 0, 30*kib); err != nil || !bytes.Equal(p, want) {
		t.Fatal(err)
	}
	if n := r.mem.Calls()["Get"]; n != 1 {
		t.Errorf("%d GETs", n)
	}
	r.files.NotAhead(v)
	gone := cache.Version{Bucket: "b", Key: "none", ETag: "x", Size: 10}
	if err := r.files.Peek(context.Background(), gone, 10); !errors.Is(err, s3client.NotFound) {
		t.Errorf("peek at what is not there: %v", err)
	}
}

func TestWarm(t *testing.T) {
	r := rigFor(t)
	r.put("k", pattern(1, 10*mib+5))
	var fetched atomic.Int64
	v := r.versionOf("k")
	if err := r.files.Warm(context.Background(), v, func(n int64) { fetched.Add(n) }); err != nil {
		t.Fatal(err)
	}
	if n := fetched.Load(); n != 10*mib+5 {
		t.Errorf("told of %d bytes", n)
	}
	if n := r.blocks.Stats().FetchedBytes; n != 10*mib+5 {
		t.Errorf("fetched %d bytes", n)
	}
	gets := r.mem.Calls()["Get"]
	if err := r.files.Warm(context.Background(), v, func(int64) {}); err != nil || r.mem.Calls()["Get"] != gets {
		t.Errorf("warm again: %v, %d more GETs", err, r.mem.Calls()["Get"]-gets)
	}
	r.put("k2", pattern(2, 10*mib))
	broken := errors.New("broken")
	r.fault.Add(s3fault.Rule{Call: "Get", Times: 1, Before: broken})
	if err := r.files.Warm(context.Background(), r.versionOf("k2"), func(int64) {}); !errors.Is(err, broken) {
		t.Errorf("a piece failed: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.put("k3", pattern(2, 10*mib))
	if err := r.files.Warm(ctx, r.versionOf("k3"), func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// A reader who goes away from where he read on end has the rest of his window cancelled, and reads where he is now without
// waiting for it.
func TestWrongGuessIsNotWaitedFor(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.Readahead = 16 * mib })
	const size = 40 * mib
	want := pattern(7, size)
	r.put("k", want)
	f := r.open("k")
	h := f.Handle(false)
	defer f.Close(h)
	// The reads at 0 and at 1 MiB have [0, 8) and [8, 12) MiB fetched: from 4 MiB on, nothing comes before it is cancelled.
	hung, canceled := make(chan struct{}, 64), make(chan struct{}, 64)
	r.fetch = func(ctx context.Context, off int64) error {
		if off < 4*mib || off >= 30*mib {
			return nil
		}
		hung <- struct{}{}
		<-ctx.Done()
		canceled <- struct{}{}
		return ctx.Err()
	}
	for off := int64(0); off < 2*mib; off += mib {
		if p, err := read(f, h, off, mib); err != nil || !bytes.Equal(p, want[off:off+mib]) {
			t.Fatal(err)
		}
	}
	<-hung
	if p, err := read(f, h, 35*mib, 4096); err != nil || !bytes.Equal(p, want[35*mib:][:4096]) {
		t.Fatal(err)
	}
	<-canceled
	for range len(hung) {
		<-canceled
	}
}
