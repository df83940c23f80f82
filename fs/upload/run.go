package upload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pailfs/s3client"
)

const (
	// abortTimeout bounds an abort, which runs on a context of its own: the caller's may be what ended the upload.
	abortTimeout = 10 * time.Second
	// graceTimeout is how long a request goes on after its caller has left, where breaking it off would leave the store in
	// a state that nobody knows.
	graceTimeout = 5 * time.Second
	// maxTries bounds how often Store begins again: when the upload vanished, was refused as a whole, or when the store
	// turned out not to copy.
	maxTries = 3
)

// Uploader carries out uploads and copies for a whole mount. It is safe for concurrent use.
type Uploader struct {
	o       Options
	born    time.Time
	closing chan struct{} // closed by Close
	slots   chan struct{} // one place per request with a body or copy in flight
	// share is the most slots that one large file, or all streams together, may have, so that a small file never waits
	// behind large parts alone. streams counts the streams' part of it.
	share   int
	streams chan struct{}
	// learning is held by the one that finds out what a bucket's ETags are.
	learning chan struct{}
	begun    atomic.Uint64 // streams, for their names in the log

	wg sync.WaitGroup // background goroutines; Add under mu while not closed
	mu struct {
		sync.Mutex
		closed   bool
		live     map[*Stream]struct{}
		mine     map[uploadID]account // uploads at work
		creating map[target]int       // creations on their way
		created  chan struct{}        // closed and made anew when a key has none any more
		left     map[target][]leftover
		adopted  map[uint64]struct{} // tokens
		etags    map[string]etags    // by bucket
		late     map[target]lateOne  // until when a request that was given up may be carried out
	}
}

// target is where an upload goes.
type target struct{ bucket, key string }

func (t target) String() string { return t.bucket + "/" + t.key }

// New makes an Uploader. No request is made.
func New(o Options) *Uploader {
	o = o.withDefaults()
	u := &Uploader{o: o, born: time.Now(), closing: make(chan struct{}), slots: make(chan struct{}, o.Parallel), share: max(1, o.Parallel-o.Parallel/4)}
	u.streams = make(chan struct{}, u.share)
	u.learning = make(chan struct{}, 1)
	u.mu.live = make(map[*Stream]struct{})
	u.mu.mine = make(map[uploadID]account)
	u.mu.creating = make(map[target]int)
	u.mu.created = make(chan struct{})
	u.mu.left = make(map[target][]leftover)
	u.mu.adopted = make(map[uint64]struct{})
	u.mu.etags = make(map[string]etags)
	u.mu.late = make(map[target]lateOne)
	return u
}

// Limits are those the Uploader plans with.
func (u *Uploader) Limits() Limits { return u.o.Limits }

// Store makes the object equal to the file and returns what the store has then: Size, ETag, Headers as sent, and Modified
// where the answer tells it (a PUT's does not on some stores: it is zero then). A failed Store leaves in the bucket what the
// next one of the key need not send again: the parts of a Stream, those that had arrived before a passing failure, and an
// upload whose completion is undecided; Forget takes them back. After a successful Store the Stream is over, used or not,
// and nothing else is left.
//
// Errors: s3client's, wrapped; Changed when the base is not the version that Job.Base names any more; Exists with
// IfAbsent; TooLarge; the Source's own.
func (u *Uploader) Store(ctx context.Context, j Job) (s3client.Object, error) {
	to := target{j.Bucket, j.Key}
	resume := slices.Clone(j.Resume)
	j.resume = &resume
	obj, err := u.store(ctx, to, j)
	if err != nil {
		return s3client.Object{}, err // the store's name the key, and the caller knows which file it is
	}
	if j.Stream != nil {
		j.Stream.over(ctx)
	}
	u.leaveNamed(to, resume)
	u.decide(ctx, to)
	obj.Bucket, obj.Key, obj.Headers = j.Bucket, j.Key, &j.Headers
	return obj, nil
}

func (u *Uploader) store(ctx context.Context, to target, j Job) (s3client.Object, error) {
	j, err := j.normal()
	if err != nil {
		return s3client.Object{}, err
	}
	for try := 1; ; try++ {
		obj, err := u.tryStore(ctx, to, j)
		again := errors.Is(err, errAgain) || errors.Is(err, errJoined) && try < sends
		if errors.Is(err, s3client.Unsupported) && j.Base != nil { // a store that does not copy: send everything
			j.Base, j.Need.Base, j.Need.BaseSize, again = nil, 0, 0, true
		}
		if err == nil || !again || try == maxTries || ctx.Err() != nil {
			return obj, err
		}
		u.o.Log.InfoContext(ctx, "upload begins again", "bucket", to.bucket, "key", to.key, "err", err)
	}
}

