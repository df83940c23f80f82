package lend

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzMessage: a packet of anybody is a message of this protocol or an error. No descriptor is left open.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"protocol":1,"say":"mount","source":"b","read_only":true}`), false)
	f.Add([]byte(`{"protocol":2,"say":"mount"}`), true)
	f.Add([]byte(`{`), true)
	f.Add([]byte{}, false)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		if err != nil {
			f.Fatal(err)
		}
		file.Close()
		ends[i] = conn.(*net.UnixConn)
		f.Cleanup(func() { conn.Close() })
	}
	f.Fuzz(func(t *testing.T, packet []byte, withDescriptor bool) {
		if len(packet) == 0 || len(packet) > mostBytes {
			return // the end of a connection, and what read cuts off
		}
		var rights []byte
		if withDescriptor {
			rights = unix.UnixRights(int(os.Stdin.Fd()))
		}
		if _, _, err := ends[0].WriteMsgUnix(packet, rights, nil); err != nil {
			t.Fatal(err)
		}
		m, fd, err := read(ends[1], withDescriptor)
		if fd >= 0 {
			if err != nil {
				t.Errorf("a descriptor is left with %v", err)
			}
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
		if err == nil && m.Protocol != protocol {
			t.Errorf("%+v", m)
		}
		if err == nil {
			if l := printable(m.Source); len(l) > 1024 {
				t.Errorf("%d bytes", len(l))
			}
			_ = m.failed()
		}
	})
}
