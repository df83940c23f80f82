package tree

import (
	"strings"
	"time"

	"pgregory.net/rapid"

	"pailfs/s3client"
)

func (m *model) create(p string) {
	n := m.nodes[p]
	if !m.ready(p) || n != nil {
		return
	}
	_, err := m.r.tree.Lookup(m.r.ctx, p)
	m.expect("lookup "+p, err, ErrNotFound)
	_, err = m.r.tree.Create(p, Attr{Mode: 0o600, UID: 1, GID: 2})
	m.expect("create "+p, err, nil)
	m.nodes[p] = &node{mode: 0o100600, pending: true}
}

func (m *model) write(p string) {
	n := m.nodes[p]
	if n == nil || n.dir || n.link {
		return
	}
	if !n.pending {
		_, err := m.r.tree.Complete(m.r.ctx, p)
		m.expect("complete "+p, err, nil)
		m.r.tree.Written(p, m.r.clock.Now())
	}
	n.body, n.pending, n.foreign, n.unsaved = m.body(), false, false, false
	m.put(p, p, n)
}

func (m *model) put(headersOf, p string, n *node) (o s3client.Object) {
	if m.later == nil {
		return m.putNow(headersOf, p, n)
	}
	m.later.hold(bkt+"/"+p, func() { o = m.putNow(headersOf, p, n) })
	return o
}

func (m *model) putNow(headersOf, p string, n *node) s3client.Object {
	h := m.r.headersOf(bkt, headersOf, false)
	o, err := m.r.mem.Put(m.r.ctx, s3client.PutRequest{Bucket: bkt, Key: p, Headers: h, Body: strings.NewReader(n.body), Size: int64(len(n.body))})
	m.expect("put "+p, err, nil)
	o.Headers = &h
	m.r.tree.Stored(bkt, p, o)
	return o
}

func (m *model) chmod(p string, mode uint32) {
	n := m.nodes[p]
	if n == nil || n.dir {
		return
	}
	_, err := m.r.tree.SetAttr(m.r.ctx, p, Change{Mode: &mode})
	m.expect("chmod "+p, err, nil)
	n.mode, n.foreign = n.mode&typeMask|mode, false
}

func (m *model) unlink(p string) {
	n := m.nodes[p]
	want := error(nil)
	switch {
	case n == nil:
		want = ErrNotFound
	case n.dir:
		want = ErrIsDir
	}
	if m.expect("unlink "+p, m.r.tree.Unlink(m.r.ctx, p), want) {
		delete(m.nodes, p)
		dir, _ := split(p)
		m.emptied(dir)
	}
}

func (m *model) mkdir(p string) {
	if !m.ready(p) {
		return
	}
	want := error(nil)
	if m.nodes[p] != nil {
		want = ErrExists
	}
	_, err := m.r.tree.Mkdir(m.r.ctx, p, Attr{Mode: 0o700})
	if m.expect("mkdir "+p, err, want) {
		m.nodes[p] = &node{dir: true, marked: true, mode: 0o40700}
	}
}

func (m *model) rmdir(p string) {
	n := m.nodes[p]
	want := error(nil)
	switch {
	case n == nil:
		want = ErrNotFound
	case !n.dir:
		want = ErrNotDir
	case len(m.children(p)) > 0:
		want = ErrNotEmpty
	}
	if m.expect("rmdir "+p, m.r.tree.Rmdir(m.r.ctx, p), want) {
		delete(m.nodes, p)
		dir, _ := split(p)
		m.emptied(dir)
	}
}

