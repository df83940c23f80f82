package security

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// unixEpoch is long over.
var unixEpoch = time.Unix(1, 0)

// wantQuiet fails when a text does anything to a terminal but stand there.
func wantQuiet(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s: %q", what, text)
		return
	}
	i := strings.IndexFunc(text, func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029')
	})
	if i >= 0 {
		t.Errorf("%s: %q", what, text[max(0, i-80):min(len(text), i+80)])
	}
}

// listenAs has another user listen on a UNIX socket until end is called.
func (h *host) listenAs(user int, path string) (end func()) {
	h.t.Helper()
	cmd := exec.Command("/proc/self/exe", path)
	cmd.Dir, cmd.Env = "/", []string{childVar + "=listen"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "listening\n" {
		h.t.Fatalf("%q %v", line, err)
	}
	return func() {
		in.Close()
		cmd.Wait() // its status says nothing
	}
}

// listen is the other user's side: it says that it listens, and waits until its input ends.
func listen(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nPailfs-Protocol: 1\r\nContent-Length: 2\r\n\r\n{}") // who asked may have gone
			conn.Close()
		}
	}()
	fmt.Println("listening")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
