package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
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

func TestStream(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	h := f.Handle(false)
	want := pattern(5, 200*kib+123)
	for off := 0; off < len(want); off += kib {
		write(f, int64(off), want[off:min(off+kib, len(want))])
	}
	st := f.currentStream()
	if st == nil {
		t.Fatal("no stream")
	}
	if err := st.Wait(bg, 0); err != nil {
		t.Fatal(err)
	}
	calls := r.mem.Calls()
	if calls["UploadPart"] < 20 || calls["Put"] != 0 {
		t.Errorf("while writing: %v", calls)
	}
	write(f, 0, []byte("header written last"))
	copy(want, "header written last")
	write(f, 100*kib, []byte("touched"))
	copy(want[100*kib:], "touched")
	got := r.calls(func() { wantSync(t, f) })
	if got["UploadPart"] > 3 || got["CompleteUpload"] != 1 { // the first, the touched, the last
		t.Errorf("at the commit: %v", got)
	}
	r.wantStored(t, "k", want)
	wantCalls(t, "reading", r.calls(func() { wantRead(t, f, want) }), nil)
	f.Close(h)
}

func TestStreamCutAndGoOn(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	defer f.Close(nil)
	want := pattern(6, 120*kib)
	write(f, 0, want)
	if f.currentStream() == nil {
		t.Fatal("no stream")
	}
	for _, size := range []int64{70 * kib, 10 * kib} {
		if err := f.Truncate(bg, size); err != nil {
			t.Fatal(err)
		}
		want = append(want[:size:size], pattern(7, 30*kib)...)
		write(f, size, want[size:])
	}
	if err := f.Truncate(bg, 3); err != nil {
		t.Fatal(err)
	}
	if f.currentStream() != nil {
		t.Error("a stream for three bytes")
	}
	// The upload that was given up while it was being initiated may be aborted only now.
	calls := r.calls(func() { wantSync(t, f) })
	delete(calls, "CreateUpload")
	delete(calls, "AbortUpload")
	wantCalls(t, "commit", calls, map[string]int64{"Put": 1})
	r.wantStored(t, "k", want[:3])
	if ups := r.mem.PendingUploads("b"); len(ups) > 0 {
		t.Errorf("left: %v", ups)
	}
}

