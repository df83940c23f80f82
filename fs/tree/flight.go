package tree

import (
	"context"
	"sync"
)

// flights lets callers who ask for the same thing at the same time share one answer. The work runs on a context of its
// own: a caller may leave, and the last one leaving cancels it. (x/sync's singleflight cannot tell who is still waiting.)
type flights[V any] struct {
	running sync.WaitGroup
	mu      struct {
		sync.Mutex
		byKey map[string]*flight[V]
	}
}

type flight[V any] struct {
	done    chan struct{} // closed: value and err are set
	cancel  context.CancelFunc
	waiters int // guarded by flights.mu
	value   V
	err     error
}

// do returns f's answer, joining a running call of the same key.
func (s *flights[V]) do(ctx context.Context, key string, f func(context.Context) (V, error)) (V, error) {
	if err := ctx.Err(); err != nil {
		var none V
		return none, err
	}
	fl := s.join(ctx, key, f)
	select {
	case <-fl.done:
		s.leave(key, fl)
		return fl.value, fl.err
	case <-ctx.Done():
		s.leave(key, fl)
		var none V
		return none, ctx.Err()
	}
}

func (s *flights[V]) join(ctx context.Context, key string, f func(context.Context) (V, error)) *flight[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fl := s.mu.byKey[key]; fl != nil {
		fl.waiters++
		return fl
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight[V]{done: make(chan struct{}), cancel: cancel, waiters: 1}
	if s.mu.byKey == nil {
		s.mu.byKey = make(map[string]*flight[V])
	}
	s.mu.byKey[key] = fl
	s.running.Go(func() {
		fl.value, fl.err = f(own)
		s.finish(key, fl)
		close(fl.done)
	})
	return fl
}

func (s *flights[V]) leave(key string, fl *flight[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fl.waiters--; fl.waiters == 0 {
		fl.cancel()
		s.removeLocked(key, fl) // nobody joins what is cancelled
	}
}

func (s *flights[V]) finish(key string, fl *flight[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(key, fl)
}

func (s *flights[V]) removeLocked(key string, fl *flight[V]) {
	if s.mu.byKey[key] == fl {
		delete(s.mu.byKey, key)
	}
}

// wait returns when no call runs any more.
func (s *flights[V]) wait() { s.running.Wait() }
