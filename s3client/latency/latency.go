// Package latency counts how long things took.
//
// It is a leaf: fs counts the kernel's requests with it and s3client those to the store, on the way of each of them; metrics and
// status read. It imports nothing of ours, has no goroutine and never waits for more than a few words.
package latency

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// bounds are the upper ends of the buckets. The first is about what a request costs that nobody waits for; the last is what
// --timeout is by default.
var bounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
}

// Bounds are the upper ends of the buckets of all histograms, in ascending order; the last bucket has none.
func Bounds() []time.Duration { return slices.Clone(bounds[:]) }

// bucketOf is the index of the first bound that is not less, len(bounds) above all.
func bucketOf(d time.Duration) int {
	for i, bound := range &bounds { // most end in the first few
		if d <= bound {
			return i
		}
	}
	return len(bounds)
}

// Histogram counts durations. The zero value is empty; safe for concurrent use; Observe takes some ten nanoseconds.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(d)].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot reads it. Each number is exact; together they may be an observation apart.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
	}
	return s
}

// Snapshot is a histogram at one moment.
type Snapshot struct {
	Counts [len(bounds) + 1]uint64 // of each bucket by itself
	Sum    time.Duration
}

// Count is how many durations there were.
func (s Snapshot) Count() uint64 {
	var n uint64
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// Add is both together.
func (s Snapshot) Add(o Snapshot) Snapshot {
	for i, c := range o.Counts {
		s.Counts[i] += c
	}
	s.Sum += o.Sum
	return s
}

// Quantile is the duration that a share q of all did not exceed, taken to lie evenly in their bucket; 0 when there were none.
// What is above the last bound counts as the last bound.
func (s Snapshot) Quantile(q float64) time.Duration {
	all := s.Count()
	if all == 0 {
		return 0
	}
	rank, below := q*float64(all), 0.0
	for i, c := range s.Counts {
		if i == len(bounds) {
			break
		}
		if c > 0 && below+float64(c) >= rank {
			low := time.Duration(0)
			if i > 0 {
				low = bounds[i-1]
			}
			return low + time.Duration(float64(bounds[i]-low)*max(rank-below, 0)/float64(c))
		}
		below += float64(c)
	}
	return bounds[len(bounds)-1]
}

// The last minute is kept in slots, so that what is older goes a slot at a time.
const (
	slots    = 6
	slotTime = 10 * time.Second
)

// Recent counts the durations of the last minute. The zero value is empty; safe for concurrent use.
type Recent struct {
	mu struct {
		sync.Mutex
		slots [slots]slot
	}
}

type slot struct {
	number int64 // of slotTime since 1970; the slot is empty when it is another one's turn
	counts Snapshot
}

// Observe counts a duration that ended now.
func (r *Recent) Observe(now time.Time, d time.Duration) {
	d = max(d, 0)
	number := now.UnixNano() / int64(slotTime)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.mu.slots[number%slots]
	if s.number != number {
		*s = slot{number: number}
	}
	s.counts.Counts[bucketOf(d)]++
	s.counts.Sum += d
}

// Snapshot is the minute before now.
func (r *Recent) Snapshot(now time.Time) Snapshot {
	number := now.UnixNano() / int64(slotTime)
	r.mu.Lock()
	defer r.mu.Unlock()
	var all Snapshot
	for _, s := range r.mu.slots {
		if s.number > number-slots && s.number <= number {
			all = all.Add(s.counts)
		}
	}
	return all
}
