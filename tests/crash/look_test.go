package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

// lookAtOnce sees that what was acknowledged is shown by a mount that has just begun, and is going on with what the kill left.
func (w *world) lookAtOnce(t *testing.T, m *testenv.MountPoint, rnd *rand.Rand) {
	t.Helper()
	for _, p := range w.ledger.paths() {
		want, sure := w.ledger.certain(p)
		if !sure {
			continue
		}
		fi, err := os.Lstat(m.Path(p))
		switch {
		case want.kind == 0 && os.IsNotExist(err):
		case err != nil:
			w.wrong(t, &w.counts.lost, p, "acknowledged as %s; at once after the kill: %v", want.name(), err)
		case want.kind == 0:
			w.wrong(t, &w.counts.lost, p, "removed; at once after the kill it has %d bytes", fi.Size())
		case want.kind == 'f' && !want.torn && (fi.Size() != want.body.size() || uint32(fi.Mode().Perm()) != want.mode):
			w.wrong(t, &w.counts.lost, p, "acknowledged as %s; at once after the kill it has %d bytes, mode %v", want.name(), fi.Size(), fi.Mode())
		case (want.kind == 'd') != fi.IsDir():
			w.wrong(t, &w.counts.lost, p, "acknowledged as %s; at once after the kill it is %v", want.name(), fi.Mode())
		case want.kind == 'f' && !want.torn && fi.Size() <= 1<<20 && rnd.IntN(3) == 0:
			if err := readAs(m.Path(p), want.body); err != nil {
				w.wrong(t, &w.counts.lost, p, "acknowledged as %s; read at once after the kill: %v", want.name(), err)
			}
		}
	}
}

// readAs reads a file through the mount and compares it.
func readAs(path string, want body) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	got, err := parse(b)
	if err == nil && got.name() != want.name() {
		err = fmt.Errorf("it is %s", got.name())
	}
	return err
}

// settle waits until the store has everything, compares, and says in the ledger what is there.
func (w *world) settle(t *testing.T, m *testenv.MountPoint) {
	t.Helper()
	if out, code := m.Command("flush", "--timeout", "2m", m.Dir); code != 0 {
		t.Errorf("%s: flush: exit code %d\n%s", w.name, code, out)
		return
	}
	w.renamed(t, m)
	w.compare(t, m)
	w.noUploads(t)
}

// noUploads waits until the store has no multipart upload: the mount looks again for up to two minutes for what a killed
// process may have had on its way.
func (w *world) noUploads(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(150 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left, err := w.s.Client.Uploads(context.Background(), w.bucket, "")
		if err == nil && len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			if err != nil {
				t.Errorf("%s: list uploads: %v", w.name, err)
			}
			for _, u := range left {
				w.wrong(t, &w.counts.orphans, u.Key, "an upload is left after recovery: %s of %v", u.ID, u.Initiated)
			}
			return
		}
	}
}

// countUploads counts what a kill has left.
func (w *world) countUploads(t *testing.T) {
	t.Helper()
	left, err := w.s.Client.Uploads(context.Background(), w.bucket, "")
	if err != nil {
		t.Fatal(err)
	}
	w.counts.uploads += len(left)
}

// nothingKept sees that a mount that has ended well has left no file in its state directory that waits for anything.
func (w *world) nothingKept(t *testing.T) {
	t.Helper()
	w.noUploads(t)
	for _, room := range []string{"spool", "damaged"} {
		left, err := filepath.Glob(filepath.Join(w.state, "mounts", "*", room, "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: the state directory still has %q, %v", w.name, left, err)
		}
	}
}

