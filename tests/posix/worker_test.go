package posix

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// workerVar makes this program a worker.
	workerVar = "PAILFS_TEST_POSIX_WORKER"
	// ruleTimeout bounds a rule: one that hangs is killed with its worker.
	ruleTimeout = time.Minute

	// The ordinary user: an id, a group of its own, and one more group. No such user need exist.
	userID  = 12345
	groupID = 23456
	// otherID is somebody else.
	otherID = 12346
)

// task is what a worker is asked to do.
type task struct {
	Family string
	Rule   string
	Path   string // the rule's directory, made by the worker if it is not there
}

// worker is a process that runs rules, one after the other.
type worker struct {
	who    who
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr strings.Builder
}

// credentials are whose the process is; root's are nil.
func (w who) credentials() *syscall.Credential {
	if w == root {
		return nil
	}
	return &syscall.Credential{Uid: userID, Gid: userID, Groups: []uint32{groupID}}
}

// self is this program again as somebody: its path may lie where that one cannot go, the link in /proc never does.
func (w who) self(env string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.credentials()}
	return cmd
}

func startWorker(t *testing.T, w who) *worker {
	t.Helper()
	p := &worker{who: w, cmd: w.self(workerVar + "=1")}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// run has a rule run.
func (p *worker) run(tk task) (o outcome, err error) {
	hung := time.AfterFunc(ruleTimeout, func() { p.cmd.Process.Kill() }) // fails only when it has ended
	defer hung.Stop()
	if err := json.NewEncoder(p.in).Encode(tk); err != nil {
		return o, err
	}
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		p.stop()
		return o, fmt.Errorf("the worker has ended: %v: %w\n%s", p.cmd.ProcessState, err, p.stderr.String())
	}
	return o, nil
}

// stop ends the process: it leaves when nothing more can come.
func (p *worker) stop() {
	p.in.Close()
	p.cmd.Wait() // what it has to say it has said
}

// work is the worker's side. It returns when its input ends.
func work() int {
	unix.Umask(0o022)
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var tk task
		err := in.Decode(&tk)
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err == nil {
			err = out.Encode(carryOut(tk))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			return 1
		}
	}
}

func carryOut(tk task) outcome {
	r, ok := find(tk.Family, tk.Rule)
	if !ok {
		return outcome{Got: "wrong", Text: "no such rule"}
	}
	if err := unix.Mkdir(tk.Path, 0o755); err != nil && err != unix.EEXIST { // it is there where root has prepared something
		return outcome{Got: "wrong", Text: "the rule's directory: " + err.Error()}
	}
	return r.run(tk.Path)
}

func find(inFamily, name string) (rule, bool) {
	for _, f := range everything() {
		for _, r := range f.rules {
			if f.name == inFamily && r.name == name {
				return r, true
			}
		}
	}
	return rule{}, false
}
