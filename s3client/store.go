package s3client

import (
	"context"
	"io"
	"time"
)

// Store is one account of an S3-compatible object storage: every call that the service documents, and no other.
//
// Implementations are safe for concurrent use. Every error is an *Error (errors.go) or the context's own error wrapped
// in one; a 5xx, a time-out or a refusal is never reported as NotFound. Calls are retried inside where that is safe
// (retry.go), so a caller never retries; a refusal behind an attempt without an answer is Temporary (InDoubt). ETags are handed out and taken without quotes.
//
// There are three kinds: *Client (minio.go, the network), *s3mem.Store (a fake for tests) and decorators around either
// (s3fault.Store). One suite, s3test, holds them to the same behaviour.
type Store interface {
	// Buckets lists the account's buckets in name order (GET Service).
	Buckets(ctx context.Context) ([]Bucket, error)
	// CreateBucket creates a bucket. Exists when it is there already, whoever owns it; Invalid for a bad name.
	CreateBucket(ctx context.Context, bucket string) error
	// HeadBucket asks whether a bucket can be used with these credentials. Nil means yes.
	HeadBucket(ctx context.Context, bucket string) error
	// DeleteBucket deletes an empty bucket; NotEmpty when it is not.
	DeleteBucket(ctx context.Context, bucket string) error
	// BucketLocation is the bucket's region as the store spells it ("" means the store's default).
	BucketLocation(ctx context.Context, bucket string) (string, error)
	// BucketACL reads the bucket's grants.
	BucketACL(ctx context.Context, bucket string) (ACL, error)
	// SetBucketACL sets one of the canned ACLs: private, public-read, public-read-write, authenticated-read.
	SetBucketACL(ctx context.Context, bucket, canned string) error

	// List reads one page of a listing, List Objects v2 or v1 as the profile says, always url-encoded on the wire.
	List(ctx context.Context, req ListRequest) (ListPage, error)
	// Head reads an object's attributes, Headers included.
	Head(ctx context.Context, bucket, key string) (Object, error)
	// Get reads an object or a range of it. The caller reads the body to its end or closes it early; a body that ends
	// before its promised length gives io.ErrUnexpectedEOF. Object.Size is the whole object's size.
	Get(ctx context.Context, req GetRequest) (io.ReadCloser, Object, error)
	// Put writes an object in one request, at most Profile().MaxPut bytes.
	Put(ctx context.Context, req PutRequest) (Object, error)
	// Copy copies an object inside the store in one request, at most Profile().MaxCopy bytes. The answer's ETag is
	// never empty: an error in a 200's body is returned as the error it is.
	Copy(ctx context.Context, req CopyRequest) (Object, error)
	// Delete deletes an object; deleting what is not there is a success.
	Delete(ctx context.Context, bucket, key string) error
	// DeleteMany deletes up to any number of objects with as few requests as the store allows
	// (Profile().MaxDelete keys each). It returns the keys that could not be deleted, each with its error; the error
	// result is for the whole call.
	DeleteMany(ctx context.Context, bucket string, keys []string) ([]KeyError, error)

	// CreateUpload initiates a multipart upload and returns its id. Headers are the finished object's.
	CreateUpload(ctx context.Context, bucket, key string, h Headers) (uploadID string, err error)
	// UploadPart sends one part; sending the same number again replaces it.
	UploadPart(ctx context.Context, req PartRequest) (Part, error)
	// CopyPart makes a part from a range of an existing object (UploadPartCopy). The answer's ETag is never empty.
	CopyPart(ctx context.Context, req CopyPartRequest) (Part, error)
	// CompleteUpload joins the parts, in ascending order of their numbers, to the object. A time-out after the store
	// has done the work is found out and is a success.
	CompleteUpload(ctx context.Context, req CompleteRequest) (Object, error)
	// AbortUpload forgets an upload and its parts; NotFound when there is none.
	AbortUpload(ctx context.Context, bucket, key, uploadID string) error
	// Parts lists an upload's parts (List Parts), all pages.
	Parts(ctx context.Context, bucket, key, uploadID string) ([]Part, error)
	// Uploads lists the bucket's unfinished multipart uploads under a prefix, all pages.
	Uploads(ctx context.Context, bucket, prefix string) ([]Upload, error)

	// Profile says what this store can do and what its limits are.
	Profile() Profile
}

