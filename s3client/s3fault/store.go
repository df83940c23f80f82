package s3fault

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pailfs/s3client"
)

// Store is a store that fails as its rules say. Safe for concurrent use.
type Store struct {
	inner s3client.Store

	mu struct {
		sync.Mutex
		rules  []*Active
		counts map[string]Faults
		calls  map[string]int64
	}
}

var _ s3client.Store = (*Store)(nil)

// New decorates a store. Without rules it is that store.
func New(inner s3client.Store) *Store {
	s := &Store{inner: inner}
	s.mu.counts = make(map[string]Faults)
	s.mu.calls = make(map[string]int64)
	return s
}

// Add puts a rule to work behind those that are there: of several that strike a call the first that has an answer
// gives it, and the delays of those before it add up.
func (s *Store) Add(r Rule) *Active {
	a := &Active{store: s, rule: r, chance: rand.New(rand.NewPCG(r.Seed, 0x9e3779b97f4a7c15))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.rules = append(slices.Clip(s.mu.rules), a)
	return a
}

// Clear removes all rules.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.rules = nil
}

// Faults are how many faults were delivered to the callers of one method.
type Faults struct {
	Before int64 // errors in place of the call
	After  int64 // errors after the call was carried out
	Hook   int64 // errors of hooks
	Cut    int64 // bodies that broke off while they were being read
	Stall  int64 // bodies that stalled while they were being read
	Keys   int64 // keys that DeleteMany was made to fail
	Delay  int64 // calls that were delayed; not an error
}

// Errors is the number of faults that a caller saw as an error.
func (f Faults) Errors() int64 { return f.Before + f.After + f.Hook + f.Cut + f.Stall + f.Keys }

// Counts are the faults delivered so far by the method's name.
func (s *Store) Counts() map[string]Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mu.counts)
}

// Injected is the number of faults so far that a caller saw as an error, over all methods.
func (s *Store) Injected() int64 {
	var n int64
	for _, f := range s.Counts() {
		n += f.Errors()
	}
	return n
}

// Calls are the calls so far by the method's name, struck or not.
func (s *Store) Calls() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mu.calls)
}

func (s *Store) count(name string, add func(*Faults)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.mu.counts[name]
	add(&f)
	s.mu.counts[name] = f
}

// choose gives the rules that strike a call.
func (s *Store) choose(c Call) []Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.calls[c.Name]++
	var struck []Rule
	for _, a := range s.mu.rules {
		if a.choosesLocked(c) {
			struck = append(struck, a.rule)
		}
	}
	return struck
}

// before carries out what comes before the call: nil lets the call be made.
func (s *Store) before(ctx context.Context, c Call, rules []Rule) error {
	for _, r := range rules {
		if r.Delay > 0 {
			s.count(c.Name, func(f *Faults) { f.Delay++ })
			if err := wait(ctx, c, r.Delay); err != nil {
				return err
			}
		}
		if r.Hook != nil {
			if err := r.Hook(ctx, c); err != nil {
				s.count(c.Name, func(f *Faults) { f.Hook++ })
				return asError(c, err)
			}
		}
		if r.Before != nil {
			s.count(c.Name, func(f *Faults) { f.Before++ })
			return asError(c, r.Before)
		}
	}
	return nil
}

// after is the error of a lost answer, nil when the answer arrives.
func (s *Store) after(c Call, rules []Rule) error {
	for _, r := range rules {
		if r.After != nil || r.Refused != nil {
			s.count(c.Name, func(f *Faults) { f.After++ })
		}
		switch {
		case r.After != nil:
			return asError(c, r.After)
		case r.Refused != nil:
			return s3client.InDoubt(asError(c, r.Refused))
		}
	}
	return nil
}

// wait is the delay of a call; the context's end is the call's answer.
func wait(ctx context.Context, c Call, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return canceled(c, ctx)
	}
}

func canceled(c Call, ctx context.Context) error {
	return &s3client.Error{Op: c.Name, Bucket: c.Bucket, Key: c.Key, Kind: s3client.Canceled, Err: ctx.Err()}
}

// asError makes a bare Kind, and what is not from a store, the error of this call; an *s3client.Error stays.
func asError(c Call, err error) error {
	var known *s3client.Error
	if errors.As(err, &known) {
		return err
	}
	e := &s3client.Error{Op: c.Name, Bucket: c.Bucket, Key: c.Key, Code: "Injected"}
	if k, ok := err.(s3client.Kind); ok {
		e.Kind = k
		return e
	}
	e.Err = err
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		e.Kind = s3client.Canceled
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		e.Kind = s3client.Temporary
	}
	return e
}

// do makes a call under the rules; its result is the zero value when the call or its answer was lost.
func do[T any](ctx context.Context, s *Store, c Call, f func() (T, error)) (T, error) {
	var zero T
	rules := s.choose(c)
	if err := s.before(ctx, c, rules); err != nil {
		doubt(ctx, err)
		return zero, err
	}
	v, err := f()
	if lost := s.after(c, rules); lost != nil {
		s3client.Doubtful(ctx)
		return zero, lost
	}
	return v, err
}

// doubt notes an error that leaves it open whether the call was carried out.
func doubt(ctx context.Context, err error) {
	switch s3client.KindOf(err) {
	case s3client.Temporary, s3client.Unknown, s3client.Canceled:
		s3client.Doubtful(ctx)
	}
}

// try is do for calls without a result.
func try(ctx context.Context, s *Store, c Call, f func() error) error {
	_, err := do(ctx, s, c, func() (struct{}, error) { return struct{}{}, f() })
	return err
}
