package s3client

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
)

// Get reads an object or a range of it.
//
// A body that breaks off or stands still is taken over by a new request for the rest, pinned to the ETag it began with
// (body.go). The call's time, Config.Timeout, is for all of them together.
func (c *Client) Get(ctx context.Context, req GetRequest) (io.ReadCloser, Object, error) {
	o := op{name: "GET Object", bucket: req.Bucket, key: req.Key, object: true, pinned: req.ETag != ""}
	if req.Offset < 0 || req.Length < 0 || req.Length == 0 && req.Offset != 0 {
		return nil, Object{}, failed(o, Invalid, "InvalidArgument", "range of %d bytes at %d", req.Length, req.Offset)
	}
	b := &body{c: c, ctx: ctx, op: o, off: req.Offset, patience: c.timeout}
	b.op.left, b.op.stall = &b.patience, c.bodies
	s, err := c.open(ctx, b.op, req)
	if err != nil {
		return nil, Object{}, err
	}
	b.etag, b.size, b.left = s.obj.ETag, s.obj.Size, s.length
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
		if last+1 != min(req.Offset+req.Length, total) {
			// Whoever reads it would take its end for the object's.
			return obj, 0, unknownAnswer(o, a, "range %q, shorter than %s", a.header.Get("Content-Range"),
				rangeOf(req.Offset, req.Length))
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
		if err != nil || n < 0 || n > mostBytes {
			return 0, 0, 0, false
		}
		*f.n = n
	}
	return first, last, total, first <= last && last < total
}
