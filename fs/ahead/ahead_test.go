package ahead

import (
	"fmt"
	"slices"
	"testing"
)

// listing is a directory whose names are known; a nil one is not.
type listing []Item

func names(n int, size int64) listing {
	var l listing
	for i := range n {
		l = append(l, Item{Name: fmt.Sprintf("f%05d", i), ETag: "e", Size: size})
	}
	return l
}

func (l listing) at(name string) int {
	i, _ := slices.BinarySearchFunc(l, name, func(i Item, name string) int {
		if i.Name < name {
			return -1
		} else if i.Name > name {
			return 1
		}
		return 0
	})
	return i
}

func (l listing) Between(a, b string) (int, bool) {
	if l == nil {
		return 0, false
	}
	d := l.at(b) - l.at(a)
	return max(d, -d) - 1, true
}

func (l listing) Following(name string, n int) []Item {
	if l == nil {
		return nil
	}
	i := l.at(name) + 1
	return l[min(i, len(l)):min(i+n, len(l))]
}

// walk opens names of the listing by index and returns how often each was fetched ahead before it was opened.
func walk(t *testing.T, d *Dirs, l listing, order []int) (early int, fetched map[string]int, dropped int) {
	t.Helper()
	fetched = map[string]int{}
	for _, i := range order {
		if fetched[l[i].Name] > 0 {
			early++
		}
		f := d.Opened("d/", l[i].Name, l)
		if len(f.Files) != len(f.Bytes) {
			t.Fatalf("%d files, %d sizes", len(f.Files), len(f.Bytes))
		}
		for _, x := range f.Files {
			fetched[x.Name]++
		}
		dropped += len(f.Drop)
		d.check(t)
	}
	return early, fetched, dropped
}

// check: what is accounted is what waits.
func (d *Dirs) check(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var sum int64
	for _, v := range d.mu.dirs.Values() {
		sum += v.ahead()
	}
	if sum != d.mu.bytes || sum > d.most {
		t.Fatalf("%d bytes wait, %d accounted, bound %d", sum, d.mu.bytes, d.most)
	}
}

