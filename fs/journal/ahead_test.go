package journal

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// filled records what is written ahead of the log's entries.
type filled struct {
	writes int
	bytes  int64
	spans  map[string][]Range // by file
}

func watchFills(t *testing.T, j *Journal) *filled {
	f := &filled{spans: map[string][]Range{}}
	fill := j.log.fill
	j.log.fill = func(file *os.File, b []byte, off int64) (int, error) {
		if !isZero(b) {
			t.Errorf("%d bytes at %d are not all zeros", len(b), off)
		}
		if end := j.log.mu.cur.end; off < end {
			t.Errorf("filled from %d on, where entries end at %d", off, end)
		}
		f.writes++
		f.bytes += int64(len(b))
		f.spans[file.Name()] = append(f.spans[file.Name()], Range{off, int64(len(b))})
		return fill(file, b, off)
	}
	return f
}

// Entries go where blocks were written before, and no block is written ahead twice.
func TestTheLogIsFilledAheadOfSmallEntries(t *testing.T) {
	j := openUntended(t, Options{Dir: t.TempDir()})
	f := watchFills(t, j)
	const entries, size = 300, 16 << 10
	began := map[int]bool{} // entries after which more was filled
	for i := range entries {
		before := f.writes
		if _, err := j.AddNote("k", bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			t.Fatal(err)
		}
		began[i] = f.writes > before
	}
	n := 0
	for _, b := range began {
		if b {
			n++
		}
	}
	if n == 0 || n > 12 {
		t.Errorf("filled %d times for %d entries of %d bytes", n, entries, size)
	}
	if all := int64(entries * size); f.bytes > all+mostAhead {
		t.Errorf("%d bytes ahead of %d bytes of entries", f.bytes, all)
	}
	for name, spans := range f.spans {
		end := int64(0)
		for _, s := range spans {
			if s.Off < end || s.Off+s.Len > defaultSegment {
				t.Errorf("%s: %+v after what ended at %d", name, s, end)
			}
			end = s.Off + s.Len
		}
	}
}

func TestTheLogIsNotFilledAheadOfLargeEntries(t *testing.T) {
	j := openUntended(t, Options{Dir: t.TempDir()})
	f := watchFills(t, j)
	for range 10 {
		if _, err := j.AddNote("k", make([]byte, largeEntry)); err != nil {
			t.Fatal(err)
		}
	}
	if f.writes > 0 {
		t.Errorf("%d bytes were written ahead", f.bytes)
	}
}

// What is found again is the same whether space was filled, in part, or not at all.
func TestFillingAheadLosesNothing(t *testing.T) {
	for _, fails := range []string{"never", "at times", "always"} {
		for _, segment := range []int64{20 << 10, 100 << 10, defaultSegment} {
			t.Run(fmt.Sprintf("fails %s, segments of %d", fails, segment), func(t *testing.T) {
				dir := t.TempDir()
				j := openUntended(t, Options{Dir: dir, segmentBytes: segment})
				watchFills(t, j)
				fill, calls := j.log.fill, 0
				j.log.fill = func(file *os.File, b []byte, off int64) (int, error) {
					if calls++; fails == "always" || fails == "at times" && calls%2 == 0 {
						n, _ := fill(file, b[:len(b)/2], off)
						return n, syscall.EIO
					}
					return fill(file, b, off)
				}
				var want [][]byte
				for i := range 50 {
					data := bytes.Repeat([]byte{byte(i + 1)}, 1+i*37%5000)
					if _, err := j.AddNote("k", data); err != nil {
						t.Fatal(err)
					}
					want = append(want, data)
				}
				if err := j.Sync(); err != nil {
					t.Fatal(err)
				}
				j = openUntended(t, Options{Dir: killed(t, dir), segmentBytes: segment})
				for _, err := range j.reports {
					t.Error(err)
				}
				notes := j.Notes("k")
				if len(notes) != len(want) {
					t.Fatalf("%d notes of %d", len(notes), len(want))
				}
				for i, n := range notes {
					if !bytes.Equal(n.Data, want[i]) {
						t.Errorf("note %d differs", i)
					}
				}
			})
		}
	}
}

// BenchmarkKeep is what a close of a small file waits for; TMPDIR says on which disk.
func BenchmarkKeep(b *testing.B) {
	j, err := OpenWith(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	data := make([]byte, 16<<10)
	for i := range data {
		data[i] = byte(i * 7)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s, err := j.NewSpool()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.WriteAt(data, 0); err != nil {
			b.Fatal(err)
		}
		p := Pending{Bucket: "b", Key: "k", Size: int64(len(data)), Dirty: []Range{{0, int64(len(data))}}}
		if err := j.Keep(s, p); err != nil {
			b.Fatal(err)
		}
		if err := s.Discard(); err != nil {
			b.Fatal(err)
		}
	}
}

// An entry is put together where the last one was: a large one before it leaves nothing behind, and costs no memory for good.
func TestEntriesShareABuffer(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	sizes := []int{0, 70_000, 1, 33, 8, 3 * inlineBytes, 7, 100}
	for i, n := range sizes {
		if _, err := j.AddNote("k", bytes.Repeat([]byte{byte('a' + i)}, n)); err != nil {
			t.Fatal(err)
		}
	}
	if n := cap(j.log.mu.buf); n == 0 || n > 2*inlineBytes {
		t.Errorf("%d bytes are kept", n)
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	j = openUntended(t, Options{Dir: killed(t, dir)})
	notes := j.Notes("k")
	if len(notes) != len(sizes) {
		t.Fatalf("%d notes", len(notes))
	}
	for i, n := range notes {
		if string(n.Data) != strings.Repeat(string(rune('a'+i)), sizes[i]) {
			t.Errorf("note %d of %d bytes has %d", i, sizes[i], len(n.Data))
		}
	}
}
