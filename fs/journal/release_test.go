package journal

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

const mib = 1 << 20

// What was released is never read as zeros, whatever is done around it; all else is what was written.
func TestReleasedBytesAreNeverZeros(t *testing.T) {
	for name, o := range map[string]Options{"memory first": {}, "file": {MemoryBytes: -1}} {
		t.Run(name, func(t *testing.T) {
			o.Dir = memoryDir(t)
			j := openUntended(t, o)
			rapid.Check(t, func(t *rapid.T) { checkReleases(t, j) })
		})
	}
}

// releaseModel is a spool beside its bytes as numbers; one that was released is -1.
type releaseModel struct {
	s    *Spool
	want []int
}

func checkReleases(t *rapid.T, j *Journal) { checkReleasesWith(t, j, func(*Spool) {}) }

func checkReleasesWith(t *rapid.T, j *Journal, prepare func(*Spool)) {
	changedSpool(t, j, func(s *Spool) {
		prepare(s)
		m := &releaseModel{s: s}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) { m.write(t, m.place(t, "off")) }, "append": func(t *rapid.T) { m.write(t, len(m.want)) },
			"truncate": m.truncate, "punch": m.punch, "release": m.release,
			"read": func(t *rapid.T) { checkRead(t, s, m.want, m.place(t, "off"), m.length(t)) },
			"":     m.checkReleased,
		})
	})
}

func (m *releaseModel) place(t *rapid.T, label string) int {
	return rapid.Custom(func(t *rapid.T) int {
		return max(0, rapid.IntRange(0, 2).Draw(t, "block")*checkBytes+rapid.IntRange(-3, 3).Draw(t, "beside"))
	}).Draw(t, label)
}

func (m *releaseModel) length(t *rapid.T) int {
	return rapid.OneOf(rapid.IntRange(1, 10), rapid.IntRange(checkBytes-5, checkBytes+5), rapid.IntRange(1, checkBytes*3/2)).Draw(t, "n")
}

func (m *releaseModel) fit(size int) {
	if n := size - len(m.want); n > 0 {
		m.want = append(m.want, make([]int, n)...)
	}
}

func (m *releaseModel) fill(off, n, b int) {
	for i := off; i < min(off+n, len(m.want)); i++ {
		m.want[i] = b
	}
}

func (m *releaseModel) write(t *rapid.T, off int) {
	n, b := m.length(t), rapid.IntRange(1, 255).Draw(t, "byte")
	if _, err := m.s.WriteAt(bytes.Repeat([]byte{byte(b)}, n), int64(off)); err != nil {
		t.Fatal(err)
	}
	m.fit(off + n)
	m.fill(off, n, b)
}

func (m *releaseModel) truncate(t *rapid.T) {
	size := m.place(t, "size")
	if err := m.s.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	m.fit(size)
	m.want = m.want[:size]
}

func (m *releaseModel) punch(t *rapid.T) {
	off, n := m.place(t, "off"), m.length(t)
	if err := m.s.PunchHole(int64(off), int64(n)); err != nil {
		t.Fatal(err)
	}
	m.fill(off, n, 0)
}

func (m *releaseModel) release(t *rapid.T) {
	off, n := m.place(t, "off"), m.length(t)
	if err := m.s.Release(int64(off), int64(n)); err != nil {
		t.Fatal(err)
	}
	m.fill(off, n, -1)
}

// checkReleased compares what the spool says that was released.
func (m *releaseModel) checkReleased(t *rapid.T) {
	var gone []Range
	for i := 0; i < len(m.want); i++ {
		from := i
		for i < len(m.want) && m.want[i] < 0 {
			i++
		}
		if i > from {
			gone = append(gone, Range{Off: int64(from), Len: int64(i - from)})
		}
	}
	if !slices.Equal(gone, m.s.Released()) {
		t.Fatalf("released %v, want %v", m.s.Released(), gone)
	}
}

func checkRead(t *rapid.T, s *Spool, want []int, off, n int) {
	p := make([]byte, n)
	got, err := s.ReadAt(p, int64(off))
	expect := want[min(off, len(want)):min(off+n, len(want))]
	if slices.Contains(expect, -1) {
		if !errors.Is(err, ErrReleased) || got != 0 {
			t.Fatalf("read of released bytes %d+%d: %d, %v", off, n, got, err)
		}
		return
	}
	if err != nil && err != io.EOF || got != len(expect) {
		t.Fatalf("read %d+%d: %d, %v", off, n, got, err)
	}
	for i, b := range expect {
		if p[i] != byte(b) {
			t.Fatalf("byte %d is %d, want %d", off+i, p[i], b)
		}
	}
}

