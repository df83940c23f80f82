package tree

import (
	"context"
	"fmt"

	"pailfs/s3client"
)

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
