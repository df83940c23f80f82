// Package storeproxy is an HTTP proxy before an S3 server that writes down what the server is asked, request by request
// with the bytes of both directions, and does with each request what a test says: pass it, refuse it, lose it, or let the
// store do it and lose the answer.
//
// tests/lagproxy is a distance, with splice(2) and rates; this is a witness and a saboteur, and costs what HTTP costs. It
// changes no byte of what it passes: Host is the one that was signed.
package storeproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Request is one request, and once it has ended what became of it.
type Request struct {
	Op           Op
	Bucket, Key  string
	UploadID     string
	Part         int
	Off, Length  int64 // the range of a GET or of a copied part; -1 for everything
	Conditional  bool  // If-Match or If-None-Match, of the target or of a copy's source
	Size         int64 // of its body, as announced
	Up, Down     int64 // bytes of the bodies that were moved
	Status       int   // of the answer that was given; 0 for none
	Done         bool  // the store was asked and has answered with success
	Began, Ended time.Duration
}

func (r Request) String() string {
	s := string(r.Op) + " " + r.Key
	if r.Part > 0 {
		s += " part " + strconv.Itoa(r.Part)
	}
	if r.Length >= 0 {
		s += fmt.Sprintf(" [%d, +%d)", r.Off, r.Length)
	}
	return fmt.Sprintf("%s: %d up, %d down, status %d", s, r.Up, r.Down, r.Status)
}

// Act is what becomes of a request.
type Act int

// The acts. Those with Status and Code answer as a store does that fails.
const (
	Pass     Act = iota
	Refuse       // answered here; the store never hears of it
	Break        // the connection is closed; the store never hears of it
	Hold         // no answer, until the client goes or the proxy is closed; the store never hears of it
	DoneFail     // the store has done it; the answer is an error
	DoneLost     // the store has done it; the connection is closed
	DoneHold     // the store has done it; no answer
	DoneWait     // the store has done it; the answer comes when Gate is closed
	Wait         // passed on when Gate is closed
)

// Fate is an act with what it needs.
type Fate struct {
	Act    Act
	Status int
	Code   string
	Gate   <-chan struct{}
}

// Proxy is a running proxy. Close ends it.
type Proxy struct {
	backend *url.URL
	next    *http.Transport
	server  *http.Server
	address string
	began   time.Time
	serving sync.WaitGroup
	ended   chan struct{} // closed by Close: nothing stands still any more
	spoiled atomic.Int64
	mu      struct {
		sync.Mutex
		requests []*Request
		flying   int
		fate     func(Request) Fate
		keep     bool
	}
}

// Open starts a proxy on a port of its own before an http server.
func Open(backend string) (*Proxy, error) {
	u, err := url.Parse(backend)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{backend: u, address: ln.Addr().String(), began: time.Now(), ended: make(chan struct{}),
		next: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256, ExpectContinueTimeout: time.Second}}
	p.mu.keep = true
	p.server = &http.Server{Handler: p}
	p.serving.Go(func() { p.server.Serve(ln) }) // its error is that it was closed
	return p, nil
}

// Endpoint is the address clients use.
func (p *Proxy) Endpoint() string { return "http://" + p.address }

// Close breaks all connections and waits for the end.
func (p *Proxy) Close() {
	close(p.ended)
	p.server.Close() // its error repeats that of closed connections
	p.serving.Wait()
	p.next.CloseIdleConnections()
	for p.Flying() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// Meet asks of each request from now on what shall become of it; nil: it passes.
func (p *Proxy) Meet(fate func(Request) Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.fate = fate
}

// Forget keeps no requests from now on: they are counted by the caller's fate, if at all.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.keep, p.mu.requests = false, nil
}

// Spoiled is how many requests did not just pass.
func (p *Proxy) Spoiled() int64 { return p.spoiled.Load() }

// Flying is how many requests are going on.
func (p *Proxy) Flying() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.flying
}

// Take gives the requests that have ended since the last Take, in the order in which they began; ok is false, and
// nothing is taken, while any is going on.
func (p *Proxy) Take() (all []Request, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.flying > 0 {
		return nil, false
	}
	for _, r := range p.mu.requests {
		all = append(all, *r)
	}
	p.mu.requests = nil
	return all, true
}

// Peek gives the requests so far; what is going on has no status yet.
func (p *Proxy) Peek() (all []Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.mu.requests {
		all = append(all, *r)
	}
	return all
}

func (p *Proxy) begin(hr *http.Request) (*Request, Fate) {
	r := parse(hr)
	r.Began = time.Since(p.began)
	p.mu.Lock()
	fate := p.mu.fate
	p.mu.flying++
	if p.mu.keep {
		p.mu.requests = append(p.mu.requests, r)
	}
	p.mu.Unlock()
	if fate == nil {
		return r, Fate{}
	}
	f := fate(*r)
	if f.Act != Pass {
		p.spoiled.Add(1)
	}
	return r, f
}

