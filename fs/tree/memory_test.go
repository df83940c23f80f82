package tree

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
)

// endless is a store whose listings are made up as they are asked for: one flat directory of so many objects.
type endless struct {
	s3client.Store
	n int
}

func (s endless) List(_ context.Context, req s3client.ListRequest) (p s3client.ListPage, err error) {
	if !strings.HasSuffix(req.Prefix, "set/") {
		return p, nil
	}
	i := 0
	if req.After != "" {
		fmt.Sscanf(strings.TrimPrefix(req.After, req.Prefix), "part-%08d", &i)
		i++
	}
	for ; i < s.n; i++ {
		if len(p.Objects) == 1000 {
			p.Next = p.Objects[999].Key
			return p, nil
		}
		p.Objects = append(p.Objects, s3client.Object{Key: fmt.Sprintf("%spart-%08d.parquet", req.Prefix, i),
			ETag: fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15), Size: int64(i), Modified: time.Unix(int64(1.7e9+float64(i)), 0)})
	}
	return p, nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What an entry costs, and that a directory of any size costs no more than the bound on entries allows.
func TestBytesAnEntry(t *testing.T) {
	const n = 200_000
	for _, most := range []int{2*n + 10, 10_000} {
		before := heap()
		tr := New(Options{Bucket: bkt, TTL: time.Hour, MaxEntries: most, Store: endless{n: n}})
		count := 0
		for _, err := range tr.List(t.Context(), "some/data/set") {
			if err != nil {
				t.Fatal(err)
			}
			count++
		}
		grown := heap() - before
		held := tr.entries.Len()
		t.Logf("%d entries listed, %d held: %d bytes, %d an entry", count, held, grown, grown/int64(held))
		if count != n || held > most || grown > int64(held)*mostEntryBytes+1<<20 {
			t.Errorf("%d listed, %d held: %d bytes", count, held, grown)
		}
		runtime.KeepAlive(tr)
		tr.Close()
	}
}

// mostEntryBytes is for names of 22 bytes; 192 were measured.
const mostEntryBytes = 230
