package security

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kill ends the process of the mount, which tries to store what is refused.
func (h *host) kill() {
	h.t.Helper()
	pid := h.pid()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		h.t.Fatal(err)
	}
	h.awaitEnd(pid)
}

// A process that ends in the middle, as a panic ends it, loses nothing that was acknowledged: the next mount stores it. Its last words
// stand in its log, and what to do is said by the commands that look for it. There are no secrets in either.
func TestWhatWasAcknowledgedOutlivesACrash(t *testing.T) {
	h, s, bucket := stored(t)
	for _, sig := range []unix.Signal{unix.SIGABRT, unix.SIGSEGV, unix.SIGQUIT} {
		name := unix.SignalName(sig)
		h.mount(bucket, h.mnt, "--durability", "journal", "--max-lag", "1h", "--metadata-ttl", "1h")
		h.stopped(s)
		files := map[string]string{}
		for i := range 20 {
			files[fmt.Sprintf("%s-%02d", name, i)] = strings.Repeat(fmt.Sprintf("%d of %s ", i, name), 1+i*i*50)
		}
		for f, text := range files {
			h.write(f, text) // its close has returned
		}
		pid := h.pid()
		if err := unix.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		h.awaitEnd(pid)
		log := h.logText()
		if !strings.Contains(log, name) || !strings.Contains(log, "goroutine ") {
			t.Errorf("the log has no last words of %s", name)
		}
		out, code := h.pailfs("status", h.mnt)
		if code == 0 || !strings.Contains(out, "gone without a word") || !strings.Contains(out, "mount it again") {
			t.Errorf("status: code %d\n%s", code, out)
		}
		umounted, code := h.pailfs("umount", h.mnt)
		if code == 0 || !strings.Contains(umounted, "not stored") || !strings.Contains(umounted, "hint: ") {
			t.Errorf("umount: code %d\n%s", code, umounted)
		}
		for _, text := range []string{log, out, umounted} {
			if strings.Contains(text, s.SecretKey) {
				t.Errorf("%s shows the secret", name)
			}
		}
		s.Start(t)
		h.mount(bucket, h.mnt, "--durability", "journal")
		h.expect(0, "flush", "--timeout", "30s", h.mnt)
		h.expect(0, "umount", h.mnt)
		for f, text := range files {
			if got := s.Get(t, bucket, f); string(got) != text {
				t.Errorf("%s has %d bytes of %d", f, len(got), len(text))
			}
		}
		for until := time.Now().Add(10 * time.Second); h.mounted() && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
		}
	}
}
