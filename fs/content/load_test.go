package content

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"pailfs/cache"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// What was flushed is there after a crash, as it was at the last flush, and is stored.
func TestCrashAfterFlush(t *testing.T) {
	for what, c := range map[string]struct {
		memory int64
		change func(f *File) // after the flush, not flushed
	}{
		"nothing":               {0, func(*File) {}},
		"overwritten":           {0, func(f *File) { write(f, 0, pattern(9, 50*kib)) }},
		"appended":              {0, func(f *File) { write(f, 40*kib, pattern(9, 50*kib)) }},
		"cut":                   {0, func(f *File) { must(0, f.Truncate(bg, 10)) }},
		"punched":               {0, func(f *File) { must(0, f.Allocate(bg, 5, 10*kib, true, true, false)) }},
		"in memory":             {mib, func(*File) {}},
		"in memory overwritten": {mib, func(f *File) { write(f, 0, pattern(9, 50*kib)) }},
		"in memory appended":    {mib, func(f *File) { write(f, 40*kib, pattern(9, 50*kib)) }},
		"in memory grown large": {mib, func(f *File) { write(f, 40*kib, pattern(9, 500*kib)) }},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			r := &rig{mem: newStore(), memory: c.memory}
			r.start(dir, func(o *Options) { o.Behind = true })
			want := pattern(1, 40*kib)
			f := r.create("k")
			write(f, 0, want)
			wantFlush(t, f)
			c.change(f)
			if err := f.check(); err != nil {
				t.Error(err)
			}
			next, _ := r.crash(t, dir)
			e, err := next.files.Load(bg)
			if err != nil || len(e) != 1 || e[0].ID != obj("k") || e[0].Size != 40*kib || e[0].Base != (cache.Version{}) {
				t.Fatalf("loaded %+v, %v", e, err)
			}
			g := must(next.files.Open(obj("k"), nil, Read))
			wantRead(t, g, want)
			g.Close(nil)
			if err := g.check(); err != nil {
				t.Error(err)
			}
			wantCalls(t, "recovery", next.calls(func() {
				if n, failed := next.files.Recover(bg); n != 1 || len(failed) > 0 {
					t.Fatalf("recovered %d, %v", n, failed)
				}
			}), next.expected())
			next.wantStored(t, "k", want)
			if p := next.files.Progress(); p.Recovered != 1 || p.Pending != 0 {
				t.Errorf("progress %+v", p)
			}
			if err := next.stop(); err != nil {
				t.Error(err)
			}
			f.Close(nil)
			r.stop()
		})
	}
}

// expected are the requests of the recovery of a new file of 40 KiB: one look whether somebody else made it.
func (r *rig) expected() map[string]int64 {
	return map[string]int64{"Head": 1, "CreateUpload": 1, "UploadPart": 5, "CompleteUpload": 1}
}

// A crash between the record of a new state and the end of the old one's leaves two: the later counts.
func TestTwoRecordsOfOneFile(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, func(o *Options) { o.Behind = true })
	f := r.create("k")
	write(f, 0, []byte("one"))
	wantFlush(t, f)
	old := f.keptLocked()
	r.later(time.Second)
	write(f, 0, []byte("two"))
	wantFlush(t, f)
	again := must(r.journal.NewSpool()) // what was dropped is back
	must(again.WriteAt([]byte("one"), 0))
	before := f.keptLocked()
	must(0, r.journal.Keep(again, old.record))
	must(0, r.journal.Keep(before.spool, before.record))
	next, _ := r.crash(t, dir)
	if n, failed := next.files.Recover(bg); n != 1 || len(failed) > 0 {
		t.Errorf("recovered %d, %v", n, failed)
	}
	next.wantStored(t, "k", []byte("two"))
	if keys := conflictKeys(next); len(keys) > 0 {
		t.Errorf("a conflict with ourselves: %v", keys)
	}
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	f.Close(nil)
	r.stop()
}

// A rename over a stored object, not stored yet, and a crash: the object is replaced, but not another host's.
func TestCrashAfterRenameOver(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		dir := t.TempDir()
		r := newRig(dir, func(o *Options) { o.Behind = true })
		o := r.put("k", pattern(1, 60*kib))
		f := r.create("tmp")
		write(f, 0, []byte("new"))
		wantFlush(t, f)
		f.Close(nil)
		wantCalls(t, "rename over", r.calls(func() {
			if _, moved, err := r.files.Move(bg, obj("tmp"), obj("k"), r.base(o)); moved != MovedPending || err != nil {
				t.Fatal(moved, err)
			}
		}), nil)
		g := must(r.files.Open(obj("k"), nil, Read))
		wantRead(t, g, []byte("new"))
		g.Close(nil)
		if theirs {
			r.put("k", []byte("theirs"))
		}
		next, _ := r.crash(t, dir)
		calls := next.calls(func() {
			if n, failed := next.files.Recover(bg); n != 1 || len(failed) > 0 {
				t.Errorf("recovered %d, %v", n, failed)
			}
		})
		keys := conflictKeys(next)
		if theirs {
			next.wantStored(t, "k", []byte("theirs"))
			if len(keys) != 1 {
				t.Fatalf("conflicts: %v", keys)
			}
			next.wantStored(t, keys[0], []byte("new"))
		} else {
			wantCalls(t, "recovery", calls, map[string]int64{"Head": 1, "Put": 1})
			next.wantStored(t, "k", []byte("new"))
			if len(keys) != 0 || next.exists("tmp") {
				t.Errorf("keys: %v", next.mem.Keys("b"))
			}
		}
		if err := next.stop(); err != nil {
			t.Error(err)
		}
		r.stop()
	}
}

