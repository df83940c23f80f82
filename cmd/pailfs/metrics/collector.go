package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pailfs/s3client/latency"
)

// Handler answers scrapes with what read says, and with what the runtime says of the process.
func Handler(read func() Numbers) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		&collector{read}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: mostScrapes, DisableCompression: true}), nil
}

// mostScrapes at once; there is rarely more than one.
const mostScrapes = 4

// single is a metric of one number, without labels.
type single struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*Numbers) float64
}

func gauge[T int64 | float64](name, help string, of func(*Numbers) T) single {
	return single{prometheus.NewDesc("pailfs_"+name, help, nil, nil), prometheus.GaugeValue, func(n *Numbers) float64 { return float64(of(n)) }}
}

func counter(name, help string, of func(*Numbers) int64) single {
	s := gauge(name, help, of)
	s.kind = prometheus.CounterValue
	return s
}

func truth(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// singles are all metrics of one number.
var singles = []single{
	gauge("ready", "1 when it is mounted and the store answers", func(n *Numbers) int64 { return truth(n.Ready) }),
	gauge("operations_in_flight", "requests of the kernel that are being answered", func(n *Numbers) int64 { return n.OperationsInFlight }),
	counter("store_retries_total", "requests that were made again", func(n *Numbers) int64 { return n.Retries }),
	counter("store_throttled_total", "answers that asked to slow down", func(n *Numbers) int64 { return n.Throttled }),
	counter("store_received_bytes_total", "bytes of bodies from the store", func(n *Numbers) int64 { return n.Received }),
	counter("store_sent_bytes_total", "bytes of bodies to the store", func(n *Numbers) int64 { return n.Sent }),
	gauge("store_away", "1 while the store does not answer", func(n *Numbers) int64 { return truth(n.StoreAway) }),
	gauge("store_away_seconds", "how long the store has not answered", func(n *Numbers) float64 { return n.StoreAwaySeconds }),
	gauge("cache_in_flight_bytes", "memory reserved for blocks that are being fetched", func(n *Numbers) int64 { return n.Memory.InFlight }),
	gauge("cache_held_bytes", "memory of blocks that are dropped and still being read", func(n *Numbers) int64 { return n.Memory.Held }),
	counter("cache_fetches_total", "ranges fetched", func(n *Numbers) int64 { return n.Memory.Fetches }),
	counter("cache_fetched_bytes_total", "their bytes", func(n *Numbers) int64 { return n.Memory.Fetched }),
	gauge("unsaved_files", "files that the store does not have as they are here", func(n *Numbers) int64 { return n.Unsaved.Files }),
	gauge("unsaved_bytes", "their bytes (dirty data)", func(n *Numbers) int64 { return n.Unsaved.Bytes }),
	gauge("unsaved_names", "changes of names that the store does not have yet", func(n *Numbers) int64 { return n.Unsaved.Names }),
	gauge("unsaved_failed", "files and changes of names that could not be stored when it was tried", func(n *Numbers) int64 { return n.Unsaved.Failed }),
	gauge("unsaved_oldest_seconds", "age of the oldest of all these", func(n *Numbers) float64 { return n.Unsaved.OldestSeconds }),
	gauge("uploads_running", "multipart uploads that are running", func(n *Numbers) int64 { return n.Uploads }),
	counter("conflicts_total", "files changed here and elsewhere; both versions were kept", func(n *Numbers) int64 { return n.Conflicts }),
	gauge("directory_renames", "directories that are being renamed", func(n *Numbers) int64 { return n.Renames }),
	gauge("journal_records", "files in the journal", func(n *Numbers) int64 { return n.Journal.Records }),
	gauge("journal_notes", "changes of names and uploads in the journal", func(n *Numbers) int64 { return n.Journal.Notes }),
	gauge("journal_log_bytes", "the journal's log, on disk", func(n *Numbers) int64 { return n.Journal.Log }),
	gauge("journal_spool_bytes", "content of files that are being written, on disk", func(n *Numbers) int64 { return n.Journal.Spool }),
	gauge("journal_memory_bytes", "content of small files, in memory", func(n *Numbers) int64 { return n.Journal.Memory }),
	counter("journal_syncs_total", "times that the disk was waited for", func(n *Numbers) int64 { return n.Journal.Syncs }),
	counter("journal_entries_total", "entries written; many share a sync", func(n *Numbers) int64 { return n.Journal.Entries }),
	gauge("names_known", "names remembered", func(n *Numbers) int64 { return n.Names.Known }),
	gauge("names_attributes", "versions of objects whose attributes are remembered", func(n *Numbers) int64 { return n.Names.Attributes }),
	gauge("names_changes", "changes of names made here that listings may not show yet", func(n *Numbers) int64 { return n.Names.Changes }),
	gauge("names_hidden", "keys seen that no path reaches", func(n *Numbers) int64 { return n.Names.Hidden }),
	counter("ahead_fetched_total", "small files fetched before they were opened", func(n *Numbers) int64 { return n.AheadFetched }),
	counter("ahead_used_total", "those among them that were opened", func(n *Numbers) int64 { return n.AheadUsed }),
	counter("passthrough_opens_total", "opens of files that the kernel reads from the disk cache by itself", func(n *Numbers) int64 { return n.PassthroughOpens }),
	gauge("limit_requests", "requests in flight at most", func(n *Numbers) int64 { return n.Limits.Requests }),
	gauge("limit_write_rate", "writes a second at most; 0 is no limit", func(n *Numbers) float64 { return n.Limits.WriteRate }),
	gauge("limit_sent_bytes", "bytes a second to the store at most; 0 is no limit", func(n *Numbers) int64 { return n.Limits.Up }),
	gauge("limit_received_bytes", "bytes a second from the store at most; 0 is no limit", func(n *Numbers) int64 { return n.Limits.Down }),
}

// The metrics with labels.
var (
	buildInfo  = prometheus.NewDesc("pailfs_build_info", "1, with the version", []string{"version", "goversion"}, nil)
	mountInfo  = prometheus.NewDesc("pailfs_mount_info", "1, with what is mounted how", []string{"mountpoint", "durability", "provider", "region"}, nil)
	operations = prometheus.NewDesc("pailfs_operation_duration_seconds", "requests of the kernel, failed ones as well", []string{"operation"}, nil)
	errnos     = prometheus.NewDesc("pailfs_operation_errors_total", "requests of the kernel that failed, by errno", []string{"operation", "errno"}, nil)
	requests   = prometheus.NewDesc("pailfs_store_request_duration_seconds", "requests to the store, from their beginning to the answer's header", []string{"kind"}, nil)
	statuses   = prometheus.NewDesc("pailfs_store_requests_total", "requests to the store by status code; none: no answer, canceled: given up here", []string{"kind", "status"}, nil)

	cacheHits   = tiered("cache_hits_total", "blocks found")
	cacheMisses = tiered("cache_misses_total", "blocks not found")
	cacheBytes  = tiered("cache_bytes", "what the cache holds")
	cacheLimit  = tiered("cache_limit_bytes", "what it may hold")

	diskFiles   = prometheus.NewDesc("pailfs_disk_cache_files", "objects in the disk cache, whole or in part", nil, nil)
	diskRead    = prometheus.NewDesc("pailfs_disk_cache_read_bytes_total", "read from the disk cache", nil, nil)
	diskWritten = prometheus.NewDesc("pailfs_disk_cache_written_bytes_total", "written to it", nil, nil)
	diskQueued  = prometheus.NewDesc("pailfs_disk_cache_queued_bytes", "waiting to be written to it", nil, nil)
	diskSkipped = prometheus.NewDesc("pailfs_disk_cache_skipped_total", "blocks not written: the disk was slower than the network, or full", nil, nil)
	diskCorrupt = prometheus.NewDesc("pailfs_disk_cache_corrupt_total", "blocks that were damaged on disk and fetched again", nil, nil)
	diskEvicted = prometheus.NewDesc("pailfs_disk_cache_evicted_total", "objects dropped to make room", nil, nil)
	diskPaused  = prometheus.NewDesc("pailfs_disk_cache_paused", "1 while nothing is written to it", nil, nil)
)

func tiered(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("pailfs_"+name, help+", in memory and on disk", []string{"tier"}, nil)
}

type collector struct{ read func() Numbers }

// Describe names every metric that there can be: what Collect sends is checked against it.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, s := range singles {
		to <- s.desc
	}
	for _, d := range []*prometheus.Desc{buildInfo, mountInfo, operations, errnos, requests, statuses, cacheHits, cacheMisses, cacheBytes, cacheLimit,
		diskFiles, diskRead, diskWritten, diskQueued, diskSkipped, diskCorrupt, diskEvicted, diskPaused} {
		to <- d
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	n := c.read()
	for _, s := range singles {
		to <- prometheus.MustNewConstMetric(s.desc, s.kind, s.of(&n))
	}
	put := func(d *prometheus.Desc, kind prometheus.ValueType, value int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, float64(value), labels...)
	}
	put(buildInfo, prometheus.GaugeValue, 1, n.Version, n.GoVersion)
	put(mountInfo, prometheus.GaugeValue, 1, n.Mountpoint, n.Durability, n.Provider, n.Region)
	for _, o := range n.Operations {
		to <- histogram(operations, o.Took, o.Kind)
		for errno, count := range o.Errors {
			put(errnos, prometheus.CounterValue, count, o.Kind, errno)
		}
	}
	for _, r := range n.Requests {
		to <- histogram(requests, r.Took, r.Kind)
		for status, count := range r.Status {
			put(statuses, prometheus.CounterValue, count, r.Kind, status)
		}
	}
	put(cacheHits, prometheus.CounterValue, n.Memory.Hits, "memory")
	put(cacheMisses, prometheus.CounterValue, n.Memory.Misses, "memory")
	put(cacheBytes, prometheus.GaugeValue, n.Memory.Cached, "memory")
	put(cacheLimit, prometheus.GaugeValue, n.Memory.Budget, "memory")
	if d := n.Disk; d != nil {
		put(cacheHits, prometheus.CounterValue, d.Hits, "disk")
		put(cacheMisses, prometheus.CounterValue, d.Misses, "disk")
		put(cacheBytes, prometheus.GaugeValue, d.Bytes, "disk")
		put(cacheLimit, prometheus.GaugeValue, d.Limit, "disk")
		put(diskFiles, prometheus.GaugeValue, d.Files)
		put(diskRead, prometheus.CounterValue, d.Read)
		put(diskWritten, prometheus.CounterValue, d.Written)
		put(diskQueued, prometheus.GaugeValue, d.Queued)
		put(diskSkipped, prometheus.CounterValue, d.Skipped)
		put(diskCorrupt, prometheus.CounterValue, d.Corrupt)
		put(diskEvicted, prometheus.CounterValue, d.Gone)
		put(diskPaused, prometheus.GaugeValue, truth(d.Paused))
	}
}

// histogram is in seconds, and cumulative, as Prometheus has them.
func histogram(desc *prometheus.Desc, s latency.Snapshot, label string) prometheus.Metric {
	buckets, below := map[float64]uint64{}, uint64(0)
	for i, bound := range latency.Bounds() {
		below += s.Counts[i]
		buckets[bound.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(desc, s.Count(), s.Sum.Seconds(), buckets, label)
}
