package s3test

import (
	"slices"
	"strings"
	"testing"

	"pailfs/s3client"
)

var bucketBehaviours = []behaviour{
	{"a created bucket can be used and is listed", nil, testBucketLife},
	{"creating a bucket that is there says Exists", nil, testBucketExists},
	{"a bad bucket name says Invalid", nil, testBucketNames},
	{"a missing bucket says NotFound", nil, testMissingBucket},
	{"a bucket that is not empty says NotEmpty and stays", nil, testBucketNotEmpty},
	{"a bucket has a location", nil, testLocation},
}

var aclBehaviours = []behaviour{
	{"a new bucket belongs to its owner alone", noACL, testOwnACL},
	{"a canned ACL is set and taken back", func(o Options) string {
		if o.NoCannedACL {
			return "ACLs cannot be set"
		}
		return noACL(o)
	}, testCannedACL},
	{"an unknown canned ACL says Invalid", noACL, testUnknownACL},
}

func noACL(o Options) string {
	if o.NoBucketACL {
		return "no bucket ACLs"
	}
	return ""
}

func listed(t *testing.T, s *suite, name string) bool {
	t.Helper()
	buckets, err := s.store.Buckets(t.Context())
	must(t, "list buckets", err)
	if !slices.IsSortedFunc(buckets, func(a, b s3client.Bucket) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("buckets are not in order of their names: %v", buckets)
	}
	return slices.ContainsFunc(buckets, func(b s3client.Bucket) bool { return b.Name == name })
}

func testBucketLife(t *testing.T, s *suite) {
	b := s.newBucket(t)
	must(t, "head bucket", s.store.HeadBucket(t.Context(), b))
	if !listed(t, s, b) {
		t.Errorf("%s is not in the list of buckets", b)
	}
	s.wantList(t, s3client.ListRequest{Bucket: b}, nil, nil)
	must(t, "delete bucket", s.store.DeleteBucket(t.Context(), b))
	wantKind(t, "head of the deleted bucket", s.store.HeadBucket(t.Context(), b), s3client.NotFound)
	if listed(t, s, b) {
		t.Errorf("%s is in the list of buckets after its deletion", b)
	}
}

func testBucketExists(t *testing.T, s *suite) {
	s.put(t, "exists/kept", []byte("kept"))
	wantKind(t, "create again", s.store.CreateBucket(t.Context(), s.bucket), s3client.Exists)
	s.wantObject(t, s.bucket, "exists/kept", []byte("kept"), "")
}

func testBucketNames(t *testing.T, s *suite) {
	bad := []string{"", "ab", strings.Repeat("a", 64), "ABC-Def", "a_b_c", "-abc", "abc-", "192.168.5.4", "a..b", "a b c",
		"abc/def", "한글이름", "abc+segments"}
	for _, name := range bad {
		err := s.store.CreateBucket(t.Context(), name)
		wantKind(t, "create bucket "+name, err, s3client.Invalid)
		if err == nil {
			s.removeBucket(t, name)
		}
	}
}

func testMissingBucket(t *testing.T, s *suite) {
	ctx, b := t.Context(), newName()
	src := s.put(t, "missing/source", []byte("source"))
	calls := map[string]func() error{
		"HeadBucket":   func() error { return s.store.HeadBucket(ctx, b) },
		"DeleteBucket": func() error { return s.store.DeleteBucket(ctx, b) },
		"BucketLocation": func() error {
			_, err := s.store.BucketLocation(ctx, b)
			return err
		},
		"List": func() error {
			_, err := s.store.List(ctx, s3client.ListRequest{Bucket: b})
			return err
		},
		"Head": func() error {
			_, err := s.store.Head(ctx, b, "k")
			return err
		},
		"Get": func() error {
			_, _, err := s.read(ctx, s3client.GetRequest{Bucket: b, Key: "k"})
			return err
		},
		"Put": func() error {
			_, err := s.store.Put(ctx, putRequest(b, "k", []byte("x"), s3client.Headers{}))
			return err
		},
		"Copy to it": func() error {
			_, err := s.store.Copy(ctx, s3client.CopyRequest{SrcBucket: s.bucket, SrcKey: src.Key, Bucket: b, Key: "k"})
			return err
		},
		"Copy from it": func() error {
			_, err := s.store.Copy(ctx, s3client.CopyRequest{SrcBucket: b, SrcKey: "k", Bucket: s.bucket, Key: "missing/k"})
			return err
		},
		"CreateUpload": func() error {
			_, err := s.store.CreateUpload(ctx, b, "k", s3client.Headers{})
			return err
		},
		"DeleteMany": func() error {
			_, err := s.store.DeleteMany(ctx, b, []string{"k"})
			return err
		},
	}
	if s.o.NoBucketACL {
		s.leaveOut(t, "no bucket ACLs")
	} else {
		calls["BucketACL"] = func() error {
			_, err := s.store.BucketACL(ctx, b)
			return err
		}
		calls["SetBucketACL"] = func() error { return s.store.SetBucketACL(ctx, b, "private") }
	}
	if s.o.NoUploadListing {
		s.leaveOut(t, "uploads cannot be listed")
	} else {
		calls["Uploads"] = func() error {
			_, err := s.store.Uploads(ctx, b, "")
			return err
		}
	}
	for name, call := range calls {
		wantKind(t, name, call(), s3client.NotFound)
	}
}

