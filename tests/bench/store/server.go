package store

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Link is how far away Endpoint is.
type Link struct {
	Latency time.Duration // from a complete request to the first byte of its answer
	Rate    int64         // bytes a second of a connection in each direction, 0 for no limit
}

// Server is a running store. Close ends it.
type Server struct {
	endpoint, direct string
	link             atomic.Pointer[Link]
	count            counters
	objects          *objects
	servers          []*http.Server
	wg               sync.WaitGroup // the listeners
	handling         sync.RWMutex   // held for reading by each request
	failure          chan error
}

// Listen starts a store with its objects in dir, which should be empty, on two free ports of the loopback.
func Listen(dir string, l Link) (*Server, error) {
	if l.Latency < 0 || l.Rate < 0 {
		return nil, errors.New("store: latency and rate must not be negative")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{objects: newObjects(dir), failure: make(chan error, 2)}
	s.SetLink(l)
	var err error
	if s.endpoint, err = s.listen(true); err != nil {
		return nil, err
	}
	if s.direct, err = s.listen(false); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Endpoint is the URL of the store at its distance, Direct the one without.
func (s *Server) Endpoint() string { return s.endpoint }

// Direct is the URL of the store without a distance; its requests are not counted.
func (s *Server) Direct() string { return s.direct }

// SetLink changes the distance: the latency at once, the rate for connections that are opened from now on.
func (s *Server) SetLink(l Link) { s.link.Store(&l) }

// Failed says why the store ended by itself.
func (s *Server) Failed() <-chan error { return s.failure }

// Close breaks all connections and waits until everything has ended.
func (s *Server) Close() error {
	var err error
	for _, srv := range s.servers {
		err = errors.Join(err, srv.Close())
	}
	s.wg.Wait()
	// Requests that were read before still have handlers, whose connections are broken now.
	s.handling.Lock()
	defer s.handling.Unlock()
	return err
}

func (s *Server) listen(far bool) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, far) }),
		ErrorLog: log.New(io.Discard, "", 0), // it logs clients that go away
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, s.open(c.(*net.TCPConn), far))
		},
	}
	s.servers = append(s.servers, srv)
	s.wg.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.failure <- err
		}
	})
	return "http://" + ln.Addr().String(), nil
}

type connKey struct{}

// conn is a client's connection.
type conn struct {
	tcp  *net.TCPConn
	rate int64 // of what comes in
}

// open prepares a new connection. A kernel that cannot pace it fails the store: its numbers would be of another link.
func (s *Server) open(tcp *net.TCPConn, far bool) *conn {
	c := &conn{tcp: tcp}
	if !far {
		return c
	}
	s.count.conns.Add(1)
	if c.rate = s.link.Load().Rate; c.rate > 0 {
		if err := c.set(unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, int(c.rate)); err != nil {
			select {
			case s.failure <- err:
			default: // one is enough
			}
		}
	}
	return c
}

func (c *conn) set(level, option, value int) error {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return err
	}
	var setErr error
	if err := raw.Control(func(fd uintptr) { setErr = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return setErr
}

// cork holds small segments back until it is off, so that an answer's head and its small body leave as one.
func (c *conn) cork(on bool) error {
	v := 0
	if on {
		v = 1
	}
	return c.set(unix.IPPROTO_TCP, unix.TCP_CORK, v)
}
