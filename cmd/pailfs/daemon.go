package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// readyFD names the variable that tells a child which file descriptor its parent waits on.
const readyFD = "PAILFS_READY_FD"

// startGrace is how long a child that was told to stop before it was ready may take.
const startGrace = 15 * time.Second

// readiness is what a child tells its parent, once: the mount answers, or why it does not.
type readiness struct {
	Ready   bool   `json:"ready"`
	Code    int    `json:"code,omitempty"`
	Command string `json:"command,omitempty"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`

	Notes []string `json:"notes,omitempty"`
}

func readinessOf(f *failure) readiness {
	if f == nil {
		return readiness{Ready: true}
	}
	return readiness{Code: f.code, Command: f.command, Message: f.message, Hint: f.hint}
}

// printNotes tells what is worth knowing of a mount that works.
func (r readiness) printNotes(w io.Writer) {
	for _, n := range r.Notes {
		fmt.Fprintf(w, "pailfs: note: %s\n", oneLine(n))
	}
}

// startDaemon starts this program again in a session of its own and returns when the mount answers or has failed.
// Arguments and environment are the same: no secret is added to either.
func startDaemon(ctx context.Context, plan *mountPlan, std stdio) error {
	name := plan.daemonLog()
	log, err := openLog(name)
	if err != nil {
		return plan.logFailure(err, name)
	}
	defer log.Close()
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	child, answers, err := spawn(std.args, log.File(), plan.FD)
	if err != nil {
		return plan.failure(err, "start a process in the background")
	}
	defer answers.Close()
	got, err := awaitReady(ctx, child, answers)
	if err == nil && got.Ready {
		if ctx.Err() == nil {
			got.printNotes(std.err)
			return child.Release()
		}
		err = child.Signal(unix.SIGTERM) // ready too late: it unmounts again
	}
	_, waitErr := child.Wait()
	switch {
	case ctx.Err() != nil:
		return &failure{code: exitInterrupted, command: "mount", message: "interrupted"}
	case err != nil:
		return &failure{code: exitGeneral, command: "mount",
			message: fmt.Sprintf("cannot %s: the process in the background ended without a word", plan.about.cannot),
			hint:    fmt.Sprintf("its log may say why: %s%s", name, suffix(waitErr))}
	}
	return &failure{code: got.Code, command: got.Command, message: got.Message, hint: got.Hint}
}

func suffix(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}

// daemonLog is where a mount in the background logs.
func (p *mountPlan) daemonLog() string {
	if p.LogFile != "" {
		return p.LogFile
	}
	return filepath.Join(p.StateDir, "log", escapeName(p.mountpoint)+".log")
}

// spawn starts the child. Its standard output and error are the log: what the runtime writes at a crash goes there. The
// descriptor of a lent mount, 0 for none, has the same number in it.
func spawn(args []string, log *os.File, fd int) (child *os.Process, answers *os.File, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	answers, end, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	files, ready, err := filesOfChild(end, fd)
	if err != nil {
		return nil, nil, errors.Join(err, answers.Close(), end.Close())
	}
	cmd := &exec.Cmd{
		Path: exe, Args: args, Stdout: log, Stderr: log, ExtraFiles: files,
		Env: append(withoutUnit(os.Environ()), fmt.Sprintf("%s=%d", readyFD, ready)),
	}
	err = cmd.Start()
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
	if err != nil {
		answers.Close()
		return nil, nil, err
	}
	return cmd.Process, answers, nil
}

// awaitReady waits for the child's word. When ctx ends the child is told to stop, and killed if it does not.
func awaitReady(ctx context.Context, child *os.Process, answers io.Reader) (readiness, error) {
	type word struct {
		r   readiness
		err error
	}
	said := make(chan word, 1)
	go func() {
		var w word
		w.err = json.NewDecoder(answers).Decode(&w.r)
		said <- w
	}()
	select {
	case w := <-said:
		return w.r, w.err
	case <-ctx.Done():
	}
	err := child.Signal(unix.SIGTERM)
	grace := time.NewTimer(startGrace)
	defer grace.Stop()
	select {
	case w := <-said:
		return w.r, errors.Join(w.err, err)
	case <-grace.C:
		return readiness{}, errors.Join(ctx.Err(), err, child.Kill())
	}
}

// readyPipe is the pipe to the parent, when this process is the child of a mount command. Programs that this one starts
// must not inherit it: the parent would wait for them.
func readyPipe() (*os.File, bool) {
	fd, err := strconv.Atoi(os.Getenv(readyFD))
	if err != nil || fd < 3 {
		return nil, false
	}
	os.Unsetenv(readyFD)
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "ready"), true
}

// serveInBackground is the child's whole life. Errors before the mount answers, planErr first, go to the parent, later
// ones to the log.
func serveInBackground(ctx context.Context, plan *mountPlan, planErr error, pipe *os.File) error {
	tell := func(f *failure) {
		// A parent that is gone reads nothing: the mount stands all the same.
		r := readinessOf(f)
		if plan != nil {
			r.Notes = plan.notes
		}
		_ = json.NewEncoder(pipe).Encode(r)
		pipe.Close()
	}
	if planErr != nil {
		tell(failureOf(planErr))
		return planErr
	}
	name := plan.daemonLog()
	l, err := openLog(name)
	if err != nil {
		f := plan.logFailure(err, name)
		tell(f)
		return f
	}
	defer l.Close()
	plan.LogFile = name
	log := newLog(l, plan.settings)
	ready := func(f *failure) {
		if f == nil {
			leaveSession(log)
		}
		tell(f)
	}
	s := &service{plan: plan, log: log, ready: ready, reopenLog: func() error { return followLog(l) }, show: newStoringShow(nil, log)}
	crashesTo(l.File(), log)
	if err := os.Chdir("/"); err != nil { // hold no directory busy
		log.Warn("the working directory stays", "err", err)
	}
	err = s.run(ctx)
	if err != nil {
		f := *failureOf(err)
		f.silent = true // it is in the log, and was told to whoever waited
		return &f
	}
	return nil
}

// leaveSession gives the process a session of its own, once it has mounted and not before: an automount point (autofs) lets the
// process group of systemd's mount command pass, and holds everybody else until the mount is there.
func leaveSession(log *slog.Logger) {
	if _, err := unix.Setsid(); err != nil {
		log.Warn("the process stays in the session of the command that began it", "err", err)
	}
}

// followLog opens the log again and sends standard output and error after it.
func followLog(l *logFile) error {
	if err := l.Reopen(); err != nil {
		return err
	}
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(l.File().Fd()), fd, 0); err != nil {
			return err
		}
	}
	return nil
}