func (m *model) rename(from, to string) {
	src, dst := m.nodes[from], m.nodes[to]
	if !m.ready(to) && !under(to, from) {
		return
	}
	want := error(nil)
	switch {
	case under(to, from):
		want = ErrInvalid
	case src == nil:
		want = ErrNotFound
	case from == to:
	case dst != nil && src.dir && !dst.dir:
		want = ErrNotDir
	case dst != nil && !src.dir && dst.dir:
		want = ErrIsDir
	case dst != nil && dst.dir && len(m.children(to)) > 0:
		want = ErrNotEmpty
	case src.dir && m.hasPending(from):
		want = ErrBusy
	case src.pending || src.unsaved:
		m.renamePending(from, to)
		return
	}
	if dst != nil && (dst.pending || dst.unsaved) && want == nil && from != to {
		return // content detaches it first
	}
	if !m.expect("rename "+from+" to "+to, m.r.tree.Rename(m.r.ctx, from, to, false, nil), want) || from == to {
		return
	}
	moved := map[string]*node{to: src}
	for p, n := range m.nodes {
		if under(p, from) {
			moved[to+p[len(from):]] = n
		}
	}
	for p := range m.nodes {
		if p == from || under(p, from) {
			delete(m.nodes, p)
		}
	}
	if dst != nil && dst.dir {
		src.marked = src.marked || dst.marked
	}
	for p, n := range moved {
		m.nodes[p] = n
	}
	if src.dir {
		m.emptied(to)
	}
	dir, _ := split(from)
	m.emptied(dir)
}

func (m *model) renamePending(from, to string) {
	n := m.nodes[from]
	d := m.nodes[to]
	if d != nil && (d.pending || d.unsaved) {
		return
	}
	if m.later != nil && n.pending && rapid.Bool().Draw(m.T, "no request") {
		m.r.tree.RenamedPending(from, to)
		delete(m.nodes, from)
		m.nodes[to] = n
		if d != nil {
			n.pending, n.unsaved = false, true
		}
		dir, _ := split(from)
		m.emptied(dir)
		return
	}
	done := m.r.tree.Moving(from, to)
	if n.unsaved {
		m.later.hold(bkt+"/"+from, func() { m.r.mem.Remove(bkt, from) })
	}
	n.body, n.pending, n.unsaved = m.body(), false, false
	o := m.put(to, to, n)
	m.r.tree.Renamed(from, to, o)
	done()
	delete(m.nodes, from)
	m.nodes[to] = n
	dir, _ := split(from)
	m.emptied(dir)
}

// foreignPut and foreignRemove are the other client's; time passes, so that this mount can know.
func (m *model) foreignPut(p string) {
	for dir, _ := split(p); dir != ""; dir, _ = split(dir) {
		if n := m.nodes[dir]; n != nil && !n.dir {
			return
		}
	}
	if n := m.nodes[p]; n != nil && (n.dir || n.pending || n.unsaved) {
		return
	}
	m.settleAll()
	m.r.clock.add(2 * time.Second)
	body := m.body()
	m.r.mem.PutBytes(bkt, p, []byte(body), s3client.Headers{})
	m.nodes[p] = &node{body: body, mode: 0o100644, foreign: true}
	for dir, _ := split(p); dir != ""; dir, _ = split(dir) {
		if m.nodes[dir] == nil {
			m.nodes[dir] = &node{dir: true, mode: 0o40755}
		}
	}
	m.r.clock.add(time.Minute)
}

func (m *model) foreignRemove(p string) {
	n := m.nodes[p]
	if n == nil || n.dir || n.pending || n.unsaved {
		return
	}
	m.settleAll()
	m.answers = nil // a minute is too late for any
	m.r.mem.Remove(bkt, p)
	delete(m.nodes, p)
	for dir, _ := split(p); dir != ""; dir, _ = split(dir) {
		if len(m.children(dir)) > 0 || m.nodes[dir].marked {
			break
		}
		delete(m.nodes, dir)
	}
	m.r.clock.add(time.Minute)
}

func (m *model) settleAll() {
	if m.later != nil {
		m.later.all()
	}
}

// settle lets Later get on with one key, as far as it may.
func (m *model) settle() {
	keys := m.later.keys()
	if len(keys) == 0 {
		return
	}
	k := rapid.SampledFrom(keys).Draw(m.T, "key")
	switch rapid.IntRange(0, 2).Draw(m.T, "how far") {
	case 0:
		m.later.begin(k)
	case 1:
		m.later.finish(k)
	case 2:
		m.later.settle(k)
	}
}

func (m *model) symlink(p string) {
	if !m.ready(p) {
		return
	}
	want := error(nil)
	if m.nodes[p] != nil {
		want = ErrExists
	}
	target := m.body()
	_, err := m.r.tree.Symlink(m.r.ctx, p, target, Attr{UID: 3})
	if m.expect("link "+p, err, want) {
		m.nodes[p] = &node{link: true, body: target, mode: typeLink | 0o777}
	}
}
