package tree

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"pailfs/cache"
)

// names are the entries remembered, in the form of packed.
type names struct {
	*cache.Entries[packed]
	t *Tree
}

// packed is an Entry in a sixth of the room: of most there is nothing to say but what a listing says, of others their
// attributes. What is left is kept whole.
type packed struct {
	sum      [16]byte // the ETag, if it is an MD5
	size     int64
	modified int64  // nanoseconds since 1970; 0 for none
	parts    uint32 // of the ETag of an object made of parts; 0 is none
	dir      bool
	full     bool
	attr     *packedAttributes // where they are not the defaults
	whole    *Entry
}

// packedAttributes are those of a file that has its own. Times are as in packed.
type packedAttributes struct {
	mode, uid, gid, rdev uint32
	mtime, ctime, atime  int64
}

// pack packs what is known of a path. Seen is not part of it: cache.Entries has that for each.
func (t *Tree) pack(path string, e Entry) packed {
	e.Seen = time.Time{}
	for _, at := range []*time.Time{&e.Modified, &e.Mtime, &e.Ctime, &e.Atime} {
		*at = at.Round(0).UTC() // so that equal times are the same
	}
	p := packed{dir: e.IsDir(), full: e.Full, size: e.Size}
	p.modified = nanoseconds(e.Modified)
	sum, parts, _ := strings.Cut(e.ETag, "-")
	if len(sum) == 2*len(p.sum) {
		_, _ = hex.Decode(p.sum[:], []byte(sum)) // what is no sum comes out as another ETag
	}
	if n, err := strconv.ParseUint(parts, 10, 32); err == nil {
		p.parts = uint32(n)
	}
	if t.unpack(path, p) == e {
		return p
	}
	p.attr = &packedAttributes{e.Mode, e.UID, e.GID, e.Rdev, nanoseconds(e.Mtime), nanoseconds(e.Ctime), nanoseconds(e.Atime)}
	if t.unpack(path, p) == e {
		return p
	}
	return packed{whole: &e}
}

func nanoseconds(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixNano()
}

func timeOf(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

// unpack is the Entry that was packed, but for Seen.
func (t *Tree) unpack(path string, p packed) Entry {
	if p.whole != nil {
		return *p.whole
	}
	bucket, key := t.space.place(path)
	e := Entry{Path: path, Bucket: bucket, Key: key, UID: t.o.UID, GID: t.o.GID, Full: p.full, Modified: timeOf(p.modified)}
	if p.dir {
		e.Mode = typeDir | t.o.DirMode
		born := t.born.Round(0).UTC()
		e.Mtime, e.Ctime, e.Atime = born, born, born
	} else {
		e.Mode, e.Size, e.ETag = typeRegular|t.o.FileMode, p.size, p.etag()
		e.Mtime, e.Ctime, e.Atime = e.Modified, e.Modified, e.Modified
	}
	if a := p.attr; a != nil {
		e.Mode, e.UID, e.GID, e.Rdev = a.mode, a.uid, a.gid, a.rdev
		e.Mtime, e.Ctime, e.Atime = timeOf(a.mtime), timeOf(a.ctime), timeOf(a.atime)
	}
	return e
}

func (p *packed) etag() string {
	var b [2*len(p.sum) + 11]byte
	hex.Encode(b[:], p.sum[:])
	if p.parts == 0 {
		return string(b[:2*len(p.sum)])
	}
	b[2*len(p.sum)] = '-'
	return string(strconv.AppendUint(b[:2*len(p.sum)+1], uint64(p.parts), 10))
}

func (n names) Put(dir, name string, e Entry) { n.Entries.Put(dir, name, n.t.pack(join(dir, name), e)) }

func (n names) Get(dir, name string) (Entry, time.Time, bool) { return n.at(join(dir, name)) }

// at is Get of a path.
func (n names) at(path string) (Entry, time.Time, bool) {
	p, seen, ok := n.Entries.Get(split(path))
	if !ok {
		return Entry{}, seen, false
	}
	e := n.t.unpack(path, p)
	e.Seen = seen
	return e, seen, true
}

func (n names) Amend(dir, name string, f func(Entry) (Entry, bool)) {
	n.Entries.Amend(dir, name, func(p packed) (packed, bool) {
		path := join(dir, name)
		old := n.t.unpack(path, p)
		e, ok := f(old)
		if !ok || e == old {
			return p, ok
		}
		return n.t.pack(path, e), true
	})
}

func (n names) All(dir string) ([]cache.Named[Entry], bool) {
	all, ok := n.Entries.All(dir)
	return n.unpackAll(dir, all), ok
}

func (n names) After(dir, name string, most int) ([]cache.Named[Entry], bool) {
	next, ok := n.Entries.After(dir, name, most)
	return n.unpackAll(dir, next), ok
}

// behind are the names behind one in a directory that is known as a whole, or up to a name.
func (n names) behind(dir, name string, most int, upTo string, whole bool) []cache.Named[Entry] {
	if whole {
		next, _ := n.After(dir, name, most)
		return next
	}
	if name >= upTo {
		return nil
	}
	next := n.Entries.Near(dir, name, most)
	for len(next) > 0 && next[len(next)-1].Name > upTo {
		next = next[:len(next)-1]
	}
	return n.unpackAll(dir, next)
}

func (n names) unpackAll(dir string, all []cache.Named[packed]) []cache.Named[Entry] {
	out := make([]cache.Named[Entry], len(all))
	for i, one := range all {
		e := n.t.unpack(join(dir, one.Name), one.Entry)
		e.Seen = one.Seen
		out[i] = cache.Named[Entry]{Name: one.Name, Entry: e, Seen: one.Seen}
	}
	return out
}

// seen remembers a name of a listing, and when the store showed it.
func (l *lister) seen(name string, e Entry, when time.Time) {
	l.listing.AddSeen(name, l.t.pack(join(l.path, name), e), when)
}
