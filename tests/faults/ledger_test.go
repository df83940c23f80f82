package faults

import (
	"bufio"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pailfs/tests/lagproxy"
)

// entry is a kind of request and what became of it, as the mount counts: "none" for no answer, "canceled" for one that the
// mount gave up.
type entry struct{ kind, status string }

// numbers are the mount's own: requests, and single counters by their names.
type numbers struct {
	requests map[entry]int64
	single   map[string]int64
}

var (
	requestLine = regexp.MustCompile(`^pailfs_store_requests_total\{kind="(\w+)",status="(\w+)"\} (\S+)$`)
	singleLine  = regexp.MustCompile(`^pailfs_(\w+) (\S+)$`)
)

// numbers reads what Prometheus would read.
func (w *worker) numbers() (numbers, error) {
	n := numbers{map[entry]int64{}, map[string]int64{}}
	resp, err := w.metrics.Get("http://mount/metrics")
	if err != nil {
		return n, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if m := requestLine.FindStringSubmatch(lines.Text()); m != nil {
			kind := m[1]
			if kind == "list" {
				kind = "get"
			}
			n.requests[entry{kind, m[2]}] += number(m[3])
		} else if m := singleLine.FindStringSubmatch(lines.Text()); m != nil {
			n.single[m[1]] = number(m[2])
		}
	}
	return n, nil
}

func number(s string) int64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return -1 << 40 // no counter has it: whatever it is compared with differs
	}
	return int64(f)
}

// kindOf is how the mount calls what the proxy has counted. Listings are GETs to both sides here: each tells them from others
// in its own way.
func kindOf(g lagproxy.Given) string {
	switch g.Kind {
	case lagproxy.Get:
		return "get"
	case lagproxy.Head:
		return "head"
	case lagproxy.List, lagproxy.Uploads:
		return "get"
	case lagproxy.Put, lagproxy.Part:
		return "put"
	case lagproxy.Copy, lagproxy.CopyPart:
		return "copy"
	case lagproxy.CreateUpload, lagproxy.CompleteUpload, lagproxy.DeleteMany:
		return "post"
	case lagproxy.Delete, lagproxy.AbortUpload:
		return "delete"
	case lagproxy.Buckets:
		switch g.Method {
		case "GET":
			return "get"
		case "HEAD", "PUT", "DELETE":
			return strings.ToLower(g.Method)
		}
	}
	return "other"
}

// ledger is both sides' numbers at one moment.
type ledger struct {
	mount numbers
	proxy map[entry]int64
}

// ledger reads both sides, with nothing counted in between.
func (w *worker) ledger() (ledger, error) {
	for {
		given := w.p.Given()
		n, err := w.numbers()
		if err != nil {
			return ledger{}, err
		}
		if !maps.Equal(given, w.p.Given()) {
			continue
		}
		l := ledger{mount: n, proxy: map[entry]int64{}}
		for g, n := range given {
			status := "none"
			if g.Status != 0 {
				status = itoa(g.Status)
			}
			l.proxy[entry{kindOf(g), status}] += n
		}
		return l, nil
	}
}

// since is what came to it after an earlier one.
func (l ledger) since(before ledger) ledger {
	return ledger{numbers{less(l.mount.requests, before.mount.requests), less(l.mount.single, before.mount.single)}, less(l.proxy, before.proxy)}
}

func less[K comparable](now, before map[K]int64) map[K]int64 {
	d := map[K]int64{}
	for k, n := range now {
		if n != before[k] {
			d[k] = n - before[k]
		}
	}
	return d
}

