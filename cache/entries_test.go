package cache

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that moves by a second with each look.
type clock struct {
	mu struct {
		sync.Mutex
		now time.Time
	}
}

func (c *clock) tick() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.now = c.mu.now.Add(time.Second)
	return c.mu.now
}

func newTestEntries(limit int) *Entries[int] { return NewEntries[int](limit, (&clock{}).tick) }

// state writes a directory down: "a=1 b=2 -c", present and absent names, with a "*" in front when complete.
func state(c *Entries[int], dir string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.mu.dirs.Peek(dir)
	if !ok {
		return "unknown"
	}
	var out []string
	for _, name := range d.names.Keys() {
		switch r, _ := d.names.Peek(name); r.kind() {
		case present:
			out = append(out, fmt.Sprintf("%s=%d", name, r.entry))
		case absent:
			out = append(out, "-"+name)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(strings.Trim(a, "-"), strings.Trim(b, "-")) })
	if d.complete {
		out = append([]string{"*"}, out...)
	}
	return strings.Join(out, " ")
}

func (c *Entries[E]) check(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	names := 0
	for _, d := range c.mu.dirs.Values() {
		names += d.names.Len()
		if d.sorted != nil && !slices.Equal(d.sorted, d.sort()) {
			t.Errorf("remembered order is old")
		}
	}
	if names != c.mu.names {
		t.Errorf("%d names counted, %d noted", names, c.mu.names)
	}
	if all := names + c.mu.dirs.Len(); all > c.limit {
		t.Errorf("%d names and directories, limit %d", all, c.limit)
	}
}

func TestEntries(t *testing.T) {
	list := func(c *Entries[int], dir string, names ...string) {
		l := c.Begin(dir)
		for _, n := range names {
			l.Add(n, 1)
		}
		l.Done()
	}
	for _, tc := range []struct {
		name string
		do   func(c *Entries[int])
		want string // of "d"
	}{
		{"nothing", func(c *Entries[int]) {}, "unknown"},
		{"put", func(c *Entries[int]) { c.Put("d", "a", 7) }, "a=7"},
		{"put again", func(c *Entries[int]) { c.Put("d", "a", 7); c.Put("d", "a", 8) }, "a=8"},
		{"absent", func(c *Entries[int]) { c.Put("d", "a", 7); c.Absent("d", "a") }, "-a"},
		{"present after absent", func(c *Entries[int]) { c.Absent("d", "a"); c.Put("d", "a", 7) }, "a=7"},
		{"removed", func(c *Entries[int]) { c.Put("d", "a", 7); c.Remove("d", "a") }, ""},
		{"listed", func(c *Entries[int]) { list(c, "d", "b", "a") }, "* a=1 b=1"},
		{"listed empty", func(c *Entries[int]) { list(c, "d") }, "*"},
		{"listing replaces", func(c *Entries[int]) {
			c.Put("d", "a", 7)
			c.Put("d", "old", 7)
			c.Absent("d", "b")
			c.Absent("d", "no")
			c.Remove("d", "c")
			list(c, "d", "a", "b", "c")
		}, "* a=1 b=1 c=1"},
		{"listing cut short", func(c *Entries[int]) {
			c.Put("d", "old", 7)
			c.Begin("d").Add("a", 1)
		}, "a=1 old=7"},
		{"put during a listing wins", func(c *Entries[int]) {
			l := c.Begin("d")
			c.Put("d", "a", 7)
			c.Put("d", "new", 7)
			l.Add("a", 1)
			l.Add("b", 1)
			c.Put("d", "b", 8)
			l.Done()
		}, "* a=7 b=8 new=7"},
		{"remove during a listing wins", func(c *Entries[int]) {
			c.Put("d", "a", 7)
			l := c.Begin("d")
			l.Add("b", 1)
			c.Remove("d", "a")
			c.Remove("d", "b")
			c.Absent("d", "c")
			l.Add("a", 1)
			l.Add("c", 1)
			l.Add("d", 1)
			l.Done()
		}, "* -c d=1"},
		{"the next listing sees it again", func(c *Entries[int]) {
			c.Remove("d", "a")
			list(c, "d", "a")
		}, "* a=1"},
		{"two listings at once", func(c *Entries[int]) {
			one, two := c.Begin("d"), c.Begin("d")
			one.Add("a", 1)
			two.Add("a", 2)
			two.Add("b", 2)
			two.Done()
			one.Add("b", 1)
			one.Done()
		}, "* a=2 b=1"},
		{"changes in a complete directory", func(c *Entries[int]) {
			list(c, "d", "a", "b")
			c.Put("d", "c", 3)
			c.Remove("d", "a")
		}, "* b=1 c=3"},
		{"a name forgotten", func(c *Entries[int]) {
			list(c, "d", "a", "b")
			c.ForgetName("d", "a")
			c.ForgetName("other", "a")
		}, "b=1"},
		{"a name forgotten during a listing", func(c *Entries[int]) {
			l := c.Begin("d")
			l.Add("a", 1)
			c.ForgetName("d", "a")
			l.Add("b", 1)
			l.Done()
		}, ""},
		{"forgotten", func(c *Entries[int]) { list(c, "d", "a"); c.Forget("d") }, "unknown"},
		{"another forgotten", func(c *Entries[int]) { list(c, "d", "a"); c.Forget("d/e"); c.Forget("") }, "* a=1"},
		{"forgotten during a listing", func(c *Entries[int]) {
			l := c.Begin("d")
			l.Add("a", 1)
			c.Forget("d")
			l.Add("b", 1)
			l.Done()
		}, "unknown"},
		{"forgotten and begun again", func(c *Entries[int]) {
			l := c.Begin("d")
			c.Forget("d")
			c.Put("d", "b", 2)
			l.Add("a", 1)
			l.Done()
		}, "b=2"},
		{"renamed here", func(c *Entries[int]) {
			list(c, "d", "old")
			list(c, "x", "a")
			c.Rename("x", "d")
		}, "* a=1"},
		{"renamed here with a listing under way", func(c *Entries[int]) {
			c.Put("x", "a", 1)
			at, to := c.Begin("x"), c.Begin("d")
			c.Rename("x", "d")
			at.Add("b", 1)
			at.Done()
			to.Add("b", 1)
			to.Done()
		}, "a=1"},
		{"renamed away and back during a listing", func(c *Entries[int]) {
			l := c.Begin("d")
			l.Add("a", 1)
			c.Rename("d", "x")
			c.Rename("x", "d")
			l.Add("b", 1)
			l.Done()
		}, "a=1"},
		{"renamed away", func(c *Entries[int]) { list(c, "d", "a"); c.Rename("d", "x") }, "unknown"},
		{"renamed to itself", func(c *Entries[int]) { list(c, "d", "a"); c.Rename("d", "d") }, "* a=1"},
		{"the root stays", func(c *Entries[int]) { list(c, "d", "a"); c.Rename("", "x") }, "* a=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTestEntries(100)
			tc.do(c)
			if got := state(c, "d"); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			c.check(t)
		})
	}
}

