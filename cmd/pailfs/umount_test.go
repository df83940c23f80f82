package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/fs/journal"
	"pailfs/fs/outbox"
)

// testUmount unmounts /mnt/x, where nothing is mounted.
func testUmount(dir string) (*umount, *strings.Builder) {
	var b strings.Builder
	return &umount{given: "/mnt/x", mountpoint: "/mnt/x", std: stdio{out: &b, err: &b}, dirs: []string{dir}}, &b
}

func TestUmountPassesTheResultOn(t *testing.T) {
	for _, c := range []struct {
		res     result
		code    int
		printed string
	}{
		{result{}, exitOK, ""},
		{result{Code: exitUnsaved, Message: "2 files not stored", Hint: "kept", Unsaved: []unsavedFile{{Path: "b/a", Bytes: 1024, Error: "refused\nagain"}, {Path: "b/b"}}},
			exitUnsaved, "not stored: b/a (1 KiB): refused again\nnot stored: b/b (0 B)\n"},
		{result{Code: exitGeneral, Message: "odd"}, exitGeneral, ""},
	} {
		dir := t.TempDir()
		r := openTestRuntime(t, dir)
		u, out := testUmount(dir)
		v := viewOf(t, dir)
		if err := r.Finish(c.res); err != nil {
			t.Fatal(err)
		}
		err := u.await(t.Context(), v)
		code := exitOK
		if err != nil {
			code = failureOf(err).code
		}
		if code != c.code || out.String() != c.printed {
			t.Errorf("%+v: code %d, printed %q", c.res, code, out)
		}
		if _, err := os.Stat(r.path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file was left: %v", err)
		}
	}
}

func TestUmountWaitsForTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := openTestRuntime(t, dir)
		u, _ := testUmount(dir)
		v := viewOf(t, dir)
		go func() {
			time.Sleep(time.Minute)
			if err := r.Finish(result{}); err != nil {
				t.Error(err)
			}
		}()
		began := time.Now()
		if err := u.await(t.Context(), v); err != nil || time.Since(began) < time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestUmountStopsWaitingAtItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := openTestRuntime(t, dir)
		if err := r.Progress(1<<20, 4<<20); err != nil {
			t.Fatal(err)
		}
		u, _ := testUmount(dir)
		u.timeout = 5 * time.Second
		began := time.Now()
		f := failureOf(u.await(t.Context(), viewOf(t, dir)))
		if f.code != exitUnsaved || !strings.Contains(f.message, "1 MiB of 4 MiB stored") || time.Since(began) != 5*time.Second {
			t.Errorf("%+v after %v", f, time.Since(began))
		}
		if err := r.Discard(); err != nil {
			t.Error(err)
		}
	})
}

func TestUmountOfAKilledMount(t *testing.T) {
	dir := t.TempDir()
	r := openTestRuntime(t, dir)
	if err := r.close(); err != nil { // as the kernel does for a killed process
		t.Fatal(err)
	}
	u, out := testUmount(dir)
	if err := u.await(t.Context(), viewOf(t, dir)); err != nil || !strings.Contains(out.String(), "ended without a word") {
		t.Errorf("%v %q", err, out)
	}
}

