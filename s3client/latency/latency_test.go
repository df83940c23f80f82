package latency

import (
	"sync"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for d, want := range map[time.Duration]int{
		0: 0, 50 * time.Microsecond: 0, 50*time.Microsecond + 1: 1, time.Millisecond: 4, time.Second: 13, 2 * time.Minute: len(bounds) - 1,
		2*time.Minute + 1: len(bounds), time.Hour: len(bounds),
	} {
		if got := bucketOf(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}

func TestHistogramCountsAll(t *testing.T) {
	var h Histogram
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				h.Observe(3 * time.Millisecond)
			}
		})
	}
	all.Wait()
	h.Observe(-time.Second) // a clock that was set back
	s := h.Snapshot()
	if s.Count() != 8001 || s.Sum != 24*time.Second || s.Counts[bucketOf(3*time.Millisecond)] != 8000 || s.Counts[0] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestQuantile(t *testing.T) {
	var h Histogram
	if q := h.Snapshot().Quantile(0.5); q != 0 {
		t.Errorf("of nothing: %v", q)
	}
	for range 90 {
		h.Observe(15 * time.Millisecond) // 10..20 ms
	}
	for range 10 {
		h.Observe(time.Hour)
	}
	s := h.Snapshot()
	if got := s.Quantile(0.45); got != 15*time.Millisecond {
		t.Errorf("45%%: %v, half of the bucket from 10 to 20 ms is 15", got)
	}
	if got := s.Quantile(0.99); got != 2*time.Minute {
		t.Errorf("99%%: %v, above the last bound", got)
	}
}

func TestRecentForgets(t *testing.T) {
	var r Recent
	start := time.Unix(1_000_000, 0)
	r.Observe(start, time.Second)
	r.Observe(start.Add(30*time.Second), 2*time.Second)
	for after, want := range map[time.Duration]uint64{0: 1, 30 * time.Second: 2, 59 * time.Second: 2, 65 * time.Second: 1, 2 * time.Minute: 0} {
		if got := r.Snapshot(start.Add(after)).Count(); got != want {
			t.Errorf("after %v: %d, want %d", after, got, want)
		}
	}
	r.Observe(start.Add(time.Minute), 3*time.Second) // takes the first one's slot
	if s := r.Snapshot(start.Add(time.Minute)); s.Count() != 2 || s.Sum != 5*time.Second {
		t.Errorf("%+v", s)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}
