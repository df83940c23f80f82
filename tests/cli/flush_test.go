package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// flushed is what these tests read of `pailfs flush --json`.
type flushed struct {
	Files, Names, Bytes int64
	Failed              []left
	Paths               []struct{ Path, Mountpoint, Error string }
}

// left is what is not stored, in the JSON of flush and status.
type left struct {
	Path, Change, Error string
	Bytes               int64
	Tries               int
}

func (d *desk) flush(code int, args ...string) flushed {
	d.t.Helper()
	var f flushed
	out := d.output(code, append([]string{"flush", "--json"}, args...)...)
	if err := json.Unmarshal(out, &f); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return f
}

// create makes a file and writes to it; closing it is left to the caller. A store that is away lets nobody make a name.
func (d *desk) create(name, text string) *os.File {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.mnt, name))
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { f.Close() }) // the test may have done so
	return f
}

func TestFlushStoresOpenFiles(t *testing.T) {
	d := newDesk(t)
	d.put("dir/stored", "x")
	d.mount()
	inside, outside := d.open("dir/a", "inside"), d.open("dirx", "outside")
	if r := d.report(0); r.Unsaved.Count != 2 || r.Pending.Files != 2 || r.Pending.Bytes != 13 || r.Pending.Names != 0 || r.Pending.Failed != 0 ||
		r.Journal.Durability != "store" || r.Recovered.Files != 0 {
		t.Errorf("%+v %+v", r.Unsaved, r.Pending)
	}
	before := d.report(0).Requests.Put
	if f := d.flush(0, d.mnt+"/dir"); f.Files != 1 || f.Bytes != 6 || f.Names != 0 || len(f.Failed) != 0 || len(f.Paths) != 1 || f.Paths[0].Mountpoint != d.mnt {
		t.Errorf("%+v", f)
	}
	d.wantObject("dir/a", "inside")
	if _, ok := d.object("dirx"); ok {
		t.Error("a file beside the directory was stored as well")
	}
	d.expect(0, []string{"stored: 0 files, 0 B in "}, "flush", d.mnt+"/dir/stored", d.mnt+"/dir/a")
	d.expect(0, []string{"stored: 1 file, 7 B in "}, "flush", d.mnt, "--timeout", "1m")
	d.wantObject("dirx", "outside")
	if n := d.report(0).Requests.Put - before; n != 2 {
		t.Errorf("%d PUTs for two files", n)
	}
	d.expect(5, []string{"pailfs: flush: ", "no such file"}, "flush", d.mnt+"/nowhere")
	d.expect(6, []string{"not on a mount of pailfs"}, "flush", t.TempDir())
	inside.ends()
	outside.ends()
	d.expect(0, nil, "umount", d.mnt)
}

// What close could not store is stored by a flush, and by the mount itself.
func TestFlushNamesWhatItCannotStore(t *testing.T) {
	d := newDesk(t)
	d.mount("--timeout", "2s")
	f := d.create("late", "kept bytes")
	d.store.Stop(t)
	if err := f.Close(); err == nil {
		t.Error("close succeeded without the store")
	}
	out := d.flush(8, d.mnt)
	if len(out.Failed) != 1 || out.Failed[0].Path != d.bucket+"/late" || out.Failed[0].Bytes != 10 || out.Failed[0].Error == "" || out.Files != 0 {
		t.Errorf("%+v", out)
	}
	d.expect(8, []string{"not stored: " + d.bucket + "/late (10 B): ", "1 file (10 B) not stored", "hint: ", d.state}, "flush", d.mnt+"/late")
	r := d.report(0)
	if r.Unsaved.Failed != 1 || r.Pending.Failed != 1 || len(r.Pending.Failures) != 1 || r.Pending.Failures[0].Tries < 1 || r.Pending.Failures[0].Error == "" {
		t.Errorf("%+v", r.Pending)
	}
	d.store.Start(t)
	d.flush(0, d.mnt+"/late")
	d.wantObject("late", "kept bytes")
	d.expect(0, nil, "umount", d.mnt)
}

