package s3client

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// strayServer answers like Swift's proxy: a HEAD that misses is followed by a chunk that does not belong there.
type strayServer struct {
	net.Listener
	conns atomic.Int64
	wg    sync.WaitGroup
}

func newStray(t *testing.T, l net.Listener) *strayServer {
	s := &strayServer{Listener: l}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			s.wg.Add(1)
			go func() { defer s.wg.Done(); s.answer(conn) }()
		}
	}()
	t.Cleanup(func() { l.Close(); s.wg.Wait() })
	return s
}

func (s *strayServer) answer(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		switch {
		case r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "miss"):
			// In pieces, so that the guard has to put the status line together.
			for _, piece := range []string{"HTTP/1.", "1 404 Not Found\r", "\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
				io.WriteString(conn, piece)
			}
		case r.Method == http.MethodHead:
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nEtag: \"e\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n")
		default:
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nEtag: \"e\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\ncontent")
		}
	}
}

// A HEAD that misses disturbs nobody: no retry, no line on the standard log; HEADs that hit keep their connection.
func TestMissedHEAD(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	for _, secure := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		noError(t, err)
		cfg := Config{Endpoint: "http://" + l.Addr().String(), Region: "KR1", Timeout: 20 * time.Second, MaxRequests: 8,
			Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}}
		if secure {
			other := httptest.NewTLSServer(nil)
			defer other.Close()
			cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			writeFile(t, cfg.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})), 0o644)
			cfg.Endpoint = "https://" + l.Addr().String()
			l = tls.NewListener(l, other.TLS)
		}
		s := newStray(t, l)
		c, err := Open(cfg)
		noError(t, err)
		for range 50 {
			_, err := c.Head(t.Context(), "bucket", "hit")
			noError(t, err)
		}
		if n := s.conns.Load(); n != 1 {
			t.Errorf("secure %v: 50 HEADs on %d connections", secure, n)
		}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 10 {
					if _, err := c.Head(t.Context(), "bucket", fmt.Sprint(w, i, "miss")); KindOf(err) != NotFound {
						t.Errorf("miss: %v", err)
					}
					rc, _, err := c.Get(t.Context(), GetRequest{Bucket: "bucket", Key: "k"})
					if err != nil {
						t.Errorf("after a miss: %v", err)
						continue
					}
					if got, err := io.ReadAll(rc); string(got) != "content" || err != nil {
						t.Errorf("%q %v", got, err)
					}
					rc.Close()
				}
			}()
		}
		wg.Wait()
		if got := c.Counters().Snapshot(); got.Retries != 0 || got.Head != 50+80 || got.Get != 80 {
			t.Errorf("secure %v: %+v", secure, got)
		}
		c.Close()
	}
	if logged.Len() > 0 {
		t.Errorf("on the standard log: %s", logged.String())
	}
}

func TestWithClose(t *testing.T) {
	for in, want := range map[string]string{
		"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n0\r\n\r\n": "HTTP/1.1 404 Not Found\r\nConnection: close\r\nA: b\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 500\r\n\r\n":                            "HTTP/1.1 500\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n":                         "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\n\r\n":               "HTTP/1.1 304 Not Modified\r\n\r\n",
		"garbage\r\n":                                     "garbage\r\n",
		"no line end":                                     "no line end",
	} {
		if got := string(withClose([]byte(in), strings.Index(in, "\r\n"))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("protocol %s", r.Proto)
		}
		headAnswer(w, "e", 1, time.Now())
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	ca := writeFile(t, filepath.Join(t.TempDir(), "ca.pem"),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})), 0o644)
	for _, provider := range []string{"generic", "swift"} { // with and without the guard
		cfg := Config{Endpoint: srv.URL, Provider: provider, Timeout: 5 * time.Second, CAFile: ca,
			Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}}
		c, err := Open(cfg)
		noError(t, err)
		noError(t, head(c))
		c.Close()
		cfg.CAFile = ""
		c, err = Open(cfg)
		noError(t, err)
		want(t, "unknown authority", head(c), Unknown, "BadCertificate")
		if n := c.Counters().Snapshot().Retries; n != 0 {
			t.Errorf("%s: %d retries", provider, n)
		}
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, provider := range []string{"generic", "swift"} {
		c, err := Open(Config{Endpoint: strings.Replace(plain.URL, "http:", "https:", 1), Provider: provider, Timeout: 2 * time.Second,
			Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}})
		noError(t, err)
		want(t, "http answers", head(c), Invalid, "NotHTTPS")
	}
	_, err := Open(Config{Endpoint: srv.URL, CAFile: writeFile(t, filepath.Join(t.TempDir(), "x"), "no PEM", 0o600),
		Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}})
	want(t, "no certificate", err, Invalid, "BadConfiguration")
}

// Virtual hosts: the bucket is in the name, but where no certificate could cover it.
func TestVirtualHosted(t *testing.T) {
	for bucket, line := range map[string]string{
		"bucket":     "bucket.store.test /k bucket.store.test /?encoding-type=url&list-type=2&prefix=",
		"dot.bucket": "store.test /dot.bucket/k store.test /dot.bucket/?encoding-type=url&list-type=2&prefix=",
	} {
		var got []string
		rt := roundTripper(func(r *http.Request) (*http.Response, error) {
			got = append(got, r.URL.Host, r.URL.RequestURI())
			if r.Method == http.MethodHead {
				return reply(200, http.Header{"Etag": {"e"}, "Content-Length": {"1"}}, ""), nil
			}
			return reply(200, nil, "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"), nil
		})
		c, err := Open(Config{Endpoint: "https://store.test", VirtualHosted: true, Transport: rt,
			Credentials: CredentialsConfig{AccessKey: "a", SecretKey: "s"}})
		noError(t, err)
		_, err = c.Head(t.Context(), bucket, "k")
		noError(t, err)
		_, err = c.List(t.Context(), ListRequest{Bucket: bucket})
		noError(t, err)
		if strings.Join(got, " ") != line {
			t.Errorf("%s: %v", bucket, got)
		}
	}
}
