package mount

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pailfs/tests/storeproxy"
	"pailfs/tests/testenv"
)

var withXAttr = testenv.Args("--xattr")

func getXAttr(t *testing.T, path, name string) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, name, buf)
	if err != nil {
		t.Fatalf("getxattr %s %s: %v", path, name, err)
	}
	return string(buf[:n])
}

func setXAttr(t *testing.T, path, name, value string) {
	t.Helper()
	if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
		t.Fatalf("setxattr %s %s: %v", path, name, err)
	}
}

func xattrNames(t *testing.T, path string) []string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatalf("listxattr %s: %v", path, err)
	}
	names := strings.Split(string(buf[:n]), "\x00")
	return names[:len(names)-1]
}

func wantNoXAttr(t *testing.T, path, name string, want error) {
	t.Helper()
	if n, err := unix.Lgetxattr(path, name, nil); !errors.Is(err, want) {
		t.Errorf("getxattr %s %s: %d, %v, want %v", path, name, n, err, want)
	}
}

// wantMeta sees that an object's user metadata has these values; "" that it lacks the name.
func wantMeta(t *testing.T, s *testenv.Server, bucket, key string, want map[string]string) {
	t.Helper()
	h := head(t, s, bucket, key).Headers
	for name, value := range want {
		if got, ok := h.Meta[name]; got != value || ok != (value != "") {
			t.Errorf("%s: metadata %s is %q, want %q; all: %v", key, name, got, value, h.Meta)
		}
	}
}

// Attributes are user metadata, whatever bytes they have, and stay with the object for every mount and tool.
func TestExtendedAttributesAreUserMetadata(t *testing.T) {
	both(t, func(t *testing.T, durability string) {
		w := writes(t, durability, map[string][]byte{"f": []byte("content"), "d/x": nil}, withXAttr)
		values := map[string]string{
			"user.plain":       "some text, 100% of it",
			"user.With.Upper":  "case",
			"user.under_score": "1",
			"user.한글 이름":       "안녕하세요",
			"user.bytes":       "\x00\x01\xff\n\r\t",
			"user.spaces":      "  at both ends  ",
			"user.coded":       "%41 stays as it is",
			"user.mode":        "is no mode",
			"user.empty":       "",
		}
		sh(t, w.m.Dir, "mkdir made; chmod 640 f")
		w.stored(durability)
		w.took()
		for _, name := range []string{"f", "made", "d"} {
			for attr, value := range values {
				setXAttr(t, w.path(name), attr, value)
			}
		}
		w.stored(durability)
		copies := w.took()
		if n := len(copies.of(storeproxy.Copy)); durability == inStore && n != len(values) || durability == inJournal && n > len(values) {
			t.Errorf("%d attributes of a file took %d copies: %v", len(values), n, copies)
		}
		check := func() {
			t.Helper()
			for _, name := range []string{"f", "made", "d"} {
				if got, want := xattrNames(t, w.path(name)), slices.Sorted(maps.Keys(values)); !slices.Equal(got, want) {
					t.Errorf("%s has %q, want %q", name, got, want)
				}
				for attr, value := range values {
					if got := getXAttr(t, w.path(name), attr); got != value {
						t.Errorf("%s: %s is %q, want %q", name, attr, got, value)
					}
				}
			}
		}
		check()
		if asked := w.took(); len(asked) > 0 {
			t.Errorf("reading what was set here cost %v", asked)
		}
		wantMeta(t, w.s, w.bucket, "f", map[string]string{"plain": "some text, 100% of it", "%57ith.%55pper": "case", "mode": "33184",
			"%6dode": "is no mode"})
		w.m.Unmount()
		w.again(durability, withXAttr)
		check()
		if st, err := os.Stat(w.path("f")); err != nil || st.Mode() != 0o640 {
			t.Errorf("f: %v, %v", st.Mode(), err)
		}
		for _, name := range []string{"f", "made", "d"} {
			if err := unix.Lremovexattr(w.path(name), "user.bytes"); err != nil {
				t.Errorf("removexattr %s: %v", name, err)
			}
			wantNoXAttr(t, w.path(name), "user.bytes", unix.ENODATA)
		}
		w.stored(durability)
		wantMeta(t, w.s, w.bucket, "f", map[string]string{"bytes": "", "plain": "some text, 100% of it"})
		sameBytes(t, "f", read(t, w.path("f")), []byte("content"))
	})
}

