package tree

import "pailfs/s3client"

// Settled tells that Later has carried out what it has accepted as seq for a key, and what the store has answered, or
// (err) that it gave up. A path's change waits for that: no listing is asked about it, and it is never dropped. Then it
// is one that was made just now, which outweighs listings that lag; given up, what is known of the name is forgotten. What
// has been changed again since is left alone. No request.
func (t *Tree) Settled(bucket, key string, seq uint64, o s3client.Object, err error) {
	path, ok := t.space.pathOf(bucket, key)
	if !ok || path == "" {
		return
	}
	s := settlement{wait{isMarker(key), seq}, o, err}
	t.mu.Lock()
	defer t.mu.Unlock()
	if tn := t.mu.turns[path]; tn != nil {
		tn.early = append(tn.early, s)
	}
	t.settledLocked(path, s)
}

func (t *Tree) settledLocked(path string, s settlement) {
	c := t.mu.overlay.get(path, t.o.Now())
	switch {
	case c == nil:
	case c.local():
		t.settledBelowLocked(c, s)
	case !c.settle(s.wait):
	case s.err != nil && s.marker == c.it.IsDir():
		t.givenUpLocked(path, c)
	default:
		if s.err == nil && c.kind == put && s.marker == c.it.IsDir() {
			t.storedAsLocked(c, &s.o)
		}
		if c.waiting() {
			return
		}
		t.mu.overlay.release(path, c, t.o.Now())
		dir, name := split(path)
		if c.live() { // listings begun before are wrong about it
			t.entries.Put(dir, name, c.it)
		} else if !t.mu.overlay.living(path) {
			t.entries.Absent(dir, name)
		}
	}
}

// settledBelowLocked settles what content that is not stored yet lies upon.
func (t *Tree) settledBelowLocked(c *change, s settlement) {
	u := c.under
	switch {
	case u == nil || !u.settle(s.wait) || s.marker != u.it.IsDir():
	case s.err != nil:
		c.under, c.unsure = nil, true
		t.mu.versions.Remove(u.it.Bucket + "/" + u.it.objectKey())
	case u.kind == put:
		same := c.kind == unsaved && c.ver.etag == u.ver.etag
		t.storedAsLocked(u, &s.o)
		if same {
			c.ver, c.it.ETag, c.it.Modified = u.ver, u.it.ETag, u.it.Modified
			t.showLocked(c)
		}
	}
}

// storedAsLocked gives a change the version that the store has made of it, and what is remembered of that one too.
func (t *Tree) storedAsLocked(c *change, o *s3client.Object) {
	was := c.ver
	if o.ETag != "" {
		c.ver.etag = o.ETag
	}
	c.ver.modified, c.body = o.Modified, nil
	c.it.Modified = o.Modified
	if !c.it.IsDir() {
		c.it.ETag = c.ver.etag
	}
	key := c.it.Bucket + "/" + c.it.objectKey()
	if r, ok := t.mu.versions.Peek(key); ok && r.ver.etag == was.etag && r.ver.size == was.size {
		now := *r // others read it without the lock
		now.ver = c.ver
		t.mu.versions.Add(key, &now)
		t.keepLocked(key, &now)
	}
	if d, ok := t.mu.dirs.Peek(c.it.Path); ok && c.it.IsDir() && d.marker != nil {
		v := c.ver
		d.marker = &v
	}
}

// givenUpLocked forgets a change that the store has not made.
func (t *Tree) givenUpLocked(path string, c *change) {
	t.mu.versions.Remove(c.it.Bucket + "/" + c.it.objectKey())
	t.mu.dirs.Remove(path)
	t.mu.overlay.drop(path)
	t.entries.ForgetName(split(path))
	if c.it.IsDir() {
		t.entries.Forget(path)
	}
}

// vanishLocked takes away what was created here and is not stored. What was deleted before it stays so, also while
// listings show it.
func (t *Tree) vanishLocked(c *change) {
	path := c.it.Path
	switch {
	case c.under != nil:
		t.changeLocked(path, c.under)
	case c.unsure:
		t.mu.overlay.drop(path)
		t.entries.ForgetName(split(path))
	default:
		t.changeLocked(path, &change{kind: gone, it: c.it})
	}
}
