package s3client

import (
	"net/http"
	"sync/atomic"
)

// Counters count what went over the wire, each attempt of a call by itself.
type Counters struct {
	get, head, list, put, copy, post, delete atomic.Int64
	retries, throttled                       atomic.Int64
	bytesIn, bytesOut                        atomic.Int64
	answers                                  answerCounts
}

// Counts is a snapshot of Counters.
type Counts struct {
	Get    int64 `json:"get"`    // objects, and the small questions about buckets (location, ACL)
	Head   int64 `json:"head"`   // objects and buckets
	List   int64 `json:"list"`   // pages of buckets, keys, uploads and parts
	Put    int64 `json:"put"`    // objects, parts, buckets, ACLs
	Copy   int64 `json:"copy"`   // CopyObject and UploadPartCopy
	Post   int64 `json:"post"`   // multi-delete, initiate, complete
	Delete int64 `json:"delete"` // objects, uploads, buckets
	// Retries are attempts after the first; Throttled are answers that asked to slow down.
	Retries   int64 `json:"retries"`
	Throttled int64 `json:"throttled"`
	// BytesIn and BytesOut are bytes of bodies.
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`
}

// Snapshot reads all counters. Each is exact; together they may be a request apart.
func (c *Counters) Snapshot() Counts {
	return Counts{
		Get: c.get.Load(), Head: c.head.Load(), List: c.list.Load(), Put: c.put.Load(), Copy: c.copy.Load(),
		Post: c.post.Load(), Delete: c.delete.Load(), Retries: c.retries.Load(), Throttled: c.throttled.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
}

// Sub is what happened since an earlier snapshot.
func (c Counts) Sub(o Counts) Counts {
	return Counts{
		Get: c.Get - o.Get, Head: c.Head - o.Head, List: c.List - o.List, Put: c.Put - o.Put, Copy: c.Copy - o.Copy,
		Post: c.Post - o.Post, Delete: c.Delete - o.Delete, Retries: c.Retries - o.Retries,
		Throttled: c.Throttled - o.Throttled, BytesIn: c.BytesIn - o.BytesIn, BytesOut: c.BytesOut - o.BytesOut,
	}
}

// Total is the number of requests.
func (c Counts) Total() int64 {
	return c.Get + c.Head + c.List + c.Put + c.Copy + c.Post + c.Delete
}

// request counts one request, and tells its kind.
func (c *Counters) request(r *http.Request) requestKind {
	k := kindOfRequest(r)
	switch k {
	case kindList:
		c.list.Add(1)
	case kindGet:
		c.get.Add(1)
	case kindHead:
		c.head.Add(1)
	case kindCopy:
		c.copy.Add(1)
	case kindPut:
		c.put.Add(1)
	case kindPost:
		c.post.Add(1)
	case kindDelete:
		c.delete.Add(1)
	}
	return k
}
