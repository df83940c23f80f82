package mount

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// once spoils the first answer that is larger than a look at a file's beginning.
func once(how spoiled) func(asked) spoiled {
	var done atomic.Bool
	return func(a asked) spoiled {
		if a.length <= 128<<10 || done.Swap(true) {
			return spoiled{}
		}
		return how
	}
}

func TestASpoiledAnswerIsTakenOver(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]spoiled{
		"stands still behind its head":        {how: standStill},
		"stands still behind some bytes":      {how: standStill, after: 100_000},
		"breaks off behind its head":          {how: breakOff},
		"breaks off behind some bytes":        {how: breakOff, after: 300_001},
		"breaks off before its last byte":     {how: breakOff, after: 4<<20 - 128<<10 - 1},
		"ends early and says so":              {how: endEarly, after: 300_001, unsaid: true},
		"ends early and said it would not":    {how: endEarly, after: 300_001},
		"ends behind its head, and says so":   {how: endEarly, unsaid: true},
		"breaks off at a block's end exactly": {how: breakOff, after: 256 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			content, l, _, path := large(t, 4<<20, testenv.AllowLog("read failed"))
			known(t, l, path)
			l.spoil(once(how))
			got, err := os.ReadFile(path)
			c := l.tally(t)
			if how.unsaid { // a store that answers wrongly, not one that has bad luck
				if err == nil {
					sameBytes(t, "the file", got, content)
				} else if !errors.Is(err, syscall.EIO) {
					t.Error(err)
				}
				l.spoil(nil)
				sameBytes(t, "afterwards", read(t, path), content)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "the file", got, content)
			if c.gets < 2 || c.twice > 0 {
				t.Errorf("%v%s", c, c.page())
			}
		})
	}
}

func TestAConnectionThatAlwaysBreaksOffGetsOn(t *testing.T) {
	content, l, _, path := large(t, 12<<20+1)
	known(t, l, path)
	l.spoil(func(a asked) spoiled {
		if a.length < 600<<10 {
			return spoiled{}
		}
		return spoiled{how: breakOff, after: a.length / 2}
	})
	sameBytes(t, "the file", read(t, path), content)
	if c := l.tally(t); c.twice > 0 || c.bytes != int64(len(content)-128<<10) {
		t.Errorf("%v%s", c, c.page())
	}
}

func TestManyStalledAnswersAreTakenOver(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short")
	}
	content, l, _, path := large(t, 48<<20)
	known(t, l, path)
	var n atomic.Int64
	l.spoil(func(a asked) spoiled {
		if a.length > 512<<10 && n.Add(1)%4 == 1 {
			return spoiled{how: standStill, after: a.length / 3}
		}
		return spoiled{}
	})
	sameBytes(t, "the file", read(t, path), content)
	if c := l.tally(t); c.twice > 0 {
		t.Errorf("%v%s", c, c.page())
	}
}

// away mounts a bucket of an embedded server, whatever the environment says: another one cannot be stopped.
func away(t *testing.T, objects map[string][]byte, options ...testenv.Option) (*testenv.Server, *testenv.MountPoint) {
	t.Helper()
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	bucket := s.Bucket(t)
	putAll(t, s, bucket, objects)
	m := mount(t, s, bucket, append([]testenv.Option{testenv.TTL(shortTTL), testenv.Args("--timeout", "5s"),
		testenv.AllowLog("does not answer", "failed", "no answer", "stat", "lookup", "open")}, options...)...)
	return s, m
}

func TestWhatIsCachedIsReadWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]testenv.Option{
		"memory": nil,
		"disk":   {cached(t.TempDir(), "256MiB"), testenv.Args("--memory", "8MiB")},
	} {
		t.Run(name, func(t *testing.T) {
			all := files("d/f", 20, 1<<20)
			all["d/cold"] = noise(77, 6<<20)
			s, m := away(t, all, options...)
			cold := all["d/cold"]
			delete(all, "d/cold")
			readAll(t, m, all)
			listing := names(t, m.Path("d"))
			if name == "disk" {
				onDisk(t, m, all)
			}
			f := open(t, m.Path("d/f007"), os.O_RDONLY)
			readAt(t, f, all["d/f007"], 0, 1000)
			s.Stop(t)
			for _, when := range []string{"within the TTL", "after it", "much later"} {
				for path := range all {
					forgetPages(t, m.Path(path))
				}
				readAt(t, f, all["d/f007"], 0, 1<<20)
				readAll(t, m, all)
				if got := names(t, m.Path("d")); !slices.Equal(got, listing) {
					t.Errorf("%s: the listing has %q, had %q", when, got, listing)
				}
				outlive()
			}
			// Somebody else may have made these since.
			for _, name := range []string{"d/never", "never-asked"} {
				if fi, err := os.Stat(m.Path(name)); !errors.Is(err, syscall.EIO) {
					t.Errorf("%s: %v, %v; want EIO", name, fi, err)
				}
			}
			if b, err := os.ReadFile(m.Path("d/cold")); err == nil || os.IsNotExist(err) {
				t.Errorf("a file that was never read: %d bytes, %v", len(b), err)
			}
			s.Start(t)
			eventually(t, "the store answers again", func() bool {
				_, err := os.Stat(m.Path("never-asked"))
				return os.IsNotExist(err)
			})
			eventually(t, "a cold file can be read", func() bool {
				b, err := os.ReadFile(m.Path("d/cold"))
				return err == nil && bytes.Equal(b, cold)
			})
			readAll(t, m, all)
		})
	}
}

func TestARefusedOrSilentStoreIsNoMissingFile(t *testing.T) {
	t.Parallel()
	s, m := away(t, map[string][]byte{"f": []byte("content")})
	s.Stop(t)
	for _, name := range []string{"f", "other"} {
		if _, err := os.Open(m.Path(name)); err == nil || os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := os.ReadDir(m.Dir); err == nil {
		t.Errorf("an unknown directory has %d names", len(list))
	}
	s.Start(t)
	eventually(t, "the file can be read", func() bool {
		b, err := os.ReadFile(m.Path("f"))
		return err == nil && string(b) == "content"
	})
}

// A mount that comes up while the store is away is another matter; one that was up and is read to its end is not.
func TestTheStoreGoesAwayInTheMiddleOfAFile(t *testing.T) {
	content := noise(5, 64<<20)
	s, m := away(t, map[string][]byte{"f": content}, testenv.Args("--memory", "16MiB", "--timeout", "1m"))
	f := open(t, m.Path("f"), os.O_RDONLY)
	p := make([]byte, 1<<20)
	for i := 0; i < len(content); i += len(p) {
		if i == 20<<20 {
			s.Stop(t)
			time.AfterFunc(2*time.Second, func() { s.Start(t) })
		}
		if _, err := f.ReadAt(p, int64(i)); err != nil {
			t.Fatalf("at %d: %v", i, err)
		}
		if !bytes.Equal(p, content[i:i+len(p)]) {
			t.Fatalf("wrong bytes at %d", i)
		}
	}
}

func TestInterruptEndsAReaderWhoWaits(t *testing.T) {
	for name, least := range map[string]int64{"in open": 0, "in read": 128 << 10} {
		t.Run(name, func(t *testing.T) {
			_, l, _, path := large(t, 32<<20, testenv.Args("--timeout", "10m"), testenv.AllowLog("interrupted", "failed"))
			stands := make(chan struct{}, 1000)
			l.spoil(func(a asked) spoiled {
				if a.length <= least {
					return spoiled{}
				}
				stands <- struct{}{}
				return spoiled{how: standStill, after: 1000}
			})
			cat := exec.Command("cat", path)
			cat.Stdout = nil
			if err := cat.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cat.Wait() }()
			<-stands
			time.Sleep(200 * time.Millisecond) // until cat waits
			if err := cat.Process.Signal(unix.SIGINT); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGINT {
					t.Errorf("cat ended: %v", err)
				}
			case <-time.After(4 * time.Second): // less than a stalled answer is waited for
				t.Error("cat is still waiting")
				if err := cat.Process.Kill(); err != nil {
					t.Error(err)
				}
				<-ended
			}
		})
	}
}
