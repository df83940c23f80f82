package store

import (
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

type part struct {
	segments []segment
	size     int64
	etag     string
	modified time.Time
}

// upload is a multipart upload that goes on. Its maps belong to objects' lock.
type upload struct {
	bucket, key string
	header      http.Header
	begun       time.Time
	parts       map[int]part
}

func (x *exchange) createUpload() {
	id := fmt.Sprintf("%s-%d", strings.ReplaceAll(x.bucket, "-", ""), time.Now().UnixNano())
	o := x.s.objects
	o.mu.Lock()
	_, there := o.mu.buckets[x.bucket]
	if there {
		o.mu.files++
		id += fmt.Sprintf("-%d", o.mu.files)
		o.mu.uploads[id] = &upload{x.bucket, x.key, kept(x.r.Header), time.Now(), map[int]part{}}
	}
	o.mu.Unlock()
	if !there {
		x.noBucket()
		return
	}
	x.marshal(struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}{Bucket: x.bucket, Key: x.key, UploadID: id})
}

// uploadLocked is the upload a request names.
func (x *exchange) uploadLocked() (u *upload, id string) {
	id = x.r.URL.Query().Get("uploadId")
	if u = x.s.objects.mu.uploads[id]; u == nil || u.bucket != x.bucket || u.key != x.key {
		return nil, id
	}
	return u, id
}

func (x *exchange) noUpload() { x.fail(http.StatusNotFound, "NoSuchUpload", "no such upload") }

// putPart takes a part from the request's body or from another object.
func (x *exchange) putPart() {
	number, err := strconv.Atoi(x.r.URL.Query().Get("partNumber"))
	if err != nil || number < 1 || number > 10000 {
		x.fail(http.StatusBadRequest, "InvalidArgument", "the part's number")
		return
	}
	p, isCopy, ok := x.newPart()
	if !ok {
		return
	}
	o := x.s.objects
	o.mu.Lock()
	u, _ := x.uploadLocked()
	if u != nil {
		removeFiles(u.parts[number].segments)
		u.parts[number] = p
	}
	o.mu.Unlock()
	switch {
	case u == nil:
		removeFiles(p.segments)
		x.noUpload()
	case isCopy:
		x.marshal(copyResult{xml.Name{Local: "CopyPartResult"}, quoted(p.etag), stamp(p.modified)})
	default:
		x.w.Header().Set("ETag", quoted(p.etag))
		x.empty(http.StatusOK)
	}
}

func (x *exchange) newPart() (p part, isCopy, ok bool) {
	if x.r.Header.Get("X-Amz-Copy-Source") == "" {
		seg, etag, err := x.receive()
		if err != nil {
			x.broken(err)
			return p, false, false
		}
		return part{[]segment{seg}, seg.size, etag, time.Now()}, false, true
	}
	from, ok := x.source()
	if !ok {
		return p, true, false
	}
	off, n := int64(0), from.size
	if v := x.r.Header.Get("X-Amz-Copy-Source-Range"); v != "" {
		if off, n, ok = parseRange(v, from.size); !ok {
			x.fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "the range is behind the source's end")
			return p, true, false
		}
	}
	segments, err := x.s.objects.link(from.segments, off, n)
	if err != nil {
		x.broken(err)
		return p, true, false
	}
	return part{segments, n, checksum(fmt.Sprint(from.etag, off, n)), time.Now()}, true, true
}

// checksum is an ETag of what has no content of its own to compute one from.
func checksum(s string) string {
	return fmt.Sprintf("%08x%024x", crc32.ChecksumIEEE([]byte(s)), len(s))
}

// completed is what a client says an upload consists of.
type completed struct {
	Part []struct {
		PartNumber int
		ETag       string
	}
}

