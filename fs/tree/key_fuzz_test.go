package tree

import (
	"strings"
	"testing"
)

// FuzzKeys: a key of anybody becomes a path or none. A path leads nowhere but below the mount point, and back to the one key.
func FuzzKeys(f *testing.F) {
	for _, key := range []string{"a", "a/b", "../x", "/etc/passwd", "a/../../b", "a//b", "a/./b", ".", "..", "", "/", "a/", "a\x00b", "a\xff", "a\nb", "\x1b[2J", strings.Repeat("n", 256), strings.Repeat("d/", 513)} {
		f.Add("bkt", "", key)
		f.Add("bkt", "p/q/", key)
		f.Add("", "", key)
	}
	f.Fuzz(func(t *testing.T, bucket, prefix, key string) {
		s := space{bucket: bucket, prefix: prefix}
		if bucket != "" && checkBucket(bucket) != nil || prefix != "" && (bucket == "" || !strings.HasSuffix(prefix, "/") || checkPath(strings.TrimSuffix(prefix, "/")) != nil || len(prefix) > 512) {
			return // nobody can mount that
		}
		in := bucket
		if in == "" {
			in = "other"
		}
		p, ok := s.pathOf(in, key)
		if !ok {
			return
		}
		for part := range strings.SplitSeq(p, "/") {
			if p != "" && (part == "" || part == "." || part == ".." || len(part) > maxName || strings.IndexByte(part, 0) >= 0) {
				t.Fatalf("%q is the path %q", key, p)
			}
		}
		gotBucket, got, err := s.locate(p)
		if err != nil {
			if len(key) > maxKey-1 {
				return
			}
			t.Fatalf("%q is the path %q, and that is none: %v", key, p, err)
		}
		if gotBucket != in || got != strings.TrimSuffix(key, "/") {
			t.Errorf("%q is the path %q, and that the key %q of %q", key, p, got, gotBucket)
		}
	})
}

// FuzzUnseen: each component is a name or has a reason.
func FuzzUnseen(f *testing.F) {
	f.Add("a/b")
	f.Add("a//..")
	f.Add("\xff/\x00")
	f.Fuzz(func(t *testing.T, key string) {
		why := ""
		for part := range strings.SplitSeq(key, "/") {
			if w := noName(part); w != "" && why == "" {
				why = string(w)
			}
		}
		if ok := key != "" && checkPath(key) == nil; ok != (why == "") {
			t.Errorf("%q: a path %v, a reason %q", key, ok, why)
		}
	})
}

// FuzzLaterBound: a bound is no name behind the last, so that a listing goes on.
func FuzzLaterBound(f *testing.F) {
	f.Add("2024-01-02", "2024")
	f.Add("a/b", "")
	f.Fuzz(func(t *testing.T, last, ruled string) {
		if bound := laterBound(last, func(p string) bool { return p == ruled }); bound > last || !strings.HasPrefix(last, bound) {
			t.Errorf("%q is bounded by %q", last, bound)
		}
	})
}
