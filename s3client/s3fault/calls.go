package s3fault

import (
	"context"

	"pailfs/s3client"
)

// Buckets implements s3client.Store.
func (s *Store) Buckets(ctx context.Context) ([]s3client.Bucket, error) {
	return do(ctx, s, Call{Name: "Buckets"}, func() ([]s3client.Bucket, error) { return s.inner.Buckets(ctx) })
}

// CreateBucket implements s3client.Store.
func (s *Store) CreateBucket(ctx context.Context, bucket string) error {
	return try(ctx, s, Call{Name: "CreateBucket", Bucket: bucket}, func() error {
		return s.inner.CreateBucket(ctx, bucket)
	})
}

// HeadBucket implements s3client.Store.
func (s *Store) HeadBucket(ctx context.Context, bucket string) error {
	return try(ctx, s, Call{Name: "HeadBucket", Bucket: bucket}, func() error {
		return s.inner.HeadBucket(ctx, bucket)
	})
}

// DeleteBucket implements s3client.Store.
func (s *Store) DeleteBucket(ctx context.Context, bucket string) error {
	return try(ctx, s, Call{Name: "DeleteBucket", Bucket: bucket}, func() error {
		return s.inner.DeleteBucket(ctx, bucket)
	})
}

// BucketLocation implements s3client.Store.
func (s *Store) BucketLocation(ctx context.Context, bucket string) (string, error) {
	return do(ctx, s, Call{Name: "BucketLocation", Bucket: bucket}, func() (string, error) {
		return s.inner.BucketLocation(ctx, bucket)
	})
}

// BucketACL implements s3client.Store.
func (s *Store) BucketACL(ctx context.Context, bucket string) (s3client.ACL, error) {
	return do(ctx, s, Call{Name: "BucketACL", Bucket: bucket}, func() (s3client.ACL, error) {
		return s.inner.BucketACL(ctx, bucket)
	})
}

// SetBucketACL implements s3client.Store.
func (s *Store) SetBucketACL(ctx context.Context, bucket, canned string) error {
	return try(ctx, s, Call{Name: "SetBucketACL", Bucket: bucket}, func() error {
		return s.inner.SetBucketACL(ctx, bucket, canned)
	})
}

// List implements s3client.Store. Its Call's Key is the prefix.
func (s *Store) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	return do(ctx, s, Call{Name: "List", Bucket: req.Bucket, Key: req.Prefix}, func() (s3client.ListPage, error) {
		return s.inner.List(ctx, req)
	})
}

// Head implements s3client.Store.
func (s *Store) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	return do(ctx, s, Call{Name: "Head", Bucket: bucket, Key: key}, func() (s3client.Object, error) {
		return s.inner.Head(ctx, bucket, key)
	})
}

// Put implements s3client.Store.
func (s *Store) Put(ctx context.Context, req s3client.PutRequest) (s3client.Object, error) {
	return do(ctx, s, Call{Name: "Put", Bucket: req.Bucket, Key: req.Key}, func() (s3client.Object, error) {
		return s.inner.Put(ctx, req)
	})
}

// Copy implements s3client.Store.
func (s *Store) Copy(ctx context.Context, req s3client.CopyRequest) (s3client.Object, error) {
	return do(ctx, s, Call{Name: "Copy", Bucket: req.Bucket, Key: req.Key}, func() (s3client.Object, error) {
		return s.inner.Copy(ctx, req)
	})
}

// Delete implements s3client.Store.
func (s *Store) Delete(ctx context.Context, bucket, key string) error {
	return try(ctx, s, Call{Name: "Delete", Bucket: bucket, Key: key}, func() error {
		return s.inner.Delete(ctx, bucket, key)
	})
}

// CreateUpload implements s3client.Store.
func (s *Store) CreateUpload(ctx context.Context, bucket, key string, h s3client.Headers) (string, error) {
	return do(ctx, s, Call{Name: "CreateUpload", Bucket: bucket, Key: key}, func() (string, error) {
		return s.inner.CreateUpload(ctx, bucket, key, h)
	})
}

// UploadPart implements s3client.Store.
func (s *Store) UploadPart(ctx context.Context, req s3client.PartRequest) (s3client.Part, error) {
	c := Call{Name: "UploadPart", Bucket: req.Bucket, Key: req.Key, Part: req.Number}
	return do(ctx, s, c, func() (s3client.Part, error) { return s.inner.UploadPart(ctx, req) })
}

// CopyPart implements s3client.Store.
func (s *Store) CopyPart(ctx context.Context, req s3client.CopyPartRequest) (s3client.Part, error) {
	c := Call{Name: "CopyPart", Bucket: req.Bucket, Key: req.Key, Part: req.Number}
	return do(ctx, s, c, func() (s3client.Part, error) { return s.inner.CopyPart(ctx, req) })
}

// CompleteUpload implements s3client.Store.
func (s *Store) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	c := Call{Name: "CompleteUpload", Bucket: req.Bucket, Key: req.Key}
	return do(ctx, s, c, func() (s3client.Object, error) { return s.inner.CompleteUpload(ctx, req) })
}

// AbortUpload implements s3client.Store.
func (s *Store) AbortUpload(ctx context.Context, bucket, key, uploadID string) error {
	return try(ctx, s, Call{Name: "AbortUpload", Bucket: bucket, Key: key}, func() error {
		return s.inner.AbortUpload(ctx, bucket, key, uploadID)
	})
}

// Parts implements s3client.Store.
func (s *Store) Parts(ctx context.Context, bucket, key, uploadID string) ([]s3client.Part, error) {
	return do(ctx, s, Call{Name: "Parts", Bucket: bucket, Key: key}, func() ([]s3client.Part, error) {
		return s.inner.Parts(ctx, bucket, key, uploadID)
	})
}

// Uploads implements s3client.Store. Its Call's Key is the prefix.
func (s *Store) Uploads(ctx context.Context, bucket, prefix string) ([]s3client.Upload, error) {
	return do(ctx, s, Call{Name: "Uploads", Bucket: bucket, Key: prefix}, func() ([]s3client.Upload, error) {
		return s.inner.Uploads(ctx, bucket, prefix)
	})
}

// Profile implements s3client.Store. No rule strikes it.
func (s *Store) Profile() s3client.Profile { return s.inner.Profile() }
