package outbox

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"pailfs/fs/opid"
	"pailfs/s3client"
)

// job is what one worker carries out: one entry, or deletes of one bucket that go in one request.
type job struct {
	entries   []*entry
	ops       []Op // what they said when they began; they are not changed while they run
	check     bool // of one change: ask first what is stored under its key
	checkOnly bool // and then let it go with others
}

// carryOut makes the requests of a job and records what became of its entries.
func (b *Outbox) carryOut(j job) {
	ctx := opid.With(b.ctx, opid.ID{Kind: 'n', N: b.jobs.Add(1)})
	switch {
	case len(j.entries) > 1:
		b.deleteMany(ctx, j)
	case j.check && j.ops[0].Kind == KindPut:
		obj, err := b.checkedPut(ctx, j.entries[0], &j.ops[0])
		b.ended(ctx, j.entries[0], j.ops[0], obj, err)
	case j.check:
		b.checkedDelete(ctx, j)
	default:
		obj, err := b.request(ctx, j.entries[0], &j.ops[0])
		b.ended(ctx, j.entries[0], j.ops[0], obj, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.running--
	b.kickLocked()
}

// request carries one Op out.
func (b *Outbox) request(ctx context.Context, e *entry, op *Op) (s3client.Object, error) {
	switch op.Kind {
	case KindPut:
		return b.put(ctx, e, op)
	case KindHeaders:
		return b.setHeaders(ctx, op)
	}
	err := b.o.Store.Delete(ctx, op.Bucket, op.Key)
	if errors.Is(err, s3client.NotFound) {
		err = nil // it is gone, or its bucket is
	}
	return s3client.Object{}, err
}

func (b *Outbox) put(ctx context.Context, e *entry, op *Op) (s3client.Object, error) {
	obj, err := b.o.Put(ctx, s3client.PutRequest{Bucket: op.Bucket, Key: op.Key, Headers: op.Headers,
		Body: bytes.NewReader(op.Body), Size: int64(len(op.Body))})
	if err != nil && obj.ETag != "" {
		b.spoiled(e, *op, obj.ETag)
	}
	if err != nil {
		return obj, err
	}
	return described(obj, op, int64(len(op.Body))), nil
}

// spoiled makes a running put one that replaces what it has made with other bytes than were sent: that is no other client's version,
// for the next run neither.
func (b *Outbox) spoiled(e *entry, op Op, etag string) {
	if op.ETag == AnyVersion {
		return // it replaces that as well
	}
	op.ETag = etag
	b.turn(e.id())
	data, err := op.encode()
	if err == nil {
		err = b.o.Journal.ReplaceNote(op.Seq, data)
	}
	if err == nil {
		err = b.o.Journal.Sync()
	}
	if err != nil {
		b.o.Log.Warn("the journal does not have what a change has made", "name", op.Bucket+"/"+op.Key, "err", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.etag = etag
	b.endTurnLocked(e.id(), b.now())
}

// setHeaders copies an object onto itself. Copies of large and of multipart objects need more than one Store.Copy. Where
// no version is named, it is the one that is there now.
func (b *Outbox) setHeaders(ctx context.Context, op *Op) (s3client.Object, error) {
	if op.ETag == "" {
		obj, err := b.o.Store.Head(ctx, op.Bucket, op.Key)
		if err != nil {
			return obj, err
		}
		seen := *op
		seen.ETag, seen.Size = obj.ETag, obj.Size
		op = &seen
	}
	copies := b.copyOnce
	if b.o.Copy != nil && (strings.Contains(op.ETag, "-") || op.Size > b.o.Store.Profile().MaxCopy) {
		copies = b.o.Copy
	}
	obj, err := copies(ctx, s3client.Object{Bucket: op.Bucket, Key: op.Key, ETag: op.ETag, Size: op.Size}, op.Bucket, op.Key,
		&op.Headers)
	if errors.Is(err, s3client.Changed) {
		obj, err = b.haveAlready(ctx, op, err)
	}
	if err != nil {
		return obj, err
	}
	return described(obj, op, op.Size), nil
}

// haveAlready looks at an object that is another version than the one that was to get headers. A copy onto itself gives a
// multipart object another ETag on most stores: when the headers are what they should be, it has been carried out by an
// attempt whose answer was lost, or before a crash. Else changed is the answer.
func (b *Outbox) haveAlready(ctx context.Context, op *Op, changed error) (s3client.Object, error) {
	obj, err := b.o.Store.Head(ctx, op.Bucket, op.Key)
	switch {
	case err != nil && !errors.Is(err, s3client.NotFound):
		return obj, err // nobody knows: again later
	case err != nil, obj.Size != op.Size, obj.Headers == nil, len(op.Headers.Meta) == 0,
		!maps.Equal(obj.Headers.Meta, op.Headers.Meta):
		return s3client.Object{}, changed
	}
	return obj, nil
}

func (b *Outbox) copyOnce(ctx context.Context, src s3client.Object, bucket, key string, h *s3client.Headers) (s3client.Object, error) {
	return b.o.Store.Copy(ctx, s3client.CopyRequest{SrcBucket: src.Bucket, SrcKey: src.Key, SrcETag: src.ETag,
		SrcSize: src.Size, Bucket: bucket, Key: key, Headers: h})
}

// described completes an answer by what was sent.
func described(obj s3client.Object, op *Op, size int64) s3client.Object {
	obj.Bucket, obj.Key, obj.Headers, obj.Size = op.Bucket, op.Key, &op.Headers, size
	return obj
}

// checkedDelete deletes an object if it is still the one that was meant. Of a deletion of whatever was there it is what is no newer
// than the deletion, or than what an upload of this mount may have made behind it. Where nothing is, that one is carried out all
// the same, so that who looks for what comes late (fs/late) hears of it.
func (b *Outbox) checkedDelete(ctx context.Context, j job) {
	e, op := j.entries[0], j.ops[0]
	obj, err := b.o.Store.Head(ctx, op.Bucket, op.Key)
	switch {
	case errors.Is(err, s3client.NotFound) && op.ETag != "":
		err = nil
	case err != nil && !errors.Is(err, s3client.NotFound):
	case err == nil && op.ETag != "" && obj.ETag != op.ETag:
		err = &s3client.Error{Op: "HEAD Object", Bucket: op.Bucket, Key: op.Key, Kind: s3client.Changed, Err: fmt.Errorf(
			"version %s was deleted here, version %s is stored now", op.ETag, obj.ETag)}
	case err == nil && op.ETag == "" && isNewer(&obj, &op):
		err = newer(&obj, &op)
	case j.checkOnly:
		b.checked(e)
		return
	default:
		_, err = b.request(ctx, e, &op)
	}
	b.ended(ctx, e, op, s3client.Object{}, err)
}

// clockSlack is how far the store's clock may be from ours, its rounding to whole seconds included.
const clockSlack = 5 * time.Second

// checkedPut stores what an earlier run was to store, unless it has done so, or somebody has stored another object since.
// What was there before is replaced: whoever made the change saw it.
func (b *Outbox) checkedPut(ctx context.Context, e *entry, op *Op) (s3client.Object, error) {
	obj, err := b.o.Store.Head(ctx, op.Bucket, op.Key)
	switch {
	case errors.Is(err, s3client.NotFound):
	case err != nil:
		return obj, err
	case isPutOf(&obj, op), b.madeBehind(e, &obj):
		return obj, nil
	case obj.ETag != op.ETag && isNewer(&obj, op):
		return obj, newer(&obj, op)
	}
	return b.put(ctx, e, op)
}

// isNewer says whether an object was stored after a change was made, and after what the change waits for may have made it.
func isNewer(obj *s3client.Object, op *Op) bool {
	last := op.Time
	if op.After.After(last) {
		last = op.After
	}
	return obj.Modified.After(last.Add(clockSlack))
}

func newer(obj *s3client.Object, op *Op) error {
	return &s3client.Error{Op: "HEAD Object", Bucket: op.Bucket, Key: op.Key, Kind: s3client.Changed, Err: fmt.Errorf(
		"version %s was stored there at %s, after this change", obj.ETag, obj.Modified.UTC().Format(time.RFC3339))}
}

// madeBehind says whether an object is what a later change of the key makes: that run had come further.
func (b *Outbox) madeBehind(e *entry, obj *s3client.Object) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e = e.next; e != nil; e = e.next {
		if op := e.op(); op.Kind == KindPut && isPutOf(obj, &op) {
			return true
		}
	}
	return false
}

// isPutOf says whether an object is what a put stores.
func isPutOf(obj *s3client.Object, op *Op) bool {
	sum := md5.Sum(op.Body)
	return obj.ETag == hex.EncodeToString(sum[:]) && obj.Headers != nil && maps.Equal(obj.Headers.Meta, op.Headers.Meta)
}

// deleteMany deletes the keys of a job by one request. A store that has no such call is not asked again.
func (b *Outbox) deleteMany(ctx context.Context, j job) {
	keys := make([]string, len(j.ops))
	for i := range j.ops {
		keys[i] = j.ops[i].Key
	}
	bucket := j.ops[0].Bucket
	refused, err := b.o.Store.DeleteMany(ctx, bucket, keys)
	switch {
	case errors.Is(err, s3client.NotFound):
		err = nil // the bucket is gone
	case errors.Is(err, s3client.Unsupported):
		b.o.Log.InfoContext(ctx, "the store does not delete many objects at once: they go one by one", "bucket", bucket, "err", err)
		b.oneByOne(j)
		return
	}
	if err != nil {
		b.failedTogether(ctx, j, err)
		return
	}
	failed := make(map[string]error, len(refused))
	for _, r := range refused {
		if !errors.Is(r.Err, s3client.NotFound) {
			failed[r.Key] = r.Err
		}
	}
	for i, e := range j.entries {
		err := failed[e.key]
		if err != nil {
			b.alone(e)
		}
		b.ended(ctx, e, j.ops[i], s3client.Object{}, err)
	}
}