// TestBackPressure holds the network: the writer waits, its context frees it, and a Sync is not in its way.
func TestBackPressure(t *testing.T) {
	r := rigFor(t, func(o *Options) { o.StreamBytes = 20 * kib })
	open := make(chan struct{})
	r.fault.Add(s3fault.Rule{Call: "UploadPart", Hook: func(ctx context.Context, _ s3fault.Call) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	f := r.create("k")
	defer f.Close(nil)
	ctx, cancel := context.WithCancel(bg)
	want := pattern(8, 100*kib)
	off := 0
	for ; off < len(want); off += 8 * kib {
		if st := f.currentStream(); st != nil && st.InFlight() >= 20*kib {
			break
		}
		write(f, int64(off), want[off:off+8*kib])
	}
	if off >= len(want) {
		t.Fatal("no back-pressure")
	}
	cancel()
	if _, err := f.WriteAt(ctx, want[off:], int64(off)); !errors.Is(err, context.Canceled) {
		t.Fatalf("a held writer: %v", err)
	}
	done := make(chan error, 2)
	go func() {
		_, err := f.WriteAt(bg, want[off:], int64(off))
		done <- err
	}()
	go func() { done <- f.Sync(bg) }()
	close(open)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	wantSync(t, f)
	r.wantStored(t, "k", want)
}

func TestFailedSyncStays(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	write(f, 0, []byte("precious"))
	failStores(r)
	for range 2 {
		if err := f.Sync(bg); !errors.Is(err, s3client.Denied) {
			t.Fatalf("sync: %v", err)
		}
	}
	f.Close(nil)
	u := r.files.Unsaved()
	if len(u) != 1 || u[0].ID != obj("k") || u[0].Bytes != 8 || !errors.Is(u[0].Err, s3client.Denied) {
		t.Fatalf("unsaved: %+v", u)
	}
	f = must(r.files.Open(obj("k"), nil, Read))
	wantRead(t, f, []byte("precious"))
	r.fault.Clear()
	f.Close(nil)
	var last string
	if err := r.files.SyncAll(bg, func(done, total int64) { last = fmt.Sprint(done, "/", total) }); err != nil {
		t.Fatal(err)
	}
	if last != "8/8" {
		t.Errorf("progress %s", last)
	}
	r.wantStored(t, "k", []byte("precious"))
	if n := len(r.files.mu.all); n != 0 {
		t.Errorf("%d files are remembered", n)
	}
	if _, err := r.files.Open(obj("k"), nil, Read); !errors.Is(err, s3client.NotFound) {
		t.Errorf("open of nothing: %v", err)
	}
}

// TestSyncsShare: several Syncs at once make one upload, and a failure reaches all of them.
func TestSyncsShare(t *testing.T) {
	for _, fail := range []error{nil, s3client.Denied} {
		r := rigFor(t)
		f := r.create("k")
		write(f, 0, []byte("x"))
		started, open := make(chan struct{}), make(chan struct{})
		var once sync.Once
		rule := r.fault.Add(s3fault.Rule{Call: "Put", Before: fail, Hook: func(context.Context, s3fault.Call) error {
			once.Do(func() { close(started) })
			<-open
			return nil
		}})
		errs := make(chan error, 4)
		go func() { errs <- f.Sync(bg) }()
		<-started
		_, tries, _, _ := f.syncNeeded()
		for range 3 {
			go func() {
				gen, _, _, _ := f.syncNeeded()
				if err := f.take(bg, f.turn); err != nil {
					errs <- err
					return
				}
				defer f.turn.give()
				done, err := f.syncedBy(gen, tries)
				if !done {
					err = errors.New("would upload again")
				}
				errs <- err
			}()
		}
		close(open)
		for range 4 {
			if err := <-errs; !errors.Is(err, fail) {
				t.Errorf("sync: %v, want %v", err, fail)
			}
		}
		if n := rule.Struck(); n != 1 {
			t.Errorf("%d uploads", n)
		}
		rule.Remove()
		wantSync(t, f)
		f.Close(nil)
	}
}

// TestCanceledSyncIsNotShared: one caller's patience ends, the others still get their file stored.
func TestCanceledSyncIsNotShared(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	defer f.Close(nil)
	write(f, 0, []byte("x"))
	ctx, cancel := context.WithCancel(bg)
	r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}})
	if err := f.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled sync: %v", err)
	}
	if done, _ := f.syncedBy(f.mu.gen, 0); done {
		t.Error("a canceled commit answers for others")
	}
	wantSync(t, f)
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

func conflictKeys(r *rig) (keys []string) {
	for _, k := range r.mem.Keys("b") {
		if strings.Contains(k, ".conflict-") {
			keys = append(keys, k)
		}
	}
	return keys
}

