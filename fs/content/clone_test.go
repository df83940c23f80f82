package content

import (
	"bytes"
	"errors"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// clone makes a clone of all of a stored object as cp does, in pieces.
func (r *rig) clone(t *testing.T, from, to string, piece int64) *File {
	t.Helper()
	src := r.open(from)
	defer src.Close(nil)
	f := r.create(to)
	for off := int64(0); ; {
		n, err := f.CloneRange(bg, src, off, off, piece)
		if err != nil {
			t.Fatalf("clone at %d: %v", off, err)
		}
		if n == 0 {
			break
		}
		off += n
	}
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestClone(t *testing.T) {
	for _, behind := range []bool{false, true} {
		r := rigFor(t, func(o *Options) { o.Behind = behind })
		want := pattern(1, 100*kib)
		r.put("src", want)
		f := r.clone(t, "src", "k", 30*kib)
		wantRead(t, f, want)
		if st := f.Stat(); !st.Dirty || st.Version.ETag != "" {
			t.Errorf("stat of a clone: %+v", st)
		}
		wantCalls(t, "commit of a clone", r.calls(func() { wantFlush(t, f) }), map[string]int64{"Copy": 1, "Head": 1})
		r.wantStored(t, "k", want)
		wantRead(t, f, want)
		write(f, 50*kib, []byte("edit"))
		copy(want[50*kib:], "edit")
		wantSync(t, f)
		r.wantStored(t, "k", want)
		f.Close(nil)

		g := r.clone(t, "src", "edited", mib)
		want = pattern(1, 100*kib)
		write(g, 70*kib, []byte("edit"))
		copy(want[70*kib:], "edit")
		if err := g.Truncate(bg, 90*kib); err != nil {
			t.Fatal(err)
		}
		got := r.calls(func() { wantSync(t, g) })
		if got["CopyPart"] == 0 || got["UploadPart"] > 2 || got["Put"] != 0 {
			t.Errorf("an edited clone: %v", got)
		}
		r.wantStored(t, "edited", want[:90*kib])
		g.Close(nil)
	}
}

// cp over a stored file: the old version is checked, not the source's.
func TestCloneOverAStoredFile(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		r := rigFor(t, func(o *Options) { o.CheckAfter = -1 })
		want := pattern(1, 40*kib)
		r.put("src", want)
		r.put("k", []byte("old"))
		src, f := r.open("src"), r.open("k")
		if err := f.Truncate(bg, 0); err != nil {
			t.Fatal(err)
		}
		if n, err := f.CloneRange(bg, src, 0, 0, mib); n != 40*kib || err != nil {
			t.Fatal(n, err)
		}
		if theirs {
			r.put("k", []byte("theirs"))
			if err := f.Sync(bg); !errors.Is(err, ErrConflict) {
				t.Errorf("sync: %v", err)
			}
			r.wantStored(t, "k", []byte("theirs"))
			r.wantStored(t, conflictKeys(r)[0], want)
		} else {
			wantSync(t, f)
			r.wantStored(t, "k", want)
		}
		src.Close(nil)
		f.Close(nil)
	}
}

func TestCloneRefused(t *testing.T) {
	r := rigFor(t)
	r.put("src", pattern(1, 40*kib))
	r.put("other", pattern(2, 50*kib))
	src, other, f := r.open("src"), r.open("other"), r.create("k")
	refused := func(what string, to, from *File, srcOff, dstOff int64) {
		t.Helper()
		before := to.Stat()
		if n, err := to.CloneRange(bg, from, srcOff, dstOff, 100); n != 0 || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %d, %v", what, n, err)
		}
		if st := to.Stat(); st.Size != before.Size {
			t.Errorf("%s changed the file", what)
		}
	}
	refused("other places", f, src, 0, 10)
	refused("not from the beginning", f, src, 10, 10)
	refused("itself", src, src, 0, 0)
	if n, err := f.CloneRange(bg, src, 0, 0, 10*kib); n != 10*kib || err != nil {
		t.Fatal(n, err)
	}
	refused("two sources", f, other, 10*kib, 10*kib)
	refused("a gap", f, src, 20*kib, 20*kib)
	refused("a source that is not stored", other, f, 0, 0)
	if n, err := f.CloneRange(bg, src, 10*kib, 10*kib, mib); n != 30*kib || err != nil {
		t.Fatal(n, err)
	}
	if n, err := f.CloneRange(bg, src, 40*kib, 40*kib, mib); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	write(src, 0, []byte("x"))
	g := r.create("g")
	refused("a changed source", g, src, 0, 0)
	wantSync(t, src)
	r.wantStored(t, "k", pattern(1, 40*kib)) // stored before its source changed
	write(g, 0, []byte("x"))
	refused("a file that was written", g, src, 0, 0)
	for _, f := range []*File{src, other, f, g} {
		if f.Stat().Dirty {
			wantSync(t, f)
		}
		f.Close(nil)
	}
}

