package upload

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pailfs/s3client"
)

// takeUp looks for an interrupted upload of the key whose parts can be used. found is the object where one of them turns
// out to have been completed. A failure to look is no failure of the Store: it sends everything then.
func (up *upload) takeUp(ctx context.Context) (found *s3client.Object, err error) {
	u := up.u
	left := u.resumable(up.to, *up.job.resume)
	*up.job.resume = nil // they are leftovers from here on
	var aside []leftover
	defer func() { u.leave(aside...) }()
	for i, l := range slices.Backward(left) { // the newest first
		if l.ID == "" {
			aside = append(aside, l)
			continue
		}
		parts, err := u.o.Store.Parts(ctx, up.to.bucket, up.to.key, l.ID)
		switch {
		case ctx.Err() != nil:
			aside = append(aside, left[:i+1]...)
			return nil, context.Cause(ctx)
		case s3client.KindOf(err) == s3client.NotFound:
			if l.account().late {
				u.lookAgain(up.to, l.ID, l.accounts...)
			} else {
				u.closeAccount(up.to, l.ID, l.accounts...)
			}
			if found == nil && l.Completing {
				if found, err = up.completedEarlier(ctx); err != nil {
					aside = append(aside, left[:i]...)
					return nil, err
				}
			}
			continue
		case err != nil:
			u.o.Log.InfoContext(ctx, "cannot look what an upload has; it begins anew", "bucket", up.to.bucket, "key", up.to.key,
				"upload", l.ID, "err", err)
		default:
			if have := fitting(up.pieces, parts); have != nil && up.have == nil && found == nil {
				up.id, up.have, up.begun, up.resumed = l.ID, have, l.headers, true
				u.setMine(up.to, l.ID, l.account())
				continue
			}
		}
		aside = append(aside, l)
	}
	return found, nil
}

// resumable takes the key's leftovers, and the ids that a caller knows.
func (u *Uploader) resumable(to target, ids []string) []leftover {
	left := u.takeLeft(to)
	for _, id := range slices.Backward(ids) {
		u.mu.Lock()
		_, mine := u.mu.mine[uploadID{to, id}]
		u.mu.Unlock()
		if !mine && !slices.ContainsFunc(left, func(l leftover) bool { return l.ID == id }) {
			// Nobody knows how far it came.
			left = slices.Insert(left, 0, leftover{Left: Left{Bucket: to.bucket, Key: to.key, ID: id, Completing: true}})
		}
	}
	return left
}

// fitting are the parts that may be used, by the index of their piece: sent ones of the right size, whose bytes are still
// to be compared. Nil when there is none, or when the upload has parts that the plan does not name: those could not be
// named at completion, and Swift would keep them for ever.
func fitting(pieces []Piece, parts []s3client.Part) map[int]s3client.Part {
	have := make(map[int]s3client.Part)
	for _, p := range parts {
		i := p.Number - 1
		if i < 0 || i >= len(pieces) {
			return nil
		}
		if !pieces[i].Copy && p.Size == pieces[i].Len && isMD5(p.ETag) {
			have[i] = p
		}
	}
	if len(have) == 0 {
		return nil
	}
	return have
}

// reuse takes over a part that the resumed upload has already, if it has the bytes that are to be stored now.
func (up *upload) reuse(i int) (bool, error) {
	part, ok := up.have[i]
	if !ok {
		return false, nil
	}
	p := up.pieces[i]
	sum, err := sumOf(up.job.Source, p.Off, p.Len)
	if err != nil || !strings.EqualFold(sum, part.ETag) {
		return false, err
	}
	up.parts[i] = s3client.Part{Number: p.Number, ETag: part.ETag, Size: p.Len}
	return true, nil
}

// completedEarlier looks whether the key's object is what is to be stored: a completion that nobody heard the answer of
// has succeeded then. Copied pieces cannot be told, for their bytes are not here.
func (up *upload) completedEarlier(ctx context.Context) (*s3client.Object, error) {
	if (Plan{Pieces: up.pieces}).copies() {
		return nil, nil
	}
	seen, err := up.u.o.Store.Head(s3client.Patient(ctx), up.to.bucket, up.to.key)
	switch {
	case s3client.KindOf(err) == s3client.NotFound:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look what became of an upload: %w", err)
	case seen.Size != up.job.Need.Size || !strings.HasSuffix(seen.ETag, fmt.Sprintf("-%d", len(up.pieces))):
		return nil, nil
	}
	parts := make([]s3client.Part, len(up.pieces))
	for i, p := range up.pieces {
		sum, err := sumOf(up.job.Source, p.Off, p.Len)
		if err != nil {
			return nil, err
		}
		parts[i] = s3client.Part{Number: p.Number, ETag: sum}
	}
	if want, _ := joinedETag(parts); want != seen.ETag {
		return nil, nil
	}
	return &seen, nil
}

// landed looks, when the store does not know an upload that is to be completed, whether it has become the object already:
// an earlier completion of it that was not answered.
func (up *upload) landed(ctx context.Context) (s3client.Object, bool) {
	want, ok := joinedETag(up.parts)
	if !ok {
		return s3client.Object{}, false
	}
	seen, err := up.u.o.Store.Head(s3client.Patient(ctx), up.to.bucket, up.to.key)
	if err != nil {
		up.u.o.Log.DebugContext(ctx, "cannot look what became of an upload", "bucket", up.to.bucket, "key", up.to.key, "err", err)
		return s3client.Object{}, false
	}
	if seen.ETag != want || seen.Size != up.job.Need.Size {
		return s3client.Object{}, false
	}
	// Where the upload was the only copy the bytes are proof enough; the headers are put right afterwards.
	return seen, up.only() || seen.Headers != nil && sameStored(*seen.Headers, up.job.Headers)
}

// withHeaders makes sure that an object whose upload was begun with headers that are not known has the job's.
func (u *Uploader) withHeaders(ctx context.Context, to target, obj s3client.Object, j Job) (s3client.Object, error) {
	seen, err := u.o.Store.Head(s3client.Patient(ctx), to.bucket, to.key)
	switch {
	case err != nil:
		return s3client.Object{}, fmt.Errorf("look at the completed object: %w", goneAfterwards(err))
	case seen.ETag != obj.ETag: // another has written since
		return u.replaced(to, obj, seen, j.Need.Size)
	case seen.Size != j.Need.Size:
		return s3client.Object{}, wrongSize("POST Complete Multipart Upload", to, seen.Size, j.Need.Size)
	}
	return u.putRight(ctx, to, seen, j)
}

// putRight copies an object onto itself unless it has the job's headers.
func (u *Uploader) putRight(ctx context.Context, to target, seen s3client.Object, j Job) (s3client.Object, error) {
	seen.Bucket, seen.Key = to.bucket, to.key
	if seen.Headers != nil && sameStored(*seen.Headers, j.Headers) {
		return seen, nil
	}
	return u.copy(ctx, seen, to, &j.Headers)
}

// sameStored compares headers that a store has shown with those that were to be sent: stores put a Content-Type where
// there was none, and Swift writes "-" for "_" in the names of an upload's metadata.
func sameStored(stored, sent s3client.Headers) bool {
	if sent.ContentType == "" {
		stored.ContentType = ""
	}
	stored.Meta, sent.Meta = plainNames(stored.Meta), plainNames(sent.Meta)
	return sameHeaders(stored, sent)
}

func plainNames(meta map[string]string) map[string]string {
	plain := make(map[string]string, len(meta))
	for name, v := range meta {
		plain[strings.ReplaceAll(strings.ToLower(name), "_", "-")] = strings.Trim(v, " \t")
	}
	return plain
}
