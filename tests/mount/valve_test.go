package mount

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// valve is a TCP proxy in front of a store that can hold back what the store answers.
type valve struct {
	endpoint string

	mu struct {
		sync.Mutex
		flowing chan struct{} // closed while answers flow
	}
}

func newValve(t *testing.T, endpoint string) *valve {
	t.Helper()
	v := &valve{}
	v.mu.flowing = make(chan struct{})
	close(v.mu.flowing)
	v.endpoint = tcpProxy(t, endpoint, passOn, v.copy)
	t.Cleanup(v.open) // before the proxy's end, which waits for what is held back
	return v
}

// passOn copies until either side ends.
func passOn(to, from net.Conn) { io.Copy(to, from) }

// tcpProxy stands in front of a store until the test's end: up copies what is sent to the store, down its answers.
func tcpProxy(t *testing.T, endpoint string, up, down func(to, from net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "http://"))
			if err != nil {
				client.Close()
				continue
			}
			serving.Go(func() {
				defer server.Close()
				up(server, client)
			})
			serving.Go(func() {
				defer client.Close()
				down(client, server)
			})
		}
	})
	return "http://" + l.Addr().String()
}

func (v *valve) copy(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		v.mu.Lock()
		flowing := v.mu.flowing
		v.mu.Unlock()
		<-flowing
		if _, werr := to.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

func (v *valve) shut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.flowing = make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.mu.flowing:
	default:
		close(v.mu.flowing)
	}
}