func TestConflict(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(f *File, want []byte) []byte // the local change
		cached  bool                              // the base is in memory
		conflic bool
	}{
		{"overwritten", func(f *File, _ []byte) []byte {
			if err := f.Truncate(bg, 0); err != nil {
				panic(err)
			}
			write(f, 0, []byte("mine"))
			return []byte("mine")
		}, false, true},
		{"edited, base in memory", func(f *File, want []byte) []byte {
			write(f, 5, []byte("mine"))
			copy(want[5:], "mine")
			return want
		}, true, true},
		{"edited, base lost", func(f *File, want []byte) []byte {
			write(f, 5, []byte("mine"))
			return nil
		}, false, false},
	} {
		for _, stale := range []bool{true, false} {
			if !stale && c.name == "overwritten" {
				continue // nothing asks for the base then: the last writer wins within CheckAfter
			}
			t.Run(fmt.Sprintf("%s, seen long ago %v", c.name, stale), func(t *testing.T) {
				dir := t.TempDir()
				r := newRig(dir)
				base := pattern(1, 40*kib)
				r.put("k", base)
				f := r.open("k")
				if c.cached {
					wantRead(t, f, base)
				}
				mine := c.change(f, bytes.Clone(base))
				r.put("k", []byte("theirs"))
				if stale {
					r.later(time.Hour)
				}
				err := f.Sync(bg)
				if !errors.Is(err, ErrConflict) || !errors.Is(err, s3client.Changed) {
					t.Fatalf("sync: %v", err)
				}
				r.wantStored(t, "k", []byte("theirs"))
				if !c.conflic { // rest_test.go
					f.Close(nil)
					check(r.stop())
					return
				}
				keys := conflictKeys(r)
				if len(keys) != 1 {
					t.Fatalf("conflict copies: %v", keys)
				}
				r.wantStored(t, keys[0], mine)
				wantRead(t, f, mine)
				if got := r.files.Conflicts(); len(got) != 1 || got[0].ID != obj("k") || got[0].Kept != obj(keys[0]) {
					t.Errorf("conflicts: %v", got)
				}
				write(f, 0, []byte("more")) // goes on in the copy, and the writer is told again
				if err := f.Sync(bg); !errors.Is(err, ErrConflict) {
					t.Errorf("second sync: %v", err)
				}
				copy(mine, "more")
				r.wantStored(t, keys[0], mine)
				r.wantStored(t, "k", []byte("theirs"))
				f.Close(nil)
				if err := r.stop(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
		}
	}
}

// TestCheckUnchanged: an old base costs one HEAD, and is not asked for again soon.
func TestCheckUnchanged(t *testing.T) {
	r := rigFor(t)
	r.put("k", []byte("old"))
	f := r.open("k")
	defer f.Close(nil)
	r.later(time.Hour)
	write(f, 0, []byte("new"))
	wantCalls(t, "old base", r.calls(func() { wantSync(t, f) }), map[string]int64{"Head": 1, "Put": 1})
	write(f, 0, []byte("two"))
	wantCalls(t, "new base", r.calls(func() { wantSync(t, f) }), map[string]int64{"Put": 1})
	r.later(time.Hour)
	write(f, 0, []byte("3"))
	r.fault.Add(s3fault.Rule{Call: "Head", Before: s3client.Temporary})
	if err := f.Sync(bg); !errors.Is(err, s3client.Temporary) {
		t.Errorf("sync without an answer: %v", err)
	}
	r.wantStored(t, "k", []byte("two"))
	r.fault.Clear()
}

// TestLostAnswer: the store has our bytes, the answer was lost; that is no conflict with ourselves.
func TestLostAnswer(t *testing.T) {
	r := rigFor(t)
	r.put("k", []byte("old"))
	f := r.open("k")
	defer f.Close(nil)
	if err := f.Truncate(bg, 0); err != nil {
		t.Fatal(err)
	}
	write(f, 0, []byte("new"))
	r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, After: s3client.Temporary})
	if err := f.Sync(bg); !errors.Is(err, s3client.Temporary) {
		t.Fatalf("sync: %v", err)
	}
	r.later(time.Hour)
	wantSync(t, f)
	if keys := conflictKeys(r); len(keys) > 0 {
		t.Errorf("a conflict with ourselves: %v", keys)
	}
	r.wantStored(t, "k", []byte("new"))
}

func TestVanished(t *testing.T) {
	r := rigFor(t)
	want := pattern(1, 40*kib)
	r.put("k", want)
	f := r.open("k")
	wantRead(t, f, want)
	write(f, 7, []byte("mine"))
	copy(want[7:], "mine")
	r.mem.Remove("b", "k")
	wantSync(t, f) // the base is in memory: created again
	r.wantStored(t, "k", want)
	f.Close(nil)
}

