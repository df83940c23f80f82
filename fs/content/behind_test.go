package content

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// inBackground makes a rig in journal durability, with the bubble's clock.
func inBackground(o *Options) { o.Behind, o.Now = true, time.Now }

// bubble runs a test with a committer that works, on a clock of its own.
func bubble(t *testing.T, test func(t *testing.T, r *rig), change ...func(*Options)) {
	synctest.Test(t, func(t *testing.T) {
		r := rigFor(t, append([]func(*Options){inBackground}, change...)...)
		r.mu.now = time.Time{} // the bubble's
		r.files.Start(bg)
		test(t, r)
	})
}

func wantFlush(t *testing.T, f *File) {
	t.Helper()
	if err := f.Flush(bg); err != nil {
		t.Fatalf("flush: %v", err)
	}
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
}

// crash is what a new run finds after a kill -9 at this moment: the same store, and a copy of the journal's directory.
// The old run goes on without a store.
func (r *rig) crash(t *testing.T, dir string, change ...func(*Options)) (*rig, string) {
	t.Helper()
	to := t.TempDir()
	err := os.CopyFS(to, os.DirFS(dir))
	for range 10 { // the log may be trimmed while it is copied
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			break
		}
		to = t.TempDir()
		err = os.CopyFS(to, os.DirFS(dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	r.crashed = true
	r.fault.Add(s3fault.Rule{Before: s3client.Denied})
	next := &rig{mem: r.mem, memory: r.memory}
	next.start(to, change...)
	return next, to
}

func (r *rig) exists(key string) bool {
	_, ok := r.mem.Object("b", key)
	return ok
}

func (r *rig) remembered() int {
	r.files.mu.Lock()
	defer r.files.mu.Unlock()
	return len(r.files.mu.all)
}

// Write, close, chmod and rename of a new file cost one PUT, under the last name and with the last attributes.
func TestBehindOnePut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		calls := r.calls(func() {
			f := r.create("tmp")
			write(f, 0, []byte("bytes"))
			wantFlush(t, f)
			f.Close(nil)
			r.setHeaders(map[string]string{"mode": "600"})
			if f, ok := r.files.Get(obj("tmp")); !ok || !f.Touch() {
				t.Fatal("a kept file cannot be touched")
			}
			if _, moved, err := r.files.Move(bg, obj("tmp"), obj("k"), nil); moved != MovedPending || err != nil {
				t.Fatalf("move: %v, %v", moved, err)
			}
			if !r.files.Holds(obj("k")) || r.files.Holds(obj("tmp")) {
				t.Error("the file is not held under its new name")
			}
		})
		wantCalls(t, "until close has returned", calls, nil)
		wantCalls(t, "afterwards", r.calls(func() { time.Sleep(time.Second) }), map[string]int64{"Put": 1})
		r.wantStored(t, "k", []byte("bytes"))
		if o, _ := r.mem.Object("b", "k"); o.Headers.Meta["mode"] != "600" {
			t.Errorf("headers %v", o.Headers)
		}
		if n := r.remembered(); n != 0 {
			t.Errorf("%d files are remembered", n)
		}
		if s := r.journal.Stats(); s.Records != 0 {
			t.Errorf("journal: %+v", s)
		}
		if p := r.files.Progress(); p.Pending != 0 || p.Stored != 1 {
			t.Errorf("progress: %+v", p)
		}
	})
}

func TestBehindDeletedBeforeItsCommit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		calls := r.calls(func() {
			f := r.create("k")
			write(f, 0, []byte("bytes"))
			wantFlush(t, f)
			f.Close(nil)
			d := must(r.files.Detach(bg, obj("k")))
			if d.Uncertain() {
				t.Error("uncertain without an upload")
			}
			d.Done()
			time.Sleep(time.Minute)
		})
		wantCalls(t, "a file that came and went", calls, nil)
		if s := r.journal.Stats(); s.Records != 0 {
			t.Errorf("journal: %+v", s)
		}
	})
}

// An unlinked open file is read from its spool on, also when the journal had a record of it.
func TestBehindUnlinkOpen(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		f := r.create("k")
		write(f, 0, []byte("bytes"))
		wantFlush(t, f)
		must(r.files.Detach(bg, obj("k"))).Done()
		if s := r.journal.Stats(); s.Records != 0 {
			t.Errorf("journal: %+v", s)
		}
		wantRead(t, f, []byte("bytes"))
		write(f, 0, []byte("B"))
		wantRead(t, f, []byte("Bytes"))
		wantFlush(t, f)
		f.Close(nil)
		time.Sleep(time.Minute)
		if keys := r.mem.Keys("b"); len(keys) > 0 {
			t.Errorf("stored: %v", keys)
		}
	})
}

