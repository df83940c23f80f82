package s3mem

import (
	"context"
	"maps"
	"slices"
	"time"

	"pailfs/s3client"
)

// bucket is a bucket and all that is in it. Guarded by Store.mu.
type bucket struct {
	name    string
	created time.Time
	acl     string
	objects map[string]*object
	index   index
	uploads map[string]*upload
}

// bucketLocked is the bucket of that name, made when it is not there.
func (s *Store) bucketLocked(name string) *bucket {
	b := s.mu.buckets[name]
	if b == nil {
		b = &bucket{name: name, created: s.modified(), acl: "private", objects: make(map[string]*object),
			uploads: make(map[string]*upload)}
		b.index.init()
		s.mu.buckets[name] = b
	}
	return b
}

// findLocked is the call's bucket or NotFound.
func (s *Store) findLocked(c call) (*bucket, error) {
	if b := s.mu.buckets[c.bucket]; b != nil {
		return b, nil
	}
	return nil, c.fail(s3client.NotFound, 404, "NoSuchBucket", "")
}

// Buckets implements s3client.Store.
func (s *Store) Buckets(ctx context.Context) ([]s3client.Bucket, error) {
	if err := s.start(ctx, call{op: "GET Service"}, "Buckets"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []s3client.Bucket
	for _, name := range slices.Sorted(maps.Keys(s.mu.buckets)) {
		out = append(out, s3client.Bucket{Name: name, Created: s.mu.buckets[name].created})
	}
	return out, nil
}

// CreateBucket implements s3client.Store.
func (s *Store) CreateBucket(ctx context.Context, bucket string) error {
	c := call{op: "PUT Bucket", bucket: bucket}
	if err := s.start(ctx, c, "CreateBucket"); err != nil {
		return err
	}
	if wrong := checkBucketName(bucket); wrong != "" {
		return c.fail(s3client.Invalid, 400, "InvalidBucketName", wrong)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.buckets[bucket] != nil {
		return c.fail(s3client.Exists, 409, "BucketAlreadyOwnedByYou", "")
	}
	s.bucketLocked(bucket)
	return nil
}

// HeadBucket implements s3client.Store.
func (s *Store) HeadBucket(ctx context.Context, bucket string) error {
	c := call{op: "HEAD Bucket", bucket: bucket}
	if err := s.start(ctx, c, "HeadBucket"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.findLocked(c)
	return err
}

// DeleteBucket implements s3client.Store. Unfinished uploads go with the bucket.
func (s *Store) DeleteBucket(ctx context.Context, bucket string) error {
	c := call{op: "DELETE Bucket", bucket: bucket}
	if err := s.start(ctx, c, "DeleteBucket"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return err
	}
	if len(b.objects) > 0 {
		return c.fail(s3client.NotEmpty, 409, "BucketNotEmpty", "")
	}
	delete(s.mu.buckets, bucket)
	return nil
}

// BucketLocation implements s3client.Store: the profile's region.
func (s *Store) BucketLocation(ctx context.Context, bucket string) (string, error) {
	c := call{op: "GET Bucket Location", bucket: bucket}
	if err := s.start(ctx, c, "BucketLocation"); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.findLocked(c); err != nil {
		return "", err
	}
	return s.profile.Region, nil
}

// Owner is the owner of every bucket.
const Owner = "s3mem:owner"

// The groups of canned ACLs.
const (
	allUsers           = "http://acs.amazonaws.com/groups/global/AllUsers"
	authenticatedUsers = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
)

// cannedGrants are the grants that each canned ACL adds to the owner's.
var cannedGrants = map[string][]s3client.Grant{
	"private":            nil,
	"public-read":        {{Grantee: allUsers, Permission: "READ"}},
	"public-read-write":  {{Grantee: allUsers, Permission: "READ"}, {Grantee: allUsers, Permission: "WRITE"}},
	"authenticated-read": {{Grantee: authenticatedUsers, Permission: "READ"}},
}

// BucketACL implements s3client.Store.
func (s *Store) BucketACL(ctx context.Context, bucket string) (s3client.ACL, error) {
	c := call{op: "GET Bucket ACL", bucket: bucket}
	if err := s.start(ctx, c, "BucketACL"); err != nil {
		return s3client.ACL{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return s3client.ACL{}, err
	}
	acl := s3client.ACL{Owner: Owner, Grants: []s3client.Grant{{Grantee: Owner, Permission: "FULL_CONTROL"}}}
	if !s.swift {
		acl.Grants = append(acl.Grants, cannedGrants[b.acl]...)
	}
	return acl, nil
}

// SetBucketACL implements s3client.Store.
func (s *Store) SetBucketACL(ctx context.Context, bucket, canned string) error {
	c := call{op: "PUT Bucket ACL", bucket: bucket}
	if err := s.start(ctx, c, "SetBucketACL"); err != nil {
		return err
	}
	if _, ok := cannedGrants[canned]; !ok {
		return c.fail(s3client.Invalid, 400, "InvalidArgument", "no canned ACL "+canned)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return err
	}
	b.acl = canned
	return nil
}
