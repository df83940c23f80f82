package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// umountSetup puts umount's helper beside mount's.
const umountSetup = `
ln -sf "$PAILFS" "$T/sbin/umount.fuse.pailfs"
ln -sf "$PAILFS" "$T/sbin/umount.pailfs"
mounted() { mountpoint -q "$M" && echo mounted || echo not mounted; }
`

func TestUmountReturnsWhenEverythingIsStored(t *testing.T) {
	d := newDesk(t)
	got := d.mount8(umountSetup + `
mount -t pailfs "$B" "$M" -o "$O,durability=journal"
for i in 1 2 3 4 5; do echo $i > "$M/f$i"; done
try umount "$M"
try "$PAILFS" status
mount -t fuse.pailfs "$B" "$M" -o "$O"
try umount -v "$M"
mount -t pailfs "$B" "$M" -o "$O"
exec 3> "$M/open"
try umount "$M"
mounted
echo written >&3
try umount -f "$M"
mounted
exec 3>&- || true
mount -t pailfs "$B" "$M" -o "$O"
try umount -i "$M"
until "$PAILFS" status | grep -q '^nothing is mounted'; do sleep 0.02; done
try umount "$M"
try umount.fuse.pailfs "$M"
`)
	d.wants(got, `
code 0
nothing is mounted
code 0
umount.fuse.pailfs: MNT unmounted
code 0
umount.fuse.pailfs: cannot unmount MNT: it is in use by sh (pid ...
hint: ...
code 32
mounted
code 0
not mounted
code 0
umount: MNT: not mounted.
code 32
umount.fuse.pailfs: cannot unmount MNT: nothing is mounted there
hint: ...
code 32
`)
	for _, key := range []string{"f1", "f2", "f3", "f4", "f5"} {
		d.wantObject(key, key[1:]+"\n")
	}
}

// fusermount3 does not wait: the process stores what is left by itself, and the status says so until then.
func TestFusermountUnmounts(t *testing.T) {
	d := newDesk(t)
	testenv.Programs(t, "fusermount3")
	d.mount("--durability", "journal", "--max-lag", "1h")
	pid := d.pid()
	for _, name := range []string{"f1", "f2"} {
		if err := d.write(name, name); err != nil {
			t.Error(err)
		}
	}
	if out, err := exec.Command("fusermount3", "-u", d.mnt).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.awaitEnd(pid)
	d.wantObject("f1", "f1")
	d.wantObject("f2", "f2")
	d.expect(0, []string{"nothing is mounted"}, "status")
	if left, err := os.ReadDir(filepath.Dir(d.mnt) + "/run"); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}

// The store is away while it is unmounted: umount waits until it is back. Without the helper it does not.
func TestUmountWaitsForTheStore(t *testing.T) {
	d := newDesk(t)
	script := umountSetup + `
mount -t pailfs "$B" "$M" -o "$O,durability=journal,timeout=1m"
exec 3> "$M/late"
touch "$T/mounted"
until [ -e "$T/away" ]; do sleep 0.01; done
echo late >&3
exec 3>&-
umount "$M" 2>"$T/said" & pid=$!
for i in $(seq 2000); do mountpoint -q "$M" || break; sleep 0.01; done
"$PAILFS" status "$M" | sed -n 2p
kill -0 $pid && echo umount waits
touch "$T/unmounted"
wait $pid; code=$?
echo "code $code"
[ $code = 0 ] || cat "$T/said"
`
	dir := t.TempDir()
	type result struct {
		out string
		err error
	}
	ended := make(chan result, 1)
	go func() {
		out, err := d.mount8In(dir, script)
		ended <- result{out, err}
	}()
	awaitFile(t, dir+"/mounted")
	d.store.Stop(t)
	touch(t, dir+"/away")
	awaitFile(t, dir+"/unmounted")
	d.store.Start(t)
	res := <-ended
	if res.err != nil {
		t.Error(res.err)
	}
	d.wants(res.out, `
  state       draining: unmounted, storing what is left...
umount waits
code 0
`)
	d.wantObject("late", "late\n")
}

func touch(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func awaitFile(t *testing.T, name string) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(name); err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s has not come", name)
		}
	}
}

// After `umount -l` with a file open the mount serves on, and says that it is detached.
func TestALazyUmount(t *testing.T) {
	d := newDesk(t)
	got := d.mount8(umountSetup + `
mount -t pailfs "$B" "$M" -o "$O"
exec 3> "$M/open"
try umount -l "$M"
mounted
"$PAILFS" status "$M" | sed -n 2p
echo written >&3
exec 3>&-
until "$PAILFS" status | grep -q '^nothing is mounted'; do sleep 0.02; done
mount -t pailfs "$B" "$M" -o "$O"
try "$PAILFS" umount --lazy "$M"
mounted
"$PAILFS" umount "$M" 2>/dev/null || true
`)
	d.wants(got, `
umount.fuse.pailfs: MNT is detached; its process (pid ...
code 0
not mounted
  state       detached: its mount point is gone; it ends when the last file is closed, and the last copy of the mount
code 0
not mounted
`)
	d.wantObject("open", "written\n")
}

