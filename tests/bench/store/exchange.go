package store

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// smallBytes is up to where a body is copied and leaves in one segment with its head: one wake-up of the client.
const smallBytes = 64 << 10

// exchange is one request and its answer.
type exchange struct {
	s        *Server
	w        http.ResponseWriter
	r        *http.Request
	far      bool
	conn     *conn
	complete time.Time // when the request was
	bucket   string
	key      string
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, far bool) {
	s.handling.RLock()
	defer s.handling.RUnlock()
	x := &exchange{s: s, w: w, r: r, far: far, complete: time.Now()}
	x.conn = r.Context().Value(connKey{}).(*conn)
	k, handle := x.route()
	if far {
		s.count.begin(k)
		defer s.count.inFlight.Add(-1)
	}
	handle(x)
}

// delay waits until the answer may leave.
func (x *exchange) delay() {
	if x.far {
		time.Sleep(time.Until(x.complete.Add(x.s.link.Load().Latency)))
	}
}

// sending counts a body before it leaves: when a client has an answer, the counters have it too. Of a body that leaves
// only in part, the rest is taken back by a negative n.
func (x *exchange) sending(n int64, isData bool) {
	if !x.far {
		return
	}
	x.s.count.out.Add(n)
	if isData {
		x.s.count.data.Add(n)
	}
}

// empty answers without a body.
func (x *exchange) empty(status int) {
	x.delay()
	x.w.WriteHeader(status)
}

// xml answers with a document.
func (x *exchange) xml(status int, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.delay()
	x.w.WriteHeader(status)
	x.sending(int64(len(body)), false)
	n, _ := x.w.Write(body) // an error is a client that has gone
	x.sending(int64(n-len(body)), false)
}

// marshal answers with a value's XML.
func (x *exchange) marshal(v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		x.fail(http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	x.xml(http.StatusOK, append([]byte(xml.Header), b...))
}

type errorXML struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	Bucket  string `xml:"BucketName,omitempty"`
	Key     string `xml:",omitempty"`
}

func (x *exchange) fail(status int, code, message string) {
	if x.far && status >= 500 {
		x.s.count.failed.Add(1)
	}
	if x.r.Method == http.MethodHead {
		x.empty(status)
		return
	}
	b, err := xml.Marshal(errorXML{Code: code, Message: message, Bucket: x.bucket, Key: x.key})
	if err != nil {
		b = []byte("<Error/>")
	}
	x.xml(status, b)
}

func (x *exchange) noBucket() { x.fail(http.StatusNotFound, "NoSuchBucket", "no such bucket") }
func (x *exchange) noKey()    { x.fail(http.StatusNotFound, "NoSuchKey", "no such key") }
func (x *exchange) broken(err error) {
	x.fail(http.StatusInternalServerError, "InternalError", err.Error())
}

var small = sync.Pool{New: func() any { return new([smallBytes]byte) }}

// send answers with [off, off+n) of opened segments, which it closes.
func (x *exchange) send(status int, o *opened, n int64) {
	defer o.close()
	x.delay()
	x.sending(n, true)
	var sent int64
	var err error
	if n <= smallBytes {
		sent, err = x.sendSmall(status, o, n)
	} else {
		x.w.WriteHeader(status)
		sent, err = o.copyTo(x.w)
	}
	x.sending(sent-n, true)
	if x.far && (err != nil || sent < n) {
		x.s.count.aborted.Add(1)
	}
}

func (x *exchange) sendSmall(status int, o *opened, n int64) (int64, error) {
	buf := small.Get().(*[smallBytes]byte)
	defer small.Put(buf)
	if _, err := io.ReadFull(o.reader(), buf[:n]); err != nil {
		return 0, fmt.Errorf("reading an object: %w", err)
	}
	if err := x.conn.cork(true); err != nil {
		return 0, err
	}
	x.w.WriteHeader(status)
	sent, err := x.w.Write(buf[:n])
	if err == nil {
		err = http.NewResponseController(x.w).Flush()
	}
	if uncork := x.conn.cork(false); err == nil {
		err = uncork
	}
	return int64(sent), err
}
