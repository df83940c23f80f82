package content

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// somebody replaces or removes an object behind this mount's back.
var somebody = map[string]func(r *rig, key string){
	"removes":  func(r *rig, key string) { r.mem.Remove("b", key) },
	"replaces": func(r *rig, key string) { r.put(key, []byte("theirs")) },
}

// wantLost is what holds of a file whose changes have ended in a conflict and that has no name any more.
func (r *rig) wantLost(t *testing.T, f *File) {
	t.Helper()
	if u := r.files.Unsaved(); len(u) > 0 {
		t.Errorf("unsaved: %+v", u)
	}
	if n := r.journal.Stats().Records; n != 0 {
		t.Errorf("%d records in the journal", n)
	}
	if f == nil {
		return
	}
	if err := f.Sync(bg); !errors.Is(err, ErrConflict) {
		t.Errorf("a later sync: %v", err)
	}
	if _, err := f.WriteAt(bg, []byte("more"), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("a later write: %v", err)
	}
	if err := f.Truncate(bg, 1); !errors.Is(err, ErrConflict) {
		t.Errorf("a later truncation: %v", err)
	}
	if _, ok := r.files.Get(f.ID()); ok {
		t.Error("it has its name")
	}
}

// Changes of a file whose base is gone are kept beside it, with zeros where nobody has the bytes, in both durabilities, after a
// kill too, and when they are longer than a part.
func TestChangesOverABaseThatIsGone(t *testing.T) {
	for what, gone := range somebody {
		for _, how := range []string{"store", "journal", "killed"} {
			for _, n := range []int{4, 30 * kib} {
				t.Run(fmt.Sprintf("%s, %s, %d bytes", what, how, n), func(t *testing.T) {
					var lost []ID
					told := func(o *Options) { o.Lost = func(id ID) { lost = append(lost, id) } }
					change := []func(*Options){told}
					if how != "store" {
						change = append(change, inBackground)
					}
					dir := t.TempDir()
					r := newRig(dir, change...)
					r.put("k", pattern(1, 80*kib))
					f := r.open("k")
					mine := pattern(9, n)
					write(f, 20*kib, mine)
					if how != "store" {
						wantFlush(t, f)
					}
					gone(r, "k")
					r.later(time.Hour)
					switch how {
					case "store":
						if err := f.Flush(bg); !errors.Is(err, ErrConflict) || !errors.Is(err, s3client.Changed) {
							t.Errorf("close: %v", err)
						}
						r.wantLost(t, f)
						f.Close(nil)
					case "journal":
						f.Close(nil)
						if err := f.storeBehind(bg); err != nil {
							t.Errorf("in the background: %v", err)
						}
						r.wantLost(t, nil)
					case "killed":
						dead := r
						defer func() { _ = dead.stop() }()
						r, _ = r.crash(t, dir, change...)
						if _, failed := r.files.Recover(bg); len(failed) > 0 {
							t.Errorf("recovered: %v", failed)
						}
						r.wantLost(t, nil)
					}
					keys := conflictKeys(r)
					if len(keys) != 1 || len(lost) != 1 || lost[0] != obj("k") {
						t.Fatalf("keys %v, lost %v", r.mem.Keys("b"), lost)
					}
					want := make([]byte, 80*kib)
					copy(want[20*kib:], mine)
					r.wantStored(t, keys[0], want)
					if what == "removes" && r.exists("k") {
						t.Error("what somebody has removed is there again")
					}
					if c := r.files.Conflicts(); len(c) != 1 || c[0].ID != obj("k") || c[0].Kept != obj(keys[0]) {
						t.Errorf("conflicts %+v", c)
					}
					check(r.stop())
				})
			}
		}
	}
}

// What is in memory of the base is kept too.
func TestWhatIsInMemoryOfABaseThatIsGone(t *testing.T) {
	r := rigFor(t)
	base := pattern(1, 640*kib)
	r.put("k", base)
	f := r.open("k")
	defer f.Close(nil)
	must(read(f, nil, 300*kib, 200*kib))
	write(f, 0, []byte("mine"))
	r.mem.Remove("b", "k")
	r.later(time.Hour)
	if err := f.Sync(bg); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	keys := conflictKeys(r)
	if len(keys) != 1 {
		t.Fatal(keys)
	}
	got, _ := r.mem.Bytes("b", keys[0])
	if len(got) != len(base) || string(got[:4]) != "mine" || !bytes.Equal(got[320*kib:448*kib], base[320*kib:448*kib]) {
		t.Error("bytes are missing that were in memory")
	}
}

