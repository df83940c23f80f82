package faults

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"

	"pailfs/tests/testenv"
)

// TestMemoryPressure does everything at once in a group of 96 MiB: a long stream is written and another one read, a directory of
// 2,000 files is listed with its attributes again and again, 200 files are open at once, half of them being written. Nobody is
// killed, and all bytes are right.
func TestMemoryPressure(t *testing.T) {
	testenv.Require(t)
	if os.Getenv("PAILFS_TEST_RACE") == "1" {
		t.Skip("the race detector takes more memory than there is")
	}
	s := testenv.StoreIn(t, t.TempDir())
	for _, d := range durabilities {
		t.Run(d, func(t *testing.T) {
			g := testenv.LimitMemory(t, 96<<20)
			w := newWorker(t, s, d, testenv.Program(g.Program()), testenv.Args("--memory", "24MiB", "--timeout", "2m"))
			const names = 2000
			var making sync.WaitGroup
			for i := range 8 {
				making.Go(func() {
					for n := i; n < names; n += 8 {
						if err := w.put(t.Context(), fmt.Sprintf("many/%05d", n), object{content: strconv.Itoa(n)}); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			making.Wait()
			long := noise(7, 64<<20)
			w.s.Put(t, w.bucket, "long", []byte(long), nil)
			for i := range 100 {
				w.s.Put(t, w.bucket, fmt.Sprint("r", i), []byte(noise(i, 300_000)), nil)
			}
			var wg sync.WaitGroup
			all := map[string]func() error{
				"write": func() error { return os.WriteFile(w.path("written"), []byte(long), 0o644) },
				"read": func() error {
					got, err := os.ReadFile(w.path("long"))
					if err != nil {
						return err
					}
					return same("the long file", string(got), long)
				},
				"list": func() error { return listAgain(w.path("many"), names) },
				"open": func() error { return w.manyOpen() },
			}
			for what, do := range all {
				wg.Go(func() {
					if err := do(); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				})
			}
			wg.Wait()
			if err := w.flush(""); err != nil {
				t.Error(err)
			}
			if got := string(w.s.Get(t, w.bucket, "written")); got != long {
				t.Error("the store has other bytes than were written")
			}
			for i := range 100 {
				if err := same("a written file", string(w.s.Get(t, w.bucket, fmt.Sprint("w", i))), noise(i+1000, 300_000)); err != nil {
					t.Error(err)
				}
			}
			w.m.Unmount()
			if n := g.Killed(); n != 0 {
				t.Errorf("%d processes were killed for their memory", n)
			}
		})
	}
}

// listAgain lists a directory three times and looks at each name.
func listAgain(dir string, names int) error {
	for range 3 {
		all, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(all) != names {
			return wrong("%d names, not %d", len(all), names)
		}
		for i, e := range all {
			fi, err := e.Info()
			if err != nil {
				return err
			}
			if want := len(strconv.Itoa(i)); fi.Size() != int64(want) {
				return wrong("%s has %d bytes, not %d", e.Name(), fi.Size(), want)
			}
		}
	}
	return nil
}

// manyOpen has 200 files open at once, reads a hundred of them piece by piece in turn, and writes the others so.
func (w *worker) manyOpen() error {
	var readers, writers [100]*os.File
	for i := range readers {
		var err error
		if readers[i], err = os.Open(w.path(fmt.Sprint("r", i))); err != nil {
			return err
		}
		defer readers[i].Close()
		if writers[i], err = os.Create(w.path(fmt.Sprint("w", i))); err != nil {
			return err
		}
		defer writers[i].Close()
	}
	const size, piece = 300_000, 30_000
	var texts, news [100]string
	for i := range texts {
		texts[i], news[i] = noise(i, size), noise(i+1000, size)
	}
	p := make([]byte, piece)
	for off := 0; off < size; off += piece {
		for i := range readers {
			if _, err := io.ReadFull(readers[i], p); err != nil {
				return err
			}
			if err := same("a piece", string(p), texts[i][off:off+piece]); err != nil {
				return err
			}
			if _, err := writers[i].WriteString(news[i][off : off+piece]); err != nil {
				return err
			}
		}
	}
	for _, f := range writers {
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
