package tree

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
)

// Extended attributes are an object's user metadata: the attribute user.NAME is the header x-amz-meta-NAME, as other tools
// write it. What a header cannot hold is percent-encoded (encodeName, encodeValue). Metadata that carries a file's own
// attributes is none of them: such a name is written with its first letter encoded. s3fs keeps all attributes of an object
// in one header; they are read from there, and leave it when they are changed.

// The errors of extended attributes.
var (
	// ErrNoAttribute: the object has no attribute of that name.
	ErrNoAttribute = errors.New("no such attribute")
	// ErrNoSpace: the store takes no more metadata with an object.
	ErrNoSpace = errors.New("more metadata than the store keeps with an object")
)

// XAttr is a change of one extended attribute. Name has no "user." before it.
type XAttr struct {
	Name  string
	Value string // any bytes
	// Remove takes the attribute away: ErrNoAttribute where there is none.
	Remove bool
	// Create wants none to be there (ErrExists), Replace one (ErrNoAttribute).
	Create, Replace bool
}

// metaXAttr is the header in which s3fs keeps an object's extended attributes: JSON of names to base64, percent-encoded.
const metaXAttr = "xattr"

// takenMeta are metadata names that say something of the file itself, by whatever tool (readAttributes).
var takenMeta = append([]string{metaXAttr, "permissions", "goog-reserved-posix-mode", "file-permissions", "owner", "group",
	"goog-reserved-posix-uid", "goog-reserved-posix-gid", "file-owner", "file-group", "goog-reserved-file-mtime", "gcsfuse_mtime",
	"file-mtime", "file-ctime", "file-atime", "--symlink-target", "gcsfuse_symlink_target", "goog-reserved-file-is-symlink",
	"is_symlink", "hdi_isfolder"}, ourMeta...)

// XAttrs are a path's extended attributes by name. It costs a HEAD where the object's headers are not remembered.
func (t *Tree) XAttrs(ctx context.Context, path string) (map[string]string, error) {
	_, h, err := t.HeadersOf(ctx, path)
	if err != nil {
		return nil, err
	}
	return readXAttrs(h.Meta), nil
}

// HeadersOf are the headers of a path that are no attributes of a file, with its entry: those that its object has, or will
// have when it is stored. They cost a HEAD where they are not remembered.
func (t *Tree) HeadersOf(ctx context.Context, path string) (Entry, s3client.Headers, error) {
	e, err := t.lookup(ctx, path, manner{full: true, stale: true})
	if err != nil {
		return Entry{}, s3client.Headers{}, err
	}
	if t.space.top(path) {
		return e, s3client.Headers{}, nil
	}
	foreign, err := t.foreign(ctx, e)
	if err != nil {
		return Entry{}, s3client.Headers{}, fmt.Errorf("headers of %s: %w", path, err)
	}
	h := s3client.Headers{}
	if foreign != nil {
		h = *foreign
	}
	if h.ContentType == "" {
		h.ContentType = contentType(&e)
	}
	return e, h, nil
}

// StorageClass is the class that the store named with an object's headers, "" when it named none.
func (t *Tree) StorageClass(e Entry) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.mu.versions.Peek(e.Bucket + "/" + e.objectKey()); ok && (e.IsDir() || r.ver.etag == e.ETag) {
		return r.class
	}
	return ""
}

