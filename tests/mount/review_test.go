package mount

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

// eventually waits until what a test waits for is there; a limit ends a test that would wait for ever.
func eventually(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestOpeningAnEmptyFileForWritingKeepsItVisible(t *testing.T) {
	for name, touch := range map[string]func(string) error{
		"O_TRUNC":               func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"ftruncate to its size": func(p string) error { return change(p, func(fd int) error { return unix.Ftruncate(fd, 0) }) },
		"fallocate that adds nothing": func(p string) error {
			return change(p, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 4096) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, bucket, m := openStore(t, testenv.TTL(0))
			put(t, s, bucket, "f", nil)
			if err := touch(join(m.Dir, "f")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond) // a store that counts in seconds calls the next version newer
			put(t, s, bucket, "f", []byte("from another host"))
			if got := string(read(t, join(m.Dir, "f"))); got != "from another host" {
				t.Errorf("reads %q", got)
			}
			if err := s.Client.Delete(t.Context(), bucket, "f"); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(join(m.Dir, "f")); !os.IsNotExist(err) {
				t.Errorf("deleted elsewhere: %v", err)
			}
		})
	}
}

// change opens a file for writing, does something to it and closes it.
func change(path string, do func(fd int) error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(int(f.Fd())), f.Close())
}

func TestTruncatingAnEmptyFileRenewsItsTime(t *testing.T) {
	s, bucket, m := openStore(t)
	stamp := join(m.Dir, "stamp")
	write(t, stamp, nil)
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(stamp, old, old); err != nil {
		t.Fatal(err)
	}
	sh(t, m.Dir, ": > stamp")
	again := mount(t, s, bucket)
	for _, dir := range []string{m.Dir, again.Dir} {
		fi, err := os.Stat(join(dir, "stamp"))
		if err != nil {
			t.Fatal(err)
		}
		if !fi.ModTime().After(old) {
			t.Errorf("make would think that the stamp is of %v", fi.ModTime())
		}
	}
}

func TestReadOfADeletedObjectIsESTALE(t *testing.T) {
	s, bucket, m := openStore(t, testenv.TTL(0), testenv.AllowLog("read failed"))
	put(t, s, bucket, "f", noise(1, 40<<20))
	f := open(t, join(m.Dir, "f"), os.O_RDONLY)
	if err := s.Client.Delete(t.Context(), bucket, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 4096), 30<<20); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("read: %v, want ESTALE", err)
	}
}

func TestEditOfAnObjectDeletedElsewhereIsESTALE(t *testing.T) {
	// What was written is kept beside it, so that nothing is left to be stored.
	s, bucket, m := openStore(t, testenv.TTL(0), testenv.ExpectLog(
		`level=WARN msg="conflict: what was written here is kept; bytes that it stood on are gone" `,
		`level=WARN msg="store failed" path=f errno="stale file handle" `))
	put(t, s, bucket, "f", noise(1, 40<<20))
	f := open(t, join(m.Dir, "f"), os.O_RDWR)
	if _, err := f.WriteAt([]byte("edit"), 30<<20); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Delete(t.Context(), bucket, "f"); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("fsync: %v, want ESTALE", err)
	}
	if err := f.Close(); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("close: %v, want ESTALE", err)
	}
}

func TestMknodOfARegularFileIsStored(t *testing.T) {
	s, bucket, m := openStore(t)
	if err := unix.Mknod(join(m.Dir, "f"), unix.S_IFREG|0o640, 0); err != nil {
		t.Fatal(err)
	}
	if got := object(t, s, bucket, "f"); len(got) != 0 {
		t.Errorf("stored %d bytes", len(got))
	}
	if got := read(t, join(m.Dir, "f")); len(got) != 0 {
		t.Errorf("reads %d bytes", len(got))
	}
	sh(t, m.Dir, "echo more >> f; mv f g; test $(cat g) = more; test $(stat -c %a g) = 640; rm g")
}

