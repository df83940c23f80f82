package store

import (
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"time"
)

type bucketXML struct {
	Name         string
	CreationDate string
}

func (x *exchange) listBuckets() {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.unknown()
		return
	}
	var l []bucketXML
	o := x.s.objects
	o.mu.RLock()
	for _, name := range slices.Sorted(maps.Keys(o.mu.buckets)) {
		l = append(l, bucketXML{name, stamp(o.mu.buckets[name].created)})
	}
	o.mu.RUnlock()
	x.marshal(struct {
		XMLName xml.Name `xml:"ListAllMyBucketsResult"`
		Owner   struct{ ID, DisplayName string }
		Buckets []bucketXML `xml:"Buckets>Bucket"`
	}{Buckets: l})
}

func (x *exchange) location() {
	o := x.s.objects
	o.mu.RLock()
	_, there := o.mu.buckets[x.bucket]
	o.mu.RUnlock()
	if !there {
		x.noBucket()
		return
	}
	x.xml(http.StatusOK, []byte(xml.Header+`<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`))
}

// changeBucket makes or deletes a bucket, or says whether it is there.
func (x *exchange) changeBucket() {
	o := x.s.objects
	o.mu.Lock()
	b, there := o.mu.buckets[x.bucket]
	full := there && len(b.keys) > 0
	switch {
	case x.r.Method == http.MethodPut && !there:
		o.mu.buckets[x.bucket] = &bucket{created: time.Now(), objects: map[string]*object{}}
	case x.r.Method == http.MethodDelete && !full:
		delete(o.mu.buckets, x.bucket)
	}
	o.mu.Unlock()
	switch {
	case x.r.Method == http.MethodPut && there:
		x.fail(http.StatusConflict, "BucketAlreadyOwnedByYou", "the bucket is there")
	case x.r.Method == http.MethodPut:
		x.empty(http.StatusOK)
	case !there:
		x.noBucket()
	case x.r.Method == http.MethodHead:
		x.empty(http.StatusOK)
	case full:
		x.fail(http.StatusConflict, "BucketNotEmpty", "the bucket has objects")
	default:
		x.empty(http.StatusNoContent)
	}
}

func (x *exchange) deleteObject() {
	if !x.s.objects.remove(x.bucket, x.key) {
		x.noBucket()
		return
	}
	x.empty(http.StatusNoContent)
}

type deletedXML struct{ Key string }

func (x *exchange) deleteMany() {
	var asked struct {
		Quiet  bool
		Object []deletedXML
	}
	if err := xml.NewDecoder(x.r.Body).Decode(&asked); err != nil {
		x.fail(http.StatusBadRequest, "MalformedXML", err.Error())
		return
	}
	x.complete = time.Now()
	var deleted []deletedXML
	for _, o := range asked.Object {
		if !x.s.objects.remove(x.bucket, o.Key) {
			x.noBucket()
			return
		}
		if !asked.Quiet {
			deleted = append(deleted, o)
		}
	}
	x.marshal(struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Deleted []deletedXML
	}{Deleted: deleted})
}
