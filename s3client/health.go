package s3client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Health is whether the store answers.
type Health struct {
	// Away: two attempts and more got no answer, over some seconds, or one that waited for so long, and none got one in
	// between.
	Away  bool
	Since time.Time // when the first of them began
	Err   error     // what became of the last
}

// Health says whether the store answers, as the calls so far have found it. It asks nobody.
func (c *Client) Health() Health {
	h := &c.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.mu.away {
		return Health{}
	}
	return Health{Away: true, Since: h.mu.since, Err: h.mu.err}
}

// Answered is when the store last answered anything, or when the client was made.
func (c *Client) Answered() time.Time {
	return c.health.born.Add(time.Duration(c.health.answered.Load()))
}

const (
	// awayAfter is how long no attempt may get an answer before the store is away. An endpoint that is restarted or that
	// moves to another host comes back sooner.
	awayAfter = 5 * time.Second
	// quickTime is what a call may take while the store is away: to find a slot, to connect, and to be answered. A store
	// that is there answers a read in 10-50 ms, so this is enough for a loaded one too, and for a lost packet or two.
	quickTime = 5 * time.Second
	// probeEvery: a store that is back, but so slow that no answer comes within quickTime, would be away for ever. So
	// once in this time one call's attempt waits as long as it would otherwise.
	probeEvery = time.Minute
)

// health knows whether the store answers.
//
//	answering -> failing (an attempt without an answer) -> away (another one, awayAfter later, or one that waited that long)
//	any -> answering (any answer of the store)
//
// While the store is away a call is one quick attempt: --timeout was waited for by those who found out. Calls with
// patience (uploads, what a Patient context asks for) go on as ever.
type health struct {
	born     time.Time
	answered atomic.Int64 // the last answer, after born
	failing  atomic.Bool  // the fields below say something; unset, an answer need not look at them
	mu       struct {
		sync.Mutex
		since   time.Time
		missed  int
		err     error
		away    bool
		probing bool
		probed  time.Time // when an attempt last ended that was not cut short
	}
}

// saw takes what became of an attempt that failed, and tells whether the store had answered it.
func (h *health) saw(at *attempt, e *Error) (answered bool) {
	switch {
	case at.status != 0 && !fromBefore(at, e):
		h.answer()
		return true
	case e.Kind == Temporary && e.Code != "SourceFailed" && (at.status != 0 || at.err != nil):
		h.miss(at, e)
	}
	return false
}

// fromBefore tells the 502, 503 and 504 of something before the store, which has no answer of the store to give, from the
// store's own refusals: those have a document, or say when to come again.
func fromBefore(at *attempt, e *Error) bool {
	switch at.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return e.Kind == Temporary && (at.answer == nil || at.answer.foreign) && at.header.Get("Retry-After") == ""
	}
	return false
}

func (h *health) answer() {
	h.answered.Store(int64(time.Since(h.born)))
	if !h.failing.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing.Store(false)
	h.mu.since, h.mu.missed, h.mu.err, h.mu.away = time.Time{}, 0, nil, false
}

func (h *health) miss(at *attempt, e *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing.Store(true)
	if h.mu.since.IsZero() {
		h.mu.since = at.start
		if last := h.born.Add(time.Duration(h.answered.Load())); last.After(at.start) {
			h.mu.since = last
		}
	}
	h.mu.missed++
	h.mu.err = e
	now := time.Now()
	// One attempt that waited for so long by itself says as much as two that were refused at once.
	waited := now.Sub(at.start) >= awayAfter
	if (h.mu.missed > 1 || waited) && now.Sub(h.mu.since) >= awayAfter {
		h.mu.away = true
	}
	if !at.quick || !errors.Is(e, errNoAnswer) {
		h.mu.probed = now // as good as a probe: it has waited longer, or was told at once
	}
}

// turn says how a call is made now.
type turn struct {
	once  bool // one attempt
	quick bool // within quickTime
	began time.Time
	since time.Time // the store is away since then
	done  func()    // never nil
}

func nothing() {}

// begin decides it.
func (h *health) begin(ctx context.Context, o op) turn {
	t := turn{done: nothing}
	if !h.failing.Load() || o.patient || o.once || isPatient(ctx) {
		return t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.mu.away {
		return t
	}
	t.once, t.began, t.since = true, time.Now(), h.mu.since
	if h.mu.probing || time.Since(h.mu.probed) < probeEvery {
		t.quick = true
		return t
	}
	h.mu.probing = true
	t.done = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.mu.probing = false
	}
	return t
}

// awayError is the error of a call that was made once because the store is away.
func awayError(o op, since time.Time, cause error) *Error {
	e := &Error{Op: o.name, Bucket: o.bucket, Key: o.key, Kind: Temporary, Code: "StoreAway", Err: cause}
	var last *Error
	if errors.As(cause, &last) {
		e.Status, e.RequestID, cause = last.Status, last.RequestID, last.Err
	}
	e.Message = "the store has not answered since " + since.Format(time.RFC3339)
	if cause != nil {
		e.Message = fmt.Sprintf("%s: %v", e.Message, cause)
	}
	return e
}

type patientKey struct{}

// Patient makes a context whose calls keep their whole time while the store is away, where they would fail within
// seconds otherwise. It is for calls on the way of something that must not fail early, as the HEAD before an upload.
func Patient(ctx context.Context) context.Context { return context.WithValue(ctx, patientKey{}, true) }

func isPatient(ctx context.Context) bool { return ctx.Value(patientKey{}) != nil }
