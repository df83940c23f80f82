package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pailfs/tests/lagproxy"
	"pailfs/tests/testenv"
)

const (
	// idleRSS is what the process of a mount that nobody uses may take.
	idleRSS = 30 << 20
	// idleFor is how long mounts are watched; they wake less than once a second.
	idleFor = 20 * time.Second
)

// statusField reads numbers of a /proc/.../status: kilobytes, or counts.
func statusField(t *testing.T, file, name string) (n int64, ok bool) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false // a thread that has ended
	}
	for line := range strings.Lines(string(b)) {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n, true
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return 0, false
}

// wakeups counts how often each thread of a process was put to rest so far: each time it had been woken.
func wakeups(t *testing.T, pid int) map[string]int64 {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	threads := map[string]int64{}
	for _, f := range files {
		a, ok := statusField(t, f, "voluntary_ctxt_switches")
		b, ok2 := statusField(t, f, "nonvoluntary_ctxt_switches")
		if ok && ok2 {
			threads[f] = a + b
		}
	}
	return threads
}

// since is how often the threads of a process were woken after an earlier look.
func since(before, after map[string]int64) (n int64) {
	for thread, count := range after {
		n += count - before[thread]
	}
	return n
}

// link is a way to the store that counts what goes over it.
func (d *desk) link() (*lagproxy.Proxy, *testenv.Server) {
	d.t.Helper()
	p, err := lagproxy.Listen("127.0.0.1:0", lagproxy.Options{Backend: strings.TrimPrefix(d.store.Endpoint, "http://")})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { p.Close() })
	near := *d.store
	near.Endpoint = "http://" + p.Addr()
	return p, &near
}

// A mount that nobody uses takes little memory, wakes less than once a second, and asks the store nothing: one of a bucket, and one of
// the account with all that has files of its own, as a unit of systemd. Their lives before that were short ones.
func TestAMountThatNobodyUses(t *testing.T) {
	d := newDesk(t)
	d.put("dir/file", strings.Repeat("x", 1<<20))
	link, near := d.link()
	mounts := map[string]*testenv.MountPoint{
		"bucket": testenv.Mount(t, near, testenv.Of(d.bucket)),
		"account": testenv.Mount(t, near, testenv.Args("--durability", "journal", "--cache-size", "1GiB", "--metrics-addr", "127.0.0.1:0"),
			testenv.Env("NOTIFY_SOCKET="+manager(t), "WATCHDOG_USEC=120000000")),
	}
	for name, m := range mounts {
		at := m.Dir
		if name == "account" {
			at = m.Path(d.bucket)
		}
		if b, err := os.ReadFile(at + "/dir/file"); err != nil || len(b) != 1<<20 {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		if err := os.WriteFile(at+"/written-"+name, []byte("hello"), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, status := m.Command("flush", m.Dir); status != 0 {
			t.Fatal(out)
		}
	}
	// What follows at once on a life is over after a while: another window is looked at then.
	var seen map[string]awake
	for range 3 {
		time.Sleep(idleFor / 10)
		link.Reset()
		seen = watch(t, mounts)
		quiet := true
		for name, m := range mounts {
			t.Logf("%s: %v in %v; VmRSS %d KiB, of it RssAnon %d", name, seen[name], idleFor, memory(t, m, "VmRSS"), memory(t, m, "RssAnon"))
			quiet = quiet && seen[name].times < int(idleFor/time.Second)
		}
		if quiet && seen["bucket"].switches < int64(idleFor/time.Second) {
			break
		}
	}
	asked := link.Counts().Requests
	if len(asked) > 0 {
		t.Errorf("idle mounts have asked the store: %v", asked)
	}
	for name, m := range mounts {
		if seen[name].times >= int(idleFor/time.Second) || name == "bucket" && seen[name].switches >= int64(idleFor/time.Second) {
			t.Errorf("%s: %v in %v", name, seen[name], idleFor)
		}
		if rss := memory(t, m, "VmRSS"); rss > idleRSS>>10 && !raced() {
			t.Errorf("%s: VmRSS is %d KiB, more than %d", name, rss, idleRSS>>10)
		}
	}
}

// awake is how often a process was: a time is one in which its threads were put to rest once or often. For each timer that fires Go's
// runtime looks after itself some ten times within milliseconds, which is one time.
type awake struct {
	times    int
	switches int64 // of all its threads
}

func (a awake) String() string {
	return fmt.Sprintf("awake %d times, its threads switched %d times", a.times, a.switches)
}

// watch looks at mounts eight times a second for as long as they are watched.
func watch(t *testing.T, mounts map[string]*testenv.MountPoint) map[string]awake {
	t.Helper()
	before, seen := map[string]map[string]int64{}, map[string]awake{}
	for name, m := range mounts {
		before[name] = wakeups(t, m.PID())
	}
	const pause = time.Second / 8
	for range idleFor / pause {
		time.Sleep(pause)
		for name, m := range mounts {
			now := wakeups(t, m.PID())
			if n := since(before[name], now); n > 0 {
				a := seen[name]
				seen[name] = awake{a.times + 1, a.switches + n}
			}
			before[name] = now
		}
	}
	return seen
}

// memory is a field of the process's status, in KiB.
func memory(t *testing.T, m *testenv.MountPoint, field string) int64 {
	t.Helper()
	n, _ := statusField(t, fmt.Sprintf("/proc/%d/status", m.PID()), field)
	return n
}

// manager is the socket of a service manager that hears everything and says nothing.
func manager(t *testing.T) (path string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for buf := make([]byte, 4096); ; {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-heard })
	return conn.LocalAddr().String()
}

// raced says whether the program has the race detector in it, which takes memory of its own.
func raced() bool {
	return os.Getenv("PAILFS_TEST_RACE") == "1" || strings.Contains(filepath.Base(os.Getenv("PAILFS_TEST_BINARY")), "race")
}
