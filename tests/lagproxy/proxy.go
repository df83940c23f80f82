package lagproxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a Proxy.
type Options struct {
	// Backend is the server's HOST:PORT.
	Backend string
	// Latency is the least time from a complete request to the first byte of its answer; 0 for none.
	Latency time.Duration
	// Rate is the most bytes a second of a connection in one direction; 0 for no limit.
	Rate int64
	// Remember keeps the last answer to each listing, for the harm Past.
	Remember bool
}

// Proxy is a running proxy. Close ends it.
type Proxy struct {
	o       Options
	address string
	count   counters
	wg      sync.WaitGroup
	mu      struct {
		sync.Mutex
		ln      net.Listener
		closed  bool
		left    bool                      // between Leave and Return
		conns   map[*net.TCPConn]struct{} // both ends of every connection, for Close
		links   map[*link]struct{}
		faults  []*Fault
		strokes []Stroke          // since they were asked for
		past    map[string][]byte // what listings were answered, by target
	}
}

// Listen starts a proxy on an address, such as 127.0.0.1:0.
func Listen(address string, o Options) (*Proxy, error) {
	if o.Backend == "" || o.Latency < 0 || o.Rate < 0 {
		return nil, errors.New("lagproxy: a backend is needed; latency and rate must not be negative")
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &Proxy{o: o, address: ln.Addr().String()}
	p.mu.ln = ln
	p.mu.conns = map[*net.TCPConn]struct{}{}
	p.mu.links = map[*link]struct{}{}
	p.mu.past = map[string][]byte{}
	p.wg.Go(func() { p.accept(ln) })
	return p, nil
}

// Addr is the address clients connect to, HOST:PORT.
func (p *Proxy) Addr() string { return p.address }

// Close breaks all connections and waits until everything has ended.
func (p *Proxy) Close() error {
	p.mu.Lock()
	var err error
	if !p.mu.left {
		err = p.mu.ln.Close()
	}
	p.mu.closed = true
	for c := range p.mu.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, say: it may pass
			time.Sleep(10 * time.Millisecond)
			continue
		}
		p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
	}
}

// track keeps a connection for Close; false when the proxy is closed or away already.
func (p *Proxy) track(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed || p.mu.left {
		return false
	}
	p.mu.conns[c] = struct{}{}
	return true
}

func (p *Proxy) forget(c *net.TCPConn) {
	p.mu.Lock()
	delete(p.mu.conns, c)
	p.mu.Unlock()
	c.Close()
}

// serve carries one client's connection.
func (p *Proxy) serve(client *net.TCPConn) {
	defer p.forget(client)
	if !p.track(client) {
		return
	}
	c, err := net.Dial("tcp", p.o.Backend)
	if err != nil {
		return // the client sees a connection that closes, as with a server that is down
	}
	server := c.(*net.TCPConn)
	defer p.forget(server)
	if !p.track(server) {
		return
	}
	p.count.conns.Add(1)
	l := &link{p: p, client: client, server: server, pending: make(chan *exchange, maxPipelined)}
	p.mu.Lock()
	p.mu.links[l] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.mu.links, l)
	}()
	var wg sync.WaitGroup
	wg.Go(l.answers)
	l.requests()
	wg.Wait()
}

// exchange is one request and its answer.
type exchange struct {
	method, target string
	kind           Kind
	ghost          bool // the server is asked once more than the client has asked
	start          time.Time
	// complete is the time in Unix nanoseconds when the last byte of the request went to the server, 0 before.
	complete atomic.Int64
}
