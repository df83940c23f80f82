package tree

import (
	"context"
	"strings"
	"sync"
	"time"
)

// What makes walks hard:
//
//  1. Nobody says that a tree is walked through. It shows by directories of one parent being listed one behind the other.
//  2. A listing without delimiter tells of as many directories as its 1000 keys go through, and of a directory only when
//     it has come to its last key, which lies behind all that is below it. So one asks for a directory, and the walk may
//     be in the middle of it: it goes on by a page, or leaves the directory to a listing of its own.
//  3. The order of keys is not that of names ("a-/" comes before "a/"), and walkers leave out what they do not want.
//  4. It must not cost more than a LIST a directory would.

const (
	// walkAfter is so many directories of a parent that were listed in ascending order before a walk begins, where nobody
	// knows whether there are others in between; where that is known, the second begins it.
	walkAfter = 3
	// walkGap is how many directories a walker may leave out between two.
	walkGap = 2
	// walkHeld is how many names a walk holds of a directory that nobody has asked for yet.
	walkHeld = 3000
	// walkPoor is how many pages on end may have told of no directory but the one that was asked for.
	walkPoor = 3
	// noWalkFor is how long no walk begins in a directory then.
	noWalkFor = time.Minute
	// mostWalks are remembered at a time.
	mostWalks = 16
)

// walk is a listing without delimiter of a directory, the root, as far as somebody walks through it. Each directory that
// its keys go through is listed thereby.
//
//	a directory not reached: (begin behind the key before it) -> (a page) -> reached -> (a key behind it) -> complete
//	                                                             reached -> (asked for, too large) -> left to itself
type walk struct {
	t      *Tree
	root   string
	bucket string
	prefix string // of all keys below the root

	mu struct {
		sync.Mutex
		begun string     // the key behind which it began
		at    string     // the key up to which all keys behind begun were read
		page  string     // the key behind which the latest page began
		read  time.Time  // when that came; zero: none has
		ended bool       // no key follows
		open  []*reached // the directories that at lies in, outermost first
		used  int        // directories of the latest page that somebody has listed, one behind the other
		seen  string     // the last of them
		ahead bool       // the page behind at is being read although nobody waits for it
		poor  int        // pages on end that were of little use
	}
}

// reached is a directory that a walk is in.
type reached struct {
	prefix string
	l      *lister // nil: not listed by the walk
	valid  bool    // its path is one
}

// walkedTo notes that a directory is about to be listed, and lets a walk that it belongs to read ahead.
func (t *Tree) walkedTo(path string) {
	if path == "" {
		return
	}
	t.mu.Lock()
	for dir, name := split(path); ; dir, name = split(dir) {
		d := t.dirLocked(dir)
		switch {
		case d.child == name:
		case join(dir, name) == path && d.child != "" && d.child < name:
			d.last, d.child = d.child, name
			d.ascending++
		default:
			d.last, d.child, d.ascending = d.child, name, 0
			if join(dir, name) != path && d.last < name {
				d.ascending = 1
			}
		}
		if dir == "" {
			break
		}
	}
	w := t.walkOverLocked(path)
	t.mu.Unlock()
	if w != nil {
		w.visited(path)
	}
}

// walkOverLocked is the walk of the nearest directory above a path.
func (t *Tree) walkOverLocked(path string) *walk {
	if t.mu.walks.Len() == 0 {
		return nil
	}
	for path != "" {
		path, _ = split(path)
		if w, ok := t.mu.walks.Get(path); ok {
			return w
		}
	}
	return nil
}

// walk sees whether a directory is one of a tree that is walked through. Then it is complete afterwards, or what the walk
// knows of it is the lister that is returned, or nil: its own listing has to tell. Errors are left to that one.
func (t *Tree) walk(ctx context.Context, path, after string, began time.Time) *lister {
	if t.o.TTL <= 0 || path == "" || after != "" || t.absence.away() {
		return nil
	}
	w := t.walkFor(path)
	if w == nil {
		return nil
	}
	return w.reach(ctx, path, t.wasListed(path), func() bool { return t.isListed(path, began) })
}

