// Package cli holds the commands to what they promise about real mounts: in the background, at their end, at a crash and
// when the store is away.
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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(writerVar); name != "" {
		hold(name)
		return
	}
	testenv.Main(m)
}

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
	t.Cleanup(d.sweep)
	return d
}

// sweep takes away what a test that failed has left.
func (d *desk) sweep() {
	if d.mounted() {
		d.t.Errorf("%s is still mounted", d.mnt)
		d.pailfs("umount", "--force", "--timeout", "5s", d.mnt)
		unix.Unmount(d.mnt, unix.MNT_DETACH)
	}
	if d.t.Failed() {
		logs, _ := filepath.Glob(d.state + "/log/*")
		for _, name := range logs {
			b, _ := os.ReadFile(name)
			d.t.Logf("%s:\n%s", name, b)
		}
	}
}

func (d *desk) mounted() bool {
	d.t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(d.mnt))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(infos) > 0
}

// pailfs runs a command and returns what it printed and its exit code.
func (d *desk) pailfs(args ...string) (string, int) {
	d.t.Helper()
	binary := testenv.Binary(d.t) // building it takes its time
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = d.env
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) || ctx.Err() != nil {
		d.t.Fatalf("pailfs %v: %v\n%s", args, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
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
		if zombie(cmd.Process.Pid) || time.Now().After(until) {
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

// pid is the process that serves the mount, as its lock says.
func (d *desk) pid() int {
	d.t.Helper()
	locks, err := filepath.Glob(d.state + "/mounts/*/lock")
	if err != nil || len(locks) != 1 {
		d.t.Fatalf("%v %v", locks, err)
	}
	b, err := os.ReadFile(locks[0])
	if err != nil {
		d.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		d.t.Fatal(err)
	}
	return pid
}

// awaitEnd waits until a process that is not ours has ended.
func (d *desk) awaitEnd(pid int) {
	d.t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) || zombie(pid) && alone(pid) {
			return
		}
		if time.Now().After(until) {
			d.t.Fatalf("process %d has not ended", pid)
		}
	}
}

// alone says whether a process has no thread left but its first: the others close its files and let its locks go.
func alone(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err != nil || len(threads) <= 1
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

// zombie says whether a process has ended and nobody has asked for its status: init is slow in some containers.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(after, "Z")
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

func TestAMountInTheBackground(t *testing.T) {
	d := newDesk(t)
	d.mount("-o", "metadata_ttl=1s,noexec")
	if err := d.write("a", "hello"); err != nil {
		t.Error(err)
	}
	d.wantObject("a", "hello")
	pid := d.pid()
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || bytes.Contains(cmdline, []byte(d.store.SecretKey)) {
		t.Errorf("%q %v", cmdline, err)
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != "/" {
		t.Errorf("the process stands in %s: %v", cwd, err)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d: %v", sid, err)
	}
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(d.mnt))
	if err != nil || len(infos) != 1 || infos[0].FSType != "fuse.pailfs" || infos[0].Source != d.bucket ||
		!strings.Contains(infos[0].Options, "noexec") {
		t.Errorf("%+v %v", infos, err)
	}
	d.expect(6, []string{"mounted there already", "pailfs umount"}, "mount", d.bucket, d.mnt)
	d.expect(0, nil, "umount", d.mnt)
	if d.mounted() {
		t.Error("still mounted")
	}
	d.awaitEnd(pid) // it lets go of its runtime file a moment before
	d.expect(6, []string{"nothing is mounted there"}, "umount", d.mnt)
	logs, err := filepath.Glob(d.state + "/log/*.log")
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v %v", logs, err)
	}
	log, err := os.ReadFile(logs[0])
	if err != nil || !bytes.Contains(log, []byte("msg=mounted")) || bytes.Contains(log, []byte(d.store.SecretKey)) {
		t.Errorf("%s %v", log, err)
	}
}

func TestAMountInUse(t *testing.T) {
	d := newDesk(t)
	d.mount()
	w := d.open("open", "written, not closed")
	d.expect(6, []string{"in use by cli.test (pid " + strconv.Itoa(w.cmd.Process.Pid), "--force"}, "umount", d.mnt)
	if !d.mounted() {
		t.Fatal("a mount in use was taken away")
	}
	d.expect(0, nil, "umount", "--force", d.mnt)
	if d.mounted() {
		t.Error("still mounted")
	}
	d.wantObject("open", "written, not closed")
	w.fails()
}

func TestASignalStoresAndLeaves(t *testing.T) {
	d := newDesk(t)
	d.mount()
	w := d.open("open", "written")
	pid := d.pid()
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	if d.mounted() {
		t.Error("still mounted")
	}
	d.wantObject("open", "written")
	w.fails()
}

func TestAKilledProcess(t *testing.T) {
	d := newDesk(t)
	d.mount()
	pid := d.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	var st unix.Statfs_t
	err := unix.Statfs(d.mnt, &st)
	if errors.Is(err, unix.EIO) { // it was killed with this request in its hands
		err = unix.Statfs(d.mnt, &st)
	}
	if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("the killed mount answers: %v", err)
	}
	d.mount() // over the dead one
	if err := d.write("a", "x"); err != nil {
		t.Error(err)
	}
	pid = d.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	d.expect(0, []string{"ended without a word"}, "umount", d.mnt)
	if d.mounted() {
		t.Error("the dead mount is still there")
	}
}

