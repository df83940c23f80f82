package s3client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// usefulBytes is what a stream must have given for the next one not to count as another try of the same.
const usefulBytes = 64 << 10

// body is what Get hands out: the promised bytes of one version, whole, or an error.
//
//	streaming -> broken (cut off, or still for too long) -> the rest asked for -> streaming | failed
//	streaming -> read to its end | closed
//
// All requests of a body share its patience: the time in which it stood still, paused or waited for an answer. Read is for
// one goroutine; Close may come from another.
type body struct {
	c         *Client
	ctx       context.Context
	op        op
	etag      string
	size      int64 // of the whole object
	off, left int64 // the next byte, and how many were promised from there
	patience  time.Duration
	given     int64  // bytes of the present stream
	fruitless int    // streams in a row that gave next to nothing
	broken    error  // why the stream broke off: the next Read resumes
	request   string // the store's id of the request whose stream broke off
	err       error  // for good
	mu        struct {
		sync.Mutex
		stream *stream            // nil when it is read or closed
		cancel context.CancelFunc // ends a resume that is under way
		closed bool
	}
}

var errBodyClosed = fmt.Errorf("read of a closed body: %w", io.ErrClosedPipe)

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 && b.left > 0 {
		return 0, b.err
	}
	for b.err == nil && b.left > 0 {
		if b.broken != nil {
			if b.err = b.resume(); b.err != nil {
				break
			}
		}
		s := b.current()
		if s == nil {
			b.err = errBodyClosed
			break
		}
		n, err := s.rc.Read(p[:min(int64(len(p)), b.left)])
		b.off, b.left, b.given = b.off+int64(n), b.left-int64(n), b.given+int64(n)
		if b.left == 0 {
			b.drop()
			return n, nil
		}
		if err != nil {
			b.breakOff(s, err)
		}
		if n > 0 {
			return n, nil
		}
	}
	if b.err != nil {
		return 0, b.err
	}
	b.drop()
	return 0, io.EOF
}

// breakOff gives the stream up. What stands still without a word may do so on all connections that are as old.
func (b *body) breakOff(s *stream, err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.broken, b.request = err, s.at.requestID()
	if errors.Is(err, errStalled) {
		b.patience -= b.op.stall
		b.c.wire.dropIdle(s.at)
	}
	if b.given >= usefulBytes {
		b.fruitless, b.op.stall = 0, b.c.bodies
	}
	b.drop()
}

// current is the stream that is read, nil when the body is closed.
func (b *body) current() *stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return nil
	}
	return b.mu.stream
}

// resume asks for the rest, of the same version.
func (b *body) resume() error {
	cause := b.broken
	b.broken = nil
	ctx, err := b.again()
	if err != nil {
		return err
	}
	defer b.resumed()
	if b.fruitless++; b.fruitless > 1 {
		d := backoff(b.fruitless-1, fullJitter)
		if b.patience -= d; b.patience > 0 {
			if err := sleep(ctx, d); err != nil {
				return b.canceled(err)
			}
		}
		if errors.Is(cause, errStalled) {
			b.op.stall = min(2*b.op.stall, max(b.c.stall, b.c.bodies))
		}
	}
	if b.patience <= 0 {
		return &Error{Op: b.op.name, Bucket: b.op.bucket, Key: b.op.key, Kind: Temporary, RequestID: b.request,
			Err: fmt.Errorf("%d bytes missing at %d: %w", b.left, b.off, cause)}
	}
	b.op.stall = min(b.op.stall, max(b.patience, time.Second))
	b.c.count.retries.Add(1)
	b.op.pinned, b.op.patient = true, true
	s, err := b.c.open(ctx, b.op, GetRequest{Bucket: b.op.bucket, Key: b.op.key, ETag: b.etag, Offset: b.off, Length: b.left})
	if err != nil {
		return b.canceled(err)
	}
	if s.length != b.left || s.obj.Size != b.size {
		s.close()
		return failed(b.op, Unknown, "UnknownAnswer", "the rest of %d bytes, of %d, has %d of %d", b.left, b.size, s.length, s.obj.Size)
	}
	return b.use(s)
}

// again makes the context of a resume. It lasts as long as the stream that comes of it.
func (b *body) again() (context.Context, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, b.canceled(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return nil, errBodyClosed
	}
	ctx, cancel := context.WithCancel(b.ctx)
	b.mu.cancel = cancel
	return ctx, nil
}

// resumed ends the context of a resume that brought no stream.
func (b *body) resumed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.stream == nil && b.mu.cancel != nil {
		b.mu.cancel()
		b.mu.cancel = nil
	}
}

// use makes s the stream that is read.
func (b *body) use(s *stream) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		s.close()
		return errBodyClosed
	}
	b.given, b.mu.stream = 0, s
	return nil
}

// canceled is the error of a wait that did not come to its end: of Close, of the caller's context, or its own.
func (b *body) canceled(err error) error {
	b.mu.Lock()
	closed := b.mu.closed
	b.mu.Unlock()
	switch {
	case closed:
		return errBodyClosed
	case b.ctx.Err() != nil:
		return &Error{Op: b.op.name, Bucket: b.op.bucket, Key: b.op.key, Kind: Canceled, Err: b.ctx.Err()}
	}
	return err
}

// drop gives the stream up, and its slot free.
func (b *body) drop() {
	b.mu.Lock()
	s, cancel := b.mu.stream, b.mu.cancel
	b.mu.stream, b.mu.cancel = nil, nil
	b.mu.Unlock()
	if s != nil {
		s.close()
	}
	if cancel != nil {
		cancel()
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
