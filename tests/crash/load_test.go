package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"testing"
)

// writer works in a directory of its own until the mount is gone.
type writer struct {
	t      *testing.T
	w      *world
	root   string // the mount point
	name   string // its directory, below the root
	large  bool
	rnd    *rand.Rand
	counts *counts
	stop   <-chan struct{}
	// halfway: nobody knows what is in the directories that are renamed (tree_test.go).
	halfway bool
}

// run works until it is told to stop. An operation that fails has left its path in one of several states.
func (x *writer) run() {
	if x.mkdir(x.name) != nil {
		return
	}
	for {
		select {
		case <-x.stop:
			return
		default:
		}
		if err := x.step(); err != nil {
			select {
			case <-x.stop: // the kill
				x.counts.open.Add(1)
				return
			default:
				x.counts.failed.Add(1)
				if !x.w.faults {
					x.t.Errorf("%s: %v", x.w.name, err)
					return
				}
			}
		}
	}
}

func (x *writer) step() error {
	p := path.Join(x.name, fmt.Sprintf("f%d", x.rnd.IntN(8)))
	if x.large {
		p = path.Join(x.name, fmt.Sprintf("large%d", x.rnd.IntN(2)))
	}
	s, sure := x.w.ledger.certain(p)
	if sure = sure && !s.torn; !sure || s.kind == 0 {
		return x.create(p, 0o644, !sure)
	}
	switch x.rnd.IntN(12) {
	case 0, 1, 2:
		return x.create(p, s.mode, false)
	case 3:
		return x.append(p, s)
	case 4:
		return x.edit(p, s)
	case 5:
		return x.rename(p, s)
	case 6:
		return x.unlink(p)
	case 7:
		return x.chmod(p, s)
	case 8:
		return x.replace(p)
	case 9, 10:
		return x.tree()
	}
	return x.directory()
}

func (x *writer) at(p string) string { return filepath.Join(x.root, p) }

// section draws the next section to be written.
func (x *writer) section() section {
	n := headerBytes
	switch k := x.rnd.IntN(10); {
	case x.large:
		n = 5<<20 + x.rnd.IntN(35<<20)
	case k == 0:
	case k < 8:
		n += x.rnd.IntN(64 << 10)
	default:
		n += x.rnd.IntN(2 << 20)
	}
	return section{x.rnd.Uint64(), n}
}

// acknowledged notes that an operation has returned without an error.
func (x *writer) acknowledged(p string, s state, bytes int) {
	x.w.ledger.done(p, s)
	x.counts.operations.Add(1)
	x.counts.bytes.Add(int64(bytes))
}

