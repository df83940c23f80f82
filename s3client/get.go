package s3client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
)

// Get reads an object or a range of it.
//
// A body that breaks off is resumed where it stopped, pinned to the ETag it began with: only a store that gives not one
// byte more in several tries shows as an error, of Kind Temporary.
func (c *Client) Get(ctx context.Context, req GetRequest) (io.ReadCloser, Object, error) {
	o := op{name: "GET Object", bucket: req.Bucket, key: req.Key, pinned: req.ETag != ""}
	if req.Offset < 0 || req.Length < 0 || req.Length == 0 && req.Offset != 0 {
		return nil, Object{}, failed(o, Invalid, "InvalidArgument", "range of %d bytes at %d", req.Length, req.Offset)
	}
	s, err := c.open(ctx, o, req)
	if err != nil {
		return nil, Object{}, err
	}
	b := &body{c: c, ctx: ctx, op: o, etag: s.obj.ETag, off: req.Offset, left: s.length}
	b.mu.stream = s
	return b, s.obj, nil
}

// stream is an answer that is being read and the slot it holds.
type stream struct {
	rc     io.ReadCloser
	at     *attempt
	obj    Object
	length int64 // bytes that were promised
	leave  func()
}

func (s *stream) close() {
	s.rc.Close() // of a body that is read or given up: nothing to learn from it
	s.leave()
}

// open asks for a range, with retries, until there is an answer.
func (c *Client) open(ctx context.Context, o op, req GetRequest) (*stream, error) {
	var opts minio.GetObjectOptions
	if req.Length > 0 {
		opts.Set("Range", rangeOf(req.Offset, req.Length))
	}
	if req.ETag != "" {
		opts.Set("If-Match", `"`+req.ETag+`"`)
	}
	s := &stream{}
	leave, err := c.hold(ctx, o, func(ctx context.Context, a *attempt) error {
		rc, _, _, err := c.core.GetObject(ctx, req.Bucket, req.Key, opts)
		if err != nil {
			if a.status == http.StatusRequestedRangeNotSatisfiable && req.ETag != "" {
				e := failed(o, Changed, "InvalidRange", "the object is shorter than the version asked for")
				e.Status, e.RequestID = a.status, a.requestID()
				return e
			}
			return err
		}
		if s.obj, s.length, err = promised(o, a, req); err != nil {
			rc.Close() // its bytes are not wanted
			return err
		}
		s.rc, s.at = rc, a
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.leave = leave
	return s, nil
}

// promised checks an answer's headers against the request: the version, the range, the lengths.
func promised(o op, a *attempt, req GetRequest) (obj Object, length int64, err error) {
	length = contentLength(a.header)
	size := length
	switch {
	case a.status == http.StatusPartialContent:
		first, last, total, ok := contentRange(a.header.Get("Content-Range"))
		if !ok || req.Length == 0 || first != req.Offset || last >= req.Offset+req.Length {
			return obj, 0, unknownAnswer(o, a, "range %q for %s", a.header.Get("Content-Range"), rangeOf(req.Offset, req.Length))
		}
		if length >= 0 && length != last-first+1 {
			return obj, 0, unknownAnswer(o, a, "%d bytes for the range %q", length, a.header.Get("Content-Range"))
		}
		size, length = total, last-first+1
	case req.Length > 0 && req.Offset > 0:
		return obj, 0, unknownAnswer(o, a, "the whole object instead of a range")
	case req.Length > 0:
		length = min(length, req.Length) // the store ignores ranges; the rest is not read
	}
	if obj, err = objectOf(o, a.header, size); err != nil {
		return obj, 0, err
	}
	if req.ETag != "" && obj.ETag != req.ETag {
		e := failed(o, Changed, "", "asked for version %s, got %s", req.ETag, obj.ETag)
		e.Status, e.RequestID = a.status, a.requestID()
		return obj, 0, e
	}
	return obj, length, nil
}

func unknownAnswer(o op, a *attempt, format string, args ...any) *Error {
	e := failed(o, Unknown, "UnknownAnswer", format, args...)
	e.Status, e.RequestID = a.status, a.requestID()
	return e
}

// contentRange reads "bytes FIRST-LAST/TOTAL".
func contentRange(s string) (first, last, total int64, ok bool) {
	s, found := strings.CutPrefix(s, "bytes ")
	span, all, slash := strings.Cut(s, "/")
	from, to, dash := strings.Cut(span, "-")
	if !found || !slash || !dash {
		return 0, 0, 0, false
	}
	for _, f := range []struct {
		s string
		n *int64
	}{{from, &first}, {to, &last}, {all, &total}} {
		n, err := strconv.ParseInt(f.s, 10, 64)
		if err != nil || n < 0 {
			return 0, 0, 0, false
		}
		*f.n = n
	}
	return first, last, total, first <= last && last < total
}

// mostResumes is how often in a row a body is resumed without a byte coming of it.
const mostResumes = 3

// body is what Get hands out. Read is for one goroutine; Close may come from another.
type body struct {
	c         *Client
	ctx       context.Context
	op        op
	etag      string
	off, left int64 // the next byte, and how many were promised from there
	fruitless int
	broken    error // why the stream broke off: the next Read resumes
	err       error // for good
	mu        struct {
		sync.Mutex
		stream *stream // nil when it is read or closed
		closed bool
	}
}

func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.left == 0:
		b.drop()
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if b.broken != nil {
		if b.err = b.resume(); b.err != nil {
			return 0, b.err
		}
	}
	s, err := b.current()
	if err != nil {
		b.err = err
		return 0, err
	}
	n, err := s.rc.Read(p[:min(int64(len(p)), b.left)])
	b.off, b.left = b.off+int64(n), b.left-int64(n)
	if n > 0 {
		b.fruitless = 0
	}
	if b.left == 0 {
		b.drop()
		return n, nil
	}
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		b.broken = err
		b.drop()
	}
	if n == 0 && err != nil {
		return b.Read(p) // at most mostResumes deep
	}
	return n, nil
}

