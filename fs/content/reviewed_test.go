package content

import (
	"fmt"
	"testing"
	"time"

	"pailfs/fs/journal"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// A new file of an earlier run is renamed, and the deletion of what may be under its old name fails: it has its old name still,
// after a kill too.
func TestARenameOfAFileOfAnEarlierRunThatFails(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		t.Run(fmt.Sprint("deleted=", deleted), func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir, inBackground)
			f, p := r.create("k"), pattern(1, 3*kib)
			write(f, 0, p)
			wantFlush(t, f)
			f.Close(nil)
			first := r
			defer func() { _ = first.stop() }()
			r, dir = r.crash(t, dir, inBackground)
			must(r.files.Load(bg))
			rule := s3fault.Rule{Call: "Delete", Key: "k", Times: 1, After: s3client.Temporary}
			if !deleted {
				rule.Before = s3client.Temporary
			}
			r.fault.Add(rule)
			if _, moved, err := r.files.Move(bg, obj("k"), obj("m"), nil); err == nil || moved != NotMoved {
				t.Fatal(moved, err)
			}
			r = r.goOn(t, dir, true)
			defer func() { check(r.stop()) }()
			r.wantStored(t, "k", p)
		})
	}
}

// Two states of one name that conflict at one moment are both kept.
func TestTwoConflictsOfANameAtOneMoment(t *testing.T) {
	r := rigFor(t)
	var files []*File
	for i := range 2 {
		r.put("k", pattern(byte(i), 100))
		f := r.open("k")
		defer f.Close(nil)
		must(readAll(f))
		files = append(files, f)
		r.later(time.Second)
	}
	r.put("k", pattern(9, 100))
	r.later(time.Hour)
	for i, f := range files {
		write(f, 0, []byte{byte(100 + i)})
		if err := f.Sync(bg); err == nil {
			t.Error("no conflict")
		}
	}
	conflicts := r.files.Conflicts()
	if len(conflicts) != 2 || len(conflictKeys(r)) != 2 {
		t.Fatalf("%v, keys %v", conflicts, conflictKeys(r))
	}
	for i, c := range conflicts {
		if p, _ := r.mem.Bytes("b", c.Kept.Key); len(p) != 100 || p[0] != byte(100+i) {
			t.Errorf("%s has %.10q", c.Kept, p)
		}
	}
}

// Of two records of a file, which a kill may leave, the one with the later time counts: the clock may have been set back.
func TestALaterRecordHasALaterTime(t *testing.T) {
	r := rigFor(t, inBackground, func(o *Options) { o.Now = nil })
	r.files.o.Now = r.now
	f := r.create("k")
	defer f.Close(nil)
	var last time.Time
	for i := range 3 {
		write(f, 0, pattern(byte(i), 3*kib))
		wantFlush(t, f)
		f.mu.Lock()
		at := f.keptLocked().record.Time
		f.mu.Unlock()
		if !at.After(last) {
			t.Errorf("record %d is of %v, the one before of %v", i, at, last)
		}
		last = at
		r.later(-time.Hour)
	}
	wantSync(t, f)
}

// What a rename of an earlier run has left under the old name is deleted as the version that it was; what this run has stored
// there since stays, though it be the same bytes.
func TestWhatIsStoredUnderAFormerNameStays(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("stored again=", again), func(t *testing.T) {
			dir := t.TempDir()
			r := newRig(dir)
			p := pattern(1, 3*kib)
			old, m := r.put("k", p), r.put("m", pattern(2, 3*kib))
			must(0, r.journal.Keep(must(r.journal.NewSpool()), journal.Pending{Bucket: "b", Key: "m", Size: m.Size, File: "f",
				Base:   &journal.Base{Bucket: "b", Key: "m", ETag: m.ETag, Size: m.Size, Limit: m.Size},
				Leaves: &journal.Base{Bucket: "b", Key: "k", ETag: old.ETag, Size: old.Size}}))
			next, _ := r.crash(t, dir)
			must(0, r.stop())
			defer func() { must(0, next.stop()) }()
			must(next.files.Load(bg))
			if again {
				f := next.open("k")
				write(f, 0, pattern(3, 3*kib))
				wantSync(t, f)
				write(f, 0, p)
				wantSync(t, f)
				f.Close(nil)
			}
			if _, failed := next.files.Recover(bg); len(failed) > 0 {
				t.Error(failed)
			}
			if next.exists("k") != again {
				t.Errorf("keys %v", next.mem.Keys("b"))
			}
		})
	}
}
