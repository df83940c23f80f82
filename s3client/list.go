package s3client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// maxEmptyPages bounds the pages without an entry that are passed over in one call. AWS sends them when what it counts
// is hidden (delete markers); each of the store's pages stands for 1000 of those.
const maxEmptyPages = 1000

// mostBytes is more than any object has: 1 EiB, where the largest store takes 50 TB. With less than that nobody's arithmetic of
// offsets and blocks overflows; an answer that says more is none.
const mostBytes = 1 << 60

// List reads one page of a listing.
func (c *Client) List(ctx context.Context, req ListRequest) (ListPage, error) {
	o := op{name: "List Objects", bucket: req.Bucket, key: req.Prefix}
	if err := s3utils.CheckValidObjectNamePrefix(req.Prefix); err != nil {
		return ListPage{}, failed(o, Invalid, "InvalidArgument", "%v", err)
	}
	cursor := ""
	for range maxEmptyPages {
		raw, err := c.listPage(ctx, o, req, cursor)
		if err != nil {
			return ListPage{}, err
		}
		if stray, ok := raw.stray(req); ok {
			return ListPage{}, failed(o, Unknown, "UnknownAnswer", "the listing of %q shows %q", req.Prefix, stray)
		}
		page := raw.page(req)
		if page.Next != "" || !raw.truncated {
			return page, nil
		}
		// Truncated, and nothing in it that the next page could begin behind: only the store's own cursor leads on.
		next := raw.cursor()
		if next == "" || next == cursor {
			return ListPage{}, failed(o, Unknown, "UnknownAnswer", "the listing says there is more, but not where")
		}
		cursor = next
	}
	return ListPage{}, failed(o, Unknown, "UnknownAnswer", "%d pages of the listing without an entry", maxEmptyPages)
}

// listPage asks once by the version of the call that the store knows.
func (c *Client) listPage(ctx context.Context, o op, req ListRequest, cursor string) (rawPage, error) {
	if c.listV1.Load() {
		return c.listVersion(ctx, o, req, cursor, true)
	}
	raw, err := c.listVersion(ctx, o, req, cursor, false)
	switch k := KindOf(err); {
	case err == nil && !raw.isV1:
		return raw, nil
	case err != nil && k != Unsupported && k != Invalid:
		return raw, err
	case cursor != "":
		return raw, err
	}
	// A store that knows only version 1 ignores what it does not know, start-after too, or refuses it.
	old, oldErr := c.listVersion(ctx, o, req, cursor, true)
	if oldErr != nil {
		if err != nil {
			return raw, err
		}
		return old, oldErr
	}
	c.listV1.Store(true)
	return old, nil
}

func (c *Client) listVersion(ctx context.Context, o op, req ListRequest, cursor string, v1 bool) (rawPage, error) {
	query := listQuery(req, cursor, v1)
	var raw rawPage
	err := c.do(ctx, o, func(ctx context.Context, a *attempt) error {
		doc, err := c.signed(ctx, a, signedRequest{method: http.MethodGet, bucket: req.Bucket, query: query}, "ListBucketResult")
		if err != nil {
			return err
		}
		raw, err = parseListing(doc)
		return err
	})
	return raw, err
}

func listQuery(req ListRequest, cursor string, v1 bool) url.Values {
	q := url.Values{"prefix": {req.Prefix}, "encoding-type": {"url"}}
	if req.Delimiter != "" {
		q.Set("delimiter", req.Delimiter)
	}
	if req.Max > 0 {
		q.Set("max-keys", strconv.Itoa(min(req.Max, 1000)))
	}
	after := behind(req)
	if v1 {
		if cursor != "" {
			after = cursor
		}
		if after != "" {
			q.Set("marker", after)
		}
		return q
	}
	q.Set("list-type", "2")
	if cursor != "" {
		q.Set("continuation-token", cursor)
	} else if after != "" {
		q.Set("start-after", after)
	}
	return q
}

// behind is the key after which a page begins. A common prefix stands for all keys below it: most stores would roll
// those up into the same prefix again, so the page begins behind the last key that it can have.
func behind(req ListRequest) string {
	below, ok := strings.CutPrefix(req.After, req.Prefix)
	if ok && req.Delimiter != "" && strings.HasSuffix(below, req.Delimiter) {
		if after := req.After + "\U0010FFFF"; len(after) <= 1024 {
			return after
		}
	}
	return req.After
}