func TestFlushOfNothingNew(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		f := r.create("k")
		defer f.Close(nil)
		write(f, 0, []byte("bytes"))
		wantFlush(t, f)
		before := r.journal.Stats().Entries
		wantFlush(t, f)
		if n := r.journal.Stats().Entries; n != before {
			t.Errorf("the second flush made %d entries", n-before)
		}
		time.Sleep(time.Second)
		wantCalls(t, "flush of a stored file", r.calls(func() {
			wantFlush(t, f)
			time.Sleep(time.Second)
		}), nil)
		wantRead(t, f, []byte("bytes"))
	})
}

func TestBehindStoresWhatWasFlushed(t *testing.T) {
	for what, at := range map[string]int64{"appended": 20, "overwritten": 0} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				f := r.create("k")
				defer f.Close(nil)
				flushed := pattern(1, 20)
				write(f, 0, flushed)
				wantFlush(t, f)
				now := slices.Clone(flushed)
				for i := range 100 {
					p := []byte{byte(i)}
					write(f, at+int64(i), p)
					now = append(now[:min(int(at)+i, len(now))], append(p, now[min(int(at)+i+1, len(now)):]...)...)
					time.Sleep(50 * time.Millisecond)
				}
				if r.exists("k") {
					t.Error("stored while it is being written")
				}
				time.Sleep(26 * time.Second)
				r.wantStored(t, "k", flushed)
				if !f.Stat().Dirty {
					t.Error("what was written since is not unsaved")
				}
				wantRead(t, f, now)
				if err := f.check(); err != nil {
					t.Error(err)
				}
				wantFlush(t, f)
				time.Sleep(time.Second)
				r.wantStored(t, "k", now)
				wantRead(t, f, now)
				if s := r.journal.Stats(); s.Records != 0 || f.Stat().Dirty {
					t.Errorf("unsaved: %v, %+v", f.Stat().Dirty, s)
				}
			})
		})
	}
}

// Writers and Flush go on while a kept state is on its way.
func TestBehindWritesDuringACommit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		open := make(chan struct{})
		r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(context.Context, s3fault.Call) error {
			<-open
			return nil
		}})
		f := r.create("k")
		defer f.Close(nil)
		write(f, 0, []byte("first"))
		wantFlush(t, f)
		time.Sleep(time.Second)
		write(f, 0, []byte("F"))
		write(f, 5, []byte(" second"))
		if err := f.check(); err != nil {
			t.Error(err)
		}
		wantRead(t, f, []byte("First second"))
		close(open)
		synctest.Wait()
		r.wantStored(t, "k", []byte("first"))
		wantRead(t, f, []byte("First second"))
		wantFlush(t, f)
		time.Sleep(time.Second)
		r.wantStored(t, "k", []byte("First second"))
	})
}

// Attributes that change while a kept state is on its way get there, and never leave the journal before.
func TestBehindTouchDuringACommit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(context.Context, s3fault.Call) error {
			r.setHeaders(map[string]string{"mode": "2"})
			f, _ := r.files.Get(obj("k"))
			if !f.Touch() {
				t.Error("not touched")
			}
			return nil
		}})
		f := r.create("k")
		write(f, 0, []byte("bytes"))
		r.setHeaders(map[string]string{"mode": "1"})
		wantFlush(t, f)
		f.Close(nil)
		got := r.calls(func() { time.Sleep(time.Second) })
		delete(got, "Head")
		wantCalls(t, "touched", got, map[string]int64{"Put": 1, "Copy": 1})
		if o, _ := r.mem.Object("b", "k"); o.Headers.Meta["mode"] != "2" {
			t.Errorf("headers %v", o.Headers)
		}
		if r.remembered() != 0 || r.journal.Stats().Records != 0 {
			t.Error("something is left")
		}
	})
}

// While the store is too far behind, who closes a file waits for its commit; an error of the store is none of close.
func TestBehindLate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		open := make(chan struct{})
		slow := r.fault.Add(s3fault.Rule{Call: "Put", Key: "slow", Hook: func(context.Context, s3fault.Call) error {
			<-open
			return nil
		}})
		s := r.create("slow")
		write(s, 0, []byte("slow"))
		wantFlush(t, s)
		s.Close(nil)
		time.Sleep(time.Minute)
		f := r.create("k")
		write(f, 0, []byte("bytes"))
		wantFlush(t, f)
		r.wantStored(t, "k", []byte("bytes"))
		r.fault.Add(s3fault.Rule{Call: "Put", Key: "k", Times: 1, Before: s3client.Throttled})
		write(f, 0, []byte("B"))
		wantFlush(t, f)
		r.wantStored(t, "k", []byte("bytes"))
		f.Close(nil)
		close(open)
		slow.Remove()
		time.Sleep(10 * time.Second)
		r.wantStored(t, "k", []byte("Bytes"))
		r.wantStored(t, "slow", []byte("slow"))
	})
}

