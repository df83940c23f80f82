// Package scale measures what docs/SCALE.md says: mounts of stores that are far larger than any machine, because they are
// computed. In `make test` the numbers are small and what is bounded is asserted; the large ones are a flag away:
//
//	go test ./tests/scale -run TestADirectoryOfMillions -names 10000000 -v -timeout 1h
//	go test ./tests/scale -run TestManyOpenFiles -open 10000 -v
//	go test ./tests/scale -run TestABillionObjects -looks 200000 -v
//	go test ./tests/scale -run TestAThousandMountsShareAnAccount -mounts 1000 -v
package scale

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

var (
	names  = flag.Int("names", 100_000, "in the large directory")
	open   = flag.Int("open", 400, "files at once")
	looks  = flag.Int("looks", 500, "files of the billion that are looked at")
	mounts = flag.Int("mounts", 40, "that share an account, which takes half as many writes a second")
)

// memory is --memory of the mounts; beside is what a process may take besides: its program, the runtime, connections, stacks.
const (
	memory = 256 << 20
	beside = 60 << 20
)

func TestMain(m *testing.M) {
	flag.Parse()
	testenv.Main(m)
}

// usage is what a process has taken so far.
type usage struct {
	resident    int64
	cached      int64 // of it, blocks of objects, which have a bound of their own
	cpu         time.Duration
	descriptors int
}

func usageOf(t *testing.T, m *testenv.MountPoint) (u usage) {
	t.Helper()
	out, _ := m.Command("status", "--json", m.Dir)
	var list []struct {
		Memory struct {
			Cached int64 `json:"cached_bytes"`
		} `json:"memory"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	u.cached = list[0].Memory.Cached
	dir := filepath.Join("/proc", strconv.Itoa(m.PID()))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &u.resident); err == nil {
			u.resident <<= 10
		}
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	// Behind the name, which may have spaces, utime and stime are the 12th and 13th, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		u.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	links, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	u.descriptors = len(links)
	return u
}

func (u usage) since(v usage) usage {
	return usage{u.resident - v.resident, u.cached - v.cached, u.cpu - v.cpu, u.descriptors - v.descriptors}
}

// per says what it is for each of n.
func (u usage) per(n int) string {
	return fmt.Sprintf("%d KiB resident, %d of them cached blocks (the others %d bytes each), %v of CPU (%v each), %d descriptors",
		u.resident>>10, u.cached>>10, (u.resident-u.cached)/int64(n), u.cpu, u.cpu/time.Duration(n), u.descriptors)
}

// within fails for memory beyond the budget; the race detector takes memory of its own.
func (u usage) within(t *testing.T) {
	t.Helper()
	if u.resident > memory+beside && os.Getenv("PAILFS_TEST_RACE") != "1" && !strings.Contains(os.Getenv("PAILFS_TEST_BINARY"), "race") {
		t.Errorf("%d MiB resident, --memory is %d", u.resident>>20, memory>>20)
	}
}
