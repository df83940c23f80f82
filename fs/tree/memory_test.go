package tree

import (
	"context"
	"fmt"
	"runtime"
	"sort"
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

const endlessDir = "some/data/set"

func endlessKey(i int) string { return fmt.Sprintf("%s/part-%08d.parquet", endlessDir, i) }

func (s endless) List(_ context.Context, req s3client.ListRequest) (p s3client.ListPage, err error) {
	most := 1000
	if req.Max > 0 {
		most = min(most, req.Max)
	}
	i := sort.Search(s.n, func(i int) bool { k := endlessKey(i); return k > req.After && k >= req.Prefix })
	for ; i < s.n && strings.HasPrefix(endlessKey(i), req.Prefix); i++ {
		if len(p.Objects) == most {
			p.Next = p.Objects[most-1].Key
			return p, nil
		}
		p.Objects = append(p.Objects, endlessObject(i))
	}
	return p, nil
}

func endlessObject(i int) s3client.Object {
	return s3client.Object{Key: endlessKey(i), ETag: fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15), Size: int64(i),
		Modified: time.Unix(int64(1.7e9+float64(i)), 0)}
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
		for _, err := range tr.List(t.Context(), endlessDir) {
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

// mostEntryBytes is for names of 22 bytes; 137 were measured.
const mostEntryBytes = 160

// Head has what s3fs and rsync -a leave behind.
func (s endless) Head(_ context.Context, bucket, key string) (s3client.Object, error) {
	i := sort.Search(s.n, func(i int) bool { return endlessKey(i) >= key })
	o := endlessObject(i)
	o.Bucket = bucket
	o.Headers = &s3client.Headers{ContentType: "application/octet-stream", Meta: map[string]string{"mode": "33188", "uid": "1000",
		"gid": "1000", "mtime": fmt.Sprintf("%d.123456789", 1_600_000_000+i)}}
	return o, nil
}

// What an entry costs with its attributes, and what is remembered of its version.
func TestBytesAnEntryWithAttributes(t *testing.T) {
	const n = 20_000
	before := heap()
	tr := New(Options{Bucket: bkt, TTL: time.Hour, MaxEntries: 3 * n, Store: endless{n: n}, Full: true})
	defer tr.Close()
	for _, err := range tr.List(t.Context(), endlessDir) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if e, err := tr.Lookup(t.Context(), endlessKey(i)); err != nil || e.UID != 1000 || e.Mtime.Nanosecond() != 123456789 {
			t.Fatal(e, err)
		}
	}
	grown := heap() - before
	tr.mu.versions.Purge()
	t.Logf("%d bytes an entry, %d of these its version's", grown/n, (grown-heap()+before)/n)
	if grown > n*mostFullBytes {
		t.Errorf("%d bytes an entry", grown/n)
	}
	runtime.KeepAlive(tr)
}

// mostFullBytes is for the same names.
const mostFullBytes = 1000