// walkMarker lets a walk find out whether a directory has a marker, where those of its parent are being looked at in order.
func (t *Tree) walkMarker(ctx context.Context, path string) {
	if t.o.TTL <= 0 || path == "" || t.absence.away() {
		return
	}
	if w := t.walkFor(path); w != nil {
		w.reach(ctx, path, false, func() bool { _, known := t.markerKnown(path); return known })
	}
}

// markerKnown is a directory's marker, nil for none, if that was found out within the TTL.
func (t *Tree) markerKnown(path string) (*version, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.mu.dirs.Peek(path)
	if !ok || d.checked.IsZero() || !t.fresh(d.checked) {
		return nil, false
	}
	return d.marker, true
}

// walkFor is the walk that a directory belongs to, if there is or begins one.
func (t *Tree) walkFor(path string) *walk {
	t.mu.Lock()
	w := t.walkOverLocked(path)
	t.mu.Unlock()
	if w != nil && !w.rests() {
		return w
	}
	if w != nil {
		t.endWalk(w, false)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.beginWalkLocked(path)
}

// rests says that nobody has walked on for long.
func (w *walk) rests() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.mu.read.IsZero() && w.t.o.Now().Sub(w.mu.read) > noWalkFor
}

// beginWalkLocked is a walk of a directory's parent, if its directories are being listed in order.
func (t *Tree) beginWalkLocked(path string) *walk {
	root, name := split(path)
	if t.space.top(path) {
		return nil
	}
	d := t.dirLocked(root)
	if d.ascending == 0 || !d.noWalk.IsZero() && t.o.Now().Sub(d.noWalk) < noWalkFor {
		return nil
	}
	if near, known := t.neighbours(root, d.last, name); known && !near || !known && d.ascending < walkAfter {
		return nil
	}
	bucket, key, err := t.space.locate(root)
	if err != nil {
		return nil
	}
	w := &walk{t: t, root: root, bucket: bucket, prefix: dirKey(key)}
	t.mu.walks.Add(root, w)
	return w
}

// neighbours says whether at most walkGap directories lie between two names of a directory; known is false where nobody
// knows, or it takes too long to find out.
func (t *Tree) neighbours(dir, first, second string) (near, known bool) {
	if !t.listedLately(dir) {
		return false, false
	}
	between := 0
	for range 20 {
		next, ok := t.entries.After(dir, first, 100)
		if !ok {
			return false, false
		}
		for i := range next {
			if next[i].Name >= second {
				return true, true
			}
			if next[i].Entry.IsDir() {
				if between++; between > walkGap {
					return false, true
				}
			}
		}
		if len(next) == 0 {
			return true, true
		}
		first = next[len(next)-1].Name
	}
	return false, false
}

// endWalk lets directories of the root be listed one by one again.
func (t *Tree) endWalk(w *walk, poor bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now, ok := t.mu.walks.Peek(w.root); ok && now == w {
		t.mu.walks.Remove(w.root)
	}
	if poor {
		t.dirLocked(w.root).noWalk = t.o.Now()
	}
}

// keyOf is the prefix of a directory's keys, "" if there is none.
func (w *walk) keyOf(path string) string {
	_, key, err := w.t.space.locate(path)
	if err != nil {
		return ""
	}
	return dirKey(key)
}

// visited notes that a directory is listed. One that the latest page has brought is a reason to read the next page ahead.
func (w *walk) visited(path string) {
	prefix := w.keyOf(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	if prefix == "" || w.mu.read.IsZero() || prefix <= max(w.mu.page, w.mu.seen) || !w.mu.ended && prefix > w.mu.at {
		return
	}
	w.mu.used, w.mu.seen = w.mu.used+1, prefix
	if w.mu.used == 2 && !w.mu.ended && w.currentLocked() && !w.t.absence.away() {
		at := w.mu.at
		w.mu.ahead = w.t.steps.begin(context.Background(), w.flight(at), func() {}, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, w.step(ctx, at)
		})
	}
}

func (w *walk) flight(at string) string { return w.bucket + "\x00" + w.prefix + "\x00" + at }