// What is set before the close travels with the upload, and survives a rename and a rewriting.
func TestExtendedAttributesTravelWithTheFile(t *testing.T) {
	both(t, func(t *testing.T, durability string) {
		w := writes(t, durability, nil, withXAttr)
		if out := sh(t, w.m.Dir, "ls"); out != "" {
			t.Fatal(out)
		}
		w.took()
		f, err := os.Create(w.path("new"))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, f, []byte("first"))
		if err := unix.Fsetxattr(int(f.Fd()), "user.origin", []byte("here"), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		w.stored(durability)
		if r := w.took(); len(r) != 1 || len(r.of(storeproxy.Put)) != 1 {
			t.Errorf("a file with an attribute took %v", r)
		}
		wantMeta(t, w.s, w.bucket, "new", map[string]string{"origin": "here"})
		sh(t, w.m.Dir, "mv new moved; echo more >> moved; setfattr -n user.second -v 2 moved; cp --preserve=xattr,mode moved copy")
		w.stored(durability)
		for _, key := range []string{"moved", "copy"} {
			wantMeta(t, w.s, w.bucket, key, map[string]string{"origin": "here", "second": "2"})
		}
		sameBytes(t, "moved", object(t, w.s, w.bucket, "moved"), []byte("firstmore\n"))
	})
}

