package journal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Any sequence of changes gives what a plain slice gives, in memory, in a file and on the way; the checks agree always,
// and survive being written down.
func TestSpoolIsWhatWasWritten(t *testing.T) {
	for name, o := range map[string]Options{"memory first": {}, "file": {MemoryBytes: -1}, "short of memory": {MemoryBytes: 20 << 10}} {
		t.Run(name, func(t *testing.T) {
			o.Dir = memoryDir(t)
			j := openUntended(t, o)
			rapid.Check(t, func(t *rapid.T) { checkSpool(t, j) })
			if m := j.Stats().MemoryBytes; m != 0 {
				t.Errorf("%d bytes of memory in use", m)
			}
		})
	}
}

// memoryDir is a directory where holes cost no disk access, if there is one.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "journal")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func checkSpool(t *rapid.T, j *Journal) { checkSpoolWith(t, j, func(*Spool) {}) }

func checkSpoolWith(t *rapid.T, j *Journal, prepare func(*Spool)) {
	s, err := j.NewSpool()
	if err != nil {
		t.Fatal(err)
	}
	prepare(s)
	defer func() {
		if err := s.Discard(); err != nil {
			t.Fatal(err)
		}
	}()
	var want []byte
	grow := func(end int) {
		if end > len(want) {
			want = append(want, make([]byte, end-len(want))...)
		}
	}
	// Places near the borders of blocks are what goes wrong.
	place := rapid.Custom(func(t *rapid.T) int {
		return max(0, rapid.IntRange(0, 6).Draw(t, "block")*checkBytes+rapid.IntRange(-3, 3).Draw(t, "beside")+
			rapid.SampledFrom([]int{0, 0, 100, 30000}).Draw(t, "within"))
	})
	length := rapid.OneOf(rapid.IntRange(1, 10), rapid.IntRange(checkBytes-5, checkBytes+5), rapid.IntRange(1, 3*checkBytes))
	t.Repeat(map[string]func(*rapid.T){
		"write": func(t *rapid.T) {
			off, n := place.Draw(t, "off"), length.Draw(t, "n")
			p := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, n)
			if _, err := s.WriteAt(p, int64(off)); err != nil {
				t.Fatal(err)
			}
			grow(off + n)
			copy(want[off:], p)
		},
		"append": func(t *rapid.T) {
			p := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, length.Draw(t, "n"))
			if _, err := s.WriteAt(p, int64(len(want))); err != nil {
				t.Fatal(err)
			}
			want = append(want, p...)
		},
		"truncate": func(t *rapid.T) {
			size := place.Draw(t, "size")
			if err := s.Truncate(int64(size)); err != nil {
				t.Fatal(err)
			}
			grow(size)
			want = want[:size]
		},
		"punch": func(t *rapid.T) {
			off, n := place.Draw(t, "off"), length.Draw(t, "n")
			if err := s.PunchHole(int64(off), int64(n)); err != nil {
				t.Fatal(err)
			}
			if off < len(want) {
				clear(want[off:min(off+n, len(want))])
			}
		},
		"sync": func(t *rapid.T) {
			if s.HasLent() {
				if err := s.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		},
		"read": func(t *rapid.T) {
			off, p := place.Draw(t, "off"), make([]byte, length.Draw(t, "n"))
			n, err := s.ReadAt(p, int64(off))
			if from := min(off, len(want)); !bytes.Equal(p[:n], want[from:min(off+len(p), len(want))]) || (n < len(p)) != (err == io.EOF) {
				t.Fatalf("read %d+%d: %d, %v", off, len(p), n, err)
			}
		},
		"": func(t *rapid.T) {
			if s.mu.f == nil {
				return
			}
			again, err := decodeSums(s.mu.sums.encode())
			if err != nil || !reflect.DeepEqual(again, s.mu.sums) {
				t.Fatalf("checks written and read differ: %v", err)
			}
		},
	})
	got, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<40))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, want %d; %v", len(got), len(want), err)
	}
}

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
