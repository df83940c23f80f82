package mount

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// refusedWrites lets the store answer only who asks for something.
var refusedWrites = storeproxy.Some(storeproxy.Fate{Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"}, 0, storeproxy.Put, storeproxy.Copy,
	storeproxy.Part, storeproxy.CopyPart, storeproxy.CreateUpload, storeproxy.CompleteUpload, storeproxy.Delete, storeproxy.DeleteMany)

// What was acknowledged before a kill is there at once in the next mount, and then in the store.
func TestWhatWasPendingAtAKillIsThereAgain(t *testing.T) {
	w := writes(t, inJournal, map[string][]byte{"stored": []byte("stored"), "gone": []byte("gone"), "edit": noise(3, 400_000)},
		testenv.Args("--timeout", "20s"))
	sh(t, w.m.Dir, "ls -l > /dev/null; cat * > /dev/null")
	w.p.Meet(refusedWrites)
	sh(t, w.m.Dir, `
		echo new > new; mkdir -m 750 made; echo inside > made/file; ln -s made/file link; : > empty
		echo draft > draft; mv draft final; chmod 600 final; touch -d @1500000000 final
		chmod 640 stored; rm gone; printf tail >> edit; head -c 20000000 /dev/zero > big
		echo one > over; echo two > over; echo x > short; rm short; mkfifo pipe`)
	before := sh(t, w.m.Dir, `find . -printf '%p %y %m %s %l\n' | sort; stat -c %Y final; cat new over made/file; tail -c 4 edit`)
	w.m.Kill()
	w.again(inJournal, awayLog(), testenv.Args("--timeout", "20s"))
	after := sh(t, w.m.Dir, `find . -printf '%p %y %m %s %l\n' | sort; stat -c %Y final; cat new over made/file; tail -c 4 edit`)
	if before != after {
		t.Errorf("before the kill\n%s\nafter it\n%s", before, after)
	}
	if _, text := w.pendingNow(); !strings.Contains(text, "recover") {
		t.Errorf("the status says nothing of recovery: %s", text)
	}
	w.p.Meet(nil)
	w.flush()
	w.holds(map[string][]byte{"new": []byte("new\n"), "made/file": []byte("inside\n"), "link": object(t, w.s, w.bucket, "link"),
		"empty": nil, "final": []byte("draft\n"), "stored": []byte("stored"), "edit": append(noise(3, 400_000), "tail"...),
		"big": make([]byte, 20_000_000), "over": []byte("two\n"), "pipe": nil})
	if m := head(t, w.s, w.bucket, "final").Headers.Meta; m["mode"] != "33152" || !strings.HasPrefix(m["mtime"], "1500000000") {
		t.Errorf("final has %v", m)
	}
	if m := head(t, w.s, w.bucket, "stored").Headers.Meta["mode"]; m != "33184" {
		t.Errorf("stored has the mode %q", m)
	}
	w.m.Unmount()
	w.noUploads()
	if left := spooled(t, w.m.StateDir); left > 0 {
		t.Errorf("%d bytes are left in the state directory", left)
	}
	other := mount(t, w.s, w.bucket)
	if got := sh(t, other.Dir, `find . -printf '%p %y %m %s %l\n' | sort; stat -c %Y final; cat new over made/file; tail -c 4 edit`); got != before {
		t.Errorf("another mount shows\n%s\nwant\n%s", got, before)
	}
}

// spooled is what lies in a state directory beside the lock and an empty log.
func spooled(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "spool") {
			return err
		}
		fi, err := d.Info()
		n += fi.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What a mount has not stored belongs to it alone: while it lives on without its mount point, for a program that has a
// file open, another mount on that point is refused and says why.
func TestASecondMountOnAStateDirectoryIsTold(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, nil)
		f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY)
		if err := unix.Unmount(w.m.Dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		other, err := testenv.TryMount(t, w.s, testenv.Of(w.bucket), testenv.At(w.m.Dir), testenv.State(w.m.StateDir),
			testenv.Args("--durability", d), testenv.ExpectExit(6),
			testenv.ExpectLog(fmt.Sprintf(`level=ERROR msg="mount failed" .*: journal is in use by another process \(pid %d\)`, w.m.PID())))
		if err == nil {
			t.Fatal("two mounts share what is not stored")
		}
		if !other.Exited() || !strings.Contains(err.Error(), "another") || !strings.Contains(err.Error(), w.m.StateDir) {
			t.Errorf("exited %v: %v", other.Exited(), err)
		}
		fill(t, f, []byte("the first one goes on"))
		closed(t, f)
		w.m.Wait(time.Minute)
		sameBytes(t, "the object", object(t, w.s, w.bucket, "f"), []byte("the first one goes on"))
	})
}