// Bucket is a bucket as the account's list shows it.
type Bucket struct {
	Name    string
	Created time.Time // Swift says 2009-02-03 of every bucket
}

// Object is what the store says of an object.
type Object struct {
	Bucket       string
	Key          string
	Size         int64  // bytes
	ETag         string // without quotes; "-N" at its end for a multipart object
	Modified     time.Time
	StorageClass string
	// Headers are known from Head and Get; nil from a listing and from Put, Copy and CompleteUpload.
	Headers *Headers
}

// Headers travel with an object: sent with Put, Copy (when replacing) and CreateUpload, read by Head and Get.
type Headers struct {
	ContentType        string
	CacheControl       string
	ContentDisposition string
	ContentEncoding    string
	ContentLanguage    string
	Expires            string
	// Meta is the user metadata (x-amz-meta-NAME) by lower-case NAME. Values are ASCII: who has more encodes it
	// (Swift mangles raw UTF-8).
	Meta map[string]string
}

// ListRequest asks for one page of a listing.
type ListRequest struct {
	Bucket    string
	Prefix    string
	Delimiter string // "" or "/"
	// After resumes behind this key or common prefix (the previous page's Next); "" begins.
	After string
	// Max is the most keys and prefixes in the page; 0 means the store's 1000.
	Max int
}

// ListPage is one page of a listing. Objects and Prefixes are each in key order (UTF-8 bytes).
type ListPage struct {
	Objects  []Object // Headers nil
	Prefixes []string // common prefixes, each ending in the delimiter
	// Next goes into the next request's After; "" at the end of the listing.
	Next string
}

// GetRequest asks for an object or a range of it.
type GetRequest struct {
	Bucket, Key string
	// ETag pins the version: another one gives Changed (If-Match). "" takes any.
	ETag string
	// Offset and Length give the range in bytes. Length 0 means the whole object (Offset is then 0).
	Offset, Length int64
}

// PutRequest writes an object.
type PutRequest struct {
	Bucket, Key string
	Headers     Headers
	Body        io.ReaderAt // read from 0 to Size, again for each attempt
	Size        int64
}

// CopyRequest copies an object.
type CopyRequest struct {
	SrcBucket, SrcKey string
	SrcETag           string // pins the source (x-amz-copy-source-if-match); "" takes any
	SrcSize           int64  // scales the deadline: some stores copy byte by byte while the request waits
	Bucket, Key       string
	// Headers, when not nil, replace the source's; nil keeps them.
	Headers *Headers
}

// PartRequest sends a part.
type PartRequest struct {
	Bucket, Key, UploadID string
	Number                int // from 1
	Body                  io.ReaderAt
	Size                  int64
}

// CopyPartRequest makes a part from a range.
type CopyPartRequest struct {
	Bucket, Key, UploadID string
	Number                int
	SrcBucket, SrcKey     string
	SrcETag               string
	Offset, Length        int64
}

// CompleteRequest joins parts to an object.
type CompleteRequest struct {
	Bucket, Key, UploadID string
	Parts                 []Part // ascending numbers
	Size                  int64  // the finished object's, to tell a completed upload from a failed one
	// IfAbsent completes only when the key does not exist (If-None-Match: *): Exists otherwise.
	IfAbsent bool
}

// Part is an uploaded part.
type Part struct {
	Number int
	ETag   string
	Size   int64
}

// Upload is an unfinished multipart upload.
type Upload struct {
	Key, ID   string
	Initiated time.Time
}

// KeyError is a key that DeleteMany could not delete.
type KeyError struct {
	Key string
	Err error
}

// ACL is a bucket's grants as GET Bucket ACL shows them.
type ACL struct {
	Owner  string
	Grants []Grant
}

// Grant is one line of an ACL.
type Grant struct {
	Grantee    string // a canonical id, or the URI of a group
	Permission string // READ, WRITE, READ_ACP, WRITE_ACP, FULL_CONTROL
}
