package fs

import (
	"fmt"
	"testing"
)

func TestNumbersOfNames(t *testing.T) {
	i := newInodes()
	seen := map[uint64]string{rootIno: "/"}
	for d := range 50 {
		dir := i.of(rootIno, fmt.Sprint("dir", d))
		for f := range 2000 {
			name := fmt.Sprint("file-", f)
			ino := i.of(dir, name)
			if at, ok := seen[ino]; ok || ino == 0 || ino == ^uint64(0) {
				t.Fatalf("dir%d/%s has %d, and so has %s", d, name, ino, at)
			}
			seen[ino] = fmt.Sprint("dir", d, "/", name)
		}
	}
	a, b := i.of(rootIno, "a"), i.of(rootIno, "b")
	if newInodes().of(rootIno, "a") != a {
		t.Error("another mount gives a name another number")
	}
	i.moves(a, rootIno, "a", rootIno, "b")
	if got := i.of(rootIno, "b"); got != a {
		t.Errorf("a renamed to b has %d, had %d", got, a)
	}
	made := i.of(rootIno, "a")
	if made == a || made == b {
		t.Errorf("a new a has %d; a had %d and b %d", made, a, b)
	}
	if again := i.of(rootIno, "a"); again != made {
		t.Errorf("then %d, then %d", made, again)
	}
	i.removes(rootIno, "b")
	if got := i.of(rootIno, "b"); got == a || got == b || got == made {
		t.Errorf("a b made anew has %d", got)
	}
	i.moves(made, rootIno, "a", rootIno, "c")
	i.moves(made, rootIno, "c", rootIno, "a")
	if got := i.of(rootIno, "a"); got != made {
		t.Errorf("back under its first name it has %d, had %d", got, made)
	}
	for n := range 2*manyMoved + 1 {
		name := fmt.Sprint("removed", n)
		i.removes(rootIno, name)
		i.of(rootIno, name)
	}
	if n := i.mu.moved.Len() + i.mu.removed.Len(); n > manyMoved+manyRemoved {
		t.Errorf("%d names are remembered", n)
	}
}
