package s3test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
)

// Options say what a server is known to lack. The zero value lacks nothing.
type Options struct {
	// Server is the name in Run's summary.
	Server string
	// NoObjectPrefixClash: keys "a" and "a/b" cannot be there together (servers on POSIX file systems).
	NoObjectPrefixClash bool
	// NoSlashBody: a key that ends in "/" cannot have bytes.
	NoSlashBody bool
	// NoPathKeys: keys with empty, "." or ".." components, or a leading slash, are refused or folded.
	NoPathKeys bool
	// NoLongComponents: a component of a key has at most 255 bytes.
	NoLongComponents bool
	// NoControlCharKeys: keys with characters that XML cannot hold are refused, or listed wrongly because the server
	// ignores encoding-type=url.
	NoControlCharKeys bool
	// BadKeyFails: a key that no store takes gives an error of any kind.
	BadKeyFails bool
	// OwnDirectoryType: the Content-Type of a key that ends in "/" is the server's.
	OwnDirectoryType bool
	// NoBucketACL: buckets have no ACLs.
	NoBucketACL bool
	// NoCannedACL: ACLs can be read and not set.
	NoCannedACL bool
	// ACLOwnerOnly: an ACL always reads as the owner's alone, whatever was set.
	ACLOwnerOnly bool
	// SelfCopyMerges: headers that a copy onto itself does not name are kept.
	SelfCopyMerges bool
	// CopyLosesExpires: a copy that keeps headers has no Expires.
	CopyLosesExpires bool
	// NoCopySourceConditions: Copy and CopyPart ignore SrcETag.
	NoCopySourceConditions bool
	// NoIfAbsentComplete: CompleteUpload ignores IfAbsent.
	NoIfAbsentComplete bool
	// AbortAlwaysWorks: aborting an upload that is not there is a success.
	AbortAlwaysWorks bool
	// NoUploadListing: Uploads does not work.
	NoUploadListing bool
	// NoEmptyPart: an upload of one empty part cannot be completed.
	NoEmptyPart bool
	// NoEmptyMeta: metadata with an empty value is lost.
	NoEmptyMeta bool
	// UploadMetaDashes: "_" in names of metadata given to CreateUpload comes back as "-".
	UploadMetaDashes bool
	// OvertakenPutFails: of puts of one key at the same moment, one that a later one overtakes may say Changed.
	OvertakenPutFails bool
	// PinsRace: the version that a read is pinned to is looked at before the object is opened, so that a put between the two is read.
	PinsRace bool
	// NoVersionedReads: a body that is being read when its object is replaced may break off or mix (never tested then).
	NoVersionedReads bool
	// ListingLag is how late listings may be; the suite waits so long for them.
	ListingLag time.Duration
}

// behaviour is one promise and its test.
type behaviour struct {
	name string
	// lacks is the reason to leave the behaviour out, "" to test it; nil always tests.
	lacks func(Options) string
	test  func(*testing.T, *suite)
}

// suite is one run.
type suite struct {
	store  s3client.Store
	o      Options
	bucket string // shared; each behaviour has keys of its own in it

	mu struct {
		sync.Mutex
		skipped []string
		held    int
	}
}

// Run holds a store to the behaviour of s3client.Store. open is called once; the store must let buckets be created.
func Run(t *testing.T, open func(t *testing.T) s3client.Store, o Options) {
	s := &suite{store: open(t), o: o}
	t.Cleanup(s.summary)
	s.bucket = s.newBucket(t)
	var all []behaviour
	for _, group := range [][]behaviour{bucketBehaviours, aclBehaviours, objectBehaviours, keyBehaviours, rangeBehaviours,
		versionBehaviours, listBehaviours, deleteBehaviours, copyBehaviours, multipartBehaviours, partBehaviours,
		uploadBehaviours, contextBehaviours} {
		all = append(all, group...)
	}
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			if b.lacks != nil {
				if why := b.lacks(o); why != "" {
					s.skip(t, why)
				}
			}
			b.test(t, s)
			if !t.Failed() {
				s.mu.Lock()
				s.mu.held++
				s.mu.Unlock()
			}
		})
	}
}

// skip leaves the (sub-)test out, counted and with its reason.
func (s *suite) skip(t *testing.T, why string) {
	t.Helper()
	s.mu.Lock()
	s.mu.skipped = append(s.mu.skipped, fmt.Sprintf("%s: %s", t.Name(), why))
	s.mu.Unlock()
	t.Skip(why)
}

// leaveOut counts a part of the test that is left out.
func (s *suite) leaveOut(t *testing.T, why string) {
	t.Helper()
	t.Log("left out:", why)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.skipped = append(s.mu.skipped, fmt.Sprintf("part of %s: %s", t.Name(), why))
}

// summary prints how many behaviours held and which were left out.
func (s *suite) summary() {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := s.o.Server
	if name == "" {
		name = s.store.Profile().Name
	}
	fmt.Printf("s3test: %s: %d behaviours held, %d tests or parts of them skipped\n", name, s.mu.held, len(s.mu.skipped))
	for _, line := range s.mu.skipped {
		fmt.Printf("s3test: %s: skipped %s\n", name, line)
	}
}

// newName is a bucket name nobody has.
func newName() string {
	var r [8]byte
	rand.Read(r[:])
	return "pailfs-test-" + hex.EncodeToString(r[:])
}

// newBucket creates a bucket and removes it, with all that is in it, when the test ends.
func (s *suite) newBucket(t *testing.T) string {
	t.Helper()
	name := newName()
	if err := s.store.CreateBucket(t.Context(), name); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	t.Cleanup(func() { s.removeBucket(t, name) })
	return name
}

// removeBucket empties a bucket and deletes it.
func (s *suite) removeBucket(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for until := time.Now().Add(s.o.ListingLag + 10*time.Second); ; time.Sleep(200 * time.Millisecond) {
		err := s.emptyBucket(ctx, name)
		if err == nil {
			err = s.store.DeleteBucket(ctx, name)
		}
		if err == nil || errors.Is(err, s3client.NotFound) {
			return
		}
		if !errors.Is(err, s3client.NotEmpty) || time.Now().After(until) {
			t.Errorf("remove bucket %s: %v", name, err)
			return
		}
	}
}

func (s *suite) emptyBucket(ctx context.Context, name string) error {
	if !s.o.NoUploadListing {
		uploads, err := s.store.Uploads(ctx, name, "")
		if err != nil {
			return err
		}
		for _, u := range uploads {
			if err := s.store.AbortUpload(ctx, name, u.Key, u.ID); err != nil && !errors.Is(err, s3client.NotFound) {
				return err
			}
		}
	}
	for after := ""; ; {
		page, err := s.store.List(ctx, s3client.ListRequest{Bucket: name, After: after})
		if err != nil {
			return err
		}
		var keys []string
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		failed, err := s.store.DeleteMany(ctx, name, keys)
		if err != nil {
			return err
		}
		if len(failed) > 0 {
			return failed[0].Err
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}
