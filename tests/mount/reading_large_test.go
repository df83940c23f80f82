package mount

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// large mounts a bucket with one object, whose attributes are known already.
func large(t *testing.T, size int, options ...testenv.Option) (content []byte, l *ledger, m *testenv.MountPoint, path string) {
	t.Helper()
	content = noise(7, size)
	_, _, l, m = watched(t, map[string][]byte{"large": content}, append([]testenv.Option{testenv.TTL(unhurried)}, options...)...)
	path = m.Path("large")
	return content, l, m, path
}

// known lets the mount learn a file's attributes, so that what is counted afterwards is reading alone.
func known(t *testing.T, l *ledger, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	l.tally(t)
}

// readAt reads one range with pread.
func readAt(t *testing.T, f *os.File, content []byte, off, n int) {
	t.Helper()
	p := make([]byte, n)
	if got, err := f.ReadAt(p, int64(off)); err != nil {
		t.Errorf("read at %d: %d bytes, %v", off, got, err)
	} else if !bytes.Equal(p, content[off:off+n]) {
		t.Errorf("wrong bytes at %d", off)
	}
}

// forgetPages takes a file's pages out of the kernel's cache.
func forgetPages(t *testing.T, path string) {
	t.Helper()
	f := open(t, path, os.O_RDONLY)
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
}

func TestAFileUpToFourMebibytesComesInOneGet(t *testing.T) {
	for _, size := range []int{1, 100_000, 1 << 20, 1<<20 + 1, 3<<20 + 17, 4 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			content, l, _, path := large(t, size)
			sameBytes(t, "the file", read(t, path), content)
			peek := min(1, size/(128<<10+1))
			if c := l.tally(t); c.gets > 1+peek || c.bytes != int64(size) || c.heads > 0 {
				t.Errorf("%v%s", c, c.page())
			}
		})
	}
}

