package scale

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// A bucket of a billion objects costs what is used of it: the mount a request or three, a name a LIST for each level, and memory
// no more than the share of names.
func TestABillionObjects(t *testing.T) {
	s, m := mounted(t, 10, 10)
	if n := s.asked(); n > 3 {
		t.Errorf("the mount asked %d times: %v", n, s)
	}
	s.reset()
	st, err := os.Stat(m.Path("deep/123/456/789.dat"))
	if err != nil || st.Size() != 4096 {
		t.Fatal(st, err)
	}
	t.Logf("a file four levels down: %v", s)
	if n := s.asked(); n > 4*2+2 {
		t.Errorf("a file four levels down asked %d times: %v", n, s)
	}
	s.reset()
	for _, dir := range []string{"deep", "deep/500", "deep/500/500"} {
		if all, err := os.ReadDir(m.Path(dir)); err != nil || len(all) != 1000 {
			t.Errorf("%s: %d names, %v", dir, len(all), err)
		}
	}
	t.Logf("three directories of a thousand: %v", s)
	if n := s.asked(); n > 3*3 {
		t.Errorf("three directories of a thousand asked %d times: %v", n, s)
	}
	s.reset()
	before, began := usageOf(t, m), time.Now()
	rnd := rand.New(rand.NewPCG(1, 1))
	for range *looks {
		i := rnd.IntN(billion)
		name, _ := s.at(i)
		if st, err := os.Lstat(m.Path(name)); err != nil || st.Size() != 4096 {
			t.Fatal(name, st, err)
		}
	}
	after := usageOf(t, m)
	t.Logf("%d files at random: %v each; %v; %s", *looks, time.Since(began)/time.Duration(*looks), s, after.since(before).per(*looks))
	if n := s.asked(); n > int64(*looks)*8 {
		t.Errorf("%d files asked %d times: %v", *looks, n, s)
	}
	after.within(t)
}

// A directory of any number of names is read in constant memory, with a LIST for each thousand.
func TestADirectoryOfMillions(t *testing.T) {
	s, m := mounted(t, *names, 10)
	s.reset()
	before, began := usageOf(t, m), time.Now()
	d, err := os.Open(m.Path("flat"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n := 0
	for {
		some, err := d.Readdirnames(10_000)
		for _, name := range some {
			if want := fmt.Sprintf("part-%010d.parquet", n); name != want {
				t.Fatalf("%s in place of %s", name, want)
			}
			n++
		}
		if err != nil || len(some) == 0 {
			break
		}
		if n%1_000_000 == 0 {
			now := usageOf(t, m)
			t.Logf("%d names: %s", n, now.since(before).per(n))
		}
	}
	after := usageOf(t, m)
	t.Logf("%d names in %v: %v; %s", n, time.Since(began).Round(time.Millisecond), s, after.since(before).per(n))
	if n != *names {
		t.Errorf("%d names, want %d", n, *names)
	}
	if lists := s.lists.Load(); lists > int64(*names/1000+6) || s.heads.Load()+s.gets.Load() > 0 {
		t.Errorf("asked for %v", s)
	}
	after.within(t)
}
