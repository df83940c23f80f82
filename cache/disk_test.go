package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

func TestDiskServesWhatMemoryLost(t *testing.T) {
	const k = testBlock
	for _, c := range []struct {
		name    string
		size    int64
		warm    [][2]int64 // on disk
		off     int64
		n       int
		fetches string
		hits    int64
	}{
		{"all", 10 * k, [][2]int64{{0, 10 * k}}, 0, 10 * k, "", 10},
		{"one byte", 10 * k, [][2]int64{{3 * k, k}}, 3*k + 7, 1, "", 1},
		{"short last block", 2*k + 7, [][2]int64{{0, 3 * k}}, 0, 3 * k, "", 3},
		{"tiny object", 3, [][2]int64{{0, 3}}, 0, 3, "", 1},
		{"hole in the middle", 10 * k, [][2]int64{{0, 2 * k}, {5 * k, 5 * k}}, 0, 10 * k, "2048+3072", 7},
		{"around it", 10 * k, [][2]int64{{4 * k, 2 * k}}, 0, 10 * k, "0+4096 6144+4096", 2},
		{"nothing there", 10 * k, [][2]int64{{8 * k, k}}, 0, 4 * k, "0+4096", 0},
		{"longer than a flight", 200 * k, [][2]int64{{0, 200 * k}}, 0, 200 * k, "", 200},
		{"segments", 700 * k, [][2]int64{{100 * k, 300 * k}}, 90 * k, 320 * k, "92160+10240 409600+10240", 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openTest(t, t.TempDir())
			s := &store{}
			b := over(t, d, 2000, s)
			v := object("o", c.size)
			kept := v.Size
			for _, w := range c.warm {
				read(t, b, v, w[0], int(w[1]))
				kept -= min(w[1], v.Size-w[0])
			}
			d.drain(t)
			if got := d.Missing(v); got != kept {
				t.Errorf("missing %d, want %d", got, kept)
			}
			b.forget()
			s.fetched()
			read(t, b, v, c.off, c.n)
			wantFetched(t, s, c.fetches)
			if st := d.Stats(); st.Hits != c.hits || st.Corrupt != 0 {
				t.Errorf("%+v, want %d hits", st, c.hits)
			}
			d.drain(t)
			written := d.Stats().WrittenBytes
			b.forget()
			read(t, b, v, c.off, c.n) // now all of it is on disk, and is not written again
			d.drain(t)
			wantFetched(t, s, "")
			if d.Stats().WrittenBytes != written {
				t.Error("blocks from disk were written to it")
			}
		})
	}
}

func TestDiskSurvivesRestart(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			dir := t.TempDir()
			d := openTest(t, dir)
			s := &store{}
			b := over(t, d, 2000, s)
			v, large, empty := object("o", 20*testBlock+5), object("large", 400*testBlock), object("empty", 0)
			read(t, b, v, 0, int(v.Size))
			read(t, b, large, 100*testBlock, 100*testBlock)
			read(t, b, empty, 0, 10)
			d.drain(t)
			again := dir
			if crash { // what is there while the first one still runs
				again = t.TempDir()
				copyDir(t, dir, again)
			} else {
				closeBlocks(t, b)
				closeDisk(t, d)
			}
			before := d.Stats()
			d2 := openTest(t, again)
			d2.check0(t)
			if st := d2.Stats(); st.Bytes != before.Bytes || st.Files != 3 || st.IndexBytes != before.IndexBytes {
				t.Errorf("%+v, want %+v", st, before)
			}
			s.fetched()
			b2 := over(t, d2, 2000, s)
			read(t, b2, v, 0, int(v.Size))
			read(t, b2, large, 90*testBlock, 120*testBlock)
			wantFetched(t, s, "92160+10240 204800+10240")
		})
	}
}

func TestDiskHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir)
	_, err := OpenDisk(d.o)
	if !errors.Is(err, ErrDiskInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("%v", err)
	}
	closeDisk(t, d)
	openTest(t, dir)
}

func TestDiskOptionsAreChecked(t *testing.T) {
	open, linked, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.Mkdir(filepath.Join(open, ownDir), 0o755), os.Symlink(t.TempDir(), filepath.Join(linked, ownDir)), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []DiskOptions{
		{Dir: t.TempDir()},
		{Dir: t.TempDir(), SizeBytes: 15 * testBlock, BlockBytes: testBlock},
		{Dir: filepath.Join(file, "below"), SizeBytes: testDisk, BlockBytes: testBlock},
		{Dir: open, SizeBytes: testDisk, BlockBytes: testBlock},
		{Dir: linked, SizeBytes: testDisk, BlockBytes: testBlock},
		{Dir: file, SizeBytes: testDisk, BlockBytes: testBlock},
	} {
		if d, err := OpenDisk(o); err == nil {
			t.Errorf("%+v: no error", o)
			closeDisk(t, d)
		}
	}
}

func TestDiskModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	d := openTest(t, dir)
	b := over(t, d, 100, &store{})
	read(t, b, object("o", 5000), 0, 5000)
	d.drain(t)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := e.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[e.IsDir()]; err == nil && i.Mode().Perm() != want {
			t.Errorf("%s: %v", path, i.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEvictionIsInOrderOfUse(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			dir := t.TempDir()
			d := openTest(t, dir)
			s := &store{}
			b := over(t, d, 4000, s)
			var all []Version
			for i := range 8 { // 8 * 104 KiB of 1 MiB
				v := object(fmt.Sprint("o", i), 100*testBlock)
				all = append(all, v)
				read(t, b, v, 0, int(v.Size))
				d.drain(t)
			}
			b.forget()
			read(t, b, all[0], 0, 10)
			read(t, b, all[2], 0, 10)
			if restart {
				closeBlocks(t, b)
				closeDisk(t, d)
				d = openTest(t, dir)
				b = over(t, d, 4000, s)
			}
			for i := range 3 {
				read(t, b, object(fmt.Sprint("new", i), 100*testBlock), 0, 100*testBlock)
				d.drain(t)
			}
			for i, v := range all {
				if got, want := d.Missing(v) > 0, i == 1 || i == 3; got != want {
					t.Errorf("object %d evicted: %v", i, got)
				}
			}
			if st := d.Stats(); st.Evicted != 2 || st.Files != 9 || int(st.Files) != len(files(t, dir)) {
				t.Errorf("%+v with %d files", st, len(files(t, dir)))
			}
		})
	}
}

// A large object never takes the whole tier at once: its own segments go, the oldest first.
func TestLargeObjectsGoBySegments(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir)
	s := &store{}
	b := over(t, d, 4000, s)
	v := object("large", 3000*testBlock)
	for off := int64(0); off < v.Size; off += 50 * testBlock {
		read(t, b, v, off, 50*testBlock)
		d.drain(t)
	}
	st := d.Stats()
	if st.Evicted == 0 || st.Files != 8 { // of 132 KiB, the last one 60
		t.Errorf("%+v", st)
	}
	if d.Missing(v) != 3000*testBlock-(7*128+(3000-23*128))*testBlock {
		t.Errorf("missing %d", d.Missing(v))
	}
	if _, ok := d.Whole(v); ok {
		t.Error("segments are whole")
	}
	b.forget()
	s.fetched()
	read(t, b, v, v.Size-600*testBlock, 600*testBlock)
	wantFetched(t, s, "")
}

func TestLessRoomAtTheNextOpen(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir)
	b := over(t, d, 4000, &store{})
	small, large := object("small", 20*testBlock), object("large", 200*testBlock)
	read(t, b, large, 0, 200*testBlock)
	read(t, b, small, 0, 20*testBlock)
	closeBlocks(t, b)
	closeDisk(t, d)
	d = openTest(t, dir, func(o *DiskOptions) { o.SizeBytes = testDisk / 8 })
	if d.Missing(small) != 0 || d.Missing(large) != 200*testBlock { // kept in segments now
		t.Errorf("%d and %d missing", d.Missing(small), d.Missing(large))
	}
	d.check0(t)
	if st := d.Stats(); st.Files != 1 || len(files(t, dir)) != 1 {
		t.Errorf("%+v", st)
	}
}

func TestDiskReadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openTest(t, t.TempDir())
		s := &store{}
		b := over(t, d, 200, s)
		v := object("o", 10*testBlock)
		read(t, b, v, 0, int(v.Size))
		d.drain(t)
		b.forget()
		s.fetched()
		gate := make(chan struct{})
		reads := 0
		d.preadv = func(fd int, iovs [][]byte, off int64) (int, error) {
			reads++
			<-gate
			return unix.Preadv(fd, iovs, off)
		}
		var all []*result
		for range 100 {
			all = append(all, viewing(b, background, v, 0, 3*testBlock))
		}
		synctest.Wait()
		close(gate)
		for _, r := range all {
			r.want(t, true, nil)
		}
		if reads != 1 || d.Stats().Hits != 3 {
			t.Errorf("%d reads, %+v", reads, d.Stats())
		}
		wantFetched(t, s, "")
	})
}
