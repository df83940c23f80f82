package upload

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// patched is a computed base with dirty pages of zeros. It counts what has to come from the base.
type patched struct {
	dirty []Range
	down  atomic.Int64
	told  atomic.Int64 // bytes of Ahead
}

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	s3mem.ComputedAt("k", "v", off, b)
	down := int64(len(b))
	for _, r := range p.dirty {
		from, to := max(r.Off, off), min(r.Off+r.Len, off+int64(len(b)))
		if from < to {
			clear(b[from-off : to-off])
			down -= to - from
		}
	}
	p.down.Add(down)
	return len(b), nil
}

func (p *patched) Ahead(_, n int64) { p.told.Add(n) }

var _ io.ReaderAt = (*patched)(nil)

// pages are n different pages of 4 KiB within [off, off+length).
func pages(n int, off, length int64, seed uint64) (dirty []Range) {
	rnd := rand.New(rand.NewPCG(seed, 4))
	seen := make(map[int64]bool)
	for len(seen) < n {
		seen[rnd.Int64N(length/4096)] = true
	}
	for page := range seen {
		dirty = append(dirty, Range{Off: off + page*4096, Len: 4096})
	}
	slices.SortFunc(dirty, func(a, b Range) int { return int(a.Off>>12) - int(b.Off>>12) })
	return dirty
}

// The plans of the edits that people measure, over many places. What is sent between two copies has to be at least a part,
// so that all of a stretch in which no gap has MinPart bytes goes up, and all of it that is clean comes down.
func TestEditsMoveLittle(t *testing.T) {
	l := LimitsOf(swiftProfile, 0)
	for seed := range uint64(50) {
		at := rand.New(rand.NewPCG(seed, 5)).Int64N(gib-20*mib) &^ 4095
		for _, c := range []struct {
			name     string
			n        Need
			up, down int64 // at most
			pieces   int
		}{
			{"100 pages within 20 MiB of 1 GiB", Need{Size: gib, Base: gib, Dirty: pages(100, at, 20*mib, seed)},
				20 * mib, 20*mib - 100*4096, 21},
			{"all of 20 MiB of 1 GiB", Need{Size: gib, Base: gib, Dirty: []Range{{Off: at, Len: 20 * mib}}}, 20 * mib, 0, 21},
			{"a page of 1 GiB", Need{Size: gib, Base: gib, Dirty: pages(1, at, 4096, seed)}, 5 * mib, 5*mib - 4096, 19},
			{"100 pages all over 256 MiB", Need{Size: 256 * mib, Base: 256 * mib, Dirty: pages(100, 0, 256*mib, seed)},
				256 * mib, 256*mib - 100*4096, 52},
			{"a page appended to 1 GiB", Need{Size: gib + 4096, Base: gib, Dirty: []Range{{Off: gib, Len: 4096}}}, 4096, 0, 17},
		} {
			p, err := MakePlan(c.n, l)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkPlan(c.n, l, p); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			n, err := c.n.normal()
			if err != nil {
				t.Fatal(err)
			}
			if up, down := n.moved(p.Pieces); up > c.up || down > c.down || len(p.Pieces) > c.pieces {
				t.Errorf("%s, seed %d: %d up, %d down, %d pieces", c.name, seed, up, down, len(p.Pieces))
			}
		}
	}
}

// Edits of a stored 1 GiB, carried out: bytes and requests.
func TestEditsOfALargeObject(t *testing.T) {
	profile := swiftProfile
	profile.MaxMetaValue, profile.MaxMeta, profile.MaxDelete = 256, 4096, 100
	near := pages(100, 300*mib, 20*mib, 1)
	hull := near[99].Off + 4096 - near[0].Off
	for _, c := range []struct {
		name     string
		size     int64
		dirty    []Range
		up, down int64
		want     string
	}{
		{"100 pages within 20 MiB", gib, near, hull, hull - 100*4096,
			"CreateUpload 1, UploadPart 3, CopyPart 17, CompleteUpload 1, Head 1"},
		{"a page", gib, near[:1], 5 * mib, 5*mib - 4096,
			"CreateUpload 1, UploadPart 1, CopyPart 17, CompleteUpload 1, Head 1"},
		{"appended", gib + 4096, []Range{{Off: gib, Len: 4096}}, 4096, 0,
			"CreateUpload 1, UploadPart 1, CopyPart 16, CompleteUpload 1, Head 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := s3mem.New(s3mem.WithProfile(profile), s3mem.WithBuckets("b"))
			e := newEnv(t, func(o *Options) { o.Store, o.Limits = mem, Limits{} })
			e.mem = mem
			base := mem.PutComputed("b", "k", gib, "v")
			src := &patched{dirty: c.dirty}
			j := Job{Bucket: "b", Key: "k", Headers: headers("1"), Source: src,
				Need: Need{Size: c.size, Base: gib, Dirty: c.dirty},
				Base: &Base{Bucket: "b", Key: "k", ETag: base.ETag, Size: gib}}
			var obj s3client.Object
			var err error
			e.wantCalls(c.want, func() { obj, err = e.u.Store(context.Background(), j) })
			if err != nil || obj.Size != c.size {
				t.Fatalf("%+v, %v", obj, err)
			}
			if up, in := mem.Counts().BytesOut, mem.Counts().BytesIn; up != c.up || src.down.Load() != c.down || in != 0 {
				t.Errorf("%d bytes up, %d from the base, %d read by the upload; want %d and %d", up, src.down.Load(), in, c.up, c.down)
			}
			if told := src.told.Load(); told != c.up {
				t.Errorf("told of %d bytes ahead", told)
			}
			e.noPending()
		})
	}
}
