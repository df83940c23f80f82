package mount

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// A mount in a container of 96 MiB takes its budget from the container's limit and moves much more, both ways and with
// many files at once, without being killed.
func TestAMemoryLimit(t *testing.T) {
	testenv.Require(t)
	noRace(t)
	s := testenv.Store(t)
	for durability, large := range map[string]int64{"store": 1 << 30, "journal": 256 << 20} {
		t.Run(durability, func(t *testing.T) {
			g := testenv.LimitMemory(t, 96<<20)
			bucket := s.Bucket(t)
			m := testenv.Mount(t, s, testenv.Of(bucket), testenv.Program(g.Program()), testenv.Args("--durability", durability))
			eventually(t, "its line in the log", func() bool { return strings.Contains(m.Log(), "msg=mounted") }) // after the kernel's
			if !strings.Contains(m.Log(), " memory="+strconv.Itoa(24<<20)+" ") {
				t.Errorf("its budget is not a quarter of the limit:\n%s", m.Log())
			}
			sum := pour(t, m.Path("large"), large)
			sh(t, m.Dir, `mkdir small; for i in $(seq 200); do head -c 300000 /dev/zero >small/$i & [ $((i % 20)) != 0 ] || wait; done; wait`)
			out, status := m.Command("flush", m.Dir)
			if status != 0 {
				t.Errorf("flush: %d\n%s", status, out)
			}
			drop(t, m.Path("large"))
			if sumOfFile(t, m.Path("large")) != sum {
				t.Error("other bytes come back")
			}
			readers := exec.Command("sh", "-c", fmt.Sprintf(`for i in 1 2 3 4; do dd if=large of=/dev/null bs=1M skip=$((i * %[1]d)) count=%[1]d iflag=direct status=none & done; cat small/* | wc -c; wait`, large/5>>20))
			readers.Dir = m.Dir
			if out, err := readers.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "60000000" {
				t.Errorf("%v %s", err, out)
			}
			m.Unmount()
			if n := g.Killed(); n != 0 {
				t.Errorf("%d processes were killed for their memory", n)
			}
		})
	}
}

// pour writes a file of so many bytes that are no zeros, and returns their sum.
func pour(t *testing.T, name string, size int64) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	sum, block := sha256.New(), make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(block)) {
		for i := 0; i < len(block); i += 512 {
			copy(block[i:], strconv.FormatInt(off+int64(i), 10))
		}
		sum.Write(block)
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return sumOf(sum)
}

// drop has the kernel forget a file's pages.
func drop(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Error(err)
	}
}
