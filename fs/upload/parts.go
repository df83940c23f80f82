package upload

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"pailfs/s3client"
)

// upload is one multipart upload being carried out by Store or Copy.
//
//	create → parts → complete, then the caller looks at the object
//	   any failure → aborted, or kept by its stream, or undecided
type upload struct {
	u      *Uploader
	to     target
	job    Job
	pieces []Piece
	parts  []s3client.Part // by index of pieces; one with an ETag is there already
	stream *Stream         // whose upload this is; nil for one of our own
	id     string

	// Of an upload that is taken up again (resume.go):
	resumed bool
	have    map[int]s3client.Part // by index of pieces; their bytes are still to be compared
	begun   *s3client.Headers     // those it was begun with; nil: not known
}

func (up *upload) carryOut(ctx context.Context) (s3client.Object, error) {
	if err := up.begin(ctx); err != nil {
		return s3client.Object{}, err
	}
	err := up.sendAll(ctx)
	if err == nil {
		err = up.u.landed(ctx, up.to, up.job.State, up.id)
	}
	if err != nil {
		up.failed(ctx, err)
		return s3client.Object{}, err
	}
	obj, err := up.complete(ctx)
	if err != nil && s3client.KindOf(err) == s3client.NotFound {
		if seen, ok := up.landed(ctx); ok {
			obj, err = seen, nil
		}
	}
	if err != nil {
		up.notCompleted(ctx, err)
		return s3client.Object{}, up.judge(err)
	}
	if up.only() { // the one way back to its bytes: it is forgotten when they were seen to be somewhere else
		if obj, err = up.u.check(ctx, up.to, obj, up.job.Need.Size, true); err != nil {
			up.stream.setUndecided()
			return s3client.Object{}, err
		}
	}
	up.u.ended(up.to, up.id, false)
	if up.stream != nil {
		up.stream.completed(obj)
	}
	if err = up.u.verifyJoined(up.to, obj.ETag, up.parts); err != nil {
		up.job.spoiled(obj.ETag)
	}
	return obj, err
}

func (up *upload) begin(ctx context.Context) (err error) {
	if up.stream != nil {
		up.id, err = up.stream.begin(ctx)
		return err
	}
	if up.resumed {
		return nil
	}
	up.begun = &up.job.Headers
	up.id, err = up.u.create(ctx, up.to, up.job.Headers)
	return err
}

