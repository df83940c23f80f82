package tree

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"pailfs/cache"
	"pailfs/s3client"
)

// Tree is the names of a mount. It lives as long as the mount; safe for concurrent use.
type Tree struct {
	o       Options
	space   space
	entries names     // by directory's path; what listings, HEADs and changes made here said
	born    time.Time // the times of directories that have none

	asks  flights[Entry]    // by path: lookups
	pages flights[page]     // by bucket, prefix and position: pages of listings
	heads flights[Entry]    // by path: attributes
	roots flights[buckets]  // the account's buckets
	steps flights[struct{}] // by bucket, prefix and position: pages of walks

	absence *absence

	renamings renamings // of directories

	mu struct {
		sync.Mutex
		overlay *overlay
		// versions are the attributes and foreign headers by bucket/key, of one version each.
		versions *simplelru.LRU[string, *remembered]
		dirs     *simplelru.LRU[string, *directory] // by path
		moving   map[string]string                  // from new path to old: content is committing it under its new name
		walks    *simplelru.LRU[string, *walk]      // by the path of their root
		turns    map[string]*turn                   // by path: changes on their way to Later
		hidden   map[string]Hidden                  // by bucket/key
		acls     map[string]string                  // by bucket: those set here
		types    map[string]*s3client.Headers       // by content type: headers that say nothing else
	}
}

// remembered is what a HEAD said of a version, or what was sent with it.
type remembered struct {
	ver     version
	attr    attributes
	foreign *s3client.Headers
	class   string // the storage class, "" when none was named
	// headers are the object's, with its attributes, until the archive has them.
	headers *s3client.Headers
}

// directory is what is known of a directory besides its entry.
type directory struct {
	asked asked // for single names
	// checked is when marker was found out: the object "dir/", nil when there is none.
	checked time.Time
	marker  *version
	// slashless: the directory is an empty object without a slash, by its content type.
	slashless bool
	// odd: a listing showed keys in it that no path reaches.
	odd bool
	// child is the name below which a directory was listed last, and last the one before; ascending is how many of its
	// own directories were listed on end, each behind the one before.
	child, last string
	ascending   int
	noWalk      time.Time // when walks turned out not to be worth their pages
	// names is about how many names a complete listing had, with the changes made here since.
	names int
	// upTo is the name to which the latest listing has come, and when that was asked for.
	upTo   string
	upToAt time.Time
}

// Hidden is a key that cannot be reached by a path.
type Hidden struct {
	Bucket, Key string
	// Why: "name" (the key cannot be a path), "shadowed" (a directory has the same name) or "content" (it is a directory's
	// marker, whose bytes nobody can read).
	Why string
}

// maxHidden bounds the hidden keys remembered.
const maxHidden = 1000

