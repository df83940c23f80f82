package soak

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// status is what is read of `pailfs status --json`.
type status struct {
	MetricsAddr string `json:"metrics_addr"`
	Operations  struct {
		Count    int64 `json:"count"`
		InFlight int64 `json:"in_flight"`
	} `json:"operations"`
	Unsaved struct {
		Count int `json:"count"`
	} `json:"unsaved"`
	Pending struct {
		Files int `json:"files"`
		Names int `json:"names"`
	} `json:"pending"`
	Conflicts struct {
		Count int `json:"count"`
	} `json:"conflicts"`
	Journal struct {
		Records int   `json:"records"`
		Notes   int   `json:"notes"`
		Log     int64 `json:"log_bytes"`
		Spool   int64 `json:"spool_bytes"`
		Memory  int64 `json:"memory_bytes"`
	} `json:"journal"`
	Memory struct {
		InFlight int64 `json:"in_flight_bytes"`
		Held     int64 `json:"held_bytes"`
	} `json:"memory"`
	Disk struct {
		Bytes int64 `json:"bytes"`
		Limit int64 `json:"limit_bytes"`
	} `json:"disk"`
}

func (h *host) status() status {
	h.w.t.Helper()
	out, code := h.m.Command("status", "--json", h.m.Dir)
	var list []status
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || code != 0 {
		h.w.t.Fatalf("status of %s: %v, exit code %d\n%s", h.name, err, code, out)
	}
	return list[0]
}

// usage is what a process holds.
type usage struct {
	goroutines, sockets, files int
	resident                   int64
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d sockets, %d other descriptors, %d MiB resident", u.goroutines, u.sockets, u.files, u.resident>>20)
}

func (h *host) usage() (u usage) {
	h.w.t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(h.m.PID()))
	links, err := filepath.Glob(dir + "/fd/*")
	if err != nil {
		h.w.t.Fatal(err)
	}
	for _, l := range links {
		switch to, err := os.Readlink(l); {
		case err != nil: // closed since
		case strings.HasPrefix(to, "socket:"):
			u.sockets++
		default:
			u.files++
		}
	}
	u.resident = h.resident()
	goroutines := regexp.MustCompile(`(?m)^go_goroutines (\d+)$`).FindSubmatch(h.metrics())
	if goroutines == nil {
		h.w.t.Fatal("no go_goroutines in the metrics")
	}
	u.goroutines, err = strconv.Atoi(string(goroutines[1]))
	if err != nil {
		h.w.t.Fatal(err)
	}
	return u
}

func (h *host) metrics() []byte {
	h.w.t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + h.addr + "/metrics")
	if err != nil {
		h.w.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		h.w.t.Fatal(err)
	}
	return b.Bytes()
}

// resident is the process's VmRSS in bytes, 0 when it has ended.
func (h *host) resident() (n int64) {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(h.m.PID()), "status")) // empty: it has ended
	for line := range bytes.Lines(b) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &n); err == nil {
			return n << 10
		}
	}
	return 0
}

// watch looks at the host's memory.
func (h *host) watch(stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		h.most = max(h.most, h.resident())
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// raced says whether pailfs is built with the race detector, which takes memory of its own.
func raced() bool {
	return os.Getenv("PAILFS_TEST_RACE") == "1" || strings.Contains(os.Getenv("PAILFS_TEST_BINARY"), "race")
}

// settled holds what must be as soon as everything is stored.
func (h *host) settled() {
	h.w.t.Helper()
	s := h.status()
	if s.Unsaved.Count+s.Pending.Files+s.Pending.Names+s.Conflicts.Count > 0 {
		h.w.t.Errorf("%s: after a flush %d unsaved files, %d pending files and %d names; %d conflicts", h.name, s.Unsaved.Count,
			s.Pending.Files, s.Pending.Names, s.Conflicts.Count)
	}
	if s.Disk.Bytes > s.Disk.Limit {
		h.w.t.Errorf("%s: %d bytes in the disk cache, which may have %d", h.name, s.Disk.Bytes, s.Disk.Limit)
	}
	if h.most > memory+beside && !raced() {
		h.w.t.Errorf("%s: %d MiB of memory, --memory is %d", h.name, h.most>>20, memory>>20)
	}
}

// idle waits until a host that nobody uses holds what it held when it was new, and nothing else. What has had no answer is
// looked after for a minute: who has no patience does not wait for that.
func (h *host) idle() {
	h.w.t.Helper()
	limit := 150 * time.Second
	if !patient() {
		limit = 20 * time.Second
	}
	var left []string
	for until := time.Now().Add(limit); ; time.Sleep(500 * time.Millisecond) {
		if left = h.holds(); len(left) == 0 {
			break
		}
		if time.Now().After(until) {
			h.w.t.Errorf("%s: %v after the load it holds %s; at first %v\nin its journal: %.4000q", h.name, limit, strings.Join(left, "; "), h.born, h.notes())
			break
		}
	}
	h.reports = append(h.reports, fmt.Sprintf("at first %v; %d MiB resident at most; at the end %v", h.born, h.most>>20, h.usage()))
}

// notes are the words of the journal's latest notes, which are JSON.
func (h *host) notes() (found []string) {
	segments, err := filepath.Glob(filepath.Join(h.state, "*", "*", "log", "*"))
	if err != nil {
		h.w.t.Fatal(err)
	}
	for _, path := range segments {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // given back since
		}
		found = append(found, regexp.MustCompile(`[ -~]{20,}`).FindAllString(string(content), -1)...)
	}
	return found[max(0, len(found)-20):]
}

