package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pailfs/s3client"
)

const (
	// copiesAtOnce is how many objects of a directory are copied at the same time.
	copiesAtOnce = 16
	// maxRename is how many objects a directory may have to be renamed in one piece: their keys and ETags are held in memory
	// (some 200 bytes each). mv copies larger ones name by name when it is told ErrCross.
	maxRename = 1 << 20
	// undoFor is how long deleting the copies of a failed rename may take, also when the caller has gone.
	undoFor = 2 * time.Minute
)

// Moved is called for each object that a rename has moved.
type Moved = func(fromBucket, fromKey, toBucket, toKey string, o s3client.Object)

// Rename gives a stored file or directory another name, by copies inside the store and deletions; the rules of
// rename(2) hold. moved, which may be nil, is called for every object when its copy is there and its source is gone.
//
// A file's source is deleted after its copy was acknowledged, never otherwise. If that deletion fails both exist.
//
// A directory is copied whole before anything is deleted. If a copy fails, no source is deleted and the copies made are
// deleted again (as far as the store lets; those that stay are named in the error). If deletions fail, the copies stay,
// the sources that could not be deleted stay too, and the error names the first: nothing is lost, and to rename again
// after removing the copies, or to remove what stayed, completes it.
//
// What is not stored yet under from is ErrBusy: it is content's to store first. Buckets are ErrCross.
func (t *Tree) Rename(ctx context.Context, from, to string, noReplace bool, moved Moved) error {
	if moved == nil {
		moved = func(_, _, _, _ string, _ s3client.Object) {}
	}
	if err := t.rename(ctx, from, to, noReplace, moved); err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	return nil
}

func (t *Tree) rename(ctx context.Context, from, to string, noReplace bool, moved Moved) error {
	if _, _, err := t.space.locate(to); err != nil {
		return err
	}
	switch {
	case t.o.ReadOnly:
		return ErrReadOnly
	case from == "" || to == "":
		return ErrBusy
	case under(to, from):
		return ErrInvalid
	case t.space.top(from) || t.space.top(to):
		return ErrCross
	}
	src, err := t.Lookup(ctx, from)
	if err != nil {
		return err
	}
	if from == to {
		if noReplace {
			return ErrExists
		}
		return nil
	}
	dst, err := t.target(ctx, src, to, noReplace)
	if err != nil {
		return err
	}
	if src.IsDir() {
		return t.renameDir(ctx, src, dst, to, moved)
	}
	return t.renameFile(ctx, src, to, moved)
}

// target looks at what a rename would replace, by the rules of rename(2); nil when there is nothing.
func (t *Tree) target(ctx context.Context, src Entry, to string, noReplace bool) (*Entry, error) {
	dst, err := t.Lookup(ctx, to)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	switch {
	case err != nil:
		return nil, err
	case noReplace:
		return nil, ErrExists
	case src.IsDir() && !dst.IsDir():
		return nil, ErrNotDir
	case !src.IsDir() && dst.IsDir():
		return nil, ErrIsDir
	case dst.IsDir():
		_, err = t.checkEmpty(ctx, dst)
	}
	return &dst, err
}

func (t *Tree) renameFile(ctx context.Context, src Entry, to string, moved Moved) error {
	if src.Pending {
		return fmt.Errorf("%w: not stored yet", ErrBusy)
	}
	bucket, key, _ := t.space.locate(to)
	size := src.Size
	if src.Mode&typeMask == typeLink {
		size = t.storedSize(src)
	}
	h := t.copyHeaders(src)
	o, err := t.o.Copy(ctx, s3client.Object{Bucket: src.Bucket, Key: src.Key, Size: size, ETag: src.ETag, Modified: src.Modified},
		bucket, key, h)
	if err != nil {
		t.forget(to)
		if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
			t.forget(src.Path)
		}
		return fmt.Errorf("copy: %w", err)
	}
	o.Bucket, o.Key, o.Size = bucket, key, size
	t.copied(src, to, o)
	dir, name := split(src.Path)
	if err := t.keepDir(ctx, dir, name); err != nil {
		return fmt.Errorf("keep its directory: %w", err)
	}
	if err := t.o.Store.Delete(ctx, src.Bucket, src.Key); err != nil {
		t.forget(src.Path)
		return fmt.Errorf("copied, but the old name could not be deleted: %w", err)
	}
	t.removedEntry(src)
	moved(src.Bucket, src.Key, bucket, key, o)
	if err := t.keepDir(ctx, dir, ""); err != nil {
		return fmt.Errorf("keep its directory: %w", err)
	}
	return nil
}

