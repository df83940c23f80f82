package upload

import (
	"context"
	"fmt"
	"time"
)

// lateWindow is how long after it was given up a request may still be carried out: some stores delay a write for up to a
// minute before they answer.
const lateWindow = time.Minute

// lateOne is a request that makes an object and was given up.
type lateOne struct {
	until time.Time
	state string // of the file
	id    string // of the multipart upload that it completes
}

// gaveUp notes a request that makes an object, and whose caller has left: it was waited for no longer than its grace, and
// the store may carry it out at any moment. id is that of the upload which it completes.
func (u *Uploader) gaveUp(to target, state, id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for other, l := range u.mu.late {
		if now.After(l.until) {
			delete(u.mu.late, other)
		}
	}
	u.mu.late[to] = lateOne{now.Add(lateWindow), state, id}
}

// MayLand says until when a request that was given up may still make an object under a key; zero when there is none. What
// replaces or deletes that object should come later.
func (u *Uploader) MayLand(bucket, key string) time.Time {
	return u.lateAt(target{bucket, key}).until
}

// lateAt is what may still make an object under a key; zero: nothing.
func (u *Uploader) lateAt(to target) lateOne {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.mu.late[to]
	if time.Now().After(l.until) {
		return lateOne{}
	}
	return l
}

// landed waits until nothing that was given up can appear under a key any more: what is stored now must not be replaced by
// it, neither a copy, whose source is deleted, nor a file's newer bytes. What makes the same object is not waited for: the
// completion of the upload id itself, and any request of the same state of the file.
func (u *Uploader) landed(ctx context.Context, to target, state, id string) error {
	if u.o.Settled != nil { // here, and not in the Store: no slot is held
		if err := u.o.Settled(ctx, to.bucket, to.key); err != nil {
			return err
		}
	}
	l := u.lateAt(to)
	if l.until.IsZero() || id != "" && l.id == id || state != "" && l.state == state {
		return nil
	}
	u.o.Log.InfoContext(ctx, "an upload that was broken off may still happen; the next one waits for it", "bucket", to.bucket, "key", to.key,
		"until", l.until)
	if err := sleepUntil(ctx, l.until); err != nil {
		return fmt.Errorf("an upload to %s that was broken off may still happen: %w", to, err)
	}
	return nil
}
