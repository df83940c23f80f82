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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{endpoint: "http://" + l.Addr().String()}
	v.mu.flowing = make(chan struct{})
	close(v.mu.flowing)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		v.open()
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
				io.Copy(server, client) // ends with either side
				server.Close()
			})
			serving.Go(func() {
				defer client.Close()
				v.copy(client, server)
			})
		}
	})
	return v
}

func (v *valve) copy(to io.Writer, from io.Reader) {
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
