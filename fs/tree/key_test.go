package tree

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pailfs/s3client"
)

func TestLocate(t *testing.T) {
	long := strings.Repeat("n", 255)
	deep := strings.Repeat("d/", 512)
	for _, c := range []struct {
		s                 space
		path, bucket, key string
		err               error
	}{
		{space{"bkt", ""}, "", "bkt", "", nil},
		{space{"bkt", ""}, "a/b", "bkt", "a/b", nil},
		{space{"bkt", "p/q/"}, "", "bkt", "p/q", nil},
		{space{"bkt", "p/q/"}, "a", "bkt", "p/q/a", nil},
		{space{}, "", "", "", nil},
		{space{}, "bkt", "bkt", "", nil},
		{space{}, "bkt/a/b", "bkt", "a/b", nil},
		{space{}, "B", "", "", ErrName},
		{space{}, "a+segments/x", "", "", ErrInvalid},
		{space{"bkt", ""}, "a/../b", "", "", ErrName},
		{space{"bkt", ""}, ".", "", "", ErrName},
		{space{"bkt", ""}, "a//b", "", "", ErrName},
		{space{"bkt", ""}, "/a", "", "", ErrName},
		{space{"bkt", ""}, "a\x00b", "", "", ErrInvalid},
		{space{"bkt", ""}, "a\xffb", "", "", ErrInvalid},
		{space{"bkt", ""}, long, "bkt", long, nil},
		{space{"bkt", ""}, long + "n", "", "", ErrNameTooLong},
		{space{"bkt", ""}, deep + "x", "", "", ErrNameTooLong},
		{space{"bkt", ""}, deep[:1023], "bkt", deep[:1023], nil},
	} {
		bucket, key, err := c.s.locate(c.path)
		if bucket != c.bucket || key != c.key || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%v %.20q: %q %.20q %v", c.s, c.path, bucket, key, err)
		}
		if err == nil && bucket != "" {
			if back, ok := c.s.pathOf(bucket, key); !ok || back != c.path {
				t.Errorf("%v %.20q comes back as %q %v", c.s, c.path, back, ok)
			}
			if back, ok := c.s.pathOf(bucket, dirKey(key)); !ok || back != c.path {
				t.Errorf("%v %.20q with a slash comes back as %q %v", c.s, c.path, back, ok)
			}
		}
	}
}

func TestPathOf(t *testing.T) {
	for _, c := range []struct {
		s           space
		bucket, key string
		path        string
		ok          bool
	}{
		{space{"bkt", ""}, "other", "a", "", false},
		{space{"bkt", "p/"}, "bkt", "q/a", "", false},
		{space{"bkt", "p/"}, "bkt", "p/", "", true},
		{space{"bkt", "p/"}, "bkt", "p//", "", false},
		{space{"bkt", ""}, "bkt", "/", "", false},
		{space{"bkt", ""}, "bkt", "a//b", "", false},
		{space{"bkt", ""}, "bkt", "a//", "", false},
		{space{"bkt", ""}, "bkt", "a/", "a", true},
		{space{}, "bkt", "", "bkt", true},
		{space{}, "bkt", "/", "", false},
		{space{}, "Bad_", "a", "", false},
		{space{}, "", "", "", false},
	} {
		if p, ok := c.s.pathOf(c.bucket, c.key); ok != c.ok || ok && p != c.path {
			t.Errorf("%v %s/%s: %q %v", c.s, c.bucket, c.key, p, ok)
		}
	}
}

func TestBucketNames(t *testing.T) {
	good := []string{"abc", "a-b", "a.b", "1.2.3.4.5", "123", "xn--abc", strings.Repeat("a", 63), "999.1.1.1"}
	bad := []string{"", "ab", strings.Repeat("a", 64), "ABC", "a_b", "a..b", "a.-b", "a-.b", "-abc", "abc-", ".abc", "abc.",
		"192.168.5.4", "x+segments", "x_segments", ".file-segments", "b\u00fccher", "a/b"}
	for _, n := range good {
		if checkBucket(n) != nil || !bucketShown(n) {
			t.Errorf("%q refused", n)
		}
	}
	for _, n := range bad {
		if !errors.Is(checkBucket(n), ErrInvalid) || bucketShown(n) {
			t.Errorf("%q accepted", n)
		}
	}
	if tr := (&Tree{}); tr.checkNewBucket("xn--abc") == nil || tr.checkNewBucket("abc") != nil {
		t.Error("new names")
	}
}

