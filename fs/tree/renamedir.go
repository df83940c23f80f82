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
// copied; only then the sources are listed again and deleted: what is not what was copied stays. Up to maxHeld objects are held in
// memory and recorded one by one. Of more only a sum of key and ETag is.

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
	done, err := r.finish(ctx, moved)
	r.end(done)
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

// finish deletes the sources. What cannot be deleted stays under both names, and is deleted later: then it is not done.
func (r *dirRename) finish(ctx context.Context, moved Moved) (done bool, err error) {
	t := r.t
	moves, many := r.settle()
	t.recordCopies(r.src, r.to, moves)
	dir, name := split(r.from)
	if err := t.keepDir(ctx, dir, name); err != nil {
		return false, fmt.Errorf("keep its directory: %w", err)
	}
	r.enter(StageDelete)
	d := &deletion{dirRename: r, many: many, moved: moved, failed: make(map[string]error), stay: make(map[string]bool)}
	err = d.run(ctx, moves)
	for k := range d.failed {
		d.stay[k] = true
	}
	if many != nil && len(d.stay) > 0 {
		t.forgetDirs(r.from)
	} else {
		t.recordMoves(r.src, r.to, moves, d.stay, err)
	}
	if n := len(d.stay) - len(d.failed); n > 0 {
		t.o.Log.WarnContext(ctx, "objects that came or were changed below a directory while it was renamed stay under its old name",
			"from", r.from, "to", r.to, "objects", n)
	}
	if err != nil {
		return false, fmt.Errorf("copied, but the old names could not be deleted: %w", err)
	}
	for k, err := range d.failed {
		return false, fmt.Errorf("copied, but %d old names could not be deleted, %q first: %w", len(d.failed), k, err)
	}
	return true, t.keepDir(ctx, dir, "")
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

// deletion deletes the old names of a directory whose copies are all there.
type deletion struct {
	*dirRename
	held   map[string]*move // by key; nil when there are many
	many   []sum
	moved  Moved
	failed map[string]error
	stay   map[string]bool // keys of what came, or was changed, since it was copied
}

// run lists the sources once more and deletes those that are what was copied, page by page: another host may have stored
// others while the copies were made. What the listing does not show yet goes last, with the markers.
func (d *deletion) run(ctx context.Context, moves []move) error {
	unlisted := make(map[string]s3client.Object)
	if d.many == nil {
		d.held = make(map[string]*move, len(moves))
	}
	for i := range moves {
		if m := &moves[i]; !m.gone {
			d.held[m.src.Key], unlisted[m.src.Key] = m, m.src
		}
	}
	var last []s3client.Object
	err := d.t.listAll(ctx, d.intent.FromBucket, d.intent.From, func(objects []s3client.Object, asked time.Time) error {
		var here []s3client.Object
		for _, o := range objects {
			delete(unlisted, o.Key)
			same, err := d.isCopied(ctx, &o)
			switch {
			case err != nil:
				return err
			case !same && !d.t.removed(&o, asked):
				d.stay[o.Key] = true
			case !same:
			case isMarker(o.Key):
				last = append(last, o)
			default:
				here = append(here, o)
			}
		}
		return d.remove(ctx, here)
	})
	if err != nil {
		return err
	}
	var kept above
	for k := range d.stay {
		kept.add(k)
	}
	for k := range d.failed {
		kept.add(k)
	}
	last = slices.DeleteFunc(slices.AppendSeq(last, maps.Values(unlisted)), func(o s3client.Object) bool {
		if kept[o.Key] {
			d.stay[o.Key] = true
		}
		return kept[o.Key]
	})
	return d.remove(ctx, last)
}

// above are the markers of the directories that still have something: they stay with it, and some stores would refuse to delete them.
type above map[string]bool

func (a *above) add(key string) {
	if *a == nil {
		*a = make(above)
	}
	for i := range len(key) - 1 {
		if key[i] == '/' {
			(*a)[key[:i+1]] = true
		}
	}
}

// isCopied says whether an object is what was copied, or gone. A listing may be late: where it shows another version HEAD tells.
func (d *deletion) isCopied(ctx context.Context, o *s3client.Object) (bool, error) {
	if known, same := d.copied(o); !known || same {
		return same, nil
	}
	now, err := d.t.o.Store.Head(ctx, o.Bucket, o.Key)
	switch {
	case errors.Is(err, s3client.NotFound):
		return true, nil
	case err != nil:
		return false, err
	}
	now.Key = o.Key
	_, same := d.copied(&now)
	return same, nil
}

// copied says whether some version of an object's key was copied, and whether this one was.
func (d *deletion) copied(o *s3client.Object) (known, same bool) {
	if d.many == nil {
		m := d.held[o.Key]
		return m != nil, m != nil && m.src.ETag == o.ETag
	}
	s := d.sumOf(o)
	_, same = slices.BinarySearchFunc(d.many, s, sum.compare)
	i, _ := slices.BinarySearchFunc(d.many, sum{key: s.key}, sum.compare)
	return i < len(d.many) && d.many[i].key == s.key, same
}

// remove deletes old names, and tells of those that are gone.
func (d *deletion) remove(ctx context.Context, objects []s3client.Object) error {
	keys := make([]string, len(objects))
	for i := range objects {
		keys[i] = objects[i].Key
	}
	failed, err := d.t.deleteKeys(ctx, d.intent.FromBucket, keys, &d.deleted)
	if err != nil {
		return err
	}
	maps.Copy(d.failed, failed)
	for _, o := range objects {
		if failed[o.Key] != nil {
			continue
		}
		to := o
		to.Bucket, to.Key = d.intent.ToBucket, d.newKey(o.Key)
		if m := d.held[o.Key]; m != nil {
			to = m.dst
		}
		d.moved(d.intent.FromBucket, o.Key, to.Bucket, to.Key, to)
	}
	return nil
}

// undo deletes the copies of a rename that failed, also those whose outcome is unknown. The marker of a directory that
// was there before stays.
func (r *dirRename) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	t := r.t
	r.intent.Failed = t.o.Now()
	r.enter(StageUndo)
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
