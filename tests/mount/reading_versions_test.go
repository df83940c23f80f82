package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

const shortTTL = time.Second

// outlive waits until what was known is older than shortTTL.
func outlive() { time.Sleep(shortTTL + 200*time.Millisecond) }

// sameTime is metadata that gives versions the same mtime: neither size nor time tells them apart.
var sameTime = map[string]string{"mtime": "1700000000", "mode": "33188"}

func TestASecondReadWithinTheTTLAsksNothing(t *testing.T) {
	content, l, _, path := large(t, 3<<20)
	sameBytes(t, "cold", read(t, path), content)
	l.tally(t)
	for range 3 {
		sameBytes(t, "warm", read(t, path), content)
	}
	if c := l.tally(t); c.total() > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestASecondReadAfterTheTTLAsksForNamesAlone(t *testing.T) {
	content, l, _, path := large(t, 3<<20, testenv.TTL(shortTTL))
	sameBytes(t, "cold", read(t, path), content)
	// A host that reclaims memory takes pages away, now and then a third of them; a mount that kept none would need all again
	// each time.
	var c tally
	for range 4 {
		outlive()
		l.tally(t)
		sameBytes(t, "warm", read(t, path), content)
		if c = l.tally(t); c.bytes <= int64(len(content))/8 {
			return
		}
	}
	t.Errorf("%v%s", c, c.page())
}

// replaced has a file that was read, whose object was then replaced by one of the same size and time.
func replaced(t *testing.T, keepOpen bool, options ...testenv.Option) (was, is []byte, f *os.File, path string) {
	t.Helper()
	s, bucket, m := openStore(t, append([]testenv.Option{testenv.TTL(shortTTL)}, options...)...)
	const size = 3 << 20
	was, is = noise(1, size), noise(2, size)
	s.Put(t, bucket, "f", was, sameTime)
	path = m.Path("f")
	f = open(t, path, os.O_RDONLY)
	readAt(t, f, was, 0, size)
	if !keepOpen {
		closed(t, f)
	}
	s.Put(t, bucket, "f", is, sameTime)
	outlive()
	return was, is, f, path
}

func TestAFreshOpenReadsANewVersionThatLooksTheSame(t *testing.T) {
	_, is, _, path := replaced(t, false)
	sameBytes(t, "after the TTL", read(t, path), is)
	p := mapped(t, path, len(is))
	sameBytes(t, "mapped", p, is)
}

func TestAnOpenFileNeverMixesVersions(t *testing.T) {
	for name, memory := range map[string]string{"all in memory": "256MiB", "little in memory": "8MiB"} {
		t.Run(name, func(t *testing.T) {
			was, is, f, path := replaced(t, true, testenv.Args("--memory", memory), testenv.AllowLog("read failed"))
			sameBytes(t, "a fresh open", read(t, path), is)
			old := func(when string) {
				p := make([]byte, 64<<10)
				for off := 0; off < len(was); off += len(p) {
					_, err := f.ReadAt(p, int64(off))
					if err != nil && !errors.Is(err, syscall.ESTALE) {
						t.Errorf("%s: at %d: %v", when, off, err)
					}
					if err == nil && !bytes.Equal(p, was[off:off+len(p)]) {
						t.Fatalf("%s: the open file has other bytes than its version at %d", when, off)
					}
				}
			}
			old("with its pages")
			if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
				t.Fatal(err)
			}
			old("without its pages")
			sameBytes(t, "another fresh open", read(t, path), is)
		})
	}
}

func TestWithoutATTLEachOpenSeesTheNewVersion(t *testing.T) {
	s, bucket, m := openStore(t, testenv.TTL(0))
	path := m.Path("f")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for i := range 5 {
		content := noise(i, 200_000)
		s.Put(t, bucket, "f", content, sameTime)
		sameBytes(t, fmt.Sprint("version ", i), read(t, path), content)
	}
}

func TestForEverLastsUntilRefresh(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	old, newer := []byte("old"), []byte("new, and longer")
	putAll(t, s, bucket, map[string][]byte{"f": old, "d/g": old, "d/e/h": old, "d/gone": old, "d/left/h": old})
	l := watch(t, s)
	m := mount(t, l.store, bucket, testenv.TTL(-1), testenv.Args("--metadata-ttl", "forever"))
	missing := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := os.Stat(m.Path(name)); !os.IsNotExist(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	has := func(want []byte, names ...string) {
		t.Helper()
		for _, name := range names {
			sameBytes(t, name, read(t, m.Path(name)), want)
		}
	}
	refresh := func(name string) {
		t.Helper()
		if out, code := m.Command("refresh", m.Path(name)); code != 0 {
			t.Fatalf("refresh %s: %d %s", name, code, out)
		}
	}
	has(old, "f", "d/g", "d/e/h", "d/gone", "d/left/h")
	missing("new", "d/new", "d/e/new")
	names(t, m.Path("d"))
	putAll(t, s, bucket, map[string][]byte{"f": newer, "d/g": newer, "d/e/h": newer, "new": newer, "d/new": newer, "d/e/new": newer})
	for _, key := range []string{"d/gone", "d/left/h"} {
		if err := s.Client.Delete(t.Context(), bucket, key); err != nil {
			t.Fatal(err)
		}
	}
	outlive()
	l.tally(t)
	has(old, "f", "d/g", "d/e/h", "d/gone", "d/left/h")
	missing("new", "d/new", "d/e/new")
	if c := l.tally(t); c.total() > 0 {
		t.Errorf("for ever asks again: %v%s", c, c.page())
	}
	refresh("f")
	has(newer, "f")
	has(old, "d/g", "d/e/h")
	refresh("new")
	has(newer, "new")
	has(old, "d/g", "d/e/h", "d/gone")
	refresh("d")
	has(newer, "d/g", "d/e/h")
	for _, name := range []string{"d/new", "d/e/new"} { // the kernel itself has known for a second that they are missing
		eventually(t, name+" is there", func() bool { _, err := os.Stat(m.Path(name)); return err == nil })
		has(newer, name)
	}
	missing("d/gone", "d/left", "d/left/h")
	if got := names(t, m.Path("d")); fmt.Sprint(got) != "[e g new]" {
		t.Errorf("the listing is %q", got)
	}
	if out, code := m.Command("refresh", m.Path("never")); code != 0 {
		t.Errorf("refresh of a name that nobody has: %d %s", code, out)
	}
}