// copyHeaders are the headers that keep an object's visible attributes through a copy: nil, which keeps those it has,
// unless its modification time is the store's, which a copy would renew.
func (t *Tree) copyHeaders(e Entry) *s3client.Headers {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.mu.versions.Get(e.Bucket + "/" + e.Key)
	if !ok || !e.Full || r.ver.etag != e.ETag || !r.attr.mtime.IsZero() {
		return nil
	}
	h := buildHeaders(&e, r.foreign)
	return &h
}

// copied records that an entry's object is now at another path too, with the attributes it had.
func (t *Tree) copied(src Entry, to string, o s3client.Object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.copiedLocked(src, to, o)
}

func (t *Tree) copiedLocked(src Entry, to string, o s3client.Object) {
	e := src
	e.Path = to
	e.Bucket, e.Key, _ = t.space.locate(to)
	slash := ""
	if e.IsDir() {
		slash = "/"
	} else {
		e.ETag = o.ETag
	}
	e.Modified, e.Seen, e.Pending = o.Modified, t.o.Now(), false
	c := &change{kind: put, it: e, ver: versionOf(&o)}
	if r, ok := t.mu.versions.Get(src.Bucket + "/" + src.Key + slash); ok && src.Full {
		at := *r
		at.ver = versionOf(&o)
		if at.attr.mtime.IsZero() {
			at.attr.mtime = e.Mtime
		}
		t.mu.versions.Add(e.Bucket+"/"+e.Key+slash, &at)
		c.foreign, c.known = at.foreign, true
	}
	t.changeLocked(to, c)
}

// Renamed tells that content has moved an unsaved file: it is stored as o under its new name, and nothing is under the old.
func (t *Tree) Renamed(from, to string, o s3client.Object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(from, t.o.Now())
	if c == nil || !c.live() {
		if n, ok := t.pinLocked(from); ok {
			c = n
		}
	}
	bucket, key, _ := t.space.locate(to)
	if c != nil && c.live() {
		e := c.it
		e.Path, e.Bucket, e.Key = to, bucket, key
		t.storedLocked(e, &o)
		if n := t.mu.overlay.byPath[to]; n != nil && !n.known {
			n.foreign, n.known = c.foreign, c.known
		}
		t.removedLocked(c.it)
	}
	if t.mu.moving[to] == from {
		delete(t.mu.moving, to)
	}
}

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

