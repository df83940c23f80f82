package tree

import (
	"maps"
	"testing"
	"time"

	"pailfs/s3client"
)

// FuzzAttributes: metadata is anybody's. What it makes of an object is one file of one type, and written again it reads the same.
func FuzzAttributes(f *testing.F) {
	f.Add("k", "mode", "33188", "mtime", "1700000000.123456789", "text/plain", int64(5))
	f.Add("k/", "mode", "100644", "uid", "-1", "application/directory", int64(0))
	f.Add("k", "mode", "0x81a4", "rdev", "0x801", "application/x-directory; charset=x", int64(0))
	f.Add("k", "mode", "35309", "goog-reserved-file-mtime", "1e9", "", int64(1))
	f.Add("k", "permissions", "644", "file-mtime", "1700000000000000000ns", "", int64(1))
	f.Add("k", "--symlink-target", "%2e%2e%2fetc%2fpasswd", "mtime", "9223372036854775807", "", int64(0))
	f.Add("k", "is_symlink", "true", "mtime", "2024-01-02T03:04:05.5Z", "", int64(3))
	f.Fuzz(func(t *testing.T, key, name1, value1, name2, value2, kind string, size int64) {
		h := &s3client.Headers{ContentType: kind, Meta: map[string]string{name1: value1, name2: value2}}
		a := readAttributes(key, h)
		mode := a.fileType(key, size)
		if !validType(mode) || mode&typeMask != mode {
			t.Fatalf("type %o", mode)
		}
		if mode == typeDir && size > 0 && key != "" && key[len(key)-1] != '/' {
			t.Error("an object with content is a directory")
		}
		for _, at := range []time.Time{a.mtime, a.ctime, a.atime} {
			if !at.IsZero() && !inRange(at.Unix()) {
				t.Errorf("time %v", at)
			}
			if at.IsZero() {
				continue
			}
			again, ok := parseTime(formatTime(at))
			if !ok || again.Unix() != at.Unix() && at.Unix() >= 0 {
				t.Errorf("%v is written %s, which is %v", at, formatTime(at), again)
			}
		}
		if a.mode != nil && *a.mode > typeMask|permMask {
			t.Errorf("mode %o", *a.mode)
		}
	})
}

// FuzzMode: a mode as this program writes it is read as it was, where the type is one.
func FuzzMode(f *testing.F) {
	f.Add("33188", false)
	f.Add("0100644", true)
	f.Add("0xffffffff", false)
	f.Fuzz(func(t *testing.T, s string, slash bool) {
		if mode, ok := parseMode(s, slash); ok && mode > typeMask|permMask {
			t.Errorf("%q is %o", s, mode)
		}
	})
}

// FuzzXAttrs: s3fs's header of attributes, and the packing back.
func FuzzXAttrs(f *testing.F) {
	f.Add("%7B%22user.a%22%3A%22Yg%3D%3D%22%7D")
	f.Add("{}")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, s string) {
		all := unpackXAttrs(s)
		if len(all) == 0 {
			return
		}
		meta := map[string]string{}
		packXAttrs(meta, all)
		if again := unpackXAttrs(meta[metaXAttr]); !maps.Equal(again, all) {
			t.Errorf("%q became %q", all, again)
		}
	})
}

// FuzzXAttrValue: a value survives its coding.
func FuzzXAttrValue(f *testing.F) {
	f.Add("a\x00\xff% b")
	f.Fuzz(func(t *testing.T, s string) {
		if got := decodeValue(encodeValue(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
		_ = decodeValue(s)
	})
}
