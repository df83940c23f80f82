package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st.Ino
}

// forgetInodes makes the kernel forget what nobody uses.
func forgetInodes(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
}

// A file keeps its number when the kernel forgets it and when it is renamed; two files never share one; readdir and stat agree.
func TestInodeNumbersAreStableAndUnique(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	for i := range 50 {
		put(t, s, bucket, fmt.Sprintf("d/f%02d", i), []byte("x"))
	}
	m := mount(t, s, bucket, testenv.TTL(0))
	numbers := func() map[string]uint64 {
		t.Helper()
		all, seen := map[string]uint64{}, map[uint64]string{}
		for line := range strings.Lines(sh(t, m.Dir, "find . -printf '%i %p\\n'; ls -RaiU1 d | sed 's|^|ls |'")) {
			var ino uint64
			var name string
			if n, _ := fmt.Sscanf(line, "ls %d %s", &ino, &name); n == 2 {
				if at, ok := all["./d/"+name]; name != "." && name != ".." && (!ok || at != ino) {
					t.Errorf("readdir says %d of %s, stat %d", ino, name, at)
				}
				continue
			}
			if n, _ := fmt.Sscanf(line, "%d %s", &ino, &name); n != 2 {
				continue
			}
			if other, ok := seen[ino]; ok {
				t.Errorf("%s and %s have the number %d", name, other, ino)
			}
			seen[ino], all[name] = name, ino
		}
		return all
	}
	before := numbers()
	if len(before) != 52 {
		t.Fatalf("%d names", len(before))
	}
	forgetInodes(t)
	for name, ino := range numbers() {
		if before[name] != ino {
			t.Errorf("%s was %d and is %d", name, before[name], ino)
		}
	}
	sh(t, m.Dir, "mv d/f00 d/moved; mv d/f01 up; echo new > d/f00; rm d/f02; echo again > d/f02; mv d e; mkdir d")
	forgetInodes(t)
	after := numbers()
	for now, then := range map[string]string{"./e": "./d", "./e/moved": "./d/f00", "./up": "./d/f01", "./e/f03": "./d/f03"} {
		if after[now] != before[then] {
			t.Errorf("%s has %d; as %s it had %d", now, after[now], then, before[then])
		}
	}
	for _, name := range []string{"./e/f00", "./e/f02", "./d"} {
		for then, ino := range before {
			if after[name] == ino {
				t.Errorf("%s, made anew, has the number of %s", name, then)
			}
		}
	}
}

// While a removed file is open, what is made under its name is another one.
func TestInodeNumberOfAFileMadeUnderAnOpenOnesName(t *testing.T) {
	s, bucket, m := openStore(t, testenv.TTL(0))
	path := m.Path("log")
	write(t, path, []byte("first"))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first := inode(t, path)
	sh(t, m.Dir, "rm log; echo second > log")
	if second := inode(t, path); second == first {
		t.Error("removed and made again it has the same number")
	}
	g, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	second := inode(t, path)
	put(t, s, bucket, "log", []byte("of another host")) // the open one reads its version
	eventually(t, "the new version is seen", func() bool {
		st, err := os.Stat(path)
		return err == nil && st.Size() == int64(len("of another host"))
	})
	if third := inode(t, path); third == second {
		t.Error("another version beside an open one has the same number")
	}
}

