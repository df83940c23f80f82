package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"golang.org/x/sys/unix"
)

const (
	// startTimeout bounds the wait for the gateway's listening socket.
	startTimeout = 20 * time.Second
	// maxCopyBytes is S3's limit for the source of a copy. The gateway takes no default: 0 refuses every copy.
	maxCopyBytes = 5 << 30
	// healthPath answers 200 without a signature; the underscore keeps it from being a bucket's name.
	healthPath = "/_ready"
)

// store is the running gateway. There is at most one in a process: the gateway keeps package-level state.
type store struct {
	endpoint string
	ended    chan error
}

// start opens the directory, runs the gateway until ctx ends and returns once it answers.
func start(ctx context.Context, o options) (*store, error) {
	host, err := listenAddress(o.listen)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkXattrs(o.dir); err != nil {
		return nil, err
	}
	be, err := posix.New(o.dir, meta.XattrMeta{}, posix.PosixOpts{DataIntegrityEtag: o.fastETag, CopyObjectThreshold: maxCopyBytes})
	if err != nil {
		return nil, err
	}
	s := &store{ended: make(chan error, 1)}
	go func() {
		s.ended <- embedgw.RunVersityGW(ctx, whole{be}, &embedgw.Config{
			RootUserAccess: o.access, RootUserSecret: o.secret, Region: o.region,
			Ports:          []string{o.listen},
			MaxConnections: 8192, MaxRequests: 4096, MultipartMaxParts: 10000,
			HealthPath: healthPath,
			KeepAlive:  true, Quiet: true,
		})
	}()
	deadline, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if port := listeningPort(); port != 0 {
			s.endpoint = "http://" + net.JoinHostPort(host, strconv.Itoa(port))
			if answers(deadline, s.endpoint+healthPath) {
				return s, nil
			}
		}
		select {
		case err := <-s.ended:
			if err == nil {
				err = errors.New("ended while starting")
			}
			return nil, err
		case <-deadline.Done():
			return nil, fmt.Errorf("no answer on %s: %w", o.listen, deadline.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// wait returns when the gateway has ended: nil after a shutdown that was asked for.
func (s *store) wait() error { return <-s.ended }

// listenAddress checks HOST:PORT and returns the host a client on this machine connects to.
func listenAddress(listen string) (string, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--listen %s: %w", listen, err)
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return "", fmt.Errorf("--listen %s: must be an IP address and a port", listen)
	}
	if ip.IsUnspecified() {
		return "127.0.0.1", nil
	}
	return host, nil
}

// listeningPort finds the port of this process's one listening TCP socket, or 0. The gateway takes an address and does
// not say which port it got for :0; choosing a port before it would be a race with every other program.
func listeningPort() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || v != 1 {
			continue
		}
		switch sa, _ := unix.Getsockname(fd); a := sa.(type) {
		case *unix.SockaddrInet4:
			return a.Port
		case *unix.SockaddrInet6:
			return a.Port
		}
	}
	return 0
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// checkXattrs makes sure that DIR's filesystem keeps user extended attributes: without them the gateway would lose
// every ETag and content type.
func checkXattrs(dir string) error {
	f, err := os.CreateTemp(dir, ".xattr-check-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	err = unix.Fsetxattr(int(f.Fd()), "user.demostore", []byte("1"), 0)
	switch {
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("the filesystem of %s has no user extended attributes, which the store keeps its metadata in: "+
			"choose --dir on ext4, xfs or btrfs (or on tmpfs of Linux 6.6 or later)", dir)
	case err != nil:
		return fmt.Errorf("setting an extended attribute in %s: %w", dir, err)
	}
	return nil
}
