package s3client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errNoAnswer = errors.New("no answer within the time-out")
	errEndless  = errors.New("the answer's body does not end")
	errStalled  = errors.New("the body stood still until the time-out")
)

// attempt is one request and what became of it. It travels in the request's context; minio-go drops most of it.
// The fields without a lock are written before the call that carries the attempt returns.
type attempt struct {
	wait  time.Duration // for the answer, from the last byte of the request
	stall time.Duration // between two bytes of the answer

	quick  bool // wait is cut short, as the store is away
	sent   bool
	reused bool // the connection had carried a request before
	status int
	header http.Header
	answer *answerError
	err    error // the transport's
	start  time.Time
	dog    watched
	trace  httptrace.ClientTrace
	moved  atomic.Int64 // the last time bytes of a body moved, as dog counts it; 0 for never

	mu struct {
		sync.Mutex
		source, read error // of the request's and the answer's body
	}
}

type attemptKey struct{}

func withAttempt(ctx context.Context, at *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, at)
}

func (at *attempt) requestID() string {
	if at.header == nil {
		return ""
	}
	if id := at.header.Get("X-Amz-Request-Id"); id != "" {
		return bounded(id, longWord)
	}
	return bounded(at.header.Get("X-Trans-Id"), longWord)
}

func (at *attempt) sourceErr() error {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.mu.source
}

func (at *attempt) readErr() error {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.mu.read
}

// progress is how much of the attempt's time was spent with a body moving.
func (at *attempt) progress() time.Duration {
	moved := at.moved.Load()
	if moved == 0 {
		return 0
	}
	return max(time.Duration(moved)-at.start.Sub(at.dog.w.born), 0)
}

// note keeps the first error of each body.
func (at *attempt) note(source, read error) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if source != nil && at.mu.source == nil {
		at.mu.source = source
	}
	if read != nil && at.mu.read == nil {
		at.mu.read = read
	}
}

// wire is the RoundTripper under minio-go and signed.go. It counts requests and bytes, gives up on answers and bodies
// that do not move, reads error documents, and records all that in the attempt.
type wire struct {
	base      http.RoundTripper
	own       *http.Transport // base, when it is ours
	count     *Counters
	userAgent []string // the header's value
	stall     time.Duration
	closeHEAD func(*http.Request) bool // HEADs that need a connection of their own
	watch     *watch
	dropped   atomic.Int64 // when idle connections were last dropped, as watch counts it
	up, down  bandwidth
}

// maxErrorBody bounds an error document.
const maxErrorBody = 1 << 20

// RoundTrip makes one attempt. The request is its caller's for this one attempt alone, both of whom are this package's:
// so its headers are not copied, and the User-Agent, which nobody signs, is set in them.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	at, _ := req.Context().Value(attemptKey{}).(*attempt)
	if at == nil {
		at = &attempt{wait: readWait, stall: w.stall, start: time.Now()}
	}
	at.sent = true
	ctx, cancel := context.WithCancelCause(req.Context())
	out := w.prepare(ctx, req, at)
	kind, began := w.count.request(out), time.Now()
	at.dog.begin(w.watch, at.wait, cancel)
	resp, err := w.base.RoundTrip(out)
	w.count.answers.note(kind, resp, began, err != nil && req.Context().Err() != nil)
	if err != nil {
		at.dog.end()
		if cause := context.Cause(ctx); errors.Is(cause, errNoAnswer) {
			err = cause
		}
		cancel(nil)
		at.err = err
		if at.reused && req.Context().Err() == nil {
			w.dropIdle(at)
		}
		return nil, err
	}
	at.dog.answered(at.stall)
	at.status, at.header = resp.StatusCode, resp.Header
	resp.Header = plainHeader(resp.Header)
	resp.Request = req
	body := &recvBody{rc: resp.Body, ctx: ctx, cancel: cancel, at: at, in: &w.count.bytesIn, left: maxAnswer, limit: &w.down}
	if req.Method == http.MethodGet {
		body.left = math.MaxInt64 // an object, or a document that signed.go bounds
	}
	resp.Body = body
	if resp.StatusCode >= 300 {
		w.readError(req.Method, resp, at)
	}
	return resp, nil
}

// prepare makes what goes to the transport.
func (w *wire) prepare(ctx context.Context, req *http.Request, at *attempt) *http.Request {
	if w.own != nil {
		at.trace.GotConn = func(i httptrace.GotConnInfo) { at.reused = i.Reused }
		ctx = httptrace.WithClientTrace(ctx, &at.trace)
	}
	out := req.WithContext(ctx)
	if len(w.userAgent) > 0 {
		out.Header["User-Agent"] = w.userAgent
	}
	if out.Method == http.MethodHead && w.closeHEAD != nil && w.closeHEAD(out) {
		out.Close = true
	}
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = &sendBody{rc: req.Body, ctx: ctx, at: at, out: &w.count.bytesOut, limit: &w.up}
	}
	return out
}

// dropIdle closes the idle connections after one that had worked failed an attempt: a router or balancer that has
// forgotten one has forgotten all, and each retry would wait in vain on the next. An attempt that began before the last
// time has nothing new to say: the connections that are idle now were made since.
func (w *wire) dropIdle(at *attempt) {
	last := w.dropped.Load()
	if w.own == nil || at.start.Sub(w.watch.born) <= time.Duration(last) {
		return
	}
	if w.dropped.CompareAndSwap(last, int64(w.watch.now())) {
		w.own.CloseIdleConnections()
	}
}

func (w *wire) closeIdle() {
	if w.own != nil {
		w.own.CloseIdleConnections()
	}
}

// readError reads the error document, so that it is understood in one place, and leaves a copy in the answer.
func (w *wire) readError(method string, resp *http.Response, at *attempt) {
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(doc))
	resp.ContentLength = int64(len(doc))
	if method == http.MethodHead || err != nil && len(doc) == 0 {
		return // only the status; a document that broke off is still an answer
	}
	at.answer = parseError(doc)
}

// plainHeader takes out what minio-go would refuse the whole answer for: an Expires of "0", a missing Last-Modified.
// This package reads the full header from the attempt.
func plainHeader(h http.Header) http.Header {
	plain := h
	for _, name := range [...]string{"Expires", "X-Amz-Tagging", "X-Amz-Tagging-Count", "X-Amz-Restore", "X-Minio-Source-Mtime"} {
		if _, ok := h[name]; ok {
			if len(plain) == len(h) {
				plain = maps.Clone(h)
			}
			delete(plain, name)
		}
	}
	if _, err := http.ParseTime(h.Get("Last-Modified")); err != nil {
		plain = maps.Clone(plain)
		plain["Last-Modified"] = []string{time.Unix(0, 0).UTC().Format(http.TimeFormat)}
	}
	return plain
}
