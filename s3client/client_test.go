package s3client

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// server is a store that answers with what a test tells it.
type server struct {
	*httptest.Server
	mu struct {
		sync.Mutex
		requests []string // "METHOD path?query"
		headers  []http.Header
	}
}

// serve starts a server and a client for it. n counts the requests from 1.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int), change ...func(*Config)) (*Client, *server) {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		line := r.Method + " " + r.URL.EscapedPath()
		if r.URL.RawQuery != "" {
			line += "?" + r.URL.RawQuery
		}
		s.mu.requests = append(s.mu.requests, line)
		s.mu.headers = append(s.mu.headers, r.Header.Clone())
		n := len(s.mu.requests)
		s.mu.Unlock()
		answer(w, r, n)
	}))
	t.Cleanup(s.Close)
	cfg := Config{Endpoint: s.URL, Region: "us-east-1", Timeout: 20 * time.Second, MaxRequests: 8, UserAgent: "pailfs/test",
		Credentials: CredentialsConfig{AccessKey: "access", SecretKey: "secret"}}
	for _, f := range change {
		f(&cfg)
	}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mu.requests...)
}

func (s *server) header(n int) http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.headers[n-1]
}

// refuse answers with an error document.
func refuse(w http.ResponseWriter, status int, code, more string) {
	w.Header().Set("X-Amz-Request-Id", "tx1")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>words</Message>%s</Error>`, code, more)
}

// object answers a GET or HEAD as http.ServeContent would, with an ETag.
func object(w http.ResponseWriter, r *http.Request, etag string, content []byte) {
	w.Header().Set("Etag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Unix(1700000000, 0), bytes.NewReader(content))
}

// want checks a call's error for its kind and code.
func want(t *testing.T, what string, err error, kind Kind, code string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: error %v is no *Error", what, err)
	}
	if e.Kind != kind || e.Code != code || !errors.Is(err, kind) {
		t.Fatalf("%s: kind %v code %q, want %v %q: %v", what, e.Kind, e.Code, kind, code, err)
	}
	return e
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hang keeps a request without an answer until the client is gone.
func hang(r *http.Request) { <-r.Context().Done() }

// cut ends the connection in the middle of an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}
