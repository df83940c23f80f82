package mount

import (
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// rested is how old an object must be for the kernel to read it by itself, and a little more.
const rested = 40 * time.Second

// through mounts a bucket whose files the kernel reads by itself, with one file f.
func through(t *testing.T, options ...testenv.Option) (s *testenv.Server, bucket string, content []byte, l *ledger, m *testenv.MountPoint) {
	t.Helper()
	s = start(t)
	if s.External && testing.Short() {
		t.Skip("-short: objects must grow old")
	}
	bucket = s.Bucket(t)
	content = noise(11, 3<<20+1000)
	put(t, s, bucket, "f", content)
	s.Age(t, bucket, "f", rested)
	l = watch(t, s)
	// With little memory pailfs would have to look on disk, were it asked.
	m = mount(t, l.store, bucket, append([]testenv.Option{cached(t.TempDir(), "256MiB"), testenv.TTL(shortTTL)}, options...)...)
	if p := status(t, m).Passthrough; !p.On {
		testenv.Skip(t, "no passthrough here: "+p.Why)
	}
	sameBytes(t, "the first time", read(t, m.Path("f")), content)
	return s, bucket, content, l, m
}

// openThrough opens a file until the kernel reads it by itself: its object is on its way to the disk cache.
func openThrough(t *testing.T, m *testenv.MountPoint, path string) *os.File {
	t.Helper()
	var f *os.File
	eventually(t, "the kernel reads the file by itself", func() bool {
		before := status(t, m).Passthrough.Opens
		f = open(t, path, os.O_RDONLY)
		if status(t, m).Passthrough.Opens > before {
			return true
		}
		closed(t, f)
		time.Sleep(200 * time.Millisecond) // the kernel must have let go of the inode
		return false
	})
	return f
}

// unasked fails the test if pailfs was asked for bytes meanwhile.
func unasked(t *testing.T, m *testenv.MountPoint, do func()) {
	t.Helper()
	before := status(t, m).Blocks
	do()
	if after := status(t, m).Blocks; after != before {
		t.Errorf("pailfs was asked for bytes: %+v, before %+v", after, before)
	}
}

func TestTheKernelReadsWholeFilesOfTheDiskCacheByItself(t *testing.T) {
	_, _, content, l, m := through(t)
	f := openThrough(t, m, m.Path("f"))
	l.tally(t)
	unasked(t, m, func() {
		readAt(t, f, content, 0, len(content))
		readAt(t, f, content, 1<<20+3, 12345)
		p := mapped(t, m.Path("f"), len(content))
		sameBytes(t, "mapped", p, content)
		sameBytes(t, "opened beside it", read(t, m.Path("f")), content)
	})
	if c := l.tally(t); c.gets > 0 {
		t.Errorf("%v%s", c, c.page())
	}
	if n, err := f.ReadAt(make([]byte, 10), int64(len(content))); n != 0 || err == nil {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func TestManyOpensOfAFileThatTheKernelReads(t *testing.T) {
	_, _, content, _, m := through(t)
	closed(t, openThrough(t, m, m.Path("f")))
	var reading sync.WaitGroup
	for range 8 {
		reading.Go(func() {
			for range 50 {
				if b, err := os.ReadFile(m.Path("f")); err != nil || string(b) != string(content) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			}
		})
	}
	reading.Wait()
}

func TestAYoungObjectIsReadByPailfs(t *testing.T) {
	s, bucket, _, _, m := through(t)
	content := noise(12, 1<<20)
	put(t, s, bucket, "young", content)
	for range 3 {
		sameBytes(t, "young", read(t, m.Path("young")), content)
		time.Sleep(200 * time.Millisecond)
	}
	if n := status(t, m).Passthrough.Opens; n > 0 {
		t.Errorf("the kernel read %d times", n)
	}
}

func TestPassthroughOff(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	content := noise(11, 1<<20)
	put(t, s, bucket, "f", content)
	m := mount(t, s, bucket, cached(t.TempDir(), "256MiB"), testenv.Args("--passthrough", "off"))
	sameBytes(t, "f", read(t, m.Path("f")), content)
	if p := status(t, m).Passthrough; p.On || p.Why == "" {
		t.Errorf("%+v", p)
	}
}

// Whoever writes a file that the kernel reads by itself gets his changes stored; the reader keeps his version.
func TestChangesBesideAReaderInTheKernel(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(path string, content []byte) error
		want func(content []byte) []byte
	}{
		"write": {func(path string, _ []byte) error {
			return change(path, func(fd int) error { _, err := unix.Pwrite(fd, []byte("edited"), 1<<20); return err })
		}, func(content []byte) []byte { copy(content[1<<20:], "edited"); return content }},
		"write after read": {func(path string, _ []byte) error {
			return change(path, func(fd int) error {
				p := make([]byte, 6)
				if _, err := unix.Pread(fd, p, 5); err != nil {
					return err
				}
				_, err := unix.Pwrite(fd, p, 1<<20)
				return err
			})
		}, func(content []byte) []byte { copy(content[1<<20:], content[5:11]); return content }},
		"append": {func(path string, _ []byte) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			if _, err := f.WriteString("tail"); err != nil {
				return err
			}
			return f.Close()
		}, func(content []byte) []byte { return append(content, "tail"...) }},
		"O_TRUNC":     {func(path string, _ []byte) error { return os.WriteFile(path, []byte("anew"), 0o644) }, func([]byte) []byte { return []byte("anew") }},
		"truncate(2)": {func(path string, _ []byte) error { return os.Truncate(path, 1000) }, func(content []byte) []byte { return content[:1000] }},
		"a longer truncate(2)": {func(path string, c []byte) error { return os.Truncate(path, int64(len(c))+100) },
			func(content []byte) []byte { return append(content, make([]byte, 100)...) }},
		"rename over it": {func(path string, _ []byte) error {
			if err := os.WriteFile(path+"2", []byte("another"), 0o644); err != nil {
				return err
			}
			return os.Rename(path+"2", path)
		}, func([]byte) []byte { return []byte("another") }},
	} {
		t.Run(name, func(t *testing.T) {
			s, bucket, content, _, m := through(t)
			path := m.Path("f")
			f := openThrough(t, m, path)
			readAt(t, f, content, 0, 100)
			if err := test.do(path, content); err != nil {
				t.Fatalf("beside a reader: %v", err)
			}
			readAt(t, f, content, 0, len(content))
			want := test.want(append([]byte(nil), content...))
			sameBytes(t, "a new open", read(t, path), want)
			sameBytes(t, "the object", object(t, s, bucket, "f"), want)
			readAt(t, f, content, 0, len(content))
			closed(t, f)
			sameBytes(t, "without the reader", read(t, path), want)
			if err := os.WriteFile(path, []byte("and again"), 0o644); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "the object in the end", object(t, s, bucket, "f"), []byte("and again"))
		})
	}
}

