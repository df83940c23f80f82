package upload

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pailfs/s3client"
)

// Copy copies an object inside the store, whatever its size: by CopyObject up to MaxCopy, in parts beyond. The source is
// pinned by src.ETag (Changed when it is another version by now). Headers h replace the source's; nil keeps them. Before
// Copy returns, a HEAD has shown that the copy is there and has the source's size, so that a caller may delete the
// source; the HEAD's Object is what it returns.
func (u *Uploader) Copy(ctx context.Context, src s3client.Object, bucket, key string, h *s3client.Headers) (s3client.Object, error) {
	to := target{bucket, key}
	err := u.landed(ctx, to, "", "")
	var obj s3client.Object
	if err == nil {
		obj, err = u.copy(ctx, src, to, h)
	}
	if err != nil {
		return s3client.Object{}, fmt.Errorf("copy %s/%s to %s: %w", src.Bucket, src.Key, to, err)
	}
	u.decide(ctx, to)
	return obj, nil
}

func (u *Uploader) copy(ctx context.Context, src s3client.Object, to target, h *s3client.Headers) (s3client.Object, error) {
	src, err := u.known(ctx, src, h)
	if err != nil {
		return s3client.Object{}, err
	}
	if src.Size <= u.o.Limits.MaxCopy {
		return u.copyObject(ctx, src, to, h)
	}
	if h == nil {
		h = src.Headers
	}
	n, err := Need{Size: src.Size, Base: src.Size}.normal()
	if err != nil {
		return s3client.Object{}, err
	}
	plan, err := planParts(n, u.o.Limits)
	if err != nil {
		return s3client.Object{}, err
	}
	if plan.sent() > 0 { // there is no Source to send from
		return s3client.Object{}, &s3client.Error{Op: "plan copy", Bucket: src.Bucket, Key: src.Key, Kind: s3client.TooLarge,
			Message: fmt.Sprintf("%d bytes need more than %d copied parts", src.Size, u.o.Limits.MaxParts)}
	}
	return u.copyParts(ctx, src, to, *h, plan.Pieces)
}

// known completes what a caller knows of the source: its version, and for a copy in parts its headers, which the new
// object gets only when they are sent.
func (u *Uploader) known(ctx context.Context, src s3client.Object, h *s3client.Headers) (s3client.Object, error) {
	inParts := src.Size > u.o.Limits.MaxCopy
	if src.ETag != "" && (!inParts || h != nil || src.Headers != nil) {
		return src, nil
	}
	seen, err := u.o.Store.Head(s3client.Patient(ctx), src.Bucket, src.Key)
	if err != nil {
		return src, err
	}
	if src.ETag != "" && seen.ETag != src.ETag {
		return src, &s3client.Error{Op: "HEAD Object", Bucket: src.Bucket, Key: src.Key, Kind: s3client.Changed}
	}
	if seen.Headers == nil {
		seen.Headers = &s3client.Headers{}
	}
	seen.Bucket, seen.Key = src.Bucket, src.Key
	return seen, nil
}

// copyObject copies by one request and looks at what came of it: the object's ETag need not be the answer's (Swift), and
// its size is in no answer.
func (u *Uploader) copyObject(ctx context.Context, src s3client.Object, to target, h *s3client.Headers) (s3client.Object, error) {
	etag, err := u.requestCopy(ctx, src, to, h)
	if err != nil {
		return s3client.Object{}, err
	}
	if strings.Contains(src.ETag, "-") {
		etag = "" // on Swift the answer's is not the object's
	}
	return u.look(ctx, "PUT Object Copy", to, src.Size, etag)
}

// requestCopy gives the answer's ETag.
func (u *Uploader) requestCopy(ctx context.Context, src s3client.Object, to target, h *s3client.Headers) (string, error) {
	if err := acquire(ctx, u.slots); err != nil {
		return "", err
	}
	defer release(u.slots)
	obj, err := u.o.Store.Copy(ctx, s3client.CopyRequest{SrcBucket: src.Bucket, SrcKey: src.Key, SrcETag: src.ETag,
		SrcSize: src.Size, Bucket: to.bucket, Key: to.key, Headers: h})
	if err == nil && obj.ETag == "" {
		err = noETag("PUT Object Copy", to)
	}
	return obj.ETag, err
}

func (u *Uploader) copyParts(ctx context.Context, src s3client.Object, to target, h s3client.Headers, pieces []Piece) (s3client.Object, error) {
	j := Job{Bucket: to.bucket, Key: to.key, Headers: h, Need: Need{Size: src.Size},
		Base: &Base{Bucket: src.Bucket, Key: src.Key, ETag: src.ETag, Size: src.Size}}
	for try := 1; ; try++ {
		up := &upload{u: u, to: to, job: j, pieces: pieces, parts: make([]s3client.Part, len(pieces))}
		obj, err := up.carryOut(ctx)
		if err == nil {
			return u.look(ctx, "POST Complete Multipart Upload", to, src.Size, obj.ETag)
		}
		if !errors.Is(err, errAgain) || try == maxTries || ctx.Err() != nil {
			return s3client.Object{}, err
		}
	}
}

// look reads what a copy has made. On some stores that has the source's ETag, on others its own; etag is the one that it was
// answered to have, "" where that says nothing: a wrong size under another ETag is somebody else's object.
func (u *Uploader) look(ctx context.Context, op string, to target, size int64, etag string) (s3client.Object, error) {
	seen, err := u.o.Store.Head(s3client.Patient(ctx), to.bucket, to.key)
	switch {
	case err != nil:
		return seen, fmt.Errorf("look at the copy: %w", goneAfterwards(err))
	case seen.ETag == "":
		return seen, noETag("HEAD Object", to)
	case seen.Size != size && etag != "" && seen.ETag != etag:
		return seen, overwritten(to)
	case seen.Size != size:
		return seen, wrongSize(op, to, seen.Size, size)
	}
	seen.Bucket, seen.Key = to.bucket, to.key
	return seen, nil
}
