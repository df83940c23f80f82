package s3client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// op is one call of the Store interface as the retry loop sees it.
type op struct {
	name        string // "GET Object", for errors
	bucket, key string
	write       bool          // counts against the write rate
	body        bool          // sends bytes of ours
	extra       time.Duration // the store may need this much longer: it copies or joins while we wait
	once        bool          // a single attempt
	pinned      bool          // reads a version that was seen: its absence is asked for twice
	object      bool          // reads one object: the store has nothing to work out before it answers
	patient     bool          // keeps its whole time while the store is away: failing early would fail a close(2)
	plain       bool          // carries no metadata: a 500 is the store's trouble, never what it thinks of the request
	stall       time.Duration // how long the answer's body may stand still; 0 is the client's
	// left is the time that the call may still be in vain, for a call of several parts; each takes from it what it used.
	// Nil is the client's timeout.
	left     *time.Duration
	conflict Kind // what a 409 without a code means here
	// settle looks at a failure after which the call may have been carried out all the same: unsure says that an attempt
	// broke off without an answer that can be relied on. True ends the call as a success.
	settle func(ctx context.Context, e *Error, unsure bool) bool
}

const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
	// Attempts that see the same thing: Swift answers 500 for good to metadata it finds too long, 403 to valid requests
	// while its identity service is away for a moment, and a wrong endpoint has no address at the tenth try either.
	most500  = 6
	most403  = 3
	most400  = 3
	mostHost = 4
)

// retrier decides whether and when a failed attempt is followed by another.
type retrier struct {
	deadline            time.Time
	attempts            int
	in500, in403, in404 int
	in400               int
	noHost              int
	pinned, plain       bool
	jitter              func(time.Duration) time.Duration
}

// next is the pause before the next attempt, false when the error is final.
func (r *retrier) next(e *Error, at *attempt, wordless bool, now time.Time) (time.Duration, bool) {
	r.attempts++
	r.deadline = r.deadline.Add(at.progress())
	switch e.Kind {
	case Temporary, Throttled:
	case Denied:
		if !hiccup(e, wordless) {
			return 0, false
		}
		if r.in403++; r.in403 >= most403 {
			return 0, false
		}
	case NotFound:
		// Swift answers 404 to a read at the very moment in which the object is replaced.
		if !r.pinned || e.Code != "NoSuchKey" || r.in404 > 0 {
			return 0, false
		}
		r.in404++
	case Invalid:
		// Behind the 400 of a HEAD there may be a RequestTimeout. (Of a bucket's the words are fetched.)
		if !wordless || e.Status != http.StatusBadRequest {
			return 0, false
		}
		if r.in400++; r.in400 >= most400 {
			return 0, false
		}
	default:
		return 0, false
	}
	if e.Status == http.StatusInternalServerError && !r.plain {
		if r.in500++; r.in500 >= most500 {
			return 0, false
		}
	}
	if e.Code == "NoSuchHost" {
		if r.noHost++; r.noHost >= mostHost {
			return 0, false
		}
	}
	pause := backoff(r.attempts, r.jitter)
	if at.header != nil {
		pause = max(pause, retryAfter(at.header, now))
	}
	if now.Add(pause).After(r.deadline) {
		return 0, false
	}
	return pause, true
}

// hiccup is a refusal that a valid request can get: the identity service was away, or the keys have been renewed and are
// read again (pause). A HEAD has no code, so its 403 without a word is given the same chance.
func hiccup(e *Error, wordless bool) bool {
	switch e.Code {
	case "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired",
		"XAdminUserNotFound":
		return true
	}
	return wordless && e.Status == http.StatusForbidden && e.Code == ""
}

// backoff doubles from firstPause to longPause, with full jitter.
func backoff(attempt int, jitter func(time.Duration) time.Duration) time.Duration {
	d := longPause
	if shift := attempt - 1; shift < 10 {
		d = min(longPause, firstPause<<shift)
	}
	return jitter(d)
}

func fullJitter(d time.Duration) time.Duration { return rand.N(d) + 1 }

// do runs a call until it succeeds, fails for good, or its time is over. The error is an *Error.
func (c *Client) do(ctx context.Context, o op, fn func(ctx context.Context, at *attempt) error) error {
	leave, err := c.hold(ctx, o, fn)
	if err == nil {
		leave()
	}
	return err
}

