package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

// writerVar makes this program a process that holds a file open, see desk.open.
const writerVar = "PAILFS_TEST_WRITER"

// hold makes a file, writes its own input's first line to it and keeps it open until the input ends.
func hold(name string) {
	f, err := os.Create(name)
	in := bufio.NewReader(os.Stdin)
	if err == nil {
		var line string
		line, _ = in.ReadString('\n') // an empty line is written as well
		_, err = f.WriteString(strings.TrimSuffix(line, "\n"))
	}
	fmt.Println("written", err)
	io.Copy(io.Discard, in)
	if err == nil {
		_, err = f.WriteString("more")
	}
	fmt.Println("more", err)
	fmt.Println("closed", f.Close())
}

// desk is one user's surroundings: a store with a bucket, directories, and the environment of the commands.
type desk struct {
	t      *testing.T
	store  *testenv.Server
	bucket string
	mnt    string
	state  string
	env    []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	testenv.Require(t)
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, store: testenv.StoreIn(t, t.TempDir()), mnt: base + "/mnt", state: base + "/state"}
	d.bucket = d.store.Bucket(t)
	if err := os.Mkdir(d.mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PAILFS_") && !strings.HasPrefix(v, "AWS_") {
			d.env = append(d.env, v)
		}
	}
	d.env = append(append(d.env, d.store.Env()...), "PAILFS_ENDPOINT="+d.store.Endpoint, "PAILFS_REGION="+d.store.Region,
		"PAILFS_STATE_DIR="+d.state, "PAILFS_RUN_DIR="+base+"/run", "TMPDIR="+base, "PAILFS_TIMEOUT=5s") // TMPDIR: where root looks for the mounts of users
	t.Cleanup(func() { testenv.Sweep(t, d.mnt, d.state, d.env) })
	return d
}

func (d *desk) mounted() bool {
	d.t.Helper()
	return testenv.Mounted(d.t, d.mnt)
}

// pailfs runs a command and returns what it printed and its exit code.
func (d *desk) pailfs(args ...string) (string, int) {
	d.t.Helper()
	return testenv.Run(d.t, "", d.env, args...)
}

// startWaiting starts a command that waits for a mount, and returns when it has the mount's runtime file open.
func (d *desk) startWaiting(args ...string) *exec.Cmd {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, testenv.Binary(d.t), args...)
	cmd.Env, cmd.Stderr = d.env, new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		cancel()
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		cancel()
		cmd.Wait() // the test may have done so
	})
	run := filepath.Dir(d.mnt) + "/run/"
	fds := fmt.Sprintf("/proc/%d/fd/", cmd.Process.Pid)
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		entries, _ := os.ReadDir(fds)
		for _, e := range entries {
			if file, err := os.Readlink(fds + e.Name()); err == nil && strings.HasPrefix(file, run) {
				return cmd
			}
		}
		if testenv.Zombie(cmd.Process.Pid) || time.Now().After(until) {
			cancel()
			d.t.Fatalf("pailfs %v does not wait: %v\n%s", args, cmd.Wait(), cmd.Stderr)
		}
	}
}

// expect runs a command that must end with a code and print the given words.
func (d *desk) expect(code int, words []string, args ...string) {
	d.t.Helper()
	out, got := d.pailfs(args...)
	if got != code {
		d.t.Errorf("pailfs %v: exit code %d, want %d\n%s", args, got, code, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			d.t.Errorf("pailfs %v: %q is missing in\n%s", args, w, out)
		}
	}
	if strings.Contains(out, d.store.SecretKey) {
		d.t.Errorf("pailfs %v shows the secret:\n%s", args, out)
	}
}

func (d *desk) mount(args ...string) {
	d.t.Helper()
	d.expect(0, nil, append([]string{"mount", d.bucket, d.mnt}, args...)...)
	if !d.mounted() {
		d.t.Fatal("the command is back and nothing is mounted")
	}
}

// pid is the process that serves the mount.
func (d *desk) pid() int {
	d.t.Helper()
	return testenv.ServingPID(d.t, d.state)
}

func (d *desk) awaitEnd(pid int) {
	d.t.Helper()
	testenv.AwaitEnd(d.t, pid)
}

// awaitMount waits until a mount in the foreground is there.
func (d *desk) awaitMount(ended <-chan error, stderr *bytes.Buffer) {
	d.t.Helper()
	for !d.mounted() {
		select {
		case err := <-ended:
			d.t.Fatalf("%v\n%s", err, stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// awaitLog waits until a log says something.
func awaitLog(t *testing.T, name, text string) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), text) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s does not say %q", name, text)
		}
	}
}

func (d *desk) write(name, text string) error {
	return os.WriteFile(filepath.Join(d.mnt, name), []byte(text), 0o644)
}

// writer is a process that has a file of the mount open.
type writer struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// open makes a file, writes to it and leaves it open, in a process of its own: when a process with open files starts
// another one, each of them is flushed.
func (d *desk) open(name, text string) *writer {
	d.t.Helper()
	w := &writer{t: d.t, cmd: exec.Command(os.Args[0])}
	w.cmd.Env = append(os.Environ(), writerVar+"="+filepath.Join(d.mnt, name))
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		d.t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	w.out = bufio.NewReader(out)
	if err := w.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		w.in.Close()
		w.cmd.Process.Kill() // it may have ended
		w.cmd.Wait()
	})
	if _, err := fmt.Fprintln(w.in, text); err != nil {
		d.t.Fatal(err)
	}
	w.says("written <nil>")
	return w
}

// says reads the writer's next line, which begins so.
func (w *writer) says(want string) {
	w.t.Helper()
	line, err := w.out.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, want) {
		w.t.Errorf("the writer says %q (%v), want %q", line, err, want)
	}
}

// fails lets the writer write more and close, which must both fail.
func (w *writer) fails() {
	w.t.Helper()
	w.in.Close()
	for _, what := range []string{"more ", "closed "} {
		line, err := w.out.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, what) || strings.HasPrefix(line, what+"<nil>") {
			w.t.Errorf("the writer says %q (%v): an error was due", line, err)
		}
	}
}

// ends lets the writer write more and close, which must both succeed.
func (w *writer) ends() {
	w.t.Helper()
	w.in.Close()
	w.says("more <nil>")
	w.says("closed <nil>")
}

// object is what the store has under a key, "" and false when nothing.
func (d *desk) object(key string) (string, bool) {
	d.t.Helper()
	body, _, err := d.store.Client.Get(d.t.Context(), s3client.GetRequest{Bucket: d.bucket, Key: key})
	if errors.Is(err, s3client.NotFound) {
		return "", false
	}
	if err != nil {
		d.t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b), true
}

func (d *desk) wantObject(key, want string) {
	d.t.Helper()
	if got, ok := d.object(key); !ok || got != want {
		d.t.Errorf("the store has %q (%v) under %s, want %q", got, ok, key, want)
	}
}
