package mount

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/tests/lagproxy"
	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// withdrawn is a mount in journal durability whose store leaves and returns, as a host does that goes down.
type withdrawn struct {
	*writing
	host *lagproxy.Proxy
}

func withdraw(t *testing.T, objects map[string][]byte, options ...testenv.Option) *withdrawn {
	t.Helper()
	w := &withdrawn{writing: &writing{t: t, s: start(t)}}
	w.bucket = w.s.Bucket(t)
	putAll(t, w.s, w.bucket, objects)
	backend, err := url.Parse(w.s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	w.host, err = lagproxy.Listen("127.0.0.1:0", lagproxy.Options{Backend: backend.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.host.Close() })
	far := *w.s
	far.Endpoint = "http://" + w.host.Addr()
	w.far = &far
	w.m = w.mount(inJournal, append([]testenv.Option{testenv.TTL(10 * time.Minute), testenv.Args("--timeout", "6s"), awayLog()}, options...)...)
	return w
}

func (w *withdrawn) leave() {
	w.t.Helper()
	if err := w.host.Leave(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *withdrawn) comeBack() {
	w.t.Helper()
	if err := w.host.Return(); err != nil {
		w.t.Fatal(err)
	}
	// A store that was away is asked again from time to time; until then flush may answer that it is away.
	eventually(w.t, "the store has everything", func() bool {
		_, code := w.m.Command("flush", w.m.Dir)
		return code == 0
	})
}

// While the store is away a mount in journal durability takes changes, shows them, and stores them when it is back.
func TestWhatTheStoreDoesNotHaveYetIsSeen(t *testing.T) {
	w := withdraw(t, map[string][]byte{"stored": []byte("stored"), "gone": []byte("gone"), "d/a": []byte("a"), "d/b": []byte("b"), "edit": noise(5, 300_000)})
	sh(t, w.m.Dir, "ls -lR . > /dev/null; cat stored gone edit d/* > /dev/null")
	w.leave()
	script := `
		echo new > new; [ "$(cat new)" = new ]; [ "$(stat -c %s new)" = 4 ]
		mkdir -m 750 made; echo inside > made/file; mkdir made/deeper; echo x > made/deeper/x
		ln -s made/file link; [ "$(readlink link)" = made/file ]; [ "$(cat link)" = inside ]
		echo draft > draft; mv draft final; [ ! -e draft ]; [ "$(cat final)" = draft ]
		chmod 600 stored final; [ "$(stat -c %a stored)" = 600 ]; [ "$(stat -c %a final)" = 600 ]
		touch -d '2020-01-02 03:04:05' stored; [ "$(stat -c %Y stored)" = "$(date -d '2020-01-02 03:04:05' +%s)" ]
		rm gone; [ ! -e gone ]; ! ls | grep -q gone
		echo short > short-lived; rm short-lived; [ ! -e short-lived ]
		echo 1 > over; echo 22 > over; [ "$(cat over)" = 22 ]
		printf tail >> edit; [ "$(stat -c %s edit)" = 300004 ]
		rm d/a; [ "$(ls d)" = b ]
		mkfifo pipe; [ -p pipe ]
		mkdir empty; rmdir empty; [ ! -e empty ]
		head -c 3000000 /dev/zero > big; [ "$(stat -c %s big)" = 3000000 ]
		[ "$(ls | tr '\n' ' ')" = "big d edit final link made new over pipe stored " ]
		[ "$(ls made | tr '\n' ' ')" = "deeper file " ]`
	sh(t, w.m.Dir, script)
	if p, text := w.pendingNow(); p.Unsaved.Count == 0 {
		t.Errorf("the status shows nothing unsaved: %s", text)
	}
	before := sh(t, w.m.Dir, `find . -printf '%p %y %m %s %l\n' | sort`)
	w.comeBack()
	w.holds(map[string][]byte{"new": []byte("new\n"), "made/file": []byte("inside\n"), "made/deeper/x": []byte("x\n"),
		"link": object(t, w.s, w.bucket, "link"), "final": []byte("draft\n"), "stored": []byte("stored"), "over": []byte("22\n"),
		"edit": append(noise(5, 300_000), "tail"...), "d/b": []byte("b"), "pipe": nil, "big": make([]byte, 3_000_000)})
	if p, text := w.pendingNow(); p.Unsaved.Count != 0 {
		t.Errorf("afterwards the status shows %s", text)
	}
	if m := head(t, w.s, w.bucket, "stored").Headers.Meta["mode"]; m != "33152" {
		t.Errorf("stored has the mode %q", m)
	}
	w.m.Unmount()
	other := mount(t, w.s, w.bucket)
	if after := sh(t, other.Dir, `find . -printf '%p %y %m %s %l\n' | sort`); after != before {
		t.Errorf("another mount shows\n%s\nthis one showed\n%s", after, before)
	}
}

// fsync says what it promises also where close does not wait: without the store it is an error.
func TestFsyncNeedsTheStore(t *testing.T) {
	w := withdraw(t, nil)
	if err := os.Mkdir(w.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.flush()
	names(t, w.path("d"))
	w.leave()
	f := open(t, w.path("d/f"), os.O_CREATE|os.O_RDWR)
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	if err := f.Sync(); !errors.As(err, &errno) || errno == unix.ENOENT {
		t.Errorf("fsync: %v", err)
	}
	closed(t, f)
	if out, code := w.m.Command("flush", "--timeout", "2s", w.m.Dir); code == 0 {
		t.Errorf("flush said that all is stored: %s", out)
	}
	if got := read(t, w.path("d/f")); string(got) != "content" {
		t.Errorf("the file reads %q", got)
	}
	w.comeBack()
	sameBytes(t, "the object", object(t, w.s, w.bucket, "d/f"), []byte("content"))
}

// An hour without the store is a short time for who is not waited for: names never known stay errors all the same.
func TestNamesNeverKnownStayErrorsWhileTheStoreIsAway(t *testing.T) {
	w := withdraw(t, map[string][]byte{"d/known": []byte("x"), "e/unknown": []byte("x")})
	names(t, w.path("d"))
	w.leave()
	for _, name := range []string{"e/unknown", "e/other"} {
		if _, err := os.Stat(w.path(name)); err == nil || os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f, err := os.OpenFile(w.path("e/unknown"), os.O_WRONLY|os.O_TRUNC, 0); err == nil {
		closed(t, f)
		t.Error("a file that was never seen was truncated")
	}
	w.comeBack()
	sameBytes(t, "the object", object(t, w.s, w.bucket, "e/unknown"), []byte("x"))
}

func TestFsyncFlushAndUmountMeanStored(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil)
		f := open(t, w.path("synced"), os.O_CREATE|os.O_WRONLY)
		for i := range 3 {
			if _, err := fmt.Fprintf(f, "line %d\n", i); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "after fsync", object(t, w.s, w.bucket, "synced"), []byte(lines(i+1)))
		}
		closed(t, f)
		want := map[string][]byte{"synced": []byte(lines(3))}
		for i := range 20 {
			name := fmt.Sprintf("flushed%02d", i)
			want[name] = noise(i, i*1000)
			write(t, w.path(name), want[name])
		}
		want["large"] = noise(7, 20<<20)
		write(t, w.path("large"), want["large"])
		w.flush()
		w.holds(want)
		for i := range 30 {
			name := fmt.Sprintf("drained%02d", i)
			want[name] = noise(i, 10_000)
			write(t, w.path(name), want[name])
		}
		if err := os.Remove(w.path("flushed03")); err != nil {
			t.Fatal(err)
		}
		delete(want, "flushed03")
		w.m.Unmount()
		w.holds(want)
		w.noUploads()
	})
}

