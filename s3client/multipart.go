package s3client

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// CreateUpload initiates a multipart upload.
func (c *Client) CreateUpload(ctx context.Context, bucket, key string, h Headers) (string, error) {
	o := op{name: "Initiate Multipart Upload", bucket: bucket, key: key, write: true, patient: true}
	fields, err := c.fields(o, h)
	if err != nil {
		return "", err
	}
	id := ""
	err = c.do(ctx, o, func(ctx context.Context, _ *attempt) error {
		var err error
		id, err = c.core.NewMultipartUpload(ctx, bucket, key, minio.PutObjectOptions{UserMetadata: fields})
		if err == nil && id == "" {
			return errors.New("the store's answer has no upload id")
		}
		return err
	})
	return id, err
}

// UploadPart sends one part.
func (c *Client) UploadPart(ctx context.Context, req PartRequest) (Part, error) {
	o := op{name: "Upload Part", bucket: req.Bucket, key: req.Key, write: true, body: true, patient: true, plain: true}
	if err := checkSize(o, req.Size, c.profile.MaxPart); err != nil {
		return Part{}, err
	}
	part := Part{Number: req.Number, Size: req.Size}
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		body := newSource(a, req.Body, req.Size)
		defer body.detach()
		got, err := c.core.PutObjectPart(ctx, req.Bucket, req.Key, req.UploadID, req.Number, body, req.Size,
			minio.PutObjectPartOptions{DisableContentSha256: true})
		if err != nil {
			return err
		}
		part.ETag = unquote(got.ETag)
		return written(o, a, part.ETag)
	})
	if err != nil {
		return Part{}, err
	}
	return part, nil
}

// joinTime is how much longer a store may take to join parts: Swift reads a manifest line for each.
func joinTime(parts int) time.Duration { return time.Duration(parts) * 100 * time.Millisecond }

// CompleteUpload joins the parts.
//
// An attempt that ends without a clear answer may have done it: then the object is looked at before anything else is
// tried or reported.
func (c *Client) CompleteUpload(ctx context.Context, req CompleteRequest) (Object, error) {
	started := time.Now()
	o := op{name: "Complete Multipart Upload", bucket: req.Bucket, key: req.Key, write: true, patient: true,
		extra: joinTime(len(req.Parts))}
	obj := Object{Bucket: req.Bucket, Key: req.Key, Size: req.Size}
	o.settle = func(ctx context.Context, e *Error, unsure bool) bool {
		if !unsure || e.Kind == Denied || e.Kind == Throttled {
			return false
		}
		done, ok := c.completed(ctx, o, req, started, e.Kind == NotFound)
		if ok {
			obj.ETag, obj.Modified = done.ETag, done.Modified
		}
		return ok
	}
	var opts minio.PutObjectOptions
	if req.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
	parts := make([]minio.CompletePart, len(req.Parts))
	for i, p := range req.Parts {
		parts[i] = minio.CompletePart{PartNumber: p.Number, ETag: p.ETag}
	}
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		info, err := c.core.CompleteMultipartUpload(ctx, req.Bucket, req.Key, req.UploadID, parts, opts)
		if err != nil {
			if req.IfAbsent && a.status == http.StatusPreconditionFailed {
				e := failed(o, Exists, "PreconditionFailed", "the key exists")
				e.Status, e.RequestID = a.status, a.requestID()
				return e
			}
			return err
		}
		obj.ETag, obj.Modified = unquote(info.ETag), storedAt(a.header)
		return needETag(obj.ETag)
	})
	if err != nil {
		return Object{}, err
	}
	return obj, nil
}

