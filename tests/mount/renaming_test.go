package mount

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// smallFiles are n objects in a directory and some below it.
func smallFiles(n int) map[string][]byte {
	all := make(map[string][]byte, n)
	for i := range n {
		all[fmt.Sprintf("dir/s%d/f%04d", i%4, i)] = []byte(fmt.Sprint("file ", i))
	}
	return all
}

// under gives objects the new name of their directory.
func under(objects map[string][]byte, from, to string) map[string][]byte {
	moved := make(map[string][]byte, len(objects))
	for key, b := range objects {
		moved[to+strings.TrimPrefix(key, from)] = b
	}
	return moved
}

// A directory of a thousand small objects: a copy, a look at it, and hardly anything else for each.
func TestRequestsOfADirectorysRename(t *testing.T) {
	objects := smallFiles(1000)
	w := writes(t, inStore, objects)
	names(t, w.m.Dir)
	w.took()
	if err := os.Rename(w.path("dir"), w.path("new")); err != nil {
		t.Fatal(err)
	}
	all := w.took()
	if n := len(all); n > 2060 || len(all.of(storeproxy.Copy)) != 1000 {
		t.Errorf("%d requests: %v", n, storeproxy.Label(all))
	}
	if got := sh(t, w.m.Dir, "find . -type f | wc -l; ls; cat new/s1/f0001"); got != "1000\nnew\nfile 1" {
		t.Errorf("the mount shows %s", got)
	}
	w.holds(under(objects, "dir/", "new/"))
}

// A rename that kill -9 has cut short, while copying or while deleting, is completed by the next mount.
func TestARenameThatWasKilledIsCompleted(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"copy", "delete"} {
		both(t, func(t *testing.T, durability string) {
			objects := smallFiles(300)
			w := writes(t, durability, objects)
			names(t, w.m.Dir)
			var copies atomic.Int64
			w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
				switch {
				case stage == "copy" && r.Op == storeproxy.Copy && copies.Add(1) > 150:
					return storeproxy.Fate{Act: storeproxy.Hold}
				case stage == "delete" && r.Op == storeproxy.DeleteMany:
					return storeproxy.Fate{Act: storeproxy.DoneHold}
				}
				return storeproxy.Fate{}
			})
			done := make(chan error, 1)
			go func() { done <- unix.Rename(w.path("dir"), w.path("new")) }()
			eventually(t, "status shows the rename", func() bool {
				out, _ := w.m.Command("status", w.m.Dir)
				if stage == "delete" {
					return strings.Contains(out, "renaming    dir to new: 300 copied")
				}
				return strings.Contains(out, "renaming    dir to new: 150 of 300")
			})
			w.m.Kill()
			<-done
			w.p.Meet(nil)
			w.again(durability)
			eventually(t, "the rename is completed", func() bool {
				out, code := w.m.Command("status", "--json", w.m.Dir)
				return code == 0 && !strings.Contains(out, `"renames"`) && strings.Contains(sh(t, w.m.Dir, "ls"), "new") && len(keysUnder(t, w, "dir/")) == 0
			})
			w.holds(under(objects, "dir/", "new/"))
			if got := sh(t, w.m.Dir, "find . -type f | wc -l; ls; cat new/s1/f0001"); got != "300\nnew\nfile 1" {
				t.Errorf("the mount shows %s", got)
			}
			w.m.Unmount()
		})
	}
}

// A directory whose old names the store does not delete is under both; as soon as the store does, it is under the new one alone.
func TestADirectoryThatIsUnderBothNamesIsRolledForward(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, durability string) {
		objects := smallFiles(30)
		w := writes(t, durability, objects, testenv.Args("--timeout", "2s"), testenv.AllowLog("not completed yet", "could not be deleted"))
		names(t, w.m.Dir)
		f := open(t, w.path("dir/s1/f0001"), os.O_RDONLY)
		w.p.Meet(func(r storeproxy.Request) storeproxy.Fate {
			if r.Op == storeproxy.DeleteMany || r.Op == storeproxy.Delete {
				return storeproxy.Fate{Act: storeproxy.Refuse, Status: 503, Code: "ServiceUnavailable"}
			}
			return storeproxy.Fate{}
		})
		if err := os.Rename(w.path("dir"), w.path("new")); err == nil {
			t.Error("renamed")
		}
		w.holds(merged(objects, under(objects, "dir/", "new/")))
		eventually(t, "status lists the rename", func() bool {
			out, _ := w.m.Command("status", "--json", w.m.Dir)
			return strings.Contains(out, `"rename"`)
		})
		w.p.Meet(nil)
		eventually(t, "the rename is completed", func() bool {
			out, code := w.m.Command("status", "--json", w.m.Dir)
			return code == 0 && !strings.Contains(out, `"rename"`) && len(keysUnder(t, w, "dir/")) == 0
		})
		w.holds(under(objects, "dir/", "new/"))
		b := make([]byte, 6)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "file 1" {
			t.Errorf("the open file: %q, %v", b, err)
		}
		closed(t, f)
		eventually(t, "the mount shows the new name alone", func() bool { return sh(t, w.m.Dir, "ls; cat new/s1/f0001") == "new\nfile 1" })
	})
}