func TestReadingOnEndFetchesEachByteOnceAndMuchAtOnce(t *testing.T) {
	content, l, _, path := large(t, 64<<20)
	l.delay(20 * time.Millisecond)
	sameBytes(t, "the file", read(t, path), content)
	c := l.tally(t)
	t.Log(c)
	if c.bytes != int64(len(content)) || c.twice > 0 || c.gets > 64+8 || c.most < 4 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestCopyingFetchesEachByteOnce(t *testing.T) {
	content, l, m, _ := large(t, 33<<20+4321)
	to := join(t.TempDir(), "copy")
	for _, copied := range []string{"cp large " + to, "cat large > " + to, "dd if=large of=" + to + " bs=4k status=none"} {
		sh(t, m.Dir, copied)
		sameBytes(t, copied, read(t, to), content)
		c := l.tally(t)
		if c.bytes != int64(len(content)) && c.bytes != 0 || c.twice > 0 {
			t.Errorf("%s: %v%s", copied, c, c.page())
		}
	}
}

func TestRandomReadsFetchOneBlockEach(t *testing.T) {
	const reads, readers, unit = 500, 4, 4 << 10
	for name, grain := range map[string]int64{"aligned": unit, "not aligned": 1} {
		t.Run(name, func(t *testing.T) {
			content, l, _, path := large(t, 64<<20)
			known(t, l, path)
			var reading sync.WaitGroup
			for i := range readers {
				reading.Go(func() {
					f, err := os.Open(path)
					if err != nil {
						t.Error(err)
						return
					}
					defer f.Close()
					random := rand.New(rand.NewPCG(uint64(i), 4))
					for range reads / readers {
						readAt(t, f, content, int(random.Int64N(int64(len(content)-unit)/grain)*grain), unit)
					}
				})
			}
			reading.Wait()
			c := l.tally(t)
			t.Logf("%v: %.1f a byte asked", c, float64(c.bytes)/(reads*unit))
			if c.gets > reads || c.bytes > 9*reads*unit {
				t.Errorf("%v%s", c, c.page())
			}
		})
	}
}

func TestRandomReadsOfTwoBlocksFetchLittleMore(t *testing.T) {
	const reads, unit = 100, 128 << 10
	for name, test := range map[string]struct {
		shift int
		most  float64
	}{"aligned": {0, 1.3}, "not aligned": {12345, 1.35}} {
		t.Run(name, func(t *testing.T) {
			content, l, _, path := large(t, 64<<20)
			known(t, l, path)
			f := open(t, path, os.O_RDONLY)
			for _, i := range rand.New(rand.NewPCG(9, 9)).Perm(len(content)/unit - 1)[:reads] {
				readAt(t, f, content, i*unit+test.shift, unit)
			}
			c := l.tally(t)
			factor := float64(c.bytes) / (reads * unit)
			t.Logf("%v: %.2f a byte asked", c, factor)
			if factor > test.most {
				t.Errorf("%v%s", c, c.page())
			}
		})
	}
}

func TestReadingBackwardFetchesLittleMore(t *testing.T) {
	const unit = 64 << 10
	content, l, _, path := large(t, 24<<20)
	known(t, l, path)
	f := open(t, path, os.O_RDONLY)
	for off := len(content) - unit; off >= 0; off -= unit {
		readAt(t, f, content, off, unit)
	}
	c := l.tally(t)
	t.Log(c)
	if c.bytes > int64(len(content))*3/2 || c.gets > 24<<20/unit/2 {
		t.Errorf("%v%s", c, c.page())
	}
}

// Who reads the last half backward and stops has not paid for the first half.
func TestReadingBackwardSomeOfAFileFetchesLittleMore(t *testing.T) {
	const unit, asked = 64 << 10, 8 << 20
	content, l, _, path := large(t, 64<<20)
	known(t, l, path)
	f := open(t, path, os.O_RDONLY)
	for off := len(content) - unit; off >= len(content)-asked; off -= unit {
		readAt(t, f, content, off, unit)
	}
	c := l.tally(t)
	t.Log(c)
	if c.bytes > asked*3/2+16<<20 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestReadingInStridesFetchesLittleMore(t *testing.T) {
	const unit, stride = 128 << 10, 1 << 20
	content, l, _, path := large(t, 96<<20)
	known(t, l, path)
	f := open(t, path, os.O_RDONLY)
	asked := int64(0)
	for off := 0; off < len(content); off += stride {
		readAt(t, f, content, off, unit)
		asked += unit
	}
	closed(t, f)
	c := l.tally(t)
	t.Logf("%v of %d", c, asked)
	if c.bytes > asked*3/2+4<<20 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestManyReadersOfOneColdBlockCostOneGet(t *testing.T) {
	const block, page, at = 32 << 10, 4 << 10, 33 << 20
	content, l, _, path := large(t, 64<<20)
	known(t, l, path)
	l.delay(200 * time.Millisecond)
	var reading sync.WaitGroup
	for i := range 100 {
		f := open(t, path, os.O_RDONLY)
		// The kernel itself joins readers of one page, and reads on where pages follow each other.
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
			t.Fatal(err)
		}
		reading.Go(func() { readAt(t, f, content, at+i*page%block, page) })
	}
	reading.Wait()
	if c := l.tally(t); c.gets != 1 || c.bytes != block {
		t.Errorf("%v%s", c, c.page())
	}
}

// mapped maps a file for reading until the test's end.
func mapped(t *testing.T, path string, size int) []byte {
	t.Helper()
	f := open(t, path, os.O_RDONLY)
	p, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	t.Cleanup(func() {
		if err := unix.Munmap(p); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestReadingThroughAMappingFetchesEachByteOnce(t *testing.T) {
	content, l, _, path := large(t, 33<<20+77)
	sameBytes(t, "the mapping", peek(t, mapped(t, path, len(content))), content)
	c := l.tally(t)
	t.Log(c)
	if c.bytes != int64(len(content)) || c.twice > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestRandomReadsThroughAMappingFetchNoByteTwice(t *testing.T) {
	content, l, _, path := large(t, 64<<20)
	known(t, l, path)
	p := mapped(t, path, len(content))
	random := rand.New(rand.NewPCG(3, 3))
	const reads = 50
	for range reads {
		if i := random.IntN(len(content)); peek(t, p[i:i+1])[0] != content[i] {
			t.Errorf("wrong byte at %d", i)
		}
	}
	c := l.tally(t)
	t.Logf("%v: %d KiB a byte", c, c.bytes/reads>>10)
	if c.twice > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}

// onBlocks is memory for O_DIRECT.
func onBlocks(n int) []byte {
	p := make([]byte, n+4096)
	return p[(4096-int(uintptr(unsafe.Pointer(&p[0]))%4096))%4096:][:n]
}

func TestDirectReadsAskTheStoreEachTimeAndKeepNothing(t *testing.T) {
	const unit, at = 64 << 10, 1 << 20
	content, l, _, path := large(t, 8<<20)
	known(t, l, path)
	f := open(t, path, os.O_RDONLY|unix.O_DIRECT)
	for range 3 {
		p := onBlocks(unit)
		if n, err := f.ReadAt(p, at); n != unit || err != nil {
			t.Fatal(n, err)
		}
		sameBytes(t, "read past the caches", p, content[at:at+unit])
		if c := l.tally(t); c.gets != 1 || c.bytes != unit {
			t.Errorf("%v%s", c, c.page())
		}
	}
	p := onBlocks(unit)
	if n, err := f.ReadAt(p, int64(len(content))-unit/2); n != unit/2 || err != nil && err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	l.tally(t)
	readAt(t, open(t, path, os.O_RDONLY), content, at, unit)
	if c := l.tally(t); c.gets != 1 || c.bytes < unit {
		t.Errorf("it was kept: %v%s", c, c.page())
	}
}
