package tree

import "pailfs/s3client"

// Learn takes what the answer to a GET said of an object, as a HEAD would have: the version is there, and these are its
// attributes. A Lookup then needs neither a listing within the TTL nor a HEAD. It is about the version that is known under
// the path alone: what an answer says of any other, and of a path that is not known, is left alone. A mount that shows no
// attributes takes none (a file would change its mode by being read). Cheap; no request.
func (t *Tree) Learn(bucket, key string, o s3client.Object) {
	if o.Headers == nil || o.ETag == "" {
		return
	}
	path, ok := t.space.pathOf(bucket, key)
	if !ok || t.space.top(path) || key[len(key)-1] == '/' {
		return
	}
	o.Bucket, o.Key = bucket, key
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil {
		if c.kind == pending || c.kind == gone || c.it.IsDir() || !sameVersion(&o, c.ver) {
			return
		}
		c.checked = t.o.Now()
		if t.o.Full && !c.it.Full {
			t.fillLocked(c, t.askedLocked(bucket, key, &o))
		}
		return
	}
	dir, name := split(path)
	t.entries.Amend(dir, name, func(e Entry) (Entry, bool) {
		if e.IsDir() || !sameVersion(&o, version{e.ETag, e.Modified, e.Size}) {
			return e, false
		}
		if !t.o.Full || e.Full {
			return e, true
		}
		t.askedLocked(bucket, key, &o)
		full := t.fileEntryLocked(path, &o)
		full.Full = true
		return full, true
	})
}

// learned is an entry of the same version that has its attributes by now.
func (t *Tree) learned(e Entry) (Entry, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	full, state, _, _ := t.recordedLocked(e.Path)
	return full, state == Found && full.Full && full.ETag == e.ETag
}

// sameVersion says whether an answer that has headers is about a version that a listing, or the answer to a write, has
// named. It gives the object that one's time, which is the finer.
func sameVersion(o *s3client.Object, v version) bool {
	if o.ETag != v.etag || o.Size != v.size {
		return false
	}
	if o.Modified.IsZero() || v.modified.IsZero() {
		if o.Modified.IsZero() {
			o.Modified = v.modified
		}
		return true
	}
	if !sameTime(o.Modified, v.modified) { // the same bytes with other attributes
		return false
	}
	o.Modified = v.modified
	return true
}

// Outdated tells that the store does not have this version of an object any more: a GET that was pinned to it has said
// Changed or NotFound. What is known of the name is forgotten, if it is that version still, so that the next Lookup asks
// the store, whatever the TTL. No request.
func (t *Tree) Outdated(bucket, key, etag string) {
	path, ok := t.space.pathOf(bucket, key)
	if !ok || path == "" || etag == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, name := split(path)
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil {
		if c.kind != put || c.ver.etag != etag || c.waiting() {
			return
		}
		t.mu.overlay.drop(path)
	} else if e, _, ok := t.entries.Get(dir, name); !ok || e.ETag != etag {
		return
	}
	// Without its attributes a listing that lags is not believed: their HEAD tells what is there.
	if r, ok := t.mu.versions.Peek(bucket + "/" + key); ok && r.ver.etag == etag {
		t.mu.versions.Remove(bucket + "/" + key)
	}
	t.entries.ForgetName(dir, name)
}
