package s3client

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// What a store answers is anybody's text. A parser may refuse it and must not do anything else: no panic, no more than the text is
// long, and what it takes keeps to what the callers rely on.

// storeDocuments are those of all kinds: each parser is given the others' as well.
var storeDocuments = []string{
	`<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>a/</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>` +
		`<EncodingType>url</EncodingType><NextContinuationToken>t</NextContinuationToken><Contents><Key>a/x%20y</Key><LastModified>2024-01-02T03:04:05.678Z</LastModified>` +
		`<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-2&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>` +
		`<CommonPrefixes><Prefix>a/b/</Prefix></CommonPrefixes></ListBucketResult>`,
	`<?xml version="1.0"?><ListBucketResult><Marker>a</Marker><NextMarker>a%2Fz</NextMarker><IsTruncated>true</IsTruncated><Contents><Key><![CDATA[a/<&>]]></Key><Size>0</Size></Contents></ListBucketResult>`,
	`<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Upload><Key>k%00</Key><UploadId>u</UploadId><Initiated>2024-01-02T03:04:05Z</Initiated></Upload></ListMultipartUploadsResult>`,
	`<ListPartsResult><IsTruncated>true</IsTruncated><Part><PartNumber>1</PartNumber><ETag>"a"</ETag><Size>5</Size></Part><Part><PartNumber>9</PartNumber><Size>9223372036854775807</Size></Part></ListPartsResult>`,
	`<Error><Code>SlowDown</Code><Message>&lt;b&gt;&#x1b;[2J</Message><RequestId>tx1</RequestId><Region> KR1 </Region></Error>`,
	`<CopyObjectResult><LastModified>2024-01-02T03:04:05Z</LastModified><ETag>&#34;e&#34;</ETag></CopyObjectResult>`,
	`<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>`,
	`<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee xsi:type="Group"><URI>http://x/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`,
	`<LocationConstraint>KR1</LocationConstraint>`,
	`<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name><CreationDate>2009-02-03T16:45:09.000Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>`,
	`<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Error><Code>&b;</Code></Error>`,
	strings.Repeat("<a>", maxXMLDepth+1), strings.Repeat("<a>", maxXMLDepth) + strings.Repeat("</a>", maxXMLDepth),
	`<a b='>' c="<">x</a>`, "<a>&#xFFFFFFFF;</a>", "<a>&unknown;</a>", "\xef\xbb\xbf<a/>", "<a:b></a:b>", "<a></b>", "<", "</>", "<a/><b/>", "<!-- x --><a><!-- y --></a>",
}

func addStoreDocuments(f *testing.F) {
	for _, doc := range storeDocuments {
		f.Add([]byte(doc))
	}
}

// FuzzXML: the walk itself. Text and names are parts of the document, or shorter than it.
func FuzzXML(f *testing.F) {
	addStoreDocuments(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		before := slices.Clone(doc)
		all, deepest := 0, 0
		root, err := walkXML(doc, func(path [][]byte, text []byte) {
			all, deepest = all+len(text), max(deepest, len(path))
		})
		if all > len(doc) || deepest > maxXMLDepth || len(root) > len(doc) {
			t.Errorf("%d bytes of text, %d deep, of %d bytes", all, deepest, len(doc))
		}
		if err == nil && root == "" {
			t.Error("a document without a root")
		}
		if !slices.Equal(before, doc) {
			t.Error("the document was changed")
		}
	})
}

