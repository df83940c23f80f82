package s3client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
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

	sent   bool
	status int
	header http.Header
	answer *answerError
	err    error // the transport's
	start  time.Time

	mu struct {
		sync.Mutex
		source, read error     // of the request's and the answer's body
		moved        time.Time // the last time bytes of a body moved
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
		return id
	}
	return at.header.Get("X-Trans-Id")
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
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.mu.moved.IsZero() {
		return 0
	}
	return at.mu.moved.Sub(at.start)
}

func (at *attempt) note(n int, source, read error) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if n > 0 {
		at.mu.moved = time.Now()
	}
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
	userAgent string
	stall     time.Duration
	closeHEAD func(*http.Request) bool // HEADs that need a connection of their own
}

// maxErrorBody bounds an error document.
const maxErrorBody = 1 << 20

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	at, _ := req.Context().Value(attemptKey{}).(*attempt)
	if at == nil {
		at = &attempt{wait: readWait, stall: w.stall, start: time.Now()}
	}
	at.sent = true
	ctx, cancel := context.WithCancelCause(req.Context())
	out := req.Clone(ctx)
	if w.userAgent != "" {
		out.Header.Set("User-Agent", w.userAgent)
	}
	if out.Method == http.MethodHead && w.closeHEAD != nil && w.closeHEAD(out) {
		out.Close = true
	}
	dog := newWatchdog(at.wait, func() { cancel(errNoAnswer) })
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = &sendBody{rc: req.Body, dog: dog, at: at, out: &w.count.bytesOut}
	}
	w.count.request(out)
	resp, err := w.base.RoundTrip(out)
	dog.stop()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errNoAnswer) {
			err = cause
		}
		cancel(nil)
		at.err = err
		return nil, err
	}
	at.status, at.header = resp.StatusCode, resp.Header
	resp.Header = plainHeader(resp.Header)
	resp.Request = req
	body := &recvBody{rc: resp.Body, ctx: ctx, cancel: cancel, at: at, in: &w.count.bytesIn, left: maxAnswer}
	if req.Method == http.MethodGet {
		body.left = math.MaxInt64 // an object, or a document that signed.go bounds
	}
	body.timer = time.AfterFunc(time.Hour, func() { cancel(errStalled) })
	body.timer.Stop()
	resp.Body = body
	if resp.StatusCode >= 300 {
		w.readError(req.Method, resp, at)
	}
	return resp, nil
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
	plain := h.Clone()
	for _, name := range []string{"Expires", "X-Amz-Tagging", "X-Amz-Tagging-Count", "X-Amz-Restore", "X-Minio-Source-Mtime"} {
		plain.Del(name)
	}
	if _, err := http.ParseTime(h.Get("Last-Modified")); err != nil {
		plain.Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
	}
	return plain
}

// watchdog calls once when it was not fed for the given time. stop ends it for good, also against a feed that comes
// later: the transport may still be reading a request's body when the answer is there.
type watchdog struct {
	after time.Duration
	mu    struct {
		sync.Mutex
		timer   *time.Timer
		stopped bool
	}
}

func newWatchdog(after time.Duration, bark func()) *watchdog {
	d := &watchdog{after: after}
	d.mu.timer = time.AfterFunc(after, bark)
	return d
}

func (d *watchdog) feed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.stopped {
		d.mu.timer.Reset(d.after)
	}
}

func (d *watchdog) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.stopped = true
	d.mu.timer.Stop()
}

// sendBody feeds the watchdog with each piece of a request's body.
type sendBody struct {
	rc  io.ReadCloser
	dog *watchdog
	at  *attempt
	out *atomic.Int64
}

func (b *sendBody) Read(p []byte) (int, error) {
	n, err := b.rc.Read(p)
	b.dog.feed()
	b.out.Add(int64(n))
	b.at.note(n, nil, nil)
	return n, err
}

func (b *sendBody) Close() error { return b.rc.Close() }

// recvBody ends an answer's body that stands still. The time runs only while somebody reads.
type recvBody struct {
	rc     io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	at     *attempt
	in     *atomic.Int64
	left   int64 // of what is taken from it: minio-go reads what it does not need to the end
}

func (b *recvBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.at.note(0, nil, errEndless)
		return 0, errEndless
	}
	b.timer.Reset(b.at.stall)
	n, err := b.rc.Read(p)
	b.timer.Stop()
	b.in.Add(int64(n))
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		b.at.note(n, nil, err)
		return n, err
	}
	b.at.note(n, nil, nil)
	return n, err
}

func (b *recvBody) Close() error {
	err := b.rc.Close()
	b.timer.Stop()
	b.cancel(nil)
	return err
}