// normal settles what of the base can be copied.
func (j Job) normal() (Job, error) {
	if j.Base == nil || j.Base.ETag == "" { // without an ETag nothing pins the version
		j.Base, j.Need.Base, j.Need.BaseSize = nil, 0, 0
		return j, nil
	}
	if j.Need.Base > j.Base.Size {
		return j, fmt.Errorf("base limit %d is past the base's size %d", j.Need.Base, j.Base.Size)
	}
	j.Need.BaseSize = j.Base.Size
	return j, nil
}

func (u *Uploader) tryStore(ctx context.Context, to target, j Job) (s3client.Object, error) {
	plan, err := u.plan(j)
	if err != nil {
		return s3client.Object{}, err
	}
	stream := j.Stream != nil && j.Stream.to == to
	switch {
	case stream && j.Stream.relied(): // no other way has its bytes
		return u.storeStream(ctx, to, j, plan)
	case plan.Single:
		return u.put(ctx, to, j)
	case plan.CopyWhole:
		src := s3client.Object{Bucket: j.Base.Bucket, Key: j.Base.Key, ETag: j.Base.ETag, Size: j.Base.Size}
		obj, err := u.copyObject(ctx, src, to, &j.Headers)
		return obj, baseGone(err)
	case stream:
		return u.storeStream(ctx, to, j, plan)
	}
	return u.storeParts(ctx, to, j, plan)
}

// plan is MakePlan's, but for a conditional store, which is a multipart upload whatever the size.
func (u *Uploader) plan(j Job) (Plan, error) {
	plan, err := MakePlan(j.Need, u.o.Limits)
	if err != nil || !j.IfAbsent || !plan.Single && !plan.CopyWhole {
		return plan, err
	}
	n, err := j.Need.normal()
	if err != nil {
		return Plan{}, err
	}
	return planParts(n, u.o.Limits)
}

// storeStream finishes the stream's upload, unless copying from the base moves less than what the stream is missing.
func (u *Uploader) storeStream(ctx context.Context, to target, j Job, plan Plan) (s3client.Object, error) {
	s := j.Stream
	full, ok := planLayout(j.Need.Size, s.limits)
	if !ok { // longer than the layout reaches: the stream's parts fit no plan
		return u.storeParts(ctx, to, j, plan)
	}
	switch err := s.hold(ctx); {
	case errors.Is(err, errStreamEnded):
		return u.storeParts(ctx, to, j, plan)
	case err != nil:
		return s3client.Object{}, err
	}
	defer s.release()
	need, err := j.Need.normal()
	if err != nil {
		return s3client.Object{}, err
	}
	relied := s.relied()
	if !relied && plan.copies() && need.cost(s.missing(full)) > need.cost(plan.Pieces) {
		return u.storeParts(ctx, to, j, plan)
	}
	if !relied && s.beyond(len(full)) { // the file got shorter: parts behind its end could neither be named nor taken back
		s.forsake(ctx)
	}
	found, err := s.reopen(ctx, j, full)
	if err != nil {
		return s3client.Object{}, err
	}
	if found != nil {
		u.ended(to, s.ID(), false)
		s.completed(*found)
		return u.putRight(ctx, to, *found, j)
	}
	up := &upload{u: u, to: to, job: j, pieces: full, parts: s.fresh(full), stream: s}
	obj, err := up.carryOut(ctx)
	switch {
	case err != nil:
		return obj, err
	case s.reopened:
		return u.withHeaders(ctx, to, obj, j)
	case sameHeaders(s.headers, j.Headers):
		return u.check(ctx, to, obj, j.Need.Size, false)
	}
	obj.Bucket, obj.Key, obj.Size = to.bucket, to.key, j.Need.Size
	return u.copy(ctx, obj, to, &j.Headers)
}

func (u *Uploader) storeParts(ctx context.Context, to target, j Job, plan Plan) (s3client.Object, error) {
	up := &upload{u: u, to: to, job: j, pieces: plan.Pieces, parts: make([]s3client.Part, len(plan.Pieces))}
	found, err := up.takeUp(ctx)
	if err != nil {
		return s3client.Object{}, err
	}
	if found != nil {
		return u.putRight(ctx, to, *found, j)
	}
	obj, err := up.carryOut(ctx)
	switch {
	case err != nil:
		return s3client.Object{}, err
	case up.resumed && up.begun == nil:
		return u.withHeaders(ctx, to, obj, j)
	}
	if obj, err = u.check(ctx, to, obj, j.Need.Size, plan.copies()); err != nil || sameHeaders(*up.begun, j.Headers) {
		return obj, err
	}
	obj.Bucket, obj.Key = to.bucket, to.key
	return u.copy(ctx, obj, to, &j.Headers)
}