// pendingInJournal mounts with journal durability, and leaves a file and a deletion to a store that is away.
func (d *desk) pendingInJournal() {
	d.t.Helper()
	d.put("old", "x")
	d.mount("--durability", "journal", "--metadata-ttl", "1h", "--timeout", "2s")
	if _, err := os.Stat(d.mnt + "/old"); err != nil {
		d.t.Fatal(err)
	}
	f := d.create("late", "kept bytes")
	d.store.Stop(d.t)
	if err := f.Close(); err != nil {
		d.t.Errorf("close: %v", err)
	}
	if err := os.Remove(d.mnt + "/old"); err != nil {
		d.t.Errorf("unlink: %v", err)
	}
	r := d.report(0)
	if r.Pending.Files != 1 || r.Pending.Bytes != 10 || r.Pending.Names != 1 || r.Journal.Durability != "journal" || r.Journal.MaxLag != 30 ||
		r.Journal.Records != 1 || r.Journal.Syncs == 0 || r.Journal.Log == 0 || r.Recovered.Files != 0 {
		d.t.Errorf("%+v %+v", r.Pending, r.Journal)
	}
}

// wantStored: the journal has nothing any more that the store does not have.
func (d *desk) wantStored() {
	d.t.Helper()
	d.wantObject("late", "kept bytes")
	if _, ok := d.object("old"); ok {
		d.t.Error("the store has what was deleted")
	}
	if r := d.report(0); r.Pending.Files != 0 || r.Pending.Names != 0 || r.Journal.Records != 0 {
		d.t.Errorf("%+v %+v", r.Pending, r.Journal)
	}
}

func TestFlushOfAJournal(t *testing.T) {
	d := newDesk(t)
	d.pendingInJournal()
	out := d.flush(8, "--timeout", "500ms", d.mnt)
	if len(out.Failed) != 2 || out.Failed[0].Path != d.bucket+"/late" || out.Failed[1].Path != d.bucket+"/old" || out.Failed[1].Change != "delete" {
		t.Errorf("%+v", out)
	}
	d.expect(8, []string{"not stored: " + d.bucket + "/old (deleted here)", "1 file (10 B) and 1 name not stored", "tried again"},
		"flush", "--timeout", "500ms", d.mnt)
	d.expect(8, []string{"1 name not stored"}, "flush", "--timeout", "500ms", d.mnt+"/old") // by the name that is gone
	d.expect(0, []string{"unsaved     1 file, 10 B", "changes     1 name to be changed", "durability  journal, at most 30s behind; journal of 1 file"}, "status")
	d.store.Start(t)
	d.expect(0, []string{"stored: "}, "flush", d.mnt)
	d.wantStored()
	d.expect(0, nil, "umount", d.mnt)
}

func TestWhatACrashLeavesIsFound(t *testing.T) {
	d := newDesk(t)
	d.pendingInJournal()
	pid := d.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(pid)
	d.store.Start(t)
	if _, ok := d.object("late"); ok {
		t.Fatal("the store has it already")
	}
	d.mount("--durability", "journal")
	if b, err := os.ReadFile(d.mnt + "/late"); err != nil || string(b) != "kept bytes" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := os.Stat(d.mnt + "/old"); !os.IsNotExist(err) {
		t.Errorf("what was deleted: %v", err)
	}
	d.flush(0, d.mnt)
	d.wantStored()
	if r := d.report(0).Recovered; r.Files != 1 || r.Bytes != 10 || r.Names != 1 || r.Stored != 2 || r.Waiting != 0 {
		t.Errorf("%+v", r)
	}
	d.expect(0, []string{"recovered   1 file (10 B) and 1 name of an earlier run: 2 stored, 0 waiting"}, "status")
	d.expect(0, nil, "umount", d.mnt)
	logs, err := filepath.Glob(d.state + "/log/*.log")
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v %v", logs, err)
	}
	b, err := os.ReadFile(logs[0])
	if err != nil || !strings.Contains(string(b), "an earlier run has left what the store does not have: storing it") || !strings.Contains(string(b), "files=1 size=\"10 B\" names=1") {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestUmountKeepsNamesToo(t *testing.T) {
	d := newDesk(t)
	d.pendingInJournal()
	d.expect(8, []string{"not stored: " + d.bucket + "/late (10 B)", "not stored: " + d.bucket + "/old (deleted here)", "1 file (10 B) and 1 name not stored", "kept in " + d.state},
		"umount", d.mnt)
	d.store.Start(t)
	d.mount() // of either durability
	d.flush(0, d.mnt)
	d.wantStored()
	d.expect(0, nil, "umount", d.mnt)
}
