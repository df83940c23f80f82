package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"pailfs/s3client"
)

// doctorPrefix begins the names of what --write makes, below the prefix that was given.
const doctorPrefix = ".pailfs-doctor-"

// trial is what --write makes in a bucket. All of it is below base, and clean takes all of it away.
type trial struct {
	d       *doctor
	store   s3client.Store
	about   subject
	base    string
	content []byte
	made    bool // something may be there
	uploads []s3client.Upload
}

func (t *trial) key(name string) string { return t.base + name }

// names are all objects that a trial may leave.
func (t *trial) names() []string { return []string{t.key("object"), t.key("copy"), t.key("parts")} }

// checkWriting tries what a mount does to objects, with --write. why is why the store is not asked, "" when it is.
func (d *doctor) checkWriting(ctx context.Context, store s3client.Store, about subject, why string) {
	if !d.write {
		why = "only with --write, which makes small objects and deletes them"
	}
	if why != "" {
		d.skip(why, areaBucket, checkWrite, checkCopy, checkParts, checkDelete)
		return
	}
	t := &trial{d: d, store: store, about: about, base: d.prefix + doctorPrefix + strings.ToLower(rand.Text()[:12]) + "/",
		content: bytes.Repeat([]byte("pailfs doctor\n"), 64)}
	source, ok := t.write(ctx)
	if ok {
		d.ask(areaBucket, checkCopy, func() { t.copy(ctx, source) })
		d.ask(areaBucket, checkParts, func() { t.parts(ctx) })
	} else {
		d.skip(cmp.Or(d.blocked, "nothing could be written"), areaBucket, checkCopy, checkParts)
	}
	if !t.made {
		d.skip("nothing was written", areaBucket, checkDelete)
		return
	}
	t.clean(ctx)
}

// write stores an object and reads it back.
func (t *trial) write(ctx context.Context) (s3client.Object, bool) {
	const name = "pailfs-doctor"
	o, err := t.store.Put(ctx, s3client.PutRequest{Bucket: t.d.bucket, Key: t.key("object"), Body: bytes.NewReader(t.content), Size: int64(len(t.content)),
		Headers: s3client.Headers{ContentType: "text/plain", Meta: map[string]string{name: "1"}}})
	t.made = err == nil || !errors.Is(err, s3client.Denied) // a store that does not answer may have stored it
	if err != nil {
		t.d.refused(areaBucket, checkWrite, t.about, err)
		return o, false
	}
	body, got, err := t.store.Get(ctx, s3client.GetRequest{Bucket: t.d.bucket, Key: o.Key, ETag: o.ETag})
	var content []byte
	if err == nil {
		content, err = io.ReadAll(body)
		err = errors.Join(err, body.Close())
	}
	switch {
	case err != nil:
		t.d.refused(areaBucket, checkWrite, t.about, fmt.Errorf("read back what was written: %w", err))
		return o, false
	case !bytes.Equal(content, t.content):
		t.d.fail(areaBucket, checkWrite, "do not store anything there before its operator knows why", "what is read is not what was written")
		return o, false
	case got.Headers == nil || got.Headers.Meta[name] != "1":
		t.d.warn(areaBucket, checkWrite, "mount with --attributes=basic: mode, owner, times and links will not be kept", "allowed, and read back as written, but the metadata is lost")
	default:
		t.d.found(areaBucket, checkWrite, "allowed, and read back as written, with its metadata")
	}
	return o, true
}

// copy has the store copy it, and finds out whether the copy can be pinned to a version.
func (t *trial) copy(ctx context.Context, source s3client.Object) {
	req := s3client.CopyRequest{SrcBucket: t.d.bucket, SrcKey: source.Key, SrcETag: source.ETag, SrcSize: source.Size, Bucket: t.d.bucket, Key: t.key("copy")}
	if _, err := t.store.Copy(ctx, req); err != nil {
		t.d.refused(areaBucket, checkCopy, t.about, err)
		return
	}
	req.SrcETag = strings.Repeat("0", 32) // a version that there is not
	_, err := t.store.Copy(ctx, req)
	pinned := errors.Is(err, s3client.Changed)
	switch {
	case pinned:
		t.d.capabilities().ConditionalCopy = &pinned
		t.d.found(areaBucket, checkCopy, "allowed, and refused where the source is another version than was asked for")
	case err == nil:
		t.d.capabilities().ConditionalCopy = &pinned
		t.d.warn(areaBucket, checkCopy, "a rename or chmod in the very moment of another host's change may carry its version along", "allowed, but the store ignores the version that was asked for")
	default:
		t.d.refused(areaBucket, checkCopy, t.about, err)
	}
}

