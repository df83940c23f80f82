package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// nobody is a user without any right: no capability, no /dev/fuse.
const nobody = 65534

// program is a pailfs that runs beside the test.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	log   string // file of its output
	ended chan struct{}
}

// how a program is started.
type how struct {
	user  int        // 0: root
	files []*os.File // from number 3 on
	run   string     // its PAILFS_RUN_DIR, "" for the desk's
	under []string   // a program that starts it: unshare, nsenter
}

// start runs pailfs in the foreground.
func (d *desk) start(h how, args ...string) *program {
	d.t.Helper()
	log, err := os.CreateTemp(filepath.Dir(d.mnt), "log-")
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	line := append(append(h.under, testenv.Binary(d.t)), args...)
	p := &program{t: d.t, cmd: exec.Command(line[0], line[1:]...), log: log.Name(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = log, log, h.files
	p.cmd.Env, p.cmd.Dir = d.env[:len(d.env):len(d.env)], "/"
	if h.run != "" {
		p.cmd.Env = append(p.cmd.Env, "PAILFS_RUN_DIR="+h.run)
	}
	if h.user != 0 {
		p.cmd.Env = append(p.cmd.Env, "HOME=/")
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(h.user), Gid: uint32(h.user)}}
	}
	if err := p.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // its state is looked at
		close(p.ended)
	}()
	d.t.Cleanup(p.end)
	return p
}

// end takes away what a test that failed has left.
func (p *program) end() {
	select {
	case <-p.ended:
	default:
		p.t.Errorf("%v is still running", p.cmd.Args)
		p.cmd.Process.Kill()
		<-p.ended
	}
	if p.t.Failed() {
		p.t.Logf("%v:\n%s", p.cmd.Args, p.said())
	}
}

func (p *program) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Error(err)
	}
	return string(b)
}

// says waits until the program has said something n times.
func (p *program) says(text string, n int) {
	p.t.Helper()
	for until := time.Now().Add(30 * time.Second); strings.Count(p.said(), text) < n; time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.ended:
			if strings.Count(p.said(), text) < n {
				p.t.Fatalf("it has ended (%v) without saying %q:\n%s", p.cmd.ProcessState, text, p.said())
			}
		default:
		}
		if time.Now().After(until) {
			p.t.Fatalf("it does not say %q:\n%s", text, p.said())
		}
	}
}

func (p *program) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the end, with an exit code (-1: by a signal), and for words that the program has said.
func (p *program) ends(code int, words ...string) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.signal(unix.SIGQUIT)
		<-p.ended
		p.t.Fatalf("it does not end:\n%s", p.said())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%v: exit code %d, want %d:\n%s", p.cmd.Args, got, code, p.said())
	}
	for _, w := range words {
		if !strings.Contains(p.said(), w) {
			p.t.Errorf("%v: %q is missing in\n%s", p.cmd.Args, w, p.said())
		}
	}
}

// forNobody gives a user without rights what a mount of its own needs: the way to the test's directory, and a directory for
// state and one for runtime files, which is returned.
func (d *desk) forNobody() (run string) {
	d.t.Helper()
	base := filepath.Dir(d.mnt)
	for dir := base; dir != "/" && dir != "/tmp"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, dir := range []string{filepath.Dir(testenv.Binary(d.t)), testenv.Binary(d.t)} {
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm()&0o011 == 0 {
			if err := os.Chmod(dir, 0o755); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	run = base + "/run-nobody"
	for _, dir := range []string{d.state, run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			d.t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			d.t.Fatal(err)
		}
	}
	return run
}

// fuseAt mounts a descriptor of /dev/fuse, as somebody does who wants it served by somebody else.
func (d *desk) fuseAt(dir string) *os.File {
	d.t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other,default_permissions", f.Fd(), nobody, nobody)
	if err := unix.Mount("given", dir, "fuse.pailfs", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		f.Close() // the test may have done so
		unix.Unmount(dir, unix.MNT_DETACH)
	})
	return f
}

// isDead says whether the process behind the mount is gone.
func (d *desk) isDead() bool {
	var st unix.Statfs_t
	err := unix.Statfs(d.mnt, &st)
	return err == unix.ENOTCONN || err == unix.ECONNABORTED || err == unix.EIO
}

// reads wants a file of the mount to be what it says.
func (d *desk) reads(name, want string) {
	d.t.Helper()
	if b, err := os.ReadFile(filepath.Join(d.mnt, name)); err != nil || !bytes.Equal(b, []byte(want)) {
		d.t.Errorf("%s is %q (%v), want %q", name, b, err, want)
	}
}