// New is a tree. It makes no request.
func New(o Options) *Tree {
	if o.TTL == 0 {
		o.TTL = time.Second
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = 100_000
	}
	if o.FileMode == 0 {
		o.FileMode = 0o644
	}
	if o.DirMode == 0 {
		o.DirMode = 0o755
	}
	if o.StaleAfter == 0 {
		o.StaleAfter = 3 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Prefix != "" && o.Prefix[len(o.Prefix)-1] != '/' {
		o.Prefix += "/"
	}
	a := &absence{now: o.Now, log: o.Log}
	o.Store = &observed{o.Store, a}
	t := &Tree{o: o, space: space{o.Bucket, o.Prefix}, born: o.Now(), absence: a}
	if o.Copy == nil {
		t.o.Copy = t.copyOnce
	}
	if o.Put == nil {
		t.o.Put = o.Store.Put
	}
	t.entries = names{cache.NewEntries[packed](o.MaxEntries, o.Now), t}
	t.mu.overlay = newOverlay(o.MaxEntries, func(p string) { t.entries.ForgetName(split(p)) })
	t.mu.versions = newLRU[*remembered](o.MaxEntries)
	t.mu.dirs = newLRU[*directory](o.MaxEntries)
	t.mu.walks = newLRU[*walk](mostWalks)
	t.mu.moving = make(map[string]string)
	t.mu.turns = make(map[string]*turn)
	t.mu.hidden = make(map[string]Hidden)
	t.mu.acls = make(map[string]string)
	t.mu.types = make(map[string]*s3client.Headers)
	t.loadArchive()
	return t
}

func newLRU[V any](most int) *simplelru.LRU[string, V] {
	l, err := simplelru.NewLRU[string, V](most, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return l
}

// Close waits for requests whose callers have left; these are cancelled.
func (t *Tree) Close() {
	t.asks.close()
	t.heads.close()
	t.pages.close()
	t.steps.close()
	t.roots.close()
}

// Locate is the bucket and key of a path; Key has no slash at its end. No request.
func (t *Tree) Locate(path string) (bucket, key string, err error) { return t.space.locate(path) }

// LocateFile is Locate for what is no directory: a few names only directories can have.
func (t *Tree) LocateFile(path string) (bucket, key string, err error) {
	return t.space.locateFile(path)
}

// PathOf is the path of a key; ok is false when the mount does not show it. No request.
func (t *Tree) PathOf(bucket, key string) (string, bool) { return t.space.pathOf(bucket, key) }

// Stats counts what is held and hidden.
func (t *Tree) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Entries: t.entries.Len(), Attributes: t.mu.versions.Len(), Changes: len(t.mu.overlay.byPath)}
	for _, c := range t.mu.overlay.byPath {
		if c.kind == pending {
			s.Pending++
		}
		if c.owes() {
			s.Unsettled++
		}
	}
	for _, h := range t.mu.hidden {
		if h.Why == "name" {
			s.HiddenNames++
		} else {
			s.Shadowed++
		}
	}
	return s
}

// Hidden are the keys that listings showed and no path reaches, at most a thousand.
func (t *Tree) Hidden() []Hidden {
	t.mu.Lock()
	defer t.mu.Unlock()
	hs := make([]Hidden, 0, len(t.mu.hidden))
	for _, h := range t.mu.hidden {
		hs = append(hs, h)
	}
	return hs
}

func (t *Tree) hideLocked(bucket, key, why string) {
	if len(t.mu.hidden) < maxHidden {
		t.mu.hidden[bucket+"/"+key] = Hidden{bucket, key, why}
	}
}

// Refresh forgets what is cached of a path and below it, so that the next look at a name asks the store. Changes made
// here stay until the listings agree.
func (t *Tree) Refresh(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetTreeLocked(path)
	ask := func(_ string, c *change) { c.checked, c.trusted = time.Time{}, time.Time{} }
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil {
		ask(path, c)
	}
	t.mu.overlay.under(path, ask)
	if path != "" {
		t.entries.ForgetName(split(path))
	}
}

// forgetTreeLocked forgets a directory and all below it.
func (t *Tree) forgetTreeLocked(path string) {
	t.entries.ForgetTree(path)
	for _, p := range t.mu.dirs.Keys() {
		if p == path || under(p, path) {
			t.mu.dirs.Remove(p)
		}
	}
}

// forget makes one name unknown: a change of it failed with an unknown outcome. What was changed here before is not
// certain any more either, and the store's HEAD is asked about it as soon as a listing does not show it.
func (t *Tree) forget(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil {
		c.checked, c.trusted = time.Time{}, time.Time{}
	}
	t.entries.ForgetName(split(path))
	t.mu.dirs.Remove(path)
}

func (t *Tree) dirLocked(path string) *directory {
	d, ok := t.mu.dirs.Get(path)
	if !ok {
		d = &directory{}
		t.mu.dirs.Add(path, d)
	}
	return d
}

func (t *Tree) fresh(seen time.Time) bool { return t.o.Now().Sub(seen) < t.o.TTL }

// storeErr wraps an error of the store with what was being done. In an account, a missing bucket is a missing
// directory; the mount's own bucket missing is the store's error.
func (t *Tree) storeErr(what, path string, err error) error {
	if err == nil {
		return nil
	}
	if t.space.account() && errors.Is(err, s3client.NotFound) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}

