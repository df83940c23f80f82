package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// The control socket is how commands talk to the process that serves a mount: HTTP/1.1 with JSON over a UNIX socket beside
// the runtime file, which names it. It is there from the mount to the end of the drain.
//
//	GET  /status   a statusReport
//	GET  /ready    a readyAnswer; it may take some seconds
//	GET  /uploads  the runningUploads
//	POST /options  {"options": {NAME: VALUE}}, those that can be changed while it is mounted; answered by what all of them are then
//	POST /refresh  {"path"}, relative to the mount point, "" for all of it
//	POST /flush    {"path", "timeout"} in seconds, 0 for none; answers lines of JSON (flushLine), the last one with the
//	               result; a client that closes the connection no longer waits, what is pending is stored all the same
//	POST /warm     {"path", "jobs"}; answers lines of JSON (warmLine), the last one with the result; a client that
//	               closes the connection ends it
//
// Every answer names the protocol and the version of the process in its header. A request that fails is answered by a
// controlFailure. Only processes of the same user and root are listened to.

// controlProtocol is changed whenever an old command and a new process, or the other way round, would misunderstand each
// other. Fields that are added change nothing.
const controlProtocol = 1

const (
	headerProtocol = "Pailfs-Protocol"
	headerVersion  = "Pailfs-Version"
)

// controlled is a mount as the control socket needs it. Paths are relative to the mount point, "" is all of it.
type controlled interface {
	Status() statusReport
	// Ready says why the mount should not be used, "" when it should. It may ask the store, for probePatience at most.
	Ready(ctx context.Context) string
	// Tune changes options of the mount, by their names and as they are written; none only tells. It returns all that can be
	// changed, as they are then.
	Tune(change map[string]string) (map[string]string, error)
	Uploads() []runningUpload
	Refresh(ctx context.Context, path string) error
	// Flush stores what is pending at a path and below it. It calls report from one goroutine at a time. When something is
	// left its result lists it, and the error says so.
	Flush(ctx context.Context, path string, report func(flushProgress)) (flushProgress, error)
	// Warm calls report from one goroutine at a time; a report in which Failed has grown is about the path that failed.
	Warm(ctx context.Context, path string, jobs int, report func(warmProgress)) (warmProgress, error)
}

// warmProgress is how far fetching ahead is. The totals may grow while names are still being listed.
type warmProgress struct {
	Files     int64  `json:"files"`
	FilesDone int64  `json:"files_done"`
	Bytes     int64  `json:"bytes"`
	BytesDone int64  `json:"bytes_done"`
	Failed    int64  `json:"failed"`
	Path      string `json:"path,omitempty"`  // being fetched, or failed
	Error     string `json:"error,omitempty"` // why Path failed
}

// flushProgress is how far storing is: files with their bytes, and changes of names. The result has the whole list of what
// is left.
type flushProgress struct {
	Files     int64         `json:"files"`
	FilesDone int64         `json:"files_done"`
	Bytes     int64         `json:"bytes"`
	BytesDone int64         `json:"bytes_done"`
	Names     int64         `json:"names"`
	NamesDone int64         `json:"names_done"`
	Left      []unsavedFile `json:"left,omitempty"`      // in a result
	LeftMore  int64         `json:"left_more,omitempty"` // those beyond what Left has room for
}

var errUnmounting = errors.New("it is being unmounted")

// control is the serving side.
type control struct {
	mount  controlled
	path   string // of the socket
	server *http.Server
	// serving ends when the mount does: refresh, flush and warm have no sense any more, status has.
	serving context.Context
	end     context.CancelFunc
	// running counts the accepting goroutine and those of connections.
	running sync.WaitGroup
}

// startControl makes the socket in dir and answers on it. The caller serves the mount point alone: it holds the lock of
// its runtime file.
func startControl(ctx context.Context, dir, mountpoint string, mount controlled, log *slog.Logger) (*control, error) {
	listener, path, err := listenControl(ctx, dir, socketName(mountpoint))
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	c := &control{mount: mount, path: path}
	c.serving, c.end = context.WithCancel(context.WithoutCancel(ctx))
	c.server = &http.Server{
		Handler:           c.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnState:         c.count,
	}
	c.running.Go(func() {
		err := c.server.Serve(peerListener{listener, ownOrRoot, log})
		if !errors.Is(err, http.ErrServerClosed) {
			log.Error("the control socket answers no longer", "err", err)
		}
	})
	return c, nil
}

// count is told of every connection: of a new one before the accepting goroutine goes on, of a closed one at the end of its
// own goroutine.
func (c *control) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.running.Add(1)
	case http.StateClosed:
		c.running.Done()
	}
}

// Drain ends what has no sense any more once the mount is gone; status is answered still. A nil control has nothing to
// end.
func (c *control) Drain() {
	if c != nil {
		c.end()
	}
}

// Close removes the socket and waits for the answers that are being given, for a moment.
func (c *control) Close() error {
	const grace = 2 * time.Second
	c.Drain()
	removed := removeSocket(c.path)
	closing, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := c.server.Shutdown(closing)
	if err != nil {
		err = c.server.Close() // clients that do not read
	}
	c.running.Wait()
	return errors.Join(removed, err)
}