// An upload that a kill interrupted goes on where it was: what the store has is not sent again.
func TestAnInterruptedUploadIsResumed(t *testing.T) {
	content := noise(4, 96<<20)
	w := writes(t, inJournal, nil)
	w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
		if r.Op == storeproxy.Part && r.Part > 5 || r.Op == storeproxy.CompleteUpload {
			return storeproxy.Fate{Act: storeproxy.Hold}
		}
		return storeproxy.Fate{}
	})
	write(t, w.path("f"), content)
	first := requests(w.p.Peek())
	eventually(t, "some parts are in the store", func() bool {
		first = requests(w.p.Peek())
		return len(first.of(storeproxy.Part).done()) >= 4
	})
	w.m.Kill()
	eventually(t, "all requests have ended", func() bool { return w.p.Flying() == 0 })
	first, _ = w.p.Take()
	had := map[int]bool{}
	for _, r := range first.of(storeproxy.Part).done() {
		had[r.Part] = true
	}
	w.p.Meet(nil)
	w.again(inJournal)
	w.flush()
	all := w.took()
	sent := map[int]bool{}
	for _, r := range all.of(storeproxy.Part) {
		if had[r.Part] {
			t.Errorf("part %d was in the store and is sent again", r.Part)
		}
		if sent[r.Part] {
			t.Errorf("part %d is sent twice", r.Part)
		}
		sent[r.Part] = true
	}
	if len(all.of(storeproxy.CreateUpload)) != 0 || len(all.of(storeproxy.CompleteUpload)) != 1 || len(had) == 0 {
		t.Errorf("after %v the next mount asked for %v", first, all)
	}
	sameBytes(t, "the object", object(t, w.s, w.bucket, "f"), content)
	w.noUploads()
}

// An upload whose file nobody was told is stored leaves nothing behind: neither object nor parts.
func TestAnUploadCutOffByAKillIsClearedAway(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		old := noise(6, 30<<20)
		w := writes(t, d, map[string][]byte{"old": old})
		for _, name := range []string{"new", "old"} {
			f := open(t, w.path(name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
			fill(t, f, noise(5, 40<<20))
			eventually(t, "parts are sent", func() bool {
				n := 0
				for _, r := range requests(w.p.Peek()).of(storeproxy.Part).done() {
					if r.Key == name {
						n++
					}
				}
				return n > 1
			})
		}
		w.m.Kill()
		w.again(d)
		w.noUploads()
		w.stored(d)
		w.holds(map[string][]byte{"old": old})
		if got := names(t, w.m.Dir); len(got) != 1 {
			t.Errorf("the mount shows %q", got)
		}
	})
}

// Kill after kill, each in the middle of recovering what the one before left.
func TestKillsDuringRecovery(t *testing.T) {
	w := writes(t, inJournal, nil)
	want := map[string][]byte{"large": noise(1, 40<<20)}
	w.p.Meet(refusedWrites)
	for i := range 30 {
		name := "f" + strings.Repeat("x", i)
		want[name] = noise(i, i*3000)
		write(t, w.path(name), want[name])
	}
	write(t, w.path("large"), want["large"])
	w.m.Kill()
	for round := range 4 {
		// A few more of them go through in each round.
		var n atomic.Int64
		w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
			if r.Ops(storeproxy.Put, storeproxy.Part, storeproxy.CompleteUpload) && n.Add(1) > 6 {
				return storeproxy.Fate{Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"}
			}
			return storeproxy.Fate{}
		})
		w.took()
		w.again(inJournal, awayLog())
		eventually(t, "recovery is in the middle", func() bool { return n.Load() > 6 })
		for name, content := range want {
			if fi, err := os.Stat(w.path(name)); err != nil || fi.Size() != int64(len(content)) {
				t.Errorf("round %d: %s: %v, %v", round, name, fi, err)
			}
		}
		extra := "later" + strings.Repeat("y", round)
		want[extra] = noise(100+round, 100_000)
		write(t, w.path(extra), want[extra])
		w.m.Kill()
		eventually(t, "all requests have ended", func() bool { return w.p.Flying() == 0 })
	}
	w.p.Meet(nil)
	w.again(inJournal)
	w.flush()
	w.holds(want)
	w.noUploads()
}

