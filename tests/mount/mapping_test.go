package mount

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A page of a mapping that is not there yet stops its thread until the mount has answered, and with it the collector, which
// waits for every thread: then all of this process stands still, the proxy that the mount waits for with it. In a system
// call the collector does not wait. So mappings are touched by the kernel here: by write(2) and read(2) of a file in memory.

// peek reads a part of a mapping.
func peek(t *testing.T, p []byte) []byte {
	t.Helper()
	fd := memory(t)
	out := make([]byte, len(p))
	for done := 0; done < len(p); {
		n, err := unix.Write(fd, p[done:])
		if err != nil {
			t.Fatal(err)
		}
		done += n
	}
	if n, err := unix.Pread(fd, out, 0); n != len(p) || err != nil {
		t.Fatal(n, err)
	}
	return out
}

// poke writes into a mapping.
func poke(t *testing.T, p []byte, text string) {
	t.Helper()
	fd := memory(t)
	if n, err := unix.Write(fd, []byte(text)); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
	if n, err := unix.Pread(fd, p[:len(text)], 0); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
}

// memory is a file in memory, until the test's end.
func memory(t *testing.T) int {
	t.Helper()
	fd, err := unix.MemfdCreate("mapping", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	})
	return fd
}