func TestEntriesTimes(t *testing.T) {
	now := time.Unix(1000, 0)
	c := NewEntries[string](100, func() time.Time { return now })
	l := c.Begin("d")
	now = now.Add(time.Minute)
	l.Add("a", "A")
	now = now.Add(time.Minute)
	l.Done()
	c.Absent("d", "b")
	c.Remove("d", "c")
	if since, ok := c.Complete("d"); !ok || since != time.Unix(1000, 0) {
		t.Errorf("complete since %v, %v: want the beginning of the listing", since, ok)
	}
	if e, seen, ok := c.Get("d", "a"); e != "A" || seen != time.Unix(1060, 0) || !ok {
		t.Errorf("Get: %q %v %v", e, seen, ok)
	}
	if seen, ok := c.IsAbsent("d", "b"); seen != time.Unix(1120, 0) || !ok {
		t.Errorf("IsAbsent: %v %v", seen, ok)
	}
	for _, name := range []string{"c", "never"} {
		if _, ok := c.IsAbsent("d", name); ok {
			t.Errorf("%s is absent", name)
		}
		if _, _, ok := c.Get("d", name); ok {
			t.Errorf("%s is present", name)
		}
	}
	if _, _, ok := c.Get("d", "b"); ok {
		t.Error("an absent name is present")
	}
	if n := c.Len(); n != 3 {
		t.Errorf("Len %d", n)
	}
}

// A listing that began earlier and ends later must not make an older view of the directory look newer, nor a newer
// one older.
func TestCompleteSinceTheLatestListing(t *testing.T) {
	c := newTestEntries(100)
	early := c.Begin("d")
	late := c.Begin("d")
	late.Done()
	since, _ := c.Complete("d")
	early.Done()
	if again, ok := c.Complete("d"); !ok || again != since {
		t.Errorf("complete since %v, then %v", since, again)
	}
}

