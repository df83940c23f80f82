package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unique"
)

// Another store, block size or format: nothing of it is used, and its files are gone.
func TestDiskOfAnotherKindIsEmptied(t *testing.T) {
	for name, change := range map[string]func(o *DiskOptions){
		"store":  func(o *DiskOptions) { o.Store = "other" },
		"block":  func(o *DiskOptions) { o.BlockBytes = 2 * testBlock },
		"no log": func(o *DiskOptions) { os.Remove(filepath.Join(o.Dir, logName)) },
		"format": func(o *DiskOptions) {
			p := filepath.Join(o.Dir, logName)
			b, _ := os.ReadFile(p)
			os.WriteFile(p, bytes.Replace(b, []byte(logFormat), []byte("pailfs disk cache 9"), 1), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			foreign := filepath.Join(dir, "photo.jpg")
			if err := os.WriteFile(foreign, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			d := openTest(t, dir)
			b := over(t, d, 100, &store{})
			read(t, b, object("o", 5000), 0, 5000)
			closeBlocks(t, b)
			closeDisk(t, d)
			if n := len(files(t, dir)); n != 1 {
				t.Fatalf("%d files", n)
			}
			d = openTest(t, dir, change)
			if st := d.Stats(); st.Bytes != 0 || st.Files != 0 || st.IndexBytes != 0 {
				t.Errorf("%+v", st)
			}
			if left := files(t, dir); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			if _, err := os.Stat(foreign); err != nil {
				t.Error(err)
			}
		})
	}
}

// filledLog returns a directory whose log has records of all kinds, and the versions in it.
func filledLog(t *testing.T) (dir string, versions []Version) {
	t.Helper()
	dir = t.TempDir()
	clock := time.Unix(1e9, 0)
	d := openTest(t, dir, func(o *DiskOptions) { o.Now = func() time.Time { return clock } })
	s := &store{}
	b := over(t, d, 2000, s)
	for i := range 5 {
		v := object(fmt.Sprint("o", i), int64(1+i)*1500)
		versions = append(versions, v)
		read(t, b, v, 0, int(v.Size))
		d.drain(t)
	}
	b.forget()
	clock = clock.Add(time.Hour)
	read(t, b, versions[1], 0, 10)
	d.mu.Lock()
	gone, _ := d.mu.parts.Peek(partKey{unique.Make(versions[0]), 0})
	d.dropLocked(gone)
	d.mu.Unlock()
	d.unlink(gone)
	read(t, b, object("last", 10), 0, 10)
	d.drain(t)
	return dir, append(versions, object("last", 10))
}

// A log that is cut anywhere, or has a byte flipped anywhere: what stands before counts, the rest is fetched; nothing
// but right bytes is ever read, and all files are named by a record again.
func TestBrokenLog(t *testing.T) {
	dir, versions := filledLog(t)
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	before := make(map[string]int64) // missing bytes with a log cut here must never grow with its length, but for drops
	try := func(name string, broken []byte) {
		again := t.TempDir()
		copyDir(t, dir, again)
		if err := os.WriteFile(filepath.Join(again, logName), broken, 0o600); err != nil {
			t.Fatal(err)
		}
		d := openTest(t, again)
		d.check0(t)
		if n := int64(len(files(t, again))); n != d.Stats().Files {
			t.Errorf("%s: %d files, %d in the index", name, n, d.Stats().Files)
		}
		s := &store{}
		b := over(t, d, 2000, s)
		for _, v := range versions {
			before[v.Key] += d.Missing(v)
			read(t, b, v, 0, int(v.Size))
		}
		if st := d.Stats(); st.Corrupt != 0 {
			t.Errorf("%s: %+v", name, st)
		}
		closeBlocks(t, b)
		closeDisk(t, d)
		os.RemoveAll(again)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 0; n <= len(log); n += step {
		try(fmt.Sprintf("cut at %d of %d", n, len(log)), log[:n])
	}
	for n := 0; n < len(log); n += 5 {
		b := bytes.Clone(log)
		b[n] ^= 0x10
		try(fmt.Sprintf("flipped at %d of %d", n, len(log)), b)
	}
	if before["o4"] == 0 || before["last"] == 0 {
		t.Error("no cut lost anything")
	}
}

// After a break the log goes on: what is written then is there at the next open.
func TestLogGoesOnAfterATornTail(t *testing.T) {
	dir, versions := filledLog(t)
	again := t.TempDir()
	copyDir(t, dir, again)
	path := filepath.Join(again, logName)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, st.Size()-5); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d := openTest(t, again)
		b := over(t, d, 2000, &store{})
		for _, v := range versions {
			read(t, b, v, 0, int(v.Size))
		}
		closeBlocks(t, b)
		closeDisk(t, d)
	}
	d := openTest(t, again)
	for _, v := range versions {
		if n := d.Missing(v); n != 0 {
			t.Errorf("%s: %d bytes missing", v.Key, n)
		}
	}
}

func TestFilesAndRecordsThatMissEachOther(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir)
	b := over(t, d, 2000, &store{})
	one, two := object("one", 5000), object("two", 5000)
	read(t, b, one, 0, 5000)
	d.drain(t)
	gone := files(t, dir)[0]
	read(t, b, two, 0, 5000)
	closeBlocks(t, b)
	closeDisk(t, d)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(filepath.Dir(gone), fmt.Sprintf("%016x", 0x7700+1))
	other := filepath.Join(filepath.Dir(gone), "notes.txt")
	for _, p := range []string{stray, other} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d = openTest(t, dir)
	if d.Missing(one) != 5000 || d.Missing(two) != 0 || d.Stats().Files != 1 {
		t.Errorf("%d and %d missing, %+v", d.Missing(one), d.Missing(two), d.Stats())
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("a file without a record is left")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("a file that is none of ours was removed")
	}
}

// The index is as small as the package text says.
func TestIndexBytes(t *testing.T) {
	const blocks = 1 << 30 / defaultBlockBytes
	p := newPart(partKey{keyOf(object("o", 1<<30)), 0}, 1, 0, blocks)
	x := newIndex()
	x.addLocked(p)
	for i := range int64(blocks) {
		x.gainLocked(p, i, defaultBlockBytes, 1, true)
	}
	if x.memory < 145_000 || x.memory > 155_000 || x.memory != p.memory() {
		t.Errorf("%d bytes of index for 1 GiB", x.memory)
	}
}