// FuzzListing: what List makes of an answer lies where it was asked for, in order, behind what was seen, and goes on.
func FuzzListing(f *testing.F) {
	for _, doc := range storeDocuments {
		f.Add([]byte(doc), "a/", "/", "a/a")
		f.Add([]byte(doc), "", "", "")
	}
	f.Fuzz(func(t *testing.T, doc []byte, prefix, delimiter, after string) {
		raw, err := parseListing(doc)
		req := ListRequest{Bucket: "b", Prefix: prefix, Delimiter: delimiter, After: after}
		if err != nil {
			return
		}
		if _, stray := raw.stray(req); stray {
			return
		}
		p := raw.page(req)
		for i, o := range p.Objects {
			if !strings.HasPrefix(o.Key, prefix) || o.Key == "" || after != "" && o.Key <= after || o.Size < 0 || o.Size > mostBytes {
				t.Errorf("object %q of %d bytes, below %q behind %q", o.Key, o.Size, prefix, after)
			}
			if i > 0 && o.Key < p.Objects[i-1].Key {
				t.Errorf("%q stands behind %q", o.Key, p.Objects[i-1].Key)
			}
		}
		for i, s := range p.Prefixes {
			if !strings.HasPrefix(s, prefix) || s == prefix || !strings.HasSuffix(s, delimiter) || after != "" && s <= after || i > 0 && s <= p.Prefixes[i-1] {
				t.Errorf("prefix %q, below %q behind %q", s, prefix, after)
			}
		}
		if p.Next != "" && p.Next <= after {
			t.Errorf("the page behind %q ends at %q", after, p.Next)
		}
	})
}

func FuzzUploads(f *testing.F) {
	addStoreDocuments(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		uploads, _, err := parseUploads(doc)
		if err == nil && len(uploads) > len(doc) {
			t.Errorf("%d uploads of %d bytes", len(uploads), len(doc))
		}
	})
}

func FuzzParts(f *testing.F) {
	addStoreDocuments(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		parts, next, err := parseParts(doc)
		if err != nil {
			return
		}
		for _, p := range parts {
			if p.Number < 1 || p.Size < 0 || p.Size > mostBytes {
				t.Errorf("%+v", p)
			}
		}
		if next < 0 || next > 0 && len(parts) == 0 {
			t.Errorf("behind %d parts comes number %d", len(parts), next)
		}
	})
}

// FuzzErrorDocument: whatever a body is, it becomes a kind, and none that says that a file is not there unless the status does.
func FuzzErrorDocument(f *testing.F) {
	for _, doc := range storeDocuments {
		for _, status := range []int{200, 400, 404, 500} {
			f.Add([]byte(doc), status)
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, status int) {
		a := parseError(doc)
		if a == nil {
			return
		}
		e := &Error{Op: "GET Object", Bucket: "b", Key: "k"}
		answered(e, op{}, &attempt{status: status, answer: a})
		if e.Kind == NotFound && status != 404 && status != 410 && status >= 300 {
			t.Errorf("%d %+v is not found", status, a)
		}
		if a.foreign && !utf8.ValidString(a.message) {
			t.Errorf("%q", a.message)
		}
		if e.Error() == "" || len(a.message) > 2000+len(doc) {
			t.Errorf("%q", e.Error())
		}
	})
}

func FuzzCopyResult(f *testing.F) {
	addStoreDocuments(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		if etag, _, err := copyResult(doc); err == nil && etag == "" {
			t.Error("a copy without an ETag is a success")
		}
	})
}

func FuzzDeleteResult(f *testing.F) {
	addStoreDocuments(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		results, err := parseDeleteResult(op{name: "DELETE Multiple Objects", bucket: "b"}, doc)
		if err != nil {
			return
		}
		for key, e := range results {
			if e != nil && (e.Key != key || e.Error() == "") {
				t.Errorf("%q: %+v", key, e)
			}
		}
	})
}

func FuzzACL(f *testing.F) {
	addStoreDocuments(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		if acl, err := parseACL(doc); err == nil && acl.Canned() == "" {
			t.Errorf("%+v", acl)
		}
	})
}

// FuzzTimes: those of listings and of headers.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"2024-01-02T03:04:05.678Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "Tue, 02 Jan 2024 03:04:05 GMT", "-1", "120", "99999999999999999999"} {
		f.Add(s)
	}
	now := time.Unix(1700000000, 0)
	f.Fuzz(func(t *testing.T, s string) {
		if at := parseTime([]byte(s)); at.Year() < 0 || at.Year() > 9999+1 {
			t.Errorf("%q is %v", s, at)
		}
		h := map[string][]string{"Last-Modified": {s}, "Date": {s}, "Retry-After": {s}}
		if at := storedAt(h); !at.IsZero() && (at.Year() < 0 || at.Year() > 9999+1) {
			t.Errorf("%q is %v", s, at)
		}
		if d := retryAfter(h, now); d < 0 {
			t.Errorf("%q is a pause of %v", s, d)
		}
	})
}
