package s3client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"pailfs/s3client/outward"
)

const (
	// mostIdle leaves room for a limit of requests that is raised later; idleTimeout takes away what is not used.
	mostIdle         = 256
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 60 * time.Second
	// writeBuffer: the default 4 KiB costs a system call for 4 KiB of a body. readBuffer: a read that asks for more goes
	// past the buffer, into the caller's memory; a larger one would have most of a body copied once more. What of a body
	// does not fit the write buffer net/http takes by 32 KiB: larger pieces (64, 128, 256 KiB were tried) save calls, and
	// lose as much again because they leave the processor's cache between being read and being written.
	writeBuffer = 64 << 10
	readBuffer  = 8 << 10
)

// keepAlive finds an idle connection out whose other end has gone without a word, in half of idleTimeout; the system's
// nine probes would take ten times as long.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

func newWire(cfg Config, p Profile, count *Counters, stall time.Duration) (*wire, error) {
	w := &wire{count: count, stall: stall, base: cfg.Transport, watch: newWatch()}
	if cfg.UserAgent != "" {
		w.userAgent = []string{cfg.UserAgent}
	}
	if w.base != nil {
		return w, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pool, err := outward.Trust(cfg.CAFile)
		if err != nil {
			return nil, badConfig("%v", err)
		}
		conf.RootCAs = pool
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}
	requests := cfg.MaxRequests
	t := &http.Transport{
		Proxy:                 outward.Proxy,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   handshakeTimeout,
		MaxIdleConnsPerHost:   max(requests, mostIdle),
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // the bytes are the object's
		WriteBufferSize:       writeBuffer,
		ReadBufferSize:        readBuffer,

		MaxResponseHeaderBytes: 1 << 20,
		// An empty map: HTTP/1.1 alone. One HTTP/2 connection would carry, and slow down, all requests.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	if p.MissedHEADHarmful {
		guardHEAD(t, dialer)
		w.closeHEAD = func(r *http.Request) bool {
			// Through an https proxy the guard does not see the plain text.
			proxy, err := t.Proxy(r)
			return r.URL.Scheme == "https" && (proxy != nil || err != nil)
		}
	}
	w.base, w.own = t, t
	return w, nil
}

// guardHEAD makes all connections of t close after a HEAD that failed (head.go).
func guardHEAD(t *http.Transport, dialer *net.Dialer) {
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &headConn{Conn: conn}, nil
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conf := t.TLSClientConfig.Clone()
		if conf.ServerName == "" {
			if conf.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				conf.ServerName = addr
			}
		}
		secure := tls.Client(conn, conf)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return &headConn{Conn: secure}, nil
	}
}
