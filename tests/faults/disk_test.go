package faults

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// diskExpected is what may come of operations while the disk of the state directory is in trouble. (That of the disk cache may
// do what it likes: everything is ok.)
var diskExpected = map[trouble][]string{
	full:     {"ok", "ENOSPC"},
	readOnly: {"ok", "EROFS"},
	noWrite:  {"ok", "EIO"},
	noSync:   {"ok", "EIO"},
	noRead:   {"ok", "EIO"},
	vanished: {"ok", "EIO"},
}

// TestStateDisk: the state directory's disk fails in the middle of the work. Operations are told so or succeed, in time; what
// was acknowledged before and meanwhile is in the store when the disk is well again, and nothing has other bytes than it should.
func TestStateDisk(t *testing.T) {
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	for _, what := range []trouble{full, readOnly, noWrite, noSync, noRead, vanished} {
		for _, d := range durabilities {
			t.Run(fmt.Sprintf("%s, %s", what, d), func(t *testing.T) {
				t.Parallel()
				disk := newBadDisk(t)
				w := newWorker(t, s, d, testenv.State(disk.dir), testenv.ExpectExit(0, 1, 7, 8))
				ills(t, w, disk, what)
			})
		}
	}
}

// ills has a mount work on a disk that gets into trouble.
func ills(t *testing.T, w *worker, disk *badDisk, what trouble) {
	t.Helper()
	want := map[string]string{"old": smallText, "gone": "gone"}
	for name, text := range want {
		w.s.Put(t, w.bucket, name, []byte(text), nil)
	}
	if err := stat(w.path("old")); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{"small before": newText, "large before": streamText}
	files := map[string]*os.File{}
	for name := range before {
		f, err := os.Create(w.path(name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[name] = f
	}
	// In journal durability what is acknowledged now is nowhere but on this disk.
	if w.durability == "journal" {
		if err := w.p.Leave(); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range before {
		if _, err := files[name].WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := files[name].Close(); err != nil {
			t.Fatal(err)
		}
		want[name] = text
	}
	disk.gets(t, what)
	if err := w.p.Return(); err != nil {
		t.Fatal(err)
	}
	either := map[string][]string{} // of what has failed: "" stands for no file
	try := func(name, text string, or []string, do func() error) {
		t.Helper()
		outcome := within(t, what, name, do)
		switch {
		case !slices.Contains(diskExpected[what], outcome):
			t.Errorf("%s: %s, want one of %v", name, outcome, diskExpected[what])
		case outcome == "ok":
			want[name] = text
		default:
			delete(want, name)
			either[name] = append(or, text)
		}
	}
	write := func(name, text string) func() error {
		return func() error { return os.WriteFile(w.path(name), []byte(text), 0o644) }
	}
	try("small", newText, []string{"", "\x00"}, write("small", newText))
	try("large", streamText, []string{"", "\x00"}, write("large", streamText))
	try("old", mediumText, []string{smallText, "\x00"}, write("old", mediumText))
	try("gone", "", []string{"gone"}, func() error { return unix.Unlink(w.path("gone")) })
	if outcome := within(t, what, "read", func() error {
		got, err := os.ReadFile(w.path("small before"))
		if err != nil {
			return err
		}
		return same("what was written before", string(got), newText)
	}); !slices.Contains(diskExpected[what], outcome) {
		t.Errorf("read: %s", outcome)
	}
	// In store durability nothing of this is synced. What is read back may be in the kernel's page cache.
	if what != vanished && what != noRead && (w.durability == "journal" || what != noSync) && disk.struck() == 0 {
		t.Error("the disk was asked nothing that it refuses")
	}
	recovered(t, w, disk, what, want, either)
}

// within does something that must come to an end.
func within(t *testing.T, what trouble, name string, do func() error) string {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if o := outcomeOf(err); o == unforeseen || o == "wrong" {
			t.Errorf("%s: %v", name, err)
		}
		return outcomeOf(err)
	case <-time.After(60 * time.Second):
		t.Fatalf("%s hangs on a disk that is %s", name, what)
		return "hang"
	}
}

// recovered: the disk is well, or another one is there. An empty text in want stands for no file, as "\x00" does for a file
// that is empty.
func recovered(t *testing.T, w *worker, disk *badDisk, what trouble, want map[string]string, either map[string][]string) {
	t.Helper()
	disk.gets(t, none)
	left := eventually(45*time.Second, func() string { return errorText(w.flush("")) })
	if left != "" && what != vanished {
		t.Errorf("flush on a disk that is well: %s", left)
	}
	look := func() string {
		now, err := w.inStore(w.bucket, "")
		if err != nil {
			return err.Error()
		}
		for name, text := range want {
			if o, there := now[name]; o.content != text || there == (text == "") {
				return fmt.Sprintf("%s: the store has %s (%v), not %s", name, brief(o.content), there, brief(text))
			}
		}
		for name, texts := range either {
			o, there := now[name]
			got := o.content
			if there && got == "" {
				got = "\x00"
			}
			if !slices.Contains(texts, got) {
				return fmt.Sprintf("%s: the store has %s (%v)", name, brief(o.content), there)
			}
		}
		return ""
	}
	if not := eventually(10*time.Second, look); not != "" {
		if what == vanished && left != "" {
			t.Logf("what was on the disk is lost, and said to be: %s; %s", left, not)
			return
		}
		t.Error(not)
	}
	if what == vanished {
		return
	}
	if err := os.WriteFile(w.path("afterwards"), []byte("afterwards"), 0o644); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	want["afterwards"] = "afterwards"
	w.m.Unmount()
	w.mount()
	if not := eventually(10*time.Second, look); not != "" {
		t.Errorf("the next mount: %s", not)
	}
	if not := w.unfinished(20 * time.Second); not != "" {
		t.Error(not)
	}
}

// TestCacheDisk: whatever the disk cache's disk does, files are read as they are.
func TestCacheDisk(t *testing.T) {
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	for _, what := range []trouble{full, readOnly, noWrite, noSync, noRead, vanished} {
		t.Run(string(what), func(t *testing.T) {
			t.Parallel()
			disk := newBadDisk(t)
			w := newWorker(t, s, "store", testenv.Args("--cache-dir", disk.dir, "--cache-size", "100MiB", "--cache-min-free", "0"))
			var texts []string
			for i := range 12 {
				texts = append(texts, noise(i, 1<<20+i))
				w.s.Put(t, w.bucket, fmt.Sprint("f", i), []byte(texts[i]), nil)
			}
			round := func(when string) {
				t.Helper()
				for i, text := range texts {
					name := w.path(fmt.Sprint("f", i))
					if outcome := within(t, what, when, func() error {
						got, err := os.ReadFile(name)
						if err != nil {
							return err
						}
						return same(when, string(got), text)
					}); outcome != "ok" {
						t.Errorf("%s: %s: %s", when, name, outcome)
					}
					forget(t, name)
				}
			}
			round("before")
			disk.gets(t, what)
			round("in trouble")
			if outcome := within(t, what, "write", func() error { return os.WriteFile(w.path("f0"), []byte(newText), 0o644) }); outcome != "ok" {
				t.Errorf("write: %s", outcome)
			}
			texts[0] = newText
			round("in trouble, again")
			disk.gets(t, none)
			round("afterwards")
		})
	}
}

// forget has the kernel drop a file's pages.
func forget(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Error(err)
	}
}
