package main

import (
	"time"

	"pailfs/s3client"
)

// statusReport is what a mount says of itself: the object of `pailfs status --json`. Its names are part of the command
// line's contract; the README's table is made of the doc tags. Nothing in it is a secret.
type statusReport struct {
	Mountpoint string    `json:"mountpoint" doc:"the directory"`
	State      string    `json:"state" doc:"starting, serving, detached, draining, ended, killed or unanswered"`
	Why        string    `json:"why,omitempty" doc:"what happened, where the state is ended, killed or unanswered"`
	Source     string    `json:"source" doc:"what is mounted, as in df"`
	PID        int       `json:"pid" doc:"the process that serves it"`
	Since      time.Time `json:"since" doc:"when it was mounted"`
	StateDir   string    `json:"state_dir" doc:"where data lies that the store does not have yet"`
	LogFile    string    `json:"log_file,omitempty" doc:"its log; not there when that is standard error"`
	Drain      *progress `json:"drain,omitempty" doc:"what is stored and to be stored while it is draining: done, total in bytes; names_done, names"`
	// What follows comes from the process itself.
	Version     string             `json:"version,omitempty" doc:"the version of the process"`
	ReadOnly    bool               `json:"read_only,omitempty" doc:"true for a mount that changes nothing"`
	LogLevel    string             `json:"log_level,omitempty" doc:"how much it logs now: debug, info, warn or error"`
	MetricsAddr string             `json:"metrics_addr,omitempty" doc:"where it answers /metrics, /livez and /readyz; not there when nowhere"`
	Store       *storeReport       `json:"store,omitempty"`
	Limits      *limitsReport      `json:"limits,omitempty"`
	Operations  *operationsReport  `json:"operations,omitempty"`
	Unsaved     *unsavedReport     `json:"unsaved,omitempty"`
	Pending     *pendingReport     `json:"pending,omitempty"`
	Recovered   *recoveredReport   `json:"recovered,omitempty"`
	Renames     []renameReport     `json:"renames,omitempty" doc:"directories that are being renamed: from, to (paths), stage (copy, delete or undo), since, found (objects listed so far), copied, deleted, earlier (begun by an earlier run)"`
	Journal     *journalReport     `json:"journal,omitempty"`
	Conflicts   *conflictsReport   `json:"conflicts,omitempty"`
	Memory      *memoryReport      `json:"memory,omitempty"`
	Names       *namesReport       `json:"names,omitempty"`
	Blocks      *blocksReport      `json:"blocks,omitempty"`
	Disk        *diskReport        `json:"disk,omitempty"`
	Passthrough *passthroughReport `json:"passthrough,omitempty"`
	Ahead       *aheadReport       `json:"ahead,omitempty"`
	Requests    *s3client.Counts   `json:"requests,omitempty" doc:"requests so far: get, head, list, put, copy, post, delete; retries, throttled; bytes_in, bytes_out"`
}

// The states of a mount.
const (
	stateStarting   = "starting"
	stateServing    = "serving"
	stateDetached   = "detached"   // its mount point is gone, something still holds it
	stateDraining   = "draining"   // unmounted, storing what is left
	stateEnded      = "ended"      // with a result that is not good
	stateKilled     = "killed"     // its process is gone without a result
	stateUnanswered = "unanswered" // its process lives and does not answer
)

type storeReport struct {
	Endpoint string     `json:"endpoint" doc:"address of the store"`
	Region   string     `json:"region" doc:"as it is signed"`
	Provider string     `json:"provider" doc:"the profile in use: nhn, swift, ceph, minio, aws or generic"`
	Away     bool       `json:"away" doc:"true while the store does not answer"`
	Since    *time.Time `json:"away_since,omitempty" doc:"since when it is away"`
	Error    string     `json:"error,omitempty" doc:"why it is away"`
	Keys     string     `json:"access_keys,omitempty" doc:"where the access keys are from, and the beginning of the one in use"`
	KeysRead *time.Time `json:"access_keys_read,omitempty" doc:"when they were read or given last"`
	Trouble  string     `json:"access_keys_trouble,omitempty" doc:"why they cannot be read again: those read before are in use"`
	// Of the last minute:
	Requests int64   `json:"requests_last_minute" doc:"requests of the last minute that ended"`
	P50      float64 `json:"p50_seconds" doc:"half of these had their answer within so long"`
	P99      float64 `json:"p99_seconds" doc:"99 of a hundred had"`
}