func TestWhatTheStoreDoesNotHaveIsNamedAndStoredLater(t *testing.T) {
	d := newDesk(t)
	d.mount("--timeout", "2s")
	f, err := os.Create(d.mnt + "/late")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("kept bytes"); err != nil {
		t.Fatal(err)
	}
	d.store.Stop(t)
	if err := f.Close(); err == nil {
		t.Error("close succeeded without the store")
	}
	d.expect(8, []string{"not stored: " + d.bucket + "/late (10 B)", "1 file not stored", "kept in " + d.state}, "umount", d.mnt)
	// Without the store there is no mount, and what is kept stays.
	d.expect(4, []string{"refuses connections"}, "mount", d.bucket, d.mnt, "--timeout", "1s")
	d.store.Start(t)
	if _, ok := d.object("late"); ok {
		t.Fatal("the store has it already")
	}
	// Mounted read-only, nothing is written to the store.
	d.mount("--read-only")
	d.expect(0, nil, "umount", d.mnt)
	if _, ok := d.object("late"); ok {
		t.Error("a mount that is read-only has stored it")
	}
	d.mount()
	d.expect(0, nil, "umount", d.mnt)
	d.wantObject("late", "kept bytes")
}

func TestUmountTimesOutAndGoesOn(t *testing.T) {
	d := newDesk(t)
	d.mount("--timeout", "20s")
	w := d.open("slow", "bytes")
	d.store.Stop(t)
	d.expect(8, []string{"goes on in the background", "waits for it again"}, "umount", "--force", "--timeout", "200ms", d.mnt)
	d.expect(6, []string{"pailfs umount"}, "mount", d.bucket, d.mnt)
	again := d.startWaiting("umount", d.mnt) // before the store is back: what goes on must not end first
	d.store.Start(t)
	if err := again.Wait(); err != nil {
		t.Errorf("%v\n%s", err, again.Stderr)
	}
	d.wantObject("slow", "bytes")
	w.fails()
}

func TestTheForeground(t *testing.T) {
	d := newDesk(t)
	var stderr bytes.Buffer
	cmd := exec.Command(testenv.Binary(t), "mount", "-f", d.bucket, d.mnt, "--log-format", "json")
	cmd.Env, cmd.Stderr = d.env, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.awaitMount(ended, &stderr)
	if err := d.write("a", "x"); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	if !strings.Contains(stderr.String(), `"msg":"mounted"`) || !strings.Contains(stderr.String(), `"msg":"everything is stored"`) {
		t.Errorf("%s", stderr.String())
	}
	if d.mounted() {
		t.Error("still mounted")
	}
}

func TestASecondSignalDoesNotWaitForTheStore(t *testing.T) {
	d := newDesk(t)
	log := t.TempDir() + "/log"
	var stderr bytes.Buffer
	cmd := exec.Command(testenv.Binary(t), "mount", "-f", d.bucket, d.mnt, "--timeout", "1h", "--log-file", log)
	cmd.Env, cmd.Stderr = d.env, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.awaitMount(ended, &stderr)
	d.open("a", "not stored")
	d.store.Stop(t)
	for i, says := range []string{"msg=stopping", "not waiting for the store"} {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(i, err)
		}
		awaitLog(t, log, says) // two signals at once would be one
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Fatalf("still waiting for the store\n%s", stderr.String())
	}
	if code := cmd.ProcessState.ExitCode(); code != 8 || !strings.Contains(stderr.String(), "pailfs: mount: 1 file not stored (10 B)") ||
		!strings.Contains(stderr.String(), "hint: kept in "+d.state) {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	d.store.Start(t)
	d.mount()
	d.expect(0, nil, "umount", d.mnt)
	d.wantObject("a", "not stored")
}

func TestAPlainUmountIsEnough(t *testing.T) {
	d := newDesk(t)
	d.mount()
	if err := d.write("a", "x"); err != nil {
		t.Error(err)
	}
	pid := d.pid()
	if err := unix.Unmount(d.mnt, 0); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	d.wantObject("a", "x")
	if left, err := os.ReadDir(filepath.Dir(d.mnt) + "/run"); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}

func TestTheLogIsOpenedAgain(t *testing.T) {
	d := newDesk(t)
	log := t.TempDir() + "/pailfs.log"
	d.mount("--log-file", log)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(d.pid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "log opened again")
	if fi, err := os.Stat(log); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	d.expect(0, nil, "umount", d.mnt)
}
