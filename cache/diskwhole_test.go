package cache

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

func wantWhole(t testing.TB, d *Disk, v Version, want bool) *Whole {
	t.Helper()
	w, ok := d.Whole(v)
	if ok != want {
		t.Fatalf("whole: %v, want %v", ok, want)
	}
	if !ok {
		return nil
	}
	t.Cleanup(w.Close)
	sameFile(t, w, v)
	return w
}

// sameFile reads all that the descriptor shows.
func sameFile(t testing.TB, w *Whole, v Version) {
	t.Helper()
	p := make([]byte, v.Size+1)
	n, err := unix.Pread(w.Fd(), p, 0)
	if err != nil || !bytes.Equal(p[:n], contents(v, 0, v.Size)) {
		t.Errorf("%s: %d bytes of the file, %v", v.Key, n, err)
	}
}

func TestWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := openTest(t, dir)
		s := &store{}
		b := over(t, d, 2000, s)
		v := object("o", 100*testBlock+3)
		wantWhole(t, d, v, false)
		read(t, b, v, 0, 50*testBlock)
		synctest.Wait()
		wantWhole(t, d, v, false)
		read(t, b, v, 50*testBlock, 60*testBlock)
		synctest.Wait()
		w := wantWhole(t, d, v, true) // written now: known without reading
		w.Close()
		w.Close()
		wantWhole(t, d, object("empty", 0), false)
		wantWhole(t, d, object("large", testDisk/4+1), false)
		closeBlocks(t, b)
		closeDisk(t, d)
		wantWhole(t, d, v, false)

		d = openTest(t, dir)
		read(t, over(t, d, 2000, s), v, 0, 40*testBlock) // verified in passing
		before := d.Stats().ReadBytes
		wantWhole(t, d, v, false)
		if w, ok := d.Whole(v); ok { // it has been verified meanwhile
			w.Close()
		}
		synctest.Wait()
		wantWhole(t, d, v, true)
		if got := d.Stats().ReadBytes - before; got != v.Size-40*testBlock {
			t.Errorf("%d bytes read to verify", got)
		}
	})
}

// What the verification finds broken is fetched again before the object is whole.
func TestWholeOfABrokenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := openTest(t, dir)
		s := &store{}
		b := over(t, d, 2000, s)
		v := object("o", 100*testBlock)
		read(t, b, v, 0, int(v.Size))
		closeBlocks(t, b)
		closeDisk(t, d)
		flip(t, files(t, dir)[0], 70*testBlock+1)
		s.fetched()

		d = openTest(t, dir)
		b = over(t, d, 2000, s)
		wantWhole(t, d, v, false)
		synctest.Wait()
		wantWhole(t, d, v, false)
		if d.Missing(v) != testBlock || d.Stats().Corrupt != 1 {
			t.Errorf("missing %d, %+v", d.Missing(v), d.Stats())
		}
		read(t, b, v, 0, int(v.Size))
		synctest.Wait()
		wantFetched(t, s, "71680+1024")
		wantWhole(t, d, v, true) // the rest was verified as it was read
	})
}

// A file that is held is not evicted, not mended in place, and keeps its bytes when it is unlinked.
func TestHeldWholeStays(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir)
	s := &store{}
	b := over(t, d, 4000, s)
	v := object("o", 100*testBlock)
	read(t, b, v, 0, int(v.Size))
	d.drain(t)
	w := wantWhole(t, d, v, true)
	for i := range 20 {
		read(t, b, object(fmt.Sprint("other", i), 100*testBlock), 0, 100*testBlock)
		d.drain(t)
	}
	if d.Missing(v) != 0 {
		t.Error("evicted while held")
	}
	b.forget()
	s.fetched()
	d.mu.Lock()
	p, _ := d.findLocked(v, keyOf(v), 0)
	d.mu.Unlock()
	flip(t, d.path(p.id), 3*testBlock)
	read(t, b, v, 0, int(v.Size)) // finds it broken: a new file
	d.drain(t)
	if st := d.Stats(); st.Corrupt != 1 || d.Missing(v) == 0 {
		t.Errorf("%+v, %d missing", st, d.Missing(v))
	}
	bytes := d.Stats().Bytes
	flip2 := make([]byte, 1)
	if _, err := unix.Pread(w.Fd(), flip2, 3*testBlock); err != nil || flip2[0] == contents(v, 3*testBlock, 1)[0] {
		t.Errorf("the held file changed (%v)", err)
	}
	w.Close()
	if got := d.Stats().Bytes; got != bytes-v.Size-partCharge {
		t.Errorf("%d bytes after Close, %d before", got, bytes)
	}
}

func TestVerificationEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := openTest(t, dir)
		b := over(t, d, 4000, &store{})
		for i := range 3 {
			read(t, b, object(fmt.Sprint(i), 200*testBlock), 0, 200*testBlock)
		}
		closeBlocks(t, b)
		closeDisk(t, d)
		d = openTest(t, dir)
		gate := make(chan struct{})
		reads := 0
		d.preadv = func(fd int, iovs [][]byte, off int64) (int, error) {
			reads++
			<-gate
			return unix.Preadv(fd, iovs, off)
		}
		for i := range 3 {
			wantWhole(t, d, object(fmt.Sprint(i), 200*testBlock), false)
		}
		synctest.Wait()
		if reads != 1 {
			t.Errorf("%d files verified at once", reads)
		}
		closed := make(chan error)
		go func() { closed <- d.Close(background) }()
		synctest.Wait()
		close(gate)
		if err := <-closed; err != nil || reads != 1 {
			t.Errorf("%v, %d reads", err, reads)
		}
	})
}