func (b *body) current() (*stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed || b.mu.stream == nil {
		return nil, fmt.Errorf("read of a closed body: %w", io.ErrClosedPipe)
	}
	return b.mu.stream, nil
}

// resume asks for the rest, of the same version.
func (b *body) resume() error {
	cause := b.broken
	b.broken = nil
	if err := b.ctx.Err(); err != nil {
		return &Error{Op: b.op.name, Bucket: b.op.bucket, Key: b.op.key, Kind: Canceled, Err: err}
	}
	if b.isClosed() {
		return fmt.Errorf("read of a closed body: %w", io.ErrClosedPipe)
	}
	b.fruitless++
	if b.fruitless > mostResumes {
		return &Error{Op: b.op.name, Bucket: b.op.bucket, Key: b.op.key, Kind: Temporary,
			Err: fmt.Errorf("%d bytes missing at %d: %w", b.left, b.off, cause)}
	}
	if b.fruitless > 1 {
		if err := sleep(b.ctx, backoff(b.fruitless, fullJitter)); err != nil {
			return &Error{Op: b.op.name, Bucket: b.op.bucket, Key: b.op.key, Kind: Canceled, Err: err}
		}
	}
	b.c.count.retries.Add(1)
	b.op.pinned = true
	s, err := b.c.open(b.ctx, b.op, GetRequest{Bucket: b.op.bucket, Key: b.op.key, ETag: b.etag, Offset: b.off, Length: b.left})
	if err != nil {
		return err
	}
	if s.length != b.left {
		s.close()
		return failed(b.op, Unknown, "UnknownAnswer", "the rest of %d bytes has %d", b.left, s.length)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		s.close()
		return fmt.Errorf("read of a closed body: %w", io.ErrClosedPipe)
	}
	b.mu.stream = s
	return nil
}

func (b *body) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.closed
}

// drop gives the stream up, and its slot free.
func (b *body) drop() {
	b.mu.Lock()
	s := b.mu.stream
	b.mu.stream = nil
	b.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// Close ends the reading, also of a Read that waits.
func (b *body) Close() error {
	b.mu.Lock()
	b.mu.closed = true
	b.mu.Unlock()
	b.drop()
	return nil
}
