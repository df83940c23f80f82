package s3client

import (
	"context"

	"golang.org/x/time/rate"
)

// gate bounds the requests in flight and the writes a second.
//
// A body that is being sent may be read, behind an io.ReaderAt, from this same client: such requests take at most three
// quarters of the slots, so that the reads they wait for always find one.
type gate struct {
	slots  chan struct{}
	bodies chan struct{}
	writes *rate.Limiter // nil: no limit
}

func newGate(requests int, writesPerSecond float64) *gate {
	requests = max(requests, 2)
	g := &gate{slots: make(chan struct{}, requests), bodies: make(chan struct{}, requests-max(1, requests/4))}
	if writesPerSecond > 0 {
		// A fifth of a second may be spent at once: bursts of small files are not slowed, the store's second is kept.
		g.writes = rate.NewLimiter(rate.Limit(writesPerSecond), max(1, int(writesPerSecond/5)))
	}
	return g
}

// enter waits for the write rate and then for a slot. The error is the context's.
func (g *gate) enter(ctx context.Context, write, body bool) (leave func(), err error) {
	if write && g.writes != nil {
		if err := g.writes.Wait(ctx); err != nil {
			if ctx.Err() == nil {
				return nil, context.DeadlineExceeded // the turn would come after the context's deadline
			}
			return nil, ctx.Err()
		}
	}
	if body {
		if err := take(ctx, g.bodies); err != nil {
			return nil, err
		}
	}
	if err := take(ctx, g.slots); err != nil {
		if body {
			<-g.bodies
		}
		return nil, err
	}
	return func() {
		<-g.slots
		if body {
			<-g.bodies
		}
	}, nil
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
