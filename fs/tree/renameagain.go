package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pailfs/s3client"
)

// The end of a directory's rename that the death of the process has interrupted, or that could not be ended by its call. What it
// had done is found out object by object, from listings of both names side by side: nothing but the intent was kept. An object
// that somebody has stored since, under either name, is left where it is; so is one whose file has unsaved bytes under either.

// begunSlack is how far the store's clock may be behind ours when its objects are told to be older than a rename.
const begunSlack = 5 * time.Second

// again is such an end.
type again struct {
	renaming
	moved Moved
	mu    struct {
		sync.Mutex
		markers []string // to be deleted last
		kept    above
		stayed  int
	}
}

// IntentPaths are the names of an intent's rename; ok is false when this mount does not show them.
func (t *Tree) IntentPaths(in Intent) (from, to string, ok bool) {
	from, ok1 := t.space.pathOf(in.FromBucket, strings.TrimSuffix(in.From, "/"))
	to, ok2 := t.space.pathOf(in.ToBucket, strings.TrimSuffix(in.To, "/"))
	return from, to, ok1 && ok2 && from != "" && to != "" && !under(from, to) && !under(to, from)
}

// CompleteRename ends the rename of a directory that an earlier run had begun, or that was left (Intents): it completes it, or
// takes back what had failed already. The caller has both names. When it returns nil the note is gone; after an error it may be
// called again.
func (t *Tree) CompleteRename(ctx context.Context, token uint64, in Intent, moved Moved) error {
	fail := func(err error) error { return fmt.Errorf("complete the rename of %s: %w", &in, err) }
	from, to, ok := t.IntentPaths(in)
	switch {
	case t.o.ReadOnly:
		return fail(ErrReadOnly)
	case !ok:
		return fail(ErrInvalid)
	case !t.o.Intents.IsLeft(token):
		return nil // dropped while this call waited for the names
	}
	for _, p := range []string{from, to} {
		if err := t.drain(ctx, p); err != nil {
			return fail(err)
		}
	}
	r := &again{moved: moved}
	r.intent, r.from, r.to, r.earlier, r.token, r.noted = in, from, to, true, token, true
	t.beginRenaming(&r.renaming)
	defer t.forgetDirs(from, to)
	var err error
	if in.Stage == StageUndo {
		err = r.takeBack(ctx)
	} else {
		err = r.complete(ctx)
	}
	r.end(err == nil)
	if err != nil {
		return fail(err)
	}
	if r.mu.stayed > 0 {
		t.o.Log.WarnContext(ctx, "an interrupted rename has ended, and some objects are not under one name alone: they were changed since",
			"from", from, "to", to, "objects", r.mu.stayed)
	}
	return nil
}

// complete copies what is not under the new name yet, and deletes the old names.
func (r *again) complete(ctx context.Context) error {
	t, in := r.t, &r.intent
	there := &cursor{t: t, bucket: in.ToBucket, prefix: in.To}
	err := t.listAll(ctx, in.FromBucket, in.From, func(objects []s3client.Object, asked time.Time) error {
		var moves []*move
		for _, o := range objects {
			m, ok := t.moveOf(o, asked)
			if !ok {
				continue
			}
			r.found.Add(1)
			m.key = r.newKey(o.Key)
			if m.src.Modified.After(in.Begun.Add(begunSlack)) || t.hasUnsaved(in.FromBucket, o.Key) || t.hasUnsaved(in.ToBucket, m.key) {
				r.stays(o.Key) // it was stored after the rename began, or its file will be
				continue
			}
			at, err := there.at(ctx, m.key)
			if err != nil {
				return err
			}
			if at != nil {
				m.dst = *at
			}
			moves = append(moves, &m)
		}
		done, err := r.copyMissing(ctx, moves)
		if err != nil {
			return err
		}
		return r.deleteOld(ctx, done)
	})
	if err != nil {
		return err
	}
	return r.deleteMarkers(ctx, in.FromBucket)
}

func (r *again) stays(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.kept.add(key)
	r.mu.stayed++
}

// deleteMarkers deletes the markers of directories in which nothing stays.
func (r *again) deleteMarkers(ctx context.Context, bucket string) error {
	return r.deleteKeys(ctx, bucket, slices.DeleteFunc(r.mu.markers, func(k string) bool { return r.mu.kept[k] }))
}

// copyMissing gives the objects of a page that are under the new name, copying those that are not.
func (r *again) copyMissing(ctx context.Context, moves []*move) (done []*move, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(copiesAtOnce)
	for _, m := range moves {
		g.Go(func() error {
			ok, err := r.bring(ctx, m)
			if err != nil {
				return fmt.Errorf("copy %s: %w", m.src.Key, err)
			}
			if !ok {
				r.stays(m.src.Key)
				return nil
			}
			r.copied.Add(1)
			mu.Lock()
			defer mu.Unlock()
			done = append(done, m)
			return nil
		})
	}
	return done, g.Wait()
}

