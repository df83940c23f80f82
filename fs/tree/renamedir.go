package tree

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pailfs/s3client"
)

// move is an object of a directory that is being renamed.
type move struct {
	src  s3client.Object
	from Entry // of the overlay or of what is remembered; Path "" for keys that cannot be paths
	key  string
	dst  s3client.Object
	gone bool // the source was not there any more
}

func (t *Tree) renameDir(ctx context.Context, src Entry, dst *Entry, to string, moved Moved) error {
	if p := t.unsavedUnder(src.Path); p != "" {
		return fmt.Errorf("%w: %s is not stored yet", ErrBusy, p)
	}
	bucket, key, _ := t.space.locate(to)
	moves, err := t.objectsUnder(ctx, src, dirKey(key))
	if err != nil {
		return err
	}
	dir, name := split(src.Path)
	if err := t.copyAll(ctx, bucket, moves); err != nil {
		return errors.Join(err, t.undo(ctx, to, bucket, moves, dst != nil))
	}
	t.recordCopies(src, to, moves)
	if err := t.keepDir(ctx, dir, name); err != nil {
		return fmt.Errorf("keep its directory: %w", err)
	}
	failed, err := t.deleteSources(ctx, src.Bucket, moves)
	t.recordMoves(src, to, moves, failed, err)
	for i := range moves {
		m := &moves[i]
		if err == nil && !m.gone && failed[m.src.Key] == nil {
			moved(m.src.Bucket, m.src.Key, bucket, m.key, m.dst)
		}
	}
	if err != nil {
		return fmt.Errorf("copied, but the old names could not be deleted: %w", err)
	}
	for k, err := range failed {
		return fmt.Errorf("copied, but %d old names could not be deleted, %q first: %w", len(failed), k, err)
	}
	return t.keepDir(ctx, dir, "")
}

// unsavedUnder is a path below dir with changes that content has not stored, "" when there is none.
func (t *Tree) unsavedUnder(dir string) (found string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.overlay.under(dir, func(p string, c *change) {
		if c.pinned() {
			found = p
		}
	})
	return found
}

// objectsUnder lists all objects of a directory as the store and this mount's changes have them.
func (t *Tree) objectsUnder(ctx context.Context, src Entry, newPrefix string) ([]move, error) {
	prefix := dirKey(src.Key)
	var moves []move
	seen := make(map[string]bool)
	req := s3client.ListRequest{Bucket: src.Bucket, Prefix: prefix}
	for {
		asked := t.o.Now()
		p, err := t.o.Store.List(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		for i := range p.Objects {
			o := p.Objects[i]
			o.Bucket = src.Bucket
			seen[o.Key] = true
			if m, ok := t.moveOf(o, asked); ok {
				moves = append(moves, m)
			}
		}
		if p.Next == "" {
			break
		}
		if len(moves) > maxRename {
			return nil, fmt.Errorf("%w: more than %d objects", ErrCross, maxRename)
		}
		req.After = p.Next
	}
	moves = append(moves, t.unlisted(src, seen)...)
	for i := range moves {
		moves[i].key = newPrefix + strings.TrimPrefix(moves[i].src.Key, prefix)
		if len(moves[i].key) > maxKey {
			return nil, fmt.Errorf("%q would become a key of %d bytes: %w", moves[i].src.Key, len(moves[i].key), ErrNameTooLong)
		}
	}
	return moves, nil
}

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

// unlisted are the objects put here below a directory that its listing does not show yet.
func (t *Tree) unlisted(src Entry, seen map[string]bool) (moves []move) {
	t.mu.Lock()
	defer t.mu.Unlock()
	add := func(_ string, c *change) {
		key := c.it.Key
		if c.it.IsDir() {
			key = dirKey(key)
		}
		if c.kind == put && c.ver.etag != "" && !seen[key] {
			moves = append(moves, move{from: c.it, src: s3client.Object{Bucket: src.Bucket, Key: key, ETag: c.ver.etag,
				Modified: c.ver.modified, Size: c.ver.size}})
		}
	}
	if c := t.mu.overlay.get(src.Path, t.o.Now()); c != nil {
		add(src.Path, c)
	}
	t.mu.overlay.under(src.Path, add)
	return moves
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

// recordMoves records what is no more under the old name; nothing when it is not known what was deleted.
func (t *Tree) recordMoves(src Entry, to string, moves []move, failed map[string]error, err error) {
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
	for i := range moves {
		m := &moves[i]
		path, ok := t.space.pathOf(m.src.Bucket, m.src.Key)
		if failed[m.src.Key] != nil {
			left = append(left, path)
			continue
		}
		if !ok {
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
