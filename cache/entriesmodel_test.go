package cache

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// entriesModel is a cache beside naive maps of what it has to know.
type entriesModel struct {
	c        *Entries[int]
	names    map[string]map[string]int // of each directory; 0: absent
	complete map[string]bool
	n        int // the latest entry: each is another
}

var (
	modelDirs  = []string{"", "a", "a/b", "ab"}
	modelNames = []string{"x", "y", "z"}
)

// Random operations against a naive map, with room for everything.
func TestEntriesModel(t *testing.T) {
	dirs, names := rapid.SampledFrom(modelDirs), rapid.SampledFrom(modelNames)
	rapid.Check(t, func(rt *rapid.T) {
		m := &entriesModel{c: newTestEntries(1000), names: map[string]map[string]int{}, complete: map[string]bool{}}
		dir := func() string { return dirs.Draw(rt, "dir") }
		pick := func() (string, string) { return dir(), names.Draw(rt, "name") }
		rt.Repeat(map[string]func(*rapid.T){
			"put":         func(*rapid.T) { d, x := pick(); m.n++; m.c.Put(d, x, m.n); m.set(d, x, m.n) },
			"absent":      func(*rapid.T) { d, x := pick(); m.c.Absent(d, x); m.set(d, x, 0) },
			"remove":      func(*rapid.T) { d, x := pick(); m.c.Remove(d, x); delete(m.names[d], x) },
			"forget":      func(*rapid.T) { d := dir(); m.c.Forget(d); m.forget(d) },
			"forget tree": func(*rapid.T) { d := dir(); m.c.ForgetTree(d); m.forgetTree(d) },
			"rename":      func(*rapid.T) { m.rename() },
			"list":        func(*rapid.T) { m.list(rt, dir()) },
			"":            func(rt *rapid.T) { m.c.check(t); m.compare(rt) },
		})
	})
}

func (m *entriesModel) set(dir, name string, entry int) {
	if m.names[dir] == nil {
		m.names[dir] = map[string]int{}
	}
	m.names[dir][name] = entry
}

func (m *entriesModel) forget(dir string) {
	delete(m.names, dir)
	delete(m.complete, dir)
}

func (m *entriesModel) forgetTree(tree string) {
	for _, d := range modelDirs {
		if tree == "" || d == tree || strings.HasPrefix(d, tree+"/") {
			m.forget(d)
		}
	}
}

// rename renames a to ab, with nothing below: the model has no ab/b.
func (m *entriesModel) rename() {
	m.c.Rename("a", "ab")
	m.forgetTree("ab")
	if names, ok := m.names["a"]; ok {
		m.names["ab"] = names
	}
	m.complete["ab"] = m.complete["a"]
	m.forgetTree("a")
	m.c.ForgetTree("ab/b")
}

// list lists a directory; names are put and removed meanwhile.
func (m *entriesModel) list(rt *rapid.T, dir string) {
	l := m.c.Begin(dir)
	names := map[string]int{}
	for _, x := range modelNames {
		switch rapid.IntRange(0, 4).Draw(rt, "what") {
		case 0: // not listed
		case 1:
			m.n++
			m.c.Put(dir, x, m.n)
			l.Add(x, -1)
			names[x] = m.n
		case 2:
			m.c.Remove(dir, x)
			l.Add(x, -1)
		default:
			m.n++
			l.Add(x, m.n)
			names[x] = m.n
		}
	}
	l.Done()
	m.names[dir], m.complete[dir] = names, true
}

func (m *entriesModel) compare(rt *rapid.T) {
	for _, d := range modelDirs {
		for _, x := range modelNames {
			want, known := m.names[d][x]
			got, _, ok := m.c.Get(d, x)
			_, no := m.c.IsAbsent(d, x)
			if ok != (known && want != 0) || ok && got != want || no != (known && want == 0) {
				rt.Fatalf("%q %q: %d %v %v, want %d %v", d, x, got, ok, no, want, known)
			}
		}
		all, ok := m.c.All(d)
		if ok != m.complete[d] {
			rt.Fatalf("%q complete: %v", d, ok)
		}
		if want := slices.Sorted(maps.Keys(m.names[d])); ok {
			want = slices.DeleteFunc(want, func(x string) bool { return m.names[d][x] == 0 })
			if !slices.EqualFunc(all, want, func(a Named[int], x string) bool { return a.Name == x && a.Entry == m.names[d][x] }) {
				rt.Fatalf("%q: %v, want %v", d, all, want)
			}
		}
	}
}

func TestEntriesRace(t *testing.T) {
	c := newTestEntries(60)
	dirs := []string{"", "a", "a/b", "a/b/c", "d", "e"}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(g)))
			for range 1500 {
				d, x := dirs[r.IntN(len(dirs))], fmt.Sprint(r.IntN(30))
				switch r.IntN(12) {
				case 0:
					l := c.Begin(d)
					for i := range r.IntN(80) {
						l.Add(fmt.Sprint(i), i)
					}
					l.Done()
				case 1:
					c.Remove(d, x)
				case 2:
					c.Absent(d, x)
				case 3:
					c.Forget(d)
				case 4:
					c.Rename("a", "e")
				case 5:
					c.ForgetTree("a/b")
				case 6:
					if all, ok := c.All(d); ok && !slices.IsSortedFunc(all, func(a, b Named[int]) int { return strings.Compare(a.Name, b.Name) }) {
						t.Error("not sorted")
					}
				case 7:
					c.Get(d, x)
				case 8:
					c.check(t)
				default:
					c.Put(d, x, 1)
				}
			}
		})
	}
	wg.Wait()
	c.check(t)
}
