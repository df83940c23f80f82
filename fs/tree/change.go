package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

// mayMake says whether something can be made under a path.
func (t *Tree) mayMake(what, path string) error {
	_, key, err := t.space.locate(path)
	switch {
	case t.o.ReadOnly:
		err = ErrReadOnly
	case err != nil:
	case path == "":
		err = ErrExists
	case t.space.top(path):
		err = ErrNotPermitted // beside the buckets
	case len(dirKey(key)) > maxKey && what == "make directory":
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
// The new directory is known to be empty.
func (t *Tree) Mkdir(ctx context.Context, path string, a Attr) (Entry, error) {
	if t.space.top(path) && path != "" {
		return t.makeBucket(ctx, path)
	}
	if err := t.mayMake("make directory", path); err != nil {
		return Entry{}, err
	}
	give, err := t.take(ctx, path)
	if err != nil {
		return Entry{}, fmt.Errorf("make directory %s: %w", path, err)
	}
	defer give()
	if err := t.absent(ctx, "make directory", path); err != nil {
		return Entry{}, err
	}
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
	t.entries.Begin(path).Done()
	t.dirLocked(path).names = 0
	return e, nil
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
	o, err := t.o.Store.Put(ctx, s3client.PutRequest{Bucket: e.Bucket, Key: e.Key, Headers: h, Body: bytes.NewReader(body), Size: e.Size})
	if err != nil {
		t.forget(path)
		return Entry{}, fmt.Errorf("%s %s: %w", what, path, err)
	}
	o.Size, o.Headers = e.Size, &h
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.storedLocked(e, &o), nil
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

// Readlink is a symbolic link's target: a GET of the object unless the metadata has it, or Later has the link still to
// put.
func (t *Tree) Readlink(ctx context.Context, path string) (string, error) {
	for round := 1; ; round++ {
		target, err := t.readlink(ctx, path)
		if !errors.Is(err, s3client.Changed) || round == maxRounds {
			return target, err
		}
		t.forget(path) // a link of another target has the name since it was looked up
	}
}

func (t *Tree) readlink(ctx context.Context, path string) (string, error) {
	e, err := t.Lookup(ctx, path)
	if err != nil {
		return "", err
	}
	if e.Mode&typeMask != typeLink {
		return "", fmt.Errorf("read link %s: %w", path, ErrInvalid)
	}
	t.mu.Lock()
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.puts() {
		defer t.mu.Unlock()
		return string(c.body), nil
	}
	r, ok := t.mu.versions.Get(e.Bucket + "/" + e.Key)
	t.mu.Unlock()
	if ok && r.ver.etag == e.ETag && r.attr.link != nil {
		return *r.attr.link, nil
	}
	if e.Size > maxTarget {
		return "", fmt.Errorf("read link %s: target of %d bytes: %w", path, e.Size, ErrInvalid)
	}
	target, err := t.readSmall(ctx, e)
	if err != nil {
		return "", fmt.Errorf("read link %s: %w", path, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		with := *r
		with.attr.link, with.attr.isLink = &target, true
		if now, there := t.mu.versions.Peek(e.Bucket + "/" + e.Key); there && now == r {
			t.mu.versions.Add(e.Bucket+"/"+e.Key, &with)
		}
	}
	return target, nil
}

func (t *Tree) readSmall(ctx context.Context, e Entry) (string, error) {
	body, _, err := t.o.Store.Get(ctx, s3client.GetRequest{Bucket: e.Bucket, Key: e.Key, ETag: e.ETag})
	if err != nil {
		return "", err
	}
	p, err := io.ReadAll(io.LimitReader(body, maxTarget+1))
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if len(p) > maxTarget {
		err = ErrInvalid
	}
	return strings.TrimRight(string(p), "\x00"), err
}

// Unlink deletes a file: one DELETE, none for what is not stored. A directory that would vanish with its last
// file gets a marker first.
func (t *Tree) Unlink(ctx context.Context, path string) error { return t.unlink(ctx, path, false) }

// UnlinkUncertain is Unlink for a file whose upload had no answer: what is Pending here may be in the store, and Later
// deletes that. Without Later it is Unlink, and the deletion is content's.
func (t *Tree) UnlinkUncertain(ctx context.Context, path string) error {
	return t.unlink(ctx, path, true)
}

func (t *Tree) unlink(ctx context.Context, path string, uncertain bool) error {
	if t.o.ReadOnly {
		return fmt.Errorf("unlink %s: %w", path, ErrReadOnly)
	}
	give, err := t.take(ctx, path)
	if err != nil {
		return fmt.Errorf("unlink %s: %w", path, err)
	}
	defer give()
	e, err := t.lookup(ctx, path, manner{})
	if err != nil {
		return fmt.Errorf("unlink: %w", err)
	}
	if e.IsDir() {
		return fmt.Errorf("unlink %s: %w", path, ErrIsDir)
	}
	switch {
	case e.Pending && uncertain && t.o.Later != nil:
		if err := t.deleteLater(ctx, e, version{}); err != nil {
			return fmt.Errorf("unlink %s: %w", path, err)
		}
		return nil
	case e.Pending:
		t.unlinkPending(e)
		return nil
	}
	dir, name := split(path)
	if err := t.keepDir(ctx, dir, name); err != nil {
		return fmt.Errorf("unlink %s: keep its directory: %w", path, err)
	}
	if err := t.deleteFile(ctx, e); err != nil {
		t.forget(path)
		return fmt.Errorf("unlink %s: %w", path, err)
	}
	if err := t.keepDir(ctx, dir, ""); err != nil {
		return fmt.Errorf("unlink %s: keep its directory: %w", path, err)
	}
	return nil
}

func (t *Tree) unlinkPending(e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.mu.overlay.get(e.Path, t.o.Now()); c != nil && c.kind == pending {
		t.vanishLocked(c)
		return
	}
	t.changeLocked(e.Path, &change{kind: gone, it: e})
}

func (t *Tree) deleteFile(ctx context.Context, e Entry) error {
	if t.o.Later != nil {
		return t.deleteLater(ctx, e, version{e.ETag, e.Modified, e.Size})
	}
	if err := t.o.Store.Delete(ctx, e.Bucket, e.Key); err != nil {
		return err
	}
	t.removedEntry(e)
	return nil
}

// removedEntry records that an entry's object was deleted.
func (t *Tree) removedEntry(e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removedLocked(e)
}

func (t *Tree) removedLocked(e Entry) {
	t.mu.versions.Remove(e.Bucket + "/" + e.Key)
	t.changeLocked(e.Path, &change{kind: gone, it: e, ver: version{e.ETag, e.Modified, e.Size}})
}

// keepDir writes the marker of a directory that has none when nothing but the name last is in it (as its latest listing
// said), so that it outlives that name. Nothing is done where the directory is not known wholly.
func (t *Tree) keepDir(ctx context.Context, dir, last string) error {
	if t.space.top(dir) || !t.onlyHas(dir, last) {
		return nil
	}
	give, err := t.take(ctx, dir)
	if err != nil {
		return err
	}
	defer give()
	e := t.plainDir(dir)
	var marker *s3client.Object
	if !t.markerless(dir) {
		marker, err = t.findMarker(ctx, e)
	}
	if err != nil {
		return err
	}
	if marker != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.markLocked(dir, marker)
		return nil
	}
	now := t.o.Now()
	e.Mtime, e.Ctime, e.Atime = now, now, now
	_, err = t.putMarker(ctx, e, nil)
	return err
}

// markerless says whether a directory was seen to have no marker so lately that Later may put one without a look: the
// request would cost more than the marker.
func (t *Tree) markerless(dir string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.mu.dirs.Peek(dir)
	return t.o.Later != nil && ok && d.marker == nil && t.fresh(d.checked) && t.mu.overlay.get(dir, t.o.Now()) == nil
}

// onlyHas says whether a directory without a known marker has no name but last.
func (t *Tree) onlyHas(dir, last string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.mu.dirs.Peek(dir)
	if !ok || d.marker != nil || d.names > 8 { // names is near enough to spare large directories the copying
		return false
	}
	if c := t.mu.overlay.get(dir, t.o.Now()); c != nil && (c.kind == gone || c.ver.etag != "") {
		return false
	}
	all, ok := t.entries.All(dir)
	return ok && (len(all) == 0 || len(all) == 1 && all[0].Name == last)
}

// Rmdir deletes an empty directory; in an account's root a bucket.
func (t *Tree) Rmdir(ctx context.Context, path string) error {
	if t.o.ReadOnly {
		return fmt.Errorf("remove directory %s: %w", path, ErrReadOnly)
	}
	if path == "" {
		return fmt.Errorf("remove directory: the root: %w", ErrBusy)
	}
	if t.space.top(path) {
		return t.removeBucket(ctx, path)
	}
	give, err := t.take(ctx, path)
	if err != nil {
		return fmt.Errorf("remove directory %s: %w", path, err)
	}
	defer give()
	e, err := t.lookup(ctx, path, manner{})
	if err != nil {
		return fmt.Errorf("remove directory: %w", err)
	}
	if !e.IsDir() {
		return fmt.Errorf("remove directory %s: %w", path, ErrNotDir)
	}
	marker, err := t.checkEmpty(ctx, e)
	if err != nil {
		return fmt.Errorf("remove directory %s: %w", path, err)
	}
	dir, name := split(path)
	if err := t.keepDir(ctx, dir, name); err != nil {
		return fmt.Errorf("remove directory %s: keep its directory: %w", path, err)
	}
	if err := t.deleteMarkers(ctx, e, marker); err != nil {
		t.forget(path)
		return fmt.Errorf("remove directory %s: %w", path, err)
	}
	if err := t.keepDir(ctx, dir, ""); err != nil {
		return fmt.Errorf("remove directory %s: keep its directory: %w", path, err)
	}
	return nil
}

// checkEmpty is ErrNotEmpty when something lives in a directory; otherwise its marker as listed.
func (t *Tree) checkEmpty(ctx context.Context, e Entry) (*s3client.Object, error) {
	t.mu.Lock()
	living := t.mu.overlay.living(e.Path)
	t.mu.Unlock()
	if living {
		return nil, ErrNotEmpty
	}
	if marker, empty := t.knownEmpty(e); empty {
		return marker, nil
	}
	live, marker, err := t.firstLive(ctx, e.Bucket, e.Key, e.Path)
	if err != nil {
		return nil, err
	}
	if live != "" {
		return nil, fmt.Errorf("%w: it has %q", ErrNotEmpty, live)
	}
	return marker, nil
}

// knownEmpty says whether a directory was seen so lately to be empty that a request is spared where Later deletes its
// marker: what somebody has put there meanwhile is not in danger, it keeps the directory.
func (t *Tree) knownEmpty(e Entry) (marker *s3client.Object, empty bool) {
	if t.o.Later == nil {
		return nil, false
	}
	all, ok := t.listed(e.Path)
	t.mu.Lock()
	defer t.mu.Unlock()
	d, known := t.mu.dirs.Peek(e.Path)
	if !ok || len(all) > 0 || !known || d.odd || t.mu.overlay.living(e.Path) {
		return nil, false
	}
	if d.marker != nil {
		marker = &s3client.Object{Bucket: e.Bucket, Key: dirKey(e.Key), ETag: d.marker.etag, Modified: d.marker.modified, Size: d.marker.size}
	}
	return marker, true
}

// deleteMarkers deletes what makes an empty directory one: "dir/", and "dir" where that is a marker too. marker is the
// one last seen, if any.
func (t *Tree) deleteMarkers(ctx context.Context, e Entry, marker *s3client.Object) error {
	if t.o.Later != nil {
		return t.deleteLater(ctx, e, t.markerVersion(e.Path, marker))
	}
	if err := t.o.Store.Delete(ctx, e.Bucket, dirKey(e.Key)); err != nil {
		return err
	}
	t.mu.Lock()
	d, ok := t.mu.dirs.Peek(e.Path)
	slashless := ok && d.slashless
	t.mu.Unlock()
	if slashless {
		if err := t.o.Store.Delete(ctx, e.Bucket, e.Key); err != nil {
			return err
		}
	}
	t.removedDir(e, t.markerVersion(e.Path, marker))
	return nil
}

// markerVersion is the later version of a directory's marker: the one last seen, or the one put here.
func (t *Tree) markerVersion(path string, marker *s3client.Object) version {
	t.mu.Lock()
	defer t.mu.Unlock()
	ver := versionOf(marker)
	if c := t.mu.overlay.get(path, t.o.Now()); c != nil && c.kind == put && c.ver.modified.After(ver.modified) {
		ver = c.ver
	}
	return ver
}

// removedDir records that a directory is gone, whose marker was that version.
func (t *Tree) removedDir(e Entry, ver version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.versions.Remove(e.Bucket + "/" + dirKey(e.Key))
	t.entries.Forget(e.Path)
	t.mu.dirs.Remove(e.Path)
	t.changeLocked(e.Path, &change{kind: gone, it: e, ver: ver})
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