// Released bytes take no space, and a kept spool without them is no damage: the next run knows what it has not.
func TestReleasedBytesOfAKeptSpool(t *testing.T) {
	dir := memoryDir(t)
	j := openUntended(t, Options{Dir: dir})
	s := newSpool(t, j, strings.Repeat("x", 8*mib))
	if err := s.Release(mib, 6*mib); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(s.Name(), &st); err != nil || st.Blocks*512 > 3*mib {
		t.Fatalf("%d bytes on the disk, %v", st.Blocks*512, err)
	}
	if n := j.Stats().SpoolBytes; n != 2*mib {
		t.Errorf("the statistics say %d bytes", n)
	}
	p := Pending{Bucket: "b", Key: "k", Size: 8 * mib, Upload: "id", Dirty: []Range{{Off: 0, Len: mib}, {Off: 7 * mib, Len: mib}},
		Parts: []Part{{2, mib, 3 * mib, "e2"}, {3, 4 * mib, 4 * mib, "e3"}}}
	if err := j.Keep(s, p); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openUntended(t, Options{Dir: dir})
	all := pendings(t, j)
	if len(all) != 1 || all[0].Upload != "id" || !slices.Equal(all[0].Parts, p.Parts) {
		t.Fatalf("found %+v", all)
	}
	s, err := all[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	if want := []Range{{Off: mib, Len: 6 * mib}}; !slices.Equal(s.Released(), want) {
		t.Errorf("released %v, want %v", s.Released(), want)
	}
	b := make([]byte, mib)
	for _, off := range []int64{0, 7 * mib} {
		if _, err := s.ReadAt(b, off); err != nil || b[0] != 'x' || b[mib-1] != 'x' {
			t.Errorf("read at %d: %q %v", off, b[0], err)
		}
	}
	if _, err := s.ReadAt(b, 5*mib); !errors.Is(err, ErrReleased) {
		t.Errorf("read of what is not here: %v", err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsWithNonsenseOfParts(t *testing.T) {
	p := Pending{Bucket: "b", Key: "k", Size: 100, Upload: "id"}
	for name, parts := range map[string][]Part{
		"past the end": {{1, 50, 51, "e"}}, "no ETag": {{1, 0, 10, ""}}, "overlap": {{1, 0, 10, "e"}, {2, 9, 10, "f"}},
		"order": {{2, 0, 10, "e"}, {1, 10, 10, "f"}}, "empty": {{1, 0, 0, "e"}},
	} {
		if p.Parts = parts; p.check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	p.Parts = []Part{{1, 0, 10, "e"}, {2, 10, 90, "f"}}
	if err := p.check(); err != nil {
		t.Error(err)
	}
	if p.Upload = ""; p.check() == nil {
		t.Error("parts of no upload are taken")
	}
}

// A read beside a release gives the bytes or ErrReleased.
func TestReadsBesideARelease(t *testing.T) {
	j := openUntended(t, Options{Dir: memoryDir(t), MemoryBytes: -1})
	s := newSpool(t, j, strings.Repeat("x", 4*mib))
	done := make(chan error)
	go func() {
		b := make([]byte, 100)
		for i := 0; ; i++ {
			off := int64(i%4) * mib
			_, err := s.ReadAt(b, off)
			switch {
			case errors.Is(err, ErrReleased) && off == 3*mib:
				done <- nil
				return
			case err == nil && b[0] != 'x':
				done <- errors.New("zeros")
				return
			case err != nil && !errors.Is(err, ErrReleased):
				done <- err
				return
			}
		}
	}()
	for off := int64(0); off < 4*mib; off += checkBytes {
		if err := s.Release(off, checkBytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
}

// A long spool that is written on end gets its disk blocks ahead, a step at the most, and its bytes and size are what they
// are.
func TestBlocksAheadOfALongSpool(t *testing.T) {
	j := openUntended(t, Options{Dir: t.TempDir(), MemoryBytes: -1})
	s, err := j.NewSpool()
	if err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte("0123456789abcdef"), mib/16)
	const size = 20*mib + 16
	for off := int64(0); off < size; off += mib {
		if _, err := s.WriteAt(p[:min(mib, size-off)], off); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(s.Name(), &st); err != nil || st.Size != size || st.Blocks*512 > size+allocateStep+mib {
		t.Errorf("%d bytes, %d on the disk, %v", st.Size, st.Blocks*512, err)
	}
	got, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<40))
	if err != nil || len(got) != size || !bytes.Equal(got[:mib], p) || string(got[size-16:]) != "0123456789abcdef" {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if err := s.Truncate(mib); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(s.Name(), &st); err != nil || st.Blocks*512 > 2*mib {
		t.Errorf("%d bytes on the disk after a cut, %v", st.Blocks*512, err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
}
