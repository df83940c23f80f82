package mount

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pailfs/tests/testenv"
)

// besideS3FS mounts a bucket with s3fs as well, and gives its mount point.
func besideS3FS(t *testing.T, s *testenv.Server, bucket string) string {
	t.Helper()
	testenv.Programs(t, "s3fs")
	base := t.TempDir()
	dir, keys, cache := filepath.Join(base, "s3fs"), filepath.Join(base, "keys"), filepath.Join(base, "tmp")
	for _, d := range []string{dir, cache} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(keys, []byte(s.AccessKey+":"+s.SecretKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// stat_cache_expire: what pailfs has changed meanwhile is seen.
	cmd := exec.Command("s3fs", bucket, dir, "-f", "-o", "url="+s.Endpoint, "-o", "endpoint="+s.Region, "-o", "use_path_request_style",
		"-o", "passwd_file="+keys, "-o", "use_xattr", "-o", "stat_cache_expire=1", "-o", "tmpdir="+cache)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // what it said is in out
		close(ended)
	}()
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount s3fs: %v", err)
		}
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			<-ended
			t.Error("s3fs did not end")
		}
	})
	mounted := func() bool {
		select {
		case <-ended:
			t.Fatalf("s3fs ended: %s", out.Bytes())
		default:
		}
		table, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(table), " "+dir+" ")
	}
	eventually(t, "s3fs is mounted", mounted)
	return dir
}

// shown is what find sees: types, permissions, owners, times, sizes, link targets. A directory's size is each program's own, and so
// is the time of one in which names come and go: pailfs shows it as long as it is mounted. That of plain was set.
func shown(t *testing.T, dir, sub string) string {
	t.Helper()
	return sh(t, filepath.Join(dir, sub), `export TZ=UTC; find . -mindepth 1 \( -name plain -printf '%p %y %m %U:%G %T+\n' \) -o \( -type d -printf '%p %y %m %U:%G\n' \) -o -printf '%p %y %m %U:%G %T+ %s %l\n' | sort`)
}

// makes is a tree with everything that both programs keep.
const makes = `
	umask 022
	mkdir plain sticky setgid deep deep/er
	chmod 1777 sticky; chmod 2750 setgid; chown 7:8 setgid
	echo text > deep/er/file; chmod 640 deep/er/file; chown 1000:1001 deep/er/file
	echo suid > suid; chmod 4755 suid
	echo sgid > sgid; chown 3:4 sgid; chmod 2711 sgid
	: > empty; chmod 0 empty
	head -c 21000000 /dev/zero > large; chmod 600 large; chown 5:6 large
	touch -d '2001-02-03 04:05:06.123456789 UTC' deep/er/file
	touch -d '1999-12-31 23:59:59 UTC' large
	touch -d '2020-02-02 UTC' plain
	ln -s deep/er/file link
	ln -s /nowhere dangling
	ln -s $(printf 'x%.0s' $(seq 4095)) longest
	mkfifo -m 620 fifo
	mknod null c 1 3; mknod disk b 7 0; chmod 644 null; chmod 600 disk
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")' 2>/dev/null || mknod sock p
	echo 'name with spaces & 한글' > 'name with spaces & 한글'
`

// What s3fs has written pailfs shows with its modes, owners, times, types and links, and the other way round, while both are
// mounted.
func TestS3FSAndPailfsReadEachOther(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	theirs := besideS3FS(t, s, bucket)
	m := mount(t, s, bucket, testenv.TTL(0), withXAttr)
	for _, c := range []struct{ name, writer, reader string }{{"by-s3fs", theirs, m.Dir}, {"by-pailfs", m.Dir, theirs}} {
		t.Run(c.name, func(t *testing.T) {
			sh(t, c.writer, "mkdir "+c.name+"; cd "+c.name+"\n"+makes)
			sh(t, c.writer, "cd "+c.name+"; setfattr -n user.text -v 'some text' deep/er/file; setfattr -n user.bytes -v 0x00ff deep/er/file")
			want, got := shown(t, c.writer, c.name), shown(t, c.reader, c.name)
			if want != got {
				t.Errorf("the writer shows\n%s\nthe reader\n%s", want, got)
			}
			for _, name := range []string{"deep/er/file", "name with spaces & 한글", "suid"} {
				sameBytes(t, name, read(t, filepath.Join(c.reader, c.name, name)), read(t, filepath.Join(c.writer, c.name, name)))
			}
			sh(t, "/", "cmp '"+filepath.Join(c.reader, c.name, "large")+"' '"+filepath.Join(c.writer, c.name, "large")+"'")
			// The reader changes what the writer has made.
			sh(t, filepath.Join(c.reader, c.name), `chmod 751 suid; chown 11:12 empty; touch -h -d '2010-10-10 UTC' sgid; mv fifo pipe
				echo more >> deep/er/file; ln -sf elsewhere dangling; rm longest; rmdir plain`)
			defer func() {
				if t.Failed() {
					t.Logf("the one shows\n%s\nthe other\n%s", want, got)
				}
			}()
			eventually(t, "the writer sees it", func() bool {
				want, got = shown(t, c.reader, c.name), shown(t, c.writer, c.name)
				return want == got
			})
		})
	}
	if got := sh(t, m.Dir, "getfattr --only-values -n user.text by-s3fs/deep/er/file; getfattr -e hex -n user.bytes by-s3fs/deep/er/file | grep bytes"); got != "some textuser.bytes=0x00ff" {
		t.Errorf("attributes of s3fs: %q", got)
	}
}
