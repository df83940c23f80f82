package upload

import (
	"context"
	"fmt"
	"time"
)

// lateWindow is how long after it was given up a request may still be carried out: some stores delay a write for up to a
// minute before they answer.
const lateWindow = time.Minute

// gaveUp notes a request that makes an object, and whose caller has left: it was waited for no longer than its grace, and
// the store may carry it out at any moment.
func (u *Uploader) gaveUp(to target) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for other, until := range u.mu.late {
		if now.After(until) {
			delete(u.mu.late, other)
		}
	}
	u.mu.late[to] = now.Add(lateWindow)
}

// MayLand says until when a request that was given up may still make an object under a key; zero when there is none. What
// replaces or deletes that object should come later.
func (u *Uploader) MayLand(bucket, key string) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	until := u.mu.late[target{bucket, key}]
	if time.Now().After(until) {
		return time.Time{}
	}
	return until
}

// landed waits until nothing that was given up can appear under a key any more: a copy must not be replaced by it, since
// its source is deleted.
func (u *Uploader) landed(ctx context.Context, to target) error {
	until := u.MayLand(to.bucket, to.key)
	if until.IsZero() {
		return nil
	}
	if err := sleepUntil(ctx, until); err != nil {
		return fmt.Errorf("an upload to %s that was broken off may still happen: %w", to, err)
	}
	return nil
}
