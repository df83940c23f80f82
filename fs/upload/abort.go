package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pailfs/s3client"
)

// AbortLeft aborts what an earlier run left and keep does not want (nil: wants nothing), and ends its registration. What a
// Store has taken up meanwhile is not touched. An upload whose completion the dead process had begun may have become the
// object, or may be becoming it: AbortLeft waits until that is decided, two minutes from New at the most, and leaves an
// upload alone that the object consists of. For an upload without id the key's uploads are listed, and those begun within
// 5 s before and two minutes after Begun are aborted, but for this run's; of a key that two hosts write at the same moment
// that may be the other's. So long a creation may be on its way to the store: AbortLeft looks again then. The error joins those of the uploads that are left; they stay registered.
func (u *Uploader) AbortLeft(ctx context.Context, left []Left, keep func(Left) bool) (aborted int, err error) {
	var errs []error
	var again []Left
	for _, l := range left {
		if l.ID == "" && time.Now().Before(u.windowEnd(l)) {
			again = append(again, l)
		}
	}
	for _, completing := range []bool{false, true} { // those that need no wait first
		for _, l := range left {
			if l.Completing != completing || keep != nil && keep(l) {
				continue
			}
			o, ok := u.claim(l)
			if !ok {
				continue
			}
			n, err := u.abortEarlier(ctx, o)
			aborted += n
			if err != nil {
				u.leave(o)
				errs = append(errs, err)
			}
		}
	}
	for _, l := range again {
		if err := sleepUntil(ctx, u.windowEnd(l)); err != nil {
			return aborted, errors.Join(append(errs, fmt.Errorf("wait for uploads of %s/%s: %w", l.Bucket, l.Key, err))...)
		}
		if keep != nil && keep(l) {
			continue
		}
		o, ok := u.claim(l)
		if !ok {
			continue
		}
		n, err := u.abortLeftover(ctx, o)
		aborted += n
		if err != nil {
			u.leave(o)
			errs = append(errs, err)
		}
	}
	return aborted, errors.Join(errs...)
}

func (u *Uploader) abortEarlier(ctx context.Context, l leftover) (int, error) {
	if l.ID == "" || !l.Completing || u.joinsAtOnce() {
		return u.abortLeftover(ctx, l)
	}
	if err := sleepUntil(ctx, u.born.Add(joinWindow)); err != nil {
		return 0, fmt.Errorf("abort the upload of %s: %w", l.target(), err)
	}
	switch is, err := u.isObject(ctx, l.target(), l.ID); {
	case err != nil:
		return 0, err
	case is:
		u.leave(l)
		u.o.Log.InfoContext(ctx, "multipart upload is left alone: the object consists of its parts", "bucket", l.Bucket, "key", l.Key,
			"upload", l.ID)
		return 0, nil
	}
	return u.abortLeftover(ctx, l)
}

func sleepUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// abortLeftover aborts an upload and ends its account, whatever may have come of it. One without id that the store may not
// have got yet is left once more.
func (u *Uploader) abortLeftover(ctx context.Context, l leftover) (n int, err error) {
	late := l.ID == "" && l.earlier && time.Now().Before(u.windowEnd(l.Left))
	switch {
	case late && l.swept:
		u.leave(l)
		return 0, nil
	case l.ID == "":
		until := l.until.Add(clockSlack)
		if l.until.IsZero() {
			until = l.Begun.Add(createWindow)
		}
		if n, err = u.sweep(ctx, l.target(), l.Begun.Add(-clockSlack), until); err != nil {
			return n, err
		}
		if late {
			l.swept = true
			u.leave(l)
			return n, nil
		}
	default:
		err := u.o.Store.AbortUpload(ctx, l.Bucket, l.Key, l.ID)
		switch {
		case err == nil:
			n = 1
		case s3client.KindOf(err) != s3client.NotFound:
			return 0, fmt.Errorf("abort the upload of %s: %w", l.target(), err)
		}
		if l.account().late {
			u.lookAgain(l.target(), l.ID, l.accounts...)
			return n, nil
		}
	}
	u.closeAccount(l.target(), l.ID, l.accounts...)
	return n, nil
}

