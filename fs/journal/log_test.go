package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// openUntended opens a journal in which nothing happens by itself.
func openUntended(t *testing.T, o Options) *Journal {
	t.Helper()
	o.untended = true
	j, err := OpenWith(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// killed is a copy of the directory as a process that dies now would leave it.
func killed(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A thousand closes at once: the first sync is held up until all are appended, so there are two.
func TestGroupCommit(t *testing.T) {
	j := openUntended(t, Options{Dir: t.TempDir()})
	const n = 1000
	began, gate := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(began) })
	j.log.syncFile = func(f *os.File) error {
		first()
		<-gate
		return fdatasync(f)
	}
	var wg, appended sync.WaitGroup
	one := func(i int, appended func()) {
		s := newSpool(t, j, "content")
		wg.Go(func() {
			end, err := j.keep(s, Pending{Bucket: "b", Key: fmt.Sprint(i), Size: 7, Dirty: []Range{{0, 7}}})
			appended()
			if err := errors.Join(err, j.log.syncTo(end)); err != nil {
				t.Error(err)
			}
		})
	}
	one(0, func() {})
	<-began // its commit covers it alone
	appended.Add(n - 1)
	for i := range n - 1 {
		one(i+1, appended.Done)
	}
	appended.Wait()
	close(gate)
	wg.Wait()
	if st := j.Stats(); st.Syncs != 2 || st.Entries != n || st.Records != n {
		t.Errorf("%+v, want 2 syncs of %d entries", st, n)
	}
	if err := j.Sync(); err != nil {
		t.Error(err)
	}
	if st := j.Stats(); st.Syncs != 2 {
		t.Errorf("%d syncs: one more for nothing", st.Syncs)
	}
}

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

func TestNotes(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	var seqs []uint64
	for i := range 4 {
		seq, err := j.AddNote([]string{"name", "upload"}[i%2], []byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, seq)
	}
	if err := j.ReplaceNote(seqs[0], []byte("other")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.DropNote(seqs[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.ReplaceNote(seqs[1], nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("replaced what is gone: %v", err)
	}
	if got := j.Notes("name"); got != nil {
		t.Errorf("this run's: %v", got)
	}
	if st := j.Stats(); st.Notes != 3 || st.Syncs != 0 || st.Entries != 6 {
		t.Errorf("%+v", st)
	}
	j.Close()
	j = openUntended(t, Options{Dir: dir})
	if got, want := j.Notes("name"), []Note{{seqs[0], "name", []byte("other")}, {seqs[2], "name", []byte{2}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := j.Notes("upload"); len(got) != 1 || got[0].Seq != seqs[3] {
		t.Errorf("%v", got)
	}
	if seq, err := j.AddNote("name", nil); err != nil || seq <= seqs[3] {
		t.Errorf("seq %d after %v, %v", seq, seqs, err)
	}
}

// A failed sync is reported to those it was for; what they wrote is written again before anything counts as durable.
func TestFailedSync(t *testing.T) {
	dir := t.TempDir()
	j := openUntended(t, Options{Dir: dir})
	s := newSpool(t, j, "first")
	keep(t, j, s, "first", 5)
	dropped := newSpool(t, j, "dropped")
	keep(t, j, dropped, "dropped", 5)

	fail := true
	j.log.syncFile = func(f *os.File) error {
		if fail {
			return syscall.EIO
		}
		return fdatasync(f)
	}
	seq, err := j.AddNote("k", []byte("note"))
	if err != nil {
		t.Fatal(err)
	}
	if err := dropped.Discard(); err != nil {
		t.Fatal(err)
	}
	lost := newSpool(t, j, "lost?")
	p := Pending{Bucket: "b", Key: "lost?", Size: 5, Dirty: []Range{{0, 5}}}
	for range 2 {
		if err := j.Keep(lost, p); !errors.Is(err, syscall.EIO) {
			t.Fatalf("keep: %v", err)
		}
		if err := j.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
	}
	fail = false
	old := lastSegment(t, dir)
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	// What the failed syncs were for may be anything now.
	cut := j.log.mu.segs[0].end
	crashed := killed(t, dir)
	segs := names(t, filepath.Join(crashed, "log"))
	if err := edit(filepath.Join(crashed, "log", segs[0]), func(b []byte) []byte {
		h, err := decodeHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		found := scan(b, h)
		clear(b[found[2].off:cut])
		return b
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range segs[1 : len(segs)-1] {
		if err := edit(filepath.Join(crashed, "log", name), func(b []byte) []byte { clear(b[headerBytes:]); return b }); err != nil {
			t.Fatal(err)
		}
	}
	if filepath.Base(old) == segs[len(segs)-1] {
		t.Fatal("no fresh segment")
	}
	j = openUntended(t, Options{Dir: crashed})
	var keys []string
	for _, r := range pendings(t, j) {
		keys = append(keys, r.Key)
	}
	if !reflect.DeepEqual(keys, []string{"first", "lost?"}) {
		t.Errorf("records %v", keys)
	}
	if notes := j.Notes("k"); len(notes) != 1 || notes[0].Seq != seq {
		t.Errorf("notes %v", notes)
	}
}

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

// What nobody waits for is synced by itself, and files of dropped records go.
func TestTending(t *testing.T) {
	j := openJournal(t, t.TempDir())
	synced := make(chan struct{}, 10)
	j.log.syncDir = func(dir string) error {
		synced <- struct{}{}
		return syncDir(dir)
	}
	if _, err := j.AddNote("k", nil); err != nil {
		t.Fatal(err)
	}
	<-synced
}

// smallDisk mounts a file system of so many bytes.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Skip(t, "a small file system needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		testenv.Skip(t, "a small file system cannot be mounted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// On a full disk Keep fails and loses nothing; drops still work, and make room again.
func TestFullDiskForReal(t *testing.T) {
	dir := smallDisk(t, 2<<20)
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
	dir := smallDisk(t, 20<<20)
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
