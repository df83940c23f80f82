package s3client

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// FuzzObjectHeaders: what HEAD and GET make of headers. What is taken has a length and an ETag, and can be sent again or is refused
// before it is sent.
func FuzzObjectHeaders(f *testing.F) {
	f.Add("5", `"e"`, "x-amz-meta-mode", "33188", "Tue, 02 Jan 2024 03:04:05 GMT")
	f.Add("-1", "e", "X-Amz-Meta-", "\x1b[2J", "")
	f.Add("9223372036854775807", `""`, "x-amz-meta-a b", "v\r\nx: y", "x")
	f.Add("99999999999999999999", `W/"e"`, "Content-Encoding", "gzip", "0")
	c := &Client{}
	c.profile, _ = limitsOf("generic")
	f.Fuzz(func(t *testing.T, length, etag, name, value, modified string) {
		h := http.Header{"Content-Length": {length}, "Etag": {etag}, "Last-Modified": {modified}}
		h.Add(name, value)
		o, err := objectOf(op{bucket: "b", key: "k"}, h, contentLength(h))
		if err != nil {
			return
		}
		if o.Size < 0 || o.Size > mostBytes || o.ETag == "" || o.Headers == nil {
			t.Errorf("%+v", o)
		}
		fields, err := c.fields(op{}, *o.Headers)
		if err != nil {
			return
		}
		for n, v := range fields {
			if !token(n) || !printable(v) {
				t.Errorf("%q: %q would be sent", n, v)
			}
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-4/5", "bytes 5-4/5", "bytes -1-4/5", "bytes 0-9223372036854775807/9223372036854775807", "bytes 0-4/*", "bytes */5", "", "bytes 0-4/4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, ok := contentRange(s)
		if ok && (first < 0 || last < first || total <= last || total > mostBytes) {
			t.Errorf("%q is %d-%d/%d", s, first, last, total)
		}
	})
}

// answerConn gives an answer in pieces.
type answerConn struct {
	net.Conn
	rest  []byte
	piece int
}

func (c *answerConn) Write(p []byte) (int, error) { return len(p), nil }

func (c *answerConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// FuzzHeadAnswer: the guard of HEADs passes on what comes, and adds its one line or nothing.
func FuzzHeadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"), 7)
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 x\r\n\r\n"), 1)
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), 100)
	f.Add([]byte(strings.Repeat("x", maxStatusLine+10)), 1000)
	f.Add([]byte("\r\n"), 1)
	f.Fuzz(func(t *testing.T, answer []byte, piece int) {
		c := &headConn{Conn: &answerConn{rest: answer, piece: max(piece%4096, 1)}}
		if _, err := c.Write([]byte("HEAD /b/k HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if without := bytes.Replace(got, closeLine, nil, 1); !bytes.Equal(got, answer) && !bytes.Equal(without, answer) {
			t.Errorf("%q became %q", answer, got)
		}
	})
}
