package mount

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

// unhurried is a TTL that does not end during a test that counts requests.
const unhurried = 10 * time.Minute

// files are n objects of so many bytes, NAME000 and so on.
func files(name string, n, size int) map[string][]byte {
	all := map[string][]byte{}
	for i := range n {
		all[fmt.Sprintf("%s%03d", name, i)] = noise(1000*len(name)+i, size)
	}
	return all
}

func total(objects map[string][]byte) (n int64) {
	for _, content := range objects {
		n += int64(len(content))
	}
	return n
}

func TestReadingInOrderCostsOneGetAFile(t *testing.T) {
	all := files("f", 300, 16<<10)
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	l.tally(t)
	for _, name := range names(t, m.Dir) {
		sameBytes(t, name, read(t, m.Path(name)), all[name])
	}
	if c := l.tally(t); c.gets > 300+2 || c.bytes != total(all) || c.heads > 0 || c.lists > 2 {
		t.Errorf("%v%s", c, c.page())
	}
}

// A walk that takes longer than the TTL: what was fetched ahead says that the files are there.
func TestReadingInOrderBeyondTheTTLCostsOneGetAFile(t *testing.T) {
	all := files("f", 100, 16<<10)
	_, _, l, m := watched(t, all, testenv.TTL(time.Second))
	l.tally(t)
	for _, name := range names(t, m.Dir) {
		time.Sleep(25 * time.Millisecond)
		sameBytes(t, name, read(t, m.Path(name)), all[name])
	}
	if c := l.tally(t); c.gets > 100+2 || c.bytes != total(all) || c.heads > 3 || c.lists > 5 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestReadingAtRandomCostsOneGetAFile(t *testing.T) {
	all := files("f", 300, 16<<10)
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	list := names(t, m.Dir)
	l.tally(t)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, name := range list {
		sameBytes(t, name, read(t, m.Path(name)), all[name])
	}
	if c := l.tally(t); c.gets > 300 || c.bytes != total(all) || c.heads > 0 || c.lists > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestReadingSomeFilesAtRandomFetchesNoOthers(t *testing.T) {
	all := files("f", 300, 16<<10)
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	list := names(t, m.Dir)
	l.tally(t)
	for i := range 20 { // far apart, to and fro
		name := list[i*149%300]
		sameBytes(t, name, read(t, m.Path(name)), all[name])
	}
	if c := l.tally(t); c.gets > 20 || c.bytes > 20*16<<10 || c.heads > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestEmptyFilesInBetweenCostNoGet(t *testing.T) {
	all := files("f", 100, 16<<10)
	for i := range 100 {
		all[fmt.Sprintf("f%03d-empty", i)] = nil
	}
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	l.tally(t)
	for _, name := range names(t, m.Dir) {
		sameBytes(t, name, read(t, m.Path(name)), all[name])
	}
	c := l.tally(t)
	t.Log(c)
	if c.gets > 100+2 || c.bytes != total(all) || c.heads > 100 || c.lists > 2 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestFilesOfTwoMebibytesInOrderMoveTheirBytesOnce(t *testing.T) {
	all := files("f", 16, 2<<20)
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	l.tally(t)
	for _, name := range names(t, m.Dir) {
		sameBytes(t, name, read(t, m.Path(name)), all[name])
	}
	if c := l.tally(t); c.bytes > total(all)*101/100 || c.gets > 3*16 || c.heads > 0 {
		t.Errorf("%v of %d bytes%s", c, total(all), c.page())
	}
}

func TestLookingAtFilesMovesNoBytes(t *testing.T) {
	all := files("f", 100, 16<<10)
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	l.tally(t)
	for _, name := range names(t, m.Dir) {
		fi, err := os.Lstat(m.Path(name))
		if err != nil || fi.Size() != 16<<10 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	if c := l.tally(t); c.gets > 2 || c.heads > 100-c.gets || c.lists > 2 {
		t.Errorf("%v%s", c, c.page())
	}
	sh(t, m.Dir, "ls -l | grep -c f0")
	if c := l.tally(t); c.total() > 0 {
		t.Errorf("the second time: %v%s", c, c.page())
	}
}

func TestLsOfColdFilesMovesNoBytes(t *testing.T) {
	_, _, l, m := watched(t, files("f", 100, 16<<10), testenv.TTL(unhurried))
	l.tally(t)
	sh(t, m.Dir, "ls -l | grep -c f0")
	if c := l.tally(t); c.gets > 2 || c.heads > 100-c.gets || c.lists > 2 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestNamesAloneAskForNoFile(t *testing.T) {
	all := files("f", 100, 16<<10)
	for name, content := range files("dir/g", 50, 1000) {
		all[name] = content
	}
	_, _, l, m := watched(t, all, testenv.TTL(unhurried))
	l.tally(t)
	if got := sh(t, m.Dir, "find . -type f | wc -l; ls -f | wc -l"); got != "150\n103" {
		t.Errorf("%q", got)
	}
	if c := l.tally(t); c.gets+c.heads > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}