func TestAll(t *testing.T) {
	c := newTestEntries(100)
	if _, ok := c.All("d"); ok {
		t.Error("an unknown directory is listed")
	}
	l := c.Begin("d")
	for _, n := range []string{"b", "a-", "a", "c"} {
		l.Add(n, len(n))
	}
	if _, ok := c.All("d"); ok {
		t.Error("listed before Done")
	}
	l.Done()
	names := func() string {
		all, ok := c.All("d")
		if !ok {
			return "not complete"
		}
		var out []string
		for _, n := range all {
			out = append(out, fmt.Sprint(n.Name, n.Entry))
		}
		return strings.Join(out, " ")
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "a1 a-2 b1 c1"},
		{func() { c.Put("d", "aa", 9) }, "a1 a-2 aa9 b1 c1"},
		{func() { c.Put("d", "aa", 8) }, "a1 a-2 aa8 b1 c1"},
		{func() { c.Remove("d", "b") }, "a1 a-2 aa8 c1"},
		{func() { c.Absent("d", "a") }, "a-2 aa8 c1"},
		{func() { c.Put("d", "a", 3) }, "a3 a-2 aa8 c1"},
		{func() { c.ForgetName("d", "a") }, "not complete"},
	} {
		step.do()
		if got := names(); got != step.want {
			t.Errorf("%q, want %q", got, step.want)
		}
		c.check(t)
	}
}

func TestTrees(t *testing.T) {
	fill := func() *Entries[int] {
		c := newTestEntries(100)
		for i, d := range []string{"", "a", "a/b", "a/b/c", "a-", "ab", "z"} {
			c.Put(d, "f", i)
		}
		return c
	}
	known := func(c *Entries[int]) string {
		var out []string
		for _, d := range []string{"", "a", "a/b", "a/b/c", "a-", "ab", "z", "n", "n/b", "n/b/c", "z/y", "z/y/b", "z/y/b/c"} {
			if e, _, ok := c.Get(d, "f"); ok {
				out = append(out, fmt.Sprintf("%s:%d", d, e))
			}
		}
		return strings.Join(out, " ")
	}
	for _, tc := range []struct {
		name string
		do   func(c *Entries[int])
		want string
	}{
		{"forget a tree", func(c *Entries[int]) { c.ForgetTree("a") }, ":0 a-:4 ab:5 z:6"},
		{"forget a leaf", func(c *Entries[int]) { c.ForgetTree("a/b/c") }, ":0 a:1 a/b:2 a-:4 ab:5 z:6"},
		{"forget all", func(c *Entries[int]) { c.ForgetTree("") }, ""},
		{"forget one", func(c *Entries[int]) { c.Forget("a") }, ":0 a/b:2 a/b/c:3 a-:4 ab:5 z:6"},
		{"rename", func(c *Entries[int]) { c.Rename("a", "n") }, ":0 a-:4 ab:5 z:6 n:1 n/b:2 n/b/c:3"},
		{"rename below", func(c *Entries[int]) { c.Rename("a", "z/y") }, ":0 a-:4 ab:5 z:6 z/y:1 z/y/b:2 z/y/b/c:3"},
		{"rename over", func(c *Entries[int]) { c.Rename("z", "a") }, ":0 a:6 a-:4 ab:5"},
		{"rename the unknown over", func(c *Entries[int]) { c.Rename("nothing", "a") }, ":0 a-:4 ab:5 z:6"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := fill()
			tc.do(c)
			if got := known(c); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			c.check(t)
		})
	}
}

func TestDirectoriesUnusedForLongestGo(t *testing.T) {
	c := newTestEntries(30) // ten directories of two names
	for i := range 10 {
		c.Put(fmt.Sprint(i), "a", i)
		c.Put(fmt.Sprint(i), "b", i)
	}
	c.Get("0", "a")
	c.Complete("1")
	c.Put("new", "a", 1)
	for _, d := range []struct {
		dir  string
		want string
	}{{"0", "a=0 b=0"}, {"1", "a=1 b=1"}, {"2", "unknown"}, {"3", "a=3 b=3"}, {"new", "a=1"}} {
		if got := state(c, d.dir); got != d.want {
			t.Errorf("%s: %q, want %q", d.dir, got, d.want)
		}
	}
	c.check(t)
}

func TestDirectoryOverTheBound(t *testing.T) {
	c := newTestEntries(100)
	l := c.Begin("d")
	for i := range 10_000 {
		name := fmt.Sprintf("%05d", i)
		l.Add(name, i)
		c.check(t)
		if _, _, ok := c.Get("d", name); !ok {
			t.Fatalf("%s is not known just after it was added", name)
		}
		if i == 5000 {
			c.Put("other", "a", 1)
		}
	}
	l.Done()
	if _, ok := c.Complete("d"); ok {
		t.Error("complete without all its names")
	}
	if n := c.Len(); n > 100/2+2 {
		t.Errorf("%d names stay of a directory too large to remember", n)
	}
	if _, _, ok := c.Get("other", "a"); !ok {
		t.Error("a listing that is too large keeps all others out")
	}
	// A directory that just fits is remembered.
	c.ForgetTree("")
	l = c.Begin("d")
	for i := range 99 {
		l.Add(fmt.Sprint(i), i)
	}
	l.Done()
	if _, ok := c.Complete("d"); !ok {
		t.Error("a directory that fits is not complete")
	}
	c.Put("d", "one more", 1)
	if _, ok := c.Complete("d"); ok {
		t.Error("complete with one name too many")
	}
	c.check(t)
}

