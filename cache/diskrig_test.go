package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

const testDisk = 1 << 20 // objects up to 256 blocks are whole, segments are 128 blocks

// openTest opens a Disk, which the test must close, or closeTest at its end.
func openTest(t testing.TB, dir string, change ...func(*DiskOptions)) *Disk {
	t.Helper()
	o := DiskOptions{Dir: dir, SizeBytes: testDisk, BlockBytes: testBlock, Store: "store"}
	for _, c := range change {
		c(&o)
	}
	d, err := OpenDisk(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDisk(t, d) })
	return d
}

func closeDisk(t testing.TB, d *Disk) {
	t.Helper()
	if err := d.Close(background); err != nil {
		t.Error(err)
	}
	d.check0(t)
}

// over returns a cache of so many blocks over the disk. What it fetches is counted by s.
func over(t testing.TB, d *Disk, blocks int, s *store) *Blocks {
	t.Helper()
	b := NewBlocks(BlocksOptions{MemoryBytes: int64(blocks) * testBlock, BlockBytes: testBlock, Fetch: s.fetch, Disk: d})
	b.buffers.freed = func(p []byte) {
		for i := range p {
			p[i] = 0xDB
		}
	}
	t.Cleanup(func() { closeBlocks(t, b) })
	return b
}

func closeBlocks(t testing.TB, b *Blocks) {
	t.Helper()
	b.check(t)
	if err := b.Close(background); err != nil {
		t.Error(err)
	}
	b.disk.drain(t)
	if st := b.Stats(); st.Bytes != 0 || st.InFlightBytes != 0 || st.HeldBytes != 0 {
		t.Errorf("after Close: %+v", st)
	}
}

func wantFetched(t testing.TB, s *store, want string) {
	t.Helper()
	if got := s.fetched(); got != want {
		t.Errorf("fetched %q, want %q", got, want)
	}
}

// files are the block files under a directory.
func files(t testing.TB, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, blocksDir), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return paths
}

// flip changes one byte of a file.
func flip(t testing.TB, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 1)
	if _, err := f.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
	p[0] ^= 0x40
	if _, err := f.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := errors.Join(os.CopyFS(to, os.DirFS(from)), os.Chmod(filepath.Join(to, ownDir), 0o700)); err != nil {
		t.Fatal(err)
	}
}

// bubbleDisk is bubble with a disk.
func bubbleDisk(t *testing.T, blocks int, test func(t *testing.T, d *Disk, b *Blocks, s *store, taps *valves)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		taps := &valves{}
		s := &store{answer: taps.answer}
		d := openTest(t, t.TempDir())
		test(t, d, over(t, d, blocks, s), s, taps)
	})
}

// drain waits until all that is queued is written, and its owners know.
func (d *Disk) drain(t testing.TB) {
	t.Helper()
	k := newKeeping(1)
	if d.queue.push(queued{keeping: k}) {
		<-k.done
	}
	d.check0(t)
}

// check0 states the invariants of the index.
func (d *Disk) check0(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var bytes, blocks, memory int64
	for _, p := range d.mu.parts.Values() {
		have, verified, size := 0, 0, int64(partCharge)
		for i := p.first; i < p.first+int64(p.blocks); i++ {
			c, n := p.at(i)
			if c.have>>n&1 != 0 {
				have++
				size += d.layout.blockLen(p.key.version.Value(), i)
			}
			verified += int(c.verified >> n & 1)
		}
		if have != p.have || verified != p.verified || verified > have || size != p.bytes || p.dead {
			t.Errorf("part %d: %d blocks, %d verified, %d bytes counted; noted %+v", p.id, have, verified, size, p)
		}
		bytes, blocks, memory = bytes+size, blocks+int64(have), memory+p.memory()
	}
	if bytes > d.mu.bytes || blocks != d.mu.blocks || memory != d.mu.memory {
		t.Errorf("%d bytes, %d blocks, %d memory counted; %d, %d, %d noted", bytes, blocks, memory, d.mu.bytes, d.mu.blocks, d.mu.memory)
	}
	if d.mu.bytes > d.o.SizeBytes {
		t.Errorf("%d bytes on disk, limit %d", d.mu.bytes, d.o.SizeBytes)
	}
}

// forget empties the memory.
func (b *Blocks) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.memory.evictOldest() {
	}
}

// fetched says what a store was asked for since, and forgets it.
func (s *store) fetched() string {
	s.mu.Lock()
	slices.SortFunc(s.mu.calls, func(a, b call) int {
		return 2*strings.Compare(a.v.Key, b.v.Key) + int(min(max(a.off-b.off, -1), 1))
	})
	s.mu.Unlock()
	out := s.ranges()
	s.mu.Lock()
	s.mu.calls = nil
	s.mu.Unlock()
	return out
}

// lines collects what is logged.
type lines struct {
	mu struct {
		sync.Mutex
		b bytes.Buffer
	}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.b.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.mu.b.String()), "\n")
}