// balanced says where the two sides do not agree, "" when each answer that the proxy has given, harmed or not, is in the
// mount's numbers with its status, and the mount has none besides. These excuse a difference:
//
//   - a request that the mount has given up (canceled, or no answer in time) may have any status at the proxy;
//   - a connection that breaks before the answer to a GET or HEAD, and has carried a request before, makes net/http ask once
//     more, of which the mount's numbers know nothing;
//   - while nobody listens the proxy knows nothing of requests;
//   - a store that speaks of clocks is asked for its own, by a request that is no call.
func (l ledger) balanced(f fault) string {
	var b strings.Builder
	for _, kind := range []string{"get", "head", "put", "copy", "post", "delete", "other"} {
		var given, known int64 // answers of which only the proxy, only the mount knows
		for _, status := range statusesOf(kind, l.proxy, l.mount.requests) {
			d := l.proxy[entry{kind, status}] - l.mount.requests[entry{kind, status}]
			given, known = given+max(d, 0), known+max(-d, 0)
		}
		unanswered := l.mount.requests[entry{kind, "none"}] - l.proxy[entry{kind, "none"}] // more of them here
		spare := l.mount.requests[entry{kind, "canceled"}] + max(unanswered, 0)
		if kind == "get" && f.speaksOfClocks() {
			spare++
		}
		if given > spare {
			fmt.Fprintf(&b, " %s: the proxy has given %d answers of which the mount knows nothing, which has given up %d;", kind, given, spare)
		}
		if known > max(-unanswered, 0) {
			fmt.Fprintf(&b, " %s: the mount knows %d answers that the proxy has not given;", kind, known)
		}
		if unanswered > given && !f.away {
			fmt.Fprintf(&b, " %s: the mount has %d more without an answer than the proxy;", kind, unanswered)
		}
		again := kind == "get" || kind == "head"
		if -unanswered > known+l.mount.requests[entry{kind, "canceled"}] && !again {
			fmt.Fprintf(&b, " %s: the proxy has left %d more without an answer than the mount knows;", kind, -unanswered)
		}
	}
	return b.String()
}

// statusesOf are the codes that either side has of a kind.
func statusesOf(kind string, sides ...map[entry]int64) []string {
	all := map[string]bool{}
	for _, side := range sides {
		for e := range side {
			if e.kind == kind && e.status != "none" && e.status != "canceled" {
				all[e.status] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// settled waits until nothing goes on and both sides agree.
func (w *worker) settled(before ledger, f fault) (ledger, string) {
	var l ledger
	not := eventually(10*time.Second, func() string {
		if n := w.p.InFlight(); n > 0 {
			return fmt.Sprintf("%d requests are going on", n)
		}
		now, err := w.ledger()
		if err != nil {
			return err.Error()
		}
		l = now.since(before)
		return l.balanced(f)
	})
	return l, not
}

// explain says how each of the harms that were done was felt, or what excuses that it was not.
func explain(strokes []lagproxy.Stroke, l ledger) map[string]int {
	felt := map[string]int{}
	for _, s := range strokes {
		felt[feltAs(s, l)]++
	}
	return felt
}

func feltAs(s lagproxy.Stroke, l ledger) string {
	kind := kindOf(lagproxy.Given{Method: s.Method, Kind: s.Kind})
	switch s.Harm {
	case lagproxy.Delay:
		return "time alone"
	case lagproxy.Twice, lagproxy.Skew:
		return "nothing to feel: the answer is as good"
	case lagproxy.Past:
		return "nothing to feel: a listing is a listing"
	case lagproxy.Flip, lagproxy.FlipUp:
		return "a bit: found by a check or not to be found over http"
	case lagproxy.Refuse, lagproxy.Replace:
		if s.Kind == lagproxy.Buckets && s.Target == "/" && s.Status == 403 {
			return "the look at the store's clock, which is no call"
		}
		if l.mount.requests[entry{kind, itoa(s.Status)}] > 0 {
			return "its status is counted"
		}
	case lagproxy.Cut, lagproxy.Stall:
		if l.mount.single["store_retries_total"] > 0 {
			return "a retry is counted"
		}
		return "the answer's header was counted; the call failed or was given up"
	default:
		if l.mount.requests[entry{kind, "none"}] > 0 {
			return "no answer is counted"
		}
		if kind == "get" || kind == "head" {
			return "net/http asked once more"
		}
	}
	if l.mount.requests[entry{kind, "canceled"}] > 0 {
		return "given up by the mount"
	}
	return notFelt
}

const notFelt = "NOT FELT"
