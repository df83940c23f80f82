package content

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

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
