package cache

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// wire is a store behind sockets, in a process of its own: a request is a length, its answer that many bytes.
type wire struct {
	addr  string
	reads atomic.Int64
	mu    struct {
		sync.Mutex
		idle []net.Conn
	}
}

const wireEnv = "PAILFS_TEST_BENCH_WIRE"

func newWire(b *testing.B) *wire {
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeWire$")
	cmd.Env = append(os.Environ(), wireEnv+"=1")
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
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	w := &wire{addr: strings.TrimSpace(addr)}
	b.Cleanup(func() {
		for _, c := range w.mu.idle {
			_ = c.Close()
		}
		_ = in.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	return w
}

// The store of BenchmarkSocket, which runs this in a process of its own; no test, and so nothing to skip.
func TestServeWire(t *testing.T) {
	if os.Getenv(wireEnv) == "" {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(l.Addr())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serveWire(c) })
		}
	})
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = l.Close()
	serving.Wait()
}

func serveWire(c net.Conn) {
	defer c.Close()
	var n int64
	for binary.Read(c, binary.BigEndian, &n) == nil {
		for n > 0 {
			wrote, err := c.Write(pattern[:min(n, int64(len(pattern)))])
			if err != nil {
				return
			}
			n -= int64(wrote)
		}
	}
}

type wireBody struct {
	io.Reader
	w *wire
	c net.Conn
}

func (b *wireBody) Read(p []byte) (int, error) {
	b.w.reads.Add(1)
	return b.Reader.Read(p)
}

func (w *wire) fetch(_ context.Context, _ Version, _, n int64) (io.ReadCloser, error) {
	w.mu.Lock()
	var c net.Conn
	if last := len(w.mu.idle) - 1; last >= 0 {
		c = w.mu.idle[last]
		w.mu.idle = w.mu.idle[:last]
	}
	w.mu.Unlock()
	if c == nil {
		var err error
		if c, err = net.Dial("tcp", w.addr); err != nil {
			return nil, err
		}
	}
	return &wireBody{io.LimitReader(c, n), w, c}, binary.Write(c, binary.BigEndian, n)
}

func (b *wireBody) Close() error {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.mu.idle = append(b.w.mu.idle, b.c)
	return nil
}

// A sequential reader behind a readahead, over sockets. It reports the process's CPU time, without that of the store.
func BenchmarkSocket(b *testing.B) {
	const step, piece = 1 << 20, 4 << 20
	for _, window := range []int64{8 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("window=%dM", window>>20), func(b *testing.B) {
			w := newWire(b)
			c := NewBlocks(BlocksOptions{Fetch: w.fetch})
			b.Cleanup(func() {
				if err := c.Close(context.Background()); err != nil {
					b.Error(err)
				}
			})
			v := object("o", 1<<40)
			off, ahead := int64(0), int64(0)
			b.SetBytes(step)
			b.ReportAllocs()
			before := cpuSeconds(b)
			for b.Loop() {
				for ; ahead < off+window; ahead += piece {
					c.Prefetch(v, ahead, piece)
				}
				use(b, c, v, off, step)
				c.Consumed(v, off, step)
				off += step
			}
			b.ReportMetric(float64(w.reads.Load())/float64(off>>20), "reads/MiB")
			b.ReportMetric((cpuSeconds(b)-before)*1000/(float64(off)/(1<<30)), "cpu-ms/GiB")
		})
	}
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
