package cli

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// lender starts a mount-helper for nobody, and returns it with its socket.
func (d *desk) lender(h how, args ...string) (p *program, socket string) {
	d.t.Helper()
	socket = filepath.Dir(d.mnt) + "/lend.sock"
	p = d.start(h, append([]string{"mount-helper", "--socket", socket, "--user", strconv.Itoa(nobody), d.mnt}, args...)...)
	p.says("ready to mount", 1)
	return p, socket
}

// A process without any right serves what a mount-helper lends, again and again.
func TestALentMount(t *testing.T) {
	d := newDesk(t)
	run := d.forNobody()
	socket := filepath.Dir(d.mnt) + "/lend.sock"
	borrow := []string{"mount", "-f", "--fd-socket", socket, d.bucket, d.mnt}

	first := d.start(how{user: nobody, run: run}, borrow...) // before there is anybody to ask
	first.says("waiting for the mount-helper", 1)
	helper, _ := d.lender(how{}, "-o", "allow_other,noexec", "-o", "max_read=256KiB")
	first.says("msg=mounted", 1)
	if fi, err := os.Stat(socket); err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	info := testenv.MountInfo(t, d.mnt)
	if info.FSType != "fuse.pailfs" || info.Source != d.bucket {
		t.Fatalf("%+v", info)
	}
	for _, want := range []string{"noexec", "nosuid", "nodev", "user_id=65534", "default_permissions", "allow_other", "max_read=262144"} {
		if !strings.Contains(info.Options+","+info.VFSOptions, want) {
			t.Errorf("%s is missing: %+v", want, info)
		}
	}
	if err := d.write("a", "hello"); err != nil {
		t.Error(err)
	}
	d.wantObject("a", "hello")

	// A stop unmounts through the mount-helper; a file that is open stays until it is stored.
	w := d.open("open", "written")
	first.signal(unix.SIGTERM)
	first.ends(0, "the mount is in use", "everything is stored")
	w.fails()
	d.wantObject("open", "written")
	helper.says("the borrower has ended", 1)
	if d.mounted() {
		t.Error("still mounted")
	}

	// It starts again, and is killed: the mount goes, and comes back with the next.
	second := d.start(how{user: nobody, run: run}, borrow...)
	second.says("msg=mounted", 1)
	d.reads("a", "hello")
	second.signal(unix.SIGKILL)
	second.ends(-1)
	helper.says("the borrower has ended", 2)
	third := d.start(how{user: nobody, run: run}, borrow...)
	third.says("msg=mounted", 1)
	d.reads("a", "hello")

	// Who is not meant gets nothing.
	stranger := d.start(how{user: 1000, run: filepath.Dir(d.mnt) + "/none"}, "mount", "-f", "--fd-socket", socket, d.bucket, d.mnt, "--timeout", "1s", "--state-dir", filepath.Dir(d.mnt)+"/none")
	stranger.ends(7)

	// The mount-helper's end is the other's too: it stores first.
	w = d.open("last", "written")
	helper.signal(unix.SIGTERM)
	third.ends(0, "the mount-helper asks for it", "everything is stored")
	helper.ends(0)
	w.fails()
	d.wantObject("last", "written")
	if d.mounted() || exists(socket) {
		t.Errorf("left: mounted %v, socket %v", d.mounted(), exists(socket))
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A mount outlives its mount-helper; the next one takes it away when its process has ended.
func TestALenderThatIsKilled(t *testing.T) {
	d := newDesk(t)
	run := d.forNobody()
	helper, socket := d.lender(how{}, "-o", "allow_other")
	serving := d.start(how{user: nobody, run: run}, "mount", "-f", "--fd-socket", socket, d.bucket, d.mnt)
	serving.says("msg=mounted", 1)
	helper.signal(unix.SIGKILL)
	helper.ends(-1)
	if err := d.write("a", "x"); err != nil {
		t.Error(err)
	}
	again, _ := d.lender(how{}, "-o", "allow_other")
	again.says("there is a mount already", 1)
	second := d.start(how{user: nobody, run: run}, "mount", "-f", "--fd-socket", socket, d.bucket, filepath.Dir(d.mnt)+"/other")
	second.ends(7, "its process answers")
	w := d.open("open", "written")
	serving.signal(unix.SIGTERM)
	serving.ends(0, "left to whoever mounted it", "everything is stored")
	d.wantObject("open", "written")
	w.fails()
	if !d.isDead() {
		t.Error("the mount is not dead")
	}
	third := d.start(how{user: nobody, run: run}, "mount", "-f", "--fd-socket", socket, d.bucket, d.mnt)
	third.says("msg=mounted", 1)
	d.reads("a", "x")
	third.signal(unix.SIGTERM)
	third.ends(0)
	again.signal(unix.SIGTERM)
	again.ends(0)
}

// A descriptor that somebody else has mounted is served, stored to the end, and given back by ending.
func TestADescriptor(t *testing.T) {
	d := newDesk(t)
	run := d.forNobody()
	place := filepath.Dir(d.mnt) + "/named/only"
	env := d.env
	for _, how := range []how{
		{user: nobody, run: run, files: []*os.File{nil}},
		{user: nobody, run: run, files: []*os.File{nil, nil, nil}},
	} {
		fuse := d.fuseAt(d.mnt)
		fd := len(how.files) + 2
		how.files[len(how.files)-1] = fuse
		p := d.start(how, "mount", "-f", "--fd", strconv.Itoa(fd), d.bucket, place)
		p.says("msg=mounted", 1)
		if err := d.write("a", "hello"); err != nil {
			t.Error(err)
		}
		d.wantObject("a", "hello")
		d.env = append(env[:len(env):len(env)], "PAILFS_RUN_DIR="+run)
		d.expect(0, []string{place, "serving"}, "status", place)
		d.expect(0, nil, "flush", place+"/a")
		d.env = env
		// The descriptor is also the test's: a second process is told that there is nothing to serve.
		second := d.start(how, "mount", "-f", "--fd", strconv.Itoa(fd), d.bucket, place+"2")
		second.ends(7, "has been served before")
		fuse.Close()
		w := d.open("open", "written")
		p.signal(unix.SIGTERM)
		p.ends(0, "left to whoever mounted it", "everything is stored")
		d.wantObject("open", "written")
		w.fails()
		if !d.isDead() {
			t.Error("the mount is not dead")
		}
		if err := unix.Unmount(d.mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}

// In the background, by the name that other programs of FUSE use as well, and read-only.
func TestADescriptorInTheBackground(t *testing.T) {
	d := newDesk(t)
	d.forNobody()
	d.store.Put(t, d.bucket, "a", []byte("hello"), nil)
	for fd, args := range map[int][]string{3: {"/dev/fd/3"}, 4: {"--fd", "4", filepath.Dir(d.mnt) + "/name"}} {
		fuse := d.fuseAt(d.mnt)
		files := make([]*os.File, fd-2)
		files[fd-3] = fuse
		p := d.start(how{files: files}, append([]string{"mount", "--read-only", d.bucket}, args...)...)
		p.ends(0)
		fuse.Close()
		d.reads("a", "hello")
		if err := d.write("a", "x"); !errors.Is(err, unix.EROFS) {
			t.Errorf("written although it is read-only: %v", err)
		}
		if err := d.write("b", "x"); !errors.Is(err, unix.EROFS) {
			t.Errorf("made although it is read-only: %v", err)
		}
		pid := d.pid()
		d.expect(0, nil, "umount", args[len(args)-1])
		d.awaitEnd(pid)
		if !d.isDead() {
			t.Error("the mount is not dead")
		}
		if err := unix.Unmount(d.mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(d.state); err != nil { // d.pid knows one mount
			t.Fatal(err)
		}
	}
}

func TestADescriptorThatIsNone(t *testing.T) {
	d := newDesk(t)
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fuse.Close()
	for _, c := range []struct {
		file  *os.File
		code  int
		words string
		args  []string
	}{
		{file, 7, "is not /dev/fuse", nil},
		{fuse, 7, "is not mounted", nil},
		{nil, 7, "descriptor 9: bad file descriptor", []string{"--fd", "9"}},
		{fuse, 2, "allow_other is for whoever mounts", []string{"--allow-other"}},
		{fuse, 2, "noexec is for whoever mounts", []string{"-o", "noexec"}},
		{fuse, 2, "one of them", []string{"--fd-socket", "/x"}},
		{fuse, 2, "between 3 and", []string{"--fd", "2"}},
		{fuse, 2, "is longer than", []string{"--fd-socket", "/" + strings.Repeat("x", 200)}},
	} {
		d.start(how{files: []*os.File{c.file}}, append([]string{"mount", d.bucket, "/name", "--fd", "3"}, c.args...)...).ends(c.code, c.words)
	}
	d.expect(2, []string{"--socket is missing"}, "mount-helper", d.mnt)
	d.expect(2, []string{"suid: unknown mount option"}, "mount-helper", "--socket", "/x", "-o", "suid=x", d.mnt)
	d.expect(6, []string{"mkdir -p"}, "mount-helper", "--socket", "/x", d.mnt+"/none")
}

// What a pod's end interrupts is kept: SIGTERM begins to store, SIGKILL ends that, and the next run with the same volume for the
// state has all that was acknowledged.
func TestAGraceThatIsTooShort(t *testing.T) {
	d := newDesk(t)
	run := d.forNobody()
	helper, socket := d.lender(how{}, "-o", "allow_other")
	borrow := []string{"mount", "-f", "--fd-socket", socket, "--durability", "journal", "--metadata-ttl", "forever", "--timeout", "1m", d.bucket, d.mnt}
	serving := d.start(how{user: nobody, run: run}, borrow...)
	serving.says("msg=mounted", 1)
	if _, err := os.ReadDir(d.mnt); err != nil { // a store that is away lets nobody make a name where it might have one
		t.Fatal(err)
	}
	d.store.Stop(t)
	var names []string
	for i := range 20 {
		name := "file" + strconv.Itoa(i)
		if err := d.write(name, strings.Repeat(name, 1000)); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	serving.signal(unix.SIGTERM)
	serving.says("msg=stopping", 1)
	serving.signal(unix.SIGKILL)
	serving.ends(-1)
	d.store.Start(t)
	if _, ok := d.object(names[0]); ok {
		t.Fatal("the store has it already")
	}
	again := d.start(how{user: nobody, run: run}, borrow...)
	again.says("msg=mounted", 1)
	again.signal(unix.SIGTERM)
	again.ends(0, "everything is stored")
	for _, name := range names {
		d.wantObject(name, strings.Repeat(name, 1000))
	}
	helper.signal(unix.SIGTERM)
	helper.ends(0)
}

// What interrupts programs of other containers all the time, as the Go runtime does its own, breaks nothing off: nobody can see
// from here whether they are to die.
func TestACallerOfAnotherPIDNamespace(t *testing.T) {
	d := newDesk(t)
	testenv.Programs(t, "unshare")
	run := d.forNobody()
	// Numbers of processes are those of the namespace that has mounted: this test is outside of it.
	helper, socket := d.lender(how{under: []string{"unshare", "--pid", "--fork", "--kill-child"}}, "-o", "allow_other")
	serving := d.start(how{user: nobody, run: run}, "mount", "-f", "--fd-socket", socket, "--timeout", "1m", d.bucket, d.mnt)
	serving.says("msg=mounted", 1)
	d.store.Stop(t)
	caller, made := make(chan int), make(chan error)
	go func() {
		runtime.LockOSThread()
		caller <- unix.Gettid()
		made <- unix.Mkdir(d.mnt+"/dir", 0o755) // the system call itself: os.Mkdir would try again
	}()
	thread := <-caller
	awaitCall(t, thread, unix.SYS_MKDIRAT)
	for range 20 {
		if err := unix.Tgkill(os.Getpid(), thread, unix.SIGURG); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-made:
		t.Errorf("it was broken off: %v", err)
	case <-time.After(300 * time.Millisecond): // the mount looks at who was interrupted every 100 ms
		d.store.Start(t)
		if err := <-made; err != nil {
			t.Error(err)
		}
	}
	d.wantObject("dir/", "")
	serving.signal(unix.SIGTERM)
	serving.ends(0)
	helper.signal(unix.SIGKILL) // unshare passes nothing else on
	helper.ends(-1)
}

// awaitCall waits until a thread of this process is in a system call.
func awaitCall(t *testing.T, thread, number int) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(thread) + "/syscall"); err == nil && strings.HasPrefix(string(b), strconv.Itoa(number)+" ") {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("thread %d is not in system call %d", thread, number)
		}
	}
}