// hold is do for calls whose answer is still to be read: the slot stays taken until leave is called.
func (c *Client) hold(ctx context.Context, o op, fn func(ctx context.Context, at *attempt) error) (leave func(), err error) {
	if strings.IndexByte(o.key, 0) >= 0 || !utf8.ValidString(o.key) {
		return nil, failed(o, Invalid, "InvalidURI", "a key cannot have a NUL, and is UTF-8")
	}
	t := c.health.begin(ctx, o)
	defer t.done()
	r := retrier{deadline: time.Now().Add(c.limit(o)), jitter: fullJitter, pinned: o.pinned, plain: o.plain}
	unsure := false
	for {
		queued := time.Now()
		leave, err := c.enter(ctx, o, t)
		if err != nil {
			return nil, err
		}
		// Waiting for our own other requests is not the store's failure.
		r.deadline = r.deadline.Add(time.Since(queued))
		at := c.newAttempt(o, r, t)
		err = fn(withAttempt(ctx, at), at)
		if err == nil {
			c.health.answer()
			c.tell(ctx, o, at, r.attempts, nil)
			if o.left != nil {
				*o.left = time.Until(r.deadline)
			}
			return leave, nil
		}
		leave()
		e := c.failure(ctx, o, at, err)
		c.tell(ctx, o, at, r.attempts, e)
		if e.Kind == Throttled {
			c.count.throttled.Add(1)
		}
		answered := c.health.saw(at, e)
		unclear := at.sent && !unreached(at.err)
		if unclear && (e.Kind == Temporary || e.Kind == Unknown || e.Kind == Canceled) {
			Doubtful(ctx)
		}
		unsure = unsure || unclear && (e.Kind == Temporary || e.Kind == Unknown)
		if e.Kind != Canceled && o.settle != nil && o.settle(ctx, e, unsure) {
			return func() {}, nil
		}
		if t.once && !answered && e.Kind == Temporary {
			return nil, awayError(o, t.since, e)
		}
		if o.once {
			return nil, e
		}
		t.once, t.quick = false, false
		if err := c.pause(ctx, o, &r, at, e); err != nil {
			if o.write && unsure {
				err = InDoubt(err)
			}
			return nil, err
		}
	}
}

// limit is how long the call may be in vain.
func (c *Client) limit(o op) time.Duration {
	if o.left != nil {
		return *o.left
	}
	return c.timeout + o.extra
}

// pause waits before the next attempt. Its error is the call's.
func (c *Client) pause(ctx context.Context, o op, r *retrier, at *attempt, e *Error) error {
	wordless := at.answer == nil && (at.status == http.StatusForbidden || at.status == http.StatusBadRequest && o.name == headObject)
	d, again := r.next(e, at, wordless, time.Now())
	if !again {
		return e
	}
	if e.Kind == Denied {
		c.creds.Expire() // a file may have been renewed, a role's token too
	}
	if err := sleep(ctx, d); err != nil {
		return &Error{Op: o.name, Bucket: o.bucket, Key: o.key, Kind: Canceled, Message: e.Error(), Err: err}
	}
	c.count.retries.Add(1)
	return nil
}

var errNoSlot = errors.New("all requests in flight wait for it")

// enter waits for the call's slot. A call that is made once does not wait long behind those that wait for the store.
func (c *Client) enter(ctx context.Context, o op, t turn) (leave func(), err error) {
	waiting := ctx
	if t.once {
		var cancel context.CancelFunc
		waiting, cancel = context.WithDeadline(ctx, t.began.Add(min(quickTime, c.timeout)))
		defer cancel()
	}
	leave, err = c.gate.enter(waiting, o.write, o.body)
	switch {
	case err == nil:
		return leave, nil
	case t.once && ctx.Err() == nil:
		return nil, awayError(o, t.since, errNoSlot)
	}
	return nil, &Error{Op: o.name, Bucket: o.bucket, Key: o.key, Kind: Canceled, Err: err}
}

// newAttempt sets the attempt's waits: as long as its kind of call deserves, never past what is left of the call's time
// by more than a second.
func (c *Client) newAttempt(o op, r retrier, t turn) *attempt {
	wait := readWait
	switch {
	case o.write:
		wait = writeWait
	case o.object:
		wait = min(readWait, c.first*time.Duration(r.attempts+1))
	}
	if t.quick {
		wait = min(wait, max(time.Until(t.began.Add(quickTime)), time.Second))
	}
	wait = min(wait, c.timeout) + o.extra
	stall := o.stall
	if stall == 0 {
		stall = max(c.stall, o.extra)
	}
	left := max(time.Until(r.deadline), min(time.Second, c.timeout))
	return &attempt{wait: min(wait, left), stall: stall, quick: t.quick, start: time.Now()}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