// currentLocked says whether what the walk holds is still worth something.
func (w *walk) currentLocked() bool { return w.t.fresh(w.mu.read) }

// reach reads until enough is known of a directory, or returns what is to be listed on from where the walk is. known: an
// older answer can take over.
func (w *walk) reach(ctx context.Context, path string, known bool, enough func() bool) *lister {
	prefix := w.keyOf(path)
	for range 3 {
		at, l, ok := w.next(prefix)
		if l != nil || !ok {
			return l
		}
		_, stale, err := orStale(ctx, w.t, &w.t.steps, w.flight(at), known, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, w.step(ctx, at)
		})
		if stale || err != nil {
			w.t.endWalk(w, false)
			return nil
		}
		if enough() {
			w.visited(path)
			return nil
		}
	}
	return nil
}

// next says where to read on for a directory: at the key up to which the walk came, or before the directory. A directory
// that takes long is given to its own listing.
func (w *walk) next(prefix string) (at string, own *lister, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range w.mu.open {
		if r.prefix != prefix {
			continue
		}
		if r.l == nil || !w.currentLocked() {
			break
		}
		if !w.lastsLocked(r.l) {
			r.l = nil
			return "", nil, false
		}
		if last := i == len(w.mu.open)-1; last && len(r.l.held) < walkHeld/2 {
			return w.mu.at, nil, true
		}
		return "", w.leaveLocked(r), false
	}
	if prefix > w.mu.page && (prefix <= w.mu.at || w.mu.ended) && w.currentLocked() {
		return "", nil, false // the page has nothing of it
	}
	if w.mu.ahead && prefix > w.mu.at {
		return w.mu.at, nil, true
	}
	if w.t.nextIsListed(w.bucket, prefix) || !w.beginLocked(prefix) {
		return "", nil, false
	}
	return w.mu.at, nil, true
}

// nextIsListed says whether the directory behind one is known already. Then the walk would go back to read what it has read: the
// first directory of a parent, of which ls -lR wanted the marker before it was seen to walk.
func (t *Tree) nextIsListed(bucket, prefix string) bool {
	path, ok := t.space.pathOf(bucket, prefix)
	if !ok {
		return false
	}
	dir, name := split(path)
	next, ok := t.entries.After(dir, name, 1)
	return ok && len(next) == 1 && next[0].Entry.IsDir() && t.isListed(join(dir, next[0].Name), time.Time{})
}

// lastsLocked says whether a listing may still be shown: within the TTL, not forgotten, and while every change that was made
// here since it was asked for can be seen in the overlay.
func (w *walk) lastsLocked(l *lister) bool {
	return w.t.o.Now().Sub(l.asked) < min(w.t.o.TTL, settle) && l.listing.Valid()
}

// leaveLocked takes a directory out of the walk: its own listing goes on behind the key that the walk came to.
func (w *walk) leaveLocked(r *reached) *lister {
	l := r.l
	r.l = nil
	l.from = w.mu.at
	if below := strings.TrimPrefix(w.mu.at, r.prefix); strings.Contains(below, "/") {
		l.from = r.prefix + below[:strings.IndexByte(below, '/')+1]
	}
	l.ready()
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	l.ours = w.t.mu.overlay.names(l.path) // with what was changed since
	return l
}

// beginLocked moves the walk before a directory. It is false when walks are not worth their pages here.
func (w *walk) beginLocked(prefix string) bool {
	if !w.mu.read.IsZero() {
		if w.mu.used > 1 {
			w.mu.poor = 0
		} else if w.mu.poor++; w.mu.poor >= walkPoor {
			w.t.endWalk(w, true)
			return false
		}
	}
	// The last key before the directory's own, since '.' is the character before '/'.
	begin := strings.TrimSuffix(prefix, "/") + ".\U0010FFFF"
	if prefix == "" || len(begin) > maxKey {
		return false
	}
	w.mu.begun, w.mu.at, w.mu.page = begin, begin, begin
	w.mu.open, w.mu.ended, w.mu.used, w.mu.seen, w.mu.ahead = nil, false, 0, "", false
	return true
}
