package cache

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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

// entriesCase is what is done to a cache, and what it then knows of the directory "d".
type entriesCase struct {
	name string
	do   func(c *Entries[int])
	want string
}

func testEntries(t *testing.T, cases []entriesCase) {
	for _, tc := range cases {
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

// list lists a directory that has these names, each with the entry 1.
func list(c *Entries[int], dir string, names ...string) {
	l := c.Begin(dir)
	for _, n := range names {
		l.Add(n, 1)
	}
	l.Done()
}

func TestEntries(t *testing.T) {
	testEntries(t, []entriesCase{
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
		{"changes in a complete directory", func(c *Entries[int]) {
			list(c, "d", "a", "b")
			c.Put("d", "c", 3)
			c.Remove("d", "a")
		}, "* b=1 c=3"},
	})
}

func TestEntriesDuringAListing(t *testing.T) {
	testEntries(t, []entriesCase{
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
	})
}

func TestEntriesForgotten(t *testing.T) {
	testEntries(t, []entriesCase{
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
	})
}

func TestEntriesRenamed(t *testing.T) {
	testEntries(t, []entriesCase{
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
	})
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
