package tree

import (
	"context"
	"fmt"

	"pailfs/s3client"
)

// ACLUnknown is the ACL of a bucket whose store does not show it.
const ACLUnknown = "unknown"

// bucketOf is the bucket that a path shows. ErrNoAttribute where it shows none.
func (t *Tree) bucketOf(path string) (string, error) {
	bucket, _, err := t.space.locate(path)
	if err == nil && (bucket == "" || !t.space.top(path)) {
		err = ErrNoAttribute
	}
	if err != nil {
		return "", fmt.Errorf("%q is no bucket: %w", path, err)
	}
	return bucket, nil
}

// BucketACL is the ready-made ACL of the bucket at a path (s3client.ACL.Canned), or "custom". Where the store never shows
// more than the owner's grant it is the one that was set here, or ACLUnknown. One request.
func (t *Tree) BucketACL(ctx context.Context, path string) (string, error) {
	bucket, err := t.bucketOf(path)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	set, known := t.mu.acls[bucket]
	t.mu.Unlock()
	acl, err := t.o.Store.BucketACL(ctx, bucket)
	if err != nil {
		return "", t.storeErr("read the ACL of", path, err)
	}
	canned := acl.Canned()
	if canned == s3client.ACLPrivate && t.o.Store.Profile().ACLUnseen {
		if known {
			return set, nil
		}
		return ACLUnknown, nil
	}
	return canned, nil
}

// SetBucketACL gives the bucket at a path a ready-made ACL. One request.
func (t *Tree) SetBucketACL(ctx context.Context, path, canned string) error {
	if t.o.ReadOnly {
		return fmt.Errorf("set the ACL of %s: %w", path, ErrReadOnly)
	}
	bucket, err := t.bucketOf(path)
	if err != nil {
		return err
	}
	if err := t.o.Store.SetBucketACL(ctx, bucket, canned); err != nil {
		return t.storeErr("set the ACL of", path, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.acls[bucket] = canned
	return nil
}

// BucketLocation is the region of the bucket at a path. One request.
func (t *Tree) BucketLocation(ctx context.Context, path string) (string, error) {
	bucket, err := t.bucketOf(path)
	if err != nil {
		return "", err
	}
	where, err := t.o.Store.BucketLocation(ctx, bucket)
	if err != nil {
		return "", t.storeErr("find the region of", path, err)
	}
	if where == "" { // the store's default region has no name there
		where = t.o.Store.Profile().Region
	}
	return where, nil
}
