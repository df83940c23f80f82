package cache

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func names(all []Named[int]) string {
	var out []string
	for _, n := range all {
		out = append(out, fmt.Sprintf("%s=%d", n.Name, n.Entry))
	}
	return strings.Join(out, " ")
}

func TestAfter(t *testing.T) {
	c := newTestEntries(100)
	if _, ok := c.After("d", "a", 1); ok {
		t.Error("an unknown directory has an order")
	}
	c.Put("d", "early", 1)
	if _, ok := c.After("d", "a", 1); ok {
		t.Error("a directory that is not complete has an order")
	}
	l := c.Begin("d")
	for _, n := range []string{"b", "d", "f", "early"} {
		l.Add(n, 1)
	}
	l.Done()
	for _, tc := range []struct {
		after string
		n     int
		want  string
	}{
		{"", 9, "b=1 d=1 early=1 f=1"}, {"a", 2, "b=1 d=1"}, {"b", 2, "d=1 early=1"}, {"c", 1, "d=1"}, {"early", 2, "f=1"},
		{"f", 2, ""}, {"z", 2, ""}, {"a", 0, ""}, {"a", -1, ""}, {"a", int(^uint(0) >> 1), "b=1 d=1 early=1 f=1"},
	} {
		if got, ok := c.After("d", tc.after, tc.n); !ok || names(got) != tc.want {
			t.Errorf("%d after %q: %q %v, want %q", tc.n, tc.after, names(got), ok, tc.want)
		}
	}
	c.Put("d", "c", 2)
	c.Put("d", "d", 3)
	c.Absent("d", "b")
	c.Remove("d", "early")
	if got, _ := c.After("d", "", 9); names(got) != "c=2 d=3 f=1" {
		t.Errorf("after changes: %q", names(got))
	}
	c.check(t)
}

func TestBetween(t *testing.T) {
	c := newTestEntries(100)
	if _, ok := c.Between("d", "a", "b"); ok {
		t.Error("an unknown directory has an order")
	}
	l := c.Begin("d")
	for _, n := range []string{"b", "d", "f", "h"} {
		l.Add(n, 1)
	}
	l.Done()
	for _, tc := range []struct {
		a, b string
		want int
	}{{"b", "d", 0}, {"b", "f", 1}, {"h", "b", 2}, {"b", "b", 0}, {"a", "z", 4}, {"c", "c", 0}, {"c", "e", 1}, {"x", "z", 0}} {
		if n, ok := c.Between("d", tc.a, tc.b); !ok || n != tc.want {
			t.Errorf("between %s and %s: %d %v, want %d", tc.a, tc.b, n, ok, tc.want)
		}
	}
}

func TestAmend(t *testing.T) {
	c := newTestEntries(100)
	more := func(e int) (int, bool) { return e + 10, true }
	c.Amend("d", "a", more)
	c.Put("d", "a", 1)
	c.Absent("d", "no")
	_, before, _ := c.Get("d", "a")
	c.Amend("d", "b", more)
	c.Amend("d", "no", more)
	c.Amend("d", "a", more)
	_, after, _ := c.Get("d", "a")
	c.Amend("d", "a", func(int) (int, bool) { return 99, false })
	if got := state(c, "d"); got != "a=11 -no" {
		t.Error(got)
	}
	if _, seen, _ := c.Get("d", "a"); !after.After(before) || !seen.Equal(after) {
		t.Errorf("seen at %v, %v, %v", before, after, seen)
	}
	l := c.Begin("d") // an amended name is no change: a listing has its say
	c.Amend("d", "a", more)
	l.Add("a", 5)
	l.Done()
	if got := state(c, "d"); got != "* a=5" {
		t.Error(got)
	}
	c.check(t)
}

// The remembered order stays that of the names, whatever happens to them.
func TestOrderModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newTestEntries(rapid.IntRange(5, 40).Draw(t, "limit"))
		name := func() string { return rapid.SampledFrom(strings.Split("abcdefghijkl", "")).Draw(t, "name") }
		var l *Listing[int]
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1:
				c.Put("d", name(), 1)
			case 2:
				c.Absent("d", name())
			case 3:
				c.Remove("d", name())
			case 4:
				c.ForgetName("d", name())
			case 5:
				l = c.Begin("d")
			case 6, 7:
				if l != nil {
					l.Add(name(), 2)
				}
			case 8:
				if l != nil {
					l.Done()
				}
			}
			all, ok := c.All("d")
			after := name()
			next, known := c.After("d", after, 3)
			if ok != known {
				t.Fatalf("complete %v, ordered %v", ok, known)
			}
			var want []Named[int]
			for _, n := range all {
				if n.Name > after && len(want) < 3 {
					want = append(want, n)
				}
			}
			if !slices.Equal(next, want) {
				t.Fatalf("after %s: %v, want %v", after, next, want)
			}
			if !slices.IsSortedFunc(all, func(a, b Named[int]) int { return strings.Compare(a.Name, b.Name) }) {
				t.Fatalf("not sorted: %v", all)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if d, ok := c.mu.dirs.Peek("d"); ok && d.sorted != nil && !slices.Equal(d.sorted, d.sort()) {
			t.Fatalf("remembered order %v, names %v", d.sorted, d.sort())
		}
	})
}

// What a listing has come to is in order before it ends, also while the directory loses its first names to the bound.
func TestNearWhileAListingGoesOn(t *testing.T) {
	c := NewEntries[int](100, nil)
	l := c.Begin("d")
	if next := c.Near("d", "", 5); len(next) != 0 {
		t.Errorf("%v", next)
	}
	if next := c.Near("nowhere", "", 5); next != nil {
		t.Errorf("%v", next)
	}
	for i := range 300 {
		l.Add(fmt.Sprintf("n%03d", i), i)
		if i%7 > 0 {
			continue
		}
		next := c.Near("d", fmt.Sprintf("n%03d", max(i-3, 0)), 10)
		for j, n := range next {
			if want := max(i-3, 0) + 1 + j; n.Name != fmt.Sprintf("n%03d", want) || n.Entry != want {
				t.Fatalf("at %d: %v", i, next)
			}
		}
		if len(next) != min(i, 3) {
			t.Fatalf("at %d: %v", i, next)
		}
		if n := c.NearBetween("d", fmt.Sprintf("n%03d", max(i-3, 0)), fmt.Sprintf("n%03d", i)); n != max(min(i, 3)-1, 0) {
			t.Fatalf("at %d: %d lie between", i, n)
		}
	}
	c.Remove("d", "n298")
	if next := c.Near("d", "n296", 10); len(next) != 2 || next[1].Name != "n299" {
		t.Errorf("%v", next)
	}
	if _, ok := c.After("d", "n296", 10); ok {
		t.Error("the directory is complete")
	}
}