// An upload in parts has the attributes as well; names that a store would change on that way are coded.
func TestExtendedAttributesOfAStreamedFile(t *testing.T) {
	w := writes(t, inStore, nil, withXAttr)
	f, err := os.Create(w.path("long"))
	if err != nil {
		t.Fatal(err)
	}
	content := noise(3, 20<<20)
	fill(t, f, content)
	if err := unix.Fsetxattr(int(f.Fd()), "user.under_score", []byte("kept"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantMeta(t, w.s, w.bucket, "long", map[string]string{"under%5fscore": "kept"})
	sameBytes(t, "long", object(t, w.s, w.bucket, "long"), content)
}

func TestExtendedAttributesOfOtherTools(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	s.Put(t, bucket, "s3fs", nil, map[string]string{"mode": "33188", // user.a, user.b, trusted.c
		"xattr": "%7B%22user.a%22%3A%22MQ%3D%3D%22%2C%22user.b%22%3A%22Mg%3D%3D%22%2C%22trusted.c%22%3A%22Mw%3D%3D%22%7D"})
	s.Put(t, bucket, "other", nil, map[string]string{"department": "sales", "owner": "1000", "done": "100%", "coded": "a%20b"})
	m := mount(t, s, bucket, withXAttr)
	if got := xattrNames(t, m.Path("s3fs")); !slices.Equal(got, []string{"user.a", "user.b"}) {
		t.Errorf("of s3fs's: %q", got)
	}
	if got := xattrNames(t, m.Path("other")); !slices.Equal(got, []string{"user.coded", "user.department", "user.done"}) {
		t.Errorf("of others': %q", got)
	}
	out := sh(t, m.Dir, `getfattr --absolute-names --only-values -n user.b s3fs; getfattr --only-values -n user.done other
		getfattr --only-values -n user.coded other; setfattr -n user.a -v one s3fs; setfattr -x user.b s3fs; stat -c ' %u' other`)
	if out != "2100%a b 1000" {
		t.Errorf("read %q", out)
	}
	wantMeta(t, s, bucket, "s3fs", map[string]string{"a": "one", "b": "", "xattr": "%7B%22trusted.c%22:%22Mw==%22%7D"})
	if got := xattrNames(t, m.Path("s3fs")); !slices.Equal(got, []string{"user.a"}) {
		t.Errorf("then: %q", got)
	}
}

func TestExtendedAttributeErrors(t *testing.T) {
	_, bucket, m := openStore(t, withXAttr, testenv.ExpectLog("set attributes failed.*the store takes"))
	file := m.Path("f")
	write(t, file, nil)
	for _, c := range []struct {
		name, value string
		flags       int
		want        error
	}{
		{"user.new", "1", unix.XATTR_REPLACE, unix.ENODATA},
		{"user.new", "1", unix.XATTR_CREATE, nil},
		{"user.new", "2", unix.XATTR_CREATE, unix.EEXIST},
		{"user.new", "3", unix.XATTR_REPLACE, nil},
		{"user.", "x", 0, unix.EINVAL},
		{"trusted.x", "x", 0, unix.EOPNOTSUPP},
		{"security.x", "x", 0, unix.EOPNOTSUPP},
		{"user.pailfs.etag", "x", 0, unix.EPERM},
		{"user.pailfs.content-type", "two\nlines", 0, unix.EINVAL},
		{"user.pailfs.acl", "private", 0, unix.ENODATA},
		{"user.large", strings.Repeat("x", 4096), 0, unix.ENOSPC},
		{"user." + strings.Repeat("Ä", 100), "x", 0, unix.ENOSPC}, // 600 bytes of %XX
	} {
		if err := unix.Lsetxattr(file, c.name, []byte(c.value), c.flags); !errors.Is(err, c.want) {
			t.Errorf("setxattr %.40s flags %d: %v, want %v", c.name, c.flags, err, c.want)
		}
	}
	wantNoXAttr(t, file, "user.none", unix.ENODATA)
	wantNoXAttr(t, file, "user.pailfs.none", unix.ENODATA)
	wantNoXAttr(t, file, "security.selinux", unix.ENODATA)
	if err := unix.Lremovexattr(file, "user.none"); !errors.Is(err, unix.ENODATA) {
		t.Errorf("removexattr of none: %v", err)
	}
	if n, err := unix.Lgetxattr(file, "user.new", make([]byte, 0, 1)[:1:1]); n != 1 || err != nil {
		t.Errorf("into one byte: %d, %v", n, err)
	}
	setXAttr(t, file, "user.two", "22")
	if _, err := unix.Lgetxattr(file, "user.two", make([]byte, 1)); !errors.Is(err, unix.ERANGE) {
		t.Errorf("into too little: %v", err)
	}
	if _, err := unix.Llistxattr(file, make([]byte, 5)); !errors.Is(err, unix.ERANGE) {
		t.Errorf("list into too little: %v", err)
	}
	if err := unix.Symlink("f", m.Path("link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lsetxattr(m.Path("link"), "user.x", []byte("1"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("on a link itself: %v", err)
	}
	if err := unix.Lsetxattr(m.Dir, "user.x", []byte("1"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("on the bucket %s: %v", bucket, err)
	}
}

// A file with unsaved bytes refuses at once what its upload could not carry.
func TestUnsavedFileRefusesTooMuchMetadata(t *testing.T) {
	w := writes(t, inStore, nil, withXAttr, testenv.ExpectLog("set attributes failed.*the store takes"))
	f, err := os.Create(w.path("f"))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, f, []byte("bytes"))
	set, full := 0, error(nil)
	for i := 0; full == nil && i < 100; i++ {
		if full = unix.Fsetxattr(int(f.Fd()), fmt.Sprintf("user.n%02d", i), []byte(strings.Repeat("v", 100)), 0); full == nil {
			set++
		}
	}
	if !errors.Is(full, unix.ENOSPC) || set < 15 {
		t.Errorf("%d attributes, then %v", set, full)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := xattrNames(t, w.path("f")); len(got) != set {
		t.Errorf("%d of %d attributes", len(got), set)
	}
	wantMeta(t, w.s, w.bucket, "f", map[string]string{"n00": strings.Repeat("v", 100)})
}

func TestVirtualAttributes(t *testing.T) {
	both(t, func(t *testing.T, durability string) {
		w := writes(t, durability, map[string][]byte{"dir/page.html": []byte("<p>"), "plain": noise(1, 100_000)}, withXAttr)
		page := w.path("dir/page.html")
		o := head(t, w.s, w.bucket, "dir/page.html")
		for name, want := range map[string]string{"etag": o.ETag, "key": "dir/page.html", "content-type": o.Headers.ContentType,
			"storage-class": "STANDARD", "upload-state": "stored"} {
			if got := getXAttr(t, page, "user.pailfs."+name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if got := getXAttr(t, w.path("dir"), "user.pailfs.key"); got != "dir/" {
			t.Errorf("a directory's key %q", got)
		}
		if got := xattrNames(t, page); len(got) > 0 {
			t.Errorf("listed: %q", got)
		}
		read(t, w.path("plain"))
		if got := getXAttr(t, w.path("plain"), "user.pailfs.cache-state"); got != "memory 100000, disk 0 of 100000 bytes" {
			t.Errorf("after reading: %q", got)
		}
		setXAttr(t, page, "user.pailfs.content-type", "text/plain; charset=utf-8")
		w.stored(durability)
		if got := head(t, w.s, w.bucket, "dir/page.html").Headers.ContentType; got != "text/plain; charset=utf-8" {
			t.Errorf("content type %q", got)
		}
		f, err := os.Create(w.path("data.json"))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, f, []byte("{}"))
		if got := getXAttr(t, w.path("data.json"), "user.pailfs.upload-state"); got != "unsaved 2 bytes" {
			t.Errorf("while it is written: %q", got)
		}
		wantNoXAttr(t, w.path("data.json"), "user.pailfs.etag", unix.ENODATA)
		if got := getXAttr(t, w.path("data.json"), "user.pailfs.content-type"); got != "application/json" {
			t.Errorf("the type by the name: %q", got)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		w.stored(durability)
		if got := getXAttr(t, w.path("data.json"), "user.pailfs.upload-state"); got != "stored" {
			t.Errorf("then: %q", got)
		}
		if got := head(t, w.s, w.bucket, "data.json").Headers.ContentType; got != "application/json" {
			t.Errorf("stored as %q", got)
		}
	})
}

func TestBucketAttributes(t *testing.T) {
	s := start(t)
	bucket := s.Bucket(t)
	m := mount(t, s, "", withXAttr, testenv.AllowLog("set acl failed.*operation not supported"))
	dir := m.Path(bucket)
	if got := getXAttr(t, dir, "user.pailfs.location"); got != s.Region {
		t.Errorf("location %q", got)
	}
	wantNoXAttr(t, m.Dir, "user.pailfs.acl", unix.ENODATA)
	if err := unix.Lsetxattr(dir, "user.pailfs.acl", []byte("wide-open"), 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an ACL that is none: %v", err)
	}
	for _, acl := range []string{"public-read", "private"} {
		if err := unix.Lsetxattr(dir, "user.pailfs.acl", []byte(acl), 0); errors.Is(err, unix.EOPNOTSUPP) {
			t.Logf("the store has no %s", acl)
			continue
		} else if err != nil {
			t.Errorf("set %s: %v", acl, err)
			continue
		}
		if got := getXAttr(t, dir, "user.pailfs.acl"); got != acl {
			t.Errorf("%s set, %s read", acl, got)
		}
	}
}

// Without --xattr nobody is asked twice.
func TestNoExtendedAttributesUnlessAsked(t *testing.T) {
	_, _, m := openStore(t)
	write(t, m.Path("f"), nil)
	if err := unix.Lsetxattr(m.Path("f"), "user.x", []byte("1"), 0); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("setxattr: %v", err)
	}
	wantNoXAttr(t, m.Path("f"), "user.x", unix.EOPNOTSUPP)
}
