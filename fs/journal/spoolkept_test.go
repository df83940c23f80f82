package journal

import (
	"errors"
	"io"
	"os"
	"reflect"
	"testing"
)

// A kept file that was changed and not kept again: what is there is what the next run finds, and is not called damaged.
func TestKeptFileChangedBeforeTheCrash(t *testing.T) {
	for name, change := range map[string]func(*Spool) error{
		"write":    func(s *Spool) error { _, err := s.WriteAt([]byte("new"), 10); return err },
		"truncate": func(s *Spool) error { return s.Truncate(inlineBytes / 2) },
		"punch":    func(s *Spool) error { return s.PunchHole(0, checkBytes) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := openUntended(t, Options{Dir: dir})
			text := big("x")
			s := newSpool(t, j, text)
			keep(t, j, s, "k", int64(len(text)))
			syncs := j.Stats().Syncs
			if err := change(s); err != nil {
				t.Fatal(err)
			}
			if st := j.Stats(); st.Syncs != syncs+1 { // the checks are revoked before the first byte changes
				t.Errorf("%d syncs, were %d", st.Syncs, syncs)
			}
			want := content(t, s)
			j = openUntended(t, Options{Dir: killed(t, dir)})
			ps := pendings(t, j)
			s, err := ps[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, s); got != want {
				t.Error("content differs")
			}
			if _, err := s.WriteAt([]byte("more"), 2*checkBytes); err != nil {
				t.Error(err)
			}
			if err := s.Truncate(int64(len(text))); err != nil {
				t.Error(err)
			}
			if err := j.Keep(s, ps[0].Pending); err != nil {
				t.Error(err)
			}
			want = content(t, s)
			j = openUntended(t, Options{Dir: killed(t, j.o.Dir)})
			if s, err = pendings(t, j)[0].Open(); err != nil || content(t, s) != want {
				t.Errorf("content after another run differs, %v", err)
			}
		})
	}
}

// What is appended to a kept file needs no sync, leaves its record as good as it was, and is not there after a crash.
func TestKeptFileAppendedToBeforeTheCrash(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	text := big("x")
	s := newSpool(t, j, text)
	keep(t, j, s, "k", int64(len(text)))
	before := j.Stats()
	if _, err := s.WriteAt([]byte("more"), int64(len(text))); err != nil {
		t.Fatal(err)
	}
	if st := j.Stats(); st.Entries != before.Entries || st.Syncs != before.Syncs {
		t.Errorf("%+v, was %+v", st, before)
	}
	j = openUntended(t, Options{Dir: killed(t, dir)})
	s, err := pendings(t, j)[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, s); got != text {
		t.Errorf("%d bytes, want %d", len(got), len(text))
	}
	if err := edit(s.Name(), func(b []byte) []byte { b[len(b)-1] ^= 1; return b }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(make([]byte, 1), 5); err != nil {
		t.Error(err)
	}
	if _, err := s.ReadAt(make([]byte, 1), int64(len(text)-1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("not checked: %v", err)
	}
}

// An unkept spool goes on: small and large, of this run and of an earlier one.
func TestUnkeep(t *testing.T) {
	for name, text := range map[string]string{"small": "content", "large": big("content")} {
		for _, memory := range []int64{0, 1} {
			dir := t.TempDir()
			o := Options{Dir: dir, MemoryBytes: memory}
			j := openUntended(t, o)
			s := newSpool(t, j, text)
			for _, again := range []bool{false, true} {
				keep(t, j, s, "k", 7)
				if again {
					if err := j.Close(); err != nil {
						t.Fatal(err)
					}
					j = openUntended(t, o)
					var err error
					if s, err = pendings(t, j)[0].Open(); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Unkeep(); err != nil {
					t.Fatal(err)
				}
				found := openUntended(t, Options{Dir: killed(t, dir)})
				if ps := pendings(t, found); len(ps) != 0 {
					t.Errorf("%s: %v after unkeep", name, ps)
				}
				if got := content(t, s); got != text {
					t.Errorf("%s: holds %d bytes", name, len(got))
				}
			}
			// The drop is not on the disk yet: until it is, the file stays as the record says.
			if durable := j.log.mu.durable; name == "large" {
				if _, err := s.WriteAt([]byte("y"), 0); err != nil {
					t.Fatal(err)
				}
				if j.log.mu.durable == durable {
					t.Error("changed before the drop was durable")
				}
				keep(t, j, s, "k", 7)
				if err := s.Unkeep(); err != nil {
					t.Fatal(err)
				}
			}
			_, err := os.Lstat(s.Name())
			had := err == nil
			if err := s.Discard(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(s.Name()); had && errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: the file went before the drop was durable", name)
			}
			if err := j.log.tidy(); err != nil {
				t.Fatal(err)
			}
			if left := names(t, j.spools()); len(left) != 0 {
				t.Errorf("%s: left %v", name, left)
			}
		}
	}
}

// Small spools of an earlier run stay in the log until they are wanted, and with memory short also then.
func TestRecoveredSmallSpools(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir, segmentBytes: 64 << 10})
	for _, key := range []string{"one", "two", "three"} {
		s := newSpool(t, j, "content of "+key)
		if err := s.Truncate(1 << 30); err != nil { // the end is a hole
			t.Fatal(err)
		}
		keep(t, j, s, key, int64(len("content of "+key)))
	}
	j.Close()
	for _, memory := range []int64{0, 1, -1} {
		j := openUntended(t, Options{Dir: killed(t, dir), MemoryBytes: memory, segmentBytes: 64 << 10})
		ps := pendings(t, j)
		var spools []*Spool
		for _, p := range ps {
			s, err := p.Open()
			if err != nil {
				t.Fatal(err)
			}
			spools = append(spools, s)
		}
		if st := j.Stats(); st.MemoryBytes != 0 || st.SpoolBytes != 0 {
			t.Errorf("%+v", st)
		}
		for i, s := range spools {
			b := make([]byte, len("content of ")+len(ps[i].Key))
			if _, err := s.ReadAt(b, 0); err != nil || string(b) != "content of "+ps[i].Key {
				t.Errorf("%q, %v", b, err)
			}
			if n, err := s.ReadAt(b, 1<<30-1); n != 1 || b[0] != 0 || err != io.EOF {
				t.Errorf("end: %d, %v", n, err)
			}
		}
		// It moves in the log, is changed, and kept again.
		if err := j.log.empty(j.log.mu.segs[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := spools[0].WriteAt([]byte("CONTENT"), 0); err != nil {
			t.Fatal(err)
		}
		if err := j.Keep(spools[0], ps[0].Pending); err != nil {
			t.Fatal(err)
		}
		if err := spools[1].Discard(); err != nil {
			t.Fatal(err)
		}
		j = openUntended(t, Options{Dir: killed(t, j.o.Dir)})
		var got []string
		for _, p := range pendings(t, j) {
			s, err := p.Open()
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 7)
			if _, err := s.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			got = append(got, p.Key+" "+string(b))
		}
		if want := []string{"three content", "one CONTENT"}; !reflect.DeepEqual(got, want) {
			t.Errorf("memory %d: %q, want %q", memory, got, want)
		}
	}
}
