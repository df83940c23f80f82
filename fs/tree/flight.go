package tree

import (
	"context"
	"sync"
	"time"
)

// flights lets callers who ask for the same thing at the same time share one answer. The work runs on a context of its
// own: a caller may leave, and the last one leaving cancels it, unless a caller wanted it to go on without him. (x/sync's
// singleflight cannot tell who is still waiting.)
type flights[V any] struct {
	running sync.WaitGroup
	mu      struct {
		sync.Mutex
		byKey  map[string]*flight[V]
		closed bool
	}
}

// flight's fields below done are guarded by flights.mu, until done is closed.
type flight[V any] struct {
	done    chan struct{} // closed: value and err are set
	cancel  context.CancelFunc
	waiters int      // one who has left it going counts for ever
	left    []func() // called when it ends, for those
	value   V
	err     error
}

// do returns f's answer, joining a running call of the same key.
func (s *flights[V]) do(ctx context.Context, key string, f func(context.Context) (V, error)) (V, error) {
	v, _, err := s.within(ctx, key, nil, nil, f)
	return v, err
}

// within is do for a caller who does not wait after late: inTime is then false, and the call goes on until it ends
// or close. leave is called at that moment, and what it returned when the call has ended.
func (s *flights[V]) within(ctx context.Context, key string, late <-chan time.Time, leave func() (ended func()),
	f func(context.Context) (V, error)) (v V, inTime bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, true, err
	}
	fl := s.join(ctx, key, f)
	select {
	case <-fl.done:
		s.leave(key, fl)
		return fl.value, true, fl.err
	case <-ctx.Done():
		s.leave(key, fl)
		return v, true, ctx.Err()
	case <-late:
		if s.keep(key, fl, leave) {
			return v, false, nil
		}
		<-fl.done // it has just ended
		return fl.value, true, fl.err
	}
}

// begin starts a call that nobody waits for; false when one of its key is running, or after close.
func (s *flights[V]) begin(ctx context.Context, key string, ended func(), f func(context.Context) (V, error)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed || s.mu.byKey[key] != nil {
		return false
	}
	fl := s.startLocked(ctx, key, f)
	fl.left = append(fl.left, ended)
	return true
}

func (s *flights[V]) join(ctx context.Context, key string, f func(context.Context) (V, error)) *flight[V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fl := s.mu.byKey[key]; fl != nil {
		fl.waiters++
		return fl
	}
	return s.startLocked(ctx, key, f)
}

// startLocked starts a call with one waiter.
func (s *flights[V]) startLocked(ctx context.Context, key string, f func(context.Context) (V, error)) *flight[V] {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight[V]{done: make(chan struct{}), cancel: cancel, waiters: 1}
	if s.mu.byKey == nil {
		s.mu.byKey = make(map[string]*flight[V])
	}
	s.mu.byKey[key] = fl
	s.running.Go(func() {
		fl.value, fl.err = f(own)
		for _, ended := range s.finish(key, fl) {
			ended()
		}
		cancel()
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

// keep lets a call go on for a caller who leaves; false when it has ended.
func (s *flights[V]) keep(key string, fl *flight[V], leave func() (ended func())) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.byKey[key] != fl {
		return false
	}
	fl.left = append(fl.left, leave())
	if s.mu.closed {
		fl.cancel()
	}
	return true
}

func (s *flights[V]) finish(key string, fl *flight[V]) (left []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(key, fl)
	return fl.left
}

func (s *flights[V]) removeLocked(key string, fl *flight[V]) {
	if s.mu.byKey[key] == fl {
		delete(s.mu.byKey, key)
	}
}

// close cancels the calls that nobody waits for, and returns when none runs any more.
func (s *flights[V]) close() {
	s.mu.Lock()
	s.mu.closed = true
	for _, fl := range s.mu.byKey {
		if len(fl.left) > 0 {
			fl.cancel()
		}
	}
	s.mu.Unlock()
	s.running.Wait()
}