// A flush of one file or directory stores that, and waits for nothing else.
func TestFlushOfAPath(t *testing.T) {
	w := writes(t, inJournal, nil, awayLog())
	sh(t, w.m.Dir, "mkdir here there")
	w.flush()
	gate := make(chan struct{})
	w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
		if r.Op == storeproxy.Put && strings.HasPrefix(r.Key, "there/") {
			return storeproxy.Fate{Act: storeproxy.Wait, Gate: gate}
		}
		return storeproxy.Fate{}
	})
	write(t, w.path("there/f"), []byte("there"))
	write(t, w.path("here/f"), []byte("here"))
	if out, code := w.m.Command("flush", w.path("here")); code != 0 {
		t.Errorf("flush: %d %s", code, out)
	}
	if got := keys(t, w.s, w.bucket); !slices.Contains(got, "here/f") || slices.Contains(got, "there/f") {
		t.Errorf("the bucket has %q", got)
	}
	close(gate)
	if out, code := w.m.Command("flush", w.path("there/f")); code != 0 {
		t.Errorf("flush: %d %s", code, out)
	}
	sameBytes(t, "there/f", object(t, w.s, w.bucket, "there/f"), []byte("there"))
}

// In store durability close, unlink, mkdir and rename have happened in the store when they return.
func TestStoreDurabilityIsStored(t *testing.T) {
	w := writes(t, inStore, map[string][]byte{"gone": []byte("x"), "from": []byte("from")})
	write(t, w.path("closed"), []byte("closed"))
	sameBytes(t, "after close", object(t, w.s, w.bucket, "closed"), []byte("closed"))
	for _, err := range []error{os.Remove(w.path("gone")), os.Mkdir(w.path("made"), 0o755), os.Rename(w.path("from"), w.path("made/to")),
		os.Symlink("closed", w.path("link")), os.Chmod(w.path("closed"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := keys(t, w.s, w.bucket), []string{"closed", "link", "made/", "made/to"}; !slices.Equal(got, want) {
		t.Errorf("the bucket has %q, want %q", got, want)
	}
	if m := head(t, w.s, w.bucket, "closed").Headers.Meta["mode"]; m != "33152" {
		t.Errorf("the mode is %q", m)
	}
	if _, err := w.s.Client.Head(t.Context(), w.bucket, "gone"); !errors.Is(err, s3client.NotFound) {
		t.Errorf("gone: %v", err)
	}
}
