package content

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the store has made of bytes that changed on their way is nobody else's version: the next commit replaces it, of a file
// that stands on the version before as well, and nothing of it gets into the file.
func TestWhatArrivedWithOtherBytesIsReplaced(t *testing.T) {
	text := pattern(1, 12*kib)
	for _, c := range []struct {
		name string
		open func(r *rig) (f *File, want []byte)
	}{
		{"edited", func(r *rig) (*File, []byte) {
			f := r.open("k")
			return f, over(f, bytes.Clone(text), 100, []byte("edit"))
		}},
		{"emptied and written", func(r *rig) (*File, []byte) {
			f := r.open("k")
			if err := f.Truncate(bg, 0); err != nil {
				panic(err)
			}
			return f, over(f, nil, 0, []byte("all new"))
		}},
		{"new", func(r *rig) (*File, []byte) {
			r.mem.Remove("b", "k")
			f := r.create("k")
			return f, over(f, nil, 0, []byte("all new"))
		}},
		{"changed while it is sent again", func(r *rig) (*File, []byte) {
			f := r.open("k")
			p := over(f, bytes.Clone(text), 100, []byte("edit"))
			r.spoil(2)
			if err := f.Sync(bg); err == nil {
				panic("no error")
			}
			return f, over(f, p, 5000, []byte("more"))
		}},
	} {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s behind=%v", c.name, behind), func(t *testing.T) {
				var how []func(*Options)
				if behind {
					how = append(how, inBackground)
				}
				r := rigFor(t, how...)
				r.put("k", text)
				f, want := c.open(r)
				if behind {
					wantFlush(t, f)
				}
				r.spoil(2) // once more is what the uploader tries itself
				if err := f.Sync(bg); err == nil || !strings.Contains(err.Error(), "ETagMismatch") {
					t.Fatalf("sync of what arrived with other bytes: %v", err)
				}
				if got, ok := r.mem.Bytes("b", "k"); !ok || bytes.Equal(got, want) {
					t.Fatal("nothing wrong arrived: this test proves nothing")
				}
				if err := f.check(); err != nil {
					t.Fatal(err)
				}
				f.expire()
				r.later(2 * time.Minute)
				wantSync(t, f)
				r.wantStored(t, "k", want)
				wantRead(t, f, want)
				if keys := conflictKeys(r); len(keys) > 0 {
					t.Errorf("conflicts with ourselves: %v", keys)
				}
				f.Close(nil)
			})
		}
	}
}

// expire makes what is known of the base old.
func (f *File) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.base != nil {
		b := *f.mu.base
		b.Seen = time.Time{}
		f.mu.base = &b
	}
}

// The run after a kill knows of it too.
func TestTheNextRunReplacesWhatArrivedWithOtherBytes(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, inBackground)
	r.put("k", pattern(1, 12*kib))
	f := r.open("k")
	if err := f.Truncate(bg, 0); err != nil {
		t.Fatal(err)
	}
	want := over(f, nil, 0, pattern(7, 5000))
	wantFlush(t, f)
	r.spoil(2)
	if err := f.Sync(bg); err == nil {
		t.Fatal("no error")
	}
	f.Close(nil)
	r = r.goOn(t, dir, true)
	r.wantStored(t, "k", want)
	if keys := conflictKeys(r); len(keys) > 0 {
		t.Errorf("conflicts with ourselves: %v", keys)
	}
	check(r.stop())
}

// Bytes of a base that is nowhere any more are not taken from what arrived with other bytes.
func TestAVersionWithOtherBytesIsNoBase(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, inBackground)
	text := pattern(1, 12*kib)
	r.put("k", text)
	f := r.open("k")
	over(f, bytes.Clone(text), 100, []byte("edit"))
	wantFlush(t, f)
	r.spoil(2)
	if err := f.Sync(bg); err == nil {
		t.Fatal("no error")
	}
	f.Close(nil)
	next, _ := r.crash(t, dir, inBackground) // with nothing in its caches
	t.Cleanup(func() { _ = r.stop() })
	if _, failed := next.files.Recover(bg); len(failed) > 0 {
		t.Fatalf("recovered: %v", failed)
	}
	keys := conflictKeys(next)
	if len(keys) != 1 {
		t.Fatalf("kept: %v", keys)
	}
	kept, _ := next.mem.Bytes("b", keys[0])
	want := make([]byte, len(text))
	copy(want[100:], "edit")
	if !bytes.Equal(kept, want) {
		t.Errorf("kept %d bytes, %.120q", len(kept), kept)
	}
	check(next.stop())
}