// copyAll copies every object, several at once; the first error ends it.
func (t *Tree) copyAll(ctx context.Context, bucket string, moves []move) error {
	g, copying := errgroup.WithContext(ctx)
	g.SetLimit(copiesAtOnce)
	for i := range moves {
		if copying.Err() != nil {
			break
		}
		m := &moves[i]
		g.Go(func() error {
			if err := t.copyMove(copying, bucket, m); err != nil {
				return fmt.Errorf("copy %s: %w", m.src.Key, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err() // then the rest was not begun
}

// copyMove copies one object. A listing may name a version that is not the latest: HEAD tells.
func (t *Tree) copyMove(ctx context.Context, bucket string, m *move) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if strings.HasSuffix(m.src.Key, "/") && m.src.Size == 0 {
		return t.copyMarker(ctx, bucket, m)
	}
	var h *s3client.Headers
	if m.from.Path != "" && !m.from.IsDir() {
		h = t.copyHeaders(m.from)
	}
	o, err := t.o.Copy(ctx, m.src, bucket, m.key, h)
	if errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
		var now s3client.Object
		now, err = t.o.Store.Head(ctx, m.src.Bucket, m.src.Key)
		switch {
		case errors.Is(err, s3client.NotFound):
			m.gone = true
			return nil
		case err != nil:
			return err
		}
		m.src.ETag, m.src.Size, m.src.Modified = now.ETag, now.Size, now.Modified
		m.from.Full, m.from.Size, m.from.ETag = false, now.Size, now.ETag
		o, err = t.o.Copy(ctx, m.src, bucket, m.key, nil)
	}
	if err != nil {
		return err
	}
	o.Bucket, o.Key, o.Size = bucket, m.key, m.src.Size
	m.dst = o
	return nil
}

// copyMarker puts a directory's marker anew with the headers it has: some stores refuse to copy a key that ends in a
// slash, and there are no bytes to copy.
func (t *Tree) copyMarker(ctx context.Context, bucket string, m *move) error {
	now, err := t.o.Store.Head(ctx, m.src.Bucket, m.src.Key)
	switch {
	case errors.Is(err, s3client.NotFound):
		m.gone = true
		return nil
	case err != nil:
		return err
	}
	h := s3client.Headers{ContentType: dirContentType}
	if now.Headers != nil {
		h = *now.Headers
	}
	o, err := t.o.Store.Put(ctx, s3client.PutRequest{Bucket: bucket, Key: m.key, Headers: h, Body: bytes.NewReader(nil)})
	if err != nil {
		return err
	}
	o.Bucket, o.Key, o.Size = bucket, m.key, 0
	m.dst = o
	return nil
}

// undo deletes the copies of a rename that failed, also those whose outcome is unknown. The marker of a directory that
// was there before stays.
func (t *Tree) undo(ctx context.Context, to, bucket string, moves []move, keepMarker bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	var keys []string
	_, key, _ := t.space.locate(to)
	for i := range moves {
		if moves[i].key != dirKey(key) || !keepMarker {
			keys = append(keys, moves[i].key)
		}
	}
	failed, err := t.deleteKeys(ctx, bucket, keys)
	t.mu.Lock()
	t.forgetTreeLocked(to)
	t.entries.ForgetName(split(to))
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("delete the copies again: %w", err)
	}
	for k, err := range failed {
		return fmt.Errorf("delete the copies again: %d of them, %q first: %w", len(failed), k, err)
	}
	return nil
}

func (t *Tree) deleteSources(ctx context.Context, bucket string, moves []move) (map[string]error, error) {
	keys := make([]string, 0, len(moves))
	for i := range moves {
		if !moves[i].gone {
			keys = append(keys, moves[i].src.Key)
		}
	}
	return t.deleteKeys(ctx, bucket, keys)
}

// deleteKeys deletes many keys. What the store cannot take in one request with others, such as keys with control
// characters, and what fails there, is deleted singly.
func (t *Tree) deleteKeys(ctx context.Context, bucket string, keys []string) (map[string]error, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var many, single []string
	for _, k := range keys {
		if len(keys) == 1 || strings.ContainsFunc(k, func(r rune) bool { return r < ' ' || r >= 0xfffe && r <= 0xffff }) {
			single = append(single, k)
		} else {
			many = append(many, k)
		}
	}
	if len(many) > 0 {
		failed, err := t.o.Store.DeleteMany(ctx, bucket, many)
		if err != nil {
			return nil, err
		}
		for _, f := range failed {
			single = append(single, f.Key)
		}
	}
	var mu sync.Mutex
	failed := make(map[string]error)
	var g errgroup.Group
	g.SetLimit(copiesAtOnce)
	for _, k := range single {
		g.Go(func() error {
			if err := t.o.Store.Delete(ctx, bucket, k); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[k] = err
			}
			return nil
		})
	}
	return failed, g.Wait()
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