// end writes down what became of a request. The Request of the list is changed under the lock alone.
func (p *Proxy) end(r *Request, up, down int64, status int, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Up, r.Down, r.Status, r.Done, r.Ended = up, down, status, done, time.Since(p.began)
	p.mu.flying--
}

// ServeHTTP is one request's way.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r, fate := p.begin(hr)
	x := &exchange{p: p, w: w, r: hr, fate: fate, body: &counted{Reader: hr.Body}}
	defer func() { p.end(r, x.body.n.Load(), x.down, x.status, x.done) }()
	x.run()
}

// counted counts what is read through it: the transport reads a body in a goroutine of its own.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// exchange is a request and its answer.
type exchange struct {
	p      *Proxy
	w      http.ResponseWriter
	r      *http.Request
	fate   Fate
	body   *counted
	down   int64
	status int
	done   bool
}

func (x *exchange) run() {
	switch x.fate.Act {
	case Refuse:
		x.fail()
		return
	case Break:
		broken()
	case Hold:
		x.stand(nil)
		broken()
	case Wait:
		x.stand(x.fate.Gate)
	}
	res, err := x.ask()
	if err != nil {
		broken() // the client sees what it would see of a server that is down
	}
	defer res.Body.Close()
	x.done = res.StatusCode < 300
	switch x.fate.Act {
	case DoneFail, DoneLost, DoneHold, DoneWait:
		// A store that answers while it works has done it when its answer has ended.
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			broken()
		}
		x.afterwards(res, answer)
	default:
		x.head(res)
		if x.down, err = io.Copy(x.w, res.Body); err != nil {
			broken()
		}
	}
}

func (x *exchange) afterwards(res *http.Response, answer []byte) {
	switch x.fate.Act {
	case DoneFail:
		x.fail()
	case DoneLost:
		broken()
	case DoneHold:
		x.stand(nil)
		broken()
	case DoneWait:
		x.stand(x.fate.Gate)
		x.head(res)
		n, err := x.w.Write(answer)
		if x.down = int64(n); err != nil {
			broken()
		}
	}
}

func (x *exchange) ask() (*http.Response, error) {
	out := x.r.Clone(x.r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = x.p.backend.Scheme, x.p.backend.Host, ""
	if x.r.ContentLength != 0 {
		out.Body = io.NopCloser(x.body)
	}
	return x.p.next.RoundTrip(out)
}

func (x *exchange) head(res *http.Response) {
	for name, values := range res.Header {
		x.w.Header()[name] = values
	}
	x.status = res.StatusCode
	x.w.WriteHeader(res.StatusCode)
}

// fail answers with an error document. The request's body is taken first: a client that still sends would not read.
func (x *exchange) fail() {
	if _, err := io.Copy(io.Discard, x.body); err != nil {
		broken()
	}
	x.status = x.fate.Status
	if x.r.Method == http.MethodHead {
		x.w.WriteHeader(x.status)
		return
	}
	x.w.Header().Set("Content-Type", "application/xml")
	x.w.WriteHeader(x.status)
	n, err := fmt.Fprintf(x.w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>a test says so</Message></Error>", x.fate.Code)
	if x.down = int64(n); err != nil {
		broken()
	}
}

// stand waits for a gate (nil: none), for the client to go, or for the proxy's end.
func (x *exchange) stand(gate <-chan struct{}) {
	if gate == nil {
		// A client's going is only seen when its request has been read.
		if _, err := io.Copy(io.Discard, x.body); err != nil && !errors.Is(err, http.ErrBodyReadAfterClose) {
			broken()
		}
	}
	select {
	case <-gate:
	case <-x.r.Context().Done():
		broken()
	case <-x.p.ended:
	}
}

// broken closes the connection.
func broken() { panic(http.ErrAbortHandler) }

// Away is the fate of every request at a store that is away.
func Away(Request) Fate { return Fate{Act: Break} }

// Some applies a fate to the requests of some kinds, the first so many of them; 0: all.
func Some(fate Fate, times int, ops ...Op) func(Request) Fate {
	var n atomic.Int64
	return func(r Request) Fate {
		for _, op := range ops {
			if r.Op == op && (n.Add(1) <= int64(times) || times == 0) {
				return fate
			}
		}
		return Fate{}
	}
}

// Ops says whether a request is of one of these kinds.
func (r Request) Ops(ops ...Op) bool {
	for _, op := range ops {
		if r.Op == op {
			return true
		}
	}
	return false
}

// Label is a short name of a tally: kinds with their numbers, in a fixed order.
func Label(all []Request) string {
	count := map[Op]int{}
	var up, down int64
	for _, r := range all {
		count[r.Op]++
		up, down = up+r.Up, down+r.Down
	}
	var b strings.Builder
	for _, op := range order {
		if count[op] > 0 {
			fmt.Fprintf(&b, "%d %s, ", count[op], op)
		}
	}
	fmt.Fprintf(&b, "%d bytes up, %d down", up, down)
	return b.String()
}
