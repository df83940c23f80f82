package lagproxy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers a body with its hash, GET /get/N with N bytes of a known sequence, HEAD with a length alone.
func echo(w http.ResponseWriter, r *http.Request) {
	if size, ok := strings.CutPrefix(r.URL.Path, "/get/"); ok {
		n, _ := strconv.Atoi(size)
		if r.URL.Query().Has("chunked") {
			w.(http.Flusher).Flush()
		} else {
			w.Header().Set("Content-Length", size)
		}
		w.Write(sequence(n))
		return
	}
	if r.URL.Path == "/none/x" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	fmt.Fprintf(w, "%s %d %x", r.URL.Path, n, h.Sum(nil))
}

func sequence(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func start(t *testing.T, o Options) *Proxy {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(srv.Close)
	o.Backend = srv.Listener.Addr().String()
	p, err := Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return p
}

func client(t *testing.T) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 32}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestBodiesPassUnchanged(t *testing.T) {
	p := start(t, Options{})
	c := client(t)
	for _, n := range []int{0, 1, 100, bufferBytes - 1, bufferBytes + 1, 3 << 20} {
		for _, form := range []string{"", "?chunked"} {
			resp, err := c.Get(fmt.Sprintf("http://%s/get/%d%s", p.Addr(), n, form))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, sequence(n)) {
				t.Errorf("GET of %d bytes%s: %d bytes, %v", n, form, len(got), err)
			}
			body := io.Reader(bytes.NewReader(sequence(n)))
			if form != "" {
				body = io.MultiReader(body) // no length: chunked
			}
			resp, err = c.Post(fmt.Sprintf("http://%s/b/k", p.Addr()), "x", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("/b/k %d %x", n, sha256.Sum256(sequence(n))); err != nil || string(got) != want {
				t.Errorf("POST of %d bytes%s: %q, %v", n, form, got, err)
			}
		}
	}
	if n := p.Counts().Connections; n > 2 {
		t.Errorf("%d connections for requests one after another", n)
	}
}

