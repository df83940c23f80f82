package s3mem

import (
	"fmt"
	"net"
	"strings"
	"unicode/utf8"

	"pailfs/s3client"
)

// checkBucketName holds a new bucket's name against the service's rules: 3 to 63 of a-z 0-9 . -, a letter or digit at
// both ends, no empty or hyphen-edged label, no IP address, no xn-- at the beginning.
func checkBucketName(name string) string {
	if len(name) < 3 || len(name) > 63 {
		return "3 to 63 characters"
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' {
			return fmt.Sprintf("%q cannot be in a bucket's name", r)
		}
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return "begins and ends with a letter or digit, beside each dot too"
		}
	}
	if net.ParseIP(name) != nil {
		return "not an IP address"
	}
	if strings.HasPrefix(name, "xn--") {
		return "does not begin with xn--"
	}
	return ""
}

// checkKey refuses what no S3 store takes as a key.
func (c call) checkKey() error {
	switch {
	case c.key == "":
		return c.fail(s3client.Invalid, 400, "InvalidURI", "empty key")
	case len(c.key) > 1024:
		return c.fail(s3client.Invalid, 400, "KeyTooLongError", "key over 1024 bytes")
	case strings.IndexByte(c.key, 0) >= 0 || !utf8.ValidString(c.key):
		return c.fail(s3client.Invalid, 400, "InvalidURI", "NUL or invalid UTF-8 in key")
	}
	return nil
}

// storedHeaders are the headers as the store keeps them: names of metadata in lower case, values trimmed as HTTP
// does, the Content-Type never empty.
func (s *Store) storedHeaders(c call, h s3client.Headers) (s3client.Headers, error) {
	if h.ContentType == "" {
		h.ContentType = "binary/octet-stream"
	}
	for _, v := range []*string{&h.ContentType, &h.CacheControl, &h.ContentDisposition, &h.ContentEncoding,
		&h.ContentLanguage, &h.Expires} {
		if !plainASCII(*v) {
			return h, c.fail(s3client.Invalid, 400, "InvalidArgument", fmt.Sprintf("header value %q", *v))
		}
		*v = strings.Trim(*v, " \t")
	}
	meta := make(map[string]string, len(h.Meta))
	total := 0
	for name, v := range h.Meta {
		if name == "" || !token(name) || !plainASCII(v) {
			return h, c.fail(s3client.Invalid, 400, "InvalidArgument", fmt.Sprintf("metadata %q: %q", name, v))
		}
		v = strings.Trim(v, " \t")
		total += len(name) + len(v)
		if len(v) > s.profile.MaxMetaValue && s.profile.MaxMetaValue > 0 {
			return h, c.fail(s3client.Invalid, 400, "InvalidRequest", "metadata value too long")
		}
		meta[strings.ToLower(name)] = v
	}
	if total > s.profile.MaxMeta && s.profile.MaxMeta > 0 {
		return h, c.fail(s3client.Invalid, 400, "MetadataTooLarge", "metadata too large")
	}
	h.Meta = meta
	return h, nil
}

// plainASCII is true of what passes through every store unchanged in a header.
func plainASCII(v string) bool {
	for i := range len(v) {
		if (v[i] < ' ' && v[i] != '\t') || v[i] > '~' {
			return false
		}
	}
	return true
}

// token is true of what can be the name of a header (RFC 9110, 5.6.2).
func token(name string) bool {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' || strings.IndexByte(`()<>@,;:\"/[]?={}`, name[i]) >= 0 {
			return false
		}
	}
	return true
}