// foreign are the headers of an entry that are not attributes; nil when there are none.
func (t *Tree) foreign(ctx context.Context, e Entry) (*s3client.Headers, error) {
	t.mu.Lock()
	c := t.mu.overlay.get(e.Path, t.o.Now())
	local := c != nil && c.local()
	if local && c.known {
		defer t.mu.Unlock()
		return c.foreign, nil
	}
	t.mu.Unlock()
	if !local {
		foreign, _, err := t.carried(ctx, e)
		return foreign, err
	}
	if _, err := t.uploadHeaders(ctx, e.Path, e.Bucket, e.Key); err != nil { // it notes what it finds
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil {
		return c.foreign, nil
	}
	return nil, nil
}

// setsHeaders says whether the change is one of headers that are not attributes.
func (c *Change) setsHeaders() bool { return c.XAttr != nil || c.ContentType != nil }

// headers is what a change makes of an entry's foreign headers; same says that it makes no difference.
func (c *Change) headers(e *Entry, foreign *s3client.Headers, p s3client.Profile) (_ *s3client.Headers, same bool, err error) {
	if !c.setsHeaders() {
		return foreign, true, nil
	}
	var h s3client.Headers
	if foreign != nil {
		h = *foreign
	}
	same = true
	if c.ContentType != nil && *c.ContentType != h.ContentType {
		if !isHeader(*c.ContentType) {
			return nil, false, fmt.Errorf("content type %q: %w", *c.ContentType, ErrInvalid)
		}
		h.ContentType, same = *c.ContentType, false
	}
	if c.XAttr != nil {
		meta, err := c.XAttr.apply(h.Meta, p.MetaUnderscoreLost)
		if err != nil {
			return nil, false, err
		}
		same = same && maps.Equal(meta, h.Meta)
		h.Meta = meta
	}
	if same {
		return foreign, true, nil
	}
	return &h, false, fits(e, &h, p)
}

// isHeader says whether a text can be a header's value.
func isHeader(s string) bool {
	return len(s) <= 256 && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// fits says whether a store takes an object with these headers and any times.
func fits(e *Entry, h *s3client.Headers, p s3client.Profile) error {
	long := *e
	long.Mtime = time.Unix(1e10, 999_999_999)
	long.Ctime, long.Atime = long.Mtime, long.Mtime
	all := buildHeaders(&long, h)
	if err := p.Fits(all); err != nil {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return nil
}

// apply gives metadata with the attribute changed.
func (x *XAttr) apply(meta map[string]string, underscoreLost bool) (map[string]string, error) {
	_, there := readXAttrs(meta)[x.Name]
	switch {
	case there && x.Create:
		return nil, fmt.Errorf("attribute user.%s: %w", x.Name, ErrExists)
	case !there && (x.Replace || x.Remove):
		return nil, fmt.Errorf("attribute user.%s: %w", x.Name, ErrNoAttribute)
	}
	out := maps.Clone(meta)
	if out == nil {
		out = make(map[string]string, 1)
	}
	maps.DeleteFunc(out, func(name, _ string) bool {
		decoded, ok := decodeName(name)
		return ok && decoded == x.Name
	})
	if packed := unpackXAttrs(out[metaXAttr]); packed != nil {
		if _, ok := packed["user."+x.Name]; ok {
			delete(packed, "user."+x.Name)
			packXAttrs(out, packed)
		}
	}
	if !x.Remove {
		out[encodeName(x.Name, underscoreLost)] = encodeValue(x.Value)
	}
	return out, nil
}

// readXAttrs are the attributes in an object's metadata.
func readXAttrs(meta map[string]string) map[string]string {
	all := make(map[string]string, len(meta))
	for name, value := range unpackXAttrs(meta[metaXAttr]) {
		if name, ok := strings.CutPrefix(name, "user."); ok && name != "" {
			all[name] = value
		}
	}
	for name, value := range meta {
		if name, ok := decodeName(name); ok {
			all[name] = decodeValue(value)
		}
	}
	return all
}

// encodeName is the metadata name of an attribute. Header names have no case, so that capitals are encoded, as is all that
// is not a letter, a digit, a dot, a hyphen or an underscore. Some stores make a hyphen of an underscore.
func encodeName(name string, underscoreLost bool) string {
	var b strings.Builder
	taken := slices.Contains(takenMeta, name)
	for i := range len(name) {
		c := name[i]
		switch {
		case i == 0 && taken:
			fmt.Fprintf(&b, "%%%02x", c)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_' && !underscoreLost:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// decodeName is the attribute of a metadata name; false when it says something of the file itself.
func decodeName(name string) (string, bool) {
	if slices.Contains(takenMeta, name) {
		return "", false
	}
	decoded := unescape(name)
	return decoded, decoded != "" && !strings.ContainsRune(decoded, 0)
}

// encodeValue is a value as a header can hold it: itself where that is printable ASCII, with no space at its ends, that
// decodeValue leaves alone; else with %XX for what is not, and for every %.
func encodeValue(v string) string {
	plain := func(i int) bool {
		return v[i] > ' ' && v[i] < 0x7f || v[i] == ' ' && i > 0 && i < len(v)-1
	}
	ok := decodeValue(v) == v
	for i := 0; ok && i < len(v); i++ {
		ok = plain(i)
	}
	if ok {
		return v
	}
	var b strings.Builder
	for i := range len(v) {
		if plain(i) && v[i] != '%' {
			b.WriteByte(v[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", v[i])
		}
	}
	return b.String()
}

// decodeValue undoes encodeValue. A value of another tool with a % that begins no %XX stands as it is.
func decodeValue(s string) string { return unescape(s) }

// unpackXAttrs reads s3fs's header; nil when it is none.
func unpackXAttrs(s string) map[string]string {
	if s == "" {
		return nil
	}
	text, err := url.PathUnescape(s)
	if err != nil {
		return nil
	}
	var coded map[string]string
	if json.Unmarshal([]byte(text), &coded) != nil {
		return nil
	}
	all := make(map[string]string, len(coded))
	for name, value := range coded {
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return nil
		}
		all[name] = string(raw)
	}
	return all
}

// packXAttrs puts what is left of s3fs's attributes back.
func packXAttrs(meta map[string]string, all map[string]string) {
	if len(all) == 0 {
		delete(meta, metaXAttr)
		return
	}
	coded := make(map[string]string, len(all))
	for name, value := range all {
		coded[name] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	text, err := json.Marshal(coded)
	if err != nil { // only of what has no JSON
		panic(err)
	}
	meta[metaXAttr] = url.PathEscape(string(text))
}

// Waits says whether a change of a path is accepted by Later and not in the store yet.
func (t *Tree) Waits(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	return c != nil && c.owes()
}
