package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

// tree works in two directories of the writer's own: files in them, and renames of the one to the other with all that is in it.
// What a failed or killed rename has left is only looked at when the next mount has completed it.
func (x *writer) tree() error {
	if x.halfway {
		return nil
	}
	one := x.rnd.IntN(2)
	from, to := path.Join(x.name, fmt.Sprintf("t%d", one)), path.Join(x.name, fmt.Sprintf("t%d", 1-one))
	files := func(dir string) (all []string) {
		for i := range 3 {
			all = append(all, path.Join(dir, fmt.Sprintf("g%d", i)))
		}
		return all
	}
	for _, p := range append(append(files(from), files(to)...), from, to) {
		if s, sure := x.w.ledger.certain(p); !sure || s.torn {
			x.halfway = true // nobody knows: until the next mount
			return nil
		}
	}
	is := func(p string) state { s, _ := x.w.ledger.certain(p); return s }
	empty := true
	for _, p := range files(to) {
		empty = empty && is(p).kind == 0
	}
	switch k := x.rnd.IntN(3); {
	case is(from).kind == 0:
		return x.mkdir(from)
	case k < 2 && empty:
		return x.moveTree(from, to, files(from))
	case k == 0:
		return x.unlinkThere(files(from)[x.rnd.IntN(3)])
	}
	return x.create(files(from)[x.rnd.IntN(3)], 0o644, false)
}

func (x *writer) unlinkThere(p string) error {
	if s, _ := x.w.ledger.certain(p); s.kind == 0 {
		return x.create(p, 0o644, false)
	}
	return x.unlink(p)
}

func (x *writer) moveTree(from, to string, files []string) error {
	moved := map[string]state{from: {kind: 'd'}}
	for _, p := range files {
		if s, _ := x.w.ledger.certain(p); s.kind == 'f' {
			moved[p] = s
		}
	}
	for p, s := range moved {
		x.w.ledger.beginMove(p, to+strings.TrimPrefix(p, from), s)
	}
	if err := syscall.Rename(x.at(from), x.at(to)); err != nil { // os.Rename takes no empty directory for a target
		x.halfway = true
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	for p, s := range moved {
		x.w.ledger.doneMove(p, to+strings.TrimPrefix(p, from), s)
	}
	x.counts.operations.Add(1)
	x.counts.trees.Add(1)
	return nil
}

// renamed waits until the renames of directories are completed that a killed mount had begun.
func (w *world) renamed(t *testing.T, m *testenv.MountPoint) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, code := m.Command("status", "--json", m.Dir)
		var all []struct {
			Renames []struct{ From, To, Stage string } `json:"renames"`
		}
		err := json.Unmarshal([]byte(out), &all)
		if code == 0 && err == nil && len(all) == 1 && len(all[0].Renames) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal(errors.Join(fmt.Errorf("%s: renames are not completed: exit code %d\n%s", w.name, code, out), err, context.Cause(t.Context())))
		}
	}
}
