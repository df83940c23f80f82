package faults

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"pailfs/tests/testenv"
)

// bitflipper is a wire that changes a bit of every so many bytes, in both directions.
type bitflipper struct {
	ln      net.Listener
	backend string
	every   atomic.Int64 // bytes; 0: none is changed
	flipped atomic.Int64
	wg      sync.WaitGroup
	mu      struct {
		sync.Mutex
		conns []net.Conn
	}
}

func newBitflipper(t *testing.T, backend string) *bitflipper {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bitflipper{ln: ln, backend: backend}
	b.wg.Go(b.accept)
	t.Cleanup(func() {
		ln.Close()
		b.mu.Lock()
		for _, c := range b.mu.conns {
			c.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

func (b *bitflipper) accept() {
	for {
		client, err := b.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", b.backend)
		if err != nil {
			client.Close()
			continue
		}
		b.mu.Lock()
		b.mu.conns = append(b.mu.conns, client, server)
		b.mu.Unlock()
		b.wg.Go(func() { b.carry(server, client) })
		b.wg.Go(func() { b.carry(client, server) })
	}
}

func (b *bitflipper) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	p, carried := make([]byte, 32<<10), int64(0)
	for {
		n, err := from.Read(p)
		if every := b.every.Load(); every > 0 && (carried+int64(n))/every > carried/every {
			p[n/2] ^= 1
			b.flipped.Add(1)
		}
		carried += int64(n)
		if _, werr := to.Write(p[:n]); err != nil || werr != nil {
			return
		}
	}
}

// TestABitOnTheWayUnderTLS: over https a byte that changes on the way is noticed wherever it is, and asked for or sent again.
func TestABitOnTheWayUnderTLS(t *testing.T) {
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	backend, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(backend)
		r.Out.Host = r.In.Host // as it was signed
	}, ErrorLog: quiet})
	front.Config.ErrorLog = quiet
	front.StartTLS()
	t.Cleanup(front.Close)
	wire := newBitflipper(t, front.Listener.Addr().String())
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	far := *s
	far.Endpoint = "https://" + wire.ln.Addr().String()
	bucket := s.Bucket(t)
	s.Put(t, bucket, "read", []byte(largeText), nil)
	m := testenv.Mount(t, &far, testenv.Of(bucket), testenv.AllowLog("."), testenv.Args("--ca-file", ca, "--part-size", "5MiB", "--timeout", "30s"))
	t.Cleanup(func() { wire.every.Store(0) }) // before the mount stores what is left
	wire.every.Store(3 << 20)
	for range 3 {
		got, err := os.ReadFile(m.Path("read"))
		if err != nil || string(got) != largeText {
			t.Fatalf("read: %d bytes, %v", len(got), err)
		}
		forget(t, m.Path("read"))
		if out, code := m.Command("refresh", m.Dir); code != 0 {
			t.Fatal(out)
		}
	}
	wire.every.Store(streamBytes + 2<<20) // more than one request carries, or none would ever arrive
	if err := os.WriteFile(m.Path("written"), []byte(streamText), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := string(s.Get(t, bucket, "written")); got != streamText {
		t.Error("the store has other bytes")
	}
	if wire.flipped.Load() < 3 {
		t.Errorf("%d bits were changed", wire.flipped.Load())
	}
	wire.every.Store(0)
	m.Unmount()
}