type limitsReport struct {
	Up        int64   `json:"bandwidth_up" doc:"bytes a second to the store at most; 0: no limit"`
	Down      int64   `json:"bandwidth_down" doc:"bytes a second from the store at most; 0: no limit"`
	WriteRate float64 `json:"write_rate" doc:"writes a second at most; 0: no limit"`
	Requests  int     `json:"max_requests" doc:"requests in flight at most"`
}

type operationsReport struct {
	Count    int64 `json:"count" doc:"requests of the kernel"`
	Failed   int64 `json:"failed" doc:"those that failed, with whatever errno: looking for a name that is not there is one"`
	InFlight int64 `json:"in_flight" doc:"those that are being answered now"`
}

type unsavedReport struct {
	Count  int           `json:"count" doc:"files that the store does not have as they are here"`
	Bytes  int64         `json:"bytes" doc:"their bytes"`
	Oldest *time.Time    `json:"oldest,omitempty" doc:"the oldest change among them"`
	Failed int           `json:"failed" doc:"those among them that could not be stored when it was tried"`
	Files  []unsavedFile `json:"files,omitempty" doc:"the first 100: path (BUCKET/KEY), bytes, since, error, tries, next, earlier"`
}

type pendingReport struct {
	Files    int           `json:"files" doc:"files that the store does not have as they are here"`
	Bytes    int64         `json:"bytes" doc:"their bytes"`
	Names    int           `json:"names" doc:"changes of names that the store does not have yet: deleted, made, attributes"`
	Oldest   *time.Time    `json:"oldest,omitempty" doc:"the oldest change among all of them"`
	Failed   int           `json:"failed" doc:"those among them that could not be stored when it was tried"`
	Failures []unsavedFile `json:"failures,omitempty" doc:"the first 100 of these: path (BUCKET/KEY), change (delete, put, headers or rename; not there for a file's bytes), bytes, since, error, tries, next (when it is tried again)"`
}

type recoveredReport struct {
	Files   int   `json:"files" doc:"files that an earlier run had left, found at mount"`
	Bytes   int64 `json:"bytes" doc:"their bytes"`
	Names   int   `json:"names" doc:"changes of names that an earlier run had left"`
	Stored  int   `json:"stored" doc:"those of both that are stored now, or are done with"`
	Waiting int   `json:"waiting" doc:"those of both that still wait"`
}

type renameReport struct {
	From    string    `json:"from"`
	To      string    `json:"to"`
	Stage   string    `json:"stage"`
	Since   time.Time `json:"since"`
	Found   int64     `json:"found"`
	Copied  int64     `json:"copied"`
	Deleted int64     `json:"deleted"`
	Earlier bool      `json:"earlier,omitempty"`
}

type journalReport struct {
	Durability string  `json:"durability" doc:"--durability"`
	MaxLag     float64 `json:"max_lag_seconds" doc:"--max-lag"`
	Records    int     `json:"records" doc:"files in it"`
	Notes      int     `json:"notes" doc:"changes of names and uploads in it"`
	Log        int64   `json:"log_bytes" doc:"its log, on disk"`
	Spool      int64   `json:"spool_bytes" doc:"content of files, on disk"`
	Memory     int64   `json:"memory_bytes" doc:"content of small files, in memory"`
	Syncs      uint64  `json:"syncs" doc:"times that the disk was waited for"`
	Entries    uint64  `json:"entries" doc:"entries written; many share a sync"`
	// Unreadable are parts that an earlier run wrote.
	Unreadable []string `json:"unreadable,omitempty" doc:"parts that could not be read when it was mounted: what they kept is not stored"`
}

type conflictsReport struct {
	Count int              `json:"count" doc:"files changed here and elsewhere; both versions were kept"`
	Files []conflictReport `json:"files,omitempty" doc:"the last 100: path (BUCKET/KEY), kept (where the version of this mount is), time"`
}

type conflictReport struct {
	Path string    `json:"path"`
	Kept string    `json:"kept"`
	Time time.Time `json:"time"`
}