func TestInterrupt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		f := r.create("k")
		write(f, 0, []byte("x"))
		wantFlush(t, f)
		f.Close(nil)
		time.Sleep(time.Second)
		r.files.Interrupt(obj("k"))
		r.files.Interrupt(obj("nobody"))
		d := must(r.files.Detach(bg, obj("k")))
		if !d.Uncertain() {
			t.Error("nobody knows whether the object is there")
		}
		if err := d.Erase(bg); err != nil {
			t.Error(err)
		}
		d.Done()
		time.Sleep(time.Minute)
		if r.exists("k") || r.remembered() != 0 || r.journal.Stats().Records != 0 {
			t.Error("the file is still there")
		}
	})
}

// A PUT was carried out without an answer, and what was asked then was refused: the file's end takes the object along.
func TestWhatWasStoredBeforeARefusalGoesWithItsName(t *testing.T) {
	for _, then := range []s3client.Kind{s3client.Throttled, s3client.Denied} {
		r := rigFor(t)
		f := r.create("k")
		write(f, 0, []byte("bytes"))
		r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Refused: then})
		if err := f.Flush(bg); !errors.Is(err, s3client.Temporary) {
			t.Fatalf("%v: %v", then, err)
		}
		f.Close(nil)
		d := must(r.files.Detach(bg, obj("k")))
		if !r.exists("k") || !d.Uncertain() {
			t.Errorf("%v: there %v, uncertain %v", then, r.exists("k"), d.Uncertain())
		}
		check(d.Erase(bg))
		check(d.Done())
		if r.exists("k") {
			t.Errorf("%v: the object is still there", then)
		}
	}
}

// So does what was stored before its bytes could not be read again.
func TestWhatWasStoredBeforeAReadThatFailedGoesWithItsName(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	write(f, 0, []byte("bytes"))
	r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
		r.put("k", []byte("bytes"))
		s3client.Doubtful(ctx)
		return &s3client.Error{Op: "GET Object", Kind: s3client.Changed} // as upload tells of a source's error
	}})
	if err := f.Flush(bg); err == nil {
		t.Fatal("no error")
	}
	f.Close(nil)
	d := must(r.files.Detach(bg, obj("k")))
	check(d.Erase(bg))
	check(d.Done())
	if r.exists("k") {
		t.Error("the object is still there")
	}
}

// A large new file is streamed while it is written; its commit in the background only completes the upload.
func TestBehindStream(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		want := pattern(3, 100*kib)
		f := r.create("k")
		write(f, 0, want)
		st := f.currentStream()
		if st == nil {
			t.Fatal("no stream")
		}
		if err := st.Wait(bg, 0); err != nil {
			t.Fatal(err)
		}
		wantFlush(t, f)
		r.fault.Add(s3fault.Rule{Call: "CompleteUpload", Times: 1, Before: s3client.Denied})
		time.Sleep(time.Second)
		if f.currentStream() == nil {
			t.Error("the upload was given up")
		}
		got := r.calls(func() { time.Sleep(time.Minute) })
		delete(got, "Head")
		wantCalls(t, "the second try", got, map[string]int64{"CompleteUpload": 1})
		r.wantStored(t, "k", want)
		wantRead(t, f, want)
		f.Close(nil)
	})
}

// Truncated to nothing and written anew: nothing of the old object is copied or fetched.
func TestBehindTruncated(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.put("k", pattern(1, 100*kib))
		calls := r.calls(func() {
			f := r.open("k")
			if err := f.Truncate(bg, 0); err != nil {
				t.Fatal(err)
			}
			wantFlush(t, f) // a shell's first close
			write(f, 0, []byte("new"))
			wantFlush(t, f)
			f.Close(nil)
			time.Sleep(time.Second)
		})
		wantCalls(t, "echo new > k", calls, map[string]int64{"Put": 1})
		r.wantStored(t, "k", []byte("new"))
	})
}

// A file that was written for longer than MaxLag is closed as fast as any other: nothing of it was late.
func TestBehindLongWriter(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		f := r.create("k")
		for i := range 60 {
			time.Sleep(time.Second)
			write(f, int64(i), []byte{byte(i)})
		}
		wantCalls(t, "close", r.calls(func() { wantFlush(t, f) }), nil)
		f.Close(nil)
		wantCalls(t, "afterwards", r.calls(func() { time.Sleep(time.Second) }), map[string]int64{"Put": 1})
	})
}

// Close waits for what the background is doing, and stores the rest.
func TestCloseEndsTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newRig(dir, inBackground)
		r.files.Start(bg)
		started := make(chan struct{})
		r.fault.Add(s3fault.Rule{Call: "Put", Key: "going", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
			close(started)
			<-ctx.Done() // for ever, but for Close
			return ctx.Err()
		}})
		for _, key := range []string{"going", "waiting"} {
			f := r.create(key)
			write(f, 0, []byte(key))
			wantFlush(t, f)
			f.Close(nil)
			if key == "going" {
				<-started
			}
		}
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		err := r.files.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), "b/going is not stored, 5 bytes are kept") {
			t.Errorf("close: %v", err)
		}
		r.wantStored(t, "waiting", []byte("waiting"))
		if s := r.journal.Stats(); s.Records != 1 {
			t.Errorf("journal: %+v", s)
		}
		r.stop()
	})
}
