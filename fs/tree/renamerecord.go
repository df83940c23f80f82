package tree

import (
	"strings"
	"time"

	"pailfs/s3client"
)

// What a rename of a directory finds by the changes made here, and what it records of them.

// moveOf is a listed object as it is by the changes made here; ok is false when it was deleted here.
func (t *Tree) moveOf(o s3client.Object, asked time.Time) (m move, ok bool) {
	m.src = o
	path, isPath := t.space.pathOf(o.Bucket, o.Key)
	if !isPath {
		return m, true
	}
	if t.removed(&o, asked) {
		return m, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	marker := strings.HasSuffix(o.Key, "/")
	if c := t.mu.overlay.get(path, now); c != nil && c.kind == put && c.it.IsDir() == marker && c.ver.etag != "" {
		// A marker's listing shows itself: judge needs no prefix.
		newer := !c.ver.modified.IsZero() && o.Modified.After(c.ver.modified)
		if !newer {
			m.src.ETag, m.src.Modified, m.src.Size = c.ver.etag, c.ver.modified, c.ver.size
			m.from = c.it
			return m, true
		}
	}
	if marker {
		m.from = t.plainDir(path)
		if r := t.recallLocked(o.Bucket, o.Key, versionOf(&o)); r != nil {
			t.apply(&m.from, o.Key, r)
		}
		return m, true
	}
	m.from = t.fileEntryLocked(path, &o)
	return m, true
}

// putUnder are the objects put here at and below a directory, by key: its listing may not show them yet.
func (t *Tree) putUnder(src Entry) map[string]move {
	t.mu.Lock()
	defer t.mu.Unlock()
	moves := make(map[string]move)
	add := func(_ string, c *change) {
		key := c.it.Key
		if c.it.IsDir() {
			key = dirKey(key)
		}
		if c.kind == put && c.ver.etag != "" {
			moves[key] = move{from: c.it, src: s3client.Object{Bucket: src.Bucket, Key: key, ETag: c.ver.etag,
				Modified: c.ver.modified, Size: c.ver.size}}
		}
	}
	if c := t.mu.overlay.get(src.Path, t.o.Now()); c != nil {
		add(src.Path, c)
	}
	t.mu.overlay.under(src.Path, add)
	return moves
}

// forgetDirs makes names and all below them unknown.
func (t *Tree) forgetDirs(paths ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range paths {
		t.forgetTreeLocked(p)
		t.entries.ForgetName(split(p))
	}
}

// recordCopies records what is under the new name, before anything under the old is deleted.
func (t *Tree) recordCopies(src Entry, to string, moves []move) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetTreeLocked(to)
	marked := false
	for i := range moves {
		m := &moves[i]
		path, ok := t.space.pathOf(m.dst.Bucket, m.dst.Key)
		switch {
		case !ok || m.gone:
		case path == to:
			t.copiedLocked(src, to, m.dst)
			t.markLocked(to, &m.dst)
			marked = true
		default:
			t.copiedLocked(m.from, path, m.dst)
		}
	}
	if !marked { // a directory by what is in it
		t.copiedLocked(src, to, s3client.Object{})
	}
}

// recordMoves records what is no more under the old name, all but the keys that stay; nothing when it is not known what was deleted.
func (t *Tree) recordMoves(src Entry, to string, moves []move, stay map[string]bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetTreeLocked(src.Path)
	if err != nil {
		t.entries.ForgetName(split(src.Path))
		return
	}
	dirs := make(map[string]Entry)
	vers := make(map[string]version)
	var left []string
	for key := range stay {
		path, _ := t.space.pathOf(src.Bucket, key)
		left = append(left, path)
	}
	for i := range moves {
		m := &moves[i]
		path, ok := t.space.pathOf(m.src.Bucket, m.src.Key)
		if !ok || stay[m.src.Key] {
			continue
		}
		if strings.HasSuffix(m.src.Key, "/") {
			dirs[path], vers[path] = m.from, versionOf(&m.src)
		} else {
			t.changeLocked(path, &change{kind: gone, it: m.from, ver: versionOf(&m.src)})
		}
		for dir, _ := split(path); under(dir, src.Path); dir, _ = split(dir) {
			if _, ok := dirs[dir]; !ok {
				dirs[dir] = t.plainDir(dir)
			}
		}
	}
	if _, ok := dirs[src.Path]; !ok {
		dirs[src.Path] = src
	}
	for dir, e := range dirs {
		if stays(dir, left) {
			continue
		}
		t.mu.versions.Remove(e.Bucket + "/" + dirKey(e.Key))
		e.Path = dir
		t.changeLocked(dir, &change{kind: gone, it: e, ver: vers[dir]})
	}
	if len(left) > 0 {
		t.entries.ForgetName(split(src.Path))
	}
}

// stays says whether a directory still has one of the paths that are left.
func stays(dir string, left []string) bool {
	for _, p := range left {
		if p == "" || p == dir || under(p, dir) {
			return true
		}
	}
	return false
}