// compare compares bucket and ledger, and the mount with both.
func (w *world) compare(t *testing.T, m *testenv.MountPoint) {
	t.Helper()
	objects := map[string]s3client.Object{}
	for after := ""; ; {
		page, err := w.s.Client.List(context.Background(), s3client.ListRequest{Bucket: w.bucket, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			objects[o.Key] = o
		}
		if after = page.Next; after == "" {
			break
		}
	}
	found := map[string]state{}
	for _, p := range w.ledger.paths() {
		s := w.found(t, objects, p)
		if ok, possible := w.ledger.may(p, s); !ok {
			w.wrong(t, &w.counts.lost, p, "it is %s; it can only be one of %q", s.name(), possible)
		}
		found[p] = s
		w.shown(t, m, p, s)
	}
	for _, move := range w.ledger.openMoves() {
		if found[move.from].name() != move.what.name() && found[move.to].name() != move.what.name() {
			w.wrong(t, &w.counts.lost, move.from, "a rename lost %s: this is %s, %s is %s", move.what.name(), found[move.from].name(), move.to, found[move.to].name())
		}
	}
	for key := range objects {
		if _, ok := found[strings.TrimSuffix(key, "/")]; !ok {
			t.Errorf("%s: the bucket has %q, which nobody wrote", w.name, key)
		}
	}
	w.ledger.settleMoves()
	for p, s := range found {
		w.ledger.done(p, s)
	}
}

// found says what the store has under a path.
func (w *world) found(t *testing.T, objects map[string]s3client.Object, p string) state {
	t.Helper()
	o, ok := objects[p]
	if !ok {
		for key := range objects {
			if strings.HasPrefix(key, p+"/") {
				return state{kind: 'd'}
			}
		}
		return state{}
	}
	if s, sure := w.ledger.certain(p); sure && s.kind == 'f' && w.looked[p] == s.name()+o.ETag {
		if h, err := w.s.Client.Head(context.Background(), w.bucket, p); err == nil && h.ETag == o.ETag && mode(h) == s.mode {
			return s // it was read before, and is the same version
		}
	}
	b, o, err := w.get(p)
	if errors.Is(err, errTorn) && w.ledger.mayBeTorn(p) {
		return state{kind: 'f', torn: true}
	}
	if errors.Is(err, errTorn) {
		w.wrong(t, &w.counts.torn, p, "%v", err)
	} else if err != nil {
		t.Errorf("%s: %s: %v", w.name, p, err)
	}
	if err != nil {
		return state{}
	}
	s := state{kind: 'f', body: b, mode: mode(o)}
	w.looked[p] = s.name() + o.ETag
	return s
}

// mode is an object's, in s3fs's format.
func mode(o s3client.Object) uint32 {
	var m uint32
	if o.Headers == nil {
		return 0o644
	}
	if n, _ := fmt.Sscanf(o.Headers.Meta["mode"], "%d", &m); n != 1 {
		return 0o644
	}
	return m & 0o777
}

// shown sees that the mount shows what the store has.
func (w *world) shown(t *testing.T, m *testenv.MountPoint, p string, s state) {
	t.Helper()
	if m == nil {
		return
	}
	fi, err := os.Lstat(m.Path(p))
	if s.kind == 0 {
		if !os.IsNotExist(err) {
			w.wrong(t, &w.counts.lost, p, "the store has it not; the mount: %v, %v", fi, err)
		}
		return
	}
	if err != nil || fi.IsDir() != (s.kind == 'd') {
		w.wrong(t, &w.counts.lost, p, "the store has %s; the mount: %v, %v", s.name(), fi, err)
		return
	}
	if s.kind != 'f' || s.torn {
		return
	}
	if fi.Size() != s.body.size() || uint32(fi.Mode().Perm()) != s.mode {
		w.wrong(t, &w.counts.lost, p, "the store has %s; the mount shows %d bytes, %v", s.name(), fi.Size(), fi.Mode())
	}
	if fi.Size() > 1<<20 {
		return
	}
	if err := readAs(m.Path(p), s.body); err != nil {
		w.wrong(t, &w.counts.lost, p, "the store has %s; read through the mount: %v", s.name(), err)
	}
}
