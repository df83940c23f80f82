package s3client

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const metaPrefix = "X-Amz-Meta-"

// fields are the request headers that make an object have these Headers. Values that HTTP or the store cannot carry are
// refused here: the transport would break off, and Swift would answer 500 again and again.
func (c *Client) fields(o op, h Headers) (map[string]string, error) {
	f := map[string]string{"Content-Type": "application/octet-stream"}
	for name, value := range map[string]string{
		"Content-Type": h.ContentType, "Cache-Control": h.CacheControl, "Content-Disposition": h.ContentDisposition,
		"Content-Encoding": h.ContentEncoding, "Content-Language": h.ContentLanguage, "Expires": h.Expires,
	} {
		if value == "" {
			continue
		}
		if !printable(value) {
			return nil, failed(o, Invalid, "InvalidHeader", "%s has a character that no header can have", name)
		}
		f[name] = value
	}
	for name, value := range h.Meta {
		switch {
		case !token(name):
			return nil, failed(o, Invalid, "InvalidMetadata", "metadata name %q cannot be a header", name)
		case !printable(value):
			return nil, failed(o, Invalid, "InvalidMetadata", "the value of metadata %q is not printable ASCII", name)
		}
		f[metaPrefix+name] = value
	}
	if err := c.profile.Fits(h); err != nil {
		return nil, failed(o, Invalid, "MetadataTooLarge", "%v", err)
	}
	return f, nil
}

// Fits says whether the store takes user metadata of that size; the error names the limit.
func (p *Profile) Fits(h Headers) error {
	total := 0
	for name, value := range h.Meta {
		switch {
		case len(value) > p.MaxMetaValue:
			return fmt.Errorf("metadata %q has %d bytes, the store takes %d", name, len(value), p.MaxMetaValue)
		case p.MaxMetaName > 0 && len(name) > p.MaxMetaName:
			return fmt.Errorf("a metadata name of %d bytes, the store takes %d", len(name), p.MaxMetaName)
		}
		total += len(name) + len(value)
	}
	switch {
	case total > p.MaxMeta:
		return fmt.Errorf("metadata of %d bytes, the store takes %d", total, p.MaxMeta)
	case p.MaxMetaItems > 0 && len(h.Meta) > p.MaxMetaItems:
		return fmt.Errorf("%d metadata, the store takes %d", len(h.Meta), p.MaxMetaItems)
	}
	return nil
}

// printable reports whether s is ASCII without control characters but the tab.
func printable(s string) bool {
	for i := range len(s) {
		if b := s[i]; b != '\t' && (b < 0x20 || b > 0x7e) {
			return false
		}
	}
	return true
}

// token reports whether s can be a header's name.
func token(s string) bool {
	for i := range len(s) {
		b := s[i]
		if b <= 0x20 || b > 0x7e || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
			return false
		}
	}
	return s != ""
}

// headersOf reads an object's Headers from an answer.
func headersOf(h http.Header) *Headers {
	out := &Headers{
		ContentType: h.Get("Content-Type"), CacheControl: h.Get("Cache-Control"),
		ContentDisposition: h.Get("Content-Disposition"), ContentEncoding: h.Get("Content-Encoding"),
		ContentLanguage: h.Get("Content-Language"), Expires: h.Get("Expires"), Meta: map[string]string{},
	}
	for name, values := range h {
		if len(name) > len(metaPrefix) && strings.EqualFold(name[:len(metaPrefix)], metaPrefix) {
			out.Meta[strings.ToLower(name[len(metaPrefix):])] = strings.Join(values, ",")
		}
	}
	return out
}

// objectOf reads an object from the answer to a HEAD or GET. Without a length or an ETag it is not a store's answer.
func objectOf(o op, h http.Header, size int64) (Object, error) {
	etag := unquote(h.Get("Etag"))
	if size < 0 || etag == "" {
		e := failed(o, Unknown, "UnknownAnswer", "an object without a length or without an ETag")
		e.Status, e.RequestID = http.StatusOK, h.Get("X-Amz-Request-Id")
		return Object{}, e
	}
	return Object{Bucket: o.bucket, Key: o.key, Size: size, ETag: etag, Modified: modified(h),
		StorageClass: h.Get("X-Amz-Storage-Class"), Headers: headersOf(h)}, nil
}

// modified is the time an answer says, zero when it says none.
func modified(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// storedAt is the time of a write: Last-Modified when the store says it (Swift does), else the answer's own Date.
func storedAt(h http.Header) time.Time {
	if t := modified(h); !t.IsZero() {
		return t
	}
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t
}

func contentLength(h http.Header) int64 {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 || n > mostBytes {
		return -1
	}
	return n
}