// completed looks whether the object in the store is this upload's. Its ETag tells, where the store makes it from the
// parts' as nearly all do. Size and shape alone would also fit the version that this upload replaces; they count only
// when the upload is gone and the object was written after the call began.
func (c *Client) completed(ctx context.Context, o op, req CompleteRequest, started time.Time, uploadGone bool) (Object, bool) {
	obj, fresh := c.storedSince(ctx, o, started)
	if obj.ETag == "" || obj.Size != req.Size {
		return Object{}, false
	}
	if want, ok := joinedETag(req.Parts); ok && obj.ETag == want {
		return obj, true
	}
	return obj, uploadGone && fresh && strings.HasSuffix(obj.ETag, fmt.Sprintf("-%d", len(req.Parts)))
}

// joinedETag is the ETag of a multipart object: the MD5 of its parts' MD5s, and their number.
func joinedETag(parts []Part) (string, bool) {
	sum := md5.New()
	for _, p := range parts {
		raw, err := hex.DecodeString(p.ETag)
		if err != nil || len(raw) != md5.Size {
			return "", false
		}
		sum.Write(raw)
	}
	return fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts)), len(parts) > 0
}

// AbortUpload forgets an upload.
func (c *Client) AbortUpload(ctx context.Context, bucket, key, uploadID string) error {
	o := op{name: "Abort Multipart Upload", bucket: bucket, key: key, write: true,
		settle: func(_ context.Context, e *Error, unsure bool) bool { return unsure && e.Kind == NotFound }}
	return c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		return gone(a, c.core.AbortMultipartUpload(ctx, bucket, key, uploadID))
	})
}

const (
	// mostParts is how many parts an upload has at most, at the largest store.
	mostParts = 10000
	// mostUploads bounds a list of uploads, which a store could go on with for ever.
	mostUploads = 1 << 20
)

// Parts lists an upload's parts.
func (c *Client) Parts(ctx context.Context, bucket, key, uploadID string) ([]Part, error) {
	o := op{name: "List Parts", bucket: bucket, key: key}
	query := url.Values{"uploadId": {uploadID}, "encoding-type": {"url"}}
	var parts []Part
	last := 0
	for {
		page, next, err := c.partsPage(ctx, o, query)
		if err != nil {
			return nil, err
		}
		parts = append(parts, page...)
		if next == 0 {
			return parts, nil
		}
		if next <= last || len(parts) > mostParts {
			return nil, failed(o, Unknown, "UnknownAnswer", "the list of parts does not go on after part %d, or does not end", next)
		}
		last = next
		query.Set("part-number-marker", strconv.Itoa(next))
	}
}

// partsPage also gives the number behind which the next page begins, 0 at the end.
func (c *Client) partsPage(ctx context.Context, o op, query url.Values) (parts []Part, next int, err error) {
	err = c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		doc, err := c.signed(ctx, a, signedRequest{method: http.MethodGet, bucket: o.bucket, key: o.key, query: query},
			"ListPartsResult")
		if err == nil {
			parts, next, err = parseParts(doc)
		}
		return err
	})
	return parts, next, err
}

func parseParts(doc []byte) (parts []Part, next int, err error) {
	var p Part
	truncated, bad := false, false
	_, err = walkXML(doc, func(path [][]byte, text []byte) {
		var err error
		switch {
		case at(path, "Part", "PartNumber"):
			p.Number, err = strconv.Atoi(string(text))
		case at(path, "Part", "ETag"):
			p.ETag = unquote(string(text))
		case at(path, "Part", "Size"):
			p.Size, err = strconv.ParseInt(string(text), 10, 64)
		case at(path, "Part"):
			bad = bad || p.Number < 1 || p.Size < 0 || p.Size > mostBytes
			parts = append(parts, p)
			p = Part{}
		case at(path, "IsTruncated"):
			truncated = string(text) == "true"
		}
		bad = bad || err != nil
	})
	if err == nil && bad {
		err = errors.New("a part without a number or a size in the list")
	}
	if truncated && len(parts) > 0 {
		next = parts[len(parts)-1].Number
	}
	return parts, next, err
}