func merged(a, b map[string][]byte) map[string][]byte {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func keysUnder(t *testing.T, w *writing, prefix string) (some []string) {
	t.Helper()
	for _, k := range keys(t, w.s, w.bucket) {
		if strings.HasPrefix(k, prefix) {
			some = append(some, k)
		}
	}
	return some
}

// Files that are open below a directory go on under its new name.
func TestOpenFilesGoOnBelowARenamedDirectory(t *testing.T) {
	both(t, func(t *testing.T, durability string) {
		w := writes(t, durability, map[string][]byte{"dir/read": []byte("0123456789"), "dir/sub/write": []byte("old")}, testenv.TTL(time.Minute))
		r := open(t, w.path("dir/read"), os.O_RDONLY)
		f := open(t, w.path("dir/sub/write"), os.O_RDWR)
		if _, err := f.WriteAt([]byte("new"), 0); err != nil {
			t.Fatal(err)
		}
		n := open(t, w.path("dir/made"), os.O_CREATE|os.O_WRONLY)
		if err := os.Rename(w.path("dir"), w.path("moved")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("er"), 3); err != nil {
			t.Error(err)
		}
		if _, err := n.WriteString("after"); err != nil {
			t.Error(err)
		}
		b := make([]byte, 10)
		if _, err := r.ReadAt(b, 0); err != nil || !bytes.Equal(b, []byte("0123456789")) {
			t.Errorf("%q, %v", b, err)
		}
		closed(t, f)
		closed(t, n)
		w.stored(durability)
		w.holds(map[string][]byte{"moved/read": []byte("0123456789"), "moved/sub/write": []byte("newer"), "moved/made": []byte("after")})
		if _, err := os.Stat(w.path("dir")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old name: %v", err)
		}
	})
}

// A directory moves from one bucket to another: the store copies.
func TestADirectoryMovesToAnotherBucket(t *testing.T) {
	s := start(t)
	one, two := s.Bucket(t), s.Bucket(t)
	for i := range 20 {
		put(t, s, one, fmt.Sprintf("dir/%d", i), []byte(fmt.Sprint(i)))
	}
	m := mount(t, s, "")
	if err := os.Rename(join(m.Dir, one, "dir"), join(m.Dir, two, "dir2")); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, m.Dir, "ls "+two+"/dir2 | wc -l; cat "+two+"/dir2/7; ls "+one); got != "20\n7" {
		t.Errorf("%q", got)
	}
	if k := keys(t, s, one); len(k) != 0 {
		t.Errorf("left: %q", k)
	}
	for _, c := range [][2]string{{one, two}, {two + "/dir2", one}, {one, one + "-renamed"}} {
		if err := unix.Rename(join(m.Dir, c[0]), join(m.Dir, c[1])); !errors.Is(err, unix.EXDEV) {
			t.Errorf("rename %s to %s: %v", c[0], c[1], err)
		}
	}
}

// --bucket-pattern shows some buckets, and lets no other be made.
func TestBucketPattern(t *testing.T) {
	s := start(t)
	one, two := s.Bucket(t), s.Bucket(t)
	m := mount(t, s, "", testenv.Args("--bucket-pattern", one[:len(one)-1]+"?:nothing-*"))
	if got := sh(t, m.Dir, "ls"); got != one {
		t.Errorf("the mount shows %q", got)
	}
	if _, err := os.Stat(join(m.Dir, two)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("stat of another bucket: %v", err)
	}
	if err := os.Mkdir(join(m.Dir, "something-else"), 0o755); !errors.Is(err, unix.EINVAL) {
		t.Errorf("mkdir: %v", err)
	}
}
