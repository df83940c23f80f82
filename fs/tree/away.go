package tree

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"pailfs/s3client"
)

const (
	// awayFor is how long the store counts as away after a request that had no answer.
	awayFor = 5 * time.Second
	// probeEvery is the least time between an unanswered request and the next that looks whether the store is back.
	probeEvery = time.Second
)

// absence knows whether the store answers. While it does not, lookups and listings are answered at once from what was
// known before, however old, and one request at a time goes on behind them to find out when it is back.
//
//	answers -> (a request unanswered, or late, and no other answer since it was sent) -> away -> (any answer) -> answers
//
// A store is away for awayFor after the last failure, and as long as a request goes on that nobody waits for any more.
// Beyond that nobody knows, and the next who asks waits again for a while. Only requests that read names are looked at.
type absence struct {
	now func() time.Time
	log *slog.Logger
	mu  struct {
		sync.Mutex
		since   time.Time // zero: it answers, as far as is known
		failed  time.Time // when a request was last found unanswered
		heard   time.Time // when it last answered
		waiting int       // requests that go on without anybody waiting for them, since it last answered
		episode int       // counts the times that waiting began anew
	}
}

// silent says whether an error means that the store gave no answer. A refusal, a "not found", is one.
func silent(err error) bool {
	return errors.Is(err, s3client.Temporary) || errors.Is(err, s3client.Throttled)
}

// answered says whether the store spoke. An error may also be made on this side of the network.
func answered(err error) bool {
	var e *s3client.Error
	return err == nil || errors.Is(err, s3client.NotFound) || errors.As(err, &e) && e.Status != 0 && !silent(err)
}

// note takes the outcome of a request that was sent at that time.
func (a *absence) note(sent time.Time, err error) {
	switch {
	case answered(err):
		a.back()
	case silent(err):
		a.unanswered(sent, err)
	}
}

func (a *absence) back() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	a.mu.heard = now
	if !a.mu.since.IsZero() {
		a.log.Info("the store answers again", "away", now.Sub(a.mu.since).Round(time.Millisecond))
		a.mu.since = time.Time{}
	}
	if a.mu.waiting > 0 {
		a.mu.waiting = 0
		a.mu.episode++
	}
}

// unanswered notes that a request has had no answer, or none in time (err nil). It says nothing of the store if others
// had theirs meanwhile.
func (a *absence) unanswered(sent time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.heard.After(sent) {
		return
	}
	now := a.now()
	a.mu.failed = now
	if a.mu.since.IsZero() {
		a.mu.since = now
		if err == nil {
			a.log.Warn("the store does not answer in time, names are shown as last known")
		} else {
			a.log.Warn("the store does not answer, names are shown as last known", "err", err)
		}
	}
}

// answers says whether the store has answered since the latest request without an answer was sent.
func (a *absence) answers() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.since.IsZero() && !a.mu.heard.IsZero()
}

func (a *absence) away() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.awayLocked()
}

func (a *absence) awayLocked() bool {
	return !a.mu.since.IsZero() && (a.mu.waiting > 0 || a.now().Sub(a.mu.failed) < awayFor)
}

// leave counts a request that goes on without anybody waiting for it, until ended is called.
func (a *absence) leave() (ended func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.leaveLocked()
}

func (a *absence) leaveLocked() (ended func()) {
	a.mu.waiting++
	episode := a.mu.episode
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.mu.episode == episode {
			a.mu.waiting--
		}
	}
}

// probe says whether it is time to look if the store is back; ended is to be called when that is over.
func (a *absence) probe() (ended func(), due bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.since.IsZero() || a.mu.waiting > 0 || a.now().Sub(a.mu.failed) < probeEvery {
		return nil, false
	}
	return a.leaveLocked(), true
}

// observed is a store whose answers to the requests that read names are noted.
type observed struct {
	s3client.Store
	absence *absence
}

func (o *observed) List(ctx context.Context, req s3client.ListRequest) (s3client.ListPage, error) {
	sent := o.absence.now()
	p, err := o.Store.List(ctx, req)
	o.absence.note(sent, err)
	return p, err
}

func (o *observed) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	sent := o.absence.now()
	obj, err := o.Store.Head(ctx, bucket, key)
	o.absence.note(sent, err)
	return obj, err
}

func (o *observed) Buckets(ctx context.Context) ([]s3client.Bucket, error) {
	sent := o.absence.now()
	b, err := o.Store.Buckets(ctx)
	o.absence.note(sent, err)
	return b, err
}

func (o *observed) HeadBucket(ctx context.Context, bucket string) error {
	sent := o.absence.now()
	err := o.Store.HeadBucket(ctx, bucket)
	o.absence.note(sent, err)
	return err
}

// orStale is a flight's answer; stale is true instead when there is an older one (known), and the store does not answer
// or not in time. What was asked for goes on then.
func orStale[V any](ctx context.Context, t *Tree, s *flights[V], key string, known bool,
	f func(context.Context) (V, error)) (v V, stale bool, err error) {
	if !known || t.o.StaleAfter < 0 {
		v, err = s.do(ctx, key, f)
		if errors.Is(err, s3client.Temporary) && t.absence.answers() && ctx.Err() == nil {
			// That request was sent, perhaps by somebody else, before the store was back.
			v, err = s.do(ctx, key, f)
		}
		return v, false, err
	}
	if t.absence.away() {
		if ended, due := t.absence.probe(); due && !s.begin(ctx, key, ended, f) {
			ended() // somebody is asking for it
		}
		return v, true, nil
	}
	sent := t.o.Now()
	late := time.NewTimer(t.o.StaleAfter)
	defer late.Stop()
	v, inTime, err := s.within(ctx, key, late.C, t.absence.leave, f)
	if !inTime || errors.Is(err, context.DeadlineExceeded) {
		t.absence.unanswered(sent, nil)
		return v, true, nil
	}
	return v, silent(err), err
}