// create writes a file from its beginning. unknown: nobody knows what is there, so that it is removed first.
func (x *writer) create(p string, mode uint32, unknown bool) error {
	if unknown {
		if err := x.unlink(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		} else if err != nil {
			x.w.ledger.done(p, state{})
		}
		mode = 0o644
	}
	f, err := os.OpenFile(x.at(p), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	s := state{kind: 'f', mode: mode}
	if x.rnd.IntN(20) > 0 { // else it stays empty
		s.body = body{x.section()}
	}
	if x.large && x.rnd.IntN(2) > 0 {
		s.body = append(s.body, x.section())
		s.body[len(s.body)-1].length /= 8
	}
	return x.fill(f, p, s)
}

// fill writes a new body, now and then with an fsync between two sections, and closes.
func (x *writer) fill(f *os.File, p string, s state) error {
	for i, section := range s.body {
		if _, err := f.Write(section.bytes()); err != nil {
			x.abandon(f, p, state{'f', s.body[:i], s.mode, false})
			return err
		}
		if i < len(s.body)-1 && x.rnd.IntN(4) == 0 {
			if err := x.sync(f, p, state{'f', s.body[:i+1], s.mode, false}); err != nil {
				f.Close()
				return err
			}
		}
	}
	return x.close(f, p, s)
}

// abandon closes a file after a write that failed: the mount stores what there is, which may be half a section. After a kill it
// stores nothing.
func (x *writer) abandon(f *os.File, p string, s state) {
	select {
	case <-x.stop:
	default:
		x.w.ledger.begin(p, s)
		x.w.ledger.begin(p, state{kind: 'f', torn: true})
	}
	f.Close() // the write's error is the operation's
}

// sync says that the store has it, in both durabilities.
func (x *writer) sync(f *os.File, p string, s state) error {
	x.w.ledger.begin(p, s)
	if err := f.Sync(); err != nil {
		return err
	}
	x.acknowledged(p, s, 0)
	x.isStored(p, s)
	return nil
}

// close ends what was written. Before it, now and then, comes an fsync.
func (x *writer) close(f *os.File, p string, s state) error {
	x.w.ledger.begin(p, s)
	synced := x.rnd.IntN(8) == 0
	if synced {
		if err := f.Sync(); err != nil {
			f.Close()
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	x.acknowledged(p, s, int(s.body.size()))
	if synced || !x.w.journal {
		x.isStored(p, s)
	}
	return nil
}

// isStored looks whether the store has what it is said to have.
func (x *writer) isStored(p string, s state) {
	if s.body.size() > 1<<20 || x.rnd.IntN(3) > 0 {
		return
	}
	x.counts.checked.Add(1)
	got, _, err := x.w.get(p)
	if err != nil || got.name() != s.body.name() {
		x.w.wrong(x.t, &x.counts.lost, p, "said to be stored as %s; the store has %s, %v", s.body.name(), got.name(), err)
	}
}

func (x *writer) append(p string, s state) error {
	if s.body.size() > 60<<20 || len(s.body) > 20 {
		return x.create(p, s.mode, false)
	}
	f, err := os.OpenFile(x.at(p), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	more := x.section()
	if x.large {
		more.length /= 4
	}
	if _, err := f.Write(more.bytes()); err != nil {
		x.abandon(f, p, s)
		return err
	}
	s.body = append(s.body[:len(s.body):len(s.body)], more)
	return x.close(f, p, s)
}

// edit writes another section over one of the same length.
func (x *writer) edit(p string, s state) error {
	if len(s.body) == 0 {
		return x.append(p, s)
	}
	f, err := os.OpenFile(x.at(p), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	i := x.rnd.IntN(len(s.body))
	changed := append(body{}, s.body...)
	changed[i].seed = x.rnd.Uint64()
	if _, err := f.WriteAt(changed[i].bytes(), s.body[:i].size()); err != nil {
		x.abandon(f, p, s)
		return err
	}
	s.body = changed
	return x.close(f, p, s)
}

func (x *writer) rename(p string, s state) error {
	to := path.Join(x.name, fmt.Sprintf("moved%d", x.rnd.IntN(4)))
	if _, sure := x.w.ledger.certain(to); !sure {
		return x.create(to, 0o644, true)
	}
	x.w.ledger.beginMove(p, to, s)
	if err := os.Rename(x.at(p), x.at(to)); err != nil {
		return err
	}
	x.w.ledger.doneMove(p, to, s)
	x.counts.operations.Add(1)
	return nil
}

// replace saves a file as an editor does: under another name, then over the old version.
func (x *writer) replace(p string) error {
	draft := p + ".tmp"
	if err := x.create(draft, 0o644, true); err != nil {
		return err
	}
	s, sure := x.w.ledger.certain(draft)
	if !sure {
		return nil
	}
	x.w.ledger.beginMove(draft, p, s)
	if err := os.Rename(x.at(draft), x.at(p)); err != nil {
		return err
	}
	x.w.ledger.doneMove(draft, p, s)
	x.counts.operations.Add(1)
	return nil
}

func (x *writer) unlink(p string) error {
	x.w.ledger.begin(p, state{})
	if err := os.Remove(x.at(p)); err != nil {
		return err
	}
	x.acknowledged(p, state{}, 0)
	return nil
}

func (x *writer) chmod(p string, s state) error {
	s.mode = []uint32{0o600, 0o640, 0o755}[x.rnd.IntN(3)]
	x.w.ledger.begin(p, s)
	if err := os.Chmod(x.at(p), os.FileMode(s.mode)); err != nil {
		return err
	}
	x.acknowledged(p, s, 0)
	return nil
}

func (x *writer) directory() error {
	p := path.Join(x.name, fmt.Sprintf("d%d", x.rnd.IntN(3)))
	s, sure := x.w.ledger.certain(p)
	if sure && s.kind == 'd' {
		x.w.ledger.begin(p, state{})
		if err := os.Remove(x.at(p)); err != nil {
			return err
		}
		x.acknowledged(p, state{}, 0)
		return nil
	}
	return x.mkdir(p)
}

func (x *writer) mkdir(p string) error {
	s := state{kind: 'd'}
	x.w.ledger.begin(p, s)
	if err := os.Mkdir(x.at(p), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	x.acknowledged(p, s, 0)
	return nil
}
