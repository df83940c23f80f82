package mount

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"pailfs/tests/testenv"
)

const blockBytes = 32 << 10

// cached are the options of a mount with a disk cache.
func cached(dir, size string) testenv.Option {
	return testenv.Args("--cache-dir", dir, "--cache-size", size, "--cache-min-free", "0")
}

// inCache are the files below the cache's directory that are as long as an object.
func inCache(t *testing.T, dir string, objects map[string][]byte) (paths []string) {
	t.Helper()
	lengths := map[int64]bool{}
	for _, content := range objects {
		lengths[int64(len(content))] = true
	}
	walk(t, dir, func(path string, fi os.FileInfo) {
		if fi.Mode().IsRegular() && lengths[fi.Size()] {
			paths = append(paths, path)
		}
	})
	return paths
}

func walk(t *testing.T, dir string, visit func(path string, fi os.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			visit(path, fi)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// used is what a directory takes of its disk. Files may come and go meanwhile.
func used(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if fi, err := d.Info(); err == nil {
				n += fi.Sys().(*syscall.Stat_t).Blocks * 512
			}
		}
		return nil
	})
	return n
}

// flip damages one byte.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f := open(t, path, os.O_RDWR)
	p := make([]byte, 1)
	if _, err := f.ReadAt(p, at); err != nil {
		t.Fatal(err)
	}
	p[0] ^= 0x40
	if _, err := f.WriteAt(p, at); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
}

// readAll reads files and compares them.
func readAll(t *testing.T, m *testenv.MountPoint, objects map[string][]byte) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		sameBytes(t, name, read(t, m.Path(name)), objects[name])
	}
}

// onDisk brings what a slow disk has made the cache skip there too, and waits for it.
func onDisk(t *testing.T, m *testenv.MountPoint, all map[string][]byte) {
	t.Helper()
	warm := []string{"warm"}
	for name := range all {
		warm = append(warm, m.Path(name))
	}
	if out, code := m.Command(warm...); code != 0 {
		t.Fatalf("warm: %d\n%s", code, out)
	}
	eventually(t, "all is in the disk cache", func() bool { return status(t, m).Disk.Bytes >= total(all) })
}

func various() map[string][]byte {
	all := files("f", 20, 1<<20+17)
	all["big"] = noise(1, 40<<20+5)
	all["one"] = []byte("1")
	all["empty"] = nil
	return all
}

func TestTheDiskCacheOutlivesTheMount(t *testing.T) {
	all, dir := various(), t.TempDir()
	_, bucket, l, m := watched(t, all, cached(dir, "256MiB"))
	readAll(t, m, all)
	if c := l.tally(t); c.bytes != total(all) {
		t.Errorf("%v%s", c, c.page())
	}
	onDisk(t, m, all)
	m.Unmount()
	l.tally(t)
	m = mount(t, l.store, bucket, cached(dir, "256MiB"), testenv.At(m.Dir))
	readAll(t, m, all)
	if c := l.tally(t); c.gets > 0 {
		t.Errorf("mounted again: %v%s", c, c.page())
	}
}

