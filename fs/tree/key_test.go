package tree

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
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
