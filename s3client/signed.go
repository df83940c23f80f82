package s3client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// This file does what minio-go lacks or does in a way that an answer can be misread: bucket ACLs and locations, listings
// (with a context, url-encoded, without owners), copies whose 200 may hold an error, multi-deletes with all their errors.

// signedRequest is a request with a small body or none.
type signedRequest struct {
	method, bucket, key string
	region              string // that is signed for; "": the profile's
	query               url.Values
	header              http.Header
	body                []byte
}

// maxAnswer bounds an answer's document. A full page of 1000 keys of 1024 bytes, each byte escaped, is under 5 MiB.
const maxAnswer = 32 << 20

// errStatus stands for an answer that says no; the attempt has the details.
var errStatus = errors.New("the store answered with an error")

// hostedStyle reports whether a bucket is addressed by host name.
func (c *Client) hostedStyle(bucket string) bool {
	return c.hosted && bucket != "" && !(c.base.Scheme == "https" && strings.Contains(bucket, "."))
}

// signed sends a request once and reads the answer's document. root is the name its root element must have: an <Error>
// under a 200 is the error it is, and anything else is an unknown answer. "" takes no document.
func (c *Client) signed(ctx context.Context, at *attempt, r signedRequest, root string) ([]byte, error) {
	req, err := c.signedHTTP(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, errStatus
	}
	if len(doc) > maxAnswer {
		return nil, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	if root == "" {
		return doc, nil
	}
	got, err := walkXML(doc, func([][]byte, []byte) {})
	switch {
	case got == "Error":
		at.answer = parseError(doc)
		return nil, errStatus
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, excerpt(doc))
	case got != root:
		return nil, fmt.Errorf("a document %q instead of %q", got, root)
	}
	return doc, nil
}

func (c *Client) signedHTTP(ctx context.Context, r signedRequest) (*http.Request, error) {
	target, err := c.target(r)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if len(r.body) > 0 {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	sum := sha256.Sum256(r.body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	if len(r.body) > 0 {
		sum := md5.Sum(r.body)
		req.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	value, err := c.creds.GetWithContext(nil)
	if err != nil {
		return nil, err
	}
	if value.SignerType.IsAnonymous() {
		return req, nil
	}
	return signer.SignV4(*req, value.AccessKeyID, value.SecretAccessKey, value.SessionToken, cmp.Or(r.region, c.profile.Region)), nil
}

// target is the request's URL, of the same form as minio-go's.
func (c *Client) target(r signedRequest) (string, error) {
	u := *c.base
	if c.hostedStyle(r.bucket) {
		u.Host = r.bucket + "." + u.Host
	}
	s := u.Scheme + "://" + u.Host + "/"
	if r.bucket != "" {
		if err := s3utils.CheckValidBucketName(r.bucket); err != nil {
			return "", err
		}
		if !c.hostedStyle(r.bucket) {
			s += r.bucket + "/"
		}
	}
	if r.key != "" {
		if err := s3utils.CheckValidObjectName(r.key); err != nil {
			return "", err
		}
		s += s3utils.EncodePath(r.key)
	}
	if len(r.query) > 0 {
		s += "?" + s3utils.QueryEncode(r.query)
	}
	return s, nil
}

// unquote takes the quotes off an ETag.
func unquote(etag string) string { return strings.Trim(strings.TrimSpace(etag), `"`) }
