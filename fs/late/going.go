package late

import (
	"context"
	"time"

	"pailfs/s3client"
)

// goingWindow is how long what is made of a name waits for a deletion of it that has no answer: a request that a connection broke
// behind is carried out in seconds. It is shorter than window, since programs wait here: git or an editor that makes a file again.
const goingWindow = 5 * time.Second

// going is a deletion that the store may still carry out: an attempt of it has no answer, whatever was said of those behind it.
// Nothing tells it from one that is wanted, and it takes whatever is there then. So what is made of the name waits for its end.
type going struct {
	until time.Time // zero: there is none
	// expected: a process that is dead may have made it, or not.
	expected bool
}

// deleteOne deletes a name, and notes it when that is in doubt.
func (s *Store) deleteOne(ctx context.Context, n name) error {
	noted, doubt := s3client.WithDoubt(ctx)
	err := s.Store.Delete(noted, n.bucket, n.key)
	if doubt.Any() {
		s3client.Doubtful(ctx)
		s.mayGo(n.bucket, n.key)
	}
	return err
}

// mayGo notes names that a request which has no answer deletes.
func (s *Store) mayGo(bucket string, keys ...string) {
	names := s.goes(bucket, keys, going{until: time.Now().Add(goingWindow)})
	if err := s.keep(names...); err != nil {
		s.log.Warn("a deletion without an answer is in no journal: it may take a new file if this process is killed", "name", bucket+"/"+keys[0],
			"names", len(keys), "err", err)
	}
}

// goes gives the places that the deletion is noted at: of too many names it is that of all.
func (s *Store) goes(bucket string, keys []string, g going) (names []name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		n := name{bucket, k}
		if p := s.mu.places[n]; s.mu.going >= mostGoing && (p == nil || p.going.until.IsZero()) {
			n = anyName
		}
		p := s.placeLocked(n)
		if p.going.until.IsZero() {
			s.mu.going++
		}
		if p.going = g; n != anyName || len(names) == 0 || names[len(names)-1] != anyName {
			names = append(names, n)
		}
	}
	s.forgetLaterLocked()
	return names
}

// Settled waits until nothing that was deleted without an answer can take what is stored under a name now. Every call that makes
// an object does so by itself; who holds something that others need waits here before.
func (s *Store) Settled(ctx context.Context, bucket, key string) error {
	for {
		until := s.goesUntil(name{bucket, key})
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		s.log.InfoContext(ctx, "a deletion without an answer may still happen; what is stored under its name waits for that", "name", bucket+"/"+key, "until", until)
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return &s3client.Error{Op: "wait for a deletion of", Bucket: bucket, Key: key, Kind: s3client.Canceled, Err: ctx.Err()}
		}
	}
}

func (s *Store) goesUntil(n name) (until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.going == 0 {
		return until
	}
	for _, n := range [...]name{n, anyName} {
		if p := s.mu.places[n]; p != nil && p.going.until.After(until) {
			until = p.going.until
		}
	}
	return until
}

// ExpectDeletion says that a process that was killed may have been deleting a name: its request may be on its way still.
func (s *Store) ExpectDeletion(bucket, key string) {
	if g := (going{until: time.Now().Add(goingWindow), expected: true}); s.goesUntil(name{bucket, key}).Before(g.until) {
		s.goes(bucket, []string{key}, g)
	}
}
