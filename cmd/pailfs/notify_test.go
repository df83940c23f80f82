package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// manager is a service manager's end of the socket.
func manager(t *testing.T) (next func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", conn.LocalAddr().String())
	return func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestTheServiceManagerIsTold(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	next := manager(t)
	n := newNotifier(slog.New(slog.DiscardHandler))
	if n == nil || n.watchdog != 30*time.Second {
		t.Fatalf("%+v", n)
	}
	n.Ready()
	n.Status("b on /m: 1 file\n\x1b[2J to store")
	n.Status("b on /m: 1 file\n\x1b[2J to store") // told already
	n.Reloading()
	n.Ready()
	n.Stopping(90 * time.Second)
	for _, want := range []string{"READY=1", "STATUS=b on /m: 1 file [2J to store", "RELOADING=1\nMONOTONIC_USEC=", "READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000"} {
		got := next()
		if cut, open := strings.CutSuffix(want, "MONOTONIC_USEC="); open {
			var usec int64
			if _, err := fmt.Sscanf(got, cut+"MONOTONIC_USEC=%d", &usec); err != nil || usec <= 0 {
				t.Errorf("%q: %v", got, err)
			}
		} else if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := newNotifier(slog.New(slog.DiscardHandler))
	if n != nil {
		t.Fatalf("%+v", n)
	}
	n.Ready()
	n.Status("x")
	n.Reloading()
	n.Stopping(time.Second)
	n.Start(nil, nil, nil)
	n.Close()
	// One who has gone is said once, and ends nothing.
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	var log strings.Builder
	n = newNotifier(slog.New(slog.NewTextHandler(&log, nil)))
	n.Ready()
	n.Status("x")
	if strings.Count(log.String(), "systemd cannot be told") != 1 {
		t.Error(log.String())
	}
}

// told is what a notifier has sent.
type told struct {
	sync.Mutex
	lines []string
}

func (h *told) send(state string) error {
	h.Lock()
	defer h.Unlock()
	h.lines = append(h.lines, state)
	return nil
}

// take gives what came since the last call.
func (h *told) take() []string {
	h.Lock()
	defer h.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

func (h *told) notifier(watchdog time.Duration) *notifier {
	return &notifier{send: h.send, watchdog: watchdog, ends: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
}

func still() outlook { return outlook{text: "still"} }

func TestAFaceThatHangsGivesNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard told
		var hangs sync.Mutex
		n := heard.notifier(30 * time.Second)
		n.Start(still, func(ctx context.Context) error {
			if hangs.TryLock() {
				hangs.Unlock()
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		time.Sleep(61 * time.Second)
		if got, want := heard.take(), []string{"WATCHDOG=1", "STATUS=still", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		hangs.Lock()
		time.Sleep(5 * time.Minute)
		if got := heard.take(); len(got) != 0 {
			t.Errorf("a face that hangs says %q", got)
		}
		hangs.Unlock()
		time.Sleep(time.Minute)
		if got := heard.take(); len(got) == 0 || got[0] != "WATCHDOG=1" {
			t.Errorf("%q", got)
		}
		n.Close()
		heard.take()
		time.Sleep(time.Minute)
		if got := heard.take(); len(got) != 0 {
			t.Errorf("after the end: %q", got)
		}
	})
}

func TestARoomThatHangsGivesNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard told
		var room sync.Mutex
		n := heard.notifier(30 * time.Second)
		looks := 0
		hang := make(chan struct{})
		n.Start(func() outlook {
			room.Lock()
			defer room.Unlock()
			if looks++; looks > 1 {
				<-hang
			}
			return still()
		}, func(context.Context) error { return nil }, nil)
		time.Sleep(time.Hour)
		if got, want := heard.take(), []string{"WATCHDOG=1", "STATUS=still"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		close(hang)
		n.Close()
	})
}

// That nobody can be asked says nothing about the mount.
func TestAQuestionThatCannotBeAskedIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard told
		n := heard.notifier(30 * time.Second)
		h := &heart{ask: func() error { return fmt.Errorf("%w: no memory", errUnasked) }}
		n.Start(still, h.beats, nil)
		time.Sleep(time.Second)
		n.Close()
		if got := heard.take(); len(got) == 0 || got[0] != "WATCHDOG=1" {
			t.Errorf("%q", got)
		}
	})
}

func TestTimeIsBoughtWhileSomethingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard told
		n := heard.notifier(0)
		var mu sync.Mutex
		moved := int64(0)
		n.Start(func() outlook {
			mu.Lock()
			defer mu.Unlock()
			return outlook{text: "moving", moved: moved}
		}, nil, nil)
		move := func() {
			mu.Lock()
			defer mu.Unlock()
			moved++
		}
		time.Sleep(time.Second)
		move()
		time.Sleep(statusEvery)
		if got := heard.take(); !reflect.DeepEqual(got, []string{"STATUS=moving"}) {
			t.Errorf("time was bought before the end: %q", got)
		}
		n.Stopping(time.Minute)
		synctest.Wait()
		heard.take()
		time.Sleep(statusAtEnd / 2) // between two looks
		for range 3 {
			move()
			time.Sleep(statusAtEnd)
		}
		extend := "EXTEND_TIMEOUT_USEC=60000000"
		if got := heard.take(); !reflect.DeepEqual(got, []string{extend, extend, extend}) {
			t.Errorf("%q", got)
		}
		time.Sleep(10 * statusEvery)
		if got := heard.take(); len(got) != 0 {
			t.Errorf("nothing moves, and it says %q", got)
		}
		n.Close()
	})
}

