package journal

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// lender lends memory in odd pieces, and overwrites what it gets back.
type lender struct {
	mu struct {
		sync.Mutex
		lent, most int
		refuse     bool
	}
}

func (l *lender) lend(n int) (pieces [][]byte, back func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.refuse {
		return nil, nil, false
	}
	l.mu.lent += n
	l.mu.most = max(l.mu.most, l.mu.lent)
	for left, size := n, 1000; left > 0; size *= 3 {
		p := bytes.Repeat([]byte{0xDB}, min(size, left))
		pieces = append(pieces, p)
		left -= len(p)
	}
	return pieces, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mu.lent -= n
		for _, p := range pieces {
			for i := range p {
				p[i] = 0xDB
			}
		}
	}, true
}

func (l *lender) inUse() (lent, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.lent, l.mu.most
}

// open opens a journal that borrows.
func (l *lender) open(t *testing.T, dir string, most int64) *Journal {
	j := openUntended(t, Options{Dir: dir, MemoryBytes: -1, Hooks: Hooks{LentBytes: 2 * checkBytes}})
	j.BorrowFrom(l.lend, most)
	return j
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stat is what the spool's file has on the disk.
func stat(t *testing.T, s *Spool) (size, onDisk int64) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(s.Name(), &st))
	return st.Size, st.Blocks * 512
}

func fresh(t *testing.T, j *Journal) *Spool {
	t.Helper()
	s, err := j.NewSpool()
	must(t, err)
	return s
}

func append1(t *testing.T, s *Spool, n int, b byte) {
	t.Helper()
	size, err := s.length()
	must(t, err)
	_, err = s.WriteAt(bytes.Repeat([]byte{b}, n), size)
	must(t, err)
}

// What is appended from the given offset on is in memory, within the bound, and what has no room there is in the file. What
// is given away gives its memory back, and the next bytes have it.
func TestWhatPassesIsInMemory(t *testing.T) {
	l := &lender{}
	j := l.open(t, memoryDir(t), 4*checkBytes)
	s := fresh(t, j)
	append1(t, s, 3*checkBytes, 'a')
	s.Pass(3 * checkBytes)
	append1(t, s, 3*checkBytes, 'b') // one block of them in the file, beside what is there
	if size, _ := stat(t, s); size != 4*checkBytes {
		t.Errorf("the file has %d bytes", size)
	}
	append1(t, s, 4*checkBytes, 'c') // half of them have no room
	if size, _ := stat(t, s); size != 10*checkBytes {
		t.Errorf("the file has %d bytes", size)
	}
	if most, free := j.Lending(); most != 4*checkBytes || free != 0 || j.Stats().LentBytes != most {
		t.Errorf("%d of %d free", free, most)
	}
	checkBytesAre(t, s, "aaabbbcccc")
	must(t, s.Release(4*checkBytes, 3*checkBytes))
	if lent, _ := l.inUse(); lent != 2*checkBytes {
		t.Errorf("%d bytes are lent", lent)
	}
	if _, err := s.ReadAt(make([]byte, 1), 6*checkBytes); !errors.Is(err, ErrReleased) {
		t.Errorf("read of what was given away: %v", err)
	}
	must(t, s.Release(7*checkBytes, checkBytes))
	append1(t, s, checkBytes, 'd')
	if size, _ := stat(t, s); size != 10*checkBytes {
		t.Errorf("the file has %d bytes", size)
	}
	if lent, most := l.inUse(); lent != 2*checkBytes || most != 4*checkBytes {
		t.Errorf("%d bytes lent, %d at once", lent, most)
	}
	s.Pass(math.MaxInt64)
	append1(t, s, 2*checkBytes, 'e')
	if lent, _ := l.inUse(); lent != 2*checkBytes {
		t.Errorf("%d bytes are lent", lent)
	}
	must(t, s.Discard())
	if lent, _ := l.inUse(); lent != 0 {
		t.Errorf("%d bytes are lent after the end", lent)
	}
}

// checkBytesAre reads blocks of one letter each.
func checkBytesAre(t *testing.T, s *Spool, want string) {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(s, 0, int64(len(want))*checkBytes))
	must(t, err)
	for i := range want {
		block := got[i*checkBytes : (i+1)*checkBytes]
		if bytes.Count(block, []byte{want[i]}) != checkBytes {
			t.Errorf("block %d is %q..., not %q", i, block[:10], want[i])
		}
	}
	if len(got) != len(want)*checkBytes {
		t.Errorf("%d bytes", len(got))
	}
}

