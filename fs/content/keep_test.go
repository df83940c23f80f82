package content

import (
	"bytes"
	"errors"
	"os"
	"strings"
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
