package mount

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

// attributed puts an object with headers as another tool does.
func attributed(t *testing.T, s *testenv.Server, bucket, key, content string, meta map[string]string) {
	t.Helper()
	if _, err := s.Client.Put(t.Context(), s3client.PutRequest{Bucket: bucket, Key: key, Body: strings.NewReader(content), Size: int64(len(content)),
		Headers: s3client.Headers{Meta: meta}}); err != nil {
		t.Fatal(err)
	}
}

// Objects of tools that know nothing of files show what the mount was told to show of them, and the time at which they were stored.
func TestObjectsWithoutAttributes(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	put(t, s, bucket, "d/f", []byte("x"))
	attributed(t, s, bucket, "d/own", "x", map[string]string{"mode": "33152", "uid": "7", "gid": "8", "mtime": "1500000000"})
	m := mount(t, s, bucket, testenv.Args("--file-mode", "0640", "--dir-mode", "0750", "--uid", "1234", "--gid", "2345"))
	stored := head(t, s, bucket, "d/f").Modified.Unix()
	want := fmt.Sprintf("d 750:1234:2345\nd/f 640:1234:2345\nd/own 600:7:8\n%d 1500000000", stored)
	if got := sh(t, m.Dir, "stat -c '%n %a:%u:%g' d d/f d/own; echo $(stat -c %Y d/f d/own)"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var fst unix.Statfs_t
	if err := unix.Statfs(m.Dir, &fst); err != nil || fst.Blocks*uint64(fst.Bsize) != 1<<50 || fst.Bavail != fst.Blocks {
		t.Errorf("df shows %+v, %v", fst, err)
	}
}

// atime is the mtime until it is set; reading does not change it, and set alone it is stored only with another change.
func TestAccessTimes(t *testing.T) {
	w := writes(t, inStore, nil)
	attributed(t, w.s, w.bucket, "f", "content", map[string]string{"mtime": "1500000000"})
	atime := func() string { return sh(t, w.m.Dir, "stat -c %X:%Y f") }
	if got := atime(); got != "1500000000:1500000000" {
		t.Errorf("at first %s", got)
	}
	read(t, w.path("f"))
	if got := atime(); got != "1500000000:1500000000" {
		t.Errorf("after reading %s", got)
	}
	w.took()
	times := []unix.Timespec{{Sec: 1600000000}, {Nsec: unix.UTIME_OMIT}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, w.path("f"), times, 0); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if all := w.took().but(storeproxy.List, storeproxy.Head); len(all) > 0 {
		t.Errorf("atime alone asked the store for %v", requests(all))
	}
	if got := atime(); got != "1600000000:1500000000" {
		t.Errorf("atime was set: %s", got)
	}
	if err := unix.Chmod(w.path("f"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := head(t, w.s, w.bucket, "f").Headers.Meta["atime"]; !strings.HasPrefix(got, "1600000000") {
		t.Errorf("with the mode the atime %q was stored", got)
	}
	other := mount(t, w.s, w.bucket)
	if got := sh(t, other.Dir, "stat -c %X:%Y f"); got != "1600000000:1500000000" {
		t.Errorf("another mount shows %s", got)
	}
}

// A directory's times follow what comes and goes in it here; the next mount shows what its marker has.
func TestTimesOfADirectory(t *testing.T) {
	w := writes(t, inStore, nil)
	const set = 1500000000
	if err := os.Mkdir(w.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	times := func(m *testenv.MountPoint) (mtime, ctime int64) {
		var st unix.Stat_t
		if err := unix.Stat(m.Path("d"), &st); err != nil {
			t.Fatal(err)
		}
		return st.Mtim.Sec, st.Ctim.Sec
	}
	for _, c := range []struct {
		what   string
		change func() error
	}{
		{"create", func() error { return os.WriteFile(w.path("d/f"), []byte("x"), 0o644) }},
		{"rename", func() error { return os.Rename(w.path("d/f"), w.path("d/g")) }},
		{"unlink", func() error { return os.Remove(w.path("d/g")) }},
	} {
		if err := os.Chtimes(w.path("d"), time.Unix(set, 0), time.Unix(set, 0)); err != nil {
			t.Fatal(err)
		}
		if mtime, _ := times(w.m); mtime != set {
			t.Fatalf("utimens: %d", mtime)
		}
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		if mtime, ctime := times(w.m); mtime <= set || ctime <= set {
			t.Errorf("after %s: mtime %d, ctime %d", c.what, mtime, ctime)
		}
	}
	if got := head(t, w.s, w.bucket, "d/").Headers.Meta["mtime"]; !strings.HasPrefix(got, fmt.Sprint(set)) {
		t.Errorf("the marker has %q", got)
	}
	if mtime, _ := times(mount(t, w.s, w.bucket)); mtime != set {
		t.Errorf("another host sees %d", mtime)
	}
	w.m.Unmount()
	if mtime, _ := times(w.again(inStore)); mtime != set {
		t.Errorf("the next mount shows %d", mtime)
	}
}

// Attributes that another host has just changed go along with a rename here, though this mount shows those it knew until the object
// changes.
func TestForeignAttributesGoAlongWithARename(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	was, is := map[string]string{"mode": "33188", "uid": "1", "mtime": "1500000000"}, map[string]string{"mode": "33152", "uid": "2", "mtime": "1600000000"}
	attributed(t, s, bucket, "f", "content", was)
	m := mount(t, s, bucket, testenv.TTL(time.Hour))
	names(t, m.Dir) // all that the rename needs is known
	const show = "stat -c %a:%u:%Y "
	if got := sh(t, m.Dir, show+"f"); got != "644:1:1500000000" {
		t.Fatal(got)
	}
	time.Sleep(1100 * time.Millisecond) // within a second of the store's time such a change may go unnoticed by anybody
	attributed(t, s, bucket, "f", "content", is)
	if err := os.Rename(m.Path("f"), m.Path("g")); err != nil {
		t.Fatal(err)
	}
	wantMeta(t, s, bucket, "g", is)
	for _, when := range []string{"at once", "asked anew"} {
		if got := sh(t, m.Dir, show+"g"); got != "644:1:1500000000" {
			t.Errorf("%s this mount shows %s", when, got)
		}
		if out, code := m.Command("refresh", m.Dir); code != 0 {
			t.Fatalf("refresh: %d %s", code, out)
		}
		forgetInodes(t)
	}
	if got := sh(t, mount(t, s, bucket).Dir, show+"g"); got != "600:2:1600000000" {
		t.Errorf("another mount shows %s", got)
	}
}

// A listing says of a link that it is a file until its attributes are known.
func TestALinkIsListedAsAFileUntilItIsLookedAt(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	attributed(t, s, bucket, "d/link", "target", map[string]string{"mode": fmt.Sprint(0o120777)})
	m := mount(t, s, bucket)
	kind := func() fs.FileMode {
		list, err := os.ReadDir(m.Path("d"))
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		return list[0].Type()
	}
	if got := kind(); got != 0 {
		t.Errorf("before it was looked at it is listed as %v", got)
	}
	if got, err := os.Readlink(m.Path("d/link")); err != nil || got != "target" {
		t.Errorf("it leads to %q, %v", got, err)
	}
	if got := kind(); got != fs.ModeSymlink {
		t.Errorf("then it is listed as %v", got)
	}
}

// tail -F follows a file that another host replaces, tail -f stays with the version it has; inotify tells of what this mount does
// alone.
func TestWhoFollowsAFileThatIsReplacedElsewhere(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	put(t, s, bucket, "log", []byte("first\n"))
	m := mount(t, s, bucket, testenv.TTL(0))
	before := inode(t, m.Path("log"))
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, m.Dir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MODIFY|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_ATTRIB); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, flag := range []string{"-F", "-f"} {
		said[flag] = t.TempDir() + "/out"
		out, err := os.Create(said[flag])
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command("tail", "-s", "0.1", "-n", "+1", flag, m.Path("log"))
		cmd.Stdout = out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			cmd.Process.Kill()
			cmd.Wait() // its error is that it was killed
		}()
		eventually(t, "tail "+flag+" shows the file", func() bool { return string(read(t, said[flag])) == "first\n" })
	}
	put(t, s, bucket, "log", []byte("first\nsecond, from elsewhere\n"))
	put(t, s, bucket, "other", []byte("from elsewhere"))
	eventually(t, "tail -F shows the new version", func() bool { return strings.Contains(string(read(t, said["-F"])), "second") })
	if after := inode(t, m.Path("log")); after == before {
		t.Error("the new version has the number of the old one")
	}
	sameBytes(t, "the other name", read(t, m.Path("other")), []byte("from elsewhere"))
	write(t, m.Path("own"), []byte("from here"))
	var told []string
	eventually(t, "inotify tells of what was done here", func() bool {
		told = append(told, events(t, watch)...)
		return len(told) > 0 && told[len(told)-1] == "own"
	})
	for _, name := range told {
		if name != "own" {
			t.Errorf("inotify tells of %s", name)
		}
	}
	if got := string(read(t, said["-f"])); got != "first\n" {
		t.Errorf("tail -f shows %q", got)
	}
}

// events are the names that inotify has told of since the last time.
func events(t *testing.T, watch int) (list []string) {
	t.Helper()
	p := make([]byte, 64<<10)
	n, err := unix.Read(watch, p)
	if err == syscall.EAGAIN {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for p = p[:n]; len(p) > 0; { // struct inotify_event: wd, mask, cookie and len, 4 bytes each, and the name
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(p[12:]))
		list = append(list, strings.TrimRight(string(p[unix.SizeofInotifyEvent:end]), "\x00"))
		p = p[end:]
	}
	return list
}