func testBucketNotEmpty(t *testing.T, s *suite) {
	b := s.newBucket(t)
	s.putWith(t, b, "one", []byte("1"), s3client.Headers{})
	s.wantList(t, s3client.ListRequest{Bucket: b}, []string{"one"}, nil)
	wantKind(t, "delete bucket", s.store.DeleteBucket(t.Context(), b), s3client.NotEmpty)
	s.wantObject(t, b, "one", []byte("1"), "")
	must(t, "delete", s.store.Delete(t.Context(), b, "one"))
	s.wantList(t, s3client.ListRequest{Bucket: b}, nil, nil)
	must(t, "delete the emptied bucket", s.store.DeleteBucket(t.Context(), b))
}

func testLocation(t *testing.T, s *suite) {
	got, err := s.store.BucketLocation(t.Context(), s.bucket)
	must(t, "location", err)
	if want := s.store.Profile().Region; got != "" && !strings.EqualFold(got, want) {
		t.Errorf("location %q, the profile's region is %q", got, want)
	}
}

func testOwnACL(t *testing.T, s *suite) {
	acl, err := s.store.BucketACL(t.Context(), s.newBucket(t))
	must(t, "get ACL", err)
	if acl.Owner == "" {
		t.Errorf("no owner in %+v", acl)
	}
	for _, g := range acl.Grants {
		if isGroup(g) {
			t.Errorf("a new bucket is open to a group: %+v", acl)
		}
		if g.Permission == "" {
			t.Errorf("a grant of nothing: %+v", acl)
		}
	}
}

func testCannedACL(t *testing.T, s *suite) {
	b := s.newBucket(t)
	must(t, "set public-read", s.store.SetBucketACL(t.Context(), b, "public-read"))
	acl, err := s.store.BucketACL(t.Context(), b)
	must(t, "get ACL", err)
	public := slices.ContainsFunc(acl.Grants, func(g s3client.Grant) bool { return isGroup(g) && g.Permission == "READ" })
	if s.o.ACLOwnerOnly {
		s.leaveOut(t, "ACLs read as the owner's alone")
	} else if !public {
		t.Errorf("public-read shows no READ for a group: %+v", acl)
	}
	must(t, "set private", s.store.SetBucketACL(t.Context(), b, "private"))
	acl, err = s.store.BucketACL(t.Context(), b)
	must(t, "get ACL", err)
	if slices.ContainsFunc(acl.Grants, isGroup) {
		t.Errorf("private is open to a group: %+v", acl)
	}
}

// isGroup is true of a grant to everybody, or to everybody with an account.
func isGroup(g s3client.Grant) bool {
	return strings.HasSuffix(g.Grantee, "/AllUsers") || strings.HasSuffix(g.Grantee, "/AuthenticatedUsers") ||
		g.Grantee == "all-users"
}

func testUnknownACL(t *testing.T, s *suite) {
	wantKind(t, "set ACL", s.store.SetBucketACL(t.Context(), s.bucket, "everything-to-everybody"), s3client.Invalid)
}
