package s3test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pailfs/s3client"
)

var listBehaviours = []behaviour{
	{"a flat listing has every key in byte order with size, ETag and time", nil, testFlatList},
	{"a delimited listing shows one level", nil, testDelimitedList},
	{"pages of 1, 2 and 3 join to the whole listing", nil, testPages},
	{"a listing resumes behind any key", nil, testAfter},
	{"a listing follows puts and deletions", nil, testListFollows},
}

var deleteBehaviours = []behaviour{
	{"more than a thousand keys are listed in pages and deleted by the hundred", nil, testThousand},
	{"deleting no keys is a success", nil, testDeleteNone},
}

// listKeys is a small tree, in byte order.
func listKeys(o Options) []string {
	keys := []string{"a", "a-b", "a.b", "a/1", "a/2", "a/b/3", "a/b/4", "a0", "b/", "b/x", "c", "d/e/f/g", "z ", "한글/파일",
		"\U0001F600"}
	if o.NoObjectPrefixClash {
		keys = keys[1:] // no "a" beside "a/1"
	}
	slices.Sort(keys)
	return keys
}

// fillList puts the small tree into a bucket of its own.
func (s *suite) fillList(t *testing.T) (bucket string, keys []string) {
	t.Helper()
	if s.o.NoObjectPrefixClash {
		s.leaveOut(t, "no key a beside a/1 in the listing")
	}
	bucket, keys = s.newBucket(t), listKeys(s.o)
	err := parallel(len(keys), func(i int) error {
		p := []byte(keys[i])
		if strings.HasSuffix(keys[i], "/") {
			p = nil
		}
		_, err := s.store.Put(t.Context(), putRequest(bucket, keys[i], p, s3client.Headers{}))
		return err
	})
	must(t, "put", err)
	s.wantList(t, s3client.ListRequest{Bucket: bucket}, keys, nil)
	return bucket, keys
}

func testFlatList(t *testing.T, s *suite) {
	b, keys := s.fillList(t)
	for _, prefix := range []string{"", "a", "a/", "a/b", "한", "none", "z"} {
		var want []string
		for _, k := range keys {
			if strings.HasPrefix(k, prefix) {
				want = append(want, k)
			}
		}
		objects := s.wantList(t, s3client.ListRequest{Bucket: b, Prefix: prefix}, want, nil)
		for _, o := range objects {
			p := []byte(o.Key)
			if strings.HasSuffix(o.Key, "/") {
				p = nil
			}
			head, err := s.store.Head(t.Context(), b, o.Key)
			must(t, "head", err)
			if o.Size != int64(len(p)) || o.ETag != head.ETag || o.ETag != md5sum(p) {
				t.Errorf("%q is listed with %d bytes and ETag %s, want %d and %s", o.Key, o.Size, o.ETag, len(p), md5sum(p))
			}
			if d := o.Modified.Sub(head.Modified); o.Modified.IsZero() || d.Abs().Seconds() > 1 {
				t.Errorf("%q is listed with time %v, head says %v", o.Key, o.Modified, head.Modified)
			}
		}
	}
}

// expectList is what a listing of keys must show.
func expectList(keys []string, prefix, delimiter string) (objects, prefixes []string) {
	for _, k := range keys {
		rest, ok := strings.CutPrefix(k, prefix)
		if !ok {
			continue
		}
		i := strings.Index(rest, delimiter)
		if delimiter == "" || i < 0 {
			objects = append(objects, k)
			continue
		}
		p := prefix + rest[:i+len(delimiter)]
		if len(prefixes) == 0 || prefixes[len(prefixes)-1] != p {
			prefixes = append(prefixes, p)
		}
	}
	return objects, prefixes
}

func testDelimitedList(t *testing.T, s *suite) {
	b, keys := s.fillList(t)
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b/", "b/", "d/", "d/e/f/", "한글/", "한", "none/", "c"} {
		objects, prefixes := expectList(keys, prefix, "/")
		s.wantList(t, s3client.ListRequest{Bucket: b, Prefix: prefix, Delimiter: "/"}, objects, prefixes)
	}
}

func testPages(t *testing.T, s *suite) {
	b, keys := s.fillList(t)
	for _, prefix := range []string{"", "a/", "a"} {
		for _, delimiter := range []string{"", "/"} {
			objects, prefixes := expectList(keys, prefix, delimiter)
			names := len(objects) + len(prefixes)
			for _, most := range []int{1, 2, 3, names, names + 1} {
				req := s3client.ListRequest{Bucket: b, Prefix: prefix, Delimiter: delimiter, Max: most}
				s.wantList(t, req, objects, prefixes)
				if _, _, pages := s.list(t, req); pages < (names+most-1)/most {
					t.Errorf("list %+v: %d names in %d pages", req, names, pages)
				}
			}
		}
	}
}

func testAfter(t *testing.T, s *suite) {
	b, keys := s.fillList(t)
	for i, after := range keys {
		s.wantList(t, s3client.ListRequest{Bucket: b, After: after}, keys[i+1:], nil)
	}
	s.wantList(t, s3client.ListRequest{Bucket: b, After: "a/1x", Prefix: "a/"}, []string{"a/2", "a/b/3", "a/b/4"}, nil)
	s.wantList(t, s3client.ListRequest{Bucket: b, After: "a/1", Prefix: "a/", Delimiter: "/"}, []string{"a/2"},
		[]string{"a/b/"})
	s.wantList(t, s3client.ListRequest{Bucket: b, After: "\U0010ffff"}, nil, nil)
}

func testListFollows(t *testing.T, s *suite) {
	b := s.newBucket(t)
	req := s3client.ListRequest{Bucket: b}
	s.putWith(t, b, "k", []byte("one"), s3client.Headers{})
	s.wantList(t, req, []string{"k"}, nil)
	must(t, "delete", s.store.Delete(t.Context(), b, "k"))
	s.wantList(t, req, nil, nil)
	s.putWith(t, b, "k", []byte("again"), s3client.Headers{})
	s.putWith(t, b, "j", []byte("before"), s3client.Headers{})
	s.wantList(t, req, []string{"j", "k"}, nil)
}

func testThousand(t *testing.T, s *suite) {
	b := s.newBucket(t)
	keys := make([]string, 1005)
	for i := range keys {
		keys[i] = fmt.Sprintf("many/%05d", i)
	}
	must(t, "put", parallel(len(keys), func(i int) error {
		_, err := s.store.Put(t.Context(), putRequest(b, keys[i], nil, s3client.Headers{}))
		return err
	}))
	s.wantList(t, s3client.ListRequest{Bucket: b}, keys, nil)
	s.wantList(t, s3client.ListRequest{Bucket: b, Delimiter: "/"}, nil, []string{"many/"})
	doomed := append(slices.Clone(keys[:250]), "many/none-1", "many/none-2", "none")
	failed, err := s.store.DeleteMany(t.Context(), b, doomed)
	if err != nil || len(failed) > 0 {
		t.Fatalf("delete many: %v, %v", failed, err)
	}
	s.wantList(t, s3client.ListRequest{Bucket: b}, keys[250:], nil)
	failed, err = s.store.DeleteMany(t.Context(), b, keys)
	if err != nil || len(failed) > 0 {
		t.Fatalf("delete the rest: %v, %v", failed, err)
	}
	s.wantList(t, s3client.ListRequest{Bucket: b}, nil, nil)
}

func testDeleteNone(t *testing.T, s *suite) {
	failed, err := s.store.DeleteMany(t.Context(), s.bucket, nil)
	if err != nil || len(failed) > 0 {
		t.Errorf("delete nothing: %v, %v", failed, err)
	}
}
