package scale

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"pailfs/tests/testenv"
)

// family is a run of keys that are computed from their numbers, in order.
type family struct {
	prefix string
	n      int
	key    func(i int) string
	size   int64 // of each
}

// store answers for a bucket whose keys are computed when they are asked for: nothing of it is kept anywhere. It cannot be
// written to. It counts what it is asked.
type store struct {
	families                   []family // in the order of their prefixes
	n                          int
	lists, heads, gets, others atomic.Int64
	down                       atomic.Int64 // bytes of bodies
}

const (
	billion  = 1_000_000_000
	hugeSize = 5 << 40
	openSize = 64 << 20
)

// newStore has a billion objects in a tree, a flat directory, files to be opened, and an object of 5 TiB.
func newStore(flat, open int) *store {
	s := &store{families: []family{
		{"deep/", billion, func(i int) string { return fmt.Sprintf("deep/%03d/%03d/%03d.dat", i/1_000_000, i/1000%1000, i%1000) }, 4096},
		{"flat/", flat, func(i int) string { return fmt.Sprintf("flat/part-%010d.parquet", i) }, 4096},
		{"huge", 1, func(int) string { return "huge" }, hugeSize},
		{"open/", open, func(i int) string { return fmt.Sprintf("open/%06d", i) }, openSize},
	}}
	for _, f := range s.families {
		s.n += f.n
	}
	return s
}

// mounted mounts such a store.
func mounted(t *testing.T, flat, open int, options ...testenv.Option) (*store, *testenv.MountPoint) {
	t.Helper()
	testenv.Require(t)
	s := newStore(flat, open)
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	at := &testenv.Server{Endpoint: front.URL, Region: "us-east-1", AccessKey: "access", SecretKey: "secret", Name: "computed"}
	options = append([]testenv.Option{testenv.Of("bucket"), testenv.TTL(-1), testenv.Args("--memory", fmt.Sprint(memory))}, options...)
	return s, testenv.Mount(t, at, options...)
}

func (s *store) asked() int64 {
	return s.lists.Load() + s.heads.Load() + s.gets.Load() + s.others.Load()
}

func (s *store) String() string {
	return fmt.Sprintf("%d LISTs, %d HEADs, %d GETs of %d bytes, %d others", s.lists.Load(), s.heads.Load(), s.gets.Load(), s.down.Load(), s.others.Load())
}

func (s *store) reset() {
	for _, n := range []*atomic.Int64{&s.lists, &s.heads, &s.gets, &s.others, &s.down} {
		n.Store(0)
	}
}

// at is the ith key of all.
func (s *store) at(i int) (string, int64) {
	for _, f := range s.families {
		if i < f.n {
			return f.key(i), f.size
		}
		i -= f.n
	}
	return "\U0010FFFF", 0
}

// search is the number of the first key that is not less.
func (s *store) search(key string) int {
	return sort.Search(s.n, func(i int) bool {
		k, _ := s.at(i)
		return k >= key
	})
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	switch {
	case bucket == "bucket" && key == "" && r.Method == http.MethodGet && q.Get("list-type") == "2":
		s.lists.Add(1)
		s.list(w, q)
	case bucket == "bucket" && key != "" && (r.Method == http.MethodHead || r.Method == http.MethodGet):
		s.object(w, r, key)
	case bucket == "bucket" && key == "" && r.Method == http.MethodHead:
		s.others.Add(1)
	default:
		s.others.Add(1)
		w.WriteHeader(http.StatusNotImplemented)
		fmt.Fprint(w, `<Error><Code>NotImplemented</Code><Message>computed</Message></Error>`)
	}
}

func etagOf(i int) string { return fmt.Sprintf("%032x", i+1) }

func (s *store) object(w http.ResponseWriter, r *http.Request, key string) {
	i := s.search(key)
	name, size := s.at(i)
	if name != key {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusNotFound)
		if r.Method == http.MethodGet {
			fmt.Fprint(w, `<Error><Code>NoSuchKey</Code><Message>none</Message></Error>`)
		}
		return
	}
	w.Header().Set("ETag", `"`+etagOf(i)+`"`)
	w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
	if r.Method == http.MethodHead {
		s.heads.Add(1)
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		return
	}
	s.gets.Add(1)
	first, last := int64(0), size-1
	status := http.StatusOK
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err == nil {
		last, status = min(last, size-1), http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	w.WriteHeader(status)
	n, _ := io.Copy(w, io.LimitReader(&bytesAt{first}, last-first+1)) // its error is the client's leaving
	s.down.Add(n)
}

// bytesAt are the bytes of every object from an offset on.
type bytesAt struct{ off int64 }

func byteAt(off int64) byte { return byte(off>>32) ^ byte(off>>16) ^ byte(off>>8) ^ byte(off) }

func (b *bytesAt) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byteAt(b.off + int64(i))
	}
	b.off += int64(len(p))
	return len(p), nil
}

func (s *store) list(w http.ResponseWriter, q url.Values) {
	prefix, after := q.Get("prefix"), q.Get("start-after")
	most := 1000
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		most = min(n, most)
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	i := s.search(max(prefix, after))
	if key, _ := s.at(i); key == after {
		i++
	}
	n, last := 0, ""
	key, size := s.at(i)
	for ; i < s.n && strings.HasPrefix(key, prefix) && n < most; key, size = s.at(i) {
		if at := strings.Index(key[len(prefix):], "/"); q.Get("delimiter") == "/" && at >= 0 {
			common := key[:len(prefix)+at+1]
			if common != after {
				last = common
				fmt.Fprintf(&b, `<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>`, url.QueryEscape(last))
				n++
			}
			i = s.search(common + "\U0010FFFF")
			continue
		}
		last = key
		fmt.Fprintf(&b, `<Contents><Key>%s</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;%s&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>`,
			url.QueryEscape(key), etagOf(i), size)
		n++
		i++
	}
	more := i < s.n && strings.HasPrefix(key, prefix)
	fmt.Fprintf(&b, `<EncodingType>url</EncodingType><IsTruncated>%v</IsTruncated><KeyCount>%d</KeyCount>`, more, n)
	if more {
		fmt.Fprintf(&b, `<NextContinuationToken>%s</NextContinuationToken>`, url.QueryEscape(last))
	}
	b.WriteString(`</ListBucketResult>`)
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprint(w, b.String())
}
