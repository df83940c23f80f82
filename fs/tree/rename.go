package tree

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pailfs/s3client"
)

const (
	// copiesAtOnce is how many objects of a directory are copied at the same time: half of them are being looked at, so that
	// sixteen copies are on their way.
	copiesAtOnce = 32
	// maxHeld is how many objects of a directory are held in memory, some 400 bytes each, while it is renamed. Of what is
	// beyond 16 bytes are.
	maxHeld = 1 << 15
	// maxRename is how many objects a directory may have to be renamed by one call, which takes a store of 450 writes a second
	// nine hours. mv copies larger ones name by name when it is told ErrCross.
	maxRename = 1 << 23
	// undoFor is how long deleting the copies of a failed rename may take, also when the caller has gone.
	undoFor = 2 * time.Minute
	// longCopy is how long a file's copy may take until its source is looked at once more before it is deleted.
	longCopy = time.Second
)

// Moved is called for each object that a rename has moved.
type Moved = func(fromBucket, fromKey, toBucket, toKey string, o s3client.Object)

// Rename gives a stored file or directory another name, by copies inside the store and deletions; the rules of
// rename(2) hold. moved, which may be nil, is called for every object when its copy is there and its source is gone.
//
// A file's source is deleted after its copy was acknowledged, never otherwise. If that deletion fails both exist.
//
// A directory is copied whole before anything is deleted. If a copy fails, no source is deleted and the copies made are
// deleted again (as far as the store lets; those that stay are named in the error, and CompleteRename deletes them, unless
// one of the names is renamed before). If deletions fail, the copies stay, the sources that could not be deleted stay too, and
// the error names the first: nothing is lost, and CompleteRename deletes them as it completes what the death of the process
// interrupts. Until then the copies must not be removed: some have no source any more.
//
// A source that somebody else has changed since it was copied stays: a directory's is listed again before the deletion, a file's
// is looked at where the copy took long (longCopy), and is Changed then.
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
	for _, p := range []string{from, to} {
		if err := t.finish(ctx, p); err != nil {
			return err
		}
		if err := t.drain(ctx, p); err != nil {
			return err
		}
	}
	src, err := t.lookup(ctx, from, manner{full: t.o.Full})
	if err != nil {
		return err
	}
	if from == to {
		if noReplace {
			return ErrExists
		}
		return nil
	}
	if _, _, err := t.space.locateFile(to); err != nil && !src.IsDir() {
		return err
	}
	dst, err := t.target(ctx, src, to, noReplace)
	if err != nil {
		return err
	}
	t.dropUndo(from, to)
	if src.IsDir() {
		return t.renameDir(ctx, src, dst, to, moved)
	}
	return t.renameFile(ctx, src, to, moved)
}

// target looks at what a rename would replace, by the rules of rename(2); nil when there is nothing.
func (t *Tree) target(ctx context.Context, src Entry, to string, noReplace bool) (*Entry, error) {
	dst, err := t.lookup(ctx, to, manner{full: t.o.Full})
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
	begun := t.o.Now()
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
	dir, name := split(src.Path)
	if into, _ := split(to); into != dir {
		err = t.keepDir(ctx, dir, name)
	}
	if err == nil && t.o.Now().Sub(begun) > longCopy {
		err = t.isStill(ctx, src)
	}
	if err == nil {
		err = t.deleteSource(ctx, src)
	}
	if err != nil && !errors.Is(err, ErrCopied) {
		t.forget(to) // what is unsaved there stays
		return err
	}
	t.copied(src, to, o)
	if err != nil {
		return err
	}
	t.removedEntry(src)
	moved(src.Bucket, src.Key, bucket, key, o)
	if err := t.keepDir(ctx, dir, ""); err != nil {
		return fmt.Errorf("keep its directory: %w", err)
	}
	return nil
}

// isStill asks whether the store has a file as it was copied: s3client.Changed when it does not. Of one that is gone there is nothing
// to lose.
func (t *Tree) isStill(ctx context.Context, src Entry) error {
	now, err := t.o.Store.Head(ctx, src.Bucket, src.Key)
	switch {
	case errors.Is(err, s3client.NotFound), err == nil && now.ETag == src.ETag:
		return nil
	case err == nil:
		err = &s3client.Error{Op: "HEAD Object", Bucket: src.Bucket, Key: src.Key, Kind: s3client.Changed, Err: fmt.Errorf(
			"version %s was copied, version %s is stored now", src.ETag, now.ETag)}
	}
	t.forget(src.Path)
	return fmt.Errorf("copied, but the old name is not deleted: %w", err)
}

// deleteSource deletes what has been copied. ErrCopied: perhaps it has.
func (t *Tree) deleteSource(ctx context.Context, src Entry) error {
	err := t.o.Store.Delete(ctx, src.Bucket, src.Key)
	if err == nil {
		return nil
	}
	t.forget(src.Path)
	err = fmt.Errorf("copied, but the old name could not be deleted: %w", err)
	switch s3client.KindOf(err) {
	case s3client.Denied, s3client.Throttled, s3client.Invalid, s3client.Unsupported, s3client.NotFound:
		return err // it is still there
	}
	return fmt.Errorf("%w: %w", ErrCopied, err)
}

// HeadersOfCopy are the headers that a rename gives to a file's copy; nil: those that the object has, as far as is known.
func (t *Tree) HeadersOfCopy(ctx context.Context, path string) *s3client.Headers {
	e, err := t.lookup(ctx, path, manner{full: t.o.Full})
	if err != nil {
		return nil // the rename will say why
	}
	return t.copyHeaders(e)
}

// copyHeaders are the headers that keep an object's visible attributes through a copy: nil, which keeps those it has,
// unless its modification time is the store's, which a copy would renew.
func (t *Tree) copyHeaders(e Entry) *s3client.Headers {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.kind == unsaved && c.known {
		h := buildHeaders(&c.it, c.foreign) // attributes that were to travel with the next upload
		return &h
	}
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
		was := c.it
		if c.under != nil && c.kind == pending {
			was = c.under.it // content has told the store, Later may never say what became of it
		}
		t.removedLocked(was)
	}
	if t.mu.moving[to] == from {
		delete(t.mu.moving, to)
	}
}

// RenamedPending tells that content has given a file that was never stored another name: no request, and nothing of it is
// in the store. It takes its attributes along. What the store has under the new name is replaced when it is stored.
func (t *Tree) RenamedPending(from, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.pinLocked(from)
	if !ok {
		return
	}
	n := *c
	n.under, n.unsure, n.elem = nil, false, nil
	n.kind, n.ver = pending, version{}
	n.it.Path, n.it.ETag, n.it.Modified, n.it.Pending = to, "", time.Time{}, true
	n.it.Bucket, n.it.Key, _ = t.space.locate(to)
	if over, there := t.storedHereLocked(to); there {
		n.kind, n.ver = unsaved, version{over.ETag, over.Modified, over.Size}
		n.it.ETag, n.it.Modified, n.it.Pending = over.ETag, over.Modified, false
	}
	if c.kind == pending {
		t.vanishLocked(c)
	} else {
		t.changeLocked(from, &change{kind: gone, it: c.it, ver: c.ver})
	}
	t.changeLocked(to, &n)
}

// storedHereLocked is the file that the store may have under a path.
func (t *Tree) storedHereLocked(path string) (Entry, bool) {
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil {
		return c.it, c.live() && c.kind != pending && !c.it.IsDir()
	}
	e, _, ok := t.entries.Get(split(path))
	return e, ok && !e.IsDir()
}