// put sends a file in one request, once more when the store says that it got other bytes. The answer's ETag is taken as the
// proof; no request is spent on a look.
func (u *Uploader) put(ctx context.Context, to target, j Job) (s3client.Object, error) {
	if err := u.landed(ctx, to, j.State, ""); err != nil {
		return s3client.Object{}, err
	}
	if err := acquire(ctx, u.slots); err != nil {
		return s3client.Object{}, err
	}
	defer release(u.slots)
	ahead(j.Source, 0, j.Need.Size)
	for try := 1; ; try++ {
		b := u.putBody(to, j.Source, j.Need.Size)
		obj, err := u.requestPut(ctx, s3client.PutRequest{Bucket: to.bucket, Key: to.key, Headers: j.Headers, Body: b,
			Size: j.Need.Size}, j.State)
		switch {
		case err != nil:
			return obj, b.cause(err)
		case obj.ETag == "":
			return obj, noETag("PUT Object", to)
		case obj.Size != 0 && obj.Size != j.Need.Size:
			return obj, wrongSize("PUT Object", to, obj.Size, j.Need.Size)
		}
		obj.Size = j.Need.Size
		if err = u.verifyPut(ctx, to, obj.ETag, b); err != nil {
			j.spoiled(obj.ETag)
		}
		if err == nil || try == sends {
			return obj, err
		}
		u.o.Log.WarnContext(ctx, "object arrived with other bytes; it is sent again", "err", err)
	}
}

func (j *Job) spoiled(etag string) {
	if j.Spoiled != nil {
		j.Spoiled(etag)
	}
}

// Put stores a small object that is no file's, a symbolic link for instance, and verifies it as Store does. An error beside an
// Object with an ETag says that this is stored, and is not what was sent.
func (u *Uploader) Put(ctx context.Context, r s3client.PutRequest) (s3client.Object, error) {
	if r.Size == 0 {
		return u.o.Store.Put(ctx, r) // there is no bit that could change
	}
	to, src := target{r.Bucket, r.Key}, r.Body
	var spoiled s3client.Object // by the first try
	for try := 1; ; try++ {
		b := u.putBody(to, src, r.Size)
		r.Body = b
		obj, err := u.o.Store.Put(ctx, r)
		switch {
		case err != nil:
			return spoiled, b.cause(err)
		case obj.ETag == "":
			return spoiled, noETag("PUT Object", to)
		}
		if err = u.verifyPut(ctx, to, obj.ETag, b); err == nil || try == sends {
			return obj, err
		}
		spoiled = obj
		u.o.Log.WarnContext(ctx, "object arrived with other bytes; it is sent again", "err", err)
	}
}

// requestPut makes the request. When the caller leaves meanwhile it goes on for a short while, as a completion does: a PUT that
// is broken off may be carried out by the store all the same, after the deletion or the copy that its caller left for.
func (u *Uploader) requestPut(ctx context.Context, r s3client.PutRequest, state string) (s3client.Object, error) {
	longer, stop := grace(ctx, graceTimeout)
	defer stop()
	obj, err := u.o.Store.Put(longer, r)
	if err != nil && longer.Err() != nil {
		u.gaveUp(target{r.Bucket, r.Key}, state, "")
	}
	return obj, err
}

// Close aborts the streams that nobody has stored and waits for all background work, or for ctx.
func (u *Uploader) Close(ctx context.Context) error {
	var errs []error
	for _, s := range u.close() {
		errs = append(errs, s.Abort(ctx))
	}
	idle := make(chan struct{})
	go func() {
		u.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("upload: close: %w", context.Cause(ctx)))
	}
	u.closeLeft(ctx)
	return errors.Join(errs...)
}

func (u *Uploader) close() (live []*Stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.mu.closed {
		close(u.closing)
	}
	u.mu.closed = true
	for s := range u.mu.live {
		live = append(live, s)
	}
	return live
}

// spawn runs f in a goroutine that Close waits for; false after Close.
func (u *Uploader) spawn(f func()) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mu.closed {
		return false
	}
	u.wg.Go(f)
	return true
}

func acquire(ctx context.Context, slots chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func release(slots chan struct{}) { <-slots }

// grace is a context that lives on for d after ctx has ended. Its stop function must be called.
func grace(ctx context.Context, d time.Duration) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}

func sameHeaders(a, b s3client.Headers) bool {
	same := maps.Equal(a.Meta, b.Meta)
	a.Meta, b.Meta = nil, nil
	return same && a.ContentType == b.ContentType && a.CacheControl == b.CacheControl &&
		a.ContentDisposition == b.ContentDisposition && a.ContentEncoding == b.ContentEncoding &&
		a.ContentLanguage == b.ContentLanguage && a.Expires == b.Expires
}