// sendAll sends and copies the parts that are not there yet.
func (up *upload) sendAll(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(up.u.share)
	for i := range up.pieces {
		if up.parts[i].ETag != "" {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		if p := up.pieces[i]; !p.Copy {
			ahead(up.job.Source, p.Off, p.Len)
		}
		g.Go(func() error { return up.sendOne(gctx, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (up *upload) sendOne(ctx context.Context, i int) error {
	if done, err := up.reuse(i); done || err != nil {
		return err
	}
	if err := acquire(ctx, up.u.slots); err != nil {
		return err
	}
	defer release(up.u.slots)
	p := up.pieces[i]
	if up.stream != nil {
		up.stream.sending(p)
	}
	part, err := up.request(ctx, p)
	if up.stream != nil {
		up.stream.sent(p, up.id, part, err)
	}
	if err != nil {
		return fmt.Errorf("part %d of %d: %w", p.Number, len(up.pieces), err)
	}
	up.parts[i] = part
	return nil
}

func (up *upload) request(ctx context.Context, p Piece) (s3client.Part, error) {
	if p.Copy {
		return up.u.copyPart(ctx, up.to, up.id, p, up.job.Base)
	}
	return up.u.sendPart(ctx, up.to, up.id, p, up.job.Source)
}

// sendPart sends a part, once more when the store says that it got other bytes.
func (u *Uploader) sendPart(ctx context.Context, to target, id string, p Piece, src io.ReaderAt) (s3client.Part, error) {
	const op = "PUT Upload Part"
	for try := 1; ; try++ {
		b := u.partBody(src, p)
		noted, doubt := s3client.WithDoubt(ctx)
		part, err := u.o.Store.UploadPart(noted, s3client.PartRequest{Bucket: to.bucket, Key: to.key, UploadID: id,
			Number: p.Number, Body: b, Size: p.Len})
		u.partEnded(to, id, doubt, err)
		if err != nil {
			return part, b.judge(err)
		}
		if part, err = checkPart(op, to, part, p); err != nil {
			return part, err
		}
		if err = b.verify(op, to, part.ETag); err == nil || try == sends {
			return part, err
		}
		u.o.Log.WarnContext(ctx, "part arrived with other bytes; it is sent again", "err", err)
	}
}

func (u *Uploader) copyPart(ctx context.Context, to target, id string, p Piece, base *Base) (s3client.Part, error) {
	noted, doubt := s3client.WithDoubt(ctx)
	part, err := u.o.Store.CopyPart(noted, s3client.CopyPartRequest{Bucket: to.bucket, Key: to.key, UploadID: id,
		Number: p.Number, SrcBucket: base.Bucket, SrcKey: base.Key, SrcETag: base.ETag, Offset: p.Off, Length: p.Len})
	u.partEnded(to, id, doubt, err)
	if err != nil {
		return part, copyFailed(err)
	}
	return checkPart("PUT Upload Part Copy", to, part, p)
}

func checkPart(op string, to target, part s3client.Part, p Piece) (s3client.Part, error) {
	switch {
	case part.ETag == "":
		return part, noETag(op, to)
	case part.Size != 0 && part.Size != p.Len:
		return part, wrongSize(op, to, part.Size, p.Len)
	}
	part.Number, part.Size = p.Number, p.Len
	return part, nil
}

// complete joins the parts. When the caller leaves meanwhile it goes on for a short while: a completion that is broken
// off leaves nobody knowing whether the object is there.
func (up *upload) complete(ctx context.Context) (s3client.Object, error) {
	longer, stop := grace(ctx, graceTimeout)
	defer stop()
	up.u.completes(up.to, up.id)
	if etag, ok := joinedETag(up.parts); ok && up.job.Making != nil {
		up.job.Making(etag)
	}
	obj, err := up.u.o.Store.CompleteUpload(longer, s3client.CompleteRequest{Bucket: up.to.bucket, Key: up.to.key,
		UploadID: up.id, Parts: up.parts, Size: up.job.Need.Size, IfAbsent: up.job.IfAbsent})
	if err != nil && longer.Err() != nil {
		up.u.gaveUp(up.to, up.job.State, up.id)
	}
	if err != nil {
		return obj, err
	}
	if obj.ETag == "" {
		return obj, noETag("POST Complete Multipart Upload", up.to)
	}
	return obj, nil
}

// check looks at what was completed when parts of it were copied: a store may have copied less than it was told to and
// said nothing, and the answer's Size is no proof, for clients fill it in. Parts that were sent need that only where the
// answer tells nothing beside the ETag. It is the completion's ETag that is returned: another one means that somebody
// else has written since.
func (u *Uploader) check(ctx context.Context, to target, obj s3client.Object, size int64, copied bool) (s3client.Object, error) {
	if !copied && obj.Size == size && !obj.Modified.IsZero() {
		return obj, nil
	}
	seen, err := u.o.Store.Head(s3client.Patient(ctx), to.bucket, to.key)
	switch {
	case err != nil:
		return s3client.Object{}, fmt.Errorf("look at the completed object: %w", goneAfterwards(err))
	case seen.ETag != obj.ETag:
		return u.replaced(to, obj, seen, size)
	case seen.Size != size:
		return s3client.Object{}, wrongSize("POST Complete Multipart Upload", to, seen.Size, size)
	}
	obj.Size, obj.Modified, obj.StorageClass = size, seen.Modified, seen.StorageClass
	return obj, nil
}

// replaced is for an object with another ETag than the completion's: one of the same size leaves it open whether this was
// stored as a whole, which is what the completion says.
func (u *Uploader) replaced(to target, obj, seen s3client.Object, size int64) (s3client.Object, error) {
	if seen.Size != size {
		return s3client.Object{}, overwritten(to)
	}
	obj.Size = size
	return obj, nil
}

// failed deals with an upload whose parts could not all be sent. What has arrived is not sent again when the failure was a
// passing one: a stream keeps its upload, and another's is taken up by the next Store of the key.
func (up *upload) failed(ctx context.Context, err error) {
	kind := s3client.KindOf(err)
	passing := (kind == s3client.Temporary || kind == s3client.Throttled) && !errors.Is(err, errAgain)
	switch {
	case up.stream != nil:
	case passing && ctx.Err() == nil && up.some():
		up.u.leaveMine(up.to, up.id, false, up.begun)
	default:
		up.u.abortSoon(ctx, up.to, up.id)
	}
}

// some says whether a part was sent.
func (up *upload) some() bool {
	for i, p := range up.pieces {
		if !p.Copy && up.parts[i].ETag != "" {
			return true
		}
	}
	return false
}

// notCompleted deals with an upload after a completion that did not succeed.
func (up *upload) notCompleted(ctx context.Context, err error) {
	s := up.stream
	switch {
	case !refused(err) && s != nil:
		s.setUndecided()
	case !refused(err):
		up.u.leaveMine(up.to, up.id, true, up.begun)
	case s == nil:
		up.u.abortSoon(ctx, up.to, up.id)
	case s3client.KindOf(err) == s3client.NotFound: // the store has lost it
		s.vanished(up.id)
		up.u.abortSoon(ctx, up.to, up.id)
	case s3client.KindOf(err) == s3client.Invalid && !up.only(): // its parts are not what we think they are
		s.forsake(ctx)
	}
}

// only says whether the upload has bytes that are nowhere else.
func (up *upload) only() bool { return up.stream != nil && up.stream.relied() }

// judge makes a completion's error one that Store tries again on: when the upload was not there any more, and when a
// stream's parts, some of them sent long ago, were not accepted.
func (up *upload) judge(err error) error {
	kind := s3client.KindOf(err)
	if kind == s3client.NotFound || kind == s3client.Invalid && up.stream != nil && !up.only() {
		return again(err)
	}
	return err
}

// create begins a multipart upload. A caller whose context ends leaves at once; a goroutine stays until the store has
// answered, and aborts what came of it.
func (u *Uploader) create(ctx context.Context, to target, h s3client.Headers) (string, error) {
	type answer struct {
		id  string
		err error
	}
	answers := make(chan answer)
	started := u.spawn(func() {
		longer, stop := grace(ctx, graceTimeout)
		defer stop()
		var a answer
		a.id, a.err = u.createNow(longer, to, h)
		select {
		case answers <- a:
		case <-ctx.Done():
			if a.err == nil && a.id != "" {
				u.abortLogged(to, a.id)
			}
		}
	})
	if !started {
		return "", ErrClosed
	}
	select {
	case a := <-answers:
		if a.err == nil && a.id == "" {
			a.err = &s3client.Error{Op: "POST Initiate Multipart Upload", Bucket: to.bucket, Key: to.key,
				Message: "the answer has no upload id"}
		}
		return a.id, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// abortSoon aborts an upload none of whose requests runs any more: at once, or in the background for a caller who has
// left. A failure is logged, and the upload is a leftover of its key.
func (u *Uploader) abortSoon(ctx context.Context, to target, id string) {
	if ctx.Err() != nil && u.spawn(func() { u.abortLogged(to, id) }) {
		return
	}
	u.abortLogged(to, id)
}

func (u *Uploader) abortLogged(to target, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	if err := u.abort(ctx, to, id); err != nil {
		u.cannotAbort(to, id, err)
		u.leaveMine(to, id, false, nil)
	}
}

// abort forgets an upload; one that is gone is fine.
func (u *Uploader) abort(ctx context.Context, to target, id string) error {
	err := u.o.Store.AbortUpload(ctx, to.bucket, to.key, id)
	if err != nil && s3client.KindOf(err) != s3client.NotFound {
		return fmt.Errorf("abort the upload of %s: %w", to, err)
	}
	u.ended(to, id, true)
	return nil
}
