package store

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// listing is a list request.
type listing struct {
	prefix, delimiter, after string // after: only what sorts behind it
	max                      int
	v2, urls                 bool
}

// item is a key or a common prefix.
type item struct {
	name string
	obj  *object // nil: a common prefix
}

func (x *exchange) list() {
	q := x.r.URL.Query()
	l := listing{prefix: q.Get("prefix"), delimiter: q.Get("delimiter"), after: q.Get("marker"), max: 1000,
		v2: q.Get("list-type") == "2", urls: q.Get("encoding-type") == "url"}
	if v := q.Get("max-keys"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			x.fail(http.StatusBadRequest, "InvalidArgument", "max-keys")
			return
		}
		l.max = min(n, l.max)
	}
	if l.v2 {
		l.after = q.Get("start-after")
		if token := q.Get("continuation-token"); token != "" {
			last, err := base64.URLEncoding.DecodeString(token)
			if err != nil {
				x.fail(http.StatusBadRequest, "InvalidArgument", "continuation-token")
				return
			}
			l.after = string(last)
		}
	}
	items, more, there := x.s.objects.list(x.bucket, l)
	if !there {
		x.noBucket()
		return
	}
	x.xml(http.StatusOK, l.format(x.bucket, items, more))
}

// list is a page, and whether there is more behind it.
func (o *objects) list(bucketName string, l listing) (items []item, more, there bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	b, ok := o.mu.buckets[bucketName]
	if !ok {
		return nil, false, false
	}
	i, _ := slices.BinarySearch(b.keys, max(l.prefix, l.after))
	for i < len(b.keys) && strings.HasPrefix(b.keys[i], l.prefix) {
		it, next := item{b.keys[i], b.objects[b.keys[i]]}, i+1
		if l.delimiter != "" {
			if head, _, cut := strings.Cut(it.name[len(l.prefix):], l.delimiter); cut {
				it = item{name: l.prefix + head + l.delimiter}
				next, _ = slices.BinarySearch(b.keys, behind(it.name))
			}
		}
		i = next
		if it.name <= l.after && l.after != "" {
			continue
		}
		if len(items) == l.max {
			return items, l.max > 0, true
		}
		items = append(items, it)
	}
	return items, false, true
}

// behind sorts behind everything that begins with s.
func behind(s string) string { return s[:len(s)-1] + string([]byte{s[len(s)-1] + 1}) }

// format writes by hand: encoding/xml takes several times as long, and a listing has a thousand entries.
func (l listing) format(bucketName string, items []item, more bool) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	l.field(&b, "Name", bucketName, false)
	l.field(&b, "Prefix", l.prefix, true)
	if l.delimiter != "" {
		l.field(&b, "Delimiter", l.delimiter, true)
	}
	fmt.Fprintf(&b, "<MaxKeys>%d</MaxKeys><IsTruncated>%t</IsTruncated>", l.max, more)
	if l.urls {
		b.WriteString("<EncodingType>url</EncodingType>")
	}
	if l.v2 {
		fmt.Fprintf(&b, "<KeyCount>%d</KeyCount>", len(items))
	} else {
		l.field(&b, "Marker", l.after, true)
	}
	if more {
		last := items[len(items)-1].name
		if l.v2 {
			l.field(&b, "NextContinuationToken", base64.URLEncoding.EncodeToString([]byte(last)), false)
		} else {
			l.field(&b, "NextMarker", last, true)
		}
	}
	for _, it := range items {
		if it.obj == nil {
			b.WriteString("<CommonPrefixes>")
			l.field(&b, "Prefix", it.name, true)
			b.WriteString("</CommonPrefixes>")
			continue
		}
		b.WriteString("<Contents>")
		l.field(&b, "Key", it.name, true)
		fmt.Fprintf(&b, "<LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>",
			stamp(it.obj.modified), it.obj.etag, it.obj.size)
	}
	b.WriteString("</ListBucketResult>")
	return b.Bytes()
}

func (l listing) field(b *bytes.Buffer, name, value string, isKey bool) {
	if isKey && l.urls {
		value = strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(value))
	}
	b.WriteString("<" + name + ">")
	xml.EscapeText(b, []byte(value)) // a bytes.Buffer does not fail
	b.WriteString("</" + name + ">")
}
