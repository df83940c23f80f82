package s3client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// copySpeed is what a store copies at least, in bytes a second; Swift copies through its proxy while we wait.
const copySpeed = 20 << 20

func copyTime(size int64) time.Duration {
	return time.Duration(float64(max(size, 0)) / copySpeed * float64(time.Second))
}

// Copy copies an object inside the store.
func (c *Client) Copy(ctx context.Context, req CopyRequest) (Object, error) {
	started := time.Now()
	o := op{name: "PUT Object Copy", bucket: req.Bucket, key: req.Key, write: true, patient: true,
		extra: copyTime(req.SrcSize)}
	if err := checkSize(o, max(req.SrcSize, 0), c.profile.MaxCopy); err != nil {
		return Object{}, err
	}
	header, err := c.copyHeader(o, req)
	if err != nil {
		return Object{}, err
	}
	src := copyOf{req.SrcBucket, req.SrcKey, req.SrcETag}
	obj := Object{Bucket: req.Bucket, Key: req.Key, Size: req.SrcSize}
	if req.SrcBucket == req.Bucket && req.SrcKey == req.Key && req.SrcETag != "" {
		// A copy onto itself that was carried out unseen may have changed the ETag it is pinned to.
		o.settle = func(ctx context.Context, e *Error, unsure bool) bool {
			if !unsure || e.Kind != Changed {
				return false
			}
			now, fresh := c.storedSince(ctx, o, started)
			if fresh && now.Size == req.SrcSize {
				obj.ETag, obj.Modified = now.ETag, now.Modified
				return true
			}
			return false
		}
	}
	err = c.copy(ctx, o, src, header, nil, "CopyObjectResult", func(doc []byte) (err error) {
		obj.ETag, obj.Modified, err = copyResult(doc)
		return err
	})
	if err != nil {
		return Object{}, err
	}
	return obj, nil
}

func (c *Client) copyHeader(o op, req CopyRequest) (http.Header, error) {
	header := http.Header{}
	if req.Headers == nil {
		header.Set("X-Amz-Metadata-Directive", "COPY")
		return header, nil
	}
	fields, err := c.fields(o, *req.Headers)
	if err != nil {
		return nil, err
	}
	header.Set("X-Amz-Metadata-Directive", "REPLACE")
	for name, value := range fields {
		header.Set(name, value)
	}
	return header, nil
}

// copyResult reads the answer to a copy of an object or a part. An empty ETag is a failure.
func copyResult(doc []byte) (etag string, modified time.Time, err error) {
	_, err = walkXML(doc, func(path [][]byte, text []byte) {
		switch {
		case at(path, "ETag"):
			etag = unquote(string(text))
		case at(path, "LastModified"):
			modified = parseTime(text)
		}
	})
	if err == nil {
		err = needETag(etag)
	}
	return etag, modified, err
}

// CopyPart makes a part from a range of an object.
func (c *Client) CopyPart(ctx context.Context, req CopyPartRequest) (Part, error) {
	o := op{name: "Upload Part Copy", bucket: req.Bucket, key: req.Key, write: true, patient: true, plain: true,
		extra: copyTime(req.Length)}
	if err := checkSize(o, req.Length, c.profile.MaxPart); err != nil {
		return Part{}, err
	}
	if req.Length == 0 || req.Offset < 0 {
		return Part{}, failed(o, Invalid, "InvalidArgument", "range of %d bytes at %d", req.Length, req.Offset)
	}
	header := http.Header{"X-Amz-Copy-Source-Range": {rangeOf(req.Offset, req.Length)}}
	query := url.Values{"partNumber": {strconv.Itoa(req.Number)}, "uploadId": {req.UploadID}}
	part := Part{Number: req.Number, Size: req.Length}
	src := copyOf{req.SrcBucket, req.SrcKey, req.SrcETag}
	err := c.copy(ctx, o, src, header, query, "CopyPartResult", func(doc []byte) (err error) {
		part.ETag, _, err = copyResult(doc)
		return err
	})
	if err != nil {
		return Part{}, err
	}
	return part, nil
}

// copyOf names the source of a copy and the version it is pinned to, "" for any.
type copyOf struct{ bucket, key, etag string }

// copy sends a copy of either kind and reads its answer.
//
// Swift compares x-amz-copy-source-if-match with an ETag that it keeps inside: right for plain objects, never the one it
// shows for multipart objects, so that a pinned copy of one is always refused with 412. There the version is compared by
// a HEAD and the copy pinned to the time the HEAD saw. Which stores are like that is known of two and found out of others.
func (c *Client) copy(ctx context.Context, o op, src copyOf, header http.Header, query url.Values, root string,
	read func(doc []byte) error) error {
	if err := s3utils.CheckValidBucketName(src.bucket); err != nil {
		return failed(o, Invalid, "InvalidBucketName", "source: %v", err)
	}
	if err := s3utils.CheckValidObjectName(src.key); err != nil {
		return failed(o, Invalid, "InvalidArgument", "source: %v", err)
	}
	header.Set("X-Amz-Copy-Source", s3utils.EncodePath(src.bucket+"/"+src.key))
	o.pinned = src.etag != ""
	send := func() error {
		return c.do(ctx, o, func(ctx context.Context, a *attempt) error {
			doc, err := c.signed(ctx, a, signedRequest{method: http.MethodPut, bucket: o.bucket, key: o.key, header: header,
				query: query}, root)
			if err != nil {
				return err
			}
			return read(doc)
		})
	}
	joined := strings.Contains(src.etag, "-")
	if joined && c.looseCopies.Load() {
		if err := c.pinByTime(ctx, o, src, header); err != nil {
			return err
		}
		return send()
	}
	if src.etag != "" {
		header.Set(ifMatch, `"`+src.etag+`"`)
	}
	err := send()
	if !joined || KindOf(err) != Changed {
		return err
	}
	if c.pinByTime(ctx, o, src, header) != nil {
		return err // it has changed, or nobody knows
	}
	if err = send(); err == nil {
		c.looseCopies.Store(true)
	}
	return err
}

const (
	ifMatch     = "X-Amz-Copy-Source-If-Match"
	ifUnchanged = "X-Amz-Copy-Source-If-Unmodified-Since"
)

// pinByTime pins a copy to the time at which its source was seen to be the right version.
func (c *Client) pinByTime(ctx context.Context, o op, src copyOf, header http.Header) error {
	obj, _, err := c.head(ctx, op{name: headObject, bucket: src.bucket, key: src.key, object: true, patient: o.patient})
	if err != nil {
		return err
	}
	if obj.ETag != src.etag {
		return failed(o, Changed, "PreconditionFailed", "the source is version %s, not %s", obj.ETag, src.etag)
	}
	header.Del(ifMatch)
	if !obj.Modified.IsZero() {
		header.Set(ifUnchanged, obj.Modified.UTC().Format(http.TimeFormat))
	}
	return nil
}
