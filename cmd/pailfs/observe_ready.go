package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"pailfs/s3client"
)

// readiness of a mount: it is there, and the store answers. What the last requests met says so as long as they are young; a mount
// that nobody uses asks by itself, with one request that reads nothing, or else it would be ready for ever, or never again.
type storeProbe struct {
	answered func() time.Time // the store's last answer of any kind
	away     func() bool
	ask      func(ctx context.Context) error
	turn     sync.Mutex // held while the store is asked: others who want to know wait for the same answer
}

// freshAnswer is how old the last answer may be.
const freshAnswer = 10 * time.Second

// unanswered says why the store is taken for away, "" when it answers.
func (p *storeProbe) unanswered(ctx context.Context) string {
	fresh := func() bool { return !p.away() && time.Since(p.answered()) < freshAnswer }
	if fresh() {
		return ""
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	if fresh() { // somebody else has asked
		return ""
	}
	began := time.Now()
	err := p.ask(ctx)
	if p.answered().After(began) { // a refusal is an answer too
		return ""
	}
	var told *s3client.Error
	if errors.As(err, &told) && told.Code == "StoreAway" {
		return told.Message
	}
	return fmt.Sprintf("the store does not answer: %v", err)
}

// newStoreProbe asks for what is mounted.
func (m *mounted) newStoreProbe() *storeProbe {
	return &storeProbe{answered: m.client.Answered, away: func() bool { return m.client.Health().Away }, ask: func(ctx context.Context) error {
		if m.plan.bucket == "" {
			_, err := m.client.Buckets(ctx)
			return err
		}
		return m.client.HeadBucket(ctx, m.plan.bucket)
	}}
}

// unready says why the mount itself should not be used, whatever the store does.
func (r rooms) unready() string {
	switch left := r.leftBehind(); {
	case r.ending.Load():
		return "it is unmounted, and stores what is left"
	case left:
		return "it was unmounted while it was in use: its mount point is gone"
	}
	return ""
}

// Ready says why the mount should not be used, "" when it should.
func (r rooms) Ready(ctx context.Context) string {
	if why := r.unready(); why != "" {
		return why
	}
	return r.probe.unanswered(ctx)
}

// Alive proves that the face answers, and then, through the kernel, that the mount does where this process can see it.
func (r rooms) Alive(ctx context.Context) error {
	if err := r.Server.Answers(ctx); err != nil {
		return err
	}
	if r.device == "" || r.ending.Load() {
		return nil
	}
	r.pulse.Lock()
	defer r.pulse.Unlock()
	if r.pulse.heart == nil {
		r.pulse.heart = heartOf(r.plan.mountpoint)
	}
	if err := r.pulse.heart.beats(ctx); err != nil && !errors.Is(err, errUnasked) {
		return fmt.Errorf("the mount does not answer the kernel: %w", err)
	}
	return nil
}

// pulse is the heart that probes listen to: one at a time.
type pulse struct {
	sync.Mutex
	heart *heart
}

// readyAnswer is the answer to GET /ready on the control socket.
type readyAnswer struct {
	Ready bool   `json:"ready"`
	Why   string `json:"why,omitempty"`
}

func (c *control) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probePatience)
	defer cancel()
	why := c.mount.Ready(ctx)
	if c.serving.Err() != nil {
		why = errUnmounting.Error()
	}
	answer(w, http.StatusOK, readyAnswer{Ready: why == "", Why: why})
}