func TestUnlinkOpen(t *testing.T) {
	r := rigFor(t)
	want := pattern(1, 40*kib)
	r.put("k", want)
	f := r.open("k")
	write(f, 10, []byte("edit"))
	copy(want[10:], "edit")
	d, err := r.files.Detach(bg, obj("k"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	if err := f.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a commit while the name is being removed: %v", err)
	}
	wantRead(t, f, want)
	r.mem.Remove("b", "k")
	d.Done()
	write(f, 0, []byte("on"))
	copy(want, "on")
	wantCalls(t, "unlinked file", r.calls(func() {
		if err := f.Sync(bg); err != nil {
			t.Fatal(err)
		}
		wantRead(t, f, want)
	}), nil)
	if f.Stat().Dirty || f.Touch() {
		t.Error("a file without a name is unsaved")
	}
	if _, there := r.files.Get(obj("k")); there {
		t.Error("the id is still taken")
	}
	f2 := r.create("k")
	write(f2, 0, []byte("another"))
	wantSync(t, f2)
	f2.Close(nil)
	f.Close(nil)
	r.wantStored(t, "k", []byte("another"))
	if n := len(r.files.mu.all); n != 0 {
		t.Errorf("%d files are remembered", n)
	}
}

func TestDetachUndo(t *testing.T) {
	r := rigFor(t)
	r.put("k", []byte("stored"))
	f := r.open("k")
	write(f, 0, []byte("S"))
	d, err := r.files.Detach(bg, obj("k"))
	if err != nil {
		t.Fatal(err)
	}
	d.Undo()
	d.Undo()
	wantSync(t, f)
	f.Close(nil)
	r.wantStored(t, "k", []byte("Stored"))

	g := r.create("g") // unsaved and closed: dropped
	write(g, 0, []byte("x"))
	g.Close(nil)
	d, err = r.files.Detach(bg, obj("g"))
	if err != nil {
		t.Fatal(err)
	}
	d.Done()
	if u := r.files.Unsaved(); len(u) > 0 {
		t.Errorf("unsaved: %v", u)
	}
	if d, err := r.files.Detach(bg, obj("nobody")); d != nil || err != nil {
		t.Errorf("unknown id: %v %v", d, err)
	}
	(*Detaching)(nil).Done()
	(*Detaching)(nil).Undo()

	r.put("h", pattern(1, 30*kib))
	h := r.open("h")
	defer h.Close(nil)
	r.fault.Add(s3fault.Rule{Call: "Get", Before: s3client.Temporary})
	if _, err := r.files.Detach(bg, obj("h")); !errors.Is(err, s3client.Temporary) {
		t.Errorf("detach without the bytes: %v", err)
	}
	r.fault.Clear()
	if p, err := read(h, nil, 0, 10); err != nil || len(p) != 10 {
		t.Errorf("read after a failed detach: %v", err)
	}
}

func TestMove(t *testing.T) {
	r := rigFor(t)
	want := pattern(1, 60*kib)
	r.put("a", want)
	f := r.open("a")
	defer f.Close(nil)
	if _, moved, err := r.files.Move(bg, obj("a"), obj("b"), nil); moved != NotMoved || err != nil {
		t.Fatalf("move of a clean file: %v %v", moved, err)
	}
	write(f, 0, []byte("edit"))
	copy(want, "edit")
	r.fault.Add(s3fault.Rule{Call: "Delete", Times: 1, Before: s3client.Denied})
	if _, moved, err := r.files.Move(bg, obj("a"), obj("b"), nil); moved != NotMoved || !errors.Is(err, s3client.Denied) {
		t.Fatalf("move that cannot delete: %v %v", moved, err)
	}
	if f.ID() != obj("a") || !f.Stat().Dirty {
		t.Fatal("a failed move changed the file")
	}
	o, moved, err := r.files.Move(bg, obj("a"), obj("b"), nil)
	if moved != MovedStored || err != nil || o.ETag != f.Stat().Version.ETag || o.Size != 60*kib {
		t.Fatalf("move: %+v %v %v", o, moved, err)
	}
	if keys := r.mem.Keys("b"); len(keys) != 1 || keys[0] != "b" {
		t.Fatalf("keys %v", keys)
	}
	r.wantStored(t, "b", want)
	if g, ok := r.files.Get(obj("b")); !ok || g != f || f.Stat().Dirty {
		t.Error("the file has not followed")
	}

	n := r.create("new")
	defer n.Close(nil)
	write(n, 0, []byte("n"))
	wantCalls(t, "rename of a file that was never stored", r.calls(func() {
		if _, moved, err := r.files.Move(bg, obj("new"), obj("newer"), nil); moved != MovedStored || err != nil {
			t.Fatal(moved, err)
		}
	}), map[string]int64{"Put": 1})

	s := r.create("stream")
	defer s.Close(nil)
	write(s, 0, want)
	if _, moved, err := r.files.Move(bg, obj("stream"), obj("streamed"), nil); moved != NotMoved || err != nil {
		t.Fatalf("move of a stream: %v %v", moved, err)
	}
	r.wantStored(t, "stream", want)
}

func TestMoved(t *testing.T) {
	r := rigFor(t)
	want := pattern(1, 60*kib)
	r.put("a", want)
	f := r.open("a")
	defer f.Close(nil)
	// A reader meets the rename between the store's answer and Moved.
	r.fault.Add(s3fault.Rule{Call: "Get", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		o := r.put("b", want)
		r.mem.Remove("b", "a")
		go func() { r.files.Moved(obj("a"), obj("b"), o) }()
		return nil
	}})
	wantRead(t, f, want)
	if f.ID() != obj("b") {
		t.Errorf("id %v", f.ID())
	}
	write(f, 0, []byte("edit"))
	copy(want, "edit")
	wantSync(t, f)
	r.wantStored(t, "b", want)

	// A rename of the stored object while a commit to the old name runs: nothing is lost, nothing stays behind.
	r.put("a", want)
	g := r.open("a")
	defer g.Close(nil)
	write(g, 1, []byte("mid"))
	r.fault.Add(s3fault.Rule{Call: "CompleteUpload", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		r.files.Moved(obj("a"), obj("c"), r.put("c", want))
		return nil
	}})
	copy(want[1:], "mid")
	wantSync(t, g)
	r.wantStored(t, "c", want)
	if _, there := r.mem.Object("b", "a"); there {
		t.Error("the old name is still there")
	}
}