// A change that has written nothing is void.
func TestAChangeWithoutBytesOverABaseThatIsGone(t *testing.T) {
	for name, change := range map[string]func(f *File){
		"cut":        func(f *File) { check(f.Truncate(bg, 10*kib)) },
		"attributes": func(f *File) { f.Touch() },
		"longer":     func(f *File) { check(f.Truncate(bg, 90*kib)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := rigFor(t)
			r.put("k", pattern(1, 80*kib))
			f := r.open("k")
			change(f)
			r.mem.Remove("b", "k")
			r.later(time.Hour)
			if err := f.Flush(bg); !errors.Is(err, ErrConflict) {
				t.Errorf("close: %v", err)
			}
			if k := r.mem.Keys("b"); len(k) > 0 {
				t.Errorf("keys %v", k)
			}
			r.wantLost(t, f)
			f.Close(nil)
		})
	}
}

// A copy whose source is gone before it was made is void, and says so.
func TestACloneOfWhatIsGone(t *testing.T) {
	r := rigFor(t)
	r.put("src", pattern(1, 80*kib))
	src, f := r.open("src"), r.create("k")
	must(f.CloneRange(bg, src, 0, 0, 80*kib))
	r.mem.Remove("b", "src")
	if err := f.Flush(bg); !errors.Is(err, ErrConflict) {
		t.Errorf("close: %v", err)
	}
	r.wantLost(t, f)
	f.Close(nil)
	src.Close(nil)
	if k := r.mem.Keys("b"); len(k) > 0 {
		t.Errorf("keys %v", k)
	}
}

// What the store does not take stays in the journal and is tried again.
func TestWhatIsLeftAndNotTaken(t *testing.T) {
	r := rigFor(t)
	r.put("k", pattern(1, 80*kib))
	f := r.open("k")
	write(f, 0, []byte("mine"))
	r.mem.Remove("b", "k")
	r.later(time.Hour)
	failStores(r)
	if err := f.Flush(bg); !errors.Is(err, ErrConflict) || !errors.Is(err, s3client.Denied) {
		t.Errorf("close: %v", err)
	}
	if u := r.files.Unsaved(); len(u) != 1 || !f.isKept() {
		t.Errorf("unsaved %+v, kept %v", u, f.isKept())
	}
	r.fault.Clear()
	if err := f.Sync(bg); !errors.Is(err, ErrConflict) {
		t.Errorf("sync: %v", err)
	}
	if keys := conflictKeys(r); len(keys) != 1 {
		t.Errorf("keys %v", keys)
	}
	r.wantLost(t, f)
	f.Close(nil)
}

// A doubt is no conflict.
func TestABaseOfWhichNobodyKnowsStays(t *testing.T) {
	r := rigFor(t)
	want := pattern(1, 80*kib)
	r.put("k", want)
	f := r.open("k")
	write(f, 0, []byte("mine"))
	copy(want, "mine")
	r.later(time.Hour)
	r.fault.Add(s3fault.Rule{Call: "Head", Times: 1, Before: s3client.Temporary})
	if err := f.Flush(bg); err == nil || errors.Is(err, ErrConflict) {
		t.Errorf("close: %v", err)
	}
	wantSync(t, f)
	r.wantStored(t, "k", want)
	f.Close(nil)
}

// Where too much is lost, what was written stands one behind the other.
func TestRest(t *testing.T) {
	for _, c := range []struct {
		base  int64
		size  int64
		exact bool
	}{{mostZeros, mostZeros, true}, {mostZeros + 10*kib, 5 * kib, false}} {
		r := rigFor(t)
		r.mem.PutComputed("b", "k", c.base, "1")
		f := r.open("k")
		write(f, kib, pattern(1, 2*kib))
		write(f, 40*kib, pattern(2, 3*kib))
		rest := f.rest()
		if rest.size != c.size || rest.exact != c.exact || rest.lost != c.base-5*kib {
			t.Errorf("base of %d: %d bytes, %d lost, exact %v", c.base, rest.size, rest.lost, rest.exact)
		}
		got := make([]byte, 50*kib)
		n, _ := rest.ReadAt(got, 0)
		want := make([]byte, 50*kib)
		if c.exact {
			copy(want[kib:], pattern(1, 2*kib))
			copy(want[40*kib:], pattern(2, 3*kib))
		} else {
			want = append(pattern(1, 2*kib), pattern(2, 3*kib)...)
		}
		if !bytes.Equal(got[:n], want) {
			t.Errorf("base of %d: other bytes", c.base)
		}
		check(f.Truncate(bg, 0))
		wantSync(t, f)
		f.Close(nil)
	}
}
