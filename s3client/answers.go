package s3client

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"pailfs/s3client/latency"
)

// requestKind is what kind of request one is, as Counts has them.
type requestKind int

const (
	kindGet requestKind = iota
	kindHead
	kindList
	kindPut
	kindCopy
	kindPost
	kindDelete
	kindOther // no request of this package
	requestKinds
)

var requestKindNames = [requestKinds]string{"get", "head", "list", "put", "copy", "post", "delete", "other"}

// kindOfRequest goes by method and query. Every listing of this package asks for encoding-type=url but the one of the buckets,
// which is the only GET of "/" (virtual hosts included: there a bucket's GETs all have a query).
func kindOfRequest(r *http.Request) requestKind {
	switch r.Method {
	case http.MethodGet:
		if r.URL.Query().Has("encoding-type") || (r.URL.Path == "/" || r.URL.Path == "") && r.URL.RawQuery == "" {
			return kindList
		}
		return kindGet
	case http.MethodHead:
		return kindHead
	case http.MethodPut:
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			return kindCopy
		}
		return kindPut
	case http.MethodPost:
		return kindPost
	case http.MethodDelete:
		return kindDelete
	}
	return kindOther
}

// The status codes of HTTP are counted each by itself; whatever a store sends, there are no others.
const (
	firstStatus = 100
	lastStatus  = 599
)

// answerCounts are what became of requests, by kind.
type answerCounts struct {
	of     [requestKinds]answersOfKind
	recent latency.Recent
}

type answersOfKind struct {
	took     latency.Histogram
	status   [lastStatus - firstStatus + 1]atomic.Int64
	none     atomic.Int64 // broken connections, time-outs, and what is no status
	canceled atomic.Int64
}

// note counts the end of a request: its answer's header, or that none came. A request that its caller gave up says nothing of
// the store, so its time is not counted.
func (a *answerCounts) note(k requestKind, resp *http.Response, began time.Time, canceled bool) {
	now, of := time.Now(), &a.of[k]
	switch {
	case canceled:
		of.canceled.Add(1)
		return
	case resp != nil && resp.StatusCode >= firstStatus && resp.StatusCode <= lastStatus:
		of.status[resp.StatusCode-firstStatus].Add(1)
	default:
		of.none.Add(1)
	}
	took := now.Sub(began)
	of.took.Observe(took)
	a.recent.Observe(now, took)
}

// Answers are what became of the requests of one kind.
type Answers struct {
	Kind string // get, head, list, put, copy, post, delete, other
	// Took is the time from a request's beginning to its answer's header: with the time that its body took to be sent, and
	// without that of the answer's. Requests that were given up here are not in it.
	Took latency.Snapshot
	// Status counts by the answer's code, "200"; "none" for no answer, "canceled" for a request that was given up here.
	Status map[string]int64
}

// Answers reads them, in the order of Counts. A kind that was never asked has no Status.
func (c *Counters) Answers() []Answers {
	all := make([]Answers, 0, requestKinds)
	for k := range c.answers.of {
		of := &c.answers.of[k]
		one := Answers{Kind: requestKindNames[k], Took: of.took.Snapshot(), Status: map[string]int64{}}
		put := func(name string, n int64) {
			if n > 0 {
				one.Status[name] = n
			}
		}
		for i := range of.status {
			put(strconv.Itoa(firstStatus+i), of.status[i].Load())
		}
		put("none", of.none.Load())
		put("canceled", of.canceled.Load())
		all = append(all, one)
	}
	return all
}

// LastMinute is how long requests of all kinds took that ended in the minute before now.
func (c *Counters) LastMinute(now time.Time) latency.Snapshot { return c.answers.recent.Snapshot(now) }
