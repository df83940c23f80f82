package lend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Request is what a borrower would like.
type Request struct {
	// Source is shown by df and the mount table, unless the lender has one of its own. It holds no secret.
	Source string
	// ReadOnly asks for a mount that the kernel refuses to change.
	ReadOnly bool
	// Trusted says who may be at the other end.
	Trusted func(uid uint32) bool
	// Waiting is told once why there is no lender yet. May be nil.
	Waiting func(error)
}

// ErrGone: the lender has closed the connection. The descriptor works on.
var ErrGone = errors.New("the mount-helper is gone")

// Loan is a mount that was lent. Its methods are safe for concurrent use.
type Loan struct {
	// FD is the descriptor. It belongs to the borrower.
	FD int
	// Mountpoint is where the lender has mounted it, in its own namespace.
	Mountpoint string

	conn    *net.UnixConn
	stop    chan struct{} // closed: the lender asks to end
	gone    chan struct{} // closed: the connection is, and nothing runs
	answers chan message
	mu      sync.Mutex // one question at a time
}

// The times between two tries to reach a lender.
const leastPause, mostPause = 50 * time.Millisecond, time.Second

// Borrow asks the lender at a socket for a mount. Either side may start first: where nobody listens yet it tries again until ctx
// ends. A lender that serves another borrower is waited for, too.
func Borrow(ctx context.Context, path string, r Request) (*Loan, error) {
	conn, err := reach(ctx, path, r.Waiting)
	if err != nil {
		return nil, err
	}
	// An end of ctx breaks the waiting for an answer off.
	watch := context.AfterFunc(ctx, func() { conn.Close() })
	m, fd, err := ask(conn, r)
	if !watch() && err == nil {
		err = unix.Close(fd)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no descriptor from the mount-helper at %s: %w", path, errors.Join(ctx.Err(), err))
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask the mount-helper at %s: %w", path, err)
	}
	l := &Loan{FD: fd, Mountpoint: m.Mountpoint, conn: conn, stop: make(chan struct{}), gone: make(chan struct{}), answers: make(chan message, 1)}
	go l.listen()
	return l, nil
}

// reach connects, again and again.
func reach(ctx context.Context, path string, waiting func(error)) (*net.UnixConn, error) {
	for pause := leastPause; ; pause = min(2*pause, mostPause) {
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err == nil {
			return conn, nil
		}
		if waiting != nil {
			waiting(err)
			waiting = nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("no mount-helper answers: %w", err)
		}
	}
}

// ask sends the request and waits for the descriptor.
func ask(conn *net.UnixConn, r Request) (message, int, error) {
	peer, err := peerOf(conn)
	if err != nil {
		return message{}, -1, err
	}
	if !r.Trusted(peer.Uid) {
		return message{}, -1, fmt.Errorf("a process of user %d answers there: %w", peer.Uid, unix.EPERM)
	}
	if err := write(conn, message{Say: sayMount, Source: r.Source, ReadOnly: r.ReadOnly}, -1); err != nil {
		return message{}, -1, err
	}
	m, fd, err := read(conn, true)
	switch {
	case err != nil:
		return m, -1, err
	case m.failed() != nil:
		err = m.failed()
	case m.Say != sayMounted || fd < 0:
		err = fmt.Errorf("its answer %q has no descriptor", m.Say)
	default:
		return m, fd, nil
	}
	if fd >= 0 {
		err = errors.Join(err, unix.Close(fd))
	}
	return m, -1, err
}

// listen takes the lender's words until the connection ends.
func (l *Loan) listen() {
	defer close(l.gone)
	stopped := false
	for {
		m, _, err := read(l.conn, false)
		if err != nil {
			return
		}
		switch {
		case m.Say == sayStop && !stopped:
			stopped = true
			close(l.stop)
		case m.Say == sayDone:
			select {
			case l.answers <- m:
			default: // nobody has asked
			}
		}
	}
}

// Stop is closed when the lender asks to end: to store what is left, to unmount and to go.
func (l *Loan) Stop() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.stop
}

// Gone is closed when the lender is gone, or the Loan was closed.
func (l *Loan) Gone() <-chan struct{} { return l.gone }

// Serving tells the lender that the mount answers.
func (l *Loan) Serving() error { return l.say(sayServing) }

// Release has the lender unmount: EBUSY while a program uses the mount, unless lazily.
func (l *Loan) Release(lazily bool) error {
	word := sayUnmount
	if lazily {
		word = sayDetach
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.say(word); err != nil {
		return err
	}
	select {
	case m := <-l.answers:
		return m.failed()
	case <-l.gone:
		return ErrGone
	}
}

func (l *Loan) say(word string) error {
	if err := write(l.conn, message{Say: word}, -1); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// Close ends the connection: the lender takes away what is still mounted.
func (l *Loan) Close() error {
	err := l.conn.Close()
	<-l.gone
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
