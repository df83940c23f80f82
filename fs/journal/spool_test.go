package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What another hand changed in the file is found by every read that touches its block, by writes into it, by a punch and
// a cut, and by the next run.
func TestFlippedByteInASpool(t *testing.T) {
	const size = 5 * checkBytes / 2 * 2
	for name, at := range map[string]int64{"first": 0, "middle": checkBytes + 77, "last of a block": 2*checkBytes - 1, "end": size - 1} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := openUntended(t, Options{Dir: dir})
			s := newSpool(t, j, strings.Repeat("x", size))
			keep(t, j, s, "k", size)
			if err := edit(s.Name(), func(b []byte) []byte { b[at] ^= 1; return b }); err != nil {
				t.Fatal(err)
			}
			block := at / checkBytes
			check := func(s *Spool) {
				for off := int64(0); off < size; off += 4096 {
					_, err := s.ReadAt(make([]byte, 100), off)
					if bad := off/checkBytes == block; bad != errors.Is(err, ErrDamaged) || bad && !strings.Contains(err.Error(), s.id) {
						t.Fatalf("read at %d: %v", off, err)
					}
				}
				if n, err := s.ReadAt(make([]byte, size), 0); !errors.Is(err, ErrDamaged) || int64(n) > block*checkBytes {
					t.Errorf("read of all: %d, %v", n, err)
				}
				if _, err := s.WriteAt([]byte("y"), block*checkBytes+5); !errors.Is(err, ErrDamaged) {
					t.Errorf("write: %v", err)
				}
				if err := s.PunchHole(block*checkBytes+5, 5); !errors.Is(err, ErrDamaged) {
					t.Errorf("punch: %v", err)
				}
			}
			j2 := openUntended(t, Options{Dir: killed(t, dir)})
			s2, err := pendings(t, j2)[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			for off := int64(0); off < size; off += checkBytes { // before anything is written: the record has the checks
				if _, err := s2.ReadAt(make([]byte, 1), off); (off/checkBytes == block) != errors.Is(err, ErrDamaged) {
					t.Fatalf("next run, at %d: %v", off, err)
				}
			}
			check(s)
			if _, err := s.WriteAt(make([]byte, checkBytes), block*checkBytes); err != nil { // all of it is new
				t.Error(err)
			}
			if _, err := s.ReadAt(make([]byte, size), 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// A hole that is not zero any more is damage as well; so is a file that became shorter.
func TestHoleAndEndOfASpoolAreChecked(t *testing.T) {
	j := openUntended(t, Options{Dir: t.TempDir(), MemoryBytes: -1})
	s := newSpool(t, j, "start")
	if _, err := s.WriteAt([]byte("end"), 3*checkBytes); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1}, checkBytes+5); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(make([]byte, 1), checkBytes); !errors.Is(err, ErrDamaged) {
		t.Errorf("hole: %v", err)
	}
	if err := f.Truncate(3*checkBytes + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(make([]byte, 1), 3*checkBytes); !errors.Is(err, ErrDamaged) {
		t.Errorf("cut: %v", err)
	}
}

// Readers and writers go on while the bytes move from memory to a file; each block holds one writer's bytes at any time.
func TestSpoolMovesUnderReaders(t *testing.T) {
	j := openUntended(t, Options{Dir: t.TempDir()})
	for round := range 20 {
		s := newSpool(t, j, strings.Repeat("a", inlineBytes))
		var readers, writers sync.WaitGroup
		done := make(chan struct{})
		for w := range 3 {
			readers.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(round), uint64(w)))
				b := make([]byte, 5000)
				for {
					select {
					case <-done:
						return
					default:
					}
					off := rnd.Int64N(inlineBytes - 5000)
					if _, err := s.ReadAt(b, off); err != nil {
						t.Errorf("read at %d: %v", off, err)
						return
					}
					for _, c := range b {
						if c < 'a' || c > 'd' {
							t.Errorf("read %q at %d", c, off)
							return
						}
					}
				}
			})
		}
		for w := range 3 {
			writers.Go(func() {
				p := bytes.Repeat([]byte{byte('b' + w)}, 10000)
				for i := range 20 {
					off := int64(i * 10000)
					if w == 0 && i == 10 {
						off = inlineBytes // moves it
					}
					if _, err := s.WriteAt(p, off); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		close(done)
		readers.Wait()
		if st := j.Stats(); st.MemoryBytes != 0 || st.SpoolBytes == 0 {
			t.Errorf("%+v", st)
		}
		got := content(t, s)
		if len(got) != inlineBytes+10000 || got[inlineBytes:] != strings.Repeat("b", 10000) {
			t.Errorf("content of %d bytes", len(got))
		}
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
	}
}

func TestSpoolThatCannotMove(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	s := newSpool(t, j, "content")
	if err := os.Rename(j.spools(), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt([]byte("x"), inlineBytes); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("write: %v", err)
	}
	if got := content(t, s); got != "content" {
		t.Errorf("holds %q", got)
	}
	if err := os.Rename(filepath.Join(dir, "away"), j.spools()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt([]byte("x"), inlineBytes); err != nil {
		t.Error(err)
	}
}

// A punched stream keeps no checks of what it has given back.
func TestChecksOfAStreamTakeLittleMemory(t *testing.T) {
	j := openUntended(t, Options{Dir: t.TempDir(), MemoryBytes: -1})
	s := newSpool(t, j, "")
	chunk := make([]byte, 1<<20)
	for i := range int64(256) {
		if _, err := s.WriteAt(chunk, i<<20); err != nil {
			t.Fatal(err)
		}
		if err := s.PunchHole(i<<20, 1<<20); err != nil {
			t.Fatal(err)
		}
		if n := len(s.mu.sums.groups); n > 1 {
			t.Fatalf("%d groups of checks after %d MiB", n, i)
		}
	}
	if _, err := s.WriteAt(chunk[:1], 1<<40); err != nil || len(s.mu.sums.groups) > 1 {
		t.Errorf("%d groups, %v", len(s.mu.sums.groups), err)
	}
}

func BenchmarkReadFile(b *testing.B) {
	for name, n := range map[string]int{"4KiB": 4 << 10, "128KiB": 128 << 10, "1MiB": 1 << 20} {
		j, err := OpenWith(Options{Dir: b.TempDir(), MemoryBytes: -1})
		if err != nil {
			b.Fatal(err)
		}
		s, err := j.NewSpool()
		if err != nil {
			b.Fatal(err)
		}
		const size = 64 << 20
		if _, err := s.WriteAt(make([]byte, size), 0); err != nil {
			b.Fatal(err)
		}
		p := make([]byte, n)
		read := func(name string, readAt func([]byte, int64) (int, error)) {
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(n))
				for i := range b.N {
					if _, err := readAt(p, int64(i*n%size)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		read(name+"/checked", s.ReadAt)
		read(name+"/plain", s.mu.f.disk.ReadAt)
		if err := errors.Join(s.Discard(), j.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
