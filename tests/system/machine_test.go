//go:build system

package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	// bootTimeout bounds everything that a machine does by itself: it boots in seconds.
	bootTimeout = 90 * time.Second
	// commandTimeout bounds one command inside.
	commandTimeout = 2 * time.Minute
	// rebooting is how systemd-nspawn ends when the machine wants to boot again.
	rebooting = 133
)

// machine is a Debian system of its own with systemd as its init, in a directory.
type machine struct {
	t         *testing.T
	name, dir string
	store     *testenv.Server

	nspawn  *exec.Cmd
	console *os.File
	ended   chan struct{} // closed when nspawn has ended
	init    int           // the process of the machine's init, seen from here
}

// newMachine copies the tree and installs pailfs into it as make install does. It does not boot.
func newMachine(t *testing.T, store *testenv.Server) *machine {
	t.Helper()
	m := bareMachine(t, store, "PAILFS_TEST_TREE")
	m.host("make", "-s", "-C", testenv.Root(t), "install-files", "DESTDIR="+m.dir, "PAILFS="+testenv.Binary(t))
	return m
}

// bareMachine copies the tree that a variable names.
func bareMachine(t *testing.T, store *testenv.Server, variable string) *machine {
	t.Helper()
	testenv.Require(t)
	testenv.Programs(t, "systemd-nspawn", "nsenter", "cp", "make")
	tree := os.Getenv(variable)
	if tree == "" {
		t.Fatalf("%s must name a Debian tree: `make test-system` makes one", variable)
	}
	base, err := os.MkdirTemp("", "pailfs-system-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	m := &machine{t: t, name: filepath.Base(base), dir: base + "/root", store: store}
	m.host("cp", "-a", "--reflink=auto", tree, m.dir)
	m.console, err = os.Create(base + "/console")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(base + "/console")
			t.Logf("%s\nthe machine's console:\n%s", m.state(), b)
		}
		m.kill()
		m.sweep()
		m.console.Close()
	})
	return m
}

// host runs a command outside.
func (m *machine) host(args ...string) {
	m.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// file writes a file inside.
func (m *machine) file(name string, mode os.FileMode, text string) {
	m.t.Helper()
	name = filepath.Join(m.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode), os.Chmod(name, mode)); err != nil {
		m.t.Fatal(err)
	}
}

// boot starts the machine and returns when systemd has started what it starts at boot. It tells the machine's state: running,
// or degraded when a unit has failed.
func (m *machine) boot() string {
	m.t.Helper()
	m.nspawn = exec.Command("systemd-nspawn", "--quiet", "--boot", "--directory="+m.dir, "--machine="+m.name,
		"--register=no", "--keep-unit", "--console=pipe", "--bind=/dev/fuse", "--bind=/dev/autofs", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
		"--notify-ready=no", "systemd.show_status=0")
	m.nspawn.Stdout, m.nspawn.Stderr = m.console, m.console
	// It ends with this process, whatever happens to it.
	m.nspawn.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := m.nspawn.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	m.ended = ended
	go func(cmd *exec.Cmd) {
		defer close(ended)
		cmd.Wait() // its status is looked at by awaitEnd
	}(m.nspawn)
	m.await("the machine's init", bootTimeout, func() bool { m.init = childOf(m.nspawn.Process.Pid); return m.init != 0 })
	var state string
	m.await("the machine has booted", bootTimeout, func() bool {
		out, _ := m.try("systemctl", "is-system-running")
		state = strings.TrimSpace(out)
		return state == "running" || state == "degraded"
	})
	return state
}

// childOf is the process among the children of nspawn that is an init in a namespace of its own; 0 while there is none.
func childOf(pid int) int {
	names, _ := filepath.Glob("/proc/[0-9]*/status") // the pattern is well-formed
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := map[string]string{}
		for _, line := range strings.Split(string(b), "\n") {
			field, value, _ := strings.Cut(line, ":")
			fields[field] = strings.TrimSpace(value)
		}
		inner := strings.Fields(fields["NSpid"])
		if fields["Name"] == "systemd" && fields["PPid"] == strconv.Itoa(pid) && len(inner) > 1 && inner[len(inner)-1] == "1" {
			own, _ := strconv.Atoi(fields["Pid"])
			return own
		}
	}
	return 0
}