// appender writes numbered lines to a file that stays open, each followed by fsync, until stop; it says how many
// fsyncs said that theirs was stored.
func appender(t *testing.T, f *os.File, stop <-chan struct{}) (stored func() int) {
	var n int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(f, "line %d\n", i); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			if err := f.Sync(); err != nil {
				t.Errorf("fsync: %v", err)
				return
			}
			n = i + 1
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	return func() int { <-done; return n }
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func TestMovingADirectoryLosesNothingOfAFileBeingWritten(t *testing.T) {
	s, bucket, m := openStore(t)
	sh(t, m.Dir, "mkdir d")
	for i := range 200 {
		put(t, s, bucket, fmt.Sprintf("d/f%03d", i), []byte("x"))
	}
	for round := range 3 {
		from, to := fmt.Sprintf("d%d", round), fmt.Sprintf("d%d", round+1)
		if round == 0 {
			from = "d"
		}
		f := open(t, join(m.Dir, from, "log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		stop := make(chan struct{})
		stored := appender(t, f, stop)
		err := os.Rename(join(m.Dir, from), join(m.Dir, to))
		close(stop)
		n := stored()
		if err != nil {
			t.Errorf("rename: %v", err)
			return
		}
		closed(t, f)
		if got := string(object(t, s, bucket, to+"/log")); got != lines(n) {
			t.Errorf("round %d: %d lines were stored, the object has %d", round, n, strings.Count(got, "\n"))
		}
		if got := string(read(t, join(m.Dir, to, "log"))); got != lines(n) {
			t.Errorf("round %d: %d lines were stored, the file has %d", round, n, strings.Count(got, "\n"))
		}
		if _, err := os.Stat(join(m.Dir, from)); !os.IsNotExist(err) {
			t.Errorf("the old directory: %v", err)
		}
	}
}

func TestMovingADirectoryTakesFilesMadeMeanwhileAlong(t *testing.T) {
	s, bucket, m := openStore(t)
	sh(t, m.Dir, "mkdir d")
	for i := range 200 {
		put(t, s, bucket, fmt.Sprintf("d/f%03d", i), []byte("x"))
	}
	dir, err := os.Open(join(m.Dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	stop := make(chan struct{})
	var making sync.WaitGroup
	made := 0
	making.Go(func() {
		for {
			fd, err := unix.Openat(int(dir.Fd()), fmt.Sprintf("new%03d", made), unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL, 0o644)
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			if _, err := unix.Write(fd, []byte("made")); err != nil {
				t.Errorf("write: %v", err)
			}
			if err := unix.Close(fd); err != nil {
				t.Errorf("close: %v", err)
			}
			made++
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	err = os.Rename(join(m.Dir, "d"), join(m.Dir, "e"))
	close(stop)
	making.Wait()
	if err != nil {
		t.Fatalf("rename: %v", err)
	}
	for i := range made {
		if got := string(object(t, s, bucket, fmt.Sprintf("e/new%03d", i))); got != "made" {
			t.Errorf("new%03d has %q", i, got)
		}
	}
	for _, k := range keys(t, s, bucket) {
		if strings.HasPrefix(k, "d/") {
			t.Errorf("left behind: %s", k)
		}
	}
	if got := len(names(t, join(m.Dir, "e"))); got != 200+made {
		t.Errorf("%d names, want %d", got, 200+made)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestMovingAFileLosesNothingOfItsMapping(t *testing.T) {
	s, bucket, m := openStore(t)
	const size = 8 << 10
	write(t, join(m.Dir, "f0"), make([]byte, size))
	f := open(t, join(m.Dir, "f0"), os.O_RDWR)
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	last := byte(0)
	writing.Go(func() {
		for {
			last++
			mem[0], mem[size-1] = last, last
			if err := unix.Msync(mem, unix.MS_SYNC); err != nil {
				t.Errorf("msync: %v", err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	const moves = 20
	for i := range moves {
		if err := os.Rename(join(m.Dir, fmt.Sprint("f", i)), join(m.Dir, fmt.Sprint("f", i+1))); err != nil {
			t.Errorf("rename: %v", err)
		}
	}
	close(stop)
	writing.Wait()
	got := object(t, s, bucket, fmt.Sprint("f", moves))
	if len(got) != size || got[0] != last || got[size-1] != last {
		t.Errorf("the object has %d bytes, %d ... %d; msync said that %d is stored", len(got), got[0], got[len(got)-1], last)
	}
	if err := unix.Munmap(mem); err != nil {
		t.Fatal(err)
	}
	if k := keys(t, s, bucket); len(k) != 1 {
		t.Errorf("keys %q", k)
	}
}

func TestOverwritingKeepsForeignMetadata(t *testing.T) {
	t.Parallel()
	s, bucket, m := openStore(t, testenv.TTL(0))
	headers := s3client.Headers{ContentType: "text/x-special", CacheControl: "max-age=60", Meta: map[string]string{"owner": "somebody", "mode": "33200"}}
	for _, script := range []string{"echo more > f", "echo more >> f", "cp /etc/hostname f", "truncate -s 1 f", "chmod 600 f", "touch f", "mv f f2; mv f2 f",
		"dd if=/dev/zero of=f bs=1M count=20 conv=notrunc status=none", "dd if=/dev/zero of=f bs=1M count=20 status=none"} {
		time.Sleep(1100 * time.Millisecond) // as above
		_, err := s.Client.Put(t.Context(), s3client.PutRequest{Bucket: bucket, Key: "f", Headers: headers, Body: bytes.NewReader([]byte("old")), Size: 3})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the mount sees the new object", func() bool { return string(read(t, join(m.Dir, "f"))) == "old" })
		sh(t, m.Dir, script)
		h := head(t, s, bucket, "f").Headers
		if h.ContentType != headers.ContentType || h.CacheControl != headers.CacheControl || h.Meta["owner"] != "somebody" {
			t.Errorf("%s: %+v", script, h)
		}
	}
}

func TestALookupAndAListingAtOnce(t *testing.T) {
	t.Parallel()
	s, bucket, m := openStore(t, testenv.TTL(0))
	for i := range 20 {
		put(t, s, bucket, fmt.Sprintf("f%02d", i), []byte("content"))
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if out, err := exec.Command("ls", "-l", m.Dir).CombinedOutput(); err != nil {
					t.Errorf("ls: %v %s", err, out)
				}
			}
		})
	}
	for i := range 400 {
		p := join(m.Dir, fmt.Sprintf("f%02d", i%20))
		if b, err := os.ReadFile(p); err != nil || string(b) != "content" {
			t.Errorf("read %d: %q, %v", i, b, err)
		}
		if err := os.Chmod(p, os.FileMode(0o600+i%8)); err != nil {
			t.Errorf("chmod %d: %v", i, err)
		}
	}
	close(stop)
	busy.Wait()
}

// slowUplink is a TCP proxy in front of a store that passes on what is sent to it slowly: 64 KiB, and a pause.
func slowUplink(t *testing.T, endpoint string, pause time.Duration) string {
	t.Helper()
	return tcpProxy(t, endpoint, func(server, client net.Conn) {
		client.(*net.TCPConn).SetReadBuffer(64 << 10) // else megabytes are on their way unseen
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if _, werr := server.Write(buf[:n]); werr != nil || err != nil {
				return
			}
			time.Sleep(pause)
		}
	}, passOn)
}

func TestAWriteWaitsForACommitThatGetsOn(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	through := *s
	through.Endpoint = slowUplink(t, s.Endpoint, 20*time.Millisecond)
	m := mount(t, &through, bucket, testenv.Args("--timeout", "2s"))
	want := noise(1, 15<<20)
	f := open(t, join(m.Dir, "f"), os.O_RDWR|os.O_CREATE)
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	other := open(t, join(m.Dir, "f"), os.O_WRONLY) // the kernel lets no write past an fsync, but past a close
	synced := make(chan error, 1)
	go func() { synced <- other.Close() }()
	for done := false; !done; { // whenever the commit is, some writes meet it
		copy(want, "changed")
		if _, err := f.WriteAt([]byte("changed"), 0); err != nil {
			t.Fatalf("write: %v", err)
		}
		select {
		case err := <-synced:
			if done = true; err != nil {
				t.Errorf("close: %v", err)
			}
		default:
		}
	}
	closed(t, f)
	sameBytes(t, "the object", object(t, s, bucket, "f"), want)
}

func TestUnlinkOfAFileWhoseUploadHadNoAnswer(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	v := newValve(t, s.Endpoint)
	through := *s
	through.Endpoint = v.endpoint
	m := mount(t, &through, bucket, testenv.Args("--timeout", "2s"), testenv.ExpectLog("store failed"))
	f := open(t, join(m.Dir, "f"), os.O_RDWR|os.O_CREATE)
	if _, err := f.Write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	v.shut() // what is sent arrives, what is answered does not
	if err := f.Sync(); err == nil {
		t.Fatal("stored without an answer")
	}
	v.open()
	if k := keys(t, s, bucket); len(k) != 1 {
		t.Fatalf("the upload did not arrive: %q", k)
	}
	if err := os.Remove(join(m.Dir, "f")); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	if k := keys(t, s, bucket); len(k) != 0 {
		t.Errorf("unlinked, and still in the store: %q", k)
	}
}
