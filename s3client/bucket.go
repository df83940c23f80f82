package s3client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sort"
	"time"

	"github.com/minio/minio-go/v7"
)

// Buckets lists the account's buckets by name.
func (c *Client) Buckets(ctx context.Context) ([]Bucket, error) {
	var buckets []Bucket
	o := op{name: "GET Service"}
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		doc, err := c.signed(ctx, a, signedRequest{method: http.MethodGet}, "ListAllMyBucketsResult")
		if err != nil {
			return err
		}
		buckets = nil
		var b Bucket
		_, err = walkXML(doc, func(path [][]byte, text []byte) {
			switch {
			case at(path, "Buckets", "Bucket", "Name"):
				b.Name = string(text)
			case at(path, "Buckets", "Bucket", "CreationDate"):
				b.Created = parseTime(text)
			case at(path, "Buckets", "Bucket"):
				buckets = append(buckets, b)
				b = Bucket{}
			}
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(buckets, func(i, j int) bool { return buckets[i].Name < buckets[j].Name })
	return buckets, nil
}

// CreateBucket creates a bucket in the client's region.
func (c *Client) CreateBucket(ctx context.Context, bucket string) error {
	o := op{name: "PUT Bucket", bucket: bucket, write: true, conflict: Exists,
		settle: func(_ context.Context, e *Error, unsure bool) bool {
			// "It is yours already", after an attempt without an answer: that attempt made it.
			return unsure && e.Code == "BucketAlreadyOwnedByYou"
		}}
	return c.do(ctx, o, func(ctx context.Context, _ *attempt) error {
		return c.core.MakeBucket(ctx, bucket, minio.MakeBucketOptions{Region: c.profile.Region})
	})
}

// HeadBucket asks whether a bucket can be used. A HEAD's error has no words; for a refusal they are fetched.
func (c *Client) HeadBucket(ctx context.Context, bucket string) error {
	o := op{name: "HEAD Bucket", bucket: bucket}
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		found, err := c.core.BucketExists(ctx, bucket)
		if err == nil && !found {
			return errStatus // 404; the attempt knows
		}
		return err
	})
	switch KindOf(err) {
	case NotFound:
		return &Error{Op: o.name, Bucket: bucket, Kind: NotFound, Status: http.StatusNotFound, Code: "NoSuchBucket"}
	case Invalid, Denied:
		if e := err.(*Error); e.Status == 0 || e.Code != "" {
			return err // refused before it was sent, or clear already
		}
		if _, cause := c.locate(ctx, bucket, ""); cause != nil && KindOf(cause) != Canceled {
			return cause
		}
	}
	return err
}

// DeleteBucket deletes an empty bucket.
func (c *Client) DeleteBucket(ctx context.Context, bucket string) error {
	o := op{name: "DELETE Bucket", bucket: bucket, write: true, conflict: NotEmpty,
		settle: func(_ context.Context, e *Error, unsure bool) bool { return unsure && e.Code == "NoSuchBucket" }}
	return c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		return gone(a, c.core.RemoveBucket(ctx, bucket))
	})
}

// gone takes a 200 for the 204 that minio-go insists on.
func gone(a *attempt, err error) error {
	if err != nil && a.status == http.StatusOK && a.readErr() == nil {
		return nil
	}
	return err
}

// BucketLocation is the bucket's region as the store spells it. Who asks for it may not know it: a store that refuses the
// signature for another region names the right one, and is asked again.
func (c *Client) BucketLocation(ctx context.Context, bucket string) (string, error) {
	location, err := c.locate(ctx, bucket, "")
	var e *Error
	if errors.As(err, &e) && e.Code == "AuthorizationHeaderMalformed" && e.Region != "" && e.Region != c.profile.Region {
		return c.locate(ctx, bucket, e.Region)
	}
	return location, err
}

// locate is BucketLocation for a signature of one region, "" for the usual one.
func (c *Client) locate(ctx context.Context, bucket, region string) (string, error) {
	location := ""
	o := op{name: "GET Bucket Location", bucket: bucket}
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		doc, err := c.signed(ctx, a, signedRequest{method: http.MethodGet, bucket: bucket, region: region,
			query: url.Values{"location": {""}}}, "LocationConstraint")
		if err != nil {
			return err
		}
		_, err = walkXML(doc, func(path [][]byte, text []byte) {
			if len(path) == 1 {
				location = string(text)
			}
		})
		return err
	})
	return location, err
}

// BucketACL reads the bucket's grants.
func (c *Client) BucketACL(ctx context.Context, bucket string) (ACL, error) {
	var acl ACL
	o := op{name: "GET Bucket ACL", bucket: bucket}
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		doc, err := c.signed(ctx, a, signedRequest{method: http.MethodGet, bucket: bucket,
			query: url.Values{"acl": {""}}}, "AccessControlPolicy")
		if err == nil {
			acl, err = parseACL(doc)
		}
		return err
	})
	return acl, err
}

func parseACL(doc []byte) (ACL, error) {
	var acl ACL
	var g Grant
	_, err := walkXML(doc, func(path [][]byte, text []byte) {
		const list, grant, grantee = "AccessControlList", "Grant", "Grantee"
		switch {
		case at(path, "Owner", "ID"):
			acl.Owner = string(text)
		case at(path, list, grant, grantee, "ID"), at(path, list, grant, grantee, "URI"),
			at(path, list, grant, grantee, "EmailAddress") && g.Grantee == "":
			g.Grantee = string(text)
		case at(path, list, grant, "Permission"):
			g.Permission = string(text)
		case at(path, list, grant):
			acl.Grants = append(acl.Grants, g)
			g = Grant{}
		}
	})
	return acl, err
}

// SetBucketACL sets a canned ACL.
func (c *Client) SetBucketACL(ctx context.Context, bucket, canned string) error {
	// Swift without ACLs of its own says 500 to public-read-write, each time.
	o := op{name: "PUT Bucket ACL", bucket: bucket, write: true, once: canned == ACLPublicReadWrite}
	switch canned {
	case ACLPrivate, ACLPublicRead, ACLPublicReadWrite, ACLAuthenticatedRead:
	default:
		return failed(o, Invalid, "InvalidArgument",
			"unknown ACL %q: one of private, public-read, public-read-write, authenticated-read", canned)
	}
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		_, err := c.signed(ctx, a, signedRequest{method: http.MethodPut, bucket: bucket, query: url.Values{"acl": {""}},
			header: http.Header{"X-Amz-Acl": {canned}}}, "")
		return err
	})
	var e *Error
	if o.once && errors.As(err, &e) && e.Status == http.StatusInternalServerError {
		e.Kind = Unsupported
	}
	return err
}

// parseTime reads a listing's time; zero when it is none.
func parseTime(text []byte) time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