// Uploads lists the bucket's unfinished uploads.
//
// MinIO takes a prefix for a whole key. An answer that shows nothing but the prefix itself may come from there, so the
// bucket's list is looked through as well. It does not replace the first answer: the bucket's list has only uploads
// begun since MinIO started, the key's has all.
func (c *Client) Uploads(ctx context.Context, bucket, prefix string) ([]Upload, error) {
	o := op{name: "List Multipart Uploads", bucket: bucket, key: prefix}
	uploads, err := c.listUploads(ctx, o, prefix)
	if err != nil || prefix == "" || slices.ContainsFunc(uploads, func(u Upload) bool { return u.Key != prefix }) {
		return uploads, err
	}
	all, err := c.listUploads(ctx, o, "")
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		if strings.HasPrefix(u.Key, prefix) && !slices.ContainsFunc(uploads, func(have Upload) bool { return have.ID == u.ID }) {
			uploads = append(uploads, u)
		}
	}
	return uploads, nil
}

// listUploads reads all pages of a list. Without a delimiter: Swift takes an empty one for a real one and then shows no
// upload at all.
func (c *Client) listUploads(ctx context.Context, o op, prefix string) ([]Upload, error) {
	query := url.Values{"uploads": {""}, "prefix": {prefix}, "encoding-type": {"url"}}
	var uploads []Upload
	for {
		page, truncated, err := c.uploadsPage(ctx, o, query)
		if err != nil {
			return nil, err
		}
		for _, u := range page {
			if !strings.HasPrefix(u.Key, prefix) { // who is to abort those of a prefix must not abort others
				return nil, failed(o, Unknown, "UnknownAnswer", "the list of uploads of %q shows %q", prefix, u.Key)
			}
		}
		uploads = append(uploads, page...)
		if !truncated {
			return uploads, nil
		}
		// The markers of the answer are empty on some stores; the last upload always says where the page ended.
		if len(page) == 0 {
			return nil, failed(o, Unknown, "UnknownAnswer", "the list of uploads says there is more, but not where")
		}
		last := page[len(page)-1]
		if last.Key < query.Get("key-marker") || last.Key == query.Get("key-marker") && last.ID == query.Get("upload-id-marker") {
			return nil, failed(o, Unknown, "UnknownAnswer", "the list of uploads does not go on after %q", last.Key)
		}
		if len(uploads) > mostUploads {
			return nil, failed(o, Unknown, "UnknownAnswer", "more than %d unfinished uploads: ask for those below a prefix", mostUploads)
		}
		query.Set("key-marker", last.Key)
		query.Set("upload-id-marker", last.ID)
	}
}

func (c *Client) uploadsPage(ctx context.Context, o op, query url.Values) (uploads []Upload, truncated bool, err error) {
	err = c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		doc, err := c.signed(ctx, a, signedRequest{method: http.MethodGet, bucket: o.bucket, query: query},
			"ListMultipartUploadsResult")
		if err == nil {
			uploads, truncated, err = parseUploads(doc)
		}
		return err
	})
	return uploads, truncated, err
}

func parseUploads(doc []byte) (uploads []Upload, truncated bool, err error) {
	var u Upload
	encoded := false
	_, err = walkXML(doc, func(path [][]byte, text []byte) {
		switch {
		case at(path, "Upload", "Key"):
			u.Key = string(text)
		case at(path, "Upload", "UploadId"):
			u.ID = string(text)
		case at(path, "Upload", "Initiated"):
			u.Initiated = parseTime(text)
		case at(path, "Upload"):
			uploads = append(uploads, u)
			u = Upload{}
		case at(path, "IsTruncated"):
			truncated = string(text) == "true"
		case at(path, "EncodingType"):
			encoded = string(text) == "url"
		}
	})
	for i := range uploads {
		if !encoded || err != nil {
			break
		}
		uploads[i].Key, err = unescapeKey(uploads[i].Key)
	}
	return uploads, truncated, err
}
