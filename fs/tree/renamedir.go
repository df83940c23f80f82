package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pailfs/s3client"
)

// The rename of a directory. All objects are copied, page by page of the source's listing while earlier ones are being
// copied; only then the sources are deleted. Up to maxHeld objects are held in memory and recorded one by one. Of more
// only a sum of key and ETag is: the source is listed again for its deletion, and what was not copied stays.

// move is an object of a directory that is being renamed.
type move struct {
	src  s3client.Object
	from Entry // of the overlay or of what is remembered; Path "" for keys that cannot be paths
	key  string
	dst  s3client.Object
	gone bool // the source was not there any more
}

// sum stands for an object that was copied.
type sum struct{ key, etag uint64 }

func (s sum) compare(o sum) int {
	return cmp.Or(cmp.Compare(s.key, o.key), cmp.Compare(s.etag, o.etag))
}

// dirRename is the rename of a directory by a call.
type dirRename struct {
	renaming
	src    Entry
	seed   maphash.Seed
	chunks [][]move // of the listing's goroutine; the first pages where there are many
	mu     struct {
		sync.Mutex
		many []sum // of the other pages; not nil when there are many
	}
}

func (t *Tree) renameDir(ctx context.Context, src Entry, dst *Entry, to string, moved Moved) (err error) {
	if p := t.unsavedUnder(src.Path); p != "" {
		return fmt.Errorf("%w: %s is not stored yet", ErrBusy, p)
	}
	bucket, key, _ := t.space.locate(to)
	r := &dirRename{src: src, seed: maphash.MakeSeed()}
	r.from, r.to = src.Path, to
	r.intent = Intent{FromBucket: src.Bucket, From: dirKey(src.Key), ToBucket: bucket, To: dirKey(key), Stage: StageCopy,
		Begun: t.o.Now(), KeepMarker: dst != nil}
	t.beginRenaming(&r.renaming)
	if err := r.copyAll(ctx); err != nil {
		undone := r.undo(ctx)
		r.end(undone == nil)
		if undone != nil {
			return notStale(errors.Join(err, undone))
		}
		return err
	}
	err = r.finish(ctx, moved)
	r.end(true) // the caller knows what became of it
	return notStale(err)
}

// notStale is the error of a rename whose copies are there. Of one that says that something has changed, ESTALE, the kernel would
// make the call once more by itself, and its answer would be that the new name is not empty.
func notStale(err error) error {
	if errors.Is(err, s3client.Changed) {
		return errors.New(err.Error())
	}
	return err
}

