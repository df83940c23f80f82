package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// longestAddress is what a socket's address holds: the 108 bytes of sun_path with a NUL at the end.
	longestAddress = 107
	// longestSocketName leaves room for /proc/self/fd/NUMBER/ before it.
	longestSocketName = 80
)

// socketName is the file name of a mount's socket. Long ones are a hash; the runtime file says which it is.
func socketName(mountpoint string) string {
	name := escapeName(mountpoint) + ".sock"
	if len(name) > longestSocketName {
		name = fmt.Sprintf("%.16x.sock", sha256.Sum256([]byte(mountpoint)))
	}
	return name
}

// withAddress calls use with an address of dir/name. A path that is too long for an address goes by way of an open
// directory.
func withAddress(dir, name string, use func(address string) error) error {
	path := filepath.Join(dir, name)
	if len(path) <= longestAddress {
		return use(path)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name))
}

// listenControl makes the socket, with mode 0600 from its first moment. One that a killed process has left is replaced.
func listenControl(ctx context.Context, dir, name string) (l *net.UnixListener, path string, err error) {
	path = filepath.Join(dir, name)
	if err := removeSocket(path); err != nil {
		return nil, "", err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmodErr error
		// The kernel gives the file the mode of the socket, less the umask.
		err := c.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmodErr)
	}}
	err = withAddress(dir, name, func(address string) error {
		listener, err := config.Listen(ctx, "unix", address)
		if err != nil {
			return err
		}
		l = listener.(*net.UnixListener)
		l.SetUnlinkOnClose(false) // its address may be one of a descriptor that is closed then
		return nil
	})
	return l, path, err
}

// removeSocket removes a socket, and nothing that is none.
func removeSocket(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	return os.Remove(path)
}

// dialControl connects to a mount's socket and makes sure who listens there: a user of whom owner may, and root.
func dialControl(ctx context.Context, dir, name string, owner func(uid uint32) bool) (conn net.Conn, err error) {
	fi, err := os.Lstat(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if fi.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s is no socket", filepath.Join(dir, name))
	}
	err = withAddress(dir, name, func(address string) error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", address)
		return err
	})
	if err != nil {
		return nil, err
	}
	if uid, err := peerUID(conn); err != nil || !owner(uid) {
		conn.Close()
		return nil, errors.Join(fmt.Errorf("a process of user %d answers there", uid), err)
	}
	return conn, nil
}

// peerUID is the user of the process at the other end.
func peerUID(conn net.Conn) (uint32, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("no UNIX socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// ownOrRoot is who may use a control socket, and who may be behind one.
func ownOrRoot(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// peerListener accepts connections of users that may.
type peerListener struct {
	net.Listener
	may func(uid uint32) bool
	log *slog.Logger
}

func (l peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(conn)
		if err == nil && l.may(uid) {
			return conn, nil
		}
		l.log.Info("refused on the control socket", "uid", uid, "err", err)
		conn.Close()
	}
}
