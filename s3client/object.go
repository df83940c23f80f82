package s3client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

const headObject = "HEAD Object"

// Head reads an object's attributes.
func (c *Client) Head(ctx context.Context, bucket, key string) (Object, error) {
	obj, _, err := c.head(ctx, op{name: headObject, bucket: bucket, key: key, object: true})
	return obj, err
}

// head is Head that also gives the answer's Date, zero when it has none.
func (c *Client) head(ctx context.Context, o op) (obj Object, date time.Time, err error) {
	err = c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		if _, err := c.core.StatObject(ctx, o.bucket, o.key, minio.StatObjectOptions{}); err != nil {
			return err
		}
		date, _ = http.ParseTime(a.header.Get("Date")) // the zero time says what has to be said
		var err error
		obj, err = objectOf(o, a.header, contentLength(a.header))
		return err
	})
	return obj, date, err
}

// source is a request's body: a section of what the caller gave, read anew by each attempt. After detach the caller's
// reader is not touched any more, whatever the transport still does.
type source struct {
	at *attempt
	mu struct {
		sync.Mutex
		section *io.SectionReader // nil after detach
	}
}

func newSource(at *attempt, r io.ReaderAt, size int64) *source {
	s := &source{at: at}
	s.mu.section = io.NewSectionReader(r, 0, size)
	return s
}

var errDetached = errors.New("the request is over")

// Read holds the lock while it reads: detach has to wait for a read that is under way.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.section == nil {
		return 0, errDetached
	}
	n, err := s.mu.section.Read(p)
	if err == io.EOF {
		if at, _ := s.mu.section.Seek(0, io.SeekCurrent); at < s.mu.section.Size() {
			err = io.ErrUnexpectedEOF // the caller's reader is shorter than it said
		}
	}
	if err != nil && err != io.EOF {
		s.at.note(err, nil)
	}
	return n, err
}

func (s *source) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.section = nil
}

// Put writes an object in one request.
func (c *Client) Put(ctx context.Context, req PutRequest) (Object, error) {
	o := op{name: "PUT Object", bucket: req.Bucket, key: req.Key, write: true, body: true, patient: true}
	if err := checkSize(o, req.Size, c.profile.MaxPut); err != nil {
		return Object{}, err
	}
	fields, err := c.fields(o, req.Headers)
	if err != nil {
		return Object{}, err
	}
	obj := Object{Bucket: req.Bucket, Key: req.Key, Size: req.Size}
	err = c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		body := newSource(a, req.Body, req.Size)
		defer body.detach()
		info, err := c.core.PutObject(ctx, req.Bucket, req.Key, body, req.Size, "", "",
			minio.PutObjectOptions{UserMetadata: fields, DisableContentSha256: true})
		if err != nil {
			return err
		}
		obj.ETag, obj.Modified = unquote(info.ETag), storedAt(a.header)
		return written(o, a, obj.ETag)
	})
	if err != nil {
		return Object{}, err
	}
	return obj, nil
}

func checkSize(o op, size, most int64) error {
	switch {
	case size < 0:
		return failed(o, Invalid, "InvalidArgument", "a negative size")
	case size > most:
		return failed(o, TooLarge, "EntityTooLarge", "%d bytes, one request takes %d", size, most)
	}
	return nil
}

// written checks the answer to a PUT. Swift, which orders writes by their time of arrival, answers one that a later write
// has overtaken with 202, and its S3 side makes that a 200 without an ETag: another's bytes are stored, not these.
func written(o op, a *attempt, etag string) error {
	if etag == "" && a.status < 300 && a.header.Get("X-Trans-Id") != "" {
		e := failed(o, Changed, "Overtaken", "a later write of the same key was stored instead")
		e.Status, e.RequestID = a.status, a.requestID()
		return e
	}
	return needETag(etag)
}

var errNoETag = errors.New("the store's answer has no ETag")

// needETag makes an answer without an ETag a failure: whoever wrote it, nothing says that the bytes are stored.
func needETag(etag string) error {
	if etag == "" {
		return errNoETag
	}
	return nil
}

// storedSince looks once whether the object was written after a moment of our clock. Both times it compares are the
// store's own: the object's and the answer's.
func (c *Client) storedSince(ctx context.Context, o op, started time.Time) (Object, bool) {
	o = op{name: headObject, bucket: o.bucket, key: o.key, once: true}
	obj, date, err := c.head(ctx, o)
	if err != nil || date.IsZero() || obj.Modified.IsZero() {
		return obj, false
	}
	return obj, !obj.Modified.Before(date.Add(-time.Since(started)).Truncate(time.Second))
}

// Delete deletes an object.
func (c *Client) Delete(ctx context.Context, bucket, key string) error {
	o := op{name: "DELETE Object", bucket: bucket, key: key, write: true,
		settle: func(_ context.Context, e *Error, _ bool) bool { return e.Code == "NoSuchKey" && e.Kind == NotFound }}
	return c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		return gone(a, c.core.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{}))
	})
}

// rangeOf is a Range header's value. minio-go's own SetRange makes "from 0 to 0" of what its callers mean as "all".
func rangeOf(off, length int64) string {
	return "bytes=" + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(off+length-1, 10)
}
