package lagproxy

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// Kind is what a request asks of the store.
type Kind int

// The kinds, in the order in which they are printed.
const (
	Get Kind = iota
	Head
	List
	Buckets // list of the buckets, and calls on a bucket itself
	Put
	Copy
	Part
	CopyPart
	CreateUpload
	CompleteUpload
	AbortUpload
	Uploads // list of uploads or of an upload's parts
	Delete
	DeleteMany
	Other
	kinds
)

var kindNames = [kinds]string{"Get", "Head", "List", "Buckets", "Put", "Copy", "Part", "CopyPart", "CreateUpload",
	"CompleteUpload", "AbortUpload", "Uploads", "Delete", "DeleteMany", "Other"}

// Kinds are all of them.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for k := range all {
		all[k] = Kind(k)
	}
	return all
}

func (k Kind) String() string { return kindNames[k] }

// MarshalText and UnmarshalText are the names, for JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a name.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("a kind %q: one of %q", text, kindNames)
}

// classify tells what a path-style request asks.
func classify(method, target string, copySource bool) Kind {
	path, query, _ := strings.Cut(target, "?")
	_, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	has := map[string]bool{}
	for param := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(param, "=")
		has[name] = true
	}
	if key == "" {
		return classifyBucket(method, path, has)
	}
	upload := has["uploadId"]
	switch method {
	case "GET":
		if upload {
			return Uploads
		}
		return Get
	case "HEAD":
		return Head
	case "PUT":
		switch {
		case upload && copySource:
			return CopyPart
		case upload:
			return Part
		case copySource:
			return Copy
		}
		return Put
	case "POST":
		switch {
		case has["uploads"]:
			return CreateUpload
		case upload:
			return CompleteUpload
		}
	case "DELETE":
		if upload {
			return AbortUpload
		}
		return Delete
	}
	return Other
}

func classifyBucket(method, path string, has map[string]bool) Kind {
	switch {
	case method == "POST" && has["delete"]:
		return DeleteMany
	case method == "GET" && has["uploads"]:
		return Uploads
	case method == "GET" && path != "/" && path != "" && !has["location"] && !has["acl"]:
		return List
	case method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE":
		return Buckets
	}
	return Other
}

// Counts is a reading of the counters.
type Counts struct {
	Requests map[string]int64 // by kind; kinds without a request are missing
	// In and Out are the bytes of bodies to the server and from it, chunk framing included.
	In, Out int64
	// Failed counts answers of 500 and above and requests without an answer.
	Failed int64
	// Connections is how many were opened; MaxInFlight the most requests at one time.
	Connections, MaxInFlight int64
}

type counters struct {
	byKind            [kinds]atomic.Int64
	in, out, failed   atomic.Int64
	conns, struck     atomic.Int64
	inFlight, maximum atomic.Int64
	given             struct {
		sync.Mutex
		answers map[Given]int64
	}
}

// Given is a kind of answer as clients got it.
type Given struct {
	Method string
	Kind   Kind
	Status int // 0 for none
}

// Given counts the answers that clients got, harmed ones as they were given.
func (p *Proxy) Given() map[Given]int64 {
	p.count.given.Lock()
	defer p.count.given.Unlock()
	return maps.Clone(p.count.given.answers)
}

// InFlight is how many requests are going on.
func (p *Proxy) InFlight() int64 { return p.count.inFlight.Load() }

func (c *counters) begin(x *exchange) {
	c.byKind[x.kind].Add(1)
	n := c.inFlight.Add(1)
	for {
		old := c.maximum.Load()
		if n <= old || c.maximum.CompareAndSwap(old, n) {
			return
		}
	}
}

// end takes the answer's status, 0 for none.
func (c *counters) end(x *exchange, status int) {
	c.given.Lock()
	if c.given.answers == nil {
		c.given.answers = map[Given]int64{}
	}
	c.given.answers[Given{x.method, x.kind, status}]++
	c.given.Unlock()
	c.inFlight.Add(-1)
	if status == 0 || status >= 500 {
		c.failed.Add(1)
	}
}

// Counts reads the counters.
func (p *Proxy) Counts() Counts {
	c := Counts{Requests: map[string]int64{}, In: p.count.in.Load(), Out: p.count.out.Load(), Failed: p.count.failed.Load(),
		Connections: p.count.conns.Load(), MaxInFlight: p.count.maximum.Load()}
	for k := range kinds {
		if n := p.count.byKind[k].Load(); n > 0 {
			c.Requests[k.String()] = n
		}
	}
	return c
}

// Reset sets the counters to zero; what is in flight stays counted as that.
func (p *Proxy) Reset() {
	for k := range kinds {
		p.count.byKind[k].Store(0)
	}
	p.count.in.Store(0)
	p.count.out.Store(0)
	p.count.failed.Store(0)
	p.count.conns.Store(0)
	p.count.given.Lock()
	clear(p.count.given.answers)
	p.count.given.Unlock()
	p.count.maximum.Store(p.count.inFlight.Load())
}
