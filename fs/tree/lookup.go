package tree

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pailfs/s3client"
)

// asking is what the store is asked for where a name is not known.
type asking int

const (
	oneName asking = iota
	onePage
	allPages
)

const (
	// askMax is how many keys a lookup asks for: the object itself comes first, "key/" after those that go on with one of
	// the 15 characters below '/'.
	askMax = 20
	// maxRounds is how often a lookup asks about changes that listings contradict before it believes what it has.
	maxRounds = 16
	// bigFor is how long a directory that was more than one page is not listed from its first name for a lookup again.
	bigFor = time.Minute
	// inOrder is how many unknown names of a large directory, each behind the one before, make a walk over its names.
	inOrder = 2
	// nextGap is how many names may lie between two that are asked for in order.
	nextGap = 8
	// namesPerPage is how many names a page of a listing has.
	namesPerPage = 1000
)

// manner is how a path is looked up.
type manner struct {
	full  bool // with the attributes
	stale bool // what was known before is good enough while the store does not answer
	cheap bool // by Options.Attributes
}

// Lookup is what a path is, as of at most the TTL ago, with its attributes if the mount shows them (Options.Full).
// ErrNotFound when there is nothing; any error of the store is that error.
//
// While the store does not answer it is what was there when that was last known: the Entry is Stale. What was not known
// then, or not there, is waited for, and the store's error: who hears that a name is not there makes it.
func (t *Tree) Lookup(ctx context.Context, path string) (Entry, error) {
	return t.lookup(ctx, path, manner{full: t.o.Full, stale: true, cheap: true})
}

// Sure is Lookup, and never Stale: for a name that is about to be changed.
func (t *Tree) Sure(ctx context.Context, path string) (Entry, error) {
	return t.lookup(ctx, path, manner{full: t.o.Full, cheap: true})
}

// Find is Lookup without the attributes, unless they are known.
func (t *Tree) Find(ctx context.Context, path string) (Entry, error) {
	return t.lookup(ctx, path, manner{stale: true})
}

// MaxTarget is the size in bytes above which an object is a regular file, whatever its attributes are.
const MaxTarget = maxTarget

// Complete is Lookup with the attributes whatever the mount shows, and never Stale: before an existing file is opened
// for writing, so that its headers are known when it is stored again.
func (t *Tree) Complete(ctx context.Context, path string) (Entry, error) {
	return t.lookup(ctx, path, manner{full: true})
}

func (t *Tree) lookup(ctx context.Context, path string, m manner) (Entry, error) {
	if _, _, err := t.space.locate(path); err != nil {
		if errors.Is(err, ErrName) { // no key and no bucket can have it
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return Entry{}, fmt.Errorf("look up %s: %w", path, err)
	}
	e, state := t.Known(path)
	if state == Unknown {
		var err error
		if e, state, err = t.find(ctx, path, m); err != nil {
			return Entry{}, t.storeErr("look up", path, err)
		}
	}
	switch {
	case state == Absent:
		return Entry{}, fmt.Errorf("look up %s: %w", path, ErrNotFound)
	case e.Full || !m.full || t.space.top(path):
		return e, nil
	}
	return t.complete(ctx, e, m)
}

// find asks the store for a path, or for want of an answer the memory.
func (t *Tree) find(ctx context.Context, path string, m manner) (Entry, State, error) {
	ask := func(ctx context.Context) (Entry, error) { return t.ask(ctx, path) }
	_, was := t.lastKnown(path)
	e, stale, err := orStale(ctx, t, &t.asks, path, m.stale && was == Found, ask)
	if stale {
		if e, state := t.lastKnown(path); state == Found {
			return e, state, nil
		}
		if err == nil { // it was forgotten meanwhile, or deleted
			e, err = t.asks.do(ctx, path, ask)
		}
	}
	state := Found
	switch {
	case errors.Is(err, ErrNotFound):
		state = Absent
	case err != nil:
		return Entry{}, Unknown, err
	}
	e, state = t.changedSince(path, e, state)
	return e, state, nil
}

// changedSince corrects a shared answer by a change made here after it was formed.
func (t *Tree) changedSince(path string, e Entry, state State) (Entry, State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.overlay.get(path, t.o.Now())
	if c == nil {
		return e, state
	}
	if e, found, _ := t.changedLocked(path, c, true); found {
		return e, Found
	}
	return Entry{}, Absent
}

// ask finds a path out from the store and remembers the answer.
func (t *Tree) ask(ctx context.Context, path string) (Entry, error) {
	if t.space.top(path) {
		return t.askBucket(ctx, path)
	}
	if how, after := t.pageDue(path); how != oneName {
		if err := t.readPages(ctx, path, how, after); err != nil {
			return Entry{}, err
		}
		switch e, state := t.Known(path); state {
		case Found:
			return e, nil
		case Absent:
			return Entry{}, ErrNotFound
		}
	}
	s, asked, err := t.askOne(ctx, path)
	if err != nil {
		return Entry{}, err
	}
	return t.settle(ctx, path, s, asked)
}

// askOne lists what begins with the path's key: one request, a second one where too many names come before "key/".
func (t *Tree) askOne(ctx context.Context, path string) (shown, time.Time, error) {
	bucket, key, _ := t.space.locate(path)
	asked := t.o.Now()
	p, err := t.o.Store.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: key, Delimiter: "/", Max: askMax})
	if err != nil {
		return shown{}, asked, err
	}
	var s shown
	last := p.Next
	for i := range p.Objects {
		if p.Objects[i].Key == key && !isBlank(key) {
			p.Objects[i].Bucket = bucket
			s.obj = &p.Objects[i]
		}
		last = max(last, p.Objects[i].Key)
	}
	for _, prefix := range p.Prefixes {
		s.prefix = s.prefix || prefix == key+"/"
		last = max(last, prefix)
	}
	if s.prefix || p.Next == "" || last > key+"/" {
		return s, asked, nil
	}
	p, err = t.o.Store.List(ctx, s3client.ListRequest{Bucket: bucket, Prefix: key + "/", Max: 1})
	s.prefix = len(p.Objects) > 0
	return s, asked, err
}

// settle merges a listing's answer for one path with the changes made here, asks the store's HEAD where the two
// disagree, and remembers the outcome.
func (t *Tree) settle(ctx context.Context, path string, s shown, asked time.Time) (Entry, error) {
	for round := 0; ; round++ {
		t.mu.Lock()
		e, found, sure := t.mergeLocked(path, s, asked)
		at, c := path, t.mu.overlay.byPath[path]
		if sure && found && c == nil && e.IsDir() && !s.prefix { // a directory by what was put below it
			at, c = t.doubtfulLocked(path)
			sure = c == nil
		}
		sure = sure || round == maxRounds
		if sure || c == nil {
			if sure {
				t.recordAskedLocked(path, e, found)
			}
			t.mu.Unlock()
			switch {
			case !sure:
				continue
			case !found:
				return Entry{}, ErrNotFound
			}
			return e, nil
		}
		t.mu.Unlock()
		if err := t.resolve(ctx, at, c, &s, at == path); err != nil {
			return Entry{}, err
		}
	}
}

func (t *Tree) recordAskedLocked(path string, e Entry, found bool) {
	dir, name := split(path)
	if found {
		t.entries.Put(dir, name, e)
	} else {
		t.entries.Absent(dir, name)
	}
}