// rememberLocked keeps the attributes of an object that was stored here for as long as the version stays. o.Headers may not
// be nil.
func (t *Tree) rememberLocked(bucket, key string, o *s3client.Object) *remembered {
	r := t.newRememberedLocked(key, versionOf(o), o.StorageClass, o.Headers)
	r.headers = o.Headers
	t.mu.versions.Add(bucket+"/"+key, r)
	t.keepLocked(bucket+"/"+key, r)
	return r
}

// youngFor is how long an object may still get other attributes without getting another time: stores have whole seconds.
const youngFor = 2 * time.Second

// askedLocked is rememberLocked of an object that the store was asked about. What was young then is not kept for the next
// mount.
func (t *Tree) askedLocked(bucket, key string, o *s3client.Object) *remembered {
	if !o.Modified.IsZero() && t.o.Now().Sub(o.Modified) >= youngFor {
		return t.rememberLocked(bucket, key, o)
	}
	r := t.newRememberedLocked(key, versionOf(o), o.StorageClass, o.Headers)
	t.mu.versions.Add(bucket+"/"+key, r)
	return r
}

// newRememberedLocked is what headers say of a version. Of key only counts whether it ends in a slash.
func (t *Tree) newRememberedLocked(key string, v version, class string, h *s3client.Headers) *remembered {
	return &remembered{ver: v, attr: readAttributes(key, h), foreign: t.sharedLocked(foreignHeaders(*h)), class: class}
}

// mostTypes are the content types for which sharedLocked has headers.
const mostTypes = 256

// sharedLocked is one copy of headers that many objects have: a content type and nothing else.
func (t *Tree) sharedLocked(h s3client.Headers) *s3client.Headers {
	if len(h.Meta) > 0 || h.CacheControl+h.ContentDisposition+h.ContentEncoding+h.ContentLanguage+h.Expires != "" {
		return &h
	}
	if one := t.mu.types[h.ContentType]; one != nil {
		return one
	}
	if len(t.mu.types) < mostTypes {
		t.mu.types[strings.Clone(h.ContentType)] = &h
	}
	return &h
}

// recallLocked is what is remembered of a version, nil when nothing is.
func (t *Tree) recallLocked(bucket, key string, v version) *remembered {
	r, ok := t.mu.versions.Get(bucket + "/" + key)
	if !ok || r.ver.etag != v.etag || r.ver.size != v.size {
		return nil
	}
	if r.ver.modified.IsZero() { // sent from here, and the answer had no time: the first listing names it
		r.ver.modified = v.modified
		t.keepLocked(bucket+"/"+key, r)
	}
	// A change of attributes alone gives the same ETag with a later time.
	if !v.modified.IsZero() && !sameTime(r.ver.modified, v.modified) {
		return nil
	}
	return r
}

// sameTime says whether two of the store's times can be one: headers carry whole seconds, listings may have fractions.
func sameTime(a, b time.Time) bool {
	if a.Nanosecond() != 0 && b.Nanosecond() != 0 {
		return a.Equal(b)
	}
	return a.Sub(b).Abs() < time.Second
}

// fileEntryLocked is the entry of an object. Its attributes are known if they are remembered.
func (t *Tree) fileEntryLocked(path string, o *s3client.Object) Entry {
	bucket, key := t.space.place(path)
	e := Entry{Path: path, Bucket: bucket, Key: key, Mode: typeRegular | t.o.FileMode, UID: t.o.UID, GID: t.o.GID,
		Size: o.Size, ETag: o.ETag, Mtime: o.Modified, Ctime: o.Modified, Atime: o.Modified, Modified: o.Modified, Seen: t.o.Now()}
	if r := t.recallLocked(bucket, key, versionOf(o)); r != nil {
		t.apply(&e, key, r)
		if e.IsDir() {
			e.Size, e.ETag = 0, ""
			t.dirLocked(path).slashless = true
		}
	}
	return e
}

