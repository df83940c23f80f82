package s3client

import (
	queue "container/list"
	"context"
	"sync"
)

// slots are a number of places that can be changed while they are taken. Who waits is served in turn.
type slots struct {
	mu struct {
		sync.Mutex
		limit, used int
		waiting     queue.List // of chan struct{}; closing one gives its owner a place
	}
}

func newSlots(n int) *slots {
	s := &slots{}
	s.mu.limit = n
	return s
}

// take waits for a place. The error is the context's.
func (s *slots) take(ctx context.Context) error {
	turn := s.ask()
	if turn == nil {
		return nil
	}
	given := turn.Value.(chan struct{})
	select {
	case <-given:
		return nil
	case <-ctx.Done():
	}
	s.leave(turn)
	return ctx.Err()
}

// ask takes a place, or gets in line: nil when there was one.
func (s *slots) ask() *queue.Element {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.used < s.mu.limit && s.mu.waiting.Len() == 0 {
		s.mu.used++
		return nil
	}
	return s.mu.waiting.PushBack(make(chan struct{}))
}

// leave goes out of the line, or gives the place back that came in this very moment.
func (s *slots) leave(turn *queue.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-turn.Value.(chan struct{}):
		s.mu.used--
		s.serveLocked()
	default:
		s.mu.waiting.Remove(turn)
	}
}

// free gives a place back.
func (s *slots) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.used--
	s.serveLocked()
}

// resize changes their number. Places that are taken stay so until they are free.
func (s *slots) resize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.limit = n
	s.serveLocked()
}

func (s *slots) serveLocked() {
	for s.mu.used < s.mu.limit && s.mu.waiting.Len() > 0 {
		first := s.mu.waiting.Front()
		s.mu.waiting.Remove(first)
		s.mu.used++
		close(first.Value.(chan struct{}))
	}
}
