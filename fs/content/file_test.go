package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

var bg = context.Background()

func TestRequests(t *testing.T) {
	r := rigFor(t)
	f := r.create("small")
	write(f, 0, []byte("hello"))
	wantCalls(t, "small file", r.calls(func() { wantSync(t, f) }), map[string]int64{"Put": 1})
	wantCalls(t, "sync of a clean file", r.calls(func() { wantSync(t, f) }), nil)
	wantCalls(t, "reading what was written", r.calls(func() { wantRead(t, f, []byte("hello")) }), nil)
	f.Close(nil)

	e := r.create("empty")
	wantCalls(t, "empty file", r.calls(func() { wantSync(t, e) }), map[string]int64{"Put": 1})
	r.wantStored(t, "empty", []byte{})
	e.Close(nil)
	if n := len(r.mu.stored); n != 2 {
		t.Errorf("Stored was called %d times", n)
	}

	r.put("old", pattern(1, 100*kib))
	f = r.open("old")
	wantCalls(t, "O_TRUNC", r.calls(func() {
		if err := f.Truncate(bg, 0); err != nil {
			t.Fatal(err)
		}
		write(f, 0, []byte("new"))
		wantSync(t, f)
	}), map[string]int64{"Put": 1})
	r.wantStored(t, "old", []byte("new"))
	f.Close(nil)

	big := pattern(2, 100*kib)
	r.put("big", big)
	f = r.open("big")
	write(f, 50*kib, []byte("edit"))
	copy(big[50*kib:], "edit")
	got := r.calls(func() { wantSync(t, f) })
	if got["CopyPart"] == 0 || got["UploadPart"] != 1 || got["Put"] != 0 {
		t.Errorf("an edit in place: %v", got)
	}
	r.wantStored(t, "big", big)
	wantRead(t, f, big)
	f.Close(nil)
}

// TestReadSmallFile reads an object: small ones in one GET, whatever the reads.
func TestReadSmallFile(t *testing.T) {
	r := rigFor(t)
	want := pattern(3, 300*kib)
	r.put("k", want)
	f := r.open("k")
	defer f.Close(nil)
	h := f.Handle(false)
	got := r.calls(func() {
		for off := 0; off < len(want); off += 10 * kib {
			p, err := read(f, h, int64(off), 10*kib)
			if err != nil || !bytes.Equal(p, want[off:off+10*kib]) {
				t.Fatalf("at %d: %v", off, err)
			}
		}
	})
	wantCalls(t, "small file in small reads", got, map[string]int64{"Get": 1})
	d, err := f.ReadAt(bg, h, 5, 100)
	if err != nil || d.view == nil {
		t.Errorf("a read of a clean file is not a view: %v", err)
	}
	d.Done()
	if p, err := read(f, h, 300*kib, 10); err != nil || len(p) != 0 {
		t.Errorf("behind the end: %d bytes, %v", len(p), err)
	}
}

// TestTouch: attributes changed during an upload travel with a commit of their own, before Sync returns.
func TestTouch(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	defer f.Close(nil)
	write(f, 0, []byte("x"))
	r.setHeaders(map[string]string{"mode": "1"})
	r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		r.setHeaders(map[string]string{"mode": "2"})
		f.Touch()
		return nil
	}})
	got := r.calls(func() { wantSync(t, f) })
	delete(got, "Head") // upload may look at what it has copied
	wantCalls(t, "touched", got, map[string]int64{"Put": 1, "Copy": 1})
	if o, _ := r.mem.Object("b", "k"); o.Headers.Meta["mode"] != "2" {
		t.Errorf("headers %v", o.Headers)
	}
	f.Touch()
	if !f.Stat().Dirty {
		t.Error("a touched clean file is not unsaved")
	}
	wantSync(t, f)
}

// TestReadDuringCommit: readers of the base go on while and after the commit replaces it.
func TestReadDuringCommit(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.Readahead = -1 })
	want := pattern(1, 60*kib)
	r.put("k", want)
	f := r.open("k")
	defer f.Close(nil)
	write(f, 0, []byte("edit"))
	copy(want, "edit")
	got := make(chan error, 1)
	r.fault.Add(s3fault.Rule{Call: "CompleteUpload", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		p, err := read(f, nil, 20*kib, 100) // while it runs: from the old version
		if !bytes.Equal(p, want[20*kib:20*kib+100]) {
			t.Errorf("read during the commit: %v", err)
		}
		return nil
	}})
	r.mu.between = func() {
		// The store has the new version, the File does not know yet: the read is refused and has to wait for it.
		go func() {
			p, err := read(f, nil, 40*kib, 100)
			if err == nil && !bytes.Equal(p, want[40*kib:40*kib+100]) {
				err = errors.New("wrong bytes")
			}
			got <- err
		}()
		for r.mem.Calls()["Get"] < 2 {
			runtime.Gosched()
		}
	}
	wantSync(t, f)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// TestConcurrent has writers, readers and Syncs at one file. Each block of it is always written whole with one value: a
