// Package mount holds the tests that mount: ordinary programs on a real kernel mount of a real S3 server, and the
// server looked into behind their backs.
package mount

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// object reads an object whole, behind the mount's back.
func object(t *testing.T, s *testenv.Server, bucket, key string) []byte {
	t.Helper()
	body, _, err := s.Client.Get(context.Background(), s3client.GetRequest{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatalf("get %s/%s: %v", bucket, key, err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("read %s/%s: %v", bucket, key, err)
	}
	return b
}

// put writes an object as another client would.
func put(t *testing.T, s *testenv.Server, bucket, key string, content []byte) s3client.Object {
	t.Helper()
	o, err := s.Client.Put(context.Background(), s3client.PutRequest{Bucket: bucket, Key: key, Body: bytes.NewReader(content), Size: int64(len(content))})
	if err != nil {
		t.Fatalf("put %s/%s: %v", bucket, key, err)
	}
	return o
}

// keys lists a bucket behind the mount's back.
func keys(t *testing.T, s *testenv.Server, bucket string) []string {
	t.Helper()
	var all []string
	for after := ""; ; {
		page, err := s.Client.List(context.Background(), s3client.ListRequest{Bucket: bucket, After: after})
		if err != nil {
			t.Fatalf("list %s: %v", bucket, err)
		}
		for _, o := range page.Objects {
			all = append(all, o.Key)
		}
		if after = page.Next; after == "" {
			return all
		}
	}
}

func head(t *testing.T, s *testenv.Server, bucket, key string) s3client.Object {
	t.Helper()
	o, err := s.Client.Head(context.Background(), bucket, key)
	if err != nil {
		t.Fatalf("head %s/%s: %v", bucket, key, err)
	}
	return o
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// noise is n bytes that are cheap, do not repeat and differ by seed.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	x := uint64(seed)*2654435761 + 88172645463325252
	for i := 0; i < n; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for j := 0; j < 8 && i+j < n; j++ {
			b[i+j] = byte(x >> (8 * j))
		}
	}
	return b
}

func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		t.Fatalf("%s: %d bytes, want %d; they part at byte %d", what, len(got), len(want), i)
	}
}

// start gives a test a store, where a mount is possible at all.
func start(t *testing.T) *testenv.Server {
	t.Helper()
	testenv.Require(t)
	return testenv.Store(t)
}

// mount mounts a bucket, a prefix, or the account ("").
func mount(t *testing.T, s *testenv.Server, what string, options ...testenv.Option) *testenv.MountPoint {
	t.Helper()
	return testenv.Mount(t, s, append([]testenv.Option{testenv.Of(what)}, options...)...)
}

// openStore starts a store, makes a bucket and mounts it.
func openStore(t *testing.T, options ...testenv.Option) (*testenv.Server, string, *testenv.MountPoint) {
	t.Helper()
	s := start(t)
	b := s.Bucket(t)
	return s, b, mount(t, s, b, options...)
}

// sh runs a shell script in a directory and gives its output without the last newline.
func sh(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := shell(ctx, dir, script, time.Minute)
	if err != nil {
		t.Fatalf("%v\nscript: %s\noutput: %s", err, script, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// shell runs a script. When the time is up all of its processes are killed; a child that holds the pipe after the script's
// end (git starts some in the background) is waited for only so long.
func shell(ctx context.Context, dir, script string, patience time.Duration) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = patience
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAScriptsChildDoesNotHoldUpTheTest(t *testing.T) {
	out, err := shell(t.Context(), t.TempDir(), "echo begun; sleep 1000 & echo $!", time.Millisecond)
	if !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("%v, %q", err, out)
	}
	sh(t, "/", "kill "+strings.TrimPrefix(strings.TrimSpace(out), "begun\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if out, err := shell(ctx, t.TempDir(), "sleep 1000 & wait", time.Hour); err == nil {
		t.Errorf("a script without time succeeded: %q", out)
	}
}

func join(parts ...string) string { return filepath.Join(parts...) }
