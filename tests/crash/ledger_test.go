package crash

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
)

// state is what a path can be.
type state struct {
	kind byte // 0: nothing; 'f', 'd'
	body body
	mode uint32 // permission bits of a file
	torn bool   // a file that a failed write has left, and the close behind it has stored
}

func (s state) name() string {
	switch s.kind {
	case 'f':
		if s.torn {
			return "what a failed write left"
		}
		return fmt.Sprintf("%s mode %o", s.body.name(), s.mode)
	case 'd':
		return "directory"
	}
	return "nothing"
}

// ledger is what a world's writers were told. A path has one possible state once an operation has returned. While one
// is going on, and when it fails or the mount is killed, there are several; looking settles which one it is.
type ledger struct {
	trace *trace
	mu    struct {
		sync.Mutex
		paths map[string]*account
		moves []move
	}
}

type account struct {
	possible map[string]state
	begun    map[string]bool // names of all bodies that anybody may ever see here
	changes  int             // of possible, so far
	torn     bool            // a write has failed some time
}

// move is a rename that has not returned: its file must be under one of the two names.
type move struct {
	from, to string
	what     state
}

func newLedger(tr *trace) *ledger {
	l := &ledger{trace: tr}
	l.mu.paths = map[string]*account{}
	return l
}

func (l *ledger) accountLocked(path string) *account {
	a := l.mu.paths[path]
	if a == nil {
		a = &account{possible: map[string]state{"nothing": {}}, begun: map[string]bool{}}
		l.mu.paths[path] = a
	}
	return a
}

// begin says what a path may become from now on.
func (l *ledger) begin(path string, s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetMovesLocked(path)
	l.beginLocked(path, s)
}

func (l *ledger) beginLocked(path string, s state) {
	a := l.accountLocked(path)
	a.changes++
	l.trace.add(path, "begins to be %s", s.name())
	a.possible[s.name()] = s
	if a.torn = a.torn || s.torn; s.kind == 'f' {
		a.begun[s.body.name()] = true
	}
}

func (l *ledger) forgetMovesLocked(path string) {
	l.mu.moves = slices.DeleteFunc(l.mu.moves, func(m move) bool { return m.from == path || m.to == path })
}

// done says what a path is: an operation has returned without an error, or somebody has looked.
func (l *ledger) done(path string, s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isLocked(path, s)
}

func (l *ledger) isLocked(path string, s state) {
	a := l.accountLocked(path)
	a.changes++
	a.possible = map[string]state{s.name(): s}
	l.trace.add(path, "is %s", s.name())
}

func (l *ledger) beginMove(from, to string, s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetMovesLocked(from)
	l.forgetMovesLocked(to)
	l.trace.add(from, "is renamed to %s", to)
	l.trace.add(to, "is replaced by %s", from)
	l.beginLocked(from, state{})
	l.beginLocked(to, s)
	l.mu.moves = append(l.mu.moves, move{from, to, s})
}

func (l *ledger) doneMove(from, to string, s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetMovesLocked(from)
	l.isLocked(from, state{})
	l.isLocked(to, s)
}

// glimpse is what a path can be at one moment.
type glimpse struct {
	changes  int
	possible []string
	bodies   map[string]bool // the files among them, by name
	absent   bool            // it may be nothing, or a directory
}

func (l *ledger) glimpse(path string) glimpse {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accountLocked(path)
	g := glimpse{changes: a.changes, possible: slices.Sorted(maps.Keys(a.possible)), bodies: map[string]bool{}}
	for _, s := range a.possible {
		if s.kind == 'f' {
			g.bodies[s.body.name()] = true
		} else {
			g.absent = true
		}
	}
	return g
}

// certain is a path's state where there is only one.
func (l *ledger) certain(path string) (state, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accountLocked(path)
	for _, s := range a.possible {
		return s, len(a.possible) == 1
	}
	return state{}, false
}

// may says whether a path may be in a state, and lists those it may be in.
func (l *ledger) may(path string, s state) (bool, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.mu.paths[path]
	if !ok {
		return s.kind == 0, nil
	}
	_, ok = a.possible[s.name()]
	return ok, slices.Sorted(maps.Keys(a.possible))
}

// mayBeTorn says whether a write of a path has failed, so that the close behind it may have stored half of it.
func (l *ledger) mayBeTorn(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.mu.paths[path]
	return a != nil && a.torn
}

// mayRead says whether anybody may ever find this body under a path.
func (l *ledger) mayRead(path string, b body) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.mu.paths[path]
	return a != nil && a.begun[b.name()]
}

func (l *ledger) paths() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.mu.paths))
}

func (l *ledger) openMoves() []move {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mu.moves)
}

// settleMoves is called when all paths were looked at.
func (l *ledger) settleMoves() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.moves = nil
}

func TestLedger(t *testing.T) {
	l := newLedger(&trace{})
	one, two := state{'f', body{{1, 40}}, 0o644, false}, state{'f', body{{2, 40}}, 0o644, false}
	l.begin("p", one)
	if ok, _ := l.may("p", state{}); !ok {
		t.Error("what is going on has not happened yet")
	}
	if g := l.glimpse("p"); !g.absent || !g.bodies[one.body.name()] || g.changes == 0 {
		t.Errorf("between nothing and one: %+v", g)
	}
	before := l.glimpse("p").changes
	l.done("p", one)
	if g := l.glimpse("p"); g.absent || g.changes == before {
		t.Errorf("acknowledged: %+v", g)
	}
	if ok, _ := l.may("p", state{}); ok {
		t.Error("what is acknowledged may be lost")
	}
	l.begin("p", two)
	for _, s := range []state{one, two} {
		if ok, _ := l.may("p", s); !ok {
			t.Errorf("between two states %s must be possible", s.name())
		}
	}
	if _, sure := l.certain("p"); sure {
		t.Error("what is going on is certain")
	}
	l.done("p", two)
	if ok, _ := l.may("p", one); ok || !l.mayRead("p", one.body) || l.mayRead("p", body{{3, 40}}) {
		t.Error("the older version may be read late, but must not stay; another one never was")
	}
	l.beginMove("p", "q", two)
	if m := l.openMoves(); len(m) != 1 {
		t.Errorf("moves: %v", m)
	}
	l.doneMove("p", "q", two)
	if s, sure := l.certain("q"); !sure || s.name() != two.name() || len(l.openMoves()) != 0 {
		t.Errorf("the moved file is %v, %v", s, sure)
	}
	if ok, _ := l.may("p", two); ok {
		t.Error("the moved file may stay where it was")
	}
	if ok, _ := l.may("other", one); ok {
		t.Error("a path that nobody wrote may be a file")
	}
}
