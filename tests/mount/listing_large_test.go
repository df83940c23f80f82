package mount

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

func TestLargeLs(t *testing.T) {
	n := 100_000
	if s := os.Getenv("LARGE"); s != "" {
		fmt.Sscan(s, &n)
	}
	keys := make([]string, 0, n)
	for i := range n {
		keys = append(keys, fmt.Sprintf("part-%08d.parquet", i))
	}
	c, m := catalogued(t, keys, testenv.TTL(unhurried), testenv.Args("--attributes", "basic", "--memory", os.Getenv("LARGEMEM")))
	for range 2 {
		before := resident(t, m.PID())
		began := time.Now()
		cmd := exec.Command("sh", "-c", "ls -l | wc -l")
		cmd.Dir = m.Dir
		out, err := cmd.Output()
		t.Logf("%v %s %v %v, RSS %d KiB more", err, out, c, time.Since(began), (resident(t, m.PID())-before)>>10)
		c.reset()
	}
}