// reader that sees two in a block, or a store that has, has a torn version.
func TestConcurrent(t *testing.T) {
	r := rigFor(t)
	const block, blocks = 3 * kib, 20
	r.put("k", make([]byte, block*blocks))
	f := r.open("k")
	defer f.Close(nil)
	whole := func(what string, p []byte) {
		for ; len(p) > 0; p = p[block:] {
			if n := bytes.Count(p[:block], p[:1]); n != block {
				t.Errorf("%s: torn block: %d of %d", what, n, block)
			}
		}
	}
	var stop atomic.Bool
	var others, writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for i := range 300 {
				p := bytes.Repeat([]byte{byte(i*2 + w + 1)}, block)
				write(f, int64(i*7%blocks)*block, p)
			}
		})
	}
	for range 2 {
		others.Go(func() {
			h := f.Handle(false)
			for i := 0; !stop.Load(); i++ {
				p, err := read(f, h, int64(i%blocks)*block, block)
				if err != nil {
					t.Error(err)
					return
				}
				whole("read", p)
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			if err := f.Sync(bg); err != nil {
				t.Error(err)
				return
			}
			p, _ := r.mem.Bytes("b", "k")
			whole("store", p)
		}
	})
	writers.Wait()
	stop.Store(true)
	others.Wait()
	wantSync(t, f)
	p, _ := r.mem.Bytes("b", "k")
	wantRead(t, f, p)
}

// TestWritersWaitForCommit, and leave when their context ends.
func TestWritersWaitForCommit(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	defer f.Close(nil)
	write(f, 0, []byte("first"))
	r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		defer cancel()
		if _, err := f.WriteAt(ctx, []byte("later"), 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a write during the commit: %v", err)
		}
		return nil
	}})
	wantSync(t, f)
	r.wantStored(t, "k", []byte("first"))
}

func TestVersionsSideBySide(t *testing.T) {
	r := rigFor(t)
	one, two := pattern(1, 10*kib), pattern(2, 12*kib)
	r.put("k", one)
	f1 := r.open("k")
	wantRead(t, f1, one)
	oldBase := r.base(must1(r.mem.Object("b", "k")))
	r.put("k", two)
	r.later(time.Second)
	f2 := r.open("k")
	if f1 == f2 {
		t.Fatal("one File for two versions")
	}
	wantRead(t, f2, two)
	wantRead(t, f1, one) // from memory
	if f3 := must(r.files.Open(obj("k"), oldBase, Read)); f3 != f2 {
		t.Error("older knowledge replaced newer")
	} else {
		f3.Close(nil)
	}
	write(f1, 0, []byte("late"))
	if err := f1.Sync(bg); !errors.Is(err, ErrConflict) {
		t.Errorf("commit of a superseded version: %v", err)
	}
	r.wantStored(t, "k", two)
	f1.Close(nil)
	f2.Close(nil)

	f := r.open("k") // a version that is gone and not in memory
	r.put("k", one)
	r.blocks.Close(bg)
	if _, err := read(f, nil, 0, 10); err == nil {
		t.Error("read from nowhere")
	}
	f.Close(nil)
}

func TestReadOfGoneVersion(t *testing.T) {
	r := rigFor(t)
	r.put("k", pattern(1, 10*kib))
	f := r.open("k")
	defer f.Close(nil)
	r.put("k", pattern(2, 10*kib))
	if _, err := read(f, nil, 0, 10); !errors.Is(err, s3client.Changed) {
		t.Errorf("read: %v", err)
	}
}

func must1[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}

func TestReadShort(t *testing.T) {
	r := rigFor(t)
	r.put("k", pattern(1, 10*kib))
	f := r.open("k")
	defer f.Close(nil)
	r.fault.Add(s3fault.Rule{Call: "Get", Cut: true, CutAt: 100})
	if _, err := read(f, nil, 0, 10*kib); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body cut short: %v", err)
	}
	write(f, 0, []byte("x"))
	if _, err := read(f, nil, 0, 10*kib); err == nil {
		t.Error("a mixture with a body cut short")
	}
	r.fault.Clear()
	wantSync(t, f)
}

// TestDisturbed: a read that met a write of its bytes is not answered with what it read.
func TestDisturbed(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	defer f.Close(nil)
	write(f, 0, pattern(1, 10*kib))
	at := func() *look {
		l, busy := f.look(kib, kib, true)
		if busy != nil {
			t.Fatal("busy without a writer")
		}
		return l
	}
	l := at()
	write(f, 0, pattern(2, kib))
	write(f, 2*kib, pattern(2, kib))
	if f.disturbed(l) {
		t.Error("by writes beside it")
	}
	write(f, 2*kib-1, []byte("x"))
	if !f.disturbed(l) {
		t.Error("not by a write into it")
	}
	l = at()
	for range len(f.mu.recent) + 1 {
		write(f, 5*kib, []byte("x"))
	}
	if !f.disturbed(l) {
		t.Error("not by more writes than are remembered")
	}
	l = at()
	f.begin(Range{Off: 2*kib - 1, Len: 1})
	if !f.disturbed(l) {
		t.Error("not by a write going on")
	}
	if _, busy := f.look(kib, kib, true); busy == nil {
		t.Error("a read does not wait for a write into its bytes")
	}
	if _, busy := f.look(0, kib, true); busy != nil {
		t.Error("a read waits for a write beside it")
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := f.ReadAt(ctx, nil, kib, kib); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting read: %v", err)
	}
	f.end(Range{Off: 2*kib - 1, Len: 1}, nil)

	// The write comes between the decision and the bytes: ReadAt looks again.
	got := make(chan []byte)
	f.begin(Range{Off: 0, Len: 10 * kib})
	go func() {
		p, err := read(f, nil, 0, 10*kib)
		if err != nil {
			t.Error(err)
		}
		got <- p
	}()
	want := pattern(9, 10*kib)
	if _, err := f.mu.spool.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	f.end(Range{Off: 0, Len: 10 * kib}, nil)
	if !bytes.Equal(<-got, want) {
		t.Error("the read returned what was there before the write ended")
	}
}
