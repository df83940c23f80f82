package cache

import (
	"fmt"
	"testing"
)

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