func upTo(n int) []int {
	var all []int
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestInOrder(t *testing.T) {
	d, l := New(64<<20), names(2000, 16<<10)
	early, fetched, dropped := walk(t, d, l, upTo(2000))
	if early != 1997 || len(fetched) != 1997 || dropped != 0 {
		t.Errorf("%d of 2000 were fetched before they were opened, %d fetched, %d given up", early, len(fetched), dropped)
	}
	for name, n := range fetched {
		if n != 1 {
			t.Errorf("%s was fetched %d times", name, n)
		}
	}
	if c := d.Counts(); c.Fetched != 1997 || c.Used != 1997 {
		t.Errorf("counts %+v", c)
	}
}

// A shell's pattern skips names; several readers go through a directory together.
func TestNearlyInOrder(t *testing.T) {
	var skipping, crew []int
	for i := 0; i < 1000; i += 3 {
		skipping = append(skipping, i)
	}
	for i := 0; i < 1000; i += 4 {
		crew = append(crew, i+1, i, i+3, i+2)
	}
	for name, order := range map[string][]int{"every third": skipping, "four readers": crew} {
		early, _, dropped := walk(t, New(64<<20), names(1000, 16<<10), order)
		if early < len(order)-9 || dropped > 0 {
			t.Errorf("%s: %d of %d were fetched before they were opened, %d given up", name, early, len(order), dropped)
		}
	}
}

func TestRandomOpensFetchNothing(t *testing.T) {
	d, l := New(64<<20), names(10_000, 16<<10)
	var order []int
	x := uint64(7)
	for range 1000 {
		x = x*6364136223846793005 + 1442695040888963407
		order = append(order, int(x>>33)%10_000)
	}
	if _, fetched, _ := walk(t, d, l, order); len(fetched) > 0 {
		t.Errorf("1,000 random opens had %d files fetched ahead", len(fetched))
	}
}

func TestUnknownDirectoryFetchesNothing(t *testing.T) {
	d := New(64 << 20)
	for i := range 100 {
		if f := d.Opened("d/", fmt.Sprint(i), listing(nil)); len(f.Files) > 0 {
			t.Fatalf("fetches %v of a directory nobody knows", f.Files)
		}
	}
}

func TestLeavingGivesUpWhatIsAhead(t *testing.T) {
	d, l := New(64<<20), names(1000, 16<<10)
	_, fetched, _ := walk(t, d, l, upTo(10))
	f := d.Opened("d/", l[900].Name, l)
	if want := len(fetched) - 7; len(f.Drop) != want {
		t.Errorf("%d files are given up, want %d", len(f.Drop), want)
	}
	d.check(t)
}

func TestBudget(t *testing.T) {
	d, l := New(1<<20), names(1000, 100<<10)
	early, fetched, _ := walk(t, d, l, upTo(1000))
	if early != 997 || len(fetched) != 997 { // ten at a time are enough to be early
		t.Errorf("%d early of %d fetched", early, len(fetched))
	}
	if f := New(0).Opened("d/", l[1].Name, l); len(f.Files) > 0 || New(0).Looked("d/", l[0]) > 0 {
		t.Error("fetches without a budget")
	}
}

func TestLargeFilesHaveTheirBeginningFetched(t *testing.T) {
	d, l := New(64<<20), names(100, 500<<20)
	var bytes int64
	for i := range 50 {
		for _, n := range d.Opened("d/", l[i].Name, l).Bytes {
			bytes += n
		}
	}
	if most := int64(50+mostAhead) * PeekBytes; bytes == 0 || bytes > most {
		t.Errorf("%d bytes are fetched ahead, at most %d wanted", bytes, most)
	}
}

func TestEmptyFilesCostNothing(t *testing.T) {
	d, l := New(64<<20), names(100, 0)
	asked := 0
	for i := range 100 {
		f := d.Opened("d/", l[i].Name, l)
		if len(f.Files) != 0 {
			t.Errorf("empty files are fetched: %v", f.Files)
		}
		asked += len(f.Ask)
	}
	if asked != 97 {
		t.Errorf("the attributes of %d are asked for ahead", asked)
	}
	if n := d.Looked("d/", l[0]); n != 0 {
		t.Errorf("a look at an empty file fetches %d bytes", n)
	}
}

// Who looks and opens gets bytes with the attributes; who only looks, as ls -l, gets attributes after two files.
func TestLooks(t *testing.T) {
	d, l := New(64<<20), names(100, 16<<10)
	for i := range 10 {
		want := int64(16 << 10)
		if i >= idleLooks {
			want = 0
		}
		if n := d.Looked("ls/", l[i]); n != want {
			t.Errorf("look %d: %d bytes, want %d", i, n, want)
		}
	}
	for i := range 10 {
		if n := d.Looked("d/", l[i]); n != 16<<10 {
			t.Errorf("look %d before an open: %d bytes", i, n)
		}
		d.Opened("d/", l[i].Name, listing(nil))
	}
	big := Item{Name: "big", Size: 1 << 40}
	if n := d.Looked("b/", big); n != PeekBytes {
		t.Errorf("a look at a large file: %d bytes", n)
	}
	if c := d.Counts(); c.Peeks != 2+10+1 || c.Looks != 8 {
		t.Errorf("counts %+v", c)
	}
}

// Files that are looked at in order and not opened have the attributes of the next ones asked for once each, empty ones too.
func TestLooksInOrder(t *testing.T) {
	for _, size := range []int64{0, 16 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { looksInOrder(t, size) })
	}
}

