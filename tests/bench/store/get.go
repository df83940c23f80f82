package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// getObject answers GET and HEAD.
func (x *exchange) getObject() {
	obj, there := x.s.objects.find(x.bucket, x.key)
	switch {
	case !there:
		x.noBucket()
		return
	case obj == nil:
		x.noKey()
		return
	case !matches(x.r.Header.Get("If-Match"), obj.etag, true):
		x.fail(http.StatusPreconditionFailed, "PreconditionFailed", "the object is another one now")
		return
	}
	h := x.w.Header()
	maps.Copy(h, obj.header)
	h.Set("ETag", quoted(obj.etag))
	h.Set("Last-Modified", obj.modified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	if v := x.r.Header.Get("If-None-Match"); v != "" && matches(v, obj.etag, false) {
		x.empty(http.StatusNotModified)
		return
	}
	off, n, status := int64(0), obj.size, http.StatusOK
	if v := x.r.Header.Get("Range"); v != "" {
		var ok bool
		if off, n, ok = parseRange(v, obj.size); !ok {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", obj.size))
			x.fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "the range is behind the object's end")
			return
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, obj.size))
	}
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	if x.r.Method == http.MethodHead {
		x.empty(status)
		return
	}
	o, err := openSegments(cut(obj.segments, off, n))
	if errors.Is(err, fs.ErrNotExist) { // deleted or replaced since it was found
		clear(h)
		x.getObject()
		return
	}
	if err != nil {
		x.broken(err)
		return
	}
	x.send(status, o, n)
}

func quoted(etag string) string { return `"` + etag + `"` }

// matches says whether a header names an ETag; an absent header gives the default.
func matches(header, etag string, absent bool) bool {
	if header == "" {
		return absent
	}
	for v := range strings.SplitSeq(header, ",") {
		if v = strings.Trim(strings.TrimSpace(v), `"`); v == "*" || v == etag {
			return true
		}
	}
	return false
}

// parseRange reads a Range header of one range. A header that is none of bytes means everything, as HTTP has it.
func parseRange(header string, size int64) (off, n int64, ok bool) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	from, to, hasDash := strings.Cut(spec, "-")
	if !isBytes || !hasDash || strings.Contains(spec, ",") {
		return 0, size, true
	}
	if from == "" { // the last bytes
		last, err := strconv.ParseInt(to, 10, 64)
		last = min(last, size)
		return size - last, last, err == nil && last > 0
	}
	off, err := strconv.ParseInt(from, 10, 64)
	if err != nil || off >= size {
		return 0, 0, false
	}
	end := size
	if to != "" {
		last, err := strconv.ParseInt(to, 10, 64)
		if err != nil || last < off {
			return 0, 0, false
		}
		end = min(size, last+1)
	}
	return off, end - off, true
}
