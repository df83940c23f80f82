package upload

import (
	"context"
)

// setUndecided remembers an upload whose completion failed without a clear answer: the store may still be joining its
// parts, so it is not aborted.
func (u *Uploader) setUndecided(to target, id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.undecided[to] = append(u.mu.undecided[to], id)
}

// decide aborts the undecided uploads of a key after a later object was stored there: whatever came of them is replaced.
func (u *Uploader) decide(ctx context.Context, to target) {
	for _, id := range u.takeUndecided(to) {
		u.abortSoon(ctx, to, id)
	}
}

func (u *Uploader) takeUndecided(to target) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids := u.mu.undecided[to]
	delete(u.mu.undecided, to)
	return ids
}

// reportUndecided tells of the uploads that nothing decided, for a person to abort.
func (u *Uploader) reportUndecided() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for to, ids := range u.mu.undecided {
		u.o.Log.Warn("completion of a multipart upload was never answered; its parts may be left", "bucket", to.bucket,
			"key", to.key, "uploads", ids)
	}
	clear(u.mu.undecided)
}
