package upload

import (
	"context"
	"time"

	"pailfs/s3client"
)

// Which multipart uploads are ours, from before their creation until they are known to be gone, and the same for the
// Register, which outlives the process.

// account is an upload's entry in the Register.
type account struct {
	token uint64
	open  bool // there is one
	late  bool // a part of the upload may be on its way that nobody waits for (latepart.go)
}

// uploadID names an upload.
type uploadID struct {
	target
	id string
}

// begins opens an account. Without one the upload goes on: should the process die, it is an orphan, which costs some
// space, while a refusal would cost the file.
func (u *Uploader) begins(to target) account {
	if u.o.Register == nil {
		return account{}
	}
	token, err := u.o.Register.Begins(to.bucket, to.key)
	u.unregistered(to, "", err)
	return account{token: token, open: err == nil}
}

func (u *Uploader) unregistered(to target, id string, err error) {
	if err != nil {
		u.o.Log.Warn("multipart upload is not registered; it may be left if this process dies", "bucket", to.bucket,
			"key", to.key, "upload", id, "err", err)
	}
}

// has makes an upload ours.
func (u *Uploader) has(to target, id string, a account) {
	u.setMine(to, id, a)
	if a.open {
		u.unregistered(to, id, u.o.Register.Has(a.token, id))
	}
}

func (u *Uploader) setMine(to target, id string, a account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.mine[uploadID{to, id}] = a
}

// completes is called before the store is asked to join the parts.
func (u *Uploader) completes(to target, id string) {
	u.mu.Lock()
	a := u.mu.mine[uploadID{to, id}]
	u.mu.Unlock()
	if a.open {
		u.unregistered(to, id, u.o.Register.Completes(a.token))
	}
}

// ended forgets an upload that has become the object, or was aborted.
func (u *Uploader) ended(to target, id string, aborted bool) {
	u.mu.Lock()
	a := u.mu.mine[uploadID{to, id}]
	delete(u.mu.mine, uploadID{to, id})
	u.mu.Unlock()
	// Of what may be an object's, nothing is aborted: some stores would take its parts.
	if a.late && (aborted || u.joinsAtOnce()) {
		u.lookAgain(to, id, a)
		return
	}
	u.closeAccount(to, id, a)
}

func (u *Uploader) closeAccount(to target, id string, accounts ...account) {
	for _, a := range accounts {
		if a.open && u.o.Register != nil {
			u.ends(to, id, a)
		}
	}
}

func (u *Uploader) ends(to target, id string, a account) {
	if err := u.o.Register.Ends(a.token); err != nil {
		u.o.Log.Warn("end of a multipart upload is not registered; the next mount looks for it", "bucket", to.bucket,
			"key", to.key, "upload", id, "err", err)
	}
}

// createNow creates an upload. An attempt of which nobody knows what became of it may have created another: that one's
// account stays open, and it is looked for when an object was stored under the key, or by the next run.
func (u *Uploader) createNow(ctx context.Context, to target, h s3client.Headers) (string, error) {
	u.creating(to, 1)
	defer u.creating(to, -1)
	begun, a := time.Now(), u.begins(to)
	noted, doubt := s3client.WithDoubt(ctx)
	id, err := u.o.Store.CreateUpload(noted, to.bucket, to.key, h)
	if doubt.Any() || err == nil && id == "" {
		u.leaveUnheard(to, a, begun)
		a = account{}
		if id != "" {
			a = u.begins(to)
		}
	}
	if err == nil && id != "" {
		u.has(to, id, a)
		return id, nil
	}
	u.closeAccount(to, "", a)
	return "", err
}

// creating counts the creations of a key that are on their way.
func (u *Uploader) creating(to target, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.creating[to] += n; u.mu.creating[to] == 0 {
		delete(u.mu.creating, to)
		close(u.mu.created)
		u.mu.created = make(chan struct{})
	}
}

// allCreated waits until no creation of a key is on its way: then all uploads of ours are known by their ids.
func (u *Uploader) allCreated(ctx context.Context, to target) error {
	for {
		u.mu.Lock()
		n, created := u.mu.creating[to], u.mu.created
		u.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-created:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
