package mount

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

func TestAccountRootHoldsBuckets(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	put(t, s, bucket, "a/b", []byte("in a bucket"))
	m := mount(t, s, "")
	if out := sh(t, m.Dir, "ls; cat "+bucket+"/a/b"); !strings.Contains(out, bucket) || !strings.Contains(out, "in a bucket") {
		t.Errorf("the account shows\n%s", out)
	}
	name := bucket + "-new"
	if err := os.Mkdir(join(m.Dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.HeadBucket(t.Context(), name); err != nil {
		t.Errorf("mkdir made no bucket: %v", err)
	}
	if err := os.Mkdir(join(m.Dir, name), 0o755); !errors.Is(err, os.ErrExist) {
		t.Errorf("mkdir of an existing bucket: %v", err)
	}
	write(t, join(m.Dir, name, "file"), []byte("x"))
	if err := unix.Rmdir(join(m.Dir, name)); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("rmdir of a bucket with a file: %v", err)
	}
	sh(t, m.Dir, "mv "+name+"/file "+bucket+"/moved && rmdir "+name+" && [ ! -e "+name+" ] && cat "+bucket+"/moved")
	if err := s.Client.HeadBucket(t.Context(), name); err == nil {
		t.Error("rmdir left the bucket")
	}
	for _, bad := range []string{"ab", "UPPER", "under_score", "dot..dot", "-dash", "dash-", "192.168.5.4", "x+segments", strings.Repeat("l", 64), "한글"} {
		if err := unix.Mkdir(join(m.Dir, bad), 0o755); !errors.Is(err, unix.EINVAL) {
			t.Errorf("mkdir %q: %v, want EINVAL", bad, err)
		}
	}
	if err := os.WriteFile(join(m.Dir, "file-in-the-root"), nil, 0o644); err == nil {
		t.Error("a file beside the buckets was made")
	}
}

func TestPrefixIsARoot(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	put(t, s, bucket, "in/side/file", []byte("inside"))
	put(t, s, bucket, "outside", []byte("outside"))
	m := mount(t, s, bucket+"/in/side")
	if out := sh(t, m.Dir, `ls; cat file; echo new > new; mkdir d; mv new d/`); out != "file\ninside" {
		t.Errorf("the prefix shows %q", out)
	}
	if got := strings.Join(keys(t, s, bucket), " "); got != "in/side/d/ in/side/d/new in/side/file outside" {
		t.Errorf("keys: %s", got)
	}
}

func TestReadOnlyMount(t *testing.T) {
	s, bucket, m := openStore(t, testenv.Args("--read-only"))
	put(t, s, bucket, "f", []byte("x"))
	if err := os.WriteFile(join(m.Dir, "g"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("a write: %v, want EROFS", err)
	}
	if string(read(t, join(m.Dir, "f"))) != "x" {
		t.Error("the file does not read")
	}
}

func TestChangesOfOthersAppear(t *testing.T) {
	s, bucket, m := openStore(t, testenv.TTL(0))
	for i, content := range []string{"first", "again", "longer than before", "x"} { // the second has the same size
		put(t, s, bucket, "f", []byte(content))
		if got := string(read(t, join(m.Dir, "f"))); got != content {
			t.Errorf("version %d reads %q, want %q", i, got, content)
		}
	}
	if err := s.Client.Delete(t.Context(), bucket, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(join(m.Dir, "f")); !os.IsNotExist(err) {
		t.Errorf("the deleted object: %v", err)
	}
}

func TestAReaderKeepsItsVersionOrGetsESTALE(t *testing.T) {
	s, bucket, m := openStore(t, testenv.TTL(0), testenv.AllowLog("read failed"))
	old, young := bytes.Repeat([]byte("old "), 8<<20), bytes.Repeat([]byte("new "), 8<<20)
	put(t, s, bucket, "f", old)
	f := open(t, join(m.Dir, "f"), os.O_RDONLY)
	head := make([]byte, 4096)
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	put(t, s, bucket, "f", young)
	last := make([]byte, 4096)
	switch _, err := f.ReadAt(last, int64(len(old))-4096); {
	case errors.Is(err, syscall.ESTALE):
	case err != nil:
		t.Errorf("the old handle: %v", err)
	case !bytes.Equal(last, old[:4096]):
		t.Error("the old handle reads bytes of the new version")
	}
	sameBytes(t, "a fresh open", read(t, join(m.Dir, "f")), young)
	if _, err := f.ReadAt(last, 16<<20); err == nil && !bytes.Equal(last, old[:4096]) {
		t.Error("the old handle reads bytes of the new version after a fresh open")
	}
}

func TestConflictKeepsBothVersions(t *testing.T) {
	s, bucket, m := openStore(t, testenv.TTL(0), testenv.ExpectLog("conflict", "store failed"))
	put(t, s, bucket, "doc.txt", []byte("base"))
	f := open(t, join(m.Dir, "doc.txt"), os.O_RDWR)
	if _, err := f.WriteString("mine"); err != nil {
		t.Fatal(err)
	}
	put(t, s, bucket, "doc.txt", []byte("theirs"))
	if err := f.Close(); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("close: %v, want ESTALE", err)
	}
	var mine string
	for _, k := range keys(t, s, bucket) {
		if strings.HasPrefix(k, "doc.txt.conflict-") {
			mine = string(object(t, s, bucket, k))
		}
	}
	if mine != "mine" || string(object(t, s, bucket, "doc.txt")) != "theirs" {
		t.Errorf("keys %q; mine is %q", keys(t, s, bucket), mine)
	}
}

func TestKilledDaemonLeavesNothingWrong(t *testing.T) {
	s, bucket, m := openStore(t, testenv.ExpectExit(-1))
	write(t, join(m.Dir, "acknowledged"), noise(3, 1<<20))
	f := open(t, join(m.Dir, "open"), os.O_RDWR|os.O_CREATE)
	if _, err := f.WriteString("never acknowledged"); err != nil {
		t.Fatal(err)
	}
	m.Signal(os.Kill)
	m.Wait(10 * time.Second)
	f.Close()
	if _, err := os.Stat(m.Dir); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("the dead mount answers %v", err)
	}
	again := mount(t, s, bucket, testenv.At(m.Dir), testenv.State(m.StateDir)) // over the dead mount
	sameBytes(t, "what was acknowledged", read(t, join(again.Dir, "acknowledged")), noise(3, 1<<20))
}

func TestCatOfASlowObjectCanBeKilled(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	put(t, s, bucket, "slow", noise(1, 8<<20))
	through := newValve(t, s.Endpoint)
	m := mount(t, s, bucket, testenv.Args("--endpoint", through.endpoint, "--timeout", "20s"))
	if _, err := os.Stat(join(m.Dir, "slow")); err != nil {
		t.Fatal(err)
	}
	through.shut()
	cat := exec.Command("cat", join(m.Dir, "slow"))
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // until it waits in its read
	begun := time.Now()
	if err := cat.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cat.Wait() // ends by the signal
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("cat died %v after SIGINT", took)
	}
	through.open()
	sameBytes(t, "after the stall", read(t, join(m.Dir, "slow")), noise(1, 8<<20))
}

func TestBasicAttributesSurviveAnOverwrite(t *testing.T) {
	s, bucket, m := openStore(t, testenv.Args("--attributes", "basic"))
	_, err := s.Client.Put(t.Context(), s3client.PutRequest{Bucket: bucket, Key: "f", Body: strings.NewReader("old"), Size: 3,
		Headers: s3client.Headers{ContentType: "text/x-special", Meta: map[string]string{"mode": "33184", "color": "blue"}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, join(m.Dir, "f"), []byte("overwritten"))
	h := head(t, s, bucket, "f").Headers
	if h.Meta["color"] != "blue" || h.Meta["mode"] != "33184" || h.ContentType != "text/x-special" {
		t.Errorf("after the overwrite: %+v", h)
	}
}
