package wired

import (
	"context"
	"errors"

	"pailfs/cache"
	"pailfs/fs/content"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

// The rooms know each other through the funcs here.

// uploadHeaders gives content the attributes that travel with an upload.
func (r *Rooms) uploadHeaders(ctx context.Context, id content.ID, streaming bool) (s3client.Headers, error) {
	return r.Tree.UploadHeaders(ctx, id.Bucket, id.Key, streaming)
}

func (r *Rooms) outdated(v cache.Version) { r.Tree.Outdated(v.Bucket, v.Key, v.ETag) }

// lost tells tree that a file has no name any more: what the name is now only the store knows.
func (r *Rooms) lost(id content.ID) {
	if p, ok := r.Tree.PathOf(id.Bucket, id.Key); ok {
		r.Tree.Discard(p)
	}
}

// stored tells tree what content has stored.
func (r *Rooms) stored(id content.ID, o s3client.Object) {
	r.o.seam("stored", id.Key)
	r.Tree.Stored(id.Bucket, id.Key, o)
	r.o.seam("told", id.Key)
}

// later takes tree's small changes; nil when they go to the store at once. The outbox is opened after tree, of which it
// speaks, and before the mount, so that no call comes too early.
func (r *Rooms) later() tree.Later {
	if !r.o.Behind {
		return nil
	}
	return laterChanges{r}
}

type laterChanges struct{ r *Rooms }

func (l laterChanges) Delete(ctx context.Context, bucket, key, etag string) (uint64, error) {
	if at := l.r.Uploader.MayLand(bucket, key); !at.IsZero() {
		return l.r.Outbox.DeleteAfter(ctx, bucket, key, at)
	}
	if l.r.Files.Uncertain(content.ID{Bucket: bucket, Key: key}) {
		etag = "" // an upload had no answer: which version is there is not known, but it is this mount's
	}
	return l.r.Outbox.Delete(ctx, bucket, key, etag)
}

func (l laterChanges) Put(ctx context.Context, bucket, key string, h s3client.Headers, body []byte) (uint64, error) {
	return l.r.Outbox.Put(ctx, bucket, key, h, body)
}

func (l laterChanges) SetHeaders(ctx context.Context, src s3client.Object, h s3client.Headers) (uint64, error) {
	return l.r.Outbox.SetHeaders(ctx, src, h)
}

func (l laterChanges) Drain(ctx context.Context, bucket, prefix string) error {
	return l.r.drainNames(ctx, bucket, prefix)
}

// drainNames carries out what waits for the names under a prefix: also in store durability, where an earlier run may have left
// something.
func (r *Rooms) drainNames(ctx context.Context, bucket, prefix string) error {
	if r.Outbox == nil {
		return nil
	}
	err := r.Outbox.Drain(ctx, bucket, prefix)
	if errors.Is(err, outbox.ErrGivenUp) { // it is settled and told: who has names drained is about to look what is there now
		err = r.Outbox.Drain(ctx, bucket, prefix)
	}
	return err
}

// finishName carries out what waits for one name.
func (r *Rooms) finishName(ctx context.Context, bucket, key string) error {
	if r.Outbox == nil {
		return nil
	}
	return r.Outbox.Finish(ctx, bucket, key)
}

// holdName keeps the name of a file that is committed in the background. Before there is a mount nobody renames.
func (r *Rooms) holdName(ctx context.Context, id content.ID) (release func(), err error) {
	r.o.seam("hold", id.Key)
	if s := r.face.Load(); s != nil {
		return s.Hold(ctx, id)
	}
	return func() {}, nil
}

// holdKey keeps changes of the name of a file away from the store while the file is stored.
func (r *Rooms) holdKey(ctx context.Context, id content.ID) (done func(stored bool), err error) {
	r.o.seam("guard", id.Key)
	if r.Outbox == nil {
		return func(bool) {}, nil
	}
	// The name may have been a directory's: stores over a file system refuse a file beside its marker.
	if err := r.Outbox.Finish(ctx, id.Bucket, id.Key+"/"); err != nil {
		r.o.Log.Debug("a former directory's marker is still there", "object", id.String(), "err", err)
	}
	return r.Outbox.Hold(ctx, id.Bucket, id.Key)
}

// rewriting is the change of an object's attributes that may have been carried out without an answer.
func (r *Rooms) rewriting(id content.ID) (etag string, h s3client.Headers, ok bool) {
	if r.Outbox == nil {
		return "", h, false
	}
	op, ok := r.Outbox.Rewriting(id.Bucket, id.Key)
	return op.ETag, op.Headers, ok
}

// settled tells content and tree what became of a change.
func (r *Rooms) settled(d outbox.Done) {
	if d.Err == nil && d.Op.Kind == outbox.KindHeaders && d.Object.ETag != d.Op.ETag {
		id := content.ID{Bucket: d.Op.Bucket, Key: d.Op.Key}
		if s := r.face.Load(); s != nil {
			s.Rewritten(id, d.Object)
		} else {
			r.Files.Moved(id, id, d.Object)
		}
	}
	r.Tree.Settled(d.Op.Bucket, d.Op.Key, d.Op.Seq, d.Object, d.Err)
}
