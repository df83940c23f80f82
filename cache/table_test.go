package cache

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// A table against a map and the order of use.
func TestTable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var tb table[int]
		want := map[string]int{}
		var order []string // used least lately first
		use := func(name string) {
			order = slices.DeleteFunc(order, func(n string) bool { return n == name })
			order = append(order, name)
		}
		names := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"})
		if many := rapid.IntRange(0, 300).Draw(rt, "many"); many > 100 { // several chunks
			names = rapid.Map(rapid.IntRange(0, many), strconv.Itoa)
			for i := range many {
				tb.Add(strconv.Itoa(i), record[int]{entry: i})
				want[strconv.Itoa(i)] = i
				use(strconv.Itoa(i))
			}
		}
		for i := range rapid.IntRange(0, 200).Draw(rt, "steps") {
			name := names.Draw(rt, "name")
			_, there := want[name]
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0, 1:
				tb.Add(name, record[int]{entry: i})
				want[name] = i
				use(name)
			case 2:
				if tb.Remove(name) != there {
					rt.Fatalf("remove %q", name)
				}
				delete(want, name)
				order = slices.DeleteFunc(order, func(n string) bool { return n == name })
			case 3:
				if r, ok := tb.Get(name); ok != there || ok && r.entry != want[name] {
					rt.Fatalf("get %q: %v %v", name, r.entry, ok)
				}
				if there {
					use(name)
				}
			case 4:
				old, r, ok := tb.RemoveOldest()
				if ok != (len(order) > 0) || ok && (old != order[0] || r.entry != want[old]) {
					rt.Fatalf("oldest %q %v %v", old, r.entry, ok)
				}
				if ok {
					delete(want, old)
					order = order[1:]
				}
			}
			for n, e := range want {
				if r, ok := tb.Peek(n); !ok || r.entry != e || !tb.Contains(n) {
					rt.Fatalf("%q: %v %v", n, r.entry, ok)
				}
			}
			if tb.Len() != len(want) || !slices.Equal(tb.Keys(), order) {
				rt.Fatalf("%d names %q, want %q", tb.Len(), tb.Keys(), order)
			}
		}
	})
}

// A table that had many names gives the room of those that are gone back, and keeps the rest as they were.
func TestTableGivesRoomBack(t *testing.T) {
	var tab table[int]
	for i := range 10_000 {
		tab.Add(fmt.Sprint("n", i), record[int]{entry: i})
	}
	if tab.compact() {
		t.Error("a full table was copied")
	}
	for tab.Len() > 1000 {
		tab.RemoveOldest()
	}
	if !tab.compact() || tab.slots != 1000 || tab.Len() != 1000 {
		t.Fatalf("%d slots for %d names", tab.slots, tab.Len())
	}
	for i := 9000; i < 10_000; i++ {
		if r, ok := tab.Peek(fmt.Sprint("n", i)); !ok || r.entry != i {
			t.Fatalf("n%d: %v %v", i, r, ok)
		}
	}
	if name, _, _ := tab.RemoveOldest(); name != "n9000" {
		t.Errorf("the oldest is %s", name)
	}
}
