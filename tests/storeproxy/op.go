package storeproxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Op is what a request asks of the store.
type Op string

// The kinds of request. Buckets are calls on a bucket itself; Uploads list uploads or parts.
const (
	Get            Op = "GET"
	Head           Op = "HEAD"
	List           Op = "LIST"
	Buckets        Op = "BUCKETS"
	Put            Op = "PUT"
	Copy           Op = "COPY"
	Part           Op = "PART"
	CopyPart       Op = "COPYPART"
	CreateUpload   Op = "CREATE"
	CompleteUpload Op = "COMPLETE"
	AbortUpload    Op = "ABORT"
	Uploads        Op = "UPLOADS"
	Delete         Op = "DELETE"
	DeleteMany     Op = "DELETEMANY"
	Other          Op = "OTHER"
)

var order = []Op{Get, Head, List, Buckets, Put, Copy, Part, CopyPart, CreateUpload, CompleteUpload, AbortUpload, Uploads, Delete, DeleteMany, Other}

// parse tells what a path-style request asks.
func parse(hr *http.Request) *Request {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(hr.URL.Path, "/"), "/")
	q := hr.URL.Query()
	h := hr.Header
	r := &Request{Bucket: bucket, Key: key, UploadID: q.Get("uploadId"), Length: -1, Size: hr.ContentLength}
	r.Part, _ = strconv.Atoi(q.Get("partNumber")) // 0 without one
	ranged := h.Get("Range")
	if copied := h.Get("X-Amz-Copy-Source-Range"); copied != "" {
		ranged = copied
	}
	var last int64
	if n, _ := fmt.Sscanf(ranged, "bytes=%d-%d", &r.Off, &last); n == 2 {
		r.Length = last - r.Off + 1
	}
	for _, name := range []string{"If-Match", "If-None-Match", "X-Amz-Copy-Source-If-Match"} {
		r.Conditional = r.Conditional || h.Get(name) != ""
	}
	r.Op = classify(hr.Method, key, q.Has, h.Get("X-Amz-Copy-Source") != "")
	return r
}

func classify(method, key string, has func(string) bool, copySource bool) Op {
	upload := has("uploadId")
	switch {
	case key == "" && method == http.MethodPost && has("delete"):
		return DeleteMany
	case method == http.MethodGet && (has("uploads") || upload):
		return Uploads
	case key == "" && method == http.MethodGet && !has("location") && !has("acl") && !has("versioning"):
		return List
	case key == "":
		return Buckets
	}
	switch method {
	case http.MethodGet:
		return Get
	case http.MethodHead:
		return Head
	case http.MethodDelete:
		if upload {
			return AbortUpload
		}
		return Delete
	case http.MethodPost:
		if has("uploads") {
			return CreateUpload
		}
		if upload {
			return CompleteUpload
		}
	case http.MethodPut:
		switch {
		case upload && copySource:
			return CopyPart
		case upload:
			return Part
		case copySource:
			return Copy
		}
		return Put
	}
	return Other
}
