package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

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

// crowded closes Files with files open and a store that takes nothing, as at the end of a mount that is in use.
func (r *rig) crowded(t *testing.T) {
	t.Helper()
	ended, cancel := context.WithCancel(bg)
	cancel()
	if err := r.files.Close(ended); err == nil {
		t.Error("everything is stored")
	}
}

// endRooms ends the rest of a rig whose Files is closed.
func (r *rig) endRooms() { check(errors.Join(r.up.Close(bg), r.blocks.Close(bg), r.journal.Close())) }

// A program goes on while Files is closed: a file that is kept already is changed no more, and after the end no fsync and no close
// says that what the journal alone has is stored.
func TestWhatIsKeptAtTheEndIsNotChanged(t *testing.T) {
	for _, behind := range []bool{false, true} {
		dir := t.TempDir()
		r := newRig(dir, func(o *Options) { o.Behind = behind })
		r.put("src", pattern(1, 40*kib))
		src, copied, a, b := r.open("src"), r.create("copied"), r.create("a"), r.create("b")
		write(a, 0, []byte("first"))
		wantSync(t, a)
		wantSync(t, copied)
		write(a, 5, []byte(" second"))
		write(b, 0, []byte("b"))
		away(r)
		tried := false
		change := func() {
			if tried || !a.isKept() && !b.isKept() { // the other one goes into the journal at this moment
				return
			}
			tried = true
			kept := a
			if b.isKept() {
				kept = b
			}
			_, wrote := kept.WriteAt(bg, []byte(" third"), 12)
			_, _, appended := kept.Append(bg, []byte(" third"))
			_, cloned := copied.CloneRange(bg, src, 0, 0, mib)
			for what, err := range map[string]error{"write": wrote, "append": appended, "truncate": kept.Truncate(bg, 3),
				"fallocate": kept.Allocate(bg, 0, 3, true, true, false), "copy": cloned} {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("behind %v: %s of a file that is kept already: %v", behind, what, err)
				}
			}
		}
		r.files.o.Headers = func(context.Context, ID, bool) (s3client.Headers, error) {
			change()
			return s3client.Headers{}, nil
		}
		if r.crowded(t); !tried {
			t.Fatal("nothing was tried")
		}
		for _, f := range []*File{a, b} {
			if fsync, flush := f.Sync(bg), f.Flush(bg); !errors.Is(fsync, ErrClosed) || !errors.Is(flush, ErrClosed) {
				t.Errorf("behind %v: of %s, which is in the journal, fsync says %v and close %v", behind, f.ID(), fsync, flush)
			}
		}
		if err := src.Sync(bg); err != nil {
			t.Errorf("fsync of a stored file: %v", err)
		}
		_, detached := r.files.Detach(bg, obj("a"))
		_, _, moved := r.files.Move(bg, obj("a"), obj("c"), nil)
		for what, err := range map[string]error{"unlink": detached, "rename": moved, "rename of the directory": r.files.SyncUnder(bg, "b", "")} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("behind %v: %s after the end: %v", behind, what, err)
			}
		}
		r.endRooms()
		next := &rig{mem: r.mem}
		next.start(dir)
		if n, failed := next.files.Recover(bg); n != 2 || len(failed) > 0 {
			t.Errorf("behind %v: stored %d, failed %v", behind, n, failed)
		}
		next.wantStored(t, "a", []byte("first second"))
		next.wantStored(t, "b", []byte("b"))
		check(next.stop())
	}
}

// Programs write, and call fsync, all the time while Files is closed: each byte that a write took before it is kept, whoever had
// the turn at that moment.
func TestWhatWasWrittenBeforeTheEndIsKept(t *testing.T) {
	const files, record = 8, 16
	for range 10 {
		dir := t.TempDir()
		r := newRig(dir)
		away(r)
		var writing sync.WaitGroup
		var written [files]int
		begun := make(chan struct{}, files)
		for i := range files {
			f := r.create(fmt.Sprint(i))
			writing.Go(func() {
				for n := 0; ; n++ {
					if _, _, err := f.Append(bg, []byte(fmt.Sprintf("%0*d", record, n))); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Errorf("write: %v", err)
						}
						break
					}
					written[i] = n + 1
					if i%2 == 0 && n%16 == 0 && f.Sync(bg) == nil {
						t.Error("an fsync says that a store which takes nothing has the file")
					}
					if n == 50 {
						begun <- struct{}{}
					}
				}
				if f.Sync(bg) == nil {
					t.Error("an fsync at the end says that a store which takes nothing has the file")
				}
			})
		}
		for range files {
			<-begun
		}
		r.crowded(t)
		writing.Wait()
		r.endRooms()
		next := &rig{mem: r.mem}
		next.start(dir)
		if n, failed := next.files.Recover(bg); n != files || len(failed) > 0 {
			t.Errorf("stored %d, failed %v", n, failed)
		}
		for i, n := range written {
			got, _ := next.mem.Bytes("b", fmt.Sprint(i))
			if len(got) < n*record {
				t.Fatalf("file %d has %d bytes, %d were written", i, len(got), n*record)
			}
			for k := range n {
				if want := fmt.Sprintf("%0*d", record, k); string(got[k*record:][:record]) != want {
					t.Fatalf("file %d has %q in the place of %q", i, got[k*record:][:record], want)
				}
			}
		}
		check(next.stop())
	}
}
