package s3client

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var oddKeys = []string{" ", " lead", "trail ", "a b", "a+b", "a%b", "a%2Fb", "a&b", "a<b>", `a"b'`, "a#b?c=d", "a\\b;c", "a\tb",
	"a\nb", "a\rb", "a\x07b", "a\x1bb", "a\x7fb", "//", "/a", "a/", "a//b", ".", "..", "a/../b", "😀", "é", "e\u0301", "\ufffe\uffff",
	"]]>", "&amp;", "<!--", strings.Repeat("k", 1024)}

// bucketOf is a store with keys, as List Objects of either version answers.
func bucketOf(keys []string, v1, encode bool) func(http.ResponseWriter, *http.Request, int) {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		q := r.URL.Query()
		after, most := q.Get("start-after"), 1000
		if v1 {
			after = q.Get("marker")
		}
		if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
			most = n
		}
		text := func(s string) string {
			if encode { // as Swift does it; others write a space as "+"
				s = strings.NewReplacer("%2F", "/", "+", "%2B").Replace(url.PathEscape(s))
			}
			var b strings.Builder
			xml.EscapeText(&b, []byte(s))
			return b.String()
		}
		var contents, prefixes strings.Builder
		n, truncated, last := 0, false, ""
		for _, key := range keys {
			if key <= after || !strings.HasPrefix(key, q.Get("prefix")) {
				continue
			}
			prefix := ""
			if d := q.Get("delimiter"); d != "" {
				if i := strings.Index(key[len(q.Get("prefix")):], d); i >= 0 {
					prefix = key[:len(q.Get("prefix"))+i+len(d)]
				}
			}
			if prefix != "" && prefix == last {
				continue
			}
			if n == most {
				truncated = true
				break
			}
			n++
			if prefix != "" {
				last = prefix
				fmt.Fprintf(&prefixes, "<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>", text(prefix))
				continue
			}
			fmt.Fprintf(&contents, "<Contents><Key>%s</Key><LastModified>2024-01-02T03:04:05.678Z</LastModified><ETag>&quot;%d&quot;</ETag>"+
				"<Size>%d</Size><Owner><ID>me</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>", text(key), n, len(key))
		}
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>`)
		if encode {
			io.WriteString(w, "<EncodingType>url</EncodingType>")
		}
		if v1 {
			fmt.Fprintf(w, "<Marker>%s</Marker>", text(after))
		} else {
			fmt.Fprintf(w, "<KeyCount>%d</KeyCount>", n)
		}
		fmt.Fprintf(w, "<IsTruncated>%v</IsTruncated>%s%s</ListBucketResult>", truncated, contents.String(), prefixes.String())
	}
}

func listAll(t *testing.T, c *Client, req ListRequest) (all []string) {
	t.Helper()
	for range 10000 {
		page, err := c.List(t.Context(), req)
		noError(t, err)
		var names []string
		for _, o := range page.Objects {
			if o.Bucket != "bucket" || o.Size != int64(len(o.Key)) || o.Modified.UnixMilli() != 1704164645678 || o.ETag == "" ||
				o.StorageClass != "STANDARD" || o.Headers != nil {
				t.Fatalf("%+v", o)
			}
			names = append(names, o.Key)
		}
		names = append(names, page.Prefixes...)
		slices.Sort(names)
		all = append(all, names...)
		if req.After = page.Next; req.After == "" {
			return all
		}
	}
	t.Fatal("the listing does not end")
	return nil
}

func TestListOddKeys(t *testing.T) {
	for _, v1 := range []bool{false, true} {
		for _, encode := range []bool{true, false} {
			keys := oddKeys
			if !encode { // a store that ignores encoding-type cannot send what XML cannot hold
				keys = slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !xmlCanHold(k) })
			}
			c, srv := serve(t, bucketOf(keys, v1, encode))
			got := listAll(t, c, ListRequest{Bucket: "bucket", Max: 3})
			want := slices.Sorted(slices.Values(keys))
			if !slices.Equal(got, want) {
				t.Errorf("v1 %v encoded %v:\n got %q\nwant %q", v1, encode, got, want)
			}
			if c.Profile().ListV1 != v1 {
				t.Errorf("v1 is %v", c.Profile().ListV1)
			}
			if got := c.Counters().Snapshot(); got.List != got.Total() || int(got.List) != len(srv.requests()) {
				t.Errorf("%+v", got)
			}
		}
	}
}

// One entry a page, prefixes too: the listing goes on behind each prefix and ends.
func TestListDelimited(t *testing.T) {
	keys := []string{"a", "a-/x", "a/", "a/1", "a/2", "a0", "b/c/d", "b/c/e", "b/d", "c", "c\U0010FFFF", "d/\U0010FFFF"}
	for _, most := range []int{1, 2, 3, 0} {
		c, _ := serve(t, bucketOf(keys, false, true))
		for _, tt := range []struct {
			prefix string
			want   []string
		}{
			{"", []string{"a", "a-/", "a/", "a0", "b/", "c", "c\U0010FFFF", "d/"}},
			{"a/", []string{"a/", "a/1", "a/2"}},
			{"b/", []string{"b/c/", "b/d"}},
			{"a", []string{"a", "a-/", "a/", "a0"}},
			{"zzz", nil},
		} {
			if got := listAll(t, c, ListRequest{Bucket: "bucket", Prefix: tt.prefix, Delimiter: "/", Max: most}); !slices.Equal(got, tt.want) {
				t.Errorf("prefix %q by %d:\n got %q\nwant %q", tt.prefix, most, got, tt.want)
			}
		}
	}
}

// Pages without an entry are passed over by the store's own cursor.
func TestListEmptyPages(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch r.URL.Query().Get("continuation-token") {
		case "":
			io.WriteString(w, "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>t1</NextContinuationToken></ListBucketResult>")
		case "t1":
			io.WriteString(w, "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>t2</NextContinuationToken></ListBucketResult>")
		default:
			io.WriteString(w, "<ListBucketResult><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>1</Size></Contents></ListBucketResult>")
		}
	})
	page, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
	if err != nil || len(page.Objects) != 1 || page.Next != "" {
		t.Errorf("%+v %v", page, err)
	}
}

// A page that is cut off or strange is an error, never a short directory.
func TestListBrokenPages(t *testing.T) {
	for name, doc := range map[string]string{
		"cut off":        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key>",
		"empty":          "",
		"another":        "<Other></Other>",
		"no size":        "<ListBucketResult><KeyCount>1</KeyCount><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>",
		"no key":         "<ListBucketResult><KeyCount>1</KeyCount><Contents><Size>1</Size></Contents></ListBucketResult>",
		"bad escape":     "<ListBucketResult><KeyCount>1</KeyCount><EncodingType>url</EncodingType><Contents><Key>%zz</Key><Size>1</Size></Contents></ListBucketResult>",
		"behind the end": "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult><x/>",
	} {
		c, _ := serve(t, says200(doc))
		_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
		want(t, name, err, Unknown, "UnknownAnswer")
	}
}

func TestListFallsBackToVersion1(t *testing.T) {
	for name, status := range map[string]int{"NotImplemented": 501, "InvalidArgument": 400} {
		old := bucketOf([]string{"a", "b"}, true, true)
		c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
			if r.URL.Query().Get("list-type") == "2" {
				refuse(w, status, name, "")
				return
			}
			old(w, r, n)
		})
		for range 2 {
			if got := listAll(t, c, ListRequest{Bucket: "bucket"}); !slices.Equal(got, []string{"a", "b"}) {
				t.Error(got)
			}
		}
		if len(srv.requests()) != 3 || !c.Profile().ListV1 {
			t.Errorf("%v", srv.requests())
		}
	}
	// A refusal that version 1 gets too is the refusal.
	c, _ := serve(t, say(400, "InvalidArgument"))
	_, err := c.List(t.Context(), ListRequest{Bucket: "bucket"})
	want(t, "both", err, Invalid, "InvalidArgument")
	if c.Profile().ListV1 {
		t.Error("version 1 remembered")
	}
}

func TestBuckets(t *testing.T) {
	c, srv := serve(t, says200(`<?xml version="1.0"?><ListAllMyBucketsResult><Owner><ID>i</ID></Owner><Buckets><Bucket><Name>zeta</Name>`+
		`<CreationDate>2009-02-03T16:45:09.000Z</CreationDate></Bucket><Bucket><Name>a+segments</Name></Bucket></Buckets></ListAllMyBucketsResult>`))
	got, err := c.Buckets(t.Context())
	if err != nil || len(got) != 2 || got[0].Name != "a+segments" || got[1].Name != "zeta" || got[1].Created.Year() != 2009 {
		t.Errorf("%+v %v", got, err)
	}
	if n := c.Counters().Snapshot(); n.List != 1 || srv.requests()[0] != "GET /" {
		t.Errorf("%+v %v", n, srv.requests())
	}
}

func TestLocationAndACL(t *testing.T) {
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch {
		case r.Method == http.MethodPut:
		case r.URL.Query().Has("location"):
			io.WriteString(w, `<LocationConstraint xmlns="x">KR1</LocationConstraint>`)
		default:
			io.WriteString(w, `<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList>`+
				`<Grant><Grantee xmlns:xsi="y" xsi:type="CanonicalUser"><ID>me</ID><DisplayName>Me</DisplayName></Grantee><Permission>FULL_CONTROL</Permission></Grant>`+
				`<Grant><Grantee><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>`+
				`</AccessControlList></AccessControlPolicy>`)
		}
	})
	if loc, err := c.BucketLocation(t.Context(), "bucket"); loc != "KR1" || err != nil {
		t.Error(loc, err)
	}
	acl, err := c.BucketACL(t.Context(), "bucket")
	if err != nil || acl.Owner != "me" || !slices.Equal(acl.Grants, []Grant{{"me", "FULL_CONTROL"},
		{"http://acs.amazonaws.com/groups/global/AllUsers", "READ"}}) {
		t.Errorf("%+v %v", acl, err)
	}
	noError(t, c.SetBucketACL(t.Context(), "bucket", "public-read"))
	if h := srv.header(3); h.Get("X-Amz-Acl") != "public-read" || srv.requests()[2] != "PUT /bucket/?acl=" {
		t.Errorf("%v %v", h, srv.requests())
	}
	want(t, "unknown ACL", c.SetBucketACL(t.Context(), "bucket", "public"), Invalid, "InvalidArgument")
	if got := c.Counters().Snapshot(); got.Get != 2 || got.Put != 1 || got.List != 0 {
		t.Errorf("%+v", got)
	}
}

func BenchmarkParseListing(b *testing.B) {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("some/directory/file-%06d.dat", i)
	}
	rec := &recorder{}
	r, _ := http.NewRequest("GET", "http://x/bucket/?encoding-type=url", nil)
	bucketOf(keys, false, true)(rec, r, 1)
	b.ReportAllocs()
	for b.Loop() {
		if p, err := parseListing(rec.doc); err != nil || len(p.objects) != 1000 {
			b.Fatal(err)
		}
	}
}

type recorder struct{ doc []byte }

func (r *recorder) Header() http.Header { return http.Header{} }
func (r *recorder) WriteHeader(int)     {}
func (r *recorder) Write(p []byte) (int, error) {
	r.doc = append(r.doc, p...)
	return len(p), nil
}
