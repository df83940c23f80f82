package lend

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// protocol is changed whenever two sides of different versions would misunderstand each other.
const protocol = 1

// The words of the protocol.
const (
	sayMount   = "mount"
	sayServing = "serving"
	sayUnmount = "unmount"
	sayDetach  = "detach"
	sayMounted = "mounted"
	sayDone    = "done"
	sayStop    = "stop"
)

// message is one packet.
type message struct {
	Protocol int    `json:"protocol"`
	Say      string `json:"say"`
	// Of mount.
	Source   string `json:"source,omitempty"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Of mounted.
	Mountpoint string `json:"mountpoint,omitempty"`
	// Of mounted and done: why not.
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`
}

// mostBytes is the longest packet: a source or a mount point of 4096 bytes, escaped at its worst.
const mostBytes = 64 << 10

// write sends a packet, with a descriptor unless that is negative.
func write(conn *net.UnixConn, m message, fd int) error {
	m.Protocol = protocol
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	_, _, err = conn.WriteMsgUnix(b, rights, nil)
	return err
}

// read receives a packet and its descriptor, -1 without one; io.EOF when the other side has closed. Descriptors are for who
// takes them: others are dropped by the kernel.
func read(conn *net.UnixConn, take bool) (m message, fd int, err error) {
	buf, oob := make([]byte, mostBytes), []byte(nil)
	if take {
		oob = make([]byte, unix.CmsgSpace(4)) // one descriptor
	}
	n, oobn, flags, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return m, -1, err
	}
	fd, err = rightsIn(oob[:oobn])
	switch {
	case err != nil:
	case n == 0:
		err = io.EOF
	case flags&unix.MSG_TRUNC != 0:
		err = errors.New("a packet is too long")
	default:
		err = json.Unmarshal(buf[:n], &m)
	}
	if err == nil && m.Protocol != protocol {
		err = fmt.Errorf("the other side speaks protocol %d, this one %d", m.Protocol, protocol)
	}
	if err != nil && fd >= 0 {
		err = errors.Join(err, unix.Close(fd))
		fd = -1
	}
	return m, fd, err
}

// rightsIn is the descriptor of a packet, -1 without one.
func rightsIn(oob []byte) (int, error) {
	if len(oob) == 0 {
		return -1, nil
	}
	parts, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, fmt.Errorf("read what came with a packet: %w", err)
	}
	for _, part := range parts {
		if fds, err := unix.ParseUnixRights(&part); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, nil
}

// refusal is an error of the other side, with its errno.
type refusal struct {
	text  string
	errno unix.Errno // 0: none
}

func (r *refusal) Error() string { return r.text }

func (r *refusal) Unwrap() error {
	if r.errno == 0 {
		return nil
	}
	return r.errno
}

// failed is a message's error.
func (m message) failed() error {
	if m.Error == "" {
		return nil
	}
	return &refusal{m.Error, unix.Errno(m.Errno)}
}

// failure is a message that says err, nil for success.
func failure(say, doing string, err error) message {
	m := message{Say: say}
	if err == nil {
		return m
	}
	m.Error = fmt.Sprintf("%s: %v", doing, err)
	var errno unix.Errno
	if errors.As(err, &errno) {
		m.Errno = int(errno)
	}
	return m
}

// peerOf is the process at the other end.
func peerOf(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, credErr); err != nil {
		return nil, fmt.Errorf("ask who is at the other end: %w", err)
	}
	return cred, nil
}