// A mount at rest is looked at when the kernel asks again, and not before; the end does not wait for that.
func TestAMountAtRestIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard told
		n := heard.notifier(0)
		var mu struct {
			sync.Mutex
			looks int
			o     outlook
			stirs chan struct{}
		}
		set := func(o outlook, stir bool) {
			mu.Lock()
			defer mu.Unlock()
			mu.o, mu.looks = o, 0
			if stir && mu.stirs != nil {
				close(mu.stirs)
				mu.stirs = nil
			}
		}
		looks := func() int {
			mu.Lock()
			defer mu.Unlock()
			return mu.looks
		}
		set(outlook{text: "still", rests: true}, false)
		n.Start(func() outlook {
			mu.Lock()
			defer mu.Unlock()
			mu.looks++
			return mu.o
		}, nil, func() <-chan struct{} {
			mu.Lock()
			defer mu.Unlock()
			if mu.stirs == nil {
				mu.stirs = make(chan struct{})
			}
			return mu.stirs
		})
		time.Sleep(time.Hour)
		if got := looks(); got != 2 {
			t.Errorf("%d looks at a mount at rest", got)
		}
		set(outlook{text: "1 file"}, true)
		time.Sleep(statusEvery + time.Second)
		if got := heard.take(); !reflect.DeepEqual(got, []string{"STATUS=still", "STATUS=1 file"}) {
			t.Errorf("%q", got)
		}
		time.Sleep(10 * statusEvery)
		if got := looks(); got != 11 {
			t.Errorf("%d looks while something is to be stored", got)
		}
		set(outlook{text: "still", rests: true}, true)
		time.Sleep(time.Hour)
		heard.take()
		set(outlook{text: "the end", rests: true}, false)
		n.Stopping(time.Minute)
		time.Sleep(10 * statusAtEnd)
		if got := looks(); got < 10 {
			t.Errorf("%d looks at the end", got)
		}
		n.Close()
	})
}

func TestAHeartAsksOneQuestionAtATime(t *testing.T) {
	asked, answers := 0, make(chan error)
	h := &heart{ask: func() error { asked++; return <-answers }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if err := h.beats(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	go func() { answers <- nil }()
	if err := h.beats(t.Context()); err != nil || asked != 1 || h.asked != nil {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestOnlyTheProcessOfAUnitTalksToSystemd(t *testing.T) {
	for _, c := range []struct {
		env  string
		want bool
	}{
		{"", false},
		{"NOTIFY_SOCKET=/n", false},
		{"NOTIFY_SOCKET=/n SYSTEMD_EXEC_PID=7", true},
		{"SYSTEMD_EXEC_PID=7", false},
		{"NOTIFY_SOCKET=/n SYSTEMD_EXEC_PID=8 WATCHDOG_PID=7", false}, // a service's script
		{"NOTIFY_SOCKET=/n WATCHDOG_PID=7", true},
		{"NOTIFY_SOCKET=/n WATCHDOG_PID=8", false},
	} {
		env := strings.Fields(c.env)
		getenv := func(name string) string {
			for _, v := range env {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value
				}
			}
			return ""
		}
		if got := unitProcess(getenv, 7); got != c.want {
			t.Errorf("%q: %v", c.env, got)
		}
	}
	env := []string{"A=1", "NOTIFY_SOCKET=/n", "WATCHDOG_USEC=5", "WATCHDOG_PID=7", "SYSTEMD_EXEC_PID=7", "B=2"}
	if got := withoutUnit(env); !reflect.DeepEqual(got, []string{"A=1", "B=2"}) {
		t.Errorf("%q", got)
	}
}

func TestPendingText(t *testing.T) {
	now := time.Now()
	list := []unsavedFile{{Path: "b/a", Bytes: 1 << 20, Since: now.Add(-time.Minute)}, {Path: "b/c", Bytes: 1 << 20, Since: now, Error: "no"}, {Path: "b/d", Change: changeDelete}}
	for want, list := range map[string][]unsavedFile{
		"everything is stored": nil,
		"to be stored: 2 files (2 MiB) and 1 name, oldest 1m, 1 could not be": list,
	} {
		if got := pendingText(list, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestANamespaceOfItsOwnIsFound(t *testing.T) {
	proc := t.TempDir()
	if hiddenFromHost(proc) {
		t.Error("nothing is known, and it is hidden")
	}
	for _, c := range []struct {
		pid, ns string
		hidden  bool
	}{{"self", "mnt:[1]", false}, {"1", "mnt:[1]", false}, {"self", "mnt:[2]", true}} {
		dir := filepath.Join(proc, c.pid, "ns")
		os.RemoveAll(dir)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.Symlink(c.ns, dir+"/mnt")); err != nil {
			t.Fatal(err)
		}
		if got := hiddenFromHost(proc); got != c.hidden {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestTheCredentialsOfAUnit(t *testing.T) {
	dir := t.TempDir()
	env := func(string) string { return dir }
	for content, want := range map[string]string{"": "", "# none": "", "#\n\n": "", "[default]\n": dir + "/credentials"} {
		if err := os.WriteFile(dir+"/credentials", []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
		if got := credentialsOfUnit(env); got != want {
			t.Errorf("%q: %q", content, got)
		}
		os.Remove(dir + "/credentials")
	}
	if got := credentialsOfUnit(env); got != "" {
		t.Errorf("no file: %q", got)
	}
	dir = "relative"
	if got := credentialsOfUnit(env); got != "" {
		t.Errorf("%q", got)
	}
}
