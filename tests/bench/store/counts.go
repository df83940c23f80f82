package store

import "sync/atomic"

// kind is what a request asks of the store. The names are those of tests/lagproxy.
type kind int

const (
	kindGet kind = iota
	kindHead
	kindList
	kindBuckets // list of the buckets, and calls on a bucket itself
	kindPut
	kindCopy
	kindPart
	kindCopyPart
	kindCreateUpload
	kindCompleteUpload
	kindAbortUpload
	kindUploads // list of uploads or of an upload's parts
	kindDelete
	kindDeleteMany
	kindOther
	kinds
)

var kindNames = [kinds]string{"Get", "Head", "List", "Buckets", "Put", "Copy", "Part", "CopyPart", "CreateUpload",
	"CompleteUpload", "AbortUpload", "Uploads", "Delete", "DeleteMany", "Other"}

func (k kind) String() string { return kindNames[k] }

// Counts is a reading of the counters; requests to the direct address are not in it.
type Counts struct {
	Requests map[string]int64 // by kind; kinds without a request are missing
	// In and Out are the bytes of bodies to the server and from it. Data are those of Out that were objects' content.
	// A body counts as a whole while it leaves; of a client that went away what it had been sent remains, read or not.
	In, Out, Data int64
	// Aborted counts GETs whose client went away before the end.
	Aborted int64
	// Failed counts answers of 500 and above.
	Failed int64
	// Connections is how many were opened; InFlight the requests not answered yet, MaxInFlight the most of them at one time.
	Connections, InFlight, MaxInFlight int64
}

type counters struct {
	byKind                 [kinds]atomic.Int64
	in, out, data          atomic.Int64
	aborted, failed, conns atomic.Int64
	inFlight, maximum      atomic.Int64
}

func (c *counters) begin(k kind) {
	c.byKind[k].Add(1)
	n := c.inFlight.Add(1)
	for {
		old := c.maximum.Load()
		if n <= old || c.maximum.CompareAndSwap(old, n) {
			return
		}
	}
}

// Counts reads the counters.
func (s *Server) Counts() Counts {
	c := &s.count
	out := Counts{Requests: map[string]int64{}, In: c.in.Load(), Out: c.out.Load(), Data: c.data.Load(),
		Aborted: c.aborted.Load(), Failed: c.failed.Load(), Connections: c.conns.Load(), InFlight: c.inFlight.Load(), MaxInFlight: c.maximum.Load()}
	for k := range kinds {
		if n := c.byKind[k].Load(); n > 0 {
			out.Requests[k.String()] = n
		}
	}
	return out
}

// Reset sets the counters to zero; what is in flight stays counted as that.
func (s *Server) Reset() {
	c := &s.count
	for k := range kinds {
		c.byKind[k].Store(0)
	}
	for _, v := range []*atomic.Int64{&c.in, &c.out, &c.data, &c.aborted, &c.failed, &c.conns} {
		v.Store(0)
	}
	c.maximum.Store(c.inFlight.Load())
}
