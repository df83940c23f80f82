package store

import (
	"net/http"
	"strings"
)

type handler func(*exchange)

// route tells what a path-style request asks and who answers it.
func (x *exchange) route() (kind, handler) {
	x.bucket, x.key, _ = strings.Cut(strings.TrimPrefix(x.r.URL.Path, "/"), "/")
	switch {
	case x.bucket == "":
		return kindBuckets, (*exchange).listBuckets
	case x.key == "":
		return x.routeBucket()
	}
	q := x.r.URL.Query()
	upload, source := q.Has("uploadId"), x.r.Header.Get("X-Amz-Copy-Source") != ""
	switch x.r.Method {
	case http.MethodGet:
		if upload {
			return kindUploads, (*exchange).listParts
		}
		return kindGet, (*exchange).getObject
	case http.MethodHead:
		return kindHead, (*exchange).getObject
	case http.MethodPut:
		switch {
		case upload && source:
			return kindCopyPart, (*exchange).putPart
		case upload:
			return kindPart, (*exchange).putPart
		case source:
			return kindCopy, (*exchange).copyObject
		}
		return kindPut, (*exchange).putObject
	case http.MethodPost:
		switch {
		case q.Has("uploads"):
			return kindCreateUpload, (*exchange).createUpload
		case upload:
			return kindCompleteUpload, (*exchange).completeUpload
		}
	case http.MethodDelete:
		if upload {
			return kindAbortUpload, (*exchange).abortUpload
		}
		return kindDelete, (*exchange).deleteObject
	}
	return kindOther, (*exchange).unknown
}

func (x *exchange) routeBucket() (kind, handler) {
	q := x.r.URL.Query()
	switch {
	case x.r.Method == http.MethodPost && q.Has("delete"):
		return kindDeleteMany, (*exchange).deleteMany
	case x.r.Method == http.MethodGet && q.Has("uploads"):
		return kindUploads, (*exchange).listUploads
	case x.r.Method == http.MethodGet && q.Has("location"):
		return kindBuckets, (*exchange).location
	case x.r.Method == http.MethodGet && (q.Has("versioning") || q.Has("acl") || q.Has("versions")):
		return kindBuckets, (*exchange).unknown
	case x.r.Method == http.MethodGet:
		return kindList, (*exchange).list
	case x.r.Method == http.MethodHead, x.r.Method == http.MethodPut, x.r.Method == http.MethodDelete:
		return kindBuckets, (*exchange).changeBucket
	}
	return kindOther, (*exchange).unknown
}

func (x *exchange) unknown() {
	x.fail(http.StatusNotImplemented, "NotImplemented", "this store is for measurements and does not know that request")
}
