package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// denied refuses every change, as a store does whose owner has taken a right away.
var denied = storeproxy.Some(storeproxy.Fate{Act: storeproxy.Refuse, Status: 403, Code: "AccessDenied"}, 0, storeproxy.Put, storeproxy.Copy,
	storeproxy.Part, storeproxy.CopyPart, storeproxy.CreateUpload, storeproxy.CompleteUpload, storeproxy.Delete, storeproxy.DeleteMany)

// In store durability each call that changes a name or attributes has happened in the store when it returns; when the store refuses
// it, it says so and nothing has changed.
func TestEachChangeIsStoredWhenItReturns(t *testing.T) {
	w := writes(t, inStore, map[string][]byte{"gone": []byte("x"), "from": []byte("from"), "f": []byte("f"), "empty/": nil, "keep": []byte("keep")},
		testenv.AllowLog("failed"))
	there := func(key string) bool {
		_, err := w.s.Client.Head(t.Context(), w.bucket, key)
		if err != nil && !errors.Is(err, s3client.NotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	meta := func(key, name, value string) func() bool {
		return func() bool {
			return there(key) && strings.HasPrefix(head(t, w.s, w.bucket, key).Headers.Meta[name], value)
		}
	}
	for _, c := range []struct {
		what   string
		call   func() error
		stored func() bool
	}{
		{"unlink", func() error { return unix.Unlink(w.path("gone")) }, func() bool { return !there("gone") }},
		{"rename", func() error { return unix.Rename(w.path("from"), w.path("to")) }, func() bool { return there("to") && !there("from") }},
		{"mkdir", func() error { return unix.Mkdir(w.path("made"), 0o750) }, meta("made/", "mode", fmt.Sprint(0o40750))},
		{"rmdir", func() error { return unix.Rmdir(w.path("empty")) }, func() bool { return !there("empty/") }},
		{"symlink", func() error { return unix.Symlink("f", w.path("link")) }, meta("link", "mode", fmt.Sprint(0o120777))},
		{"mknod", func() error { return unix.Mknod(w.path("pipe"), unix.S_IFIFO|0o640, 0) }, meta("pipe", "mode", fmt.Sprint(0o10640))},
		{"chmod", func() error { return unix.Chmod(w.path("f"), 0o604) }, meta("f", "mode", fmt.Sprint(0o100604))},
		{"chown", func() error { return unix.Chown(w.path("f"), 1234, 2345) }, meta("f", "uid", "1234")},
		{"utimens", func() error { return os.Chtimes(w.path("f"), time.Unix(1500000000, 0), time.Unix(1500000000, 0)) }, meta("f", "mtime", "1500000000")},
	} {
		w.p.Meet(denied)
		if err := c.call(); !errors.Is(err, unix.EACCES) || c.stored() {
			t.Errorf("%s, refused: %v; the store has it: %v", c.what, err, c.stored())
		}
		w.p.Meet(nil)
		if err := c.call(); err != nil || !c.stored() {
			t.Errorf("%s: %v; the store has it: %v", c.what, err, c.stored())
		}
	}
	w.holds(map[string][]byte{"to": []byte("from"), "f": []byte("f"), "keep": []byte("keep"), "pipe": nil, "link": object(t, w.s, w.bucket, "link")})
}

// Each close of a descriptor stores what was written, or says why not: of a duplicate as well, while the file stays open.
func TestEachCloseOfADescriptorStores(t *testing.T) {
	w := writes(t, inStore, nil, awayLog())
	f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY)
	for _, text := range []string{"one ", "two "} {
		fill(t, f, []byte(text))
		dup, err := unix.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		w.p.Meet(denied)
		if err := unix.Close(dup); !errors.Is(err, unix.EACCES) {
			t.Errorf("close of a duplicate, refused: %v", err)
		}
		w.p.Meet(nil)
		if dup, err = unix.Dup(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(dup); err != nil {
			t.Errorf("close of a duplicate: %v", err)
		}
		if got := string(object(t, w.s, w.bucket, "f")); !strings.HasSuffix(got, text) {
			t.Errorf("after the close of a duplicate the store has %q", got)
		}
	}
	closed(t, f)
	w.holds(map[string][]byte{"f": []byte("one two ")})
}

// close(2) says by its errno why the store has not got a file, and goes on saying it; the file is stored when the store takes it.
func TestCloseSaysWhyTheStoreHasItNot(t *testing.T) {
	for name, c := range map[string]struct {
		fate storeproxy.Fate
		want []error
	}{
		"refused":             {storeproxy.Fate{Act: storeproxy.Refuse, Status: 403, Code: "AccessDenied"}, []error{unix.EACCES}},
		"too large":           {storeproxy.Fate{Act: storeproxy.Refuse, Status: 400, Code: "EntityTooLarge"}, []error{unix.EFBIG}},
		"the account is full": {storeproxy.Fate{Act: storeproxy.Refuse, Status: 413, Code: "QuotaExceeded"}, []error{unix.EFBIG}},
		"slow down":           {storeproxy.Fate{Act: storeproxy.Refuse, Status: 503, Code: "SlowDown"}, []error{unix.EBUSY}},
		"it fails":            {storeproxy.Fate{Act: storeproxy.Refuse, Status: 500, Code: "InternalError"}, []error{unix.EIO}},
		"no answer":           {storeproxy.Fate{Act: storeproxy.Hold}, []error{unix.ETIMEDOUT, unix.EIO}},
	} {
		t.Run(name, func(t *testing.T) {
			w := writes(t, inStore, nil, awayLog(), testenv.Args("--timeout", "2s"))
			w.p.Meet(storeproxy.Some(c.fate, 0, storeproxy.Put))
			f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY)
			fill(t, f, []byte("content"))
			dup, err := unix.Dup(int(f.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{unix.Close(dup), f.Close()} {
				if !slices.ContainsFunc(c.want, func(e error) bool { return errors.Is(err, e) }) {
					t.Errorf("close: %v, want %v", err, c.want)
				}
			}
			w.p.Meet(nil)
			eventually(t, "it is stored", func() bool {
				_, code := w.m.Command("flush", w.m.Dir)
				return code == 0
			})
			w.holds(map[string][]byte{"f": []byte("content")})
		})
	}
}

// The attributes of a file whose bytes the store has not, whatever the reason, change at once in store durability too: nothing is asked,
// and they travel with the bytes.
func TestAttributesOfUnsavedFilesTravelWithThem(t *testing.T) {
	for _, why := range []string{"it is open", "its close failed", "an earlier run left it"} {
		t.Run(why, func(t *testing.T) {
			w := writes(t, inStore, map[string][]byte{"f": []byte("an earlier version")}, awayLog())
			f := open(t, w.path("f"), os.O_WRONLY|os.O_TRUNC)
			fill(t, f, []byte("content"))
			w.p.Meet(denied)
			if why != "it is open" {
				if err := f.Close(); !errors.Is(err, unix.EACCES) {
					t.Fatalf("close: %v", err)
				}
			}
			if why == "an earlier run left it" {
				w.m.Kill()
				w.again(inStore, awayLog())
			}
			w.took()
			at := time.Unix(1500000000, 0)
			for _, err := range []error{unix.Chmod(w.path("f"), 0o604), unix.Chown(w.path("f"), 1234, 2345), os.Chtimes(w.path("f"), at, at)} {
				if err != nil {
					t.Error(err)
				}
			}
			// Nothing may be started here: a child would close the file.
			var st unix.Stat_t
			if err := unix.Stat(w.path("f"), &st); err != nil || st.Mode != unix.S_IFREG|0o604 || st.Uid != 1234 || st.Gid != 2345 || st.Mtim.Sec != at.Unix() {
				t.Errorf("it shows %+v, %v", st, err)
			}
			// What is kept is tried again meanwhile, as a whole; an open file's bytes are not.
			if all := w.took(); len(all.of(storeproxy.Copy)) != 0 || why == "it is open" && len(all.of(storeproxy.Put)) != 0 {
				t.Errorf("while it is unsaved the store was asked for %v", all)
			}
			w.p.Meet(nil)
			if why == "it is open" {
				closed(t, f)
			}
			w.flush()
			// Before the close they cost nothing of their own; what is kept may have been on its way already.
			all := w.took()
			if len(all.of(storeproxy.Put).done()) != 1 || why == "it is open" && len(all.of(storeproxy.Copy)) != 0 {
				t.Errorf("the store was asked for %v", all)
			}
			w.holds(map[string][]byte{"f": []byte("content")})
			wantMeta(t, w.s, w.bucket, "f", map[string]string{"mode": fmt.Sprint(0o100604), "uid": "1234", "gid": "2345"})
			if got := head(t, w.s, w.bucket, "f").Headers.Meta["mtime"]; !strings.HasPrefix(got, "1500000000") {
				t.Errorf("the mtime is %q", got)
			}
		})
	}
}

// A child of a program that has a written file open closes its copy at exec, and does not begin before the store has the bytes.
func TestAChildWaitsAtExec(t *testing.T) {
	w := writes(t, inStore, nil)
	began := t.TempDir() + "/began"
	gate := make(chan struct{})
	answer := sync.OnceFunc(func() { close(gate) })
	defer answer()
	w.p.Meet(storeproxy.Some(storeproxy.Fate{Act: storeproxy.Wait, Gate: gate}, 0, storeproxy.Put))
	f := open(t, w.path("f"), os.O_CREATE|os.O_WRONLY) // close-on-exec, as all that Go opens
	fill(t, f, []byte("written before the child"))
	child := exec.Command("touch", began)
	ended := make(chan error, 1)
	go func() { ended <- child.Run() }()
	eventually(t, "the child's close stores the file", func() bool { return len(requests(w.p.Peek()).of(storeproxy.Put)) == 1 })
	time.Sleep(300 * time.Millisecond) // time to show that it does not wait
	if _, err := os.Stat(began); !os.IsNotExist(err) || len(ended) > 0 {
		t.Errorf("the child did not wait for the store: %v", err)
	}
	answer()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(began); err != nil {
		t.Error(err)
	}
	sameBytes(t, "the object, while the file is open", object(t, w.s, w.bucket, "f"), []byte("written before the child"))
	closed(t, f)
}

// What was written through a mapping is stored when the mapping ends, with nobody to wait for it; what the store says then is in the
// log and in the status, and it is tried again.
func TestTheEndOfAMappingStores(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		w := writes(t, d, map[string][]byte{"f": noise(1, 100_000), "refused": noise(2, 100_000)}, awayLog())
		want := map[string][]byte{"f": noise(1, 100_000), "refused": noise(2, 100_000)}
		for _, name := range []string{"f", "refused"} {
			f := open(t, w.path(name), os.O_RDWR)
			p, err := unix.Mmap(int(f.Fd()), 0, 100_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			closed(t, f)
			if name == "refused" {
				w.p.Meet(denied)
			}
			poke(t, p[50_000:], "through the mapping")
			copy(want[name][50_000:], "through the mapping")
			if err := unix.Munmap(p); err != nil {
				t.Fatal(err)
			}
			if name == "f" {
				eventually(t, "the object has what was written", func() bool { return string(object(t, w.s, w.bucket, name)) == string(want[name]) })
			}
		}
		eventually(t, "the error is in the log and in the status", func() bool {
			p, _ := w.pendingNow()
			return p.Unsaved.Failed == 1 && strings.Contains(w.m.Log(), "refused") && strings.Contains(w.m.Log(), "AccessDenied")
		})
		w.p.Meet(nil)
		w.flush()
		w.holds(want)
	})
}

// Another host sees a file under its old name or its new one at every moment of a rename, and whole.
func TestARenameAlwaysLeavesAName(t *testing.T) {
	both(t, func(t *testing.T, d string) {
		objects := map[string][]byte{"f": noise(1, 1000), "d/a": noise(2, 1000), "d/b": noise(3, 100_000), "d/e/c": noise(4, 1000), "over": noise(5, 10)}
		w := writes(t, d, objects)
		names(t, w.path("d"))
		renamed := map[string]string{"f": "over", "d/a": "new/a", "d/b": "new/b", "d/e/c": "new/e/c"}
		var looking sync.Mutex
		looks, twice := 0, 0
		w.p.Meet(func(storeproxy.Request) storeproxy.Fate { // before each request of the mount
			looking.Lock()
			defer looking.Unlock()
			looks++
			for from, to := range renamed {
				// The new name is looked at behind the old one: what is moved in between is there.
				was, is := w.look(from, [][]byte{objects[from]}), w.look(to, [][]byte{objects[from], objects["over"]})
				if was < 0 && is != 0 {
					t.Errorf("%s is under neither name", from)
				}
				if was == 0 && is == 0 {
					twice++
				}
			}
			return storeproxy.Fate{}
		})
		for _, c := range [][2]string{{"f", "over"}, {"d", "new"}} {
			if err := unix.Rename(w.path(c[0]), w.path(c[1])); err != nil {
				t.Fatal(err)
			}
		}
		w.stored(d)
		w.p.Meet(nil)
		w.took()
		if looks < 6 || twice == 0 {
			t.Errorf("%d looks, %d times both names were there", looks, twice)
		}
		w.holds(map[string][]byte{"over": objects["f"], "new/a": objects["d/a"], "new/b": objects["d/b"], "new/e/c": objects["d/e/c"]})
	})
}
