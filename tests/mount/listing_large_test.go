package mount

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// ls -l of more files than 64 MiB have room for, and of what 256 MiB hold: ls reads all names and then looks at each, which is
// a LIST for each thousand where names are remembered, and at most a second one where neither they nor the kernel's inodes are.
// One more is for what all the names begin with.
func TestLsOfALargeDirectory(t *testing.T) {
	const n = 30_000
	keys := make([]string, 0, n)
	for i := range n {
		keys = append(keys, fmt.Sprintf("part-%08d.parquet", i))
	}
	for _, tc := range []struct {
		memory string
		lists  [2][2]int64 // the least and the most: cold, again
	}{{"64MiB", [2][2]int64{{n/1000 + 1, 2*n/1000 + 1}, {n/1000 + 1, 2*n/1000 + 1}}}, {"256MiB", [2][2]int64{{n/1000 + 1, n/1000 + 1}, {0, 0}}}} {
		t.Run(tc.memory, func(t *testing.T) {
			c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic", "--memory", tc.memory))
			for i, lists := range tc.lists {
				what := []string{"cold", "again"}[i]
				before, began := resident(t, m.PID()), time.Now()
				if got := strings.Count(run(t, m.Dir, "ls", "-l"), "\n"); got != n+1 {
					t.Errorf("%d lines", got)
				}
				t.Logf("%s: %v, %d KiB more resident", what, time.Since(began), (resident(t, m.PID())-before)>>10)
				c.within(t, what, lists[0], lists[1], 0)
			}
		})
	}
}

// Who looks at each of very many files makes the kernel keep an inode for each; it is asked to forget the oldest.
func TestLookingAtVeryManyFilesInBoundedMemory(t *testing.T) {
	n := 60_000
	if s := os.Getenv("PAILFS_TEST_NAMES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	keys := make([]string, 0, n)
	for i := range n {
		keys = append(keys, fmt.Sprintf("part-%08d.parquet", i))
	}
	const memory = 256 << 20
	c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic", "--memory", fmt.Sprint(memory)))
	before, began := resident(t, m.PID()), time.Now()
	d, err := os.Open(m.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	held := open(t, m.Path("part-00000007.parquet"), os.O_RDONLY)
	number := inode(t, held.Name())
	seen := 0
	for {
		some, err := d.Readdirnames(10_000)
		for _, name := range some {
			var st unix.Stat_t
			if err := unix.Lstat(m.Path(name), &st); err != nil || st.Size != 3 {
				t.Fatalf("%s: %d bytes, %v", name, st.Size, err)
			}
			seen++
		}
		if err != nil {
			break
		}
	}
	if seen != n {
		t.Errorf("%d names", seen)
	}
	grown := resident(t, m.PID()) - before
	t.Logf("%d names in %v, %v, %d KiB more resident", n, time.Since(began), c, grown>>10)
	if grown > memory/4 && os.Getenv("PAILFS_TEST_RACE") != "1" { // the detector's own memory is many times as much
		t.Errorf("%d KiB more resident", grown>>10)
	}
	// What was forgotten is the same file, and so is what is open.
	if inode(t, m.Path("part-00000007.parquet")) != number {
		t.Error("the open file has another number")
	}
	if _, err := held.Stat(); err != nil {
		t.Error(err)
	}
}