func TestTheDiskCacheOutlivesACrash(t *testing.T) {
	all, dir := various(), t.TempDir()
	_, bucket, l, m := watched(t, all, cached(dir, "256MiB"))
	readAll(t, m, all)
	onDisk(t, m, all)
	m.Kill()
	l.tally(t)
	m = mount(t, l.store, bucket, cached(dir, "256MiB"), testenv.At(m.Dir))
	readAll(t, m, all)
	c := l.tally(t)
	t.Log(c)
	if c.twice > 0 || c.bytes > total(all) {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestAFileOfAnotherVersionIsNotTakenFromTheDiskCache(t *testing.T) {
	all, dir := files("f", 4, 1<<20), t.TempDir()
	s, bucket, l, m := watched(t, all, cached(dir, "256MiB"))
	readAll(t, m, all)
	m.Unmount()
	all["f001"] = noise(99, 1<<20)
	put(t, s, bucket, "f001", all["f001"])
	l.tally(t)
	m = mount(t, l.store, bucket, cached(dir, "256MiB"), testenv.At(m.Dir))
	readAll(t, m, all)
	if c := l.tally(t); c.bytes != 1<<20 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestDamagedBlocksOfTheDiskCacheAreFetchedAgain(t *testing.T) {
	all, dir := files("f", 20, 1<<20), t.TempDir()
	_, bucket, l, m := watched(t, all, cached(dir, "256MiB"))
	readAll(t, m, all)
	m.Unmount()
	l.tally(t)
	paths := inCache(t, dir, all)
	if len(paths) != len(all) {
		t.Fatalf("%d files in the cache: %q", len(paths), paths)
	}
	for i, path := range paths {
		flip(t, path, int64(i%16*blockBytes+100*i))
	}
	m = mount(t, l.store, bucket, cached(dir, "256MiB"), testenv.At(m.Dir))
	readAll(t, m, all)
	if c := l.tally(t); c.bytes != int64(len(all)*blockBytes) || c.twice > 0 || c.gets != len(all) {
		t.Errorf("%v%s", c, c.page())
	}
	m.Unmount()
	m = mount(t, l.store, bucket, cached(dir, "256MiB"), testenv.At(m.Dir))
	readAll(t, m, all)
	if c := l.tally(t); c.gets > 0 {
		t.Errorf("not mended: %v%s", c, c.page())
	}
}

func TestBlocksDamagedWhileMountedAreFetchedAgain(t *testing.T) {
	all, dir := files("f", 24, 1<<20), t.TempDir()
	_, _, l, m := watched(t, all, cached(dir, "256MiB"), testenv.Args("--memory", "8MiB"))
	readAll(t, m, all)
	onDisk(t, m, all)
	for _, path := range inCache(t, dir, all) {
		flip(t, path, 5*blockBytes+77)
	}
	before := status(t, m)
	l.tally(t)
	for name := range all {
		forgetPages(t, m.Path(name))
	}
	readAll(t, m, all)
	c, damaged := l.tally(t), status(t, m).Disk.Corrupt-before.Disk.Corrupt
	t.Logf("%v, %d damaged", c, damaged)
	if damaged < 12 || c.bytes != damaged*blockBytes {
		t.Errorf("%v, %d damaged%s", c, damaged, c.page())
	}
}

func TestADeletedCacheDirectoryStopsNobody(t *testing.T) {
	all, dir := files("f", 24, 1<<20), join(t.TempDir(), "cache")
	_, _, _, m := watched(t, all, cached(dir, "256MiB"), testenv.Args("--memory", "8MiB"),
		testenv.AllowLog("disk cache"))
	readAll(t, m, all)
	f := open(t, m.Path("f003"), os.O_RDONLY)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for name := range all {
			forgetPages(t, m.Path(name))
		}
		readAll(t, m, all)
	}
	readAt(t, f, all["f003"], 0, 1<<20)
}

func TestTwoMountsShareNoCacheDirectory(t *testing.T) {
	all, dir := files("f", 20, 1<<20), t.TempDir()
	_, bucket, l, m := watched(t, all, cached(dir, "256MiB"))
	other := mount(t, l.store, bucket, cached(dir, "256MiB"))
	var reading sync.WaitGroup
	for _, m := range []*testenv.MountPoint{m, other} {
		reading.Go(func() {
			for name, content := range all {
				if b, err := os.ReadFile(m.Path(name)); err != nil || string(b) != string(content) {
					t.Errorf("%s: %d bytes, %v", name, len(b), err)
				}
			}
		})
	}
	reading.Wait()
	for _, m := range []*testenv.MountPoint{m, other} {
		onDisk(t, m, all)
		m.Unmount()
	}
	if n := len(inCache(t, dir, all)); n != 2*len(all) {
		t.Errorf("%d files in the cache", n)
	}
}

func TestTheDiskCacheKeepsToItsSize(t *testing.T) {
	const size = 64 << 20
	all, dir := files("f", 96, 1<<20), t.TempDir()
	_, _, _, m := watched(t, all, cached(dir, "64MiB"), testenv.Args("--memory", "8MiB"))
	most := int64(0)
	for range 2 {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			sameBytes(t, name, read(t, m.Path(name)), all[name])
			most = max(most, used(dir))
		}
	}
	evicted := status(t, m).Disk.Evicted
	m.Unmount()
	// The index lies beside the data; a page or two of it is being written now and then.
	if most = max(most, used(dir)); most > size+1<<20 || most < size/2 || evicted == 0 {
		t.Errorf("the cache of %d took %d, %d files were dropped", size, most, evicted)
	}
}

func TestNobodyElseReadsTheDiskCache(t *testing.T) {
	all, dir := files("f", 5, 1<<20), join(t.TempDir(), "cache")
	_, _, _, m := watched(t, all, cached(dir, "256MiB"))
	readAll(t, m, all)
	onDisk(t, m, all)
	look := func() {
		t.Helper()
		walk(t, dir, func(path string, fi os.FileInfo) {
			want := os.FileMode(0o600)
			if fi.IsDir() {
				want = 0o700
			}
			if fi.Mode().Perm() != want {
				t.Errorf("%s: %v", path, fi.Mode())
			}
		})
	}
	look()
	m.Unmount()
	look()
}

func TestADiskWithoutRoomStopsNobody(t *testing.T) {
	all, dir := files("f", 10, 1<<20), t.TempDir()
	_, _, l, m := watched(t, all, testenv.Args("--cache-dir", dir, "--cache-size", "256MiB", "--cache-min-free", "900TiB"),
		testenv.AllowLog("disk cache"))
	readAll(t, m, all)
	if c := l.tally(t); c.bytes != total(all) {
		t.Errorf("%v%s", c, c.page())
	}
	if n := len(inCache(t, dir, all)); n > 0 {
		t.Errorf("%d files were written", n)
	}
}

func TestWarmFetchesEverythingOnce(t *testing.T) {
	all := map[string][]byte{"outside": noise(5, 1<<20)}
	below := map[string][]byte{}
	for name, content := range various() {
		all["d/"+name], below["d/"+name] = content, content
	}
	for name, content := range files("d/e/g", 100, 5000) {
		all[name], below[name] = content, content
	}
	_, _, l, m := watched(t, all, cached(t.TempDir(), "256MiB"), testenv.Args("--memory", "32MiB"), testenv.TTL(unhurried))
	l.tally(t)
	if out, code := m.Command("warm", m.Path("d")); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	if c := l.tally(t); c.bytes != total(below) || c.twice > 0 {
		t.Errorf("warm: %v of %d bytes%s", c, total(below), c.page())
	}
	readAll(t, m, below)
	if c := l.tally(t); c.gets > 0 {
		t.Errorf("after it: %v%s", c, c.page())
	}
	if out, code := m.Command("warm", m.Path("d"), m.Path("outside")); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	if c := l.tally(t); c.bytes != 1<<20 {
		t.Errorf("warm again: %v%s", c, c.page())
	}
	if out, code := m.Command("warm", m.Path("d", "never")); code == 0 {
		t.Errorf("warm of nothing: %s", out)
	}
}
