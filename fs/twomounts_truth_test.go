package fs_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pailfs/s3client"
)

// state is what a name is: by the bucket, or by what a mount was told.
type state struct {
	kind             uint32 // S_IFDIR, S_IFREG, S_IFLNK; 0: nothing is there
	body             string // of a file; where a link leads
	perm, uid, gid   uint32
	mtime            time.Time
	xattr            string // user.x, with "+" before it where there is one
	loose            bool   // what is not the type or the body may be anything
	by               int    // whose request made it: a mount's number, or foreign
	etag             string
	modified         time.Time
	marker, streamed bool
}

const foreign = 2

func (s state) String() string {
	if s.kind == 0 {
		return fmt.Sprintf("nothing (by %d)", s.by)
	}
	return fmt.Sprintf("%o %s perm %o %d:%d x%q mtime %v loose %v (by %d)", s.kind>>12, contentName([]byte(s.body)), s.perm, s.uid, s.gid, s.xattr,
		s.mtime.Format("05.000000000"), s.loose, s.by)
}

// like says whether two states are one to a program, but for their times.
func (s state) like(o state) bool {
	switch {
	case s.kind != o.kind:
		return false
	case s.kind == 0:
		return true
	case s.kind != syscall.S_IFDIR && s.body != o.body:
		return false
	}
	return s.loose || o.loose || s.perm == o.perm && s.uid == o.uid && s.gid == o.gid && s.xattr == o.xattr
}

// since is a state from a time on.
type since struct {
	from time.Time
	state
}

// truth is what the bucket was at each moment, by name, read as naively as possible.
type truth struct {
	names  map[string][]since
	hidden map[string]time.Time // objects x beside x/...: when they were last
}

func (t *truth) at(p string) state {
	if s := t.names[p]; len(s) > 0 {
		return s[len(s)-1].state
	}
	return state{by: foreign}
}

// during are the states that a name had between two times.
func (t *truth) during(p string, from, to time.Time) (all []since) {
	s := t.names[p]
	if len(s) == 0 || s[0].from.After(from) {
		all = append(all, since{time.Time{}, state{by: foreign}})
	}
	for i, x := range s {
		if (i+1 == len(s) || !s[i+1].from.Before(from)) && !x.from.After(to) {
			all = append(all, x)
		}
	}
	return all
}

// look takes note of what the bucket is now.
func (t *truth) look(w *world, by int, now time.Time) (changed []string) {
	is := make(map[string]state)
	for _, key := range w.mem.Keys("b") {
		o, ok := w.mem.Object("b", key)
		if !ok {
			continue
		}
		p, _ := w.mem.Bytes("b", key)
		s := naively(key, o, p)
		name := strings.TrimSuffix(key, "/")
		if have := is[name]; have.kind == syscall.S_IFDIR && s.kind != syscall.S_IFDIR || have.kind != 0 && s.kind == syscall.S_IFDIR {
			t.hidden[name] = now
		}
		if have := is[name]; have.kind != syscall.S_IFDIR || s.kind == syscall.S_IFDIR { // the directory has the name
			is[name] = s
		}
		for dir, _ := splitLast(name); dir != ""; dir, _ = splitLast(dir) {
			if k := is[dir].kind; k != 0 && k != syscall.S_IFDIR {
				t.hidden[dir] = now
			}
			if is[dir].kind != syscall.S_IFDIR {
				is[dir] = state{kind: syscall.S_IFDIR, perm: 0o755}
			}
		}
	}
	for name := range t.names {
		if _, ok := is[name]; !ok {
			is[name] = state{}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		s, was := is[name], t.at(name)
		if s.kind == was.kind && s.etag == was.etag && s.modified.Equal(was.modified) && s.marker == was.marker && s.like(was) {
			continue
		}
		s.by = by
		// Other attributes within the second in which the same content was stored: nothing in a listing tells the two apart.
		s.loose = s.loose || (by != was.by || by == foreign) && s.kind == was.kind && s.etag != "" && s.etag == was.etag && s.modified.Sub(was.modified).Abs() < time.Second
		t.names[name] = append(t.names[name], since{now, s})
		changed = append(changed, name)
	}
	return changed
}

func splitLast(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/')
	return p[:max(i, 0)], p[i+1:]
}

// naively reads an object as fs/SEMANTICS.md says, for the formats that this test writes.
func naively(key string, o s3client.Object, body []byte) state {
	s := state{kind: syscall.S_IFREG, perm: 0o644, body: string(body), mtime: o.Modified, etag: o.ETag, modified: o.Modified}
	m := o.Headers.Meta
	if strings.HasSuffix(key, "/") {
		s.kind, s.perm, s.marker = syscall.S_IFDIR, 0o755, true
	}
	if n, err := strconv.ParseUint(m["mode"], 10, 32); err == nil {
		s.perm = uint32(n) & 0o7777
		if uint32(n)&syscall.S_IFMT == syscall.S_IFLNK {
			s.kind = syscall.S_IFLNK
		}
	}
	if n, err := strconv.ParseUint(m["uid"], 10, 32); err == nil {
		s.uid = uint32(n)
	}
	if n, err := strconv.ParseUint(m["gid"], 10, 32); err == nil {
		s.gid = uint32(n)
	}
	if v, ok := m["mtime"]; ok {
		sec, frac, _ := strings.Cut(v, ".")
		a, _ := strconv.ParseInt(sec, 10, 64)
		b, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		s.mtime = time.Unix(a, b)
	} else {
		s.streamed = true
	}
	if v, ok := m["x"]; ok {
		s.xattr = "+" + v
	}
	return s
}