// as runs a script as an ordinary user.
func as(t *testing.T, uid, gid uint32, groups []uint32, dir, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euc", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as %d: %v\n%s\n%s", uid, err, script, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// reachable lets other users through the test's directories to the mount point.
func reachable(t *testing.T, m *testenv.MountPoint) {
	t.Helper()
	for d := filepath.Dir(m.Dir); d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// setuid, setgid and sticky are kept, and taken away where Linux takes them away.
func TestSpecialBits(t *testing.T) {
	both(t, func(t *testing.T, durability string) {
		w := writes(t, durability, map[string][]byte{"f": []byte("x")}, testenv.Args("--allow-other"))
		reachable(t, w.m)
		sh(t, w.m.Dir, `chmod 6755 f; mkdir sg st; chown 1000:2000 sg; chmod 2775 sg; chmod 1777 st; echo a > st/of-root; chmod 666 st/of-root
			for n in chown write trunc group append; do echo x > $n; chown 1000:2000 $n; chmod 6775 $n; done; chown 1000 group; chmod 2664 group`)
		mode := func(name string) string { return sh(t, w.m.Dir, "stat -c %a:%u:%g "+name) }
		for name, want := range map[string]string{"f": "6755:0:0", "sg": "2775:1000:2000", "st": "1777:0:0"} {
			if got := mode(name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		w.stored(durability)
		wantMeta(t, w.s, w.bucket, "f", map[string]string{"mode": fmt.Sprint(0o106755)})
		wantMeta(t, w.s, w.bucket, "sg/", map[string]string{"mode": fmt.Sprint(0o42775), "uid": "1000", "gid": "2000"})
		as(t, 1000, 1000, []uint32{2000}, w.m.Dir, "echo y > sg/made; mkdir sg/dir; touch st/mine; [ ! -w f ]")
		for name, want := range map[string]string{"sg/made": "644:1000:2000", "sg/dir": "2755:1000:2000", "st/mine": "644:1000:1000"} {
			if got := mode(name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		// The sticky directory keeps others' files.
		as(t, 1000, 1000, nil, w.m.Dir, "! rm -f st/of-root 2>/dev/null; ! mv st/of-root st/x 2>/dev/null; rm st/mine")
		// Who is not root loses the bits by writing; a chown takes them from everybody.
		as(t, 1000, 2000, nil, w.m.Dir, "echo y > write; : > trunc; echo y >> append; echo y >> group")
		sh(t, w.m.Dir, "chown 1000:2001 chown")
		for name, want := range map[string]string{"write": "775", "trunc": "775", "append": "775", "group": "2664", "chown": "775"} {
			eventually(t, name+" has "+want, func() bool { return strings.HasPrefix(mode(name), want+":") })
		}
		// A supplementary group counts, for access and for chgrp; chmod by who is not in the group drops setgid.
		as(t, 1000, 1000, []uint32{3000}, w.m.Dir, "chgrp 3000 write; ! chgrp 4000 write 2>/dev/null; chmod 640 write; chmod 2755 trunc")
		if got := mode("write"); got != "640:1000:3000" {
			t.Errorf("after chgrp: %s", got)
		}
		if got := mode("trunc"); got != "755:1000:2000" {
			t.Errorf("setgid of a group that one is not in: %s", got)
		}
		as(t, 1001, 1001, []uint32{3000}, w.m.Dir, "cat write >/dev/null")
		as(t, 1001, 1001, nil, w.m.Dir, "! cat write 2>/dev/null")
		// The umask counts.
		sh(t, w.m.Dir, "umask 027; : > masked; mkdir maskeddir")
		if mode("masked") != "640:0:0" || mode("maskeddir") != "750:0:0" {
			t.Errorf("with umask 027: %s, %s", mode("masked"), mode("maskeddir"))
		}
	})
}

func TestTimesBlocksAndLinks(t *testing.T) {
	w := writes(t, inStore, nil, testenv.TTL(0))
	target := strings.Repeat("x", 4095)
	if err := os.Symlink(target, w.path("longest")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target+"x", w.path("longer")); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a target of 4096 bytes: %v", err)
	}
	sh(t, w.m.Dir, `echo x > f; touch -d '2001-02-03 04:05:06.123456789 UTC' f; touch -a -d '2002-02-02 UTC' f; : > g
		touch -d '1960-01-01 UTC' g; mkdir d; touch -d '2003-03-03 03:03:03.000000003 UTC' d; mknod c c 5 300; mkfifo p`)
	if err := unix.Link(w.path("f"), w.path("hard")); !errors.Is(err, unix.EPERM) {
		t.Errorf("a hard link: %v, want EPERM", err)
	}
	w.m.Unmount()
	w.again(inStore, testenv.TTL(0))
	if got, err := os.Readlink(w.path("longest")); err != nil || got != target {
		t.Errorf("the link has %d bytes, %v", len(got), err)
	}
	got := sh(t, w.m.Dir, "export TZ=UTC; stat -c '%n %.9Y %h' f d; stat -c '%n %Y' g; stat -c '%n %F %t %T' c p")
	if want := "f 981173106.123456789 1\nd 1046660583.000000003 1\ng -315619200\nc character special file 5 12c\np fifo 0 0"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// st_blocks: what a sparse file has not got is not counted while it is written.
	f, err := os.Create(w.path("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("end"), 10<<20); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size != 10<<20+3 || st.Blocks > 100 {
		t.Errorf("a sparse file of %d bytes has %d blocks, %v", st.Size, st.Blocks, err)
	}
	before := inode(t, w.path("f"))
	w.took()
	var fst unix.Statfs_t
	if err := unix.Statfs(w.path("f"), &fst); err != nil || fst.Namelen != 255 || fst.Blocks == 0 || fst.Bavail == 0 || fst.Files == 0 {
		t.Errorf("statfs: %+v, %v", fst, err)
	}
	if r := w.took().but(storeproxy.List); len(r) > 0 || before == 0 {
		t.Errorf("statfs asked %v", r)
	}
}

// flock(1) and fcntl locks hold between the processes of a host.
func TestLocksHoldOnOneHost(t *testing.T) {
	_, _, m := openStore(t)
	write(t, m.Path("f"), noise(1, 1000))
	f, err := os.OpenFile(m.Path("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tries := func(script string) string {
		t.Helper()
		return sh(t, m.Dir, script+" && echo free || echo taken")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if got := tries("flock -n f true"); got != "taken" {
		t.Errorf("flock beside an exclusive one: %s", got)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if got := tries("flock -s -n f true") + tries("flock -n f true"); got != "freetaken" {
		t.Errorf("beside a shared one: %s", got)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	lock := func(kind int16, from, length int64) error {
		return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: kind, Start: from, Len: length})
	}
	const other = `python3 -c '
import fcntl, sys
f = open("f", "r+b")
try:
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, int(sys.argv[2]), int(sys.argv[1]))
except OSError:
    sys.exit(1)' `
	if err := lock(unix.F_WRLCK, 100, 100); err != nil {
		t.Fatal(err)
	}
	if got := tries(other+"150 10") + tries(other+"200 10") + tries(other+"0 100") + tries(other+"99 2"); got != "takenfreefreetaken" {
		t.Errorf("ranges beside a locked one: %s", got)
	}
	if err := lock(unix.F_UNLCK, 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := tries(other + "150 10"); got != "free" {
		t.Errorf("after the unlock: %s", got)
	}
	g, err := os.OpenFile(m.Path("f"), os.O_RDWR, 0) // closing any descriptor drops a process's fcntl locks
	if err != nil {
		t.Fatal(err)
	}
	if err := lock(unix.F_WRLCK, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tries(other + "0 1"); got != "free" {
		t.Errorf("after a close: %s", got)
	}
	// A lock that is waited for is had when it is free.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	waits := exec.Command("flock", m.Path("f"), "true")
	if err := waits.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := waits.Wait(); err != nil {
		t.Error(err)
	}
}
