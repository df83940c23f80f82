package journal

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lastSegment is the file that the log ends in.
func lastSegment(t *testing.T, dir string) string {
	t.Helper()
	all := names(t, filepath.Join(dir, "log"))
	return filepath.Join(dir, "log", all[len(all)-1])
}

// threeNotes makes a log of three notes and says where each ends.
func threeNotes(t *testing.T, j *Journal) (ends []int64) {
	t.Helper()
	for i := range 3 {
		if _, err := j.AddNote("k", bytes.Repeat([]byte{byte('a' + i)}, 20+i)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.log.mu.cur.end)
	}
	return ends
}

func TestLogTornAtEveryLength(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir, segmentBytes: 4 << 10})
	ends := threeNotes(t, j)
	for _, tail := range []string{"cut", "zeros", "other bytes"} {
		for n := int64(headerBytes); n <= ends[2]; n++ {
			crashed := killed(t, dir)
			path := lastSegment(t, crashed)
			if err := edit(path, func(b []byte) []byte {
				switch tail {
				case "cut":
					return b[:n]
				case "zeros":
					clear(b[n:])
				default:
					copy(b[n:ends[2]], bytes.Repeat([]byte{0x5a}, int(ends[2]-n)))
				}
				return b[:ends[2]]
			}); err != nil {
				t.Fatal(err)
			}
			again := openUntended(t, Options{Dir: crashed, segmentBytes: 4 << 10})
			pendings(t, again) // no error
			whole := 0
			for whole < 3 && n >= noteEnd(whole, ends[whole]) {
				whole++
			}
			if got := len(again.Notes("k")); got != whole {
				t.Fatalf("%s from %d on: %d notes, want %d of ends %v", tail, n, got, whole, ends)
			}
			if n%8 != 0 {
				again.Close()
				continue
			}
			if _, err := again.AddNote("k", []byte("after")); err != nil {
				t.Fatal(err)
			}
			again.Close()
			again = openUntended(t, Options{Dir: crashed, segmentBytes: 4 << 10})
			pendings(t, again)
			if got := again.Notes("k"); len(got) != whole+1 || string(got[whole].Data) != "after" {
				t.Fatalf("%s from %d on, after another: %d notes", tail, n, len(got))
			}
			again.Close()
		}
	}
}

// noteEnd is where the body of one of threeNotes ends; what follows up to end only fills it up.
func noteEnd(i int, end int64) int64 {
	body := int64(1 + 1 + 1 + 1 + 1 + 20 + i) // kind, seq, length and text of its kind, length and data
	return end - entryBytes(body) + frameBytes + body
}

// With the log closed in order each flipped bit is found, and costs no more than the entry it is in.
func TestLogWithAFlippedBit(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir, segmentBytes: 4 << 10})
	ends := threeNotes(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < ends[2]; at++ {
		broken := killed(t, dir)
		if err := edit(lastSegment(t, broken), func(b []byte) []byte { b[at] ^= 4; return b }); err != nil {
			t.Fatal(err)
		}
		want := 3
		if at >= headerBytes {
			want = 2
		}
		j := openUntended(t, Options{Dir: broken, segmentBytes: 4 << 10})
		_, err := j.Pendings()
		got := len(j.Notes("k"))
		if got == 3 && err == nil { // a header's other copy, or a byte without meaning
			j.Close()
			continue
		}
		if got != want || !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit flipped at %d: %d notes, want %d; %v", at, got, want, err)
		}
		aside := names(t, j.damaged())
		if len(aside) != 1 || !strings.Contains(err.Error(), aside[0]) {
			t.Fatalf("set aside %v, error %v", aside, err)
		}
		j.Close()
		j = openUntended(t, Options{Dir: broken})
		pendings(t, j) // told once
		if n := len(j.Notes("k")); n != got {
			t.Fatalf("next run: %d notes, want %d", n, got)
		}
		j.Close()
	}
}

func TestHeaderWithoutAGoodCopy(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	threeNotes(t, j)
	j.Close()
	if err := edit(lastSegment(t, dir), func(b []byte) []byte { b[20] ^= 1; b[copyBytes+20] ^= 1; return b }); err != nil {
		t.Fatal(err)
	}
	j = openUntended(t, Options{Dir: dir})
	if _, err := j.Pendings(); !errors.Is(err, ErrDamaged) || len(names(t, j.damaged())) != 1 {
		t.Errorf("%v, set aside %v", err, names(t, j.damaged()))
	}
}

func TestSegmentOfALaterVersionStays(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	s := newSpool(t, j, big("x"))
	keep(t, j, s, "k", 10)
	j.Close()
	path := lastSegment(t, dir)
	if err := edit(path, func(b []byte) []byte { b[8], b[copyBytes+8] = 2, 2; return b }); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := OpenWith(Options{Dir: dir, untended: true}); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), path) {
			t.Error(err)
		}
		if _, err := os.Stat(s.Name()); err != nil {
			t.Error(err)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) || len(names(t, filepath.Dir(path))) != 1 {
		t.Errorf("changed: %v", err)
	}
	// The version that can read it finds all that was there.
	if err := edit(path, func(b []byte) []byte { b[8], b[copyBytes+8] = 1, 1; return b }); err != nil {
		t.Fatal(err)
	}
	if ps, err := openUntended(t, Options{Dir: dir}).Pendings(); err != nil || len(ps) != 1 {
		t.Errorf("%v, %v", ps, err)
	}
}

// A record that says more than is known here stays, with its bytes, through as many mounts as it takes; all else is used.
func TestRecordOfALaterVersionStays(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	keep(t, j, newSpool(t, j, "other"), "other", 5)
	s := newSpool(t, j, big("x"))
	keep(t, j, s, "k", 10)
	end, known, err := j.log.addTo(entry{kind: kindAmend, id: s.id, record: []byte(`{"bucket":"b","key":"k","size":10,"headers":{},"time":"2026-01-02T03:04:05Z","sealed":true}`)})
	if err != nil || !known || j.log.syncTo(end) != nil {
		t.Fatal(err)
	}
	j.Close()
	for range 3 {
		j := openUntended(t, Options{Dir: dir})
		ps, err := j.Pendings()
		if len(ps) != 1 || ps[0].Key != "other" || !errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) || len(j.Unreadable()) != 1 {
			t.Errorf("%v, %v", ps, err)
		}
		if _, err := os.Stat(s.Name()); err != nil {
			t.Error(err)
		}
		if err := j.log.empty(j.log.mu.segs[0]); err != nil { // rewritten, it is what it was
			t.Error(err)
		}
		j.Close()
	}
}

// What is unreadable at the log's end is said, whether it was torn or damaged: nobody knows.
func TestATornEndIsSaid(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	ends := threeNotes(t, j)
	left := killed(t, dir)
	if err := edit(lastSegment(t, left), func(b []byte) []byte { b[ends[1]+frameBytes+5] ^= 1; return b }); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	j = openUntended(t, Options{Dir: left, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if n := len(j.earlier); n != 2 || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "cannot be read") {
		t.Errorf("%d notes, logged %q", n, log.String())
	}
	log.Reset()
	j.Close()
	openUntended(t, Options{Dir: left, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if log.Len() > 0 {
		t.Errorf("said again: %s", log.String())
	}
}
