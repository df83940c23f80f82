package lend

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func anybody(uint32) bool { return true }

// lenderAt listens as a lender does and hands each connection to a function.
func lenderAt(t *testing.T, path string, serve func(conn *net.UnixConn)) {
	t.Helper()
	l, err := Listen(t.Context(), path, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
}

func sameFile(t *testing.T, fd int, f *os.File) bool {
	t.Helper()
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &a), unix.Fstat(int(f.Fd()), &b)); err != nil {
		t.Fatal(err)
	}
	return a.Dev == b.Dev && a.Ino == b.Ino
}

func TestALoan(t *testing.T) {
	path := t.TempDir() + "/s"
	lent, err := os.Create(t.TempDir() + "/lent")
	if err != nil {
		t.Fatal(err)
	}
	defer lent.Close()
	waiting := make(chan error, 1)
	began := make(chan struct{})
	go func() { // the lender comes later
		defer close(began)
		<-waiting
		lenderAt(t, path, func(conn *net.UnixConn) {
			m, _, err := read(conn, false)
			if err != nil || m.Say != sayMount || m.Source != "bucket" || !m.ReadOnly {
				t.Errorf("%+v %v", m, err)
			}
			if err := write(conn, message{Say: sayMounted, Mountpoint: "/m"}, int(lent.Fd())); err != nil {
				t.Error(err)
			}
			for {
				m, _, err := read(conn, false)
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					return
				}
				switch m.Say {
				case sayUnmount:
					err = write(conn, failure(sayDone, "unmount /m", unix.EBUSY), -1)
				case sayDetach:
					err = errors.Join(write(conn, message{Say: sayStop}, -1), write(conn, message{Say: sayStop}, -1), write(conn, message{Say: sayDone}, -1))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}()
	loan, err := Borrow(t.Context(), path, Request{Source: "bucket", ReadOnly: true, Trusted: anybody, Waiting: func(err error) { waiting <- err }})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	defer unix.Close(loan.FD)
	if loan.Mountpoint != "/m" || !sameFile(t, loan.FD, lent) {
		t.Errorf("%+v", loan)
	}
	if flags, err := unix.FcntlInt(uintptr(loan.FD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor is inherited: %v %v", flags, err)
	}
	if err := loan.Serving(); err != nil {
		t.Error(err)
	}
	if err := loan.Release(false); !errors.Is(err, unix.EBUSY) {
		t.Error(err)
	}
	select {
	case <-loan.Stop():
		t.Error("told to stop")
	default:
	}
	if err := loan.Release(true); err != nil {
		t.Error(err)
	}
	<-loan.Stop()
	if err := errors.Join(loan.Close(), loan.Close()); err != nil {
		t.Error(err)
	}
	if err := loan.Release(true); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestALoanThatIsRefused(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		answer  func(conn *net.UnixConn) error
		trusted bool
		want    error
		words   string
	}{
		"an error":            {func(conn *net.UnixConn) error { return write(conn, failure(sayMounted, "mount /m", unix.EPERM), -1) }, true, unix.EPERM, "mount /m: operation not permitted"},
		"no descriptor":       {func(conn *net.UnixConn) error { return write(conn, message{Say: sayMounted}, -1) }, true, nil, "has no descriptor"},
		"something else":      {func(conn *net.UnixConn) error { return write(conn, message{Say: sayDone}, 0) }, true, nil, "has no descriptor"},
		"another protocol":    {func(conn *net.UnixConn) error { _, err := conn.Write([]byte(`{"protocol":9}`)); return err }, true, nil, "protocol 9"},
		"nonsense":            {func(conn *net.UnixConn) error { _, err := conn.Write([]byte("x")); return err }, true, nil, "invalid character"},
		"an end":              {func(*net.UnixConn) error { return nil }, true, io.EOF, ""},
		"somebody else":       {func(*net.UnixConn) error { return nil }, false, unix.EPERM, "answers there"},
		"no more time to ask": {func(*net.UnixConn) error { cancel(); return nil }, true, context.Canceled, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/s"
			lenderAt(t, path, func(conn *net.UnixConn) {
				if _, _, err := read(conn, false); err != nil && c.trusted {
					t.Error(err)
				}
				if err := c.answer(conn); err != nil {
					t.Error(err)
				}
			})
			ctx := t.Context()
			if errors.Is(c.want, context.Canceled) {
				ctx = ended
			}
			loan, err := Borrow(ctx, path, Request{Trusted: func(uint32) bool { return c.trusted }})
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%+v %v", loan, err)
			}
		})
	}
}

func TestNobodyToBorrowFrom(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := Borrow(ctx, t.TempDir()+"/none", Request{Trusted: anybody}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTheSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := Listen(t.Context(), path, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v %v", fi, err)
	}
	if again, err := Listen(t.Context(), path, -1, -1); err == nil {
		again.Close()
		t.Error("two listen")
	}
	l.SetUnlinkOnClose(false) // as one that is killed
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = Listen(t.Context(), path, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := Listen(t.Context(), path, -1, -1); err == nil {
		l.Close()
		t.Error("a file was replaced")
	}
}

// A lender refuses who may not, waits for nobody who says nothing, and ends when it is told to.
func TestALenderWithoutBorrowers(t *testing.T) {
	path := t.TempDir() + "/s"
	listener, err := Listen(t.Context(), path, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	may := make(chan bool, 3)
	l := &Lender{Mountpoint: t.TempDir(), May: func(uint32) bool { return <-may }, Log: slog.New(slog.DiscardHandler)}
	stopping, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(stopping, t.Context(), listener) }()
	for _, c := range []struct {
		may   bool
		first message
	}{{false, message{Say: sayMount}}, {true, message{Say: sayServing}}, {true, message{}}} {
		may <- c.may
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		if err := write(conn, c.first, -1); err != nil && !errors.Is(err, unix.EPIPE) {
			t.Error(err)
		}
		if m, fd, err := read(conn, true); err == nil || fd >= 0 {
			t.Errorf("%+v is answered by %+v, %d", c.first, m, fd)
		}
		conn.Close()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestASourceOfABorrower(t *testing.T) {
	for in, want := range map[string]string{"": "", "photos/2026": "photos/2026", "a\nb\x7f": "a?b?", "한글": "한글"} {
		if got := printable(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