// dirEntryLocked is the entry of a directory, with its marker's attributes where they are remembered; they are Full
// while the marker was looked at within the TTL.
func (t *Tree) dirEntryLocked(path string) Entry {
	e := t.plainDir(path)
	if t.space.top(path) {
		e.Full = true // a bucket has no attributes
		return e
	}
	d, ok := t.mu.dirs.Get(path)
	if !ok || d.checked.IsZero() {
		return e
	}
	if d.marker == nil {
		e.Full = t.fresh(d.checked)
		return e
	}
	if r := t.recallLocked(e.Bucket, dirKey(e.Key), *d.marker); r != nil {
		e.Modified, e.Mtime, e.Ctime, e.Atime = d.marker.modified, d.marker.modified, d.marker.modified, d.marker.modified
		t.apply(&e, dirKey(e.Key), r)
		e.Full = t.fresh(d.checked)
	}
	return e
}

// plainDir is a directory with the default attributes.
func (t *Tree) plainDir(path string) Entry {
	bucket, key := t.space.place(path)
	return Entry{Path: path, Bucket: bucket, Key: key, Mode: typeDir | t.o.DirMode, UID: t.o.UID, GID: t.o.GID,
		Mtime: t.born, Ctime: t.born, Atime: t.born, Seen: t.o.Now()}
}

// apply gives an entry the attributes of its object. key ends in a slash for a marker.
func (t *Tree) apply(e *Entry, key string, r *remembered) {
	a := &r.attr
	kind := a.fileType(key, r.ver.size)
	perm := t.o.FileMode
	switch {
	case a.mode != nil:
		perm = *a.mode & permMask
	case kind == typeDir:
		perm = t.o.DirMode
	case kind == typeLink:
		perm = 0o777
	}
	e.Mode, e.Full = kind|perm, true
	for _, n := range []struct {
		to   *uint32
		from *uint32
	}{{&e.UID, a.uid}, {&e.GID, a.gid}, {&e.Rdev, a.rdev}} {
		if n.from != nil {
			*n.to = *n.from
		}
	}
	if !a.mtime.IsZero() {
		e.Mtime, e.Ctime, e.Atime = a.mtime, a.mtime, a.mtime
	}
	if !a.ctime.IsZero() {
		e.Ctime = a.ctime
	}
	if !a.atime.IsZero() {
		e.Atime = a.atime
	}
	if kind == typeLink && a.link != nil {
		e.Size = int64(len(*a.link))
	}
}

// mergeLocked is what a path is by a listing that was asked for at that time and by the changes made here. sure is false
// when a change made here and the listing disagree and only the store's HEAD can tell.
func (t *Tree) mergeLocked(path string, s shown, asked time.Time) (e Entry, found, sure bool) {
	now := t.o.Now()
	sure = true
	if c := t.mu.overlay.get(path, now); c != nil {
		switch {
		case c.local():
			return c.it, true, true
		case c.waiting() && !c.contestable():
			return t.changedLocked(path, c, true)
		}
		v := c.judge(s, asked, now)
		t.mu.overlay.note(path, c)
		sure = v.sure
		if v.keep {
			return t.changedLocked(path, c, sure)
		}
		if sure {
			t.mu.overlay.drop(path)
		}
	}
	switch {
	case s.prefix || t.mu.overlay.living(path):
		if s.obj != nil && bytesLost(s.obj) {
			t.hideLocked(s.obj.Bucket, s.obj.Key, "shadowed")
		}
		return t.dirEntryLocked(path), true, sure
	case s.obj != nil:
		return t.fileEntryLocked(path, s.obj), true, sure
	}
	return Entry{}, false, sure
}

// changedLocked is what a path is by a change made here.
func (t *Tree) changedLocked(path string, c *change, sure bool) (e Entry, found, _ bool) {
	if c.live() {
		if e = c.it; c.kind != unsaved { // else its version may be replaced at this moment
			e.Seen = t.o.Now()
		}
		return e, true, sure
	}
	if t.mu.overlay.living(path) {
		return t.dirEntryLocked(path), true, true
	}
	return Entry{}, false, sure
}
