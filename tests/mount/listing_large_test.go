package mount

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

// ls -l of more files than 64 MiB have room for, and of what 256 MiB hold: a LIST for each thousand,
// whether their names are remembered or not. One more is for what all the names begin with.
func TestLsOfALargeDirectory(t *testing.T) {
	const n = 30_000
	keys := make([]string, 0, n)
	for i := range n {
		keys = append(keys, fmt.Sprintf("part-%08d.parquet", i))
	}
	for _, tc := range []struct {
		memory string
		again  int64
	}{{"64MiB", n/1000 + 1}, {"256MiB", 0}} {
		t.Run(tc.memory, func(t *testing.T) {
			c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic", "--memory", tc.memory))
			for i, lists := range []int64{n/1000 + 1, tc.again} {
				what := []string{"cold", "again"}[i]
				before, began := resident(t, m.PID()), time.Now()
				if got := strings.Count(run(t, m.Dir, "ls", "-l"), "\n"); got != n+1 {
					t.Errorf("%d lines", got)
				}
				t.Logf("%s: %v, %d KiB more resident", what, time.Since(began), (resident(t, m.PID())-before)>>10)
				c.within(t, what, lists, lists, 0)
			}
		})
	}
}