func looksInOrder(t *testing.T, size int64) {
	d, l := New(64<<20), names(1000, size)
	asked, late := map[string]int{}, 0
	for i := range l {
		if asked[l[i].Name] == 0 {
			late++
			d.Looked("d/", l[i])
		}
		for _, x := range d.Looks("d/", l[i].Name, l) {
			asked[x.Name]++
		}
	}
	if late > 5 || len(asked) < 995 {
		t.Errorf("%d of 1000 were not asked for ahead, %d were", late, len(asked))
	}
	for name, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
	// Who opens them gets bytes; who looks at random, and at what is known, asks for nothing.
	if d.Opened("d/", l[3].Name, l); len(d.Looks("d/", l[4].Name, l)) > 0 {
		t.Error("asks for attributes of files that are opened")
	}
	d = New(64 << 20)
	for i := range 3 {
		d.Looked("d/", l[i])
	}
	for i := range 100 {
		if x := d.Looks("d/", l[(i*377)%1000].Name, l); len(x) > 0 {
			t.Errorf("look %d at random asks for %v", i, x)
		}
	}
	for i := range l {
		l[i].Known = true
	}
	for i := range 100 {
		if x := d.Looks("d/", l[i].Name, l); len(x) > 0 {
			t.Errorf("asks for what is known: %v", x)
		}
	}
}

func TestForgottenDirectoriesGiveTheirBytesBack(t *testing.T) {
	d, l := New(64<<20), names(100, 16<<10)
	for i := range mostDirs * 3 {
		dir := fmt.Sprintf("d%d/", i)
		d.Opened(dir, l[0].Name, l)
		d.Opened(dir, l[1].Name, l)
		d.Opened(dir, l[2].Name, l)
	}
	d.check(t)
}

// An empty file has nothing to fetch, so opening it is no use of what was fetched.
func TestEmptyFilesAreNotCounted(t *testing.T) {
	d, l := New(64<<20), names(200, 16<<10)
	for i := 1; i < len(l); i += 2 {
		l[i].Size, l[i].Known = 0, true
	}
	walk(t, d, l, upTo(200))
	if c := d.Counts(); c.Fetched == 0 || c.Used > c.Fetched {
		t.Errorf("counts %+v", c)
	}
}

// Whoever comes to files only when their attributes are there has the next ones asked for all the same, and who looks through
// one directory after the other has those of the next one asked for with its first.
func TestLooksThroughDirectories(t *testing.T) {
	d, l := New(64<<20), names(300, 16<<10)
	asked := map[string]bool{}
	ask := func(dir string, some []Item) {
		for _, i := range some {
			if asked[dir+i.Name] {
				t.Errorf("%s%s is asked for again", dir, i.Name)
			}
			asked[dir+i.Name] = true
		}
	}
	late := map[string]int{}
	through := func(dir string) {
		for _, i := range l {
			if asked[dir+i.Name] {
				ask(dir, d.Passed(dir, i.Name, l))
				continue
			}
			late[dir]++
			ask(dir, d.Expect(dir, i.Name, l))
			d.Looked(dir, i)
			ask(dir, d.Looks(dir, i.Name, l))
		}
	}
	through("a/")
	through("b/")
	through("c/")
	if late["a/"] > 5 || late["b/"] != 1 || late["c/"] != 1 {
		t.Errorf("not asked for ahead: %v", late)
	}
	if n := len(d.Expect("d/", l[200].Name, l)); n != 0 {
		t.Errorf("%d are asked for behind a name in the middle", n)
	}
	if n := len(d.Expect("d/", l[0].Name, l)); n != mostAhead {
		t.Errorf("%d are asked for behind the first name", n)
	}
	if n := len(d.Expect("e/", l[0].Name, l)); n != 0 {
		t.Errorf("%d are asked for though the directory before was not looked through", n)
	}
	through("f/")
	d.Opened("f/", l[0].Name, l)
	if n := len(d.Expect("g/", l[0].Name, l)); n != 0 {
		t.Errorf("%d are asked for where files are opened", n)
	}
	if len(d.Passed("nowhere/", l[0].Name, l))+len(d.Passed("f/", l[0].Name, l)) > 0 {
		t.Error("asks behind what was not asked for")
	}
}