// The bound takes the memory of a removal: the listing under way must not bring the name back.
func TestLostRemovalIsNotUndone(t *testing.T) {
	c := newTestEntries(50)
	l := c.Begin("d")
	c.Remove("d", "gone")
	for i := range 100 {
		c.Put("d", fmt.Sprint(i), i)
	}
	l.Add("gone", 1)
	l.Done()
	if _, _, ok := c.Get("d", "gone"); ok {
		t.Error("a removed name is back")
	}
	if _, ok := c.Complete("d"); ok {
		t.Error("complete")
	}
}

func TestEmptyDirectoriesAreBounded(t *testing.T) {
	c := newTestEntries(20)
	for i := range 1000 {
		c.Begin(fmt.Sprint(i)).Done()
		c.check(t)
	}
}

// Random operations against a naive map, with room for everything.
func TestEntriesModel(t *testing.T) {
	dirs := rapid.SampledFrom([]string{"", "a", "a/b", "ab"})
	names := rapid.SampledFrom([]string{"x", "y", "z"})
	rapid.Check(t, func(rt *rapid.T) {
		c := newTestEntries(1000)
		model := map[string]map[string]int{} // 0: absent
		complete := map[string]bool{}
		n := 0
		set := func(d, name string, v int) {
			if model[d] == nil {
				model[d] = map[string]int{}
			}
			model[d][name] = v
		}
		pick := func() (string, string) { return dirs.Draw(rt, "dir"), names.Draw(rt, "name") }
		forget := func(tree string) {
			for _, d := range []string{"", "a", "a/b", "ab"} {
				if tree == "" || d == tree || strings.HasPrefix(d, tree+"/") {
					delete(model, d)
					delete(complete, d)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put":    func(*rapid.T) { d, x := pick(); n++; c.Put(d, x, n); set(d, x, n) },
			"absent": func(*rapid.T) { d, x := pick(); c.Absent(d, x); set(d, x, 0) },
			"remove": func(*rapid.T) { d, x := pick(); c.Remove(d, x); delete(model[d], x) },
			"forget": func(*rapid.T) {
				d := dirs.Draw(rt, "dir")
				c.Forget(d)
				delete(model, d)
				delete(complete, d)
			},
			"forget tree": func(*rapid.T) { d := dirs.Draw(rt, "dir"); c.ForgetTree(d); forget(d) },
			"rename": func(*rapid.T) {
				c.Rename("a", "ab")
				forget("ab")
				if m, ok := model["a"]; ok {
					model["ab"] = m
				}
				complete["ab"] = complete["a"]
				forget("a")
				c.ForgetTree("ab/b")
			},
			"list": func(*rapid.T) {
				d := dirs.Draw(rt, "dir")
				l := c.Begin(d)
				m := map[string]int{}
				for _, x := range []string{"x", "y", "z"} {
					switch rapid.IntRange(0, 4).Draw(rt, "what") {
					case 0: // not listed
					case 1:
						n++
						c.Put(d, x, n)
						l.Add(x, -1)
						m[x] = n
					case 2:
						c.Remove(d, x)
						l.Add(x, -1)
					default:
						n++
						l.Add(x, n)
						m[x] = n
					}
				}
				l.Done()
				model[d], complete[d] = m, true
			},
			"": func(rt *rapid.T) {
				c.check(t)
				for _, d := range []string{"", "a", "a/b", "ab"} {
					for _, x := range []string{"x", "y", "z"} {
						want, known := model[d][x]
						got, _, ok := c.Get(d, x)
						_, no := c.IsAbsent(d, x)
						if ok != (known && want != 0) || ok && got != want || no != (known && want == 0) {
							rt.Fatalf("%q %q: %d %v %v, want %d %v", d, x, got, ok, no, want, known)
						}
					}
					all, ok := c.All(d)
					if ok != complete[d] {
						rt.Fatalf("%q complete: %v", d, ok)
					}
					if want := slices.Sorted(maps.Keys(model[d])); ok {
						want = slices.DeleteFunc(want, func(x string) bool { return model[d][x] == 0 })
						if !slices.EqualFunc(all, want, func(a Named[int], x string) bool { return a.Name == x && a.Entry == model[d][x] }) {
							rt.Fatalf("%q: %v, want %v", d, all, want)
						}
					}
				}
			},
		})
	})
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
