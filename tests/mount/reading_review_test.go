package mount

import (
	"os"
	"sync"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

// What was absent when the store was last heard of is an error while it is away, and makes no file over what another host
// has stored meanwhile. flock(1) opens with these flags.
func TestAnAbsentNameOfBeforeMakesNoFile(t *testing.T) {
	t.Parallel()
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	bucket := s.Bucket(t)
	put(t, s, bucket, "sc/one", []byte("1"))
	v := newValve(t, s.Endpoint)
	far := *s
	far.Endpoint = v.endpoint
	m := mount(t, &far, bucket, testenv.TTL(shortTTL), testenv.Args("--timeout", "20s"), testenv.AllowLog("does not answer", "failed", "no answer"))
	names(t, m.Path("sc"))
	outlive()
	precious := []byte("precious data of another host")
	put(t, s, bucket, "sc/lock", precious)
	v.shut()
	if _, err := os.Stat(m.Path("sc/lock")); err == nil || os.IsNotExist(err) {
		t.Errorf("a name that was not there when the store went away: %v", err)
	}
	opened := make(chan error)
	go func() {
		f, err := os.OpenFile(m.Path("sc/lock"), os.O_RDONLY|os.O_CREATE, 0o600)
		if err == nil {
			err = f.Close()
		}
		opened <- err
	}()
	time.Sleep(500 * time.Millisecond) // the request is on its way; either order must be right
	v.open()
	t.Logf("open: %v", <-opened)
	sameBytes(t, "the other host's object", object(t, s, bucket, "sc/lock"), precious)
	eventually(t, "the file can be read", func() bool {
		b, err := os.ReadFile(m.Path("sc/lock"))
		return err == nil && string(b) == string(precious)
	})
}

// Attributes that are known are not asked for ahead again, walk after walk.
func TestASecondWalkAsksForNoAttributes(t *testing.T) {
	all := files("f", 60, 1000)
	_, _, l, m := watched(t, all, testenv.TTL(shortTTL))
	walk := func() tally {
		for _, name := range names(t, m.Dir) {
			if _, err := os.Lstat(m.Path(name)); err != nil {
				t.Fatal(err)
			}
		}
		return l.tally(t)
	}
	if c := walk(); c.gets+c.heads != len(all) {
		t.Errorf("the first: %v%s", c, c.page())
	}
	outlive()
	if c := walk(); c.gets+c.heads > 0 {
		t.Errorf("the second: %v%s", c, c.page())
	}
}

// A descriptor that the kernel reads by itself keeps its version's size when somebody writes, and changes no attributes of
// the new one behind its user's back.
func TestADescriptorInTheKernelKeepsItsSize(t *testing.T) {
	s, bucket, content, _, m := through(t)
	f := openThrough(t, m, m.Path("f"))
	write(t, m.Path("f"), []byte("hello"))
	fi, err := f.Stat()
	if err != nil || fi.Size() != int64(len(content)) {
		t.Errorf("%v, %v", fi.Size(), err)
	}
	readAt(t, f, content, 0, len(content))
	if err := f.Chmod(0o600); err == nil {
		t.Error("chmod of a version that is no more the file's had no effect, and no error")
	}
	if fi, err := os.Stat(m.Path("f")); err != nil || fi.Size() != 5 || fi.Mode().Perm() != 0o644 {
		t.Errorf("the file: %v, %v", fi, err)
	}
	sameBytes(t, "in the store", object(t, s, bucket, "f"), []byte("hello"))
}

// Several programs open a file at the same moment: none gets an error, and the kernel goes on reading by itself.
func TestOpensAtOnceOfAFileThatTheKernelReads(t *testing.T) {
	_, _, content, _, m := through(t)
	closed(t, openThrough(t, m, m.Path("f")))
	for range 40 {
		time.Sleep(settled)
		var opening sync.WaitGroup
		for range 8 {
			opening.Go(func() {
				f, err := os.Open(m.Path("f"))
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				p := make([]byte, 10)
				if _, err := f.ReadAt(p, 77); err != nil || string(p) != string(content[77:87]) {
					t.Errorf("%q, %v", p, err)
				}
			})
		}
		opening.Wait()
	}
	if p := status(t, m).Passthrough; !p.On {
		t.Errorf("%+v", p)
	}
}

// settled is a little more than the pause after which a file is read by the kernel again.
const settled = 120 * time.Millisecond

// Who empties the cache directory loses nothing but time: it fills again.
func TestAnEmptiedDiskCacheFillsAgain(t *testing.T) {
	all, dir := files("f", 10, 1<<20), t.TempDir()
	_, _, _, m := watched(t, all, cached(dir, "256MiB"), testenv.AllowLog("cache"))
	first := map[string][]byte{"f000": all["f000"]}
	onDisk(t, m, first)
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if err := os.RemoveAll(join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	readAll(t, m, all)
	eventually(t, "the cache fills again", func() bool {
		for name, content := range all {
			forgetPages(t, m.Path(name))
			sameBytes(t, name, read(t, m.Path(name)), content)
		}
		m.Command("warm", m.Dir)
		return status(t, m).Disk.Bytes >= total(all)
	})
}
