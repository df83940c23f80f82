package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"pailfs/s3client"
)

// The checks of a bucket.
const (
	checkList    = "list"
	checkRead    = "read"
	checkRegion  = "region"
	checkUploads = "uploads"
	checkWrite   = "write"
	checkCopy    = "copy"
	checkParts   = "multipart"
	checkDelete  = "delete"
	checkKeys    = "keys"
)

// checkBucket asks what these credentials may do in the bucket. store is nil where it could not be opened.
func (d *doctor) checkBucket(ctx context.Context, store s3client.Store, about subject) {
	if d.bucket == "" {
		return
	}
	about.cannot = "check it"
	first := d.checkList(ctx, store, about)
	if first == nil {
		why := cmp.Or(d.blocked, "the bucket cannot be listed")
		d.skip(why, areaBucket, checkRead, checkRegion, checkUploads, checkKeys)
		d.checkWriting(ctx, store, about, why)
		return
	}
	d.ask(areaBucket, checkRead, func() { d.checkRead(ctx, store, about, first) })
	d.ask(areaBucket, checkRegion, func() { d.checkRegion(ctx, store, about) })
	d.ask(areaBucket, checkUploads, func() { d.checkUploads(ctx, store, about) })
	d.ask(areaBucket, checkKeys, func() { d.sampleKeys(ctx, store, about) })
	d.checkWriting(ctx, store, about, d.blocked)
}

// ask makes a check, unless the store is not asked any more.
func (d *doctor) ask(area, check string, f func()) {
	if d.blocked != "" {
		d.skip(d.blocked, area, check)
		return
	}
	f()
}

// checkList gives the first page of the bucket, nil without one.
func (d *doctor) checkList(ctx context.Context, store s3client.Store, about subject) *s3client.ListPage {
	if d.blocked != "" {
		d.skip(d.blocked, areaBucket, checkList)
		return nil
	}
	p, err := store.List(ctx, s3client.ListRequest{Bucket: d.bucket, Prefix: d.prefix, Max: 100})
	if err != nil {
		d.refused(areaBucket, checkList, about, err)
		return nil
	}
	if len(p.Objects) == 0 {
		what := "is empty"
		if d.prefix != "" {
			what = "has nothing below " + shown(d.prefix)
		}
		d.found(areaBucket, checkList, "allowed; %s %s", shown(d.bucket), what)
	} else {
		d.found(areaBucket, checkList, "allowed")
	}
	return &p
}

// checkRead reads the attributes of the first object, and a byte where there is one.
func (d *doctor) checkRead(ctx context.Context, store s3client.Store, about subject, p *s3client.ListPage) {
	if len(p.Objects) == 0 {
		d.skip("there is nothing to read", areaBucket, checkRead)
		return
	}
	o := p.Objects[0]
	for _, with := range p.Objects {
		if with.Size > 0 {
			o = with
			break
		}
	}
	head, err := store.Head(ctx, d.bucket, o.Key)
	if err == nil && head.Size > 0 {
		err = readByte(ctx, store, head)
	}
	switch {
	case errors.Is(err, s3client.NotFound), errors.Is(err, s3client.Changed):
		d.skip("the object was changed meanwhile; try again", areaBucket, checkRead)
	case errors.Is(err, s3client.Invalid): // a key that no request can name
		d.skip("the first object has a key that cannot be asked for: "+shown(o.Key), areaBucket, checkRead)
	case err != nil:
		d.refused(areaBucket, checkRead, about, err)
	default:
		d.found(areaBucket, checkRead, "allowed: the attributes and the first byte of an object")
	}
}

func readByte(ctx context.Context, store s3client.Store, o s3client.Object) error {
	body, _, err := store.Get(ctx, s3client.GetRequest{Bucket: o.Bucket, Key: o.Key, ETag: o.ETag, Length: 1})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}

func (d *doctor) checkRegion(ctx context.Context, store s3client.Store, about subject) {
	where, err := store.BucketLocation(ctx, d.bucket)
	signed := store.Profile().Region
	switch {
	case errors.Is(err, s3client.Denied), errors.Is(err, s3client.Unsupported):
		d.skip("the store does not tell these credentials: "+err.Error(), areaBucket, checkRegion)
	case err != nil:
		d.refused(areaBucket, checkRegion, about, err)
	case where == "" || strings.EqualFold(where, signed):
		d.found(areaBucket, checkRegion, "%s, as requests are signed", shown(signed))
	default:
		d.warn(areaBucket, checkRegion, "--region "+where, "the bucket is in %s, and requests are signed for %s", shown(where), shown(signed))
	}
}

// checkUploads looks for uploads that nobody has completed: their parts are paid for.
func (d *doctor) checkUploads(ctx context.Context, store s3client.Store, about subject) {
	uploads, err := store.Uploads(ctx, d.bucket, d.prefix)
	switch {
	case errors.Is(err, s3client.Denied), errors.Is(err, s3client.Unsupported):
		d.warn(areaBucket, checkUploads, "allow ListBucketMultipartUploads and AbortMultipartUpload: what a crash leaves unfinished costs storage",
			"unfinished uploads cannot be listed: %v", err)
		return
	case err != nil:
		d.refused(areaBucket, checkUploads, about, err)
		return
	}
	old, oldest := 0, d.now()
	for _, u := range uploads {
		if d.now().Sub(u.Initiated) > 24*time.Hour {
			old++
		}
		if u.Initiated.Before(oldest) {
			oldest = u.Initiated
		}
	}
	switch {
	case old > 0:
		d.warn(areaBucket, checkUploads, "`pailfs uploads abort "+d.bucket+"` aborts those older than a day",
			"%d unfinished, the oldest begun %s ago: they cost storage", len(uploads), shortTime(d.now().Sub(oldest)))
	case len(uploads) > 0:
		d.found(areaBucket, checkUploads, "%d unfinished, none older than a day", len(uploads))
	default:
		d.found(areaBucket, checkUploads, "none unfinished")
	}
}

// sampleKeys looks for objects that a mount does not show among the first of the bucket.
func (d *doctor) sampleKeys(ctx context.Context, store s3client.Store, about subject) {
	const (
		pages = 10 // 10,000 keys, half a second
		lines = 10
	)
	var hidden []string
	n, err := survey(ctx, store, d.bucket, d.prefix, pages, func(u unseen) error {
		hidden = append(hidden, u.line())
		return nil
	}, nil)
	if err != nil {
		d.refused(areaBucket, checkKeys, about, err)
		return
	}
	f := finding{Area: areaBucket, Check: checkKeys, State: isOK, Says: objects(n.Keys) + ", all shown by a mount"}
	if n.More {
		f.Says = fmt.Sprintf("the first %s are all shown by a mount; --keys looks at the others as well", objects(n.Keys))
	}
	if len(hidden) > 0 {
		f.State, f.More = isWarning, firstOf(hidden, lines)
		first := ""
		if n.More {
			first = "the first "
		}
		f.Says = fmt.Sprintf("%d of %s%s not shown by a mount:", len(hidden), first, objects(n.Keys))
		f.Do = "copy them to keys that are paths, with another S3 tool; `pailfs doctor --keys " + d.bucket + "` lists all of them"
	}
	d.add(f)
}