func (x *exchange) completeUpload() {
	var asked completed
	if err := xml.NewDecoder(x.r.Body).Decode(&asked); err != nil {
		x.fail(http.StatusBadRequest, "MalformedXML", err.Error())
		return
	}
	x.complete = time.Now()
	o := x.s.objects
	o.mu.Lock()
	u, id := x.uploadLocked()
	var obj *object
	if u != nil {
		if obj = u.assembleLocked(asked); obj != nil {
			delete(o.mu.uploads, id)
		}
	}
	o.mu.Unlock()
	switch {
	case u == nil:
		x.noUpload()
	case obj == nil:
		x.fail(http.StatusBadRequest, "InvalidPart", "a part is missing, is another one, or is not in order")
	case x.stored(obj):
		x.marshal(struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			Bucket  string
			Key     string
			ETag    string
		}{Bucket: x.bucket, Key: x.key, ETag: quoted(obj.etag)})
	}
}

// assembleLocked makes an object of parts, nil when they are not as the client says. Other parts are removed.
func (u *upload) assembleLocked(asked completed) *object {
	obj := &object{modified: time.Now(), header: u.header}
	etags, last := "", 0
	for _, a := range asked.Part {
		p, there := u.parts[a.PartNumber]
		if !there || p.etag != strings.Trim(a.ETag, `"`) || a.PartNumber <= last {
			return nil
		}
		last = a.PartNumber
		obj.segments, obj.size, etags = append(obj.segments, p.segments...), obj.size+p.size, etags+p.etag
	}
	if last == 0 {
		return nil
	}
	obj.etag = fmt.Sprintf("%s-%d", checksum(etags), len(asked.Part))
	dropOthers(u, obj)
	return obj
}

// dropOthers removes the parts that did not become part of the object.
func dropOthers(u *upload, obj *object) {
	for _, p := range u.parts {
		if len(p.segments) > 0 && !slices.Contains(obj.segments, p.segments[0]) {
			removeFiles(p.segments)
		}
	}
}

func (x *exchange) abortUpload() {
	o := x.s.objects
	o.mu.Lock()
	u, id := x.uploadLocked()
	if u != nil {
		for _, p := range u.parts {
			removeFiles(p.segments)
		}
		delete(o.mu.uploads, id)
	}
	o.mu.Unlock()
	if u == nil {
		x.noUpload()
		return
	}
	x.empty(http.StatusNoContent)
}

type partXML struct {
	PartNumber   int
	ETag         string
	LastModified string
	Size         int64
}

func (x *exchange) listParts() {
	var parts []partXML
	o := x.s.objects
	o.mu.RLock()
	u, id := x.uploadLocked()
	if u != nil {
		for _, n := range slices.Sorted(maps.Keys(u.parts)) {
			p := u.parts[n]
			parts = append(parts, partXML{n, quoted(p.etag), stamp(p.modified), p.size})
		}
	}
	o.mu.RUnlock()
	if u == nil {
		x.noUpload()
		return
	}
	x.marshal(struct {
		XMLName     xml.Name `xml:"ListPartsResult"`
		Bucket      string
		Key         string
		UploadID    string `xml:"UploadId"`
		MaxParts    int
		IsTruncated bool
		Part        []partXML
	}{Bucket: x.bucket, Key: x.key, UploadID: id, MaxParts: 10000, Part: parts})
}

type uploadXML struct {
	Key       string
	UploadID  string `xml:"UploadId"`
	Initiated string
}

func (x *exchange) listUploads() {
	var l []uploadXML
	prefix := x.r.URL.Query().Get("prefix")
	o := x.s.objects
	o.mu.RLock()
	_, there := o.mu.buckets[x.bucket]
	for id, u := range o.mu.uploads {
		if u.bucket == x.bucket && strings.HasPrefix(u.key, prefix) {
			l = append(l, uploadXML{u.key, id, stamp(u.begun)})
		}
	}
	o.mu.RUnlock()
	if !there {
		x.noBucket()
		return
	}
	slices.SortFunc(l, func(a, b uploadXML) int { return strings.Compare(a.Key+"\x00"+a.UploadID, b.Key+"\x00"+b.UploadID) })
	x.marshal(struct {
		XMLName     xml.Name `xml:"ListMultipartUploadsResult"`
		Bucket      string
		Prefix      string
		MaxUploads  int
		IsTruncated bool
		Upload      []uploadXML
	}{Bucket: x.bucket, Prefix: prefix, MaxUploads: 1000, Upload: l})
}
