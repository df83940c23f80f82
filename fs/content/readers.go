package content

import (
	"sync"
	"time"
)

const (
	// leastWindow is what a sequential reader gets however many there are: two pieces of the smallest window.
	leastWindow = 2 * firstWindow
	// idleReader is when a reader that reads no more gives its share to the others; a player that is paused, say.
	idleReader = 10 * time.Second
)

// reader is a sequential reader's place among the others. It belongs to a Handle; guarded by readers.mu.
type reader struct {
	active bool
	last   time.Time
}

// readers shares the readahead's bytes among the handles that read sequentially at the moment. Safe for concurrent use.
type readers struct {
	mu struct {
		sync.Mutex
		active map[*reader]struct{}
		pruned time.Time
	}
}

// share is the largest window that the reader may have: the whole for one, even parts for several, at most most. It makes
// the reader one of them.
func (s *readers) share(r *reader, now time.Time, most, total int64) int64 {
	if total <= 0 {
		return most
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.active == nil {
		s.mu.active = make(map[*reader]struct{})
	}
	r.active, r.last = true, now
	s.mu.active[r] = struct{}{}
	if now.Sub(s.mu.pruned) > idleReader/10 {
		s.mu.pruned = now
		for other := range s.mu.active {
			if now.Sub(other.last) > idleReader {
				other.active = false
				delete(s.mu.active, other)
			}
		}
	}
	return min(most, max(total/int64(len(s.mu.active)), min(leastWindow, total)))
}

// leave takes a reader out that reads no more, or not on end.
func (s *readers) leave(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.active {
		r.active = false
		delete(s.mu.active, r)
	}
}
