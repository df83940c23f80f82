package upload

import (
	"context"
	"time"

	"pailfs/s3client"
)

// A part that nobody waits for any more, since its process has died or its caller has left, may come to the store when its
// upload has ended already. AWS keeps it then, unseen, until the upload is aborted once more; a store over a file system
// makes an upload of it. So the end of such an upload is not the end of its account: it is aborted again, a moment later
// for what was already in the store's hands, and when nothing can come any more.
var lateLooks = [...]time.Duration{2 * time.Second, lateWindow}

// partEnded notes it when the request for a part was given up: the store may carry it out nevertheless.
func (u *Uploader) partEnded(to target, id string, doubt *s3client.Doubt, err error) {
	if !doubt.Any() && (err == nil || refused(err)) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if a, ok := u.mu.mine[uploadID{to, id}]; ok {
		a.late = true
		u.mu.mine[uploadID{to, id}] = a
	}
}

// lookAgain aborts an upload again that has ended, in the background, and then ends its accounts. After Close they stay for
// the next run.
func (u *Uploader) lookAgain(to target, id string, accounts ...account) {
	ended := time.Now()
	u.spawn(func() {
		for _, after := range lateLooks {
			select {
			case <-time.After(time.Until(ended.Add(after))):
			case <-u.closing:
				return
			}
			if err := u.abortAgain(to, id); err != nil {
				u.cannotAbort(to, id, err)
				return
			}
		}
		u.closeAccount(to, id, accounts...)
	})
}

func (u *Uploader) abortAgain(to target, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	err := u.o.Store.AbortUpload(ctx, to.bucket, to.key, id)
	if s3client.KindOf(err) == s3client.NotFound {
		return nil
	}
	if err == nil {
		u.o.Log.Debug("an ended multipart upload was aborted again", "bucket", to.bucket, "key", to.key, "upload", id)
	}
	return err
}
