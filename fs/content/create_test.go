package content

import (
	"errors"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// A name of which an earlier run has left something unsaved looks free. Who creates it gets an empty file, and what was
// left is kept beside it.
func TestCreateOverWhatAnEarlierRunLeft(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir)
	f := r.create("k")
	write(f, 0, []byte("left by the earlier run"))
	f.Close(nil)
	failStores(r)
	if err := r.stop(); err == nil {
		t.Fatal("nothing was left")
	}

	r.start(dir)
	r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Before: s3client.Denied})
	if stored, failed := r.files.Recover(bg); stored != 0 || len(failed) != 1 {
		t.Fatalf("recovered %d, failed %v", stored, failed)
	}
	g := r.create("k")
	wantRead(t, g, nil)
	write(g, 0, []byte("new"))
	wantSync(t, g)
	r.wantStored(t, "k", []byte("new"))
	if err := r.files.SyncAll(bg, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("what was left: %v, want a conflict", err)
	}
	r.wantStored(t, "k", []byte("new"))
	if c := r.files.Conflicts(); len(c) != 1 {
		t.Errorf("conflicts: %v", c)
	} else {
		r.wantStored(t, c[0].Kept.Key, []byte("left by the earlier run"))
	}
	g.Close(nil)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// An upload whose answer was lost may have made the object. Who takes the name away takes that object away as well.
func TestNameOfAnUploadWithoutAnAnswer(t *testing.T) {
	for what, leave := range map[string]func(r *rig, f *File) error{
		"renamed": func(r *rig, f *File) error {
			_, moved, err := r.files.Move(bg, obj("k"), obj("other"), nil)
			if err == nil && moved != MovedStored {
				err = errors.New("not moved")
			}
			return err
		},
		"unlinked": func(r *rig, f *File) error {
			d, err := r.files.Detach(bg, obj("k"))
			if err != nil {
				return err
			}
			if err := d.Erase(bg); err != nil {
				d.Undo()
				return err
			}
			d.Done()
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			r := rigFor(t)
			f := r.create("k")
			write(f, 0, []byte("bytes"))
			r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, After: s3client.Temporary})
			if err := f.Sync(bg); !errors.Is(err, s3client.Temporary) {
				t.Fatalf("sync: %v", err)
			}
			r.wantStored(t, "k", []byte("bytes"))
			if err := leave(r, f); err != nil {
				t.Fatal(err)
			}
			if _, there := r.mem.Object("b", "k"); there {
				t.Error("the object is still there")
			}
			wantRead(t, f, []byte("bytes"))
			f.Close(nil)
		})
	}
}

// A refusal is an answer: what was never stored needs no request to go.
func TestUnlinkOfWhatTheStoreRefused(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	failStores(r)
	if err := f.Sync(bg); !errors.Is(err, s3client.Denied) {
		t.Fatalf("sync: %v", err)
	}
	calls := r.calls(func() {
		d := must(r.files.Detach(bg, obj("k")))
		if err := d.Erase(bg); err != nil {
			t.Error(err)
		}
		d.Done()
	})
	wantCalls(t, "unlink", calls, nil)
	f.Close(nil)
}

func TestLargerThanAnyObject(t *testing.T) {
	r := newRig(t.TempDir())
	defer r.stop()
	f := r.create("k")
	write(f, 0, []byte("abc"))
	largest := r.files.o.Uploader.Limits().Largest()
	for _, err := range []error{
		f.Truncate(bg, largest+1), f.Allocate(bg, 0, largest+1, false, false, false),
		func() error { _, err := f.WriteAt(bg, []byte("xy"), largest-1); return err }(),
	} {
		if !errors.Is(err, s3client.TooLarge) {
			t.Errorf("%v, want too large", err)
		}
	}
	if size := f.Stat().Size; size != 3 {
		t.Errorf("%d bytes after what was refused, want 3", size)
	}
	must(0, f.Sync(bg))
}
