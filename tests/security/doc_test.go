// Package security holds the program to docs/threat-model.md, on real mounts: what other users of the host, the content of a bucket, a
// store that means harm and a log that gets out can do. What needs no mount is tested beside the code: s3client/hostile_test.go,
// s3client/tls_test.go, and the fuzz targets.
package security

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"

	"pailfs/tests/testenv"
)

// nobody is a user without any right.
const nobody = 65534

// childVar makes this program do one thing as somebody else: see child.
const childVar = "PAILFS_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childVar); what != "" {
		os.Exit(child(what, os.Args[1:]))
	}
	testenv.Main(m)
}

// host is one user's surroundings: directories, and the environment of the commands.
type host struct {
	t                     *testing.T
	base, mnt, state, run string
	env                   []string
}

func newHost(t *testing.T, env ...string) *host {
	t.Helper()
	testenv.Require(t)
	base, err := os.MkdirTemp("", "pfs-") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	if base, err = filepath.EvalSymlinks(base); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, base: base, mnt: base + "/mnt", state: base + "/state", run: base + "/run"}
	for _, d := range []string{h.mnt, base + "/home"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "PAILFS_") && !strings.HasPrefix(name, "AWS_") && !strings.HasPrefix(name, "OS_") && !strings.HasPrefix(name, "XDG_") && !strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			h.env = append(h.env, v)
		}
	}
	h.env = append(h.env, "HOME="+base+"/home", "PAILFS_RUN_DIR="+h.run, "PAILFS_STATE_DIR="+h.state, "CACHE_DIRECTORY="+base+"/cache", "TMPDIR="+base, "PAILFS_TIMEOUT=5s", "AWS_EC2_METADATA_DISABLED=true")
	h.env = append(h.env, env...)
	t.Cleanup(func() { testenv.Sweep(t, h.mnt, h.state, h.env) })
	return h
}

// of adds a store to the environment.
func (h *host) of(s *testenv.Server) {
	h.env = append(h.env, "PAILFS_ENDPOINT="+s.Endpoint, "PAILFS_REGION="+s.Region)
}

func (h *host) mounted() bool {
	h.t.Helper()
	return testenv.Mounted(h.t, h.mnt)
}

// info is the mount as the mount table has it.
func (h *host) info() *mountinfo.Info {
	h.t.Helper()
	return testenv.MountInfo(h.t, h.mnt)
}

// pailfs runs a command and returns what it printed, on both ways, and its exit code.
func (h *host) pailfs(args ...string) (string, int) {
	h.t.Helper()
	return h.pailfsWith(nil, args...)
}

func (h *host) pailfsWith(env []string, args ...string) (string, int) {
	h.t.Helper()
	return testenv.Run(h.t, h.base, append(h.env[:len(h.env):len(h.env)], env...), args...)
}

// expect runs a command that must end with a code, and gives what it printed.
func (h *host) expect(code int, args ...string) string {
	h.t.Helper()
	out, got := h.pailfs(args...)
	if got != code {
		h.t.Errorf("pailfs %v: exit code %d, want %d\n%s", args, got, code, out)
	}
	return out
}

func (h *host) mount(args ...string) {
	h.t.Helper()
	if out := h.expect(0, append([]string{"mount"}, args...)...); !h.mounted() {
		h.t.Fatalf("nothing is mounted:\n%s", out)
	}
}

// pid is the process that serves the mount.
func (h *host) pid() int {
	h.t.Helper()
	return testenv.ServingPID(h.t, h.state)
}

// logText is the mount's log.
func (h *host) logText() string {
	h.t.Helper()
	logs, err := filepath.Glob(h.state + "/log/*")
	if err != nil || len(logs) != 1 {
		h.t.Fatalf("%v %v", logs, err)
	}
	b, err := os.ReadFile(logs[0])
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *host) awaitEnd(pid int) {
	h.t.Helper()
	testenv.AwaitEnd(h.t, pid)
}

// as runs this program as a user without rights: what says which of the things in child, and its output and error are given.
func (h *host) as(user int, what string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = "/"
	cmd.Env = []string{childVar + "=" + what}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// pailfsAs runs a command as another user.
func (h *host) pailfsAs(user int, args ...string) (string, int) {
	h.t.Helper()
	binary := testenv.Binary(h.t)
	open := filepath.Join(h.base, "pailfs")
	if _, err := os.Stat(open); err != nil { // the program may lie where that user cannot go
		in, err := os.Open(binary)
		if err != nil {
			h.t.Fatal(err)
		}
		defer in.Close()
		out, err := os.OpenFile(open, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
		if err != nil {
			h.t.Fatal(err)
		}
		_, err = io.Copy(out, in)
		if err = errors.Join(err, out.Chmod(0o755), out.Close()); err != nil {
			h.t.Fatal(err)
		}
	}
	cmd := exec.Command(open, args...)
	cmd.Dir, cmd.Env = "/", h.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
