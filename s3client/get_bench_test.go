package s3client

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// benchServer, set in the environment, makes the test's program a store that only answers GETs of ranges and PUTs. It is a process
// of its own, so that what is measured is the client alone, and it sends head and body at once, so that how many reads an
// answer takes does not depend on how busy the machine is.
const benchServer = "PAILFS_TEST_BENCH_SERVER"

const benchObject = 8 << 20

func TestMain(m *testing.M) {
	if os.Getenv(benchServer) == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, serveBench())
	os.Exit(1)
}

func serveBench() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin) // ends with the benchmark
		os.Exit(0)
	}()
	content := pattern(benchObject)
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go answerBench(conn, content)
	}
}

func answerBench(conn net.Conn, content []byte) {
	defer conn.Close()
	br := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Method == http.MethodPut {
			if err := takeBench(conn, br, r.ContentLength); err != nil {
				return
			}
			continue
		}
		var from, to int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
			return
		}
		head := fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n"+
			"Etag: \"0123456789abcdef0123456789abcdef\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n"+
			"Content-Type: application/octet-stream\r\nX-Amz-Request-Id: tx00000000000000000000000\r\n"+
			"X-Amz-Meta-Mode: 33188\r\nX-Amz-Meta-Mtime: 1700000000\r\nDate: Tue, 14 Nov 2023 22:13:21 GMT\r\n\r\n",
			to-from+1, from, to, len(content))
		out := net.Buffers{[]byte(head), content[from : to+1]}
		if _, err := out.WriteTo(conn); err != nil {
			return
		}
	}
}

// takeBench takes a body and says that it got it.
func takeBench(conn net.Conn, br *bufio.Reader, size int64) error {
	n, err := br.Discard(int(min(size, int64(br.Buffered()))))
	p := make([]byte, 1<<20)
	for left := size - int64(n); left > 0 && err == nil; left -= int64(n) {
		n, err = conn.Read(p[:min(left, int64(len(p)))])
	}
	if err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+
			"Etag: \"0123456789abcdef0123456789abcdef\"\r\nX-Amz-Request-Id: tx00000000000000000000000\r\n"+
			"Date: Tue, 14 Nov 2023 22:13:21 GMT\r\n\r\n")
	}
	return err
}

func startBenchServer(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), benchServer+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	addr := ""
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		b.Fatal(err)
	}
	return addr
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// getters are a Client's Get and the same call of minio-go alone, over a transport with the same settings.
func getters(b *testing.B, addr string) map[string]func(off, length int64) (io.ReadCloser, error) {
	c, err := Open(Config{Endpoint: "http://" + addr, Region: "us-east-1", Provider: "swift", UserAgent: "pailfs/test",
		Credentials: CredentialsConfig{AccessKey: "access", SecretKey: "secret"}})
	if err != nil {
		b.Fatal(err)
	}
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, WriteBufferSize: writeBuffer, ReadBufferSize: readBuffer}
	core, err := minio.NewCore(addr, &minio.Options{Creds: credentials.NewStaticV4("access", "secret", ""),
		Region: "us-east-1", Transport: tr, MaxRetries: 1, BucketLookup: minio.BucketLookupPath})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(); tr.CloseIdleConnections() })
	return map[string]func(off, length int64) (io.ReadCloser, error){
		"pailfs": func(off, length int64) (io.ReadCloser, error) {
			rc, _, err := c.Get(b.Context(), GetRequest{Bucket: "bucket", Key: "dir/key", Offset: off, Length: length,
				ETag: "0123456789abcdef0123456789abcdef"})
			return rc, err
		},
		"minio": func(off, length int64) (io.ReadCloser, error) {
			var o minio.GetObjectOptions
			o.Set("Range", rangeOf(off, length))
			o.Set("If-Match", `"0123456789abcdef0123456789abcdef"`)
			rc, _, _, err := core.GetObject(b.Context(), "bucket", "dir/key", o)
			return rc, err
		},
	}
}

// BenchmarkGet reads ranges into buffers of several sizes and reports the client's processor time.
func BenchmarkGet(b *testing.B) {
	addr := startBenchServer(b)
	all := getters(b, addr)
	for _, tt := range []struct{ length, buffer int64 }{{4 << 10, 4 << 10}, {benchObject, 64 << 10}, {benchObject, 256 << 10},
		{benchObject, 1 << 20}} {
		for _, who := range []string{"minio", "pailfs"} {
			b.Run(fmt.Sprintf("%dKiB/by%dKiB/%s", tt.length>>10, tt.buffer>>10, who), func(b *testing.B) {
				benchGet(b, all[who], tt.length, tt.buffer)
			})
		}
	}
}

func benchGet(b *testing.B, get func(off, length int64) (io.ReadCloser, error), length, buffer int64) {
	p := make([]byte, buffer)
	b.ReportAllocs()
	began := cpu(b)
	for b.Loop() {
		rc, err := get(0, length)
		if err != nil {
			b.Fatal(err)
		}
		for left := length; left > 0; left -= buffer {
			if _, err := io.ReadFull(rc, p); err != nil {
				b.Fatal(err)
			}
		}
		if n, err := rc.Read(p); n != 0 || err != io.EOF {
			b.Fatal(n, err)
		}
		rc.Close()
	}
	used := cpu(b) - began
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(used.Seconds()/float64(int64(b.N)*length)*(1<<30), "cpu-s/GiB")
}