// A bind mount keeps the mount alive: umount stores what is pending and does not wait for what never comes.
func TestUmountOfAMountWithACopy(t *testing.T) {
	d := newDesk(t)
	got := d.mount8(umountSetup + `
mount -t pailfs "$B" "$M" -o "$O,durability=journal,max_lag=1h"
mkdir "$T/copy"
mount --bind "$M" "$T/copy"
echo text > "$M/a"
try umount "$M"
cat "$T/copy/a"
try umount "$T/copy"
"$PAILFS" umount "$M" 2>/dev/null || true
`)
	d.wants(got, `
umount.fuse.pailfs: MNT is unmounted here and everything is stored; a copy of the mount elsewhere...
code 0
text
code 0
`)
	d.wantObject("a", "text\n")
}

// A dead mount point is cleaned by the next mount, through mount(8) as well, and umount says what was left.
func TestMountCleansADeadMountPoint(t *testing.T) {
	d := newDesk(t)
	got := d.mount8(umountSetup + `
pid() { "$PAILFS" status --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1; }
die() { p=$(pid); kill -9 $p; while kill -0 $p 2>/dev/null && ! grep -q '^State:.Z' /proc/$p/status; do sleep 0.01; done; }
mount -t pailfs "$B" "$M" -o "$O"
die
for i in $(seq 500); do ls "$M" 2>&1 | grep -q 'not connected' && break; sleep 0.01; done # the kernel breaks off what is going on first
try ls "$M"
try mount -t pailfs "$B" "$M" -o "$O"
echo text > "$M/a"
findmnt -n -o SOURCE "$M"
die
try mount -t fuse.pailfs "$B" "$M" -o "$O"
cat "$M/a"
die
try umount "$M"
mounted
`)
	d.wants(got, `
ls: cannot access 'MNT': Transport endpoint is not connected
code 2
code 0
BKT
code 0
text
umount.fuse.pailfs: the process that served MNT (pid ...
code 0
not mounted
`)
}

// A user unmounts what the user has mounted, and umount waits as well.
func TestUmountAsAUser(t *testing.T) {
	d := newDesk(t)
	testenv.Programs(t, "setpriv", "fusermount3")
	openToUsers(t, "/dev/fuse")
	got := d.mount8(umountSetup + `
chmod 755 "$T"
U="$T/user"; mkdir "$U" "$U/mnt" "$U/state" "$U/run"; cp "$T/keys" "$U/keys"; cp "$PAILFS" "$T/pailfs"; chmod 755 "$T/pailfs"; chown -R 65534:65534 "$U"
chmod 755 "$(dirname "$T")"
ln -sf "$T/pailfs" "$T/sbin/umount.fuse.pailfs"
ln -sf "$T/pailfs" "$T/sbin/umount.pailfs"
as() { setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH="$PATH" HOME="$U" XDG_RUNTIME_DIR="$U/run" LC_ALL=C "$@"; }
MO="$(echo "$O" | sed "s|$T/keys|$U/keys|; s|state-dir=.*|state-dir=$U/state|"),durability=journal"
try as "$T/pailfs" mount "$B" "$U/mnt" -o "$MO"
as sh -c 'for i in 1 2 3; do echo $i > '"$U"'/mnt/u$i; done'
findmnt -n -o FSTYPE "$U/mnt"
try as umount "$U/mnt"
mountpoint -q "$U/mnt" && echo still mounted
try as "$T/pailfs" status
`)
	d.wants(got, `
code 0
fuse.pailfs
code 0
nothing is mounted
code 0
`)
	for _, key := range []string{"u1", "u2", "u3"} {
		d.wantObject(key, key[1:]+"\n")
	}
}

// terminal is a terminal that a program runs on: what it shows there.
type terminal struct {
	t    *testing.T
	far  *os.File // the program's end
	near *os.File
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testenv.Skip(t, "no terminals: "+err.Error())
	}
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err := os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if err := unix.IoctlSetWinsize(int(far.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return &terminal{t, far, near}
}

// A mount in the foreground shows on its terminal how far it is with storing, and after the second Ctrl-C what is left and where.
func TestTheForegroundOnATerminal(t *testing.T) {
	d := newDesk(t)
	term := newTerminal(t)
	log := t.TempDir() + "/log"
	cmd := exec.Command(testenv.Binary(t), "mount", "-f", d.bucket, d.mnt, "--timeout", "1h", "--log-file", log)
	cmd.Env, cmd.Stderr = d.env, term.far
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var none bytes.Buffer
	d.awaitMount(ended, &none)
	d.open("a", "not stored")
	d.store.Stop(t)
	shown := make(chan string, 1)
	go func() {
		var all []byte
		buf := make([]byte, 4096)
		for {
			n, err := term.near.Read(buf)
			all = append(all, buf[:n]...)
			if err != nil {
				shown <- string(all)
				return
			}
		}
	}()
	for i, says := range []string{"msg=stopping", "not waiting for the store"} {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(i, err)
		}
		awaitLog(t, log, says)
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Fatal("still waiting for the store")
	}
	term.far.Close()
	got := <-shown
	if code := cmd.ProcessState.ExitCode(); code != 8 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"[------------------------] 0 B of 10 B", "pailfs: mount: 1 file not stored (10 B)", "hint: kept in " + d.state} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	d.store.Start(t)
	d.mount()
	d.expect(0, nil, "umount", d.mnt)
	d.wantObject("a", "not stored")
}

// openToUsers gives a device the mode that it has where udev runs, for as long as the test lasts.
func openToUsers(t *testing.T, device string) {
	t.Helper()
	fi, err := os.Stat(device)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm()&0o006 == 0o006 {
		return
	}
	if err := os.Chmod(device, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(device, fi.Mode().Perm()); err != nil {
			t.Error(err)
		}
	})
}
