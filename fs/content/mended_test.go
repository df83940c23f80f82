package content

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// Who removes a file is told when its record cannot be dropped: the next run would store it. It is tried again.
func TestARecordThatCannotBeDroppedIsTold(t *testing.T) {
	for _, open := range []bool{false, true} {
		r := rigFor(t, inBackground)
		f := r.create("k")
		write(f, 0, pattern(1, 3*kib))
		wantFlush(t, f)
		if !open {
			f.Close(nil)
		}
		d := must(r.files.Detach(bg, obj("k")))
		r.diskFails(syscall.EIO)
		if err := d.Done(); !errors.Is(err, syscall.EIO) {
			t.Errorf("open %v: removed, %v", open, err)
		}
		if n := r.journal.Stats().Records; n != 1 {
			t.Errorf("%d records", n)
		}
		r.diskFails(nil)
		if open {
			f.Close(nil)
		}
		other := r.create("other") // the next drop takes the one before along
		write(other, 0, pattern(1, 3*kib))
		wantFlush(t, other)
		other.Close(nil)
		check(must(r.files.Detach(bg, obj("other"))).Done())
		if n := r.journal.Stats().Records; n != 0 {
			t.Errorf("open %v: %d records are left", open, n)
		}
	}
}

// Two mounts of one host that conflict at one moment over one name keep three versions.
func TestTwoMountsOfAHostThatConflictAtOneMoment(t *testing.T) {
	r := rigFor(t)
	r.put("k", []byte("base"))
	other := &rig{mem: r.mem}
	other.start(t.TempDir())
	defer func() { check(other.stop()) }()
	var files []*File
	for i, m := range []*rig{r, other} {
		f := m.open("k")
		defer f.Close(nil)
		check(f.Truncate(bg, 0))
		write(f, 0, []byte{byte('0' + i)})
		files = append(files, f)
	}
	r.put("k", []byte("theirs"))
	for i, m := range []*rig{r, other} {
		m.later(time.Hour)
		if err := files[i].Sync(bg); !errors.Is(err, ErrConflict) {
			t.Errorf("mount %d: %v", i, err)
		}
	}
	keys := conflictKeys(r)
	if len(keys) != 2 {
		t.Fatalf("keys %v", r.mem.Keys("b"))
	}
	one, _ := r.mem.Bytes("b", keys[0])
	two, _ := r.mem.Bytes("b", keys[1])
	if string(one)+string(two) != "01" && string(one)+string(two) != "10" {
		t.Errorf("%q and %q", one, two)
	}
}