// bring brings one object under its new name; ok is false where somebody has changed that since.
func (r *again) bring(ctx context.Context, m *move) (ok bool, err error) {
	in := &r.intent
	if m.dst.ETag == "" { // a listing may be late
		o, err := r.t.o.Store.Head(ctx, in.ToBucket, m.key)
		switch {
		case err == nil:
			m.dst = o
			m.dst.Bucket, m.dst.Key = in.ToBucket, m.key
		case !errors.Is(err, s3client.NotFound):
			return false, err
		}
	}
	switch {
	case m.dst.ETag != "":
		return r.isCopy(&m.src, &m.dst), nil
	case in.Stage == StageDelete:
		return false, nil // it was there, and somebody has deleted it
	}
	err = r.t.copyMove(ctx, in.ToBucket, m)
	return err == nil, err
}

// isCopy says whether an object is the copy of another that the rename has made. A multipart object's may have another ETag.
func (r *again) isCopy(src, dst *s3client.Object) bool {
	if src.ETag == dst.ETag {
		return src.Size == dst.Size
	}
	return src.Size == dst.Size && strings.Contains(src.ETag+dst.ETag, "-") && !dst.Modified.Before(r.intent.Begun.Add(-begunSlack))
}

// deleteOld deletes the old names of a page's objects; markers wait for what is below them.
func (r *again) deleteOld(ctx context.Context, done []*move) error {
	var keys []string
	for _, m := range done {
		switch {
		case m.gone:
		case isMarker(m.src.Key):
			r.mu.markers = append(r.mu.markers, m.src.Key)
		default:
			keys = append(keys, m.src.Key)
		}
	}
	if err := r.deleteKeys(ctx, r.intent.FromBucket, keys); err != nil {
		return err
	}
	for _, m := range done {
		if !m.gone {
			r.moved(m.src.Bucket, m.src.Key, r.intent.ToBucket, m.key, m.dst)
		}
	}
	return nil
}

func (r *again) deleteKeys(ctx context.Context, bucket string, keys []string) error {
	failed, err := r.t.deleteKeys(ctx, bucket, keys, &r.deleted)
	if err != nil {
		return err
	}
	for k, err := range failed {
		return fmt.Errorf("%d names could not be deleted, %q first: %w", len(failed), k, err)
	}
	return nil
}

// hasUnsaved says whether a key has a change that the store does not have yet.
func (t *Tree) hasUnsaved(bucket, key string) bool {
	c := t.changeOf(bucket, key)
	return c != nil && c.live() && c.pinned()
}

// isMadeHere says whether this mount has made what is under a key, or is about to, by another call than a rename's.
func (t *Tree) isMadeHere(bucket, key string) bool {
	c := t.changeOf(bucket, key)
	return c != nil && c.live()
}

// changeOf is the change that was made here of what a key's name is; nil: none.
func (t *Tree) changeOf(bucket, key string) *change {
	path, ok := t.space.pathOf(bucket, key)
	if !ok {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	if c == nil {
		return nil
	}
	as := *c
	return &as
}

// takeBack deletes the copies whose source is still there, of those that may be the failed rename's.
func (r *again) takeBack(ctx context.Context) error {
	t, in := r.t, &r.intent
	there := &cursor{t: t, bucket: in.FromBucket, prefix: in.From}
	err := t.listAll(ctx, in.ToBucket, in.To, func(objects []s3client.Object, _ time.Time) error {
		var keys []string
		for _, o := range objects {
			r.found.Add(1)
			src, err := there.at(ctx, in.From+strings.TrimPrefix(o.Key, in.To))
			switch {
			case err != nil:
				return err
			case o.Key == in.To && in.KeepMarker:
			case src == nil || src.ETag != o.ETag || src.Size != o.Size, t.isMadeHere(in.ToBucket, o.Key),
				o.Modified.Before(in.Begun.Add(-begunSlack)), o.Modified.After(in.Failed.Add(begunSlack)):
				r.stays(o.Key)
			case isMarker(o.Key):
				r.mu.markers = append(r.mu.markers, o.Key)
			default:
				keys = append(keys, o.Key)
			}
		}
		return r.deleteKeys(ctx, in.ToBucket, keys)
	})
	if err != nil {
		return err
	}
	return r.deleteMarkers(ctx, in.ToBucket)
}

// cursor walks along a listing beside another one.
type cursor struct {
	t              *Tree
	bucket, prefix string
	page           []s3client.Object
	next           string
	begun          bool
}

// at is the object of a key, nil without one. Keys are asked for in ascending order.
func (c *cursor) at(ctx context.Context, key string) (*s3client.Object, error) {
	for {
		for len(c.page) > 0 && c.page[0].Key < key {
			c.page = c.page[1:]
		}
		switch {
		case len(c.page) > 0 && c.page[0].Key == key:
			o := c.page[0]
			o.Bucket = c.bucket
			return &o, nil
		case len(c.page) > 0, c.begun && c.next == "":
			return nil, nil
		}
		p, err := c.t.o.Store.List(ctx, s3client.ListRequest{Bucket: c.bucket, Prefix: c.prefix, After: c.next})
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		c.page, c.next, c.begun = p.Objects, p.Next, true
	}
}