func TestUnlinkAndRenameOfAFileThatTheKernelReads(t *testing.T) {
	s, bucket, content, _, m := through(t)
	f := openThrough(t, m, m.Path("f"))
	if err := os.Rename(m.Path("f"), m.Path("g")); err != nil {
		t.Fatal(err)
	}
	readAt(t, f, content, 0, len(content))
	sameBytes(t, "under its new name", read(t, m.Path("g")), content)
	if err := os.Remove(m.Path("g")); err != nil {
		t.Fatal(err)
	}
	if k := keys(t, s, bucket); len(k) > 0 {
		t.Errorf("left: %q", k)
	}
	forgotten := make([]byte, len(content))
	if _, err := f.ReadAt(forgotten, 0); err != nil {
		t.Errorf("unlinked: %v", err)
	}
	sameBytes(t, "unlinked", forgotten, content)
	if _, err := os.Stat(m.Path("g")); !os.IsNotExist(err) {
		t.Errorf("stat: %v", err)
	}
}

func TestAttributesOfAFileThatTheKernelReads(t *testing.T) {
	_, _, content, _, m := through(t)
	path := m.Path("f")
	f := openThrough(t, m, path)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Unix(1e9, 0)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode() != 0o600 || !fi.ModTime().Equal(then) || fi.Size() != int64(len(content)) {
		t.Errorf("%v, %v", fi, err)
	}
	readAt(t, f, content, 0, len(content))
	sameBytes(t, "a new open", read(t, path), content)
}

func TestAForeignVersionBesideAReaderInTheKernel(t *testing.T) {
	s, bucket, content, _, m := through(t)
	path := m.Path("f")
	f := openThrough(t, m, path)
	is := noise(13, len(content))
	put(t, s, bucket, "f", is)
	outlive()
	sameBytes(t, "a new open", read(t, path), is)
	readAt(t, f, content, 0, len(content))
	closed(t, f)
	sameBytes(t, "without the reader", read(t, path), is)
}

// What the kernel reads lies in a file that is evicted meanwhile.
func TestEvictionTakesNothingFromAReaderInTheKernel(t *testing.T) {
	s, bucket, content, l, m := through(t, cached(t.TempDir(), "64MiB"))
	f := openThrough(t, m, m.Path("f"))
	others := files("g", 80, 1<<20)
	putAll(t, s, bucket, others)
	l.tally(t)
	readAll(t, m, others)
	readAt(t, f, content, 0, len(content))
	sameBytes(t, "a new open", read(t, m.Path("f")), content)
	closed(t, f)
	sameBytes(t, "without the reader", read(t, m.Path("f")), content)
}