// All names that a later key can bring are at or above the bound, and the bound is no lower than it must be.
func TestLaterBound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	letters := []byte("a-./0 b")
	key := func() string {
		b := make([]byte, 1+rnd.IntN(4))
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		s := string(b)
		if i := strings.IndexByte(s, '/'); i >= 0 {
			s = s[:i+1]
		}
		return s
	}
	var keys []string
	for range 4000 {
		if k := key(); k != "/" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	tight := 0
	for i, last := range keys {
		bound := laterBound(last, func(string) bool { return false })
		for _, later := range keys[i+1:] {
			name := strings.TrimSuffix(later, "/")
			if name < bound {
				t.Fatalf("behind %q comes %q, below the bound %q", last, later, bound)
			}
			if name == bound {
				tight++
				break
			}
		}
	}
	if tight == 0 {
		t.Error("no bound was ever reached")
	}
	if b := laterBound("a-b-c", func(p string) bool { return p == "a" }); b != "a-b" {
		t.Errorf("ruled out: %q", b)
	}
}

// alsoHas is a store that has keys which others refuse, in its top directory.
type alsoHas struct {
	s3client.Store
	keys []string
}

func (s alsoHas) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	p, err := s.Store.List(ctx, req)
	for _, key := range s.keys {
		if err == nil && req.Prefix == "" && req.After == "" {
			p.Objects = append(p.Objects, s3client.Object{Bucket: req.Bucket, Key: key, ETag: "x", Size: 1})
		}
	}
	slices.SortFunc(p.Objects, func(a, b s3client.Object) int { return strings.Compare(a.Key, b.Key) })
	return p, err
}

// Each key is a file or a directory under the path that it is, or it is hidden and counted. None is another's.
func TestEveryKeyHasOneRule(t *testing.T) {
	long := strings.Repeat("k", 255)
	seen := []string{
		"plain", "a%41", "a%2Fb", "a+b", "a b", "in/ ", "  lead", "trail ", "tab\tx", "nl\nx", "cr\rx", "\x01", "esc\x1bx", "\x7f", `back\slash`, "q?x", "h#x",
		"amp&x", "<x>", "'", `"`, "*", "é" /* NFC */, "e\u0301" /* NFD */, "\U0001F600", "\ufffe", "\uffff", "\u202e", "...", ".hidden", "a..b", "~", "-rf",
		long, "deep/" + strings.Repeat(long+"/", 3) + strings.Repeat("k", 251), // 1024 bytes
		"in/é/x", "in/e\u0301/x", "case", "CASE", "with.dots/a.b.c", "con", "x.",
	}
	hidden := []string{
		"/", "/lead", "//", "a//b", "a//", "a///b", ".", "..", "./x", "../x", "a/./b", "a/../b", "a/.", "a/..", long + "k", "w/" + long + "k/x", " ", "\t\u2003",
	}
	// Few stores take these, and some give them out.
	strange := []string{"bad\xed\xa0\x80surrogate", "bad\xffutf8", "nul\x00x"}
	// "dir" is an object beside keys below it, "dir2" beside its own marker.
	shadowed := []string{"dir", "dir2"}
	r := newRig(t, Options{Bucket: bkt})
	for _, key := range slices.Concat(seen, hidden, shadowed, []string{"dir/below", "dir2/", "marked/"}) {
		r.object(key, "x")
	}
	r.tree.o.Store = alsoHas{r.tree.o.Store, strange}
	hidden = append(hidden, strange...)
	files := map[string]bool{}
	for _, p := range r.walkAll("") {
		if !strings.HasSuffix(p, "/") {
			files[p] = true
		}
	}
	for _, key := range append(seen, "dir/below") {
		if !files[key] {
			t.Errorf("%q is not listed", key)
		}
		delete(files, key)
		if e := r.lookup(key); e.Key != key || e.IsDir() {
			t.Errorf("%q is %+v", key, e)
		}
	}
	for p := range files {
		t.Errorf("%q is listed", p)
	}
	why := map[string]string{}
	for _, h := range r.tree.Hidden() {
		why[h.Key] = h.Why
	}
	for _, key := range shadowed {
		if e := r.lookup(key); !e.IsDir() || why[key] != "shadowed" {
			t.Errorf("%q: %+v, %q", key, e, why[key])
		}
	}
	if e := r.lookup("marked"); !e.IsDir() {
		t.Errorf("%+v", e)
	}
	for _, key := range hidden { // the key, or the prefix that no path leads into
		found := false
		for h, reason := range why {
			found = found || reason == "name" && (h == key || strings.HasSuffix(h, "/") && strings.HasPrefix(key, h))
		}
		if !found {
			t.Errorf("%q is not counted: %q", key, why)
		}
		if _, err := r.tree.Lookup(r.ctx, key); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNameTooLong) {
			t.Errorf("%q: %v", key, err)
		}
	}
}
