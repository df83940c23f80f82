package late

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
)

// request is one that may still make an object, and what is known of that: enough to tell it from every other writer's.
type request struct {
	until time.Time
	size  int64
	etag  string            // "": not known
	meta  map[string]string // nil: not known
	// expected: a process that is dead may have made it, or not.
	expected bool
}

// like says whether two requests make the same.
func (r *request) like(o *request) bool {
	return r.size == o.size && r.etag == o.etag && r.expected == o.expected && (r.meta == nil) == (o.meta == nil) && maps.Equal(r.meta, o.meta)
}

func ofPut(r *s3client.PutRequest) request { return request{size: r.Size, meta: r.Headers.Meta} }

// ofCopy: the copy of an object that was stored by one PUT has its ETag.
func ofCopy(r *s3client.CopyRequest) request {
	made := request{size: r.SrcSize}
	if !strings.Contains(r.SrcETag, "-") {
		made.etag = r.SrcETag
	}
	if r.Headers != nil {
		made.meta = r.Headers.Meta
	}
	return made
}

// ofCompletion: the headers were sent when the upload began.
func ofCompletion(r *s3client.CompleteRequest) request {
	return request{size: r.Size, etag: joined(r.Parts)}
}

// joined is a multipart object's ETag where those of its parts are MD5s.
func joined(parts []s3client.Part) string {
	h := md5.New()
	for _, p := range parts {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil || len(sum) != md5.Size {
			return ""
		}
		h.Write(sum)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts))
}

// made says whether an object is what the request makes. No other writer's has this size and these times; a store may have
// given it an ETag of its own.
func (r *request) made(o *s3client.Object) bool {
	switch {
	case o.Size != r.size:
		return false
	case r.meta == nil:
		return r.etag != "" && o.ETag == r.etag
	case o.Headers == nil || !maps.Equal(o.Headers.Meta, r.meta):
		return false
	}
	return r.meta["mtime"] != "" || r.etag != "" && o.ETag == r.etag
}

func isOneOf(made []request, o *s3client.Object) bool {
	return slices.ContainsFunc(made, func(r request) bool { return r.made(o) })
}
