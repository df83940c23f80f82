package cache

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// A disk that is full before the tier is: files go, filling stops for a while, readers notice nothing.
func TestDiskFullForReal(t *testing.T) {
	dir := testenv.SmallDisk(t, 4<<20)
	synctest.Test(t, func(t *testing.T) {
		var out lines
		d := openTest(t, dir, func(o *DiskOptions) { o.SizeBytes, o.Log = 64<<20, out.logger() })
		s := &store{}
		b := over(t, d, 1000, s)
		fill := func(from, to int) {
			for i := from; i < to; i++ {
				v := object(fmt.Sprint(i), 200*testBlock)
				read(t, b, v, 0, int(v.Size))
				synctest.Wait()
				b.check(t)
			}
		}
		fill(0, 40) // 8 MiB
		st := d.Stats()
		if st.Paused == "" || st.Evicted == 0 || st.Skipped == 0 {
			t.Errorf("%+v", st)
		}
		if got := out.all(); len(got) != 1 || !strings.Contains(got[0], "no space left") {
			t.Errorf("logged %q", got)
		}
		d.mu.Lock()
		until := d.mu.until
		d.mu.Unlock()
		time.Sleep(time.Until(until))
		fill(100, 104) // there is room: some files went
		if st := d.Stats(); st.Paused != "" || d.Missing(object("103", 200*testBlock)) != 0 {
			t.Errorf("%+v", st)
		}
		s.fetched()
		b.forget()
		read(t, b, object("103", 200*testBlock), 0, 200*testBlock)
		wantFetched(t, s, "")
	})
}

// Below MinFreeBytes files go until it holds, also when others fill the disk and nothing is written here.
func TestMinFree(t *testing.T) {
	const size, free = 4 << 20, 2 << 20
	dir := testenv.SmallDisk(t, size)
	synctest.Test(t, func(t *testing.T) {
		var out lines
		d := openTest(t, dir, func(o *DiskOptions) { o.SizeBytes, o.MinFreeBytes, o.Log = 64<<20, free, out.logger() })
		b := over(t, d, 1000, &store{})
		left := func() int64 {
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			return int64(st.Bavail) * st.Bsize
		}
		for i := range 30 {
			v := object(fmt.Sprint(i), 200*testBlock)
			read(t, b, v, 0, int(v.Size))
			synctest.Wait()
			if left() < free {
				t.Fatalf("%d bytes left after %d objects", left(), i+1)
			}
		}
		if st := d.Stats(); st.Evicted == 0 || st.Files < 7 || st.Skipped != 0 {
			t.Errorf("%+v", st)
		}
		foreign := dir + "/foreign"
		if err := os.WriteFile(foreign, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		before := d.Stats().Files
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if st := d.Stats(); left() < free || st.Files >= before || st.Paused != "" {
			t.Errorf("%d bytes left, %+v", left(), st)
		}
		if err := os.WriteFile(foreign, make([]byte, 3<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if st := d.Stats(); st.Files != 0 || !strings.Contains(st.Paused, "free") {
			t.Errorf("%+v", st)
		}
		if got := out.all(); len(got) != 1 {
			t.Errorf("logged %q", got)
		}
	})
}