// A rename of an edited stored file and a crash before the old name is deleted: nothing is lost, and recovery does not fail.
func TestCrashInARename(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, func(o *Options) { o.Behind = true })
	want := pattern(1, 60*kib)
	r.put("k", want)
	f := r.open("k")
	write(f, 100, []byte("edit"))
	copy(want[100:], "edit")
	wantFlush(t, f)
	var next *rig
	r.fault.Add(s3fault.Rule{Call: "Delete", Times: 1, Before: s3client.Denied})
	if _, moved, err := r.files.Move(bg, obj("k"), obj("m"), nil); moved != NotMoved || !errors.Is(err, s3client.Denied) {
		t.Fatal(moved, err)
	}
	if f.ID() != obj("k") || f.keptLocked().record.Key != "k" || len(f.keptLocked().record.Dirty) != 1 {
		t.Errorf("after a rename that failed: %v, %+v", f.ID(), f.keptLocked().record)
	}
	k := f.keptLocked().record
	k.Key, k.Dirty, k.Base = "m", nil, recordBase(r.base(must1(r.mem.Object("b", "m"))), 60*kib)
	must(0, r.journal.Amend(f.keptLocked().spool, k)) // as Move does before it deletes
	next, _ = r.crash(t, dir)
	r.mem.Remove("b", "k")
	if n, failed := next.files.Recover(bg); n != 1 || len(failed) > 0 {
		t.Errorf("recovered %d, %v", n, failed)
	}
	next.wantStored(t, "m", want)
	if next.exists("k") || len(conflictKeys(next)) > 0 {
		t.Errorf("keys: %v", next.mem.Keys("b"))
	}
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	f.Close(nil)
	r.stop()
}

// Recovery stores many at once; what fails is tried again in the background.
func TestRecoverFailsAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, func(o *Options) { o.Behind = true })
	for i := range 20 {
		f := r.create("f" + string(rune('a'+i)))
		write(f, 0, []byte{byte(i)})
		wantFlush(t, f)
		f.Close(nil)
	}
	next, _ := r.crash(t, dir)
	r.stop()
	next.fault.Add(s3fault.Rule{Call: "Put", Key: "fc", Times: 1, Before: s3client.Denied})
	n, failed := next.files.Recover(bg)
	if n != 19 || len(failed) != 1 || !strings.Contains(failed[0].Error(), "b/fc") {
		t.Fatalf("recovered %d, %v", n, failed)
	}
	u := next.files.Unsaved()
	if len(u) != 1 || !u[0].Earlier || !u[0].Kept || u[0].Tries != 1 || u[0].Next.IsZero() {
		t.Errorf("unsaved %+v", u)
	}
	done := make(chan struct{})
	next.fault.Add(s3fault.Rule{Call: "Put", Key: "fc", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		close(done)
		return nil
	}})
	next.later(time.Hour)
	next.files.Start(bg)
	<-done
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	next.wantStored(t, "fc", []byte{2})
}

// Uploads of the earlier run are handed on, for the file that they belong to.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, func(o *Options) { o.Behind = true })
	f := r.create("k")
	write(f, 0, []byte("x"))
	wantFlush(t, f)
	next, _ := r.crash(t, dir, func(o *Options) { o.Resume = func(id ID) []string { return []string{"upload of " + id.Key} } })
	if _, err := next.files.Load(bg); err != nil {
		t.Fatal(err)
	}
	g, _ := next.files.Get(obj("k"))
	if ids := g.resume(obj("k")); len(ids) != 1 || ids[0] != "upload of k" {
		t.Errorf("resume %v", ids)
	}
	if n, failed := next.files.Recover(bg); n != 1 {
		t.Error(n, failed)
	}
	g = next.create("new")
	if ids := g.resume(obj("new")); len(ids) != 0 {
		t.Errorf("resume of a new file: %v", ids)
	}
	g.Close(nil)
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	f.Close(nil)
	r.stop()
}

// A record whose bytes cannot be read is reported, and the others are loaded.
func TestLoadBesideADamagedOne(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, func(o *Options) { o.Behind = true })
	for _, key := range []string{"bad", "good"} {
		f := r.create(key)
		write(f, 0, pattern(1, 300*kib))
		wantFlush(t, f)
		if key == "bad" {
			must(0, os.Truncate(f.mu.spool.Name(), 10))
		}
		f.Close(nil)
	}
	next, _ := r.crash(t, dir)
	e, err := next.files.Load(bg)
	if err == nil || len(e) != 1 || e[0].ID != obj("good") {
		t.Errorf("loaded %+v, %v", e, err)
	}
	if again, err := next.files.Load(bg); len(again) != 0 || err != nil {
		t.Errorf("loaded again: %v, %v", again, err)
	}
	if n, _ := next.files.Recover(bg); n != 1 {
		t.Errorf("recovered %d", n)
	}
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	r.stop()
}