// A file that was pending at a kill and is changed elsewhere before the next mount is kept beside what is there now.
func TestRecoveryKeepsBothVersions(t *testing.T) {
	w := writes(t, inJournal, map[string][]byte{"f": []byte("base")}, testenv.TTL(0))
	w.p.Meet(refusedWrites)
	write(t, w.path("f"), []byte("mine"))
	w.m.Kill()
	time.Sleep(1100 * time.Millisecond) // a store that counts in seconds calls the next version newer
	put(t, w.s, w.bucket, "f", []byte("theirs"))
	w.p.Meet(nil)
	w.again(inJournal, testenv.TTL(0), testenv.AllowLog("conflict", "failed", "elsewhere"))
	if out, code := w.m.Command("flush", w.m.Dir); code != 0 {
		t.Logf("flush: %d %s", code, out)
	}
	w.bothVersions("f", []byte("theirs"), []byte("mine"))
}

// bothVersions sees that an object is what another client wrote, and that the version of this mount is beside it.
func (w *writing) bothVersions(key string, theirs, mine []byte) {
	w.t.Helper()
	kept := ""
	eventually(w.t, "the version of this mount is kept", func() bool {
		for _, k := range keys(w.t, w.s, w.bucket) {
			if strings.HasPrefix(k, key+".conflict-") {
				kept = k
			}
		}
		return kept != ""
	})
	sameBytes(w.t, "what the other client wrote", object(w.t, w.s, w.bucket, key), theirs)
	sameBytes(w.t, "what was written here", object(w.t, w.s, w.bucket, kept), mine)
	if got := read(w.t, w.path(kept)); !bytes.Equal(got, mine) {
		w.t.Errorf("the mount shows %d bytes of it", len(got))
	}
	p, text := w.pendingNow()
	if p.Conflicts.Count != 1 || len(p.Conflicts.Files) != 1 || !strings.HasSuffix(p.Conflicts.Files[0].Kept, kept) {
		w.t.Errorf("the status: %s", text)
	}
}

