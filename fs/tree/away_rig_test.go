package tree

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client/s3fault"
)

// lines is a log, safe to write from many goroutines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take is what was logged since the last call: level and message of each line.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.buf.String()
	l.buf.Reset()
	return s
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key != slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

const wentAway, cameBack = "level=WARN\n", "level=INFO\n"

// inBubble runs a test on a rig whose clock is that of a synctest bubble.
func inBubble(t *testing.T, o Options, f func(r *rig, log *lines)) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		o.Log = log.logger()
		f(newRigAt(t, o, time.Now), log)
	})
}

// calls checks how many calls the store has had since the last time, answered or not.
func (r *rig) calls(want int64) {
	r.Helper()
	n := int64(0)
	for _, c := range r.fault.Calls() {
		n += c
	}
	if n-r.called != want {
		r.Errorf("%d calls, want %d", n-r.called, want)
	}
	r.called = n
}

// took checks how long f takes by the bubble's clock.
func (r *rig) took(want time.Duration, f func()) {
	r.Helper()
	began := time.Now()
	f()
	if d := time.Since(began); d != want {
		r.Errorf("took %v, want %v", d, want)
	}
}

// stale looks a path up that is only known from before.
func (r *rig) stale(path string, seen time.Time) Entry {
	r.Helper()
	e := r.lookup(path)
	if !e.Stale || !e.Seen.Equal(seen) {
		r.Errorf("%s: stale %v, seen %v, want %v", path, e.Stale, e.Seen, seen)
	}
	return e
}

// nobodyKnows looks a path up that was not there when it was last asked for.
func (r *rig) nobodyKnows(path string) {
	r.Helper()
	if e, err := r.tree.Lookup(r.ctx, path); errors.Is(err, ErrNotFound) || !silent(err) {
		r.Errorf("%s: %+v %v", path, e, err)
	}
}

func (r *rig) staleList(path, want string) {
	r.Helper()
	r.list(path, want)
	for e, err := range r.tree.List(r.ctx, path) {
		if err != nil || !e.Stale {
			r.Errorf("%+v %v", e, err)
		}
	}
}

// hang makes the store silent until the context of each call ends, or until freed.
func (r *rig) hang(call string) (free func()) {
	hold := make(chan struct{})
	rule := r.fault.Add(s3fault.Rule{Call: call, Hook: func(ctx context.Context, _ s3fault.Call) error {
		select {
		case <-hold:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	return func() { rule.Remove(); close(hold) }
}