// finish deletes the sources. What cannot be deleted stays under both names.
func (r *dirRename) finish(ctx context.Context, moved Moved) error {
	t := r.t
	moves, many := r.settle()
	t.recordCopies(r.src, r.to, moves)
	dir, name := split(r.from)
	if err := t.keepDir(ctx, dir, name); err != nil {
		return fmt.Errorf("keep its directory: %w", err)
	}
	r.enter(StageDelete)
	failed, stayed, err := r.deleteSources(ctx, moves, many, moved)
	if stayed > 0 || many != nil && len(failed) > 0 {
		t.forgetDirs(r.from)
	} else {
		t.recordMoves(r.src, r.to, moves, failed, err)
	}
	if stayed > 0 {
		t.o.Log.WarnContext(ctx, "objects that came below a directory while it was renamed stay under its old name", "from", r.from, "to", r.to,
			"objects", stayed)
	}
	for i := range moves {
		m := &moves[i]
		if err == nil && !m.gone && failed[m.src.Key] == nil {
			moved(m.src.Bucket, m.src.Key, r.intent.ToBucket, m.key, m.dst)
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

// copyAll copies every object, several at once, while the listing goes on; the first error ends it.
func (r *dirRename) copyAll(ctx context.Context) error {
	g, copying := errgroup.WithContext(ctx)
	g.SetLimit(copiesAtOnce)
	listed := r.t.objectsUnder(copying, &r.renaming, r.src, func(moves []move) error {
		if r.found.Add(int64(len(moves))) > 1 { // a single object is under one of its names, or both, by itself
			r.note()
		}
		if err := r.hold(moves); err != nil {
			return err
		}
		for i := range moves {
			if copying.Err() != nil {
				break
			}
			m := &moves[i]
			g.Go(func() error { return r.copyOne(copying, m) })
		}
		return copying.Err()
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return cmp.Or(listed, ctx.Err()) // then the rest was not begun
}

func (r *dirRename) copyOne(ctx context.Context, m *move) error {
	listed := m.src.ETag
	if err := r.t.copyMove(ctx, r.intent.ToBucket, m); err != nil {
		return fmt.Errorf("copy %s: %w", m.src.Key, err)
	}
	r.copied.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.many != nil && m.src.ETag != listed {
		r.mu.many = append(r.mu.many, r.sumOf(&m.src))
	}
	return nil
}

func (r *dirRename) sumOf(o *s3client.Object) sum {
	return sum{maphash.String(r.seed, o.Key), maphash.String(r.seed, o.ETag)}
}

// hold keeps a page's objects: whole as long as they are few.
func (r *dirRename) hold(moves []move) error {
	n := int(r.found.Load())
	if most := r.t.renamings.most(); n > most {
		return fmt.Errorf("%w: more than %d objects", ErrCross, most)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.many == nil && n <= r.t.renamings.held() {
		r.chunks = append(r.chunks, moves)
		return nil
	}
	for i := range moves {
		r.mu.many = append(r.mu.many, r.sumOf(&moves[i].src))
	}
	return nil
}

// settle ends the copying: what was held joins the many.
func (r *dirRename) settle() (moves []move, many []sum) {
	moves = slices.Concat(r.chunks...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.many == nil {
		return moves, nil
	}
	for i := range moves {
		r.mu.many = append(r.mu.many, r.sumOf(&moves[i].src))
	}
	slices.SortFunc(r.mu.many, sum.compare)
	r.chunks = nil
	return nil, r.mu.many
}

// objectsUnder lists all objects of a directory as the store and this mount's changes have them, a page at a time.
func (t *Tree) objectsUnder(ctx context.Context, r *renaming, src Entry, page func([]move) error) error {
	named := func(moves []move) error {
		for i := range moves {
			m := &moves[i]
			if m.key = r.newKey(m.src.Key); len(m.key) > maxKey {
				return fmt.Errorf("%q would become a key of %d bytes: %w", m.src.Key, len(m.key), ErrNameTooLong)
			}
		}
		return page(moves)
	}
	unlisted := t.putUnder(src) // nothing comes to it meanwhile: the caller has the name
	err := t.listAll(ctx, r.intent.FromBucket, r.intent.From, func(objects []s3client.Object, asked time.Time) error {
		var moves []move
		for _, o := range objects {
			delete(unlisted, o.Key)
			if m, ok := t.moveOf(o, asked); ok {
				moves = append(moves, m)
			}
		}
		return named(moves)
	})
	if err != nil || len(unlisted) == 0 {
		return err
	}
	return named(slices.Collect(maps.Values(unlisted)))
}

// listAll lists all objects below a prefix, a page at a time.
func (t *Tree) listAll(ctx context.Context, bucket, prefix string, page func(objects []s3client.Object, asked time.Time) error) error {
	req := s3client.ListRequest{Bucket: bucket, Prefix: prefix}
	for {
		asked := t.o.Now()
		p, err := t.o.Store.List(ctx, req)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		for i := range p.Objects {
			p.Objects[i].Bucket = bucket
		}
		if err := page(p.Objects, asked); err != nil || p.Next == "" {
			return err
		}
		req.After = p.Next
	}
}

// deleteSources deletes the old names. Of many objects left is how many are there that were not when they were copied.
func (r *dirRename) deleteSources(ctx context.Context, moves []move, many []sum, moved Moved) (failed map[string]error, left int, err error) {
	if many == nil {
		keys := make([]string, 0, len(moves))
		for i := range moves {
			if !moves[i].gone {
				keys = append(keys, moves[i].src.Key)
			}
		}
		failed, err = r.t.deleteKeys(ctx, r.intent.FromBucket, keys, &r.deleted)
		return failed, 0, err
	}
	failed = make(map[string]error)
	var markers []string
	err = r.t.listAll(ctx, r.intent.FromBucket, r.intent.From, func(objects []s3client.Object, _ time.Time) error {
		var keys []string
		var here []s3client.Object
		for _, o := range objects {
			_, copied := slices.BinarySearchFunc(many, r.sumOf(&o), sum.compare)
			switch {
			case !copied:
				left++
			case isMarker(o.Key):
				markers = append(markers, o.Key)
			default:
				keys, here = append(keys, o.Key), append(here, o)
			}
		}
		bad, err := r.t.deleteKeys(ctx, r.intent.FromBucket, keys, &r.deleted)
		maps.Copy(failed, bad)
		for i := range here {
			o := &here[i]
			if err == nil && bad[o.Key] == nil {
				to := *o
				to.Bucket, to.Key = r.intent.ToBucket, r.newKey(o.Key)
				moved(o.Bucket, o.Key, to.Bucket, to.Key, to)
			}
		}
		return err
	})
	if err == nil {
		var bad map[string]error
		bad, err = r.t.deleteKeys(ctx, r.intent.FromBucket, markers, &r.deleted)
		maps.Copy(failed, bad)
	}
	return failed, left, err
}

// undo deletes the copies of a rename that failed, also those whose outcome is unknown. The marker of a directory that
// was there before stays.
func (r *dirRename) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	r.enter(StageUndo)
	t := r.t
	defer t.forgetDirs(r.to)
	moves, many := r.settle()
	var keys []string
	for i := range moves {
		keys = append(keys, moves[i].key)
	}
	undo := func(keys []string) error {
		if r.intent.KeepMarker {
			keys = slices.DeleteFunc(keys, func(k string) bool { return k == r.intent.To })
		}
		failed, err := t.deleteKeys(ctx, r.intent.ToBucket, keys, nil)
		if err != nil {
			return fmt.Errorf("delete the copies again: %w", err)
		}
		for k, err := range failed {
			return fmt.Errorf("delete the copies again: %d of them, %q first: %w", len(failed), k, err)
		}
		return nil
	}
	if many == nil {
		return undo(keys)
	}
	return t.listAll(ctx, r.intent.ToBucket, r.intent.To, func(objects []s3client.Object, _ time.Time) error {
		var keys []string
		for _, o := range objects {
			key := maphash.String(r.seed, r.intent.From+strings.TrimPrefix(o.Key, r.intent.To))
			if i, _ := slices.BinarySearchFunc(many, sum{key: key}, sum.compare); i < len(many) && many[i].key == key {
				keys = append(keys, o.Key)
			}
		}
		return undo(keys)
	})
}