// What this mount itself did before the kill is no conflict for the mount that recovers the rest.
func TestRecoveryIsNoConflictWithItself(t *testing.T) {
	t.Parallel()
	refuse := func(ops ...storeproxy.Op) func(storeproxy.Request) storeproxy.Fate {
		return storeproxy.Some(storeproxy.Fate{Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"}, 0, ops...)
	}
	silent := storeproxy.Some(storeproxy.Fate{Act: storeproxy.DoneHold}, 0, storeproxy.Put, storeproxy.Copy, storeproxy.CompleteUpload, storeproxy.Delete, storeproxy.DeleteMany)
	fates := map[string]func(storeproxy.Request) storeproxy.Fate{
		"nothing is stored":         refusedWrites,
		"deletions are stored":      refuse(storeproxy.Put, storeproxy.Copy, storeproxy.CompleteUpload),
		"contents are stored":       refuse(storeproxy.Delete, storeproxy.DeleteMany),
		"all is stored, no answers": silent,
	}
	for name, script := range map[string]string{
		"removed and made again": "rm f; echo new > f",
		"overwritten":            "echo new > f",
		"overwritten twice":      "echo older > f; sync_; echo new > f",
		"saved by an editor":     "echo new > .tmp; mv .tmp f",
		"saved twice":            "echo older > .tmp; mv .tmp f; sync_; echo new > .tmp; mv .tmp f",
		"appended and chmod":     "chmod 600 f; echo new > g; cat g > f; rm g",
		"removed, saved":         "rm f; echo new > .tmp; mv .tmp f",
	} {
		for when, fate := range fates {
			t.Run(name+", "+when, func(t *testing.T) {
				w := writes(t, inJournal, map[string][]byte{"f": []byte("old")}, testenv.Args("--timeout", "3s"))
				names(t, w.m.Dir)
				w.p.Meet(fate)
				// Between two saves the background may have begun with the first.
				sh(t, w.m.Dir, "sync_() { sleep 0.4; }; "+script)
				time.Sleep(400 * time.Millisecond)
				w.m.Kill()
				w.p.Meet(nil)
				w.again(inJournal)
				w.flush()
				w.holds(map[string][]byte{"f": []byte("new\n")})
				if got := read(t, w.path("f")); string(got) != "new\n" {
					t.Errorf("the mount shows %q", got)
				}
				if got := names(t, w.m.Dir); len(got) != 1 {
					t.Errorf("the mount shows %q", got)
				}
				if p, text := w.pendingNow(); p.Conflicts.Count != 0 {
					t.Errorf("the status: %s", text)
				}
			})
		}
	}
}

// fsyncer is a program that appends lines to a file, with an fsync behind each, as long as it can.
type fsyncer struct {
	f       *os.File
	name    string
	written atomic.Int64 // lines that write(2) took
	synced  bool         // an fsync(2) has said that they are stored
	closed  error        // of close(2)
}

const appended = 64 // bytes a line

func line(n int64) []byte { return fmt.Appendf(nil, "%0*d\n", appended-1, n) }

func (a *fsyncer) run() {
	for {
		if _, err := a.f.Write(line(a.written.Load())); err != nil {
			break
		}
		a.written.Add(1)
		a.synced = a.f.Sync() == nil || a.synced
	}
	for range 100 { // until the process has gone
		a.synced = a.f.Sync() == nil || a.synced
	}
	a.closed = a.f.Close()
}

// Programs keep files open and write on, with an fsync behind each line, while the mount is ended: by a signal, and by force; the store
// is away, or slow. All that a write or an fsync has said 0 of is there in the next mount.
func TestProgramsThatWriteOnWhileTheMountEnds(t *testing.T) {
	t.Parallel()
	slow := func(storeproxy.Request) storeproxy.Fate {
		gate := make(chan struct{})
		time.AfterFunc(30*time.Millisecond, func() { close(gate) })
		return storeproxy.Fate{Act: storeproxy.Wait, Gate: gate}
	}
	for name, c := range map[string]struct {
		store func(storeproxy.Request) storeproxy.Fate
		force bool
	}{"signal, store away": {refusedWrites, false}, "signal, store slow": {slow, false}, "force, store away": {refusedWrites, true}} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d string) {
				w := writes(t, d, nil, awayLog(), testenv.AllowLog("the mount is in use", "not all could be stored", "in no journal"), testenv.ExpectExit(0, 8), testenv.Args("--timeout", "2s"))
				var all []*fsyncer
				for i := range 4 {
					name := fmt.Sprint("f", i)
					all = append(all, &fsyncer{f: open(t, w.path(name), os.O_RDWR|os.O_CREATE), name: name})
				}
				w.p.Meet(c.store)
				var programs sync.WaitGroup
				for _, a := range all {
					programs.Go(a.run)
				}
				for _, a := range all {
					eventually(t, "the program writes", func() bool { return a.written.Load() > 0 })
				}
				if c.force {
					if out, code := w.m.Command("umount", "--force", w.m.Dir); code != 0 && code != 8 {
						t.Errorf("umount: %d %s", code, out)
					}
				} else {
					w.m.Signal(syscall.SIGTERM)
				}
				w.m.Wait(time.Minute)
				programs.Wait()
				w.p.Meet(nil)
				w.again(d)
				w.flush()
				for _, a := range all {
					got, n := object(t, w.s, w.bucket, a.name), a.written.Load()
					t.Logf("%s: %d lines, %d bytes stored, fsync %v, close %v", a.name, n, len(got), a.synced, a.closed)
					if away := strings.Contains(name, "away"); away && (a.synced || a.closed == nil && d == inStore) {
						t.Errorf("%s: the store took nothing, fsync %v, close: %v", a.name, a.synced, a.closed)
					}
					if int64(len(got)) < n*appended {
						t.Errorf("%s has %d bytes; %d lines were written", a.name, len(got), n)
						continue
					}
					for i := range n {
						if !bytes.Equal(got[i*appended:][:appended], line(i)) {
							t.Fatalf("%s: line %d is %q", a.name, i, got[i*appended:][:appended])
						}
					}
				}
			})
		})
	}
}
