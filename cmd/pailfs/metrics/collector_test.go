package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pailfs/s3client/latency"
)

func scrape(t *testing.T, n Numbers) string {
	t.Helper()
	h, err := Handler(func() Numbers { return n })
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%v, status %d\n%s", err, w.Code, body)
	}
	return string(body)
}

func TestScrape(t *testing.T) {
	var took latency.Histogram
	took.Observe(3 * time.Millisecond)
	took.Observe(time.Hour)
	text := scrape(t, Numbers{
		Version: "1.2", GoVersion: "go1.26", Mountpoint: "/mnt/x\n\"y", Durability: "store", Provider: "nhn", Region: "KR1", Ready: true,
		Operations:       []Operation{{Kind: "read", Took: took.Snapshot(), Errors: map[string]int64{"EIO": 3}}},
		Requests:         []Request{{Kind: "get", Took: took.Snapshot(), Status: map[string]int64{"206": 7, "none": 1}}},
		StoreAwaySeconds: 1.5, Memory: Memory{Hits: 5}, Disk: &Disk{Misses: 4, Paused: true}, Limits: Limits{WriteRate: 0.5},
	})
	for _, line := range []string{
		`pailfs_build_info{goversion="go1.26",version="1.2"} 1`,
		`pailfs_mount_info{durability="store",mountpoint="/mnt/x\n\"y",provider="nhn",region="KR1"} 1`,
		`pailfs_ready 1`,
		`pailfs_operation_duration_seconds_bucket{operation="read",le="0.002"} 0`,
		`pailfs_operation_duration_seconds_bucket{operation="read",le="0.005"} 1`,
		`pailfs_operation_duration_seconds_bucket{operation="read",le="120"} 1`,
		`pailfs_operation_duration_seconds_bucket{operation="read",le="+Inf"} 2`,
		`pailfs_operation_duration_seconds_sum{operation="read"} 3600.003`,
		`pailfs_operation_duration_seconds_count{operation="read"} 2`,
		`pailfs_operation_errors_total{errno="EIO",operation="read"} 3`,
		`pailfs_store_requests_total{kind="get",status="206"} 7`,
		`pailfs_store_requests_total{kind="get",status="none"} 1`,
		`pailfs_store_away_seconds 1.5`,
		`pailfs_cache_hits_total{tier="memory"} 5`,
		`pailfs_cache_misses_total{tier="disk"} 4`,
		`pailfs_disk_cache_paused 1`,
		`pailfs_limit_write_rate 0.5`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestWithoutADiskCacheThereAreNoNumbersOfIt(t *testing.T) {
	if text := scrape(t, Numbers{}); strings.Contains(text, "pailfs_disk_cache") || strings.Contains(text, `tier="disk"`) {
		t.Errorf("%s", text)
	}
}