// cp a b, and mv a c before b is closed: nobody has a open then, and what b is a copy of is gone before its close.
func TestCloneOfWhatIsRenamedAndNotOpen(t *testing.T) {
	r := rigFor(t)
	want := pattern(1, 200*kib)
	source := r.put("a", want)
	f := r.clone(t, "a", "b", mib)
	if _, moved, err := r.files.Move(bg, obj("a"), obj("c"), nil); moved != NotMoved || err != nil {
		t.Fatal(moved, err)
	}
	must(r.mem.Copy(bg, s3client.CopyRequest{SrcBucket: "b", SrcKey: "a", SrcETag: source.ETag, SrcSize: source.Size, Bucket: "b", Key: "c"}))
	r.mem.Remove("b", "a")
	wantFlush(t, f) // before anybody has told of the rename
	f.Close(nil)
	r.wantStored(t, "b", want)
}

// The source goes away through this mount: its clones are stored before, or follow it.
func TestCloneOfWhatLeaves(t *testing.T) {
	want := pattern(1, 40*kib)
	for what, leave := range map[string]func(r *rig) error{
		"unlinked": func(r *rig) error {
			d, err := r.files.Detach(bg, obj("src"))
			if err != nil {
				return err
			}
			r.mem.Remove("b", "src")
			d.Done()
			return nil
		},
		"renamed": func(r *rig) error {
			_, moved, err := r.files.Move(bg, obj("src"), obj("m"), nil)
			if err == nil && moved == NotMoved {
				o := r.put("m", want)
				r.mem.Remove("b", "src")
				r.files.Moved(obj("src"), obj("m"), o)
			}
			return err
		},
		"renamed with its directory": func(r *rig) error {
			o := r.put("m", want)
			r.mem.Remove("b", "src")
			r.files.Moved(obj("src"), obj("m"), o)
			return nil
		},
		"edited": func(r *rig) error {
			src := r.open("src")
			defer src.Close(nil)
			write(src, 0, []byte("edit"))
			return src.Sync(bg)
		},
		"edited behind": func(r *rig) error {
			src := r.open("src")
			defer src.Close(nil)
			write(src, 0, []byte("edit"))
			must(0, src.keepTurn(bg, nil))
			return src.storeBehind(bg)
		},
		"below a directory that is renamed": func(r *rig) error {
			err := r.files.SyncUnder(bg, "b", "sr")
			r.mem.Remove("b", "src")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			r := rigFor(t)
			r.put("src", want)
			f := r.clone(t, "src", "k", mib)
			if err := leave(r); err != nil {
				t.Fatal(err)
			}
			wantSync(t, f)
			r.wantStored(t, "k", want)
			f.Close(nil)
		})
	}
}

// Somebody else changes the source: what is in memory becomes the clone's own, else there is no copy, and the commit says so.
func TestCloneOfWhatSomebodyElseChanges(t *testing.T) {
	want := pattern(1, 40*kib)
	for _, cached := range []bool{true, false} {
		for _, behind := range []bool{true, false} {
			r := newRig(t.TempDir(), func(o *Options) { o.Behind = behind })
			r.put("src", want)
			f := r.clone(t, "src", "k", mib)
			if cached {
				wantRead(t, f, want)
			}
			r.put("src", []byte("theirs"))
			err := f.Flush(bg)
			if cached {
				if err != nil {
					t.Errorf("flush: %v", err)
				}
				r.wantStored(t, "k", want)
				wantRead(t, f, want)
			} else if !errors.Is(err, ErrConflict) || r.exists("k") || f.Stat().Dirty {
				t.Errorf("flush: %v; stored %v", err, r.exists("k"))
			}
			f.Close(nil)
			if err := r.stop(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
}

// A clone that could not be stored survives a crash, by its source.
func TestCrashOfAClone(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, func(o *Options) { o.Behind = true })
	want := pattern(1, 40*kib)
	r.put("src", want)
	f := r.clone(t, "src", "k", mib)
	r.fault.Add(s3fault.Rule{Call: "Copy", Before: s3client.Temporary})
	wantFlush(t, f) // kept
	next, _ := r.crash(t, dir)
	e := must(next.files.Load(bg))
	if len(e) != 1 || e[0].Base.ETag != "" || e[0].Size != 40*kib {
		t.Errorf("loaded %+v", e)
	}
	g := must(next.files.Open(obj("k"), nil, Read))
	if got, err := readAll(g); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read: %v", err)
	}
	d := must(next.files.Detach(bg, obj("src"))) // its clones first
	next.wantStored(t, "k", want)
	d.Undo()
	g.Close(nil)
	if n, failed := next.files.Recover(bg); n != 0 || len(failed) > 0 {
		t.Errorf("recovered %d, %v", n, failed)
	}
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	f.Close(nil)
	r.stop()
}