// rawPage is a page as the store sent it, decoded.
type rawPage struct {
	objects   []Object
	prefixes  []string
	truncated bool
	isV1      bool   // an answer of version 1
	token     string // NextContinuationToken (v2)
	marker    string // NextMarker (v1)
}

func (r rawPage) cursor() string {
	if r.isV1 {
		return r.marker
	}
	return r.token
}

// stray finds a name that the request did not ask for. A name of elsewhere would be shown, and deleted, where it is not.
func (r rawPage) stray(req ListRequest) (name string, found bool) {
	for i := range r.objects {
		if !strings.HasPrefix(r.objects[i].Key, req.Prefix) {
			return r.objects[i].Key, true
		}
	}
	for _, p := range r.prefixes {
		if below, ok := strings.CutPrefix(p, req.Prefix); !ok || below == "" || !strings.HasSuffix(p, req.Delimiter) {
			return p, true
		}
	}
	return "", false
}

// page sorts, takes out what stands at or before After, and finds where the next page begins.
func (r rawPage) page(req ListRequest) ListPage {
	p := ListPage{
		Objects:  slices.DeleteFunc(r.objects, func(o Object) bool { return req.After != "" && o.Key <= req.After }),
		Prefixes: slices.DeleteFunc(r.prefixes, func(s string) bool { return req.After != "" && s <= req.After }),
	}
	slices.SortFunc(p.Objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	slices.Sort(p.Prefixes)
	p.Prefixes = slices.Compact(p.Prefixes)
	for i := range p.Objects {
		p.Objects[i].Bucket = req.Bucket
	}
	if !r.truncated {
		return p
	}
	if n := len(p.Objects); n > 0 {
		p.Next = p.Objects[n-1].Key
	}
	if n := len(p.Prefixes); n > 0 {
		p.Next = max(p.Next, p.Prefixes[n-1])
	}
	return p
}

// parseListing reads a page of either version.
func parseListing(doc []byte) (rawPage, error) {
	var r rawPage
	var o Object
	encoded, v2, v1, strange := false, false, false, false
	_, err := walkXML(doc, func(path [][]byte, text []byte) {
		switch {
		case len(path) == 3 && string(path[1]) == "Contents":
			objectField(&o, string(path[2]), text)
		case at(path, "Contents"):
			strange = strange || o.Key == "" || o.Size < 0
			r.objects = append(r.objects, o)
			o = Object{}
		case at(path, "CommonPrefixes", "Prefix"):
			r.prefixes = append(r.prefixes, string(text))
		case len(path) != 2:
		case at(path, "IsTruncated"):
			r.truncated = string(text) == "true"
		case at(path, "EncodingType"):
			encoded = string(text) == "url"
		case at(path, "NextContinuationToken"):
			r.token, v2 = string(text), true
		case at(path, "KeyCount"):
			v2 = true
		case at(path, "Marker"):
			v1 = true
		case at(path, "NextMarker"):
			r.marker, v1 = string(text), true
		}
	})
	if err != nil {
		return r, err
	}
	if strange {
		return r, errors.New("an object without a key or a size in the listing")
	}
	r.isV1 = v1 && !v2
	if encoded {
		return r, r.decode()
	}
	return r, nil
}

func objectField(o *Object, name string, text []byte) {
	switch name {
	case "Key":
		o.Key = string(text)
	case "LastModified":
		o.Modified = parseTime(text)
	case "ETag":
		o.ETag = unquote(string(text))
	case "Size":
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || n > mostBytes {
			n = -1
		}
		o.Size = n
	case "StorageClass":
		o.StorageClass = string(text)
	}
}

// decode undoes encoding-type=url. A space is "%20" or "+", a plus always "%2B".
func (r *rawPage) decode() (err error) {
	for i := range r.objects {
		if r.objects[i].Key, err = unescapeKey(r.objects[i].Key); err != nil {
			return err
		}
	}
	for i := range r.prefixes {
		if r.prefixes[i], err = unescapeKey(r.prefixes[i]); err != nil {
			return err
		}
	}
	r.marker, err = unescapeKey(r.marker)
	return err
}

func unescapeKey(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	key, err := url.QueryUnescape(s)
	if err != nil {
		return "", fmt.Errorf("a key that is not url-encoded: %w", err)
	}
	return key, nil
}
