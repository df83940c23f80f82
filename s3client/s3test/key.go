package s3test

import (
	"fmt"
	"strings"
	"testing"

	"pailfs/s3client"
)

var keyBehaviours = []behaviour{
	{"odd keys are put, read, listed, copied and deleted", nil, testOddKeys},
	{"a key that no store takes says Invalid", nil, testBadKeys},
	{"a key and a key below it live side by side", noClash, testPrefixClash},
	{"a key that ends in a slash is an object", nil, testSlashKey},
}

func noClash(o Options) string {
	if o.NoObjectPrefixClash {
		return "keys a and a/b cannot be there together"
	}
	return ""
}

// oddKey is a key that encoders get wrong, and what a server may lack to take it.
type oddKey struct {
	key  string
	lack func(Options) bool
}

func oddKeys() []oddKey {
	keys := []oddKey{
		{"a b  c", nil}, {" leading and trailing ", nil}, {"한글/파일 이름.txt", nil}, {"e\u0301 NFD", nil}, {"\u00e9 NFC", nil},
		{"emoji-\U0001F600", nil}, {"100%", nil}, {"%41%2F%zz", nil}, {"a+b", nil}, {"a&b=c", nil}, {"<tag>", nil},
		{`"double" 'single'`, nil}, {"hash#and?question", nil}, {`back\slash`, nil}, {"semi;colon:comma,", nil},
		{"tilde~star*bang!(paren)[bracket]{brace}", nil}, {"dollar$at@caret^grave`pipe|", nil}, {".hidden", nil},
		{"..twodots", nil}, {"key=x-amz-meta-a", nil}, {"a/b/c/d/e/f/g/h/i/j", nil}, {"tab\there", nil},
		{"line\nfeed", nil}, {"carriage\rreturn", nil}, {"delete\x7f", nil},
	}
	control := func(o Options) bool { return o.NoControlCharKeys }
	for _, k := range []string{"bell\a", "escape\x1b[0m", "\x01", "\ufffe\uffff"} {
		keys = append(keys, oddKey{k, control})
	}
	path := func(o Options) bool { return o.NoPathKeys }
	for _, k := range []string{"a//b", "/leading", "a/./b", "a/../b", "a/.."} {
		keys = append(keys, oddKey{k, path})
	}
	long := strings.Repeat(strings.Repeat("k", 99)+"/", 10)
	keys = append(keys, oddKey{long[:999] + "k", nil},
		oddKey{strings.Repeat("한", 333) + "x", func(o Options) bool { return o.NoLongComponents }})
	return keys
}

func testOddKeys(t *testing.T, s *suite) {
	for _, odd := range oddKeys() {
		t.Run(fmt.Sprintf("%.40q", odd.key), func(t *testing.T) {
			if odd.lack != nil && odd.lack(s.o) {
				s.skip(t, "the server does not take such keys")
			}
			s.testOddKey(t, odd.key)
		})
	}
}

// testOddKey gives the key a bucket of its own, so that nothing precedes it.
func (s *suite) testOddKey(t *testing.T, key string) {
	ctx, b, p := t.Context(), s.newBucket(t), []byte("content of "+key)
	s.putWith(t, b, key, p, s3client.Headers{ContentType: "text/plain", Meta: map[string]string{"a": "b"}})
	s.wantObject(t, b, key, p, md5sum(p))
	s.wantList(t, s3client.ListRequest{Bucket: b}, []string{key}, nil)
	s.wantList(t, s3client.ListRequest{Bucket: b, Prefix: key}, []string{key}, nil)
	if i := strings.Index(key, "/"); i >= 0 && i < len(key)-1 {
		s.wantList(t, s3client.ListRequest{Bucket: b, Delimiter: "/"}, nil, []string{key[:i+1]})
	}
	_, err := s.store.Copy(ctx, s3client.CopyRequest{SrcBucket: b, SrcKey: key, Bucket: b, Key: "a-copy"})
	must(t, "copy from it", err)
	s.wantObject(t, b, "a-copy", p, md5sum(p))
	must(t, "delete", s.store.Delete(ctx, b, key))
	s.wantGone(t, b, key)
	_, err = s.store.Copy(ctx, s3client.CopyRequest{SrcBucket: b, SrcKey: "a-copy", Bucket: b, Key: key})
	must(t, "copy to it", err)
	s.wantObject(t, b, key, p, md5sum(p))
	failed, err := s.store.DeleteMany(ctx, b, []string{key, "a-copy"})
	if err != nil || len(failed) > 0 {
		t.Fatalf("delete many: %v %v", failed, err)
	}
	s.wantGone(t, b, key)
	s.wantGone(t, b, "a-copy")
}

func testBadKeys(t *testing.T, s *suite) {
	if s.o.BadKeyFails {
		s.leaveOut(t, "the server's errors for bad keys are of any kind")
	}
	for name, key := range map[string]string{"empty": "", "too long": strings.Repeat("k/", 600), "invalid UTF-8": "a\xff\xfeb",
		"NUL": "a\x00b"} {
		_, err := s.store.Put(t.Context(), putRequest(s.bucket, key, []byte("x"), s3client.Headers{}))
		s.wantBadKey(t, "put of a key that is "+name, err)
		_, err = s.store.Head(t.Context(), s.bucket, key)
		s.wantBadKey(t, "head of a key that is "+name, err)
	}
}

func (s *suite) wantBadKey(t *testing.T, what string, err error) {
	t.Helper()
	if s.o.BadKeyFails && err != nil {
		return
	}
	wantKind(t, what, err, s3client.Invalid)
}

func testPrefixClash(t *testing.T, s *suite) {
	for _, key := range []string{"clash", "clash/below", "clash/"} {
		s.put(t, key, []byte(key))
	}
	for _, key := range []string{"clash", "clash/below", "clash/"} {
		s.wantObject(t, s.bucket, key, []byte(key), "")
	}
	s.wantList(t, s3client.ListRequest{Bucket: s.bucket, Prefix: "clash", Delimiter: "/"}, []string{"clash"},
		[]string{"clash/"})
	must(t, "delete", s.store.Delete(t.Context(), s.bucket, "clash"))
	s.wantObject(t, s.bucket, "clash/below", []byte("clash/below"), "")
}

func testSlashKey(t *testing.T, s *suite) {
	h := s3client.Headers{ContentType: "application/directory", Meta: map[string]string{"mode": "16877"}}
	s.putWith(t, s.bucket, "slash/dir/", nil, h)
	head := s.wantObject(t, s.bucket, "slash/dir/", nil, "")
	if s.o.OwnDirectoryType {
		s.leaveOut(t, "Content-Type of a key that ends in a slash")
		h.ContentType = head.Headers.ContentType
	}
	wantHeaders(t, head.Headers, h)
	s.wantGone(t, s.bucket, "slash/dir")
	s.wantList(t, s3client.ListRequest{Bucket: s.bucket, Prefix: "slash/dir/", Delimiter: "/"}, []string{"slash/dir/"}, nil)
	s.wantList(t, s3client.ListRequest{Bucket: s.bucket, Prefix: "slash/", Delimiter: "/"}, nil, []string{"slash/dir/"})
	must(t, "delete", s.store.Delete(t.Context(), s.bucket, "slash/dir/"))
	s.wantGone(t, s.bucket, "slash/dir/")
	if s.o.NoSlashBody {
		s.leaveOut(t, "no bytes in a key that ends in a slash")
		return
	}
	s.put(t, "slash/full/", []byte("bytes"))
	s.wantObject(t, s.bucket, "slash/full/", []byte("bytes"), md5sum([]byte("bytes")))
}
