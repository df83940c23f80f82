package tree

import (
	"errors"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// Where a store shows the owner's grant alone, whatever was set, nobody is told that a bucket is private: it is not known, but for what
// this mount has set.
func TestTheACLThatAStoreDoesNotShow(t *testing.T) {
	swift := s3mem.New().Profile()
	swift.ACLUnseen = true
	for name, c := range map[string]struct {
		opts          []s3mem.Option
		private, open string // what is read of a bucket that another client has made private, or public
	}{
		"shown":     {nil, s3client.ACLPrivate, s3client.ACLPublicRead},
		"not shown": {[]s3mem.Option{s3mem.WithProfile(swift), s3mem.LikeSwift()}, ACLUnknown, ACLUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{}, c.opts...)
			read := func(want string) {
				t.Helper()
				if got, err := r.tree.BucketACL(r.ctx, bkt); err != nil || got != want {
					t.Errorf("%q, %v; want %q", got, err, want)
				}
			}
			read(c.private)
			r.ok(r.mem.SetBucketACL(r.ctx, bkt, s3client.ACLPublicRead))
			read(c.open)
			r.ok(r.tree.SetBucketACL(r.ctx, bkt, s3client.ACLPublicRead))
			read(s3client.ACLPublicRead)
			r.ok(r.tree.SetBucketACL(r.ctx, bkt, s3client.ACLPrivate))
			read(s3client.ACLPrivate)
			r.object("d/f", "x")
			for _, path := range []string{"", bkt + "/d"} {
				if acl, err := r.tree.BucketACL(r.ctx, path); !errors.Is(err, ErrNoAttribute) {
					t.Errorf("of %q, which is no bucket: %q, %v", path, acl, err)
				}
			}
		})
	}
}