// parts uploads an object in one part, and then another in its place that shall only be completed where there is none.
func (t *trial) parts(ctx context.Context) {
	if err := t.upload(ctx, false); err != nil {
		t.d.refused(areaBucket, checkParts, t.about, err)
		return
	}
	err := t.upload(ctx, true)
	guarded := errors.Is(err, s3client.Exists)
	if guarded || err == nil || errors.Is(err, s3client.Unsupported) {
		t.d.capabilities().ConditionalComplete = &guarded
		t.d.found(areaBucket, checkParts, "allowed")
		return
	}
	t.d.refused(areaBucket, checkParts, t.about, err)
}

func (t *trial) upload(ctx context.Context, ifAbsent bool) error {
	bucket, key := t.d.bucket, t.key("parts")
	id, err := t.store.CreateUpload(ctx, bucket, key, s3client.Headers{ContentType: "text/plain"})
	if err != nil {
		return err
	}
	t.uploads = append(t.uploads, s3client.Upload{Key: key, ID: id})
	size := int64(len(t.content))
	part, err := t.store.UploadPart(ctx, s3client.PartRequest{Bucket: bucket, Key: key, UploadID: id, Number: 1, Body: bytes.NewReader(t.content), Size: size})
	if err != nil {
		return err
	}
	_, err = t.store.CompleteUpload(ctx, s3client.CompleteRequest{Bucket: bucket, Key: key, UploadID: id, Parts: []s3client.Part{part}, Size: size, IfAbsent: ifAbsent})
	if err == nil {
		t.uploads = t.uploads[:len(t.uploads)-1]
	}
	return err
}

// clean deletes all that the trial has made, or may have; it goes on when the command was interrupted.
func (t *trial) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*longestProbe)
	defer cancel()
	bucket := t.d.bucket
	var errs []error
	for _, u := range t.uploads {
		if err := t.store.AbortUpload(ctx, bucket, u.Key, u.ID); err != nil && !errors.Is(err, s3client.NotFound) {
			errs = append(errs, err)
		}
	}
	// An upload that was begun twice, because the first answer was lost, is known by the list alone.
	left, err := t.store.Uploads(ctx, bucket, t.base)
	if err != nil && !errors.Is(err, s3client.Denied) && !errors.Is(err, s3client.Unsupported) {
		errs = append(errs, err)
	}
	for _, u := range left {
		if err := t.store.AbortUpload(ctx, bucket, u.Key, u.ID); err != nil && !errors.Is(err, s3client.NotFound) {
			errs = append(errs, err)
		}
	}
	failed, err := t.store.DeleteMany(ctx, bucket, t.names())
	if err != nil {
		errs = append(errs, err)
	}
	for _, f := range failed {
		errs = append(errs, f.Err)
	}
	if len(errs) == 0 {
		if _, err := t.store.Head(ctx, bucket, t.key("object")); !errors.Is(err, s3client.NotFound) {
			errs = append(errs, cmp.Or(err, error(errStillThere)))
		}
	}
	if len(errs) == 0 {
		t.d.found(areaBucket, checkDelete, "allowed; all that was made is deleted")
		return
	}
	f := t.about.storeFailure(errs[0])
	_, why, _ := strings.Cut(f.message, ": ")
	t.d.fail(areaBucket, checkDelete, "delete what lies below this prefix, and abort its uploads, when you can", "%s; what was made may be left: %s/%s",
		cmp.Or(why, f.message), bucket, t.base)
}

var errStillThere = errors.New("an object is still there after it was deleted")
