package content

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

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

// A rename of a file that was never closed over one that the journal alone has, and a kill: one of the two is there. Where
// nothing goes from the journal nothing is put into it.
func TestARenameOverAPendingFileLeavesOneOfTheTwo(t *testing.T) {
	for _, pending := range []bool{true, false} {
		t.Run(fmt.Sprint("pending=", pending), func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, inBackground)
			old := r.create("final")
			write(old, 0, []byte("acknowledged"))
			if wantFlush(t, old); !pending {
				wantSync(t, old)
			}
			old.Close(nil)
			tmp := r.create("tmp")
			write(tmp, 0, []byte("new"))
			var over *Base
			if !pending {
				object, _ := r.mem.Object("b", "final")
				over = r.base(object)
			}
			d := must(r.files.Detach(bg, obj("final")))
			if _, moved, err := r.files.Move(bg, obj("tmp"), obj("final"), over); err != nil || moved != MovedPending {
				t.Fatal(moved, err)
			}
			check(d.Done())
			if tmp.isKept() != pending {
				t.Errorf("in the journal: %v", !pending)
			}
			dead := r
			t.Cleanup(func() {
				tmp.Close(nil)
				_ = dead.stop()
			})
			r, _ = r.crash(t, dir, inBackground)
			if _, failed := r.files.Recover(bg); len(failed) > 0 {
				t.Error(failed)
			}
			want := "acknowledged"
			if pending {
				want = "new"
			}
			r.wantStored(t, "final", []byte(want))
			check(r.stop())
		})
	}
}
