package journal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openJournal(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func newSpool(t *testing.T, j *Journal, content string) *Spool {
	t.Helper()
	s, err := j.NewSpool()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func pendings(t *testing.T, j *Journal) []Recovered {
	t.Helper()
	ps, err := j.Pendings()
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func samplePending() Pending {
	return Pending{
		Bucket: "b", Key: "dir/<ä>&\xff\x00.bin", Size: 100,
		Dirty:   []Range{{0, 3}, {10, 2}},
		Base:    &Base{Bucket: "b", Key: "old\xfe", ETag: "abc-2", Size: 90, Limit: 80},
		Headers: Headers{ContentType: "text/plain", Meta: map[string]string{"mode": "33188", "x": "<>&\""}},
		Reason:  "store: 503", Time: time.Unix(1700000000, 123456789).UTC(), Upload: "up/1", Attempts: 3,
	}
}

func TestKeptSpoolIsFoundByTheNextRun(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	s := newSpool(t, j, "abcdefghijkl")
	want := samplePending()
	if err := j.Keep(s, want); err != nil {
		t.Fatal(err)
	}
	if got := pendings(t, j); len(got) != 0 {
		t.Errorf("this run's own spool is among the earlier runs': %v", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	j = openJournal(t, dir)
	ps := pendings(t, j)
	if len(ps) != 1 {
		t.Fatalf("%d pendings, want 1", len(ps))
	}
	if !reflect.DeepEqual(ps[0].Pending, want) {
		t.Errorf("got  %+v\nwant %+v", ps[0].Pending, want)
	}
	s, err := ps[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 12)
	if _, err := s.ReadAt(b, 0); err != nil || string(b) != "abcdefghijkl" {
		t.Errorf("spool holds %q, %v", b, err)
	}
	for range 2 {
		if err := ps[0].Drop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Discard(); err != nil {
		t.Errorf("discard after drop: %v", err)
	}
	if left := names(t, j.spools()); len(left) != 0 || !ps[0].Gone() {
		t.Errorf("left after drop: %v, gone %v", left, ps[0].Gone())
	}
	j.Close()
	if ps := pendings(t, openJournal(t, dir)); len(ps) != 0 {
		t.Errorf("dropped and there again: %v", ps)
	}
}

func TestSpoolWithoutRecordIsRemoved(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	newSpool(t, j, big("never acknowledged"))
	kept := newSpool(t, j, big("kept"))
	keep(t, j, kept, "k", int64(len(big("kept"))))
	j.Close()
	if got := names(t, j.spools()); len(got) != 2 {
		t.Errorf("spools %v, want two", got)
	}
	j = openJournal(t, dir)
	if got := names(t, j.spools()); len(got) != 1 || got[0] != kept.id {
		t.Errorf("spools %v, want %s alone", got, kept.id)
	}
}

// big is a content too large for the log.
func big(word string) string { return strings.Repeat(word, inlineBytes/len(word)+1) }

// keep keeps the first size bytes of a spool.
func keep(t *testing.T, j *Journal, s *Spool, key string, size int64) {
	t.Helper()
	p := Pending{Bucket: "b", Key: key, Size: size}
	if size > 0 {
		p.Dirty = []Range{{0, size}}
	}
	if err := j.Keep(s, p); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, s *Spool) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestKeepAgainReplacesAndDiscardRemovesBoth(t *testing.T) {
	for name, text := range map[string]string{"in memory": "0123456789", "in a file": big("0123456789")} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := openJournal(t, dir)
			s := newSpool(t, j, text)
			keep(t, j, s, "k", 2)
			if _, err := s.WriteAt([]byte("new"), 5); err != nil {
				t.Fatal(err)
			}
			keep(t, j, s, "k", 10)
			keep(t, j, s, "name of its own", 10)
			want := text[:5] + "new" + text[8:]
			if got := content(t, s); got != want {
				t.Error("content changed by Keep")
			}
			j.Close()
			j = openJournal(t, dir)
			ps := pendings(t, j)
			if len(ps) != 1 || ps[0].Size != 10 || ps[0].Key != "name of its own" {
				t.Fatalf("found %v", ps)
			}
			s, err := ps[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, s); got != want {
				t.Errorf("content differs: %.20q of %d", got, len(got))
			}
			for range 2 {
				if err := s.Discard(); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.log.tidy(); err != nil { // as the journal does within a second
				t.Fatal(err)
			}
			if left := names(t, j.spools()); len(left) != 0 || !ps[0].Gone() {
				t.Errorf("left after discard: %v", left)
			}
		})
	}
}

func TestPendingsAreOldestFirst(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	for _, sec := range []int64{30, 10, 20} {
		p := Pending{Bucket: "b", Key: strconv.FormatInt(sec, 10), Time: time.Unix(sec, 0)}
		if err := j.Keep(newSpool(t, j, ""), p); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	var got []string
	for _, r := range pendings(t, openJournal(t, dir)) {
		got = append(got, r.Key)
	}
	if !reflect.DeepEqual(got, []string{"10", "20", "30"}) {
		t.Errorf("order %v", got)
	}
}

func TestKeepRefusesNonsense(t *testing.T) {
	j := openJournal(t, t.TempDir())
	s := newSpool(t, j, "0123")
	for name, p := range map[string]Pending{
		"no key":        {Bucket: "b", Size: 1},
		"no bucket":     {Key: "k", Size: 1},
		"past size":     {Bucket: "b", Key: "k", Size: 3, Dirty: []Range{{0, 4}}},
		"overlap":       {Bucket: "b", Key: "k", Size: 4, Dirty: []Range{{0, 2}, {1, 2}}},
		"empty range":   {Bucket: "b", Key: "k", Size: 4, Dirty: []Range{{0, 0}}},
		"negative":      {Bucket: "b", Key: "k", Size: 4, Dirty: []Range{{-1, 2}}},
		"not in spool":  {Bucket: "b", Key: "k", Size: 5, Dirty: []Range{{0, 5}}},
		"limit too big": {Bucket: "b", Key: "k", Size: 4, Base: &Base{Size: 3, Limit: 4}},
	} {
		if err := j.Keep(s, p); err == nil {
			t.Errorf("%s: kept", name)
		}
	}
	if st := j.Stats(); st.Entries != 0 || st.Records != 0 {
		t.Errorf("%+v", st)
	}
}

func TestKeepReturnsTheDisksErrorAndLeavesNothing(t *testing.T) {
	j := openJournal(t, t.TempDir())
	s := newSpool(t, j, "0123")
	if err := os.RemoveAll(j.log.dir); err != nil {
		t.Fatal(err)
	}
	p := Pending{Bucket: "b", Key: "k", Size: 4, Dirty: []Range{{0, 4}}}
	if err := j.Keep(s, p); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if st := j.Stats(); st.Records != 0 {
		t.Errorf("%+v", st)
	}
}

// A file size limit stands in for a full disk: both make write(2) fail in the middle.
func TestFullDisk(t *testing.T) {
	if os.Getenv("JOURNAL_TEST_LIMIT") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_LIMIT=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	j, err := OpenWith(Options{Dir: t.TempDir(), MemoryBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	s := newSpool(t, j, "0123")
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt(make([]byte, 8192), 0); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("write: %v", err)
	}
	if got := content(t, s); got != string(make([]byte, 4096)) { // what was written of it, with its checks
		t.Errorf("%d bytes after the failed write", len(got))
	}
	if err := s.Truncate(1 << 20); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("truncate: %v", err)
	}
	p := Pending{Bucket: "b", Key: "k", Size: 4, Dirty: []Range{{0, 4}}, Reason: strings.Repeat("x", 8192)}
	if err := j.Keep(s, p); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("keep: %v", err)
	}
	if st := j.Stats(); st.Records != 0 {
		t.Errorf("%+v", st)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestSecondOpenSaysWhoHasIt(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	spool := newSpool(t, j, big("in use"))
	_, err := Open(dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Fatalf("second open: %v", err)
	}
	if _, err := os.Stat(spool.Name()); err != nil {
		t.Errorf("the second open touched the first one's spool: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	openJournal(t, dir)
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "journal")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, dir)
	s := newSpool(t, j, "x")
	if err := j.Keep(s, Pending{Bucket: "b", Key: "k", Size: 1, Dirty: []Range{{0, 1}}}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v", path, fi.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("open through a link: %v", err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("victim %q, %v", b, err)
	}
}

func TestPunchHole(t *testing.T) {
	j := openJournal(t, t.TempDir())
	for name, c := range map[string]struct {
		punch func(*os.File, int64, int64) error
		size  int
	}{"memory": {nil, 200 << 10}, "fallocate": {punch, 300 << 10}, "zeros": {zero, 300 << 10}} {
		s := newSpool(t, j, "")
		content := bytes.Repeat([]byte{7}, c.size)
		if _, err := s.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
		for _, r := range []Range{{5, 100 << 10}, {150 << 10, 1 << 30}, {9 << 30, 5}, {0, 0}} {
			if err := s.makeHole(r.Off, r.Len, c.punch); err != nil {
				t.Fatalf("%s %v: %v", name, r, err)
			}
			if r.Off < int64(len(content)) {
				clear(content[r.Off:min(r.Off+r.Len, int64(len(content)))])
			}
		}
		got, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<40))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: content of %d bytes differs, %v", name, len(got), err)
		}
	}
}

func TestSpoolIsSparse(t *testing.T) {
	j := openJournal(t, t.TempDir())
	s := newSpool(t, j, "")
	if _, err := s.WriteAt([]byte("end"), 1<<40); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(s.Name(), &st); err != nil || st.Blocks > 1024 {
		t.Errorf("%d blocks, %v", st.Blocks, err)
	}
	b := []byte{1}
	if _, err := s.ReadAt(b, 1<<39); err != nil || b[0] != 0 {
		t.Errorf("hole reads %v, %v", b, err)
	}
	if n, err := s.ReadAt(b, 1<<41); n != 0 || err != io.EOF {
		t.Errorf("past the end: %d, %v", n, err)
	}
}

func TestAfterCloseAndDiscard(t *testing.T) {
	j := openJournal(t, t.TempDir())
	s := newSpool(t, j, "x")
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt([]byte("y"), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if err := s.PunchHole(0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("punch: %v", err)
	}
	if err := j.Keep(s, Pending{Bucket: "b", Key: "k"}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("keep: %v", err)
	}
	open := newSpool(t, j, big("x"))
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after the journal's close: %v", err)
	}
	if _, err := j.NewSpool(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("new spool after close: %v", err)
	}
	if got := names(t, j.spools()); len(got) != 1 {
		t.Errorf("spools %v: want the open one's alone", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	s := newSpool(t, j, "")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			b := make([]byte, 4096)
			for range 50 {
				off := rnd.Int64N(1 << 20)
				for i := range b {
					b[i] = byte(w + 1)
				}
				if _, err := s.WriteAt(b, off); err != nil {
					t.Error(err)
				}
				if _, err := s.ReadAt(b, rnd.Int64N(1<<20)); err != nil && err != io.EOF {
					t.Error(err)
				}
				if err := s.PunchHole(rnd.Int64N(1<<20), 4096); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for i := range 10 {
				other := newSpool(t, j, "data")
				p := Pending{Bucket: "b", Key: "k", Size: 4, Dirty: []Range{{0, 4}}}
				if err := j.Keep(other, p); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := other.Discard(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	j.Close()
	j = openJournal(t, dir)
	if ps := pendings(t, j); len(ps) != 20 {
		t.Errorf("%d pendings, want 20", len(ps))
	}
}
