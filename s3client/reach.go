package s3client

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// Reached is how far a way to the endpoint leads, for a diagnosis.
type Reached struct {
	// Proxy is the host of the proxy on the way, "" without one. Addresses and Address are its own then.
	Proxy     string
	Addresses []string      // what the name stands for; nil when it was not looked up (an IP address), or in vain
	Address   string        // the one that a connection was made to; "" when none could be
	Connect   time.Duration // how long that took
	// Secure: the connection is encrypted; Version is that of TLS, Until and Issuer its certificate's.
	Secure  bool
	Version string
	Until   time.Time
	Issuer  string
	// Status is that of the answer, 0 without one; Server what it says it is; Date its clock, zero when it does not say.
	Status int
	Server string
	Date   time.Time
	Answer time.Duration // from the whole request to the first byte of the answer: a round trip and the store's own time
}

// Reach asks the endpoint once, without a signature, on a connection of its own that is made as all are: proxy,
// certificates and time-outs are the client's. Any answer is a success. What was found out stands in the Reached with an
// error as well; the error is the network's own.
func (c *Client) Reach(ctx context.Context) (Reached, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.profile.Endpoint+"/", nil)
	if err != nil {
		return Reached{}, badConfig("endpoint %s: %v", c.profile.Endpoint, err)
	}
	if len(c.wire.userAgent) > 0 {
		req.Header["User-Agent"] = c.wire.userAgent
	}
	t := &tracer{}
	base := c.wire.base
	if c.wire.own != nil {
		own := c.wire.own.Clone()
		own.DialTLSContext = nil // the guard of HEADs makes TLS connections that nobody is told of
		own.DisableKeepAlives = true
		base = own
		if proxy, err := own.Proxy(req); err == nil && proxy != nil {
			t.mu.r.Proxy = proxy.Host
		}
	}
	resp, err := base.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, t.hooks())))
	if err == nil {
		resp.Body.Close()
		t.answered(resp)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.r, err
}

// tracer takes what the transport tells of its way. It may tell more when the answer is there: it tries several
// addresses at once.
type tracer struct {
	mu struct {
		sync.Mutex
		r     Reached
		dials map[string]time.Time // begun, by address
		sent  time.Time
	}
}

func (t *tracer) hooks() *httptrace.ClientTrace {
	locked := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	}
	t.mu.dials = map[string]time.Time{}
	return &httptrace.ClientTrace{
		DNSDone: func(i httptrace.DNSDoneInfo) {
			locked(func() {
				for _, a := range i.Addrs {
					t.mu.r.Addresses = append(t.mu.r.Addresses, a.String())
				}
			})
		},
		ConnectStart: func(_, addr string) { locked(func() { t.mu.dials[addr] = time.Now() }) },
		ConnectDone: func(_, addr string, err error) {
			locked(func() {
				if err == nil && t.mu.r.Address == "" {
					t.mu.r.Address, t.mu.r.Connect = addr, time.Since(t.mu.dials[addr])
				}
			})
		},
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			if err == nil {
				locked(func() { t.mu.r.secure(&s) })
			}
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { locked(func() { t.mu.sent = time.Now() }) },
		GotFirstResponseByte: func() { locked(func() { t.mu.r.Answer = time.Since(t.mu.sent) }) },
	}
}

// secure takes a TLS connection; to an https proxy first, and to the store through it last.
func (r *Reached) secure(s *tls.ConnectionState) {
	r.Secure, r.Version = true, tls.VersionName(s.Version)
	if len(s.PeerCertificates) > 0 {
		cert := s.PeerCertificates[0]
		r.Until, r.Issuer = cert.NotAfter, cert.Issuer.CommonName
	}
}

func (t *tracer) answered(resp *http.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.r.Status, t.mu.r.Server = resp.StatusCode, resp.Header.Get("Server")
	t.mu.r.Date, _ = http.ParseTime(resp.Header.Get("Date")) // the zero time says what has to be said
	if resp.TLS != nil {
		t.mu.r.secure(resp.TLS)
	}
}
