package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openTestRuntime(t *testing.T, dir string) *runtimeFile {
	t.Helper()
	r, err := openRuntime(dir, runtimeState{PID: os.Getpid(), Mountpoint: "/mnt/x", Source: "b", Started: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func viewOf(t *testing.T, dirs ...string) *runtimeView {
	t.Helper()
	v, err := viewRuntime(dirs, "/mnt/x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestARuntimeFileTellsHowAMountGoes(t *testing.T) {
	dir := t.TempDir() + "/run"
	r := openTestRuntime(t, dir)
	v := viewOf(t, t.TempDir(), dir)
	if v.Ended() {
		t.Error("a mount that is served has ended")
	}
	if _, err := openRuntime(dir, runtimeState{Mountpoint: "/mnt/x"}); !errors.Is(err, errServed) || !strings.Contains(err.Error(), "pid") {
		t.Errorf("a second one at the same place: %v", err)
	}
	if other, err := openRuntime(dir, runtimeState{Mountpoint: "/mnt/y"}); err != nil {
		t.Errorf("one at another place: %v", err)
	} else if err := other.Discard(); err != nil {
		t.Error(err)
	}
	if err := r.Progress(5, 10); err != nil {
		t.Fatal(err)
	}
	if s, err := v.Read(); err != nil || s.PID != os.Getpid() || s.Progress == nil || *s.Progress != (progress{Done: 5, Total: 10}) || s.Result != nil {
		t.Errorf("%+v %v", s, err)
	}
	if err := r.Names(1, 3); err != nil {
		t.Fatal(err)
	}
	if s, err := v.Read(); err != nil || *s.Progress != (progress{Done: 5, Total: 10, NamesDone: 1, Names: 3}) || s.Progress.String() != "5 B of 10 B, 1 of 3 names" {
		t.Errorf("%+v %v", s, err)
	}
	res := result{Code: exitUnsaved, Message: "m", Unsaved: []unsavedFile{{Path: "b/k", Bytes: 3}}}
	if err := r.Finish(res); err != nil {
		t.Fatal(err)
	}
	if s, err := v.Read(); !v.Ended() || err != nil || s.Result == nil || s.Result.Code != exitUnsaved || len(s.Result.Unsaved) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if err := r.Progress(6, 10); !errors.Is(err, os.ErrClosed) {
		t.Errorf("progress after the end: %v", err)
	}
	again := openTestRuntime(t, dir) // over the file of the last one
	if s, err := viewOf(t, dir).Read(); err != nil || s.Result != nil {
		t.Errorf("the new mount shows the old result: %+v %v", s, err)
	}
	if v.Ended() {
		t.Error("the file is the same, and served again")
	}
	if err := again.Discard(); err != nil {
		t.Error(err)
	}
}

func TestAGoodEndLeavesNoFileButIsRead(t *testing.T) {
	dir := t.TempDir()
	r := openTestRuntime(t, dir)
	v := viewOf(t, dir)
	if err := r.Finish(result{}); err != nil {
		t.Fatal(err)
	}
	if _, err := viewRuntime([]string{dir}, "/mnt/x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if s, err := v.Read(); err != nil || !v.Ended() || s.Result == nil || s.Result.Code != exitOK {
		t.Errorf("%+v %v", s, err)
	}
	v.Forget(dir) // nothing to remove, and nothing else is removed
	next := openTestRuntime(t, dir)
	v.Forget(dir)
	if err := next.Progress(1, 1); err != nil || !sameFile(next.mu.f, next.path) {
		t.Errorf("the next mount's file is gone: %v", err)
	}
	if err := next.Discard(); err != nil {
		t.Error(err)
	}
}

func TestLongAndShortStatesOverEachOther(t *testing.T) {
	dir := t.TempDir()
	r := openTestRuntime(t, dir)
	v := viewOf(t, dir)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range int64(300) {
			if err := r.Progress(i*i*i*i*i%997, 1<<(i%60)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 300 {
		if s, err := v.Read(); err == nil && s.Mountpoint != "/mnt/x" {
			t.Errorf("%+v", s)
		}
	}
	wg.Wait()
	if s, err := v.Read(); err != nil || s.Progress == nil || s.Progress.Total != 1<<(299%60) {
		t.Errorf("%+v %v", s, err)
	}
	if err := r.Discard(); err != nil {
		t.Error(err)
	}
}

func TestReadersDoNotKeepAMountFromStarting(t *testing.T) {
	dir := t.TempDir()
	r := openTestRuntime(t, dir)
	if err := r.Finish(result{Code: 1}); err != nil {
		t.Fatal(err)
	}
	v := viewOf(t, dir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					v.Ended()
				}
			}
		})
	}
	for range 20 {
		if err := openTestRuntime(t, dir).Finish(result{Code: 1}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestNoPlainFileIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(runtimePath(dir, "/mnt/x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := viewRuntime([]string{dir}, "/mnt/x"); err == nil {
		t.Error("a pipe was taken for a runtime file")
	}
	other := t.TempDir()
	if err := os.Symlink("/etc/hostname", runtimePath(other, "/mnt/x")); err != nil {
		t.Fatal(err)
	}
	if _, err := viewRuntime([]string{other}, "/mnt/x"); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a symbolic link: %v", err)
	}
}

// TestHeldRuntimeHelper is no test: it is the process of TestAKilledMount.
func TestHeldRuntimeHelper(t *testing.T) {
	dir := os.Getenv("PAILFS_TEST_HOLD")
	if dir == "" {
		return
	}
	openTestRuntime(t, dir)
	os.Stdout.WriteString("held\n")
	select {}
}

func TestAKilledMount(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHeldRuntimeHelper$")
	cmd.Env = append(os.Environ(), "PAILFS_TEST_HOLD="+dir, "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	v := viewOf(t, dir)
	if v.Ended() {
		t.Error("it is held by another process")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // its error is the kill
	if s, err := v.Read(); !v.Ended() || err != nil || s.Result != nil || s.PID != cmd.Process.Pid {
		t.Errorf("%v %+v %v", v.Ended(), s, err)
	}
}

// A runtime file speaks for processes of its owner alone.
func TestARuntimeFileOwnsItsUsersProcesses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give the file away")
	}
	path := t.TempDir() + "/m.json"
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := openView(path)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if !v.Owns(os.Getpid()) || !v.Owns(1<<30) {
		t.Error("a process of the same user, or one that is gone, is not owned")
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if v.Owns(os.Getpid()) {
		t.Error("root's process is owned by a user's file")
	}
}
