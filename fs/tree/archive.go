package tree

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"pailfs/s3client"
)

// What HEADs and GETs said of versions is kept over the end of the mount (cache.Archive), so that the next one asks only for
// what it has not seen: a version's attributes are used when a listing shows its ETag, size and time.

// kept is a version's headers as the archive has them.
type kept struct {
	ver     version
	class   string
	headers s3client.Headers
}

// keepLocked hands a version's headers to the archive. One without the store's time is not kept: it could not be told from
// one that somebody gave other attributes meanwhile.
func (t *Tree) keepLocked(at string, r *remembered) {
	switch {
	case t.o.Archive == nil:
		r.headers = nil
	case r.headers != nil && !r.ver.modified.IsZero() && r.ver.etag != "":
		t.o.Archive.Put(at, encodeKept(&kept{r.ver, r.class, *r.headers}))
		r.headers = nil
	}
}

// loadArchive remembers what an earlier mount has kept.
func (t *Tree) loadArchive() {
	if t.o.Archive == nil {
		return
	}
	err := t.o.Archive.Load(func(at string, value []byte) {
		k, ok := decodeKept(value)
		if !ok {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.mu.versions.Add(at, t.newRememberedLocked(at, k.ver, k.class, &k.headers))
	})
	if err != nil {
		t.o.Log.Info("attributes of an earlier mount cannot be read", "err", err)
	}
	t.o.Archive.Start(t.counts)
}

// counts says whether what was kept of a version is still what is remembered.
func (t *Tree) counts(at string, value []byte) bool {
	k, ok := decodeKept(value)
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.mu.versions.Peek(at)
	return ok && r.ver.etag == k.ver.etag && r.ver.size == k.ver.size && r.ver.modified.Equal(k.ver.modified)
}

func encodeKept(k *kept) []byte {
	h := &k.headers
	p := binary.AppendUvarint(make([]byte, 0, 256), uint64(k.ver.size))
	p = binary.AppendVarint(p, k.ver.modified.Unix())
	p = binary.AppendUvarint(p, uint64(k.ver.modified.Nanosecond()))
	for _, s := range []string{k.ver.etag, k.class, h.ContentType, h.CacheControl, h.ContentDisposition, h.ContentEncoding,
		h.ContentLanguage, h.Expires} {
		p = appendString(p, s)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Meta)) {
		p = appendString(appendString(p, name), h.Meta[name])
	}
	return p
}

func appendString(p []byte, s string) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

// decodeKept undoes encodeKept; false for what is none.
func decodeKept(p []byte) (k kept, ok bool) {
	size, n := binary.Uvarint(p)
	if n <= 0 {
		return k, false
	}
	p = p[n:]
	sec, n := binary.Varint(p)
	if n <= 0 {
		return k, false
	}
	p = p[n:]
	nano, n := binary.Uvarint(p)
	if n <= 0 || nano >= 1e9 {
		return k, false
	}
	p = p[n:]
	next := func() (s string) {
		long, n := binary.Uvarint(p)
		if n <= 0 || long > uint64(len(p)-n) {
			p, ok = nil, false
			return ""
		}
		s, p = string(p[n:n+int(long)]), p[n+int(long):]
		return s
	}
	ok = true
	k.ver = version{size: int64(size), modified: time.Unix(sec, int64(nano)).UTC()}
	h := &k.headers
	for _, to := range []*string{&k.ver.etag, &k.class, &h.ContentType, &h.CacheControl, &h.ContentDisposition, &h.ContentEncoding,
		&h.ContentLanguage, &h.Expires} {
		*to = next()
	}
	h.Meta = map[string]string{}
	for ok && len(p) > 0 {
		name := next()
		h.Meta[name] = next()
	}
	return k, ok
}
