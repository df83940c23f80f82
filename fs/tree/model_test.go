package tree

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// node is a name of the model.
type node struct {
	dir     bool
	marked  bool // a directory that stays when it is empty
	body    string
	mode    uint32
	pending bool
	foreign bool // made by the other client: it has no attributes
	unsaved bool // renamed over a stored file before it was stored itself
	link    bool // body is its target
}

// model is a mount as a naive map, driven side by side with a tree.
type model struct {
	*rapid.T
	r      *rig
	full   bool
	others bool
	lag    time.Duration
	nodes  map[string]*node
	serial int
	later  *laterFake // nil: changes go to the store at once
	// answers are those to GETs of all times, of which the tree learns late.
	answers []s3client.Object
}

func (m *model) universe() (paths []string) {
	names := []string{"a", "a-", "b"}
	for _, x := range names {
		paths = append(paths, x)
		for _, y := range names {
			paths = append(paths, x+"/"+y)
			for _, z := range names {
				paths = append(paths, x+"/"+y+"/"+z)
			}
		}
	}
	return paths
}

func (m *model) pick(label string) string { return rapid.SampledFrom(m.universe()).Draw(m.T, label) }

func (m *model) children(dir string) (names []string) {
	for p := range m.nodes {
		if d, n := split(p); d == dir && p != "" {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names
}

func (m *model) isDir(p string) bool { return p == "" || m.nodes[p] != nil && m.nodes[p].dir }

func (m *model) hasPending(dir string) bool {
	for p, n := range m.nodes {
		if under(p, dir) && (n.pending || n.unsaved) {
			return true
		}
	}
	return false
}

func (m *model) expect(what string, err, want error) bool {
	if !errors.Is(err, want) || want == nil && err != nil {
		m.Fatalf("%s: %v, want %v", what, err, want)
	}
	return err == nil
}

// emptied follows what became of a directory whose last name went: one without a marker may stay or go.
func (m *model) emptied(dir string) {
	for ; dir != ""; dir, _ = split(dir) {
		n := m.nodes[dir]
		if n == nil || len(m.children(dir)) > 0 {
			return
		}
		if m.has(dir + "/") {
			n.marked = true
			return
		}
		if n.marked {
			m.Fatalf("the marker of %s is gone", dir)
		}
		delete(m.nodes, dir)
		if m.later != nil {
			m.later.all()
		}
		m.r.clock.add(m.lag + 2*time.Second) // it goes when the listings go
	}
}

// has says whether the store has a key, or will have it.
func (m *model) has(key string) bool {
	if m.later != nil {
		return m.later.has(key)
	}
	_, ok := m.r.mem.Object(bkt, key)
	return ok
}

// busy says whether a file of the key is not stored yet.
func (m *model) busy(key string) bool {
	n := m.nodes[key]
	return n != nil && (n.pending || n.unsaved)
}

func (m *model) body() string {
	m.serial++
	return strings.Repeat("x", m.serial%7) + fmt.Sprint(m.serial)
}

// ready says whether the parent is there, as the kernel has made sure of.
func (m *model) ready(p string) bool {
	dir, _ := split(p)
	return m.isDir(dir)
}

// stored compares the store with the model when nothing waits but for content.
func (m *model) stored() {
	m.later.all()
	for p, n := range m.nodes {
		body, ok := m.r.mem.Bytes(bkt, p)
		o, _ := m.r.mem.Object(bkt, p)
		switch {
		case n.pending || n.unsaved:
		case n.dir:
			if o, ok = m.r.mem.Object(bkt, p+"/"); n.marked && (!ok || o.Headers.Meta["mode"] != fmt.Sprint(n.mode) && n.mode == 0o40700) {
				m.Fatalf("the marker of %s: %v %+v, want %o", p, ok, o, n.mode)
			}
		case !ok || string(body) != n.body:
			m.Fatalf("%s is stored as %q %v, want %q", p, body, ok, n.body)
		case !n.foreign && o.Headers.Meta["mode"] != fmt.Sprint(n.mode):
			m.Fatalf("%s is stored with mode %q, want %d", p, o.Headers.Meta["mode"], n.mode)
		}
	}
	for _, key := range m.r.mem.Keys(bkt) {
		if n := m.nodes[strings.TrimSuffix(key, "/")]; n == nil || n.dir != isMarker(key) {
			m.Fatalf("%q is left in the store: %+v", key, n)
		}
	}
	for _, k := range m.later.keys() {
		if !m.busy(strings.TrimPrefix(k, bkt+"/")) {
			m.Fatalf("%q still waits", k)
		}
	}
}

func (m *model) compare(after string) {
	r := m.r
	for _, p := range m.universe() {
		n := m.nodes[p]
		e, err := r.tree.Lookup(r.ctx, p)
		switch {
		case n == nil:
			if !errors.Is(err, ErrNotFound) {
				m.Fatalf("after %s: %s should be absent: %+v %v", after, p, e, err)
			}
			continue
		case err != nil:
			m.Fatalf("after %s: %s: %v", after, p, err)
		case e.IsDir() != n.dir, e.Pending != n.pending, !n.dir && !n.pending && !n.unsaved && e.Size != int64(len(n.body)):
			m.Fatalf("after %s: %s is %+v, want %+v", after, p, e, n)
		case m.full && !n.dir && e.Mode != n.mode:
			m.Fatalf("after %s: %s has mode %o, want %o", after, p, e.Mode, n.mode)
		}
		if n.link {
			if to, err := r.tree.Readlink(r.ctx, p); m.full && (err != nil || to != n.body) {
				m.Fatalf("after %s: %s leads to %q: %v", after, p, to, err)
			}
		}
		if !n.dir && !n.pending && !n.unsaved && (m.later == nil || m.later.head(bkt+"/"+p) == nil) {
			if o, ok := r.mem.Object(bkt, p); !ok || o.ETag != e.ETag {
				m.Fatalf("after %s: %s is the version %s, the store has %s", after, p, e.ETag, o.ETag)
			}
		}
	}
	for _, dir := range append(m.universe(), "") {
		if !m.isDir(dir) {
			continue
		}
		var got []string
		for e, err := range r.tree.List(r.ctx, dir) {
			if err != nil {
				m.Fatalf("after %s: list %s: %v", after, dir, err)
			}
			_, name := split(e.Path)
			got = append(got, name)
			if n := m.nodes[e.Path]; n == nil || n.dir != e.IsDir() {
				m.Fatalf("after %s: list %s shows %+v, want %+v", after, dir, e, n)
			}
		}
		want := m.children(dir)
		if !slices.Equal(got, want) {
			m.Fatalf("after %s: list %s shows %q, want %q", after, dir, got, want)
		}
		if _, known := r.tree.Between(join(dir, "a"), join(dir, "b")); !known {
			continue
		}
		got = nil
		for _, e := range r.tree.Following(join(dir, "!"), 9) {
			_, name := split(e.Path)
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			m.Fatalf("after %s: in %s follows %q, want %q", after, dir, got, want)
		}
	}
	r.tree.mu.Lock()
	defer r.tree.mu.Unlock()
	if wrong := r.tree.mu.overlay.check(); wrong != "" {
		m.Fatalf("after %s: overlay: %s", after, wrong)
	}
}

func (m *model) step() {
	ops := []string{"create", "write", "chmod", "unlink", "mkdir", "rmdir", "rename", "discard", "time", "refresh", "get", "learn"}
	if m.others {
		ops = append(ops, "foreign put", "foreign remove")
	}
	if m.later != nil {
		ops = append(ops, "symlink", "settle", "settle", "settle", "settle all")
	}
	op := rapid.SampledFrom(ops).Draw(m.T, "op")
	p := m.pick("path")
	switch op {
	case "create":
		m.create(p)
	case "write":
		m.create(p)
		m.write(p)
	case "chmod":
		m.chmod(p, rapid.SampledFrom([]uint32{0o600, 0o640, 0o777}).Draw(m.T, "mode"))
	case "unlink":
		m.unlink(p)
	case "mkdir":
		m.mkdir(p)
	case "rmdir":
		m.rmdir(p)
	case "rename":
		to := m.pick("to")
		p += " to " + to
		m.rename(strings.TrimSuffix(p, " to "+to), to)
	case "discard":
		if n := m.nodes[p]; n != nil && n.pending {
			m.r.tree.Discard(p)
			delete(m.nodes, p)
			dir, _ := split(p)
			m.emptied(dir)
		}
	case "time":
		m.r.clock.add(rapid.SampledFrom([]time.Duration{time.Millisecond, 700 * time.Millisecond, 3 * time.Second, 40 * time.Second, 11 * time.Minute}).Draw(m.T, "time"))
	case "refresh":
		m.r.tree.Refresh(rapid.SampledFrom([]string{"", p}).Draw(m.T, "refresh"))
	case "get":
		if body, o, err := m.r.mem.Get(m.r.ctx, s3client.GetRequest{Bucket: bkt, Key: p}); err == nil {
			m.expect("close", body.Close(), nil)
			m.answers = append(m.answers, o)
			m.r.tree.Learn(bkt, p, o)
		}
	case "learn":
		if len(m.answers) > 0 {
			o := rapid.SampledFrom(m.answers).Draw(m.T, "answer")
			m.r.tree.Learn(bkt, o.Key, o)
		}
	case "symlink":
		m.symlink(p)
	case "settle":
		m.settle()
	case "settle all":
		m.settleAll()
	case "foreign put":
		m.foreignPut(p)
	case "foreign remove":
		m.foreignRemove(p)
	}
	if rapid.Bool().Draw(m.T, "tick") {
		m.r.clock.add(10 * time.Millisecond)
	}
	if rapid.Bool().Draw(m.T, "look") {
		m.compare(op + " " + p)
	}
}

func TestModel(t *testing.T) {
	for _, lag := range []time.Duration{0, 5 * time.Second} {
		for _, full := range []bool{true, false} {
			for _, ttl := range []time.Duration{time.Second, forEver} {
				t.Run(fmt.Sprintf("lag=%v,full=%v,ttl=%v", lag, full, ttl), func(t *testing.T) { testModel(t, lag, full, false, ttl) })
			}
			t.Run(fmt.Sprintf("lag=%v,full=%v,others", lag, full), func(t *testing.T) { testModel(t, lag, full, true, time.Second) })
		}
	}
}

// Small changes are handed to Later, and carried out when it suits.
func TestModelLater(t *testing.T) {
	for _, lag := range []time.Duration{0, 5 * time.Second} {
		for _, full := range []bool{true, false} {
			for _, ttl := range []time.Duration{time.Second, forEver} {
				t.Run(fmt.Sprintf("lag=%v,full=%v,ttl=%v", lag, full, ttl), func(t *testing.T) { testModelLater(t, lag, full, false, ttl) })
			}
			t.Run(fmt.Sprintf("lag=%v,full=%v,others", lag, full), func(t *testing.T) { testModelLater(t, lag, full, true, time.Second) })
		}
	}
}

func testModelLater(t *testing.T, lag time.Duration, full, others bool, ttl time.Duration) {
	rapid.Check(t, func(rt *rapid.T) {
		r, l := newLaterRig(t, Options{Bucket: bkt, Full: full, TTL: ttl}, s3mem.WithListingLag(lag))
		m := &model{T: rt, r: r, full: full, others: others, lag: lag, nodes: map[string]*node{}, later: l}
		l.busy = m.busy
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			m.step()
		}
		m.compare("all")
		m.stored()
		m.compare("all is stored")
		r.clock.add(time.Minute)
		m.compare("the listings agree")
	})
}

func testModel(t *testing.T, lag time.Duration, full, others bool, ttl time.Duration) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, Options{Bucket: bkt, Full: full, TTL: ttl}, s3mem.WithListingLag(lag))
		m := &model{T: rt, r: r, full: full, others: others, lag: lag, nodes: map[string]*node{}}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			m.step()
		}
		m.compare("all")
	})
}
