package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

func TestEveryKindHasAnErrno(t *testing.T) {
	for _, k := range s3client.Kinds() {
		errno, ok := kindErrno[k]
		if !ok || errno == 0 {
			t.Errorf("kind %q has no errno", k)
		}
		if k != s3client.NotFound && errno == syscall.ENOENT {
			t.Errorf("kind %q would be told as no such file", k)
		}
	}
}

func TestErrnoOf(t *testing.T) {
	stored := func(k s3client.Kind, cause error) error {
		return fmt.Errorf("upload x: %w", &s3client.Error{Op: "PUT Object", Kind: k, Err: cause})
	}
	for _, c := range []struct {
		name string
		err  error
		want syscall.Errno
	}{
		{"nil", nil, 0},
		{"a listing that is late", fmt.Errorf("list x: %w", tree.ErrStale), syscall.EIO},
		{"a stranger", errors.New("whatever"), syscall.EIO},
		{"500", stored(s3client.Temporary, nil), syscall.EIO},
		{"403", stored(s3client.Denied, nil), syscall.EACCES},
		{"deadline in a call", stored(s3client.Temporary, context.DeadlineExceeded), syscall.ETIMEDOUT},
		{"deadline", context.DeadlineExceeded, syscall.ETIMEDOUT},
		{"interrupt", fmt.Errorf("wait: %w", context.Canceled), syscall.EINTR},
		{"interrupt in a call", stored(s3client.Canceled, context.Canceled), syscall.EINTR},
		{"another version", stored(s3client.Changed, nil), syscall.ESTALE},
		{"conflict", fmt.Errorf("store: %w", content.ErrConflict), syscall.ESTALE},
		{"full spool disk", fmt.Errorf("spool: %w", syscall.ENOSPC), syscall.ENOSPC},
		{"spool that is missing", fmt.Errorf("open spool: %w", &os.PathError{Op: "open", Path: "spool/x", Err: syscall.ENOENT}), syscall.EIO},
		{"missing name", fmt.Errorf("look up: %w", tree.ErrNotFound), syscall.ENOENT},
		{"a room not empty", tree.ErrNotEmpty, syscall.ENOTEMPTY},
		{"an unknown kind", stored(s3client.Kind(99), nil), syscall.EIO},
	} {
		if got := errnoOf(c.err); got != c.want {
			t.Errorf("%s: errno %v, want %v", c.name, got, c.want)
		}
	}
}

func TestPendingMask(t *testing.T) {
	status := "Name:\tcat\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000400000\nSigBlk:\tffffffffffffffff\n"
	if mask := pendingMask(status); mask != 1<<(syscall.SIGURG-1) {
		t.Errorf("mask %#x, want that of SIGURG", mask)
	}
	if pendingMask(status)&fatal != 0 {
		t.Error("SIGURG counts as fatal")
	}
	killed := "SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"
	if pendingMask(killed)&fatal == 0 {
		t.Error("SIGKILL does not count as fatal")
	}
}

func TestWithoutSetID(t *testing.T) {
	for mode, want := range map[uint32]uint32{
		syscall.S_IFREG | 0o4755: 0o755,
		syscall.S_IFREG | 0o2755: 0o755,
		syscall.S_IFREG | 0o2745: 0o2745, // without group execution setgid is not privilege
		syscall.S_IFDIR | 0o2755: 0o2755,
	} {
		if got := withoutSetID(mode); got != want {
			t.Errorf("%o: %o, want %o", mode, got, want)
		}
	}
}

func TestLibraryLines(t *testing.T) {
	var out strings.Builder
	l := libraryLog(Options{Mountpoint: "/mnt", Log: slog.New(slog.NewTextHandler(&out, nil))})
	l.Print("writer: Write/Writev failed, err: 2=no such file or directory. opcode: READ")
	if out.Len() > 0 {
		t.Errorf("an answer nobody waits for is logged: %s", out.String())
	}
	l.Print("Failed to read from fuse conn: 103=software caused connection abort")
	if !strings.Contains(out.String(), "level=INFO") {
		t.Errorf("the end of a connection that was aborted is logged as %q", out.String())
	}
	l.Print("panic in FS handler: x")
	if !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "panic in FS handler") {
		t.Errorf("a panic is logged as %q", out.String())
	}
}
