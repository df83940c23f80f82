package upload

import (
	"context"
	"slices"
	"time"

	"pailfs/s3client"
)

const (
	// clockSlack is how far the store's clock may be from ours when its uploads are told apart by their time.
	clockSlack = 5 * time.Second
	// createWindow is how long after its beginning the creation of an upload may have reached the store.
	createWindow = 2 * time.Minute
	// joinWindow is how long a store may still be joining parts for a process that is dead.
	joinWindow = 2 * time.Minute
)

// leftover is an upload that nobody works on: of an earlier run, failed, or undecided. It waits for the next Store of its
// key, which takes it up, or aborts it when something else is stored there.
//
// An undecided one is Completing: its completion was not answered, and the store may still be joining its parts. Aborting
// it could take the segments away from under the finished object, so it is left alone until whatever came of it has been
// replaced. One of an earlier run is looked at first.
type leftover struct {
	Left
	accounts []account         // one, but for those without id
	earlier  bool              // of an earlier run
	until    time.Time         // when the creations were over, for those without id
	swept    bool              // without id: what there was is aborted; more may come until its window ends
	headers  *s3client.Headers // it was begun with; nil: not known
}

func earlierOf(l Left) leftover {
	return leftover{Left: l, accounts: []account{{token: l.Token, open: true, late: true}}, earlier: true}
}

// windowEnd is when the store has surely got an earlier run's creation whose upload has no id.
func (u *Uploader) windowEnd(l Left) time.Time {
	end := l.Begun.Add(createWindow)
	if latest := u.born.Add(createWindow); end.After(latest) { // the clock was set back since
		return latest
	}
	return end
}

// account is that of an upload with an id.
func (l leftover) account() account {
	if len(l.accounts) == 0 {
		return account{}
	}
	return l.accounts[0]
}

// registered says whether the next run will know of it.
func (l leftover) registered() bool {
	return slices.ContainsFunc(l.accounts, func(a account) bool { return a.open })
}

func (l leftover) target() target { return target{l.Bucket, l.Key} }

// leave puts an upload with the leftovers of its key.
func (u *Uploader) leave(ls ...leftover) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range ls {
		u.mu.left[l.target()] = append(u.mu.left[l.target()], l)
	}
}

// leaveUnheard notes that a creation that has just ended may have made an upload of which nobody has heard. One leftover
// stands for all of a key's.
func (u *Uploader) leaveUnheard(to target, a account, begun time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ls := u.mu.left[to]
	i := slices.IndexFunc(ls, func(l leftover) bool { return l.ID == "" && !l.earlier })
	if i < 0 {
		i = len(ls)
		ls = append(ls, leftover{Left: Left{Bucket: to.bucket, Key: to.key, Begun: begun}})
		u.mu.left[to] = ls
	}
	ls[i].accounts = append(ls[i].accounts, a)
	ls[i].until = time.Now()
}

// leaveMine makes an upload of ours a leftover.
func (u *Uploader) leaveMine(to target, id string, completing bool, h *s3client.Headers) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.mu.mine[uploadID{to, id}]
	delete(u.mu.mine, uploadID{to, id})
	u.mu.left[to] = append(u.mu.left[to], leftover{Left: Left{Bucket: to.bucket, Key: to.key, ID: id,
		Completing: completing}, accounts: []account{a}, headers: h})
}

// leaveNamed makes uploads that a Store's caller knows of leftovers of the key.
func (u *Uploader) leaveNamed(to target, ids []string) {
	if len(ids) > 0 {
		u.leave(u.resumable(to, ids)...)
	}
}

// takeLeft takes all leftovers of a key, in the order they were left.
func (u *Uploader) takeLeft(to target) []leftover {
	u.mu.Lock()
	defer u.mu.Unlock()
	ls := u.mu.left[to]
	delete(u.mu.left, to)
	return ls
}

// Adopt tells of the uploads that an earlier run left. It makes no request, and is called before the first Store: a Store
// to one of their keys takes up what fits of them, and aborts the rest when the object is stored.
func (u *Uploader) Adopt(left []Left) {
	left = slices.Clone(left)
	slices.SortStableFunc(left, func(a, b Left) int { return a.Begun.Compare(b.Begun) })
	for _, l := range left {
		u.leave(earlierOf(l))
		u.mu.Lock()
		u.mu.adopted[l.Token] = struct{}{}
		u.mu.Unlock()
	}
}

// claim takes what Adopt was told of; false when a Store has it already.
func (u *Uploader) claim(l Left) (leftover, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	to := target{l.Bucket, l.Key}
	i := slices.IndexFunc(u.mu.left[to], func(o leftover) bool { return o.earlier && o.Token == l.Token })
	if i >= 0 {
		o := u.mu.left[to][i]
		u.mu.left[to] = slices.Delete(u.mu.left[to], i, i+1)
		return o, true
	}
	_, adopted := u.mu.adopted[l.Token]
	return earlierOf(l), !adopted
}

// Forget aborts what is left of the uploads of a key that will not be stored any more, in the background.
func (u *Uploader) Forget(bucket, key string) {
	to := target{bucket, key}
	ls := u.takeLeft(to)
	var keep, abort []leftover
	for _, l := range ls {
		if l.Completing || l.earlier && l.ID == "" && time.Now().Before(u.windowEnd(l.Left)) { // AbortLeft looks again then
			keep = append(keep, l)
		} else {
			abort = append(abort, l)
		}
	}
	u.leave(keep...)
	if len(abort) > 0 && !u.spawn(func() { u.abortAll(context.Background(), abort) }) {
		u.leave(abort...)
	}
}

// decide aborts a key's leftovers after a later object was stored there: whatever came of them is replaced.
func (u *Uploader) decide(ctx context.Context, to target) {
	ls := u.takeLeft(to)
	if len(ls) == 0 || ctx.Err() != nil && u.spawn(func() { u.abortAll(context.Background(), ls) }) {
		return
	}
	u.abortAll(context.WithoutCancel(ctx), ls)
}

// abortAll aborts leftovers, within abortTimeout for them all. A failure is logged, and tried again after the next Store of
// the key, and by Close.
func (u *Uploader) abortAll(ctx context.Context, ls []leftover) {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	for _, l := range ls {
		if _, err := u.abortLeftover(ctx, l); err != nil {
			u.cannotAbort(l.target(), l.ID, err)
			u.leave(l)
		}
	}
}

func (u *Uploader) cannotAbort(to target, id string, err error) {
	u.o.Log.Warn("cannot abort a multipart upload; its parts stay for now", "bucket", to.bucket, "key", to.key,
		"upload", id, "err", err)
}

// closeLeft ends what this run has left. What is registered stays for the next run, which may have the file in its journal
// and take it up; the rest is aborted as far as that is safe. Of what is undecided a person is told.
func (u *Uploader) closeLeft(ctx context.Context) {
	u.mu.Lock()
	var abort []leftover
	for _, ls := range u.mu.left {
		for _, l := range ls {
			switch {
			case l.earlier || l.registered() && !l.Completing:
			case l.Completing:
				u.o.Log.WarnContext(ctx, "completion of a multipart upload was never answered; its parts may be left", "bucket", l.Bucket,
					"key", l.Key, "upload", l.ID, "registered", l.registered())
			default:
				abort = append(abort, l)
			}
		}
	}
	clear(u.mu.left)
	u.mu.Unlock()
	u.abortAll(ctx, abort)
}
