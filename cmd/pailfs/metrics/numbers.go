// Package metrics says a mount's numbers in Prometheus's form.
//
// It knows numbers and not where they are from: the command gives it a func that reads them, which never waits for the network.
// Nothing is counted here, and what nobody scrapes costs nothing.
//
// Labels are few and of few values: kinds of requests, status codes, names of errno, two tiers of cache. Names of buckets, keys and
// users are no labels: there is no bound to them, and metrics are read by more people than files are.
package metrics

import "pailfs/s3client/latency"

// Numbers are a mount's at one moment. Sizes are bytes; counters only grow while the process lives.
type Numbers struct {
	Version, GoVersion           string
	Mountpoint                   string
	Durability, Provider, Region string
	Ready                        bool
	Operations                   []Operation // of the kernel
	OperationsInFlight           int64
	Requests                     []Request // to the store
	Retries, Throttled           int64
	Received, Sent               int64 // bytes of bodies
	StoreAway                    bool
	StoreAwaySeconds             float64
	Memory                       Memory
	Disk                         *Disk // nil: there is no disk cache
	Unsaved                      Unsaved
	Journal                      Journal
	Conflicts                    int64
	Uploads                      int64 // multipart uploads that are running
	Renames                      int64 // directories that are being renamed
	Names                        Names
	AheadFetched, AheadUsed      int64
	PassthroughOpens             int64
	Limits                       Limits
}

// Operation is one kind of the kernel's requests.
type Operation struct {
	Kind   string
	Took   latency.Snapshot
	Errors map[string]int64 // by errno
}

// Request is one kind of requests to the store.
type Request struct {
	Kind   string
	Took   latency.Snapshot
	Status map[string]int64 // by status code, "none", "canceled"
}

// Memory is the cache of blocks in memory.
type Memory struct {
	Budget, Cached, InFlight, Held int64
	Hits, Misses                   int64 // blocks
	Fetches, Fetched               int64 // ranges, and their bytes
}

// Disk is the disk cache.
type Disk struct {
	Bytes, Limit, Files    int64
	Hits, Misses           int64 // blocks
	Read, Written, Queued  int64 // bytes
	Skipped, Corrupt, Gone int64 // blocks not written, damaged; objects dropped
	Paused                 bool
}

// Unsaved is what the store does not have yet.
type Unsaved struct {
	Files, Bytes, Names, Failed int64
	OldestSeconds               float64
}

// Journal is the journal.
type Journal struct {
	Records, Notes, Log, Spool, Memory int64
	Syncs, Entries                     int64
}

// Names are what is known of names.
type Names struct {
	Known, Attributes, Changes, Hidden int64
}

// Limits are those in force; 0 is none.
type Limits struct {
	Requests  int64
	WriteRate float64
	Up, Down  int64
}
