package journal

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// Any sequence of changes gives what a plain slice gives, in memory, in a file and on the way; the checks agree always,
// and survive being written down.
func TestSpoolIsWhatWasWritten(t *testing.T) {
	for name, o := range map[string]Options{"memory first": {}, "file": {MemoryBytes: -1}, "short of memory": {MemoryBytes: 20 << 10}} {
		t.Run(name, func(t *testing.T) {
			o.Dir = memoryDir(t)
			j := openUntended(t, o)
			rapid.Check(t, func(t *rapid.T) { checkSpool(t, j) })
			if m := j.Stats().MemoryBytes; m != 0 {
				t.Errorf("%d bytes of memory in use", m)
			}
		})
	}
}

// memoryDir is a directory where holes cost no disk access, if there is one.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "journal")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// changedSpool is a new spool that is discarded when change returns.
func changedSpool(t *rapid.T, j *Journal, change func(*Spool)) {
	s, err := j.NewSpool()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Discard(); err != nil {
			t.Fatal(err)
		}
	}()
	change(s)
}

// spoolModel is a spool beside a slice of the bytes that it has to have.
type spoolModel struct {
	s    *Spool
	want []byte
}

func checkSpool(t *rapid.T, j *Journal) { checkSpoolWith(t, j, func(*Spool) {}) }

func checkSpoolWith(t *rapid.T, j *Journal, prepare func(*Spool)) {
	changedSpool(t, j, func(s *Spool) {
		prepare(s)
		m := &spoolModel{s: s}
		t.Repeat(map[string]func(*rapid.T){
			"write": m.write, "append": m.append, "truncate": m.truncate, "punch": m.punch, "sync": m.sync, "read": m.read,
			"": m.checkSums,
		})
		got, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<40))
		if err != nil || !bytes.Equal(got, m.want) {
			t.Fatalf("%d bytes, want %d; %v", len(got), len(m.want), err)
		}
	})
}

// place is where something is done. Places near the borders of blocks are what goes wrong.
func (m *spoolModel) place(t *rapid.T, label string) int {
	return rapid.Custom(func(t *rapid.T) int {
		return max(0, rapid.IntRange(0, 6).Draw(t, "block")*checkBytes+rapid.IntRange(-3, 3).Draw(t, "beside")+
			rapid.SampledFrom([]int{0, 0, 100, 30000}).Draw(t, "within"))
	}).Draw(t, label)
}

func (m *spoolModel) length(t *rapid.T) int {
	return rapid.OneOf(rapid.IntRange(1, 10), rapid.IntRange(checkBytes-5, checkBytes+5), rapid.IntRange(1, 3*checkBytes)).Draw(t, "n")
}

func (m *spoolModel) bytes(t *rapid.T, n int) []byte {
	return bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, n)
}

func (m *spoolModel) grow(end int) {
	if end > len(m.want) {
		m.want = append(m.want, make([]byte, end-len(m.want))...)
	}
}

func (m *spoolModel) write(t *rapid.T) {
	off, n := m.place(t, "off"), m.length(t)
	p := m.bytes(t, n)
	if _, err := m.s.WriteAt(p, int64(off)); err != nil {
		t.Fatal(err)
	}
	m.grow(off + n)
	copy(m.want[off:], p)
}

func (m *spoolModel) append(t *rapid.T) {
	p := m.bytes(t, m.length(t))
	if _, err := m.s.WriteAt(p, int64(len(m.want))); err != nil {
		t.Fatal(err)
	}
	m.want = append(m.want, p...)
}

func (m *spoolModel) truncate(t *rapid.T) {
	size := m.place(t, "size")
	if err := m.s.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	m.grow(size)
	m.want = m.want[:size]
}

func (m *spoolModel) punch(t *rapid.T) {
	off, n := m.place(t, "off"), m.length(t)
	if err := m.s.PunchHole(int64(off), int64(n)); err != nil {
		t.Fatal(err)
	}
	if off < len(m.want) {
		clear(m.want[off:min(off+n, len(m.want))])
	}
}

func (m *spoolModel) sync(t *rapid.T) {
	if m.s.HasLent() {
		if err := m.s.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *spoolModel) read(t *rapid.T) {
	off, p := m.place(t, "off"), make([]byte, m.length(t))
	n, err := m.s.ReadAt(p, int64(off))
	from := min(off, len(m.want))
	if !bytes.Equal(p[:n], m.want[from:min(off+len(p), len(m.want))]) || (n < len(p)) != (err == io.EOF) {
		t.Fatalf("read %d+%d: %d, %v", off, len(p), n, err)
	}
}

// checkSums writes the checks down and reads them again.
func (m *spoolModel) checkSums(t *rapid.T) {
	if m.s.mu.f == nil {
		return
	}
	again, err := decodeSums(m.s.mu.sums.encode())
	if err != nil || !reflect.DeepEqual(again, m.s.mu.sums) {
		t.Fatalf("checks written and read differ: %v", err)
	}
}
