package s3mem

import (
	"context"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
)

// index is what listings show of a bucket: the objects as they were before the updates that are not due yet.
// Guarded by Store.mu.
type index struct {
	entries map[string]*object
	sorted  []string // the keys of entries and of some that are gone, in order
	added   []string // keys of entries that are not in sorted yet
	later   []update // in the order of their times
}

// update is a change that listings show from a time on.
type update struct {
	at  time.Time
	key string
	o   *object // nil: deleted
}

func (x *index) init() { x.entries = make(map[string]*object) }

func (x *index) put(key string, o *object, at time.Time) {
	x.later = slices.DeleteFunc(x.later, func(u update) bool { return u.key == key && u.at.After(at) })
	x.add(update{at, key, o})
}

func (x *index) remove(key string, at time.Time) { x.add(update{at: at, key: key}) }

func (x *index) add(u update) {
	i := len(x.later)
	for i > 0 && x.later[i-1].at.After(u.at) {
		i--
	}
	x.later = slices.Insert(x.later, i, u)
}

// apply shows the updates that are due.
func (x *index) apply(now time.Time) {
	n := 0
	for ; n < len(x.later) && !x.later[n].at.After(now); n++ {
		u := x.later[n]
		if u.o == nil {
			delete(x.entries, u.key)
			continue
		}
		if x.entries[u.key] == nil {
			x.added = append(x.added, u.key)
		}
		x.entries[u.key] = u.o
	}
	x.later = slices.Delete(x.later, 0, n)
}

// keys are the listed keys in order, with some that are gone in between: ask entries.
func (x *index) keys() []string {
	if len(x.added) == 0 && len(x.sorted) <= 2*len(x.entries) {
		return x.sorted
	}
	slices.Sort(x.added)
	merged := make([]string, 0, len(x.entries))
	a, b := x.sorted, x.added
	for len(a)+len(b) > 0 {
		var key string
		if len(b) == 0 || len(a) > 0 && a[0] <= b[0] {
			key, a = a[0], a[1:]
		} else {
			key, b = b[0], b[1:]
		}
		if x.entries[key] != nil && (len(merged) == 0 || merged[len(merged)-1] != key) {
			merged = append(merged, key)
		}
	}
	x.sorted, x.added = merged, nil
	return x.sorted
}

// List implements s3client.Store.
func (s *Store) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	c := call{op: "List Objects", bucket: req.Bucket}
	if err := s.start(ctx, c, "List"); err != nil {
		return s3client.ListPage{}, err
	}
	if req.Max < 0 {
		return s3client.ListPage{}, c.fail(s3client.Invalid, 400, "InvalidArgument", "max-keys")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.findLocked(c)
	if err != nil {
		return s3client.ListPage{}, err
	}
	b.index.apply(s.now())
	return b.index.page(req), nil
}

// pageMax is the most keys and prefixes that a store puts into a page.
const pageMax = 1000

// page is one page of the listing.
func (x *index) page(req s3client.ListRequest) s3client.ListPage {
	most := pageMax
	if req.Max > 0 {
		most = min(req.Max, pageMax)
	}
	keys := x.keys()
	i, _ := slices.BinarySearch(keys, max(req.Prefix, req.After))
	if p, ok := commonPrefix(req.After, req.Prefix, req.Delimiter); ok && p == req.After {
		i = skipPrefix(keys, i, p)
	}
	var page s3client.ListPage
	last := ""
	for i < len(keys) && strings.HasPrefix(keys[i], req.Prefix) {
		key := keys[i]
		o := x.entries[key]
		if o == nil || req.After != "" && key <= req.After {
			i++
			continue
		}
		if len(page.Objects)+len(page.Prefixes) == most {
			page.Next = last
			break
		}
		if p, ok := commonPrefix(key, req.Prefix, req.Delimiter); ok {
			page.Prefixes = append(page.Prefixes, p)
			last, i = p, skipPrefix(keys, i, p)
			continue
		}
		page.Objects = append(page.Objects, o.describe(call{bucket: req.Bucket, key: key}))
		last = key
		i++
	}
	return page
}

// commonPrefix is the prefix that a delimited listing shows in place of the key.
func commonPrefix(key, prefix, delimiter string) (string, bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if delimiter == "" || !ok {
		return "", false
	}
	i := strings.Index(rest, delimiter)
	if i < 0 {
		return "", false
	}
	return prefix + rest[:i+len(delimiter)], true
}

// skipPrefix is the index of the first key from i on that does not begin with prefix.
func skipPrefix(keys []string, i int, prefix string) int {
	n, _ := slices.BinarySearchFunc(keys[i:], prefix, func(key, prefix string) int {
		if key < prefix || strings.HasPrefix(key, prefix) {
			return -1
		}
		return 1
	})
	return i + n
}