// TestPipelining writes many requests of all framings before it reads the first answer.
func TestPipelining(t *testing.T) {
	p := start(t, Options{Latency: time.Millisecond})
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 200
	var want []string
	var methods []string
	var wg sync.WaitGroup
	var out bytes.Buffer
	for i := range n {
		body := sequence(i * 37)
		path := fmt.Sprintf("/b/k%d", i)
		hash := fmt.Sprintf("%s %d %x", path, len(body), sha256.Sum256(body))
		switch i % 4 {
		case 0:
			fmt.Fprintf(&out, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
			want, methods = append(want, hash), append(methods, "POST")
		case 1:
			fmt.Fprintf(&out, "PUT %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", path)
			if len(body) > 0 {
				fmt.Fprintf(&out, "%x;x=y\r\n%s\r\n", len(body), body)
			}
			out.WriteString("0\r\nX-Trailer: 1\r\n\r\n")
			want, methods = append(want, hash), append(methods, "PUT")
		case 2:
			fmt.Fprintf(&out, "HEAD /get/%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
			want, methods = append(want, ""), append(methods, "HEAD")
		case 3:
			fmt.Fprintf(&out, "DELETE /none/x HTTP/1.1\r\nHost: h\r\n\r\n")
			want, methods = append(want, ""), append(methods, "DELETE")
		}
	}
	wg.Go(func() { conn.Write(out.Bytes()) })
	br := bufio.NewReader(conn)
	for i := range n {
		resp, err := http.ReadResponse(br, &http.Request{Method: methods[i]})
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != want[i] {
			t.Fatalf("answer %d to %s: %q, %v; want %q", i, methods[i], got, err, want[i])
		}
	}
	wg.Wait()
	conn.Close()
	p.Close()
	c := p.Counts()
	if c.Connections != 1 || c.Failed != 0 || c.Requests["Head"] != n/4 || c.Requests["Put"] != n/4 || c.Requests["Delete"] != n/4 {
		t.Errorf("counts: %+v", c)
	}
}

func TestLatency(t *testing.T) {
	const latency = 30 * time.Millisecond
	p := start(t, Options{Latency: latency})
	c := client(t)
	for range 3 {
		began := time.Now()
		resp, err := c.Get("http://" + p.Addr() + "/get/10")
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < latency {
			t.Errorf("the head came after %v", d)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// TestLatencyBeginsAfterTheBody: a request whose body is sent slowly waits for the latency from the body's end on.
func TestLatencyBeginsAfterTheBody(t *testing.T) {
	const latency = 30 * time.Millisecond
	p := start(t, Options{Latency: latency})
	r, w := io.Pipe()
	var sent time.Time
	go func() {
		time.Sleep(2 * latency)
		sent = time.Now()
		w.Write([]byte("x"))
		w.Close()
	}()
	resp, err := client(t).Post("http://"+p.Addr()+"/b/k", "x", r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if d := time.Since(sent); d < latency {
		t.Errorf("the answer came %v after the body", d)
	}
}

func TestRate(t *testing.T) {
	const rate, size = 16 << 20, 4 << 20
	p := start(t, Options{Rate: rate})
	c := client(t)
	least := time.Duration(float64(size)/rate*float64(time.Second)) - credit
	// Two at once take as long as one: the rate is each connection's.
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			began := time.Now()
			resp, err := c.Get(fmt.Sprintf("http://%s/get/%d", p.Addr(), size))
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if d := time.Since(began); d < least {
				t.Errorf("download: %v, least %v", d, least)
			}
			began = time.Now()
			resp, err = c.Post("http://"+p.Addr()+"/b/k", "x", bytes.NewReader(sequence(size)))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if d := time.Since(began); d < least {
				t.Errorf("upload: %v, least %v", d, least)
			}
		})
	}
	wg.Wait()
	p.Close() // all that is counted is counted then
	if got := p.Counts(); got.In != 2*size || got.Out < 2*size {
		t.Errorf("bytes: in %d, out %d", got.In, got.Out)
	}
}

// TestManyClients keeps connections busy from many goroutines, some of which leave in the middle of an answer.
func TestManyClients(t *testing.T) {
	p := start(t, Options{Latency: time.Millisecond})
	c := client(t)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 20 {
				n := (g*20 + i) * 1000
				resp, err := c.Get(fmt.Sprintf("http://%s/get/%d", p.Addr(), n))
				if err != nil {
					t.Error(err)
					return
				}
				if i%5 == 4 {
					resp.Body.Close()
					continue
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || len(got) != n {
					t.Errorf("%d bytes of %d: %v", len(got), n, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestServerGone(t *testing.T) {
	p, err := Listen("127.0.0.1:0", Options{Backend: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := client(t).Get("http://" + p.Addr() + "/"); err == nil {
		t.Error("an answer without a server")
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		method, target string
		copySource     bool
		want           Kind
	}{
		{"GET", "/", false, Buckets},
		{"GET", "/b?list-type=2&prefix=a%2F", false, List},
		{"GET", "/b/", false, List},
		{"GET", "/b?location", false, Buckets},
		{"GET", "/b?uploads", false, Uploads},
		{"HEAD", "/b", false, Buckets},
		{"PUT", "/b", false, Buckets},
		{"POST", "/b?delete", false, DeleteMany},
		{"GET", "/b/a/b", false, Get},
		{"GET", "/b/a?uploadId=1", false, Uploads},
		{"HEAD", "/b/a", false, Head},
		{"PUT", "/b/a", false, Put},
		{"PUT", "/b/a", true, Copy},
		{"PUT", "/b/a?partNumber=1&uploadId=2", false, Part},
		{"PUT", "/b/a?partNumber=1&uploadId=2", true, CopyPart},
		{"POST", "/b/a?uploads", false, CreateUpload},
		{"POST", "/b/a?uploadId=2", false, CompleteUpload},
		{"DELETE", "/b/a?uploadId=2", false, AbortUpload},
		{"DELETE", "/b/a", false, Delete},
		{"OPTIONS", "/b/a", false, Other},
	} {
		if got := classify(c.method, c.target, c.copySource); got != c.want {
			t.Errorf("%s %s: %v, want %v", c.method, c.target, got, c.want)
		}
	}
}
