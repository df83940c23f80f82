package mount

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pailfs/tests/testenv"
)

// catalogue is a store that has names and no bytes: listings and HEADs of as many objects as a test likes, in one bucket,
// which never change. It counts what it is asked.
type catalogue struct {
	keys         []string // sorted
	lists, heads atomic.Int64
	flat         atomic.Int64 // of the lists, those without a delimiter
	others       atomic.Int64
	headDelay    time.Duration
	asking, most atomic.Int64 // HEADs at once

	// hold names the group of a key, "" for none. The HEADs of a group are answered when together of it are under way.
	hold     func(key string) string
	together int
	held     struct {
		sync.Mutex
		groups map[string]*heldHeads
	}
	v1 bool // it knows List Objects of version 1 alone
}

// heldHeads are HEADs that wait for each other.
type heldHeads struct {
	n    int
	open chan struct{} // closed when they are enough
}

// wait holds a HEAD back.
func (c *catalogue) wait(r *http.Request, key string) {
	if c.hold == nil {
		return
	}
	group := c.hold(key)
	if group == "" {
		return
	}
	c.held.Lock()
	if c.held.groups == nil {
		c.held.groups = make(map[string]*heldHeads)
	}
	g := c.held.groups[group]
	if g == nil {
		g = &heldHeads{open: make(chan struct{})}
		c.held.groups[group] = g
	}
	if g.n++; g.n == c.together {
		close(g.open)
	}
	c.held.Unlock()
	select {
	case <-g.open:
	case <-r.Context().Done():
	}
}

// alone are the groups of which never enough HEADs were under way.
func (c *catalogue) alone() (groups []string) {
	c.held.Lock()
	defer c.held.Unlock()
	for name, g := range c.held.groups {
		if g.n < c.together {
			groups = append(groups, name)
		}
	}
	return groups
}

// catalogued mounts a catalogue of these keys.
func catalogued(t *testing.T, keys []string, options ...testenv.Option) (*catalogue, *testenv.MountPoint) {
	t.Helper()
	testenv.Require(t)
	slices.Sort(keys)
	c := &catalogue{keys: keys}
	front := httptest.NewServer(c)
	t.Cleanup(front.Close)
	s := &testenv.Server{Endpoint: front.URL, Region: "us-east-1", AccessKey: "access", SecretKey: "secret", Name: "catalogue"}
	m := mount(t, s, "bucket", options...)
	c.reset()
	return c, m
}

func (c *catalogue) reset() {
	c.lists.Store(0)
	c.heads.Store(0)
	c.flat.Store(0)
	c.others.Store(0)
}

func (c *catalogue) String() string {
	return fmt.Sprintf("%d LISTs (%d flat), %d HEADs, %d others", c.lists.Load(), c.flat.Load(), c.heads.Load(), c.others.Load())
}

func (c *catalogue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	switch {
	case bucket == "bucket" && key == "" && r.Method == http.MethodGet && (c.v1 || q.Get("list-type") == "2"):
		c.lists.Add(1)
		if q.Get("delimiter") == "" {
			c.flat.Add(1)
		}
		c.list(w, q)
	case bucket == "bucket" && key != "" && r.Method == http.MethodHead:
		c.heads.Add(1)
		if n := c.asking.Add(1); n > c.most.Load() {
			c.most.Store(n)
		}
		time.Sleep(c.headDelay)
		c.wait(r, key)
		c.asking.Add(-1)
		if _, ok := slices.BinarySearch(c.keys, key); !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", `"`+etagOf(key)+`"`)
		w.Header().Set("Content-Length", "3")
		w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
	case bucket == "bucket" && key == "" && r.Method == http.MethodHead:
	default:
		c.others.Add(1)
		w.WriteHeader(http.StatusNotImplemented)
		fmt.Fprint(w, `<Error><Code>NotImplemented</Code><Message>names alone</Message></Error>`)
	}
}

func etagOf(key string) string {
	sum := md5.Sum([]byte(key))
	return hex.EncodeToString(sum[:])
}

func (c *catalogue) list(w http.ResponseWriter, q url.Values) {
	prefix, delimiter, after := q.Get("prefix"), q.Get("delimiter"), q.Get("start-after")
	if c.v1 {
		after = q.Get("marker")
	}
	most := 1000
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		most = min(n, most)
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	i, there := slices.BinarySearch(c.keys, max(prefix, after))
	if there && after >= prefix {
		i++
	}
	n, last := 0, ""
	for ; i < len(c.keys) && strings.HasPrefix(c.keys[i], prefix) && n < most; i++ {
		key := c.keys[i]
		if at := strings.Index(key[len(prefix):], "/"); delimiter == "/" && at >= 0 {
			last = key[:len(prefix)+at+1]
			fmt.Fprintf(&b, `<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>`, url.QueryEscape(last))
			n++
			behind, _ := slices.BinarySearch(c.keys, last+"\U0010FFFF")
			i = behind - 1
			continue
		}
		last = key
		fmt.Fprintf(&b, `<Contents><Key>%s</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;%s&quot;</ETag><Size>3</Size><StorageClass>STANDARD</StorageClass></Contents>`,
			url.QueryEscape(key), etagOf(key))
		n++
	}
	more := i < len(c.keys) && strings.HasPrefix(c.keys[i], prefix)
	fmt.Fprintf(&b, `<EncodingType>url</EncodingType><IsTruncated>%v</IsTruncated>`, more)
	switch {
	case c.v1:
		fmt.Fprintf(&b, `<Marker>%s</Marker>`, url.QueryEscape(after))
		if more && delimiter != "" { // without one the last key is it
			fmt.Fprintf(&b, `<NextMarker>%s</NextMarker>`, url.QueryEscape(last))
		}
	case !more:
		fmt.Fprintf(&b, `<KeyCount>%d</KeyCount>`, n)
	default:
		fmt.Fprintf(&b, `<KeyCount>%d</KeyCount>`, n)
		fmt.Fprintf(&b, `<NextContinuationToken>%s</NextContinuationToken>`, url.QueryEscape(last))
	}
	b.WriteString(`</ListBucketResult>`)
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprint(w, b.String())
}