// A lender who has nothing to spare costs a file, not an error, and is asked again.
func TestALenderWhoRefuses(t *testing.T) {
	l := &lender{}
	l.mu.refuse = true
	j := l.open(t, memoryDir(t), 1<<30)
	s := fresh(t, j)
	s.Pass(0)
	append1(t, s, 2*checkBytes, 'a')
	if most, free := j.Lending(); most != 1<<30 || free != 0 {
		t.Errorf("%d of %d free", free, most)
	}
	l.mu.refuse = false
	append1(t, s, 2*checkBytes, 'b')
	if _, free := j.Lending(); free != 1<<30-2*checkBytes || !s.HasLent() {
		t.Errorf("%d free", free)
	}
	checkBytesAre(t, s, "aabb")
	must(t, s.Discard())
}

// A kept spool is in its file, all of it, and the next run finds it.
func TestWhatPassesIsKept(t *testing.T) {
	l, dir := &lender{}, memoryDir(t)
	j := l.open(t, dir, 1<<30)
	s := fresh(t, j)
	s.Pass(0)
	append1(t, s, 5*checkBytes, 'x')
	append1(t, s, 100, 'y')
	must(t, s.PunchHole(checkBytes, checkBytes))
	size := int64(5*checkBytes + 100)
	must(t, s.PunchHole(size-50, 50)) // its end is a hole
	must(t, j.Keep(s, Pending{Bucket: "b", Key: "k", Size: size, Dirty: []Range{{Off: 0, Len: size}}}))
	if onDisk, _ := stat(t, s); onDisk != size || s.HasLent() {
		t.Errorf("the file has %d bytes, %v", onDisk, s.HasLent())
	}
	append1(t, s, 3*checkBytes, 'z') // in memory again, and no part of what was kept
	killed, err := os.ReadFile(s.Name())
	must(t, err)
	if int64(len(killed)) > size+int64(2*checkBytes) {
		t.Errorf("%d bytes in the file", len(killed))
	}
	must(t, j.Close())
	j = openUntended(t, Options{Dir: dir})
	all := pendings(t, j)
	if len(all) != 1 {
		t.Fatalf("found %v", all)
	}
	s, err = all[0].Open()
	must(t, err)
	want := slices.Concat(bytes.Repeat([]byte{'x'}, checkBytes), make([]byte, checkBytes), bytes.Repeat([]byte{'x'}, 3*checkBytes),
		bytes.Repeat([]byte{'y'}, 50), make([]byte, 50))
	got := make([]byte, size)
	if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was kept differs, %v", err)
	}
	must(t, s.Discard())
}

// What memory has is held against its checks on the way to the file.
func TestWhatPassesIsCheckedWhenItIsKept(t *testing.T) {
	l := &lender{}
	j := l.open(t, memoryDir(t), 1<<30)
	s := fresh(t, j)
	s.Pass(0)
	append1(t, s, 2*checkBytes, 'x')
	s.mu.f.mu.lent[0].Pieces[0][10]++
	if err := s.Sync(); !errors.Is(err, ErrDamaged) {
		t.Errorf("sync: %v", err)
	}
	must(t, s.Discard())
}

// Whoever reads has the memory until he is done, also when the spool ends meanwhile.
func TestReadersBesideTheEnd(t *testing.T) {
	for range 50 {
		l := &lender{}
		j := l.open(t, memoryDir(t), 1<<30)
		s := fresh(t, j)
		s.Pass(0)
		append1(t, s, 8*checkBytes, 'x')
		var readers sync.WaitGroup
		for i := range 4 {
			readers.Go(func() {
				b := make([]byte, checkBytes)
				for off := int64(i) * checkBytes; ; off = (off + checkBytes) % (8 * checkBytes) {
					_, err := s.ReadAt(b, off)
					if errors.Is(err, os.ErrClosed) || errors.Is(err, ErrReleased) {
						return
					}
					if err != nil || bytes.Count(b, []byte{'x'}) != len(b) {
						t.Errorf("read %q, %v", b[:10], err)
						return
					}
				}
			})
		}
		must(t, s.Release(2*checkBytes, 2*checkBytes))
		must(t, s.Discard())
		readers.Wait()
		must(t, j.Close())
	}
}

// What is in memory is read, changed, cut and given away as if it were in the file, whatever of it is where.
func TestAnyChangesOfWhatPasses(t *testing.T) {
	for name, most := range map[string]int64{"enough": 1 << 30, "too little": 4 * checkBytes} {
		t.Run(name, func(t *testing.T) {
			l := &lender{}
			j := l.open(t, memoryDir(t), most)
			rapid.Check(t, func(t *rapid.T) {
				checkSpoolWith(t, j, func(s *Spool) {
					s.Pass(int64(rapid.SampledFrom([]int{0, 1, checkBytes, 5 * checkBytes}).Draw(t, "pass")))
				})
			})
			rapid.Check(t, func(t *rapid.T) { checkReleasesWith(t, j, func(s *Spool) { s.Pass(0) }) })
			if lent, at := l.inUse(); lent != 0 || int64(at) > most || at == 0 {
				t.Errorf("%d bytes lent, %d at once", lent, at)
			}
		})
	}
}