// sweep aborts a key's uploads that were begun within a time and are not known to this run.
func (u *Uploader) sweep(ctx context.Context, to target, from, until time.Time) (n int, err error) {
	return u.abortListed(ctx, to.bucket, to.key, func(up s3client.Upload) bool {
		return up.Key == to.key && !up.Initiated.Before(from) && !up.Initiated.After(until)
	})
}

// AbortOld aborts a bucket's uploads under a prefix that were begun before a time and are not known, neither to the caller
// (nil: knows none) nor to this run. It cannot tell whose they are: another host's upload may take that long. An upload
// that the key's object consists of is left alone.
func (u *Uploader) AbortOld(ctx context.Context, bucket, prefix string, olderThan time.Time, known func(id string) bool) (aborted int, err error) {
	return u.abortListed(ctx, bucket, prefix, func(up s3client.Upload) bool {
		return strings.HasPrefix(up.Key, prefix) && !up.Initiated.IsZero() && up.Initiated.Before(olderThan) &&
			(known == nil || !known(up.ID))
	})
}

func (u *Uploader) abortListed(ctx context.Context, bucket, prefix string, want func(s3client.Upload) bool) (n int, err error) {
	ups, err := u.o.Store.Uploads(ctx, bucket, prefix)
	if err != nil {
		if s3client.KindOf(err) == s3client.NotFound { // the bucket is gone, and they with it
			return 0, nil
		}
		return 0, fmt.Errorf("list the uploads of %s/%s: %w", bucket, prefix, err)
	}
	var errs []error
	for _, up := range ups {
		to := target{bucket, up.Key}
		if !want(up) {
			continue
		}
		if err := u.allCreated(ctx, to); err != nil {
			return n, errors.Join(append(errs, err)...)
		}
		if u.knows(to, up.ID) {
			continue
		}
		is, err := u.isObject(ctx, to, up.ID)
		if err == nil && !is {
			err = u.o.Store.AbortUpload(ctx, bucket, up.Key, up.ID)
		}
		switch {
		case err == nil && !is:
			n++
		case err != nil && s3client.KindOf(err) != s3client.NotFound:
			errs = append(errs, fmt.Errorf("abort the upload of %s: %w", to, err))
		}
	}
	return n, errors.Join(errs...)
}

// knows says whether an upload is one of ours, at work or left.
func (u *Uploader) knows(to target, id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, mine := u.mu.mine[uploadID{to, id}]
	return mine || slices.ContainsFunc(u.mu.left[to], func(l leftover) bool { return l.ID == id })
}

// joinsAtOnce says that an upload that the store lists is surely not the object, nor is it becoming that.
func (u *Uploader) joinsAtOnce() bool {
	switch u.o.Store.Profile().Name {
	case "aws", "minio", "ceph":
		return true
	}
	return false
}

// isObject says whether a key's object consists of the parts of an upload that the store still lists: Swift, which
// deletes its note of the upload last, would take the object's segments away with the upload. One with the same parts as
// the object's is taken for it, too.
func (u *Uploader) isObject(ctx context.Context, to target, id string) (bool, error) {
	if u.joinsAtOnce() {
		return false, nil
	}
	parts, err := u.o.Store.Parts(ctx, to.bucket, to.key, id)
	if err != nil || len(parts) == 0 {
		if s3client.KindOf(err) == s3client.NotFound {
			err = nil
		}
		return false, asking(to, err)
	}
	obj, err := u.o.Store.Head(ctx, to.bucket, to.key)
	if err != nil {
		if s3client.KindOf(err) == s3client.NotFound {
			err = nil
		}
		return false, asking(to, err)
	}
	if want, ok := joinedETag(parts); ok {
		return obj.ETag == want, nil
	}
	size := int64(0)
	for _, p := range parts {
		size += p.Size
	}
	return obj.Size == size && strings.HasSuffix(obj.ETag, fmt.Sprintf("-%d", len(parts))), nil
}

func asking(to target, err error) error {
	if err != nil {
		return fmt.Errorf("look what became of an upload of %s: %w", to, err)
	}
	return nil
}