// holds is what a host holds that it should not.
func (h *host) holds() (left []string) {
	h.w.t.Helper()
	is := func(what string, n, most int64) {
		if n > most {
			left = append(left, fmt.Sprintf("%d %s, not %d", n, what, most))
		}
	}
	s, u := h.status(), h.usage()
	is("operations in flight", s.Operations.InFlight, 0)
	is("records in the journal", int64(s.Journal.Records), 0)
	is("bytes of spools", s.Journal.Spool, 0)
	is("bytes of small unsaved files", s.Journal.Memory, 0)
	is("bytes being fetched", s.Memory.InFlight, 0)
	is("bytes held by readers", s.Memory.Held, 0)
	is("bytes of the journal's log", s.Journal.Log, 2*segment)
	slack := int64(0)
	if patient() {
		is("notes in the journal", int64(s.Journal.Notes), 0)
	} else {
		slack = 64 // looks that are to come
	}
	// An idle connection has two goroutines; the status and the metrics themselves have some.
	sockets := int64(u.sockets - h.born.sockets)
	is("goroutines", int64(u.goroutines), int64(h.born.goroutines)+2*max(sockets, 0)+8+slack)
	is("sockets", int64(u.sockets), int64(h.born.sockets)+requests+4)
	is("other descriptors", int64(u.files), int64(h.born.files)+8)
	if !raced() {
		is("MiB resident", u.resident>>20, (memory+beside)>>20)
	}
	return left
}

// segment is the most that a file of the journal's log has.
const segment = 32 << 20

// nothingLeft looks at the state directory of a host that has ended.
func (h *host) nothingLeft() {
	h.w.t.Helper()
	var bytes int64
	err := filepath.WalkDir(h.state, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if kind := filepath.Base(filepath.Dir(path)); kind == "spool" || kind == "record" || kind == "damaged" {
			h.w.t.Errorf("%s has left %s", h.name, path)
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		h.w.t.Error(err)
	}
	// An upload that may still arrive keeps its note, and with it a segment.
	if bytes > 2*segment {
		h.w.t.Errorf("%s has left %d bytes in its state directory", h.name, bytes)
	}
}

var bucketLine = regexp.MustCompile(`(?m)^pailfs_operation_duration_seconds_bucket\{operation="([^"]+)",le="([^"]+)"\} (\d+)$`)

// report keeps how long the kernel's requests took, and fails for one that has outlasted its deadline.
func (h *host) report() {
	h.w.t.Helper()
	type ends struct {
		upTo  float64 // seconds; +Inf above all
		count int64   // of those up to there
	}
	all := map[string][]ends{}
	for _, m := range bucketLine.FindAllStringSubmatch(string(h.metrics()), -1) {
		upTo, err := strconv.ParseFloat(m[2], 64)
		count, err2 := strconv.ParseInt(m[3], 10, 64)
		if err != nil || err2 != nil {
			h.w.t.Fatalf("%q: %v %v", m[0], err, err2)
		}
		all[m[1]] = append(all[m[1]], ends{upTo, count})
	}
	if len(all) == 0 {
		h.w.t.Fatal("no operations in the metrics")
	}
	type slow struct {
		name       string
		p99, worst float64
	}
	var total int64
	var slowest []slow
	for _, name := range slices.Sorted(maps.Keys(all)) {
		buckets := all[name]
		n := buckets[len(buckets)-1].count
		if n == 0 {
			continue
		}
		total += n
		within := func(n int64) float64 {
			return buckets[slices.IndexFunc(buckets, func(b ends) bool { return b.count >= n })].upTo
		}
		one := slow{name, within(n - n/100), within(n)}
		slowest = append(slowest, one)
		if one.worst > longest.Seconds() {
			h.w.t.Errorf("%s: %s took more than %v", h.name, name, longest)
		}
	}
	slices.SortStableFunc(slowest, func(a, b slow) int { return cmp.Compare(b.worst, a.worst) })
	said := fmt.Sprintf("%d requests of the kernel; the slowest:", total)
	for _, one := range slowest[:min(len(slowest), 6)] {
		said += fmt.Sprintf(" %s within %gs, 99 of 100 within %gs;", one.name, one.worst, one.p99)
	}
	h.reports = append(h.reports, strings.TrimSuffix(said, ";"))
}