type memoryReport struct {
	Budget   int64 `json:"budget_bytes" doc:"--memory"`
	Cached   int64 `json:"cached_bytes" doc:"blocks of objects in memory"`
	InFlight int64 `json:"in_flight_bytes" doc:"reserved for blocks that are being fetched"`
	Held     int64 `json:"held_bytes" doc:"dropped from the cache and still being read"`
	RSS      int64 `json:"rss_bytes" doc:"memory of the whole process"`
}

type namesReport struct {
	Known      int `json:"known" doc:"names remembered"`
	Attributes int `json:"attributes" doc:"versions of objects whose attributes are remembered"`
	Changes    int `json:"changes" doc:"changes of names made here that listings may not show yet"`
	Pending    int `json:"pending" doc:"those among them that are not stored yet"`
	Hidden     int `json:"hidden" doc:"keys seen that no path reaches: they cannot be names, or a directory has the name"`
}

type blocksReport struct {
	Hits    int64 `json:"hits" doc:"blocks found in memory"`
	Misses  int64 `json:"misses" doc:"blocks not found there"`
	Fetches int64 `json:"fetches" doc:"ranges fetched"`
	Fetched int64 `json:"fetched_bytes" doc:"their bytes"`
}

type diskReport struct {
	Dir     string `json:"dir" doc:"--cache-dir"`
	Bytes   int64  `json:"bytes" doc:"what it takes"`
	Limit   int64  `json:"limit_bytes" doc:"--cache-size"`
	Files   int64  `json:"files" doc:"objects in it, whole or in part"`
	Hits    int64  `json:"hits" doc:"blocks found on disk"`
	Misses  int64  `json:"misses" doc:"blocks not found there"`
	Read    int64  `json:"read_bytes" doc:"read from it"`
	Written int64  `json:"written_bytes" doc:"written to it"`
	Queued  int64  `json:"queued_bytes" doc:"waiting to be written"`
	Skipped int64  `json:"skipped" doc:"blocks not written: the disk was slower than the network, or full"`
	Corrupt int64  `json:"corrupt" doc:"blocks that were damaged on disk and fetched again"`
	Evicted int64  `json:"evicted" doc:"objects dropped to make room"`
	Index   int64  `json:"index_bytes" doc:"memory of its index"`
	Paused  string `json:"paused,omitempty" doc:"why nothing is written to it now"`
}

type passthroughReport struct {
	On    bool   `json:"on" doc:"true when the kernel may read objects on disk without asking the process"`
	Why   string `json:"why,omitempty" doc:"why not"`
	Opens int64  `json:"opens" doc:"opens that were served so"`
}

type aheadReport struct {
	Fetched int64 `json:"fetched" doc:"small files fetched before they were opened"`
	Used    int64 `json:"used" doc:"those among them that were opened"`
}

// mostListed bounds the files that a report names.
const mostListed = 100

// unsavedOf reports a list of unsaved files.
func unsavedOf(list []unsavedFile) *unsavedReport {
	r := &unsavedReport{Count: len(list), Files: list[:min(len(list), mostListed)]}
	for _, f := range list {
		r.Bytes += f.Bytes
		if f.Error != "" {
			r.Failed++
		}
		if !f.Since.IsZero() && (r.Oldest == nil || f.Since.Before(*r.Oldest)) {
			r.Oldest = &f.Since
		}
	}
	return r
}

// pendingOf reports files and changes of names together.
func pendingOf(list []unsavedFile) *pendingReport {
	r := &pendingReport{}
	for _, f := range list {
		if f.Change == "" {
			r.Files++
			r.Bytes += f.Bytes
		} else {
			r.Names++
		}
		if !f.Since.IsZero() && (r.Oldest == nil || f.Since.Before(*r.Oldest)) {
			r.Oldest = &f.Since
		}
		if f.Error == "" {
			continue
		}
		if r.Failed++; r.Failed <= mostListed {
			r.Failures = append(r.Failures, f)
		}
	}
	return r
}

// reportOf is what the runtime file alone says of a mount.
func reportOf(s runtimeState) statusReport {
	return statusReport{Mountpoint: s.Mountpoint, Source: s.Source, PID: s.PID, Since: s.Started, StateDir: s.StateDir,
		LogFile: s.LogFile, Drain: s.Progress}
}