func TestCloseKeepsAndRecover(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir)
	base := pattern(1, 40*kib)
	r.put("edited", base)
	e := r.open("edited")
	write(e, 100, []byte("edit"))
	if err := e.Truncate(bg, 50*kib); err != nil {
		t.Fatal(err)
	}
	if err := e.Allocate(bg, 45*kib, 5*kib, true, true, false); err != nil {
		t.Fatal(err)
	}
	n := r.create("new")
	r.setHeaders(map[string]string{"mode": "7"})
	write(n, 10, []byte("new"))
	taken := r.create("taken")
	write(taken, 0, []byte("mine"))
	e.Close(nil)
	failStores(r)
	err := r.stop()
	for _, name := range []string{"edited", "new", "taken"} {
		if err == nil || !strings.Contains(err.Error(), "b/"+name+" is not stored") {
			t.Errorf("close does not name %s: %v", name, err)
		}
	}

	r.put("taken", []byte("theirs"))
	r.start(dir)
	r.fault.Add(s3fault.Rule{Call: "Head", Key: "edited", Times: 1, Before: s3client.Temporary})
	stored, failed := r.files.Recover(bg)
	if stored != 2 || len(failed) != 1 || !errors.Is(failed[0], s3client.Temporary) {
		t.Fatalf("recovered %d, failed %v", stored, failed)
	}
	want := append(bytes.Clone(base), make([]byte, 10*kib)...)
	copy(want[100:], "edit")
	f := must(r.files.Open(obj("edited"), nil, Read))
	wantRead(t, f, want)
	if err := r.files.SyncUnder(bg, "b", "edi"); err != nil {
		t.Fatal(err)
	}
	if n := r.journal.Stats().Records; n != 0 {
		t.Errorf("%d records of stored bytes: a crash now would store them again", n)
	}
	wantRead(t, f, want)
	f.Close(nil)
	r.wantStored(t, "edited", want)
	r.wantStored(t, "new", append(make([]byte, 10), "new"...))
	r.wantStored(t, "taken", []byte("theirs"))
	if o, _ := r.mem.Object("b", "new"); o.Headers.Meta["mode"] != "7" {
		t.Errorf("headers %v", o.Headers)
	}
	if keys := conflictKeys(r); len(keys) != 1 {
		t.Errorf("conflicts %v", keys)
	} else {
		r.wantStored(t, keys[0], []byte("mine"))
	}
	if s := r.journal.Stats(); s.Records != 0 {
		t.Errorf("%d records are left", s.Records)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start(dir)
	if p := must(r.journal.Pendings()); len(p) != 0 {
		t.Errorf("recovered twice: %v", p)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestSpoolGoesWithTheFile(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir)
	f := r.create("k")
	f.Hold()
	write(f, 0, []byte("x"))
	wantSync(t, f)
	f.Close(nil)
	if n := spools(t, r, dir); n != 1 {
		t.Errorf("%d spools with a handle open", n)
	}
	f.Close(nil)
	if n := spools(t, r, dir); n != 0 {
		t.Errorf("%d spools after the last close", n)
	}
	if _, err := f.WriteAt(bg, []byte("x"), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write to a forgotten file: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.files.Open(obj("k"), nil, Create); !errors.Is(err, ErrClosed) {
		t.Errorf("open after close: %v", err)
	}
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
