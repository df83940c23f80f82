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