// try runs a command inside.
func (m *machine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(m.init), "-m", "-u", "-i", "-p", "-r", "-w", "--",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root", "SYSTEMD_PAGER="}, args...)...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("it has not ended after %v", commandTimeout)
	}
	return string(out), err
}

// sh runs a script inside, which must succeed.
func (m *machine) sh(script string) string {
	m.t.Helper()
	out, err := m.try("sh", "-euc", script)
	if err != nil {
		m.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

// begin starts a script inside and returns; the channel gives what it printed when it has ended.
func (m *machine) begin(script string) <-chan string {
	done := make(chan string, 1)
	go func() {
		out, err := m.try("sh", "-euc", script)
		if err != nil {
			out += fmt.Sprintf("\n%v\n", err)
		}
		done <- out
	}()
	return done
}

// show is a property of a unit.
func (m *machine) show(unit, property string) string {
	m.t.Helper()
	out, err := m.try("systemctl", "show", "--value", "-p", property, unit)
	if err != nil {
		m.t.Fatalf("systemctl show %s: %v\n%s", unit, err, out)
	}
	return strings.TrimSpace(out)
}

// awaitShow waits until a property of a unit has a value in it.
func (m *machine) awaitShow(unit, property, want string) string {
	m.t.Helper()
	var got string
	m.await(fmt.Sprintf("%s of %s has %q", property, unit, want), bootTimeout, func() bool {
		got = m.show(unit, property)
		return got == want || want != "" && property == "StatusText" && strings.Contains(got, want)
	})
	return got
}

// await waits until something is so.
func (m *machine) await(what string, limit time.Duration, so func() bool) {
	m.t.Helper()
	for until := time.Now().Add(limit); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			m.t.Fatalf("not after %v: %s\n%s", limit, what, m.state())
		}
	}
}

// state is what a failed test is told.
func (m *machine) state() string {
	if m.init == 0 {
		return ""
	}
	var b bytes.Buffer
	for _, args := range [][]string{
		{"systemctl", "--no-pager", "--failed"},
		{"systemctl", "--no-pager", "-l", "status", "pailfs@box"},
		{"journalctl", "--no-pager", "-n", "80"},
		{"findmnt", "-t", "fuse.pailfs"},
		{"sh", "-c", "tail -n 20 /var/lib/pailfs/log/*"},
	} {
		out, err := m.try(args...)
		fmt.Fprintf(&b, "%v: %v\n%s\n", args, err, out)
	}
	return b.String()
}

// shutdown asks the machine to power off or to reboot, and waits for its end.
func (m *machine) shutdown(how string) {
	m.t.Helper()
	m.sh("systemctl --no-block " + how)
	select {
	case <-m.ended:
	case <-time.After(bootTimeout):
		m.t.Fatalf("the machine has not ended after %v", bootTimeout)
	}
	m.init = 0
	want := 0
	if how == "reboot" {
		want = rebooting
	}
	if got := m.nspawn.ProcessState.ExitCode(); got != want {
		m.t.Fatalf("systemd-nspawn has ended with %d after %s, not with %d", got, how, want)
	}
}

// kill ends a machine at once.
func (m *machine) kill() {
	if m.nspawn == nil {
		return
	}
	select {
	case <-m.ended:
		return
	default:
	}
	if m.init != 0 {
		unix.Kill(m.init, unix.SIGKILL) // it may have ended
	}
	m.nspawn.Process.Kill() // likewise
	<-m.ended
}

// sweep removes what nspawn leaves on a host without systemd: its directory, and control groups without processes.
func (m *machine) sweep() {
	os.Remove("/run/systemd/nspawn/propagate/" + m.name)
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/payload") // the pattern is well-formed
	more, _ := filepath.Glob("/sys/fs/cgroup/*/supervisor")
	for _, top := range append(groups, more...) {
		var dirs []string
		filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			unix.Rmdir(dir) // one that is in use stays
		}
	}
}
