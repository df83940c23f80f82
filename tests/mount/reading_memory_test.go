package mount

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

// memoryBeside is what a process may take beside --memory: its program, the runtime, connections, stacks.
const memoryBeside = 60 << 20

// resident is a process's VmRSS in bytes, by kind: all, anonymous, of files.
func resident(t *testing.T, pid int) (n int64) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Error(err)
		return 0
	}
	for line := range bytes.Lines(b) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &n); err == nil {
			return n << 10
		}
	}
	t.Errorf("no VmRSS in %s", b)
	return 0
}

// mostResident looks at a process's memory while something is done.
func mostResident(t *testing.T, m *testenv.MountPoint, do func()) (most int64) {
	t.Helper()
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, resident(t, m.PID()))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	do()
	close(done)
	looking.Wait()
	return most
}

// noRace skips the test where the program is built with the race detector, which takes memory of its own.
func noRace(t *testing.T) {
	t.Helper()
	if os.Getenv("PAILFS_TEST_RACE") == "1" || bytes.Contains([]byte(os.Getenv("PAILFS_TEST_BINARY")), []byte("race")) {
		t.Skip("the race detector takes memory of its own")
	}
}

// sums puts n objects and keeps their checksums alone.
func sums(t *testing.T, s *testenv.Server, bucket string, n, size int) map[string]uint32 {
	t.Helper()
	all := map[string]uint32{}
	for i := range n {
		name, content := fmt.Sprintf("f%03d", i), noise(i, size)
		put(t, s, bucket, name, content)
		all[name] = crc32.ChecksumIEEE(content)
	}
	return all
}

func TestParallelReadersKeepWithinTheMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	noRace(t)
	const memory = 64 << 20
	s := start(t)
	bucket := s.Bucket(t)
	all := sums(t, s, bucket, 16, 32<<20)
	for name, options := range map[string][]testenv.Option{"": nil, "with a disk cache": {cached(t.TempDir(), "1GiB")}} {
		t.Run(name, func(t *testing.T) {
			m := mount(t, s, bucket, append([]testenv.Option{testenv.Args("--memory", "64MiB")}, options...)...)
			begin := resident(t, m.PID())
			for _, pass := range []string{"cold", "again"} {
				most := mostResident(t, m, func() { readParallel(t, m, all) })
				t.Logf("%s: %d MiB at first, %d MiB at most", pass, begin>>20, most>>20)
				if most > memory+memoryBeside {
					t.Errorf("%d bytes of memory", most)
				}
				for name := range all {
					forgetPages(t, m.Path(name))
				}
			}
		})
	}
}

func readParallel(t *testing.T, m *testenv.MountPoint, all map[string]uint32) {
	t.Helper()
	var reading sync.WaitGroup
	for name, want := range all {
		reading.Go(func() {
			f, err := os.Open(m.Path(name))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			sum := crc32.NewIEEE()
			if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, f, make([]byte, 256<<10)); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if sum.Sum32() != want {
				t.Errorf("%s: wrong bytes", name)
			}
		})
	}
	reading.Wait()
}

func TestManyOpenFilesReadALittleKeepWithinTheMemory(t *testing.T) {
	noRace(t)
	const memory, each, size = 64 << 20, 1 << 20, 8 << 20
	s := start(t)
	bucket := s.Bucket(t)
	content := noise(3, size)
	all := map[string][]byte{}
	for i := range 100 {
		all[fmt.Sprintf("f%03d", i)] = content
	}
	putAll(t, s, bucket, all)
	m := mount(t, s, bucket, testenv.Args("--memory", "64MiB"))
	most := mostResident(t, m, func() {
		var files []*os.File
		for _, name := range slices.Sorted(maps.Keys(all)) {
			files = append(files, open(t, m.Path(name), os.O_RDONLY))
		}
		for off := 0; off < 2*each; off += each / 4 { // each is in turn: all are read on end
			for _, f := range files {
				readAt(t, f, content, off, each/4)
			}
		}
	})
	t.Logf("%d MiB at most", most>>20)
	if most > memory+memoryBeside {
		t.Errorf("%d bytes of memory", most)
	}
}
