package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"pailfs/tests/testenv"
)

// A record that is never stored among a burst of others that are.
func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir, segmentBytes: 64 << 10})
	stuck := newSpool(t, j, "stuck")
	keep(t, j, stuck, "stuck", 5)
	if err := j.Amend(stuck, Pending{Bucket: "b", Key: "amended", Size: 5, Dirty: []Range{{0, 5}}}); err != nil {
		t.Fatal(err)
	}
	seq, err := j.AddNote("k", []byte("note"))
	if err != nil {
		t.Fatal(err)
	}
	most := int64(0)
	for i := range 200 {
		s := newSpool(t, j, strings.Repeat("x", 10<<10))
		keep(t, j, s, fmt.Sprint(i), 10<<10)
		if err := s.Discard(); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if err := j.log.tidy(); err != nil {
				t.Fatal(err)
			}
		}
		most = max(most, j.Stats().LogBytes)
	}
	if err := j.log.tidy(); err != nil {
		t.Fatal(err)
	}
	if st := j.Stats(); most > 4*64<<10 || st.LogBytes > 2*64<<10 || st.Records != 1 || st.Notes != 1 {
		t.Errorf("at most %d, at last %+v", most, st)
	}
	j = openUntended(t, Options{Dir: killed(t, dir)})
	ps := pendings(t, j)
	if len(ps) != 1 || ps[0].Key != "amended" {
		t.Fatalf("records %v", ps)
	}
	s, err := ps[0].Open()
	if err != nil || content(t, s) != "stuck" {
		t.Error(err)
	}
	if notes := j.Notes("k"); len(notes) != 1 || notes[0].Seq != seq {
		t.Errorf("notes %v", notes)
	}
}

// All of a burst is dropped: nothing of it stays, not even the segment that was in use.
func TestSpaceOfABurstIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir, segmentBytes: 64 << 10})
	var spools []*Spool
	for i := range 50 {
		s := newSpool(t, j, strings.Repeat("x", 10<<10))
		keep(t, j, s, fmt.Sprint(i), 10<<10)
		spools = append(spools, s)
	}
	for _, s := range spools {
		if err := s.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.log.tidy(); err != nil {
		t.Fatal(err)
	}
	if st := j.Stats(); st.LogBytes > 8<<10 || st.MemoryBytes != 0 {
		t.Errorf("%+v", st)
	}
	if _, err := j.AddNote("k", []byte("after")); err != nil {
		t.Fatal(err)
	}
	j = openUntended(t, Options{Dir: killed(t, dir)})
	if ps := pendings(t, j); len(ps) != 0 || len(j.Notes("k")) != 1 {
		t.Errorf("%v, %v", ps, j.Notes("k"))
	}
}

// On a full disk Keep fails and loses nothing; drops still work, and make room again.
func TestFullDiskForReal(t *testing.T) {
	dir := testenv.SmallDisk(t, 2<<20)
	o := Options{Dir: dir, MemoryBytes: 64 << 20, segmentBytes: 256 << 10}
	j := openUntended(t, o)
	kept := make(map[string]*Spool)
	text := strings.Repeat("x", 20<<10)
	fill := func(prefix string) (err error) {
		for i := range 1000 {
			s := newSpool(t, j, text)
			key := fmt.Sprint(prefix, i)
			if err = j.Keep(s, Pending{Bucket: "b", Key: key, Size: 5, Dirty: []Range{{0, 5}}}); err != nil {
				return errors.Join(err, s.Discard())
			}
			kept[key] = s
		}
		return nil
	}
	for _, round := range []string{"a", "b", "c"} {
		if err := fill(round); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("round %s: %v with %d kept", round, err, len(kept))
		}
		if len(kept) < 60 {
			t.Errorf("round %s: full with %d kept", round, len(kept))
		}
		again := openUntended(t, Options{Dir: killed(t, dir)})
		found := make(map[string]bool)
		for _, r := range pendings(t, again) {
			found[r.Key] = true
		}
		if len(found) != len(kept) {
			t.Errorf("round %s: %d found of %d kept", round, len(found), len(kept))
		}
		again.Close()
		for key, s := range kept {
			if err := s.Discard(); err != nil {
				t.Fatalf("round %s: %v", round, err)
			}
			delete(kept, key)
		}
		if err := j.log.tidy(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// The log of a small disk leaves nearly all of it to the spools, and grows when it has to.
func TestTheLogOfASmallDiskIsSmall(t *testing.T) {
	dir := testenv.SmallDisk(t, 20<<20)
	j := openUntended(t, Options{Dir: dir})
	if _, err := j.AddNote("k", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if free, err := j.Free(); err != nil || free < 18<<20 {
		t.Errorf("%d bytes are left of 20 MiB, %v", free, err)
	}
	data := bytes.Repeat([]byte("x"), 60<<10)
	for i := range 200 { // 12 MB
		if _, err := j.AddNote("k", data); err != nil {
			t.Fatalf("note %d: %v", i, err)
		}
	}
	if n := len(j.log.mu.segs); n != 1 {
		t.Errorf("%d segments for what fits into one", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// An entry of which only a part was written is overwritten by the next.
func TestWriteThatFailsHalfWay(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	if _, err := j.AddNote("k", []byte("before")); err != nil {
		t.Fatal(err)
	}
	write := j.log.writeAt
	for _, part := range []int{0, 1, 20, 30, 1 << 20} {
		j.log.writeAt = func(f *os.File, b []byte, off int64) (int, error) {
			n, err := write(f, b[:min(part, len(b))], off)
			return n, errors.Join(err, syscall.EIO)
		}
		if _, err := j.AddNote("k", bytes.Repeat([]byte("lost"), 50)); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		j.log.writeAt = write
		if _, err := j.AddNote("k", []byte("good")); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	j = openUntended(t, Options{Dir: killed(t, dir)})
	pendings(t, j)
	if notes := j.Notes("k"); len(notes) != 6 || string(notes[5].Data) != "good" {
		t.Errorf("%v", notes)
	}
}
