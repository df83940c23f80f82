package s3client

import (
	"bytes"
	"net"
	"sync/atomic"
)

// headConn keeps a failed HEAD from spoiling the next answer of its connection.
//
// Swift's proxy answers a HEAD that fails with "Transfer-Encoding: chunked" and then really sends the empty chunk
// "0\r\n\r\n", which no answer to a HEAD has. net/http has put the connection back by then: it either finds the stray
// bytes while the connection is idle, and complains on the standard log, or takes them for the next answer. There is no
// way to tell it about one answer; but an answer that says "Connection: close" is the last one, so headConn adds that
// line behind the status line of a HEAD's error. Successful HEADs keep their connection.
//
// It sees plain text: over https it is above the TLS connection. A request begins with a Write of its own, as the
// transport flushes between requests and never pipelines.
type headConn struct {
	net.Conn
	asked atomic.Bool // the last request was a HEAD whose status line is still to come
	line  []byte      // its beginning; only Read uses it
	ready []byte      // what Read has to give before it asks the connection
}

var closeLine = []byte("Connection: close\r\n")

const maxStatusLine = 4096

func (c *headConn) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("HEAD ")) {
		c.asked.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *headConn) Read(p []byte) (int, error) {
	if len(c.ready) > 0 {
		n := copy(p, c.ready)
		c.ready = c.ready[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n == 0 || !c.asked.Load() {
		return n, err
	}
	c.line = append(c.line, p[:n]...)
	end := bytes.Index(c.line, []byte("\r\n"))
	for end < 0 && err == nil && len(c.line) < maxStatusLine {
		// A status line in pieces: rare, so it is put together here.
		if n, err = c.Conn.Read(p); n > 0 {
			c.line = append(c.line, p[:n]...)
			end = bytes.Index(c.line, []byte("\r\n"))
		}
	}
	if !bytes.HasPrefix(c.line, []byte("HTTP/1.1 1")) { // an interim answer is followed by the true one
		c.asked.Store(false)
	}
	c.ready, c.line = withClose(c.line, end), nil
	n = copy(p, c.ready)
	c.ready = c.ready[n:]
	if len(c.ready) > 0 {
		err = nil // comes again with the next Read
	}
	return n, err
}

// withClose adds the line to an answer whose status line ends at end and says 400 or more.
func withClose(answer []byte, end int) []byte {
	const code = len("HTTP/1.1 ")
	if end < code+3 || answer[code] < '4' || answer[code] > '9' {
		return answer
	}
	out := make([]byte, 0, len(answer)+len(closeLine))
	out = append(out, answer[:end+2]...)
	out = append(out, closeLine...)
	return append(out, answer[end+2:]...)
}
