package lend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// LongestPath is what a socket's address holds: the 108 bytes of sun_path with a NUL at the end.
const LongestPath = 107

// Listen makes the socket of a lender, with mode 0600 from its first moment, and gives it to a user. One that a killed lender has
// left is replaced, one where somebody answers is not.
func Listen(ctx context.Context, path string, uid, gid int) (*net.UnixListener, error) {
	if err := removeDead(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmodErr error
		// The kernel gives the file the mode of the socket, less the umask.
		err := c.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmodErr)
	}}
	l, err := config.Listen(ctx, "unixpacket", path)
	if err != nil {
		return nil, err
	}
	if err := give(path, uid, gid); err != nil {
		return nil, errors.Join(fmt.Errorf("give the socket to user %d: %w", uid, err), l.Close())
	}
	return l.(*net.UnixListener), nil
}

// give makes a socket another user's, and nothing else that somebody may have put in its place meanwhile.
func give(path string, uid, gid int) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not the socket that was made there", path)
	}
	return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
}

func removeDead(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is there and is no socket", path)
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return errors.Join(fmt.Errorf("somebody else listens on %s", path), err)
	}
	return os.Remove(path)
}
