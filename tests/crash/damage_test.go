package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

// damage does to one of the files below a directory what disks do; "" when there is none.
func damage(t *testing.T, dir string, rnd *rand.Rand, skip ...string) (what string) {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !slices.Contains(skip, e.Name()) {
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		return ""
	}
	p := all[rnd.IntN(len(all))]
	fi, err := os.Stat(p)
	if err != nil || fi.Size() == 0 {
		return ""
	}
	at := rnd.Int64N(fi.Size())
	kind := []string{"flipped", "zeros", "cut"}[rnd.IntN(3)]
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	switch kind {
	case "cut":
		err = f.Truncate(at)
	default:
		b := make([]byte, min(4096, fi.Size()-at))
		if _, err = f.ReadAt(b, at); err == nil {
			if kind == "zeros" {
				clear(b)
			} else {
				b[0] ^= 1 << rnd.IntN(8)
			}
			_, err = f.WriteAt(b, at)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	rel, _ := filepath.Rel(dir, p)
	return fmt.Sprintf("%s of %d bytes %s at %d", rel, fi.Size(), kind, at)
}

// damages are what journals went through that were damaged between a kill and the next start, and what came of it.
type damages struct{ journals, lost, said int }

func (d *damages) String() string {
	return fmt.Sprintf("%d journals damaged after a kill: %d acknowledged states lost by that, %d journals said so", d.journals, d.lost, d.said)
}

// round lets writers work in a world of its own, kills, damages a file of the journal, and mounts again. What was acknowledged may be
// lost then; but the mount works, nobody ever reads what no writer wrote, and what is lost is said.
func (d *damages) round(t *testing.T, s *testenv.Server, rnd *rand.Rand, journal bool) {
	w := newWorld(t, s, journal, false)
	m := w.mount(t)
	stop := make(chan struct{})
	var working sync.WaitGroup
	for i := range 4 {
		x := &writer{t: t, w: w, root: m.Dir, name: fmt.Sprintf("w%d", i), large: i == 3, rnd: rand.New(rand.NewPCG(rnd.Uint64(), uint64(i))), counts: &w.counts, stop: stop}
		working.Go(x.run)
	}
	time.Sleep(time.Duration(rnd.IntN(1600)) * time.Millisecond) // the moment of the kill
	close(stop)
	m.Die()
	working.Wait()
	m.Kill()
	what := damage(t, filepath.Join(w.state, "mounts"), rnd, "lock")
	w.trace.add("", "damaged: %s", what)
	if d.journals++; what == "" {
		return
	}
	m = w.mount(t)
	lost := w.lookAtDamage(t, m)
	said := strings.Contains(m.Log(), "cannot be read") || strings.Contains(m.Log(), "damaged journal")
	out, code := m.Command("flush", "--timeout", "2m", m.Dir)
	if code != 0 && code != 8 {
		t.Errorf("flush: exit code %d\n%s", code, out)
	}
	w.bodies(t)
	d.lost += len(lost)
	if said {
		d.said++
	}
	if endless := strings.Contains(what, "log/") && strings.Contains(what, " cut "); len(lost) > 0 && !said && !endless { // a log that was cut may as well have ended there
		t.Errorf("%s (%s): %v: not what was acknowledged, and no log says so%s", w.name, what, lost, w.trace.of(lost...))
	}
	m.Die() // its end is nothing to hold it to: what cannot be stored makes umount fail
	m.Kill()
}

// lookAtDamage reads all that a mount shows, and gives the paths that are not what was acknowledged.
func (w *world) lookAtDamage(t *testing.T, m *testenv.MountPoint) (lost []string) {
	t.Helper()
	for _, p := range w.ledger.paths() {
		want, sure := w.ledger.certain(p)
		fi, err := os.Lstat(m.Path(p))
		is := state{}
		switch {
		case err == nil && fi.IsDir():
			is.kind = 'd'
		case err == nil:
			b, err := os.ReadFile(m.Path(p))
			if err != nil {
				break // it says so
			}
			found, err := parse(b)
			if err != nil || !w.ledger.mayRead(p, found) {
				w.wrong(t, &w.counts.torn, p, "with a damaged journal it reads as what was never there: %s, %v", found.name(), err)
			}
			is = state{kind: 'f', body: found, mode: uint32(fi.Mode().Perm())}
		}
		if sure && is.name() != want.name() {
			lost = append(lost, p)
		}
	}
	return lost
}

// bodies sees that each object is a state that some writer has finished.
func (w *world) bodies(t *testing.T) {
	t.Helper()
	for _, p := range w.ledger.paths() {
		got, _, err := w.get(p)
		if errors.Is(err, s3client.NotFound) {
			continue
		}
		if err != nil || !w.ledger.mayRead(p, got) {
			w.wrong(t, &w.counts.torn, p, "with a damaged journal the store has what was never there: %s, %v", got.name(), err)
		}
	}
}
