package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pailfs/s3client"
)

// maxTarget is the longest target of a symbolic link in bytes: PATH_MAX less the zero at its end.
const maxTarget = 4095

// Create makes a file that is not stored yet: no request. It stays Pending until Stored, Unlink or Discard. The caller
// knows that the name is free.
func (t *Tree) Create(path string, a Attr) (Entry, error) {
	if err := t.mayMake("create", path); err != nil {
		return Entry{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, state := t.knownLocked(path); state == Found {
		return Entry{}, fmt.Errorf("create %s: %w", path, ErrExists)
	}
	e := t.newEntry(path, typeRegular|a.Mode&permMask, a)
	e.Pending = true
	t.changeLocked(path, &change{kind: pending, it: e, known: true})
	return e, nil
}

const makeDirectory = "make directory"

// mayMake says whether something can be made under a path.
func (t *Tree) mayMake(what, path string) error {
	locate := t.space.locateFile
	if what == makeDirectory {
		locate = t.space.locate
	}
	_, key, err := locate(path)
	switch {
	case t.o.ReadOnly:
		err = ErrReadOnly
	case err != nil:
	case path == "":
		err = ErrExists
	case t.space.top(path):
		err = ErrNotPermitted // beside the buckets
	case len(dirKey(key)) > maxKey && what == makeDirectory:
		err = ErrNameTooLong
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, path, err)
	}
	return nil
}

func (t *Tree) newEntry(path string, mode uint32, a Attr) Entry {
	bucket, key, _ := t.space.locate(path)
	now := t.o.Now()
	return Entry{Path: path, Bucket: bucket, Key: key, Mode: mode, UID: a.UID, GID: a.GID, Full: true,
		Mtime: now, Ctime: now, Atime: now, Seen: now}
}

// changeLocked records a change in the overlay and in what is remembered of the directory.
func (t *Tree) changeLocked(path string, c *change) {
	c.at = t.o.Now()
	dir, name := split(path)
	_, _, was := t.entries.Get(dir, name)
	t.mu.overlay.set(path, c)
	if c.live() {
		t.entries.Put(dir, name, c.it)
	} else {
		t.entries.Remove(dir, name)
		t.entries.Absent(dir, name)
	}
	if d, ok := t.mu.dirs.Peek(dir); ok && was != c.live() {
		if c.live() {
			d.names++
		} else {
			d.names--
		}
	}
}

// absent makes sure that a name is free, with a request only when it is not known.
func (t *Tree) absent(ctx context.Context, what, path string) error {
	_, err := t.lookup(ctx, path, manner{})
	switch {
	case err == nil:
		return fmt.Errorf("%s %s: %w", what, path, ErrExists)
	case errors.Is(err, ErrNotFound):
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}

// Mkdir makes a directory: its marker, an empty object with a slash at the key's end; in an account's root a bucket.
// The new directory is known to be empty, as long as its name was known to be absent.
func (t *Tree) Mkdir(ctx context.Context, path string, a Attr) (Entry, error) {
	if t.space.top(path) && path != "" {
		return t.makeBucket(ctx, path)
	}
	if err := t.mayMake(makeDirectory, path); err != nil {
		return Entry{}, err
	}
	give, err := t.take(ctx, path)
	if err != nil {
		return Entry{}, fmt.Errorf("make directory %s: %w", path, err)
	}
	defer give()
	if err := t.absent(ctx, makeDirectory, path); err != nil {
		return Entry{}, err
	}
	since, known := t.absentSince(path)
	e := t.newEntry(path, typeDir|a.Mode&permMask, a)
	e, err = t.putMarker(ctx, e, nil)
	if err != nil {
		return Entry{}, fmt.Errorf("make directory %s: %w", path, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.live() {
		c.made = true
	}
	if known {
		l := t.entries.Begin(path)
		l.AsOf(since)
		l.Done()
		t.dirLocked(path).names = 0
	}
	return e, nil
}

// absentSince is how old the knowledge is that a path is absent: a directory that is made of it has been seen empty then, and others
// may have put something there since. That it was removed here says less: what others put into it meanwhile was not looked for.
func (t *Tree) absentSince(path string) (since time.Time, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.kind == gone && c.it.IsDir() {
		return since, false
	}
	_, state, since, ages := t.recordedLocked(path)
	if state != Absent {
		return since, false
	}
	if !ages {
		since = t.o.Now()
	}
	return since, true
}

// putMarker stores a directory's marker with the entry's attributes. The caller has the path's turn.
func (t *Tree) putMarker(ctx context.Context, e Entry, foreign *s3client.Headers) (Entry, error) {
	if t.o.Later != nil {
		return t.putLater(ctx, e, foreign, nil)
	}
	h := buildHeaders(&e, foreign)
	key := dirKey(e.Key)
	o, err := t.o.Store.Put(ctx, s3client.PutRequest{Bucket: e.Bucket, Key: key, Headers: h, Body: bytes.NewReader(nil)})
	if err != nil {
		t.forget(e.Path)
		return Entry{}, err
	}
	o.Bucket, o.Key, o.Headers = e.Bucket, key, &h
	e.Modified, e.Full = o.Modified, true
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rememberLocked(e.Bucket, key, &o)
	t.markLocked(e.Path, &o)
	t.changeLocked(e.Path, &change{kind: put, it: e, ver: versionOf(&o), foreign: r.foreign, known: true})
	return e, nil
}

// Mknod makes a file of any type. A regular one is Create; the others are empty objects with their type in the mode.
func (t *Tree) Mknod(ctx context.Context, path string, a Attr, rdev uint32) (Entry, error) {
	kind := a.Mode & typeMask
	switch kind {
	case 0, typeRegular:
		return t.Create(path, a)
	case typeFifo, typeSocket, typeChar, typeBlock:
	default:
		return Entry{}, fmt.Errorf("make node %s: %w", path, ErrInvalid)
	}
	return t.putSpecial(ctx, "make node", path, kind|a.Mode&permMask, a, rdev, []byte{})
}

// Symlink makes a symbolic link: an object whose body is the target and whose mode says that it is a link.
func (t *Tree) Symlink(ctx context.Context, path, target string, a Attr) (Entry, error) {
	if target == "" || len(target) > maxTarget || strings.ContainsRune(target, 0) {
		return Entry{}, fmt.Errorf("link %s: target: %w", path, ErrInvalid)
	}
	return t.putSpecial(ctx, "link", path, typeLink|0o777, a, 0, []byte(target))
}

func (t *Tree) putSpecial(ctx context.Context, what, path string, mode uint32, a Attr, rdev uint32, body []byte) (Entry, error) {
	if err := t.mayMake(what, path); err != nil {
		return Entry{}, err
	}
	give, err := t.take(ctx, path)
	if err != nil {
		return Entry{}, fmt.Errorf("%s %s: %w", what, path, err)
	}
	defer give()
	if err := t.absent(ctx, what, path); err != nil {
		return Entry{}, err
	}
	e := t.newEntry(path, mode, a)
	e.Rdev, e.Size = rdev, int64(len(body))
	if t.o.Later != nil {
		if e, err = t.putLater(ctx, e, nil, body); err != nil {
			return Entry{}, fmt.Errorf("%s %s: %w", what, path, err)
		}
		return e, nil
	}
	h := buildHeaders(&e, nil)
	o, err := t.o.Put(ctx, s3client.PutRequest{Bucket: e.Bucket, Key: e.Key, Headers: h, Body: bytes.NewReader(body), Size: e.Size})
	if err != nil && o.ETag != "" {
		err = t.takeBack(ctx, e, o.ETag, err)
	}
	if err != nil {
		t.forget(path)
		return Entry{}, fmt.Errorf("%s %s: %w", what, path, err)
	}
	o.Size, o.Headers = e.Size, &h
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.storedLocked(e, &o), nil
}

// takeBack deletes an object that is there with other bytes than were sent, unless it is another one by now: a link that nobody
// asked for leads anywhere. why is what was found wrong.
func (t *Tree) takeBack(ctx context.Context, e Entry, etag string, why error) error {
	o, err := t.o.Store.Head(ctx, e.Bucket, e.Key)
	switch {
	case errors.Is(err, s3client.NotFound), err == nil && o.ETag != etag:
		return why
	case err == nil:
		err = t.o.Store.Delete(ctx, e.Bucket, e.Key)
	}
	if err != nil {
		return fmt.Errorf("%w; and it is still there: %v", why, err) // one kind of error: the first
	}
	return why
}

// storedLocked records that an entry is now the object o; o.Headers are those it was sent with, nil if unknown.
func (t *Tree) storedLocked(e Entry, o *s3client.Object) Entry {
	o.Bucket, o.Key = e.Bucket, e.Key
	e.ETag, e.Modified, e.Pending, e.Seen = o.ETag, o.Modified, false, t.o.Now()
	if e.Mode&typeMask != typeLink {
		e.Size = o.Size
	}
	c := &change{kind: put, it: e, ver: versionOf(o)}
	if o.Headers != nil {
		c.foreign, c.known = t.rememberLocked(e.Bucket, e.Key, o).foreign, true
	}
	t.changeLocked(e.Path, c)
	return e
}

// copyOnce is the Copy of a tree that was given none: one request.
func (t *Tree) copyOnce(ctx context.Context, src s3client.Object, bucket, key string, h *s3client.Headers) (s3client.Object, error) {
	o, err := t.o.Store.Copy(ctx, s3client.CopyRequest{SrcBucket: src.Bucket, SrcKey: src.Key, SrcETag: src.ETag,
		SrcSize: src.Size, Bucket: bucket, Key: key, Headers: h})
	if o.Size == 0 {
		o.Size = src.Size
	}
	return o, err
}