// What a killed mount had not stored is told, and that it is kept.
func TestUmountOfAKilledMountThatHadNotStoredAll(t *testing.T) {
	dir, stateDir := t.TempDir(), t.TempDir()
	j, err := journal.Open(journalDir(stateDir, "/mnt/x"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.NewSpool()
	if err == nil {
		_, err = s.WriteAt([]byte("bytes"), 0)
	}
	if err == nil {
		err = j.Keep(s, journal.Pending{Bucket: "b", Key: "kept", Size: 5, Time: time.Now()})
	}
	if err == nil {
		_, err = j.AddNote(outbox.NoteKind, []byte(`{"v":1,"kind":"delete","bucket":"b","key":"gone"}`))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := openRuntime(dir, runtimeState{PID: os.Getpid(), Mountpoint: "/mnt/x", StateDir: stateDir, Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	u, out := testUmount(dir)
	f := failureOf(u.await(t.Context(), viewOf(t, dir)))
	if f.code != exitUnsaved || !strings.Contains(f.message, "1 file (5 B) and 1 name not stored") || !strings.Contains(f.hint, stateDir) ||
		!strings.Contains(out.String(), "not stored: b/gone (deleted here)\nnot stored: b/kept (5 B)\n") &&
			!strings.Contains(out.String(), "not stored: b/kept (5 B)\nnot stored: b/gone (deleted here)\n") {
		t.Errorf("%+v %q", f, out)
	}
}

func TestUmountWhereNothingIs(t *testing.T) {
	dir := t.TempDir()
	u := &umount{given: dir, std: stdio{out: &strings.Builder{}, err: &strings.Builder{}}, dirs: []string{t.TempDir()}}
	if f := failureOf(u.run(t.Context())); f.code != exitMountPoint || !strings.Contains(f.message, "nothing is mounted there") {
		t.Errorf("%+v", f)
	}
	u.given = dir + "/no/such"
	if f := failureOf(u.run(t.Context())); f.code != exitMountPoint {
		t.Errorf("%+v", f)
	}
}

func TestUmountLeavesOtherMountsAlone(t *testing.T) {
	u := &umount{given: "/proc", std: stdio{out: &strings.Builder{}, err: &strings.Builder{}}, dirs: []string{t.TempDir()}, force: true}
	if f := failureOf(u.run(t.Context())); f.code != exitMountPoint || !strings.Contains(f.message, "of type proc") {
		t.Errorf("%+v", f)
	}
}

func TestDetached(t *testing.T) {
	for _, c := range []struct {
		err       error
		words     string
		code      int
		why, hint string
	}{
		{nil, "", exitOK, "", ""},
		{unix.EINVAL, "", exitOK, "", ""}, // somebody else unmounted it
		{unix.EBUSY, "", exitMountPoint, "in use", "--force"},
		{unix.EPERM, "", exitHost, "no permission", "SYS_ADMIN"},
		{errors.New("exit status 1"), "fusermount3: strange", exitGeneral, "fusermount3: strange", ""},
		{unix.EIO, "", exitGeneral, "input/output", ""},
	} {
		u, _ := testUmount(t.TempDir())
		err := u.detached(c.err, c.words)
		if c.code == exitOK {
			if err != nil {
				t.Errorf("%v: %v", c.err, err)
			}
			continue
		}
		if f := failureOf(err); f.code != c.code || !strings.Contains(f.message, c.why) || !strings.Contains(f.hint, c.hint) {
			t.Errorf("%v: %+v", c.err, f)
		}
	}
}

func TestHolders(t *testing.T) {
	proc := t.TempDir()
	process := func(pid, comm string, links map[string]string, maps string) {
		t.Helper()
		dir := filepath.Join(proc, pid)
		if err := os.MkdirAll(dir+"/fd", 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"comm": comm + "\n", "maps": maps} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for name, target := range links {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	process("20", "shell", map[string]string{"cwd": "/mnt/x"}, "")
	process("3", "vim", map[string]string{"cwd": "/", "fd/1": "/dev/null", "fd/7": "/mnt/x/a b"}, "")
	process("40", "other", map[string]string{"cwd": "/mnt/xy", "fd/1": "/mnt"}, "7f-8f r--p 0 00:01 5 /mnt/xy/lib\n")
	process("50", "mapper", nil, "7f-8f r--p 00000000 00:30 5                          /mnt/x/lib.so\n")
	process("self", "self", map[string]string{"cwd": "/mnt/x"}, "")
	got := holders(proc, "/mnt/x")
	want := "[{3 vim /mnt/x/a b} {20 shell working directory} {50 mapper /mnt/x/lib.so}]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
	if text := holdersText(got); text != " by vim (pid 3, /mnt/x/a b), shell (pid 20, working directory), mapper (pid 50, /mnt/x/lib.so)" {
		t.Errorf("%q", text)
	}
	if text := holdersText(append(append(got, got...), got...)); !strings.HasSuffix(text, "and 4 more") {
		t.Errorf("%q", text)
	}
	if got := holders(filepath.Join(proc, "nowhere"), "/mnt/x"); got != nil {
		t.Errorf("%v", got)
	}
}

func TestOptionValue(t *testing.T) {
	if v := optionValue("rw,user_id=1000,group_id=5", "user_id"); v != "1000" {
		t.Error(v)
	}
	if v := optionValue("rw,xuser_id=1", "user_id"); v != "" {
		t.Error(v)
	}
}

func TestAwaitReady(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]readiness{
		`{"ready":true}` + "\n": {Ready: true},
		`{"ready":false,"code":5,"command":"mount","message":"m","hint":"h"}`: {Code: 5, Command: "mount", Message: "m", Hint: "h"},
	} {
		got, err := awaitReady(context.Background(), self, strings.NewReader(in))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v %v", in, got, err)
		}
	}
	if _, err := awaitReady(context.Background(), self, strings.NewReader("")); err == nil {
		t.Error("a child that ends without a word was ready")
	}
}
