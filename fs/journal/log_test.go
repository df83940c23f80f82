package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
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

// platter is what a power cut leaves of a log: of each segment what its last sync found, where its name was synced as well.
type platter struct {
	mu struct {
		sync.Mutex
		segs  map[string][]byte
		named []os.DirEntry
	}
}

// under puts itself below a journal that has not written yet.
func under(j *Journal) *platter {
	p := &platter{}
	p.mu.segs = make(map[string][]byte)
	j.log.syncFile = func(f *os.File) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		b, err := os.ReadFile(f.Name())
		if err = errors.Join(err, fdatasync(f)); err == nil {
			p.mu.segs[filepath.Base(f.Name())] = b
		}
		return err
	}
	j.log.syncDir = func(dir string) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		named, err := os.ReadDir(dir)
		if err = errors.Join(err, syncDir(dir)); err == nil {
			p.mu.named = named
		}
		return err
	}
	return p
}

// cut is a journal's directory after a power cut now, without its spools.
func (p *platter) cut(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range p.mu.named {
		if err := os.WriteFile(filepath.Join(dir, "log", e.Name()), p.mu.segs[e.Name()], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What nobody waits for is on the disk when a second has passed, by itself. The file of a record that was dropped goes then, and
// not before: until then a power cut brings the record back.
func TestTending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, t.TempDir())
		disk := under(j)
		seq, err := j.AddNote("k", []byte("note"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := openUntended(t, Options{Dir: disk.cut(t)}).Notes("k"); !reflect.DeepEqual(got, []Note{{seq, "k", []byte("note")}}) {
			t.Errorf("a second later a power cut leaves %v", got)
		}

		s := newSpool(t, j, strings.Repeat("x", inlineBytes+1))
		keep(t, j, s, "large", inlineBytes+1)
		time.Sleep(time.Minute) // all is tended
		synctest.Wait()
		path := j.spoolPath(s.id)
		if err := s.Discard(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second - 1)
		synctest.Wait()
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a record on the disk has lost its bytes: %v", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file of a dropped record is still there: %v", err)
		}
		after := openUntended(t, Options{Dir: disk.cut(t)})
		if got := pendings(t, after); len(got) > 0 || len(after.reports) > 0 {
			t.Errorf("a power cut brings %v back, and says %v", got, after.reports)
		}
	})
}
