package content

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pailfs/fs/opid"
	"pailfs/s3client"
)

const (
	// syncParallel is how many files are committed at once; their requests share the Uploader's limit, and 32 keep its
	// slots busy while others wait for a HEAD or the journal.
	syncParallel = 32
	firstPause   = time.Second
	longestPause = time.Minute
	// awayFails: so many commits on end without an answer mean that the store is away. From then on one file at a time asks.
	awayFails = 4
)

// pause is how long to wait after so many failures on end.
func pause(fails int) time.Duration {
	d := firstPause
	for ; fails > 1 && d < longestPause; fails-- {
		d *= 2
	}
	return min(d, longestPause)
}

// isAway says whether an error means that the store did not answer, so that another answer is worth a try at once.
func isAway(err error) bool {
	return !answered(err) && (errors.Is(err, s3client.Temporary) || errors.Is(err, context.DeadlineExceeded))
}

// committer stores in the background what Flush has kept in the journal. Files are committed when they are due
// (File.dueLocked), what the journal has had longest first, many at once; what fails waits for longer and longer. While the store is away one file
// is tried at a time; as soon as any commit succeeds all are due. It works from start to stop; what is scheduled before
// waits for that.
type committer struct {
	files   *Files
	wake    chan struct{} // one place
	commits atomic.Uint64 // begun: their names in the log

	mu struct {
		sync.Mutex
		queue   *queue
		away    map[*File]struct{} // their last commit failed because the store was away
		fails   int                // commits that failed so on end
		probe   time.Time          // not before, while the store is away
		running int
		resting bool               // begins nothing any more
		end     context.CancelFunc // nil before start
		ended   chan struct{}
	}
	wg sync.WaitGroup
}

func newCommitter(s *Files) *committer {
	c := &committer{files: s, wake: make(chan struct{}, 1)}
	c.mu.queue = newQueue()
	c.mu.away = make(map[*File]struct{})
	return c
}

// Start begins to store in the background what is kept in the journal, until ctx ends or Close. New starts nothing.
func (s *Files) Start(ctx context.Context) { s.behind.start(ctx) }

func (c *committer) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.end != nil || c.mu.resting {
		return
	}
	ctx, c.mu.end = context.WithCancel(ctx)
	c.mu.ended = make(chan struct{})
	go c.loop(ctx, c.mu.ended)
}

// rest begins no more commits; those that run go on.
func (c *committer) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.resting = true
}

// stop ends the commits that run and waits for them.
func (c *committer) stop() {
	c.mu.Lock()
	end, ended := c.mu.end, c.mu.ended
	c.mu.resting = true
	c.mu.Unlock()
	if end != nil {
		end()
		<-ended
	}
}

// schedule lets a kept file be stored when it is due. Without a kept state it does nothing.
func (c *committer) schedule(f *File) {
	if due, since, ok := f.due(); ok {
		c.add(f, due, since)
		c.poke()
	}
}

func (c *committer) add(f *File, due, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.queue.add(f, due, since)
}

func (c *committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// dueLocked is when a file's kept state is to be stored in the background: when the file has rested, or when it has
// waited for too long. What was written since the last Flush is waited for as long as somebody has the file open.
func (f *File) dueLocked() (time.Time, bool) {
	k := f.keptLocked()
	if k == nil || !f.unsavedLocked() {
		return time.Time{}, false
	}
	o := &f.files.o
	due, rested := k.since.Add(o.MaxLag), f.mu.changed.Add(o.Settle)
	if (k.bytes == f.bytesLocked() || f.mu.refs == 0) && rested.Before(due) {
		due = rested
	}
	if due.Before(f.mu.next) {
		due = f.mu.next
	}
	return due, true
}

// late says whether the store is so far behind that who closes a file has to wait. A file that the store refuses, and a
// store that is away, make nobody wait: it would help nobody.
func (c *committer) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.fails >= awayFails || c.mu.end == nil {
		return false
	}
	limit := c.files.o.Now().Add(-c.files.o.MaxLag)
	c.mu.queue.advance(c.files.o.Now())
	if e := c.mu.queue.oldest(); e != nil && e.since.Before(limit) {
		return true
	}
	for e := range c.mu.queue.going {
		if e.since.Before(limit) {
			return true
		}
	}
	return false
}

// loop begins commits until ctx ends, and waits for them.
func (c *committer) loop(ctx context.Context, ended chan struct{}) {
	defer close(ended)
	defer c.wg.Wait()
	for ctx.Err() == nil {
		c.wait(ctx, c.begin(ctx))
	}
}

// wait returns when something was scheduled, or at a time; zero: never.
func (c *committer) wait(ctx context.Context, next time.Time) {
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(next.Sub(c.files.o.Now()))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-c.wake:
	case <-timer:
	case <-ctx.Done():
	}
}

// begin begins all commits that may begin now, and says when to look again; zero: when woken.
func (c *committer) begin(ctx context.Context) (next time.Time) {
	for {
		f, next := c.pick()
		if f == nil {
			return next
		}
		c.wg.Go(func() {
			ctx := opid.With(ctx, opid.ID{Kind: 'c', N: c.commits.Add(1)})
			c.done(ctx, f, f.storeBehind(ctx))
			c.files.unpin(f)
		})
	}
}

// pick takes the next file, pinned, or says when there may be one.
func (c *committer) pick() (f *File, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.files.o.Now()
	for {
		next = c.mu.queue.advance(now)
		e := c.mu.queue.oldest()
		most := syncParallel
		if c.mu.fails >= awayFails {
			most = 1
			if e != nil && now.Before(c.mu.probe) {
				return nil, c.mu.probe
			}
		}
		if e == nil || c.mu.resting || c.mu.running >= most {
			return nil, next
		}
		due, since, ok := e.f.due()
		switch {
		case !ok:
			c.mu.queue.drop(e)
			delete(c.mu.away, e.f)
		case due.After(now):
			c.mu.queue.later(e, due, since)
		default:
			c.mu.queue.begin(e)
			c.mu.running++
			e.f.addPin(1)
			return e.f, time.Time{}
		}
	}
}

// due is dueLocked, and since when the file waits in the journal.
func (f *File) due() (due, since time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if due, ok = f.dueLocked(); ok {
		since = f.keptLocked().since
	}
	return due, since, ok
}

// done records the end of a commit.
func (c *committer) done(ctx context.Context, f *File, err error) {
	id := f.ID()
	if err != nil && !errors.Is(err, context.Canceled) {
		c.files.o.Log.WarnContext(ctx, "a file could not be stored in the background; it is tried again", "file", id.String(), "err", err)
	}
	func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mu.running--
		c.mu.queue.done(c.mu.queue.of[f])
		delete(c.mu.away, f)
		if isAway(err) {
			c.mu.away[f] = struct{}{}
			if c.mu.fails++; c.mu.fails >= awayFails {
				c.mu.probe = c.files.o.Now().Add(pause(c.mu.fails - awayFails + 1))
			}
		}
	}()
	if err != nil {
		f.rests(err)
	}
	c.schedule(f)
	c.poke()
}

// rests lets a file wait whose commit has failed before it began, as finish does for those that had begun.
func (f *File) rests(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.files.o.Now()
	if f.mu.next.After(now) {
		return
	}
	if !errors.Is(err, context.Canceled) {
		f.mu.fails++
	}
	f.mu.next = now.Add(pause(f.mu.fails))
}

// succeeded: the store has taken something. Who failed because it was away is tried at once.
func (c *committer) succeeded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.fails == 0 && len(c.mu.away) == 0 {
		return
	}
	c.mu.fails = 0
	for f := range c.mu.away {
		f.retryNow()
	}
	c.mu.queue.hasten(c.mu.away, c.files.o.Now())
	clear(c.mu.away)
	c.poke()
}

func (f *File) retryNow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.next = time.Time{}
}

// Interrupt ends a commit of an id that nobody called for, because its name is about to be taken away.
func (s *Files) Interrupt(id ID) {
	f, ok := s.Get(id)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.cancel != nil {
		f.mu.cancel()
	}
}

// named is the key of Named.
type named struct{}

// Named says to a change of a file that its caller has the file's name (Options.Hold). A change that has to store the file before
// asks for the name otherwise: somebody may be renaming it.
func Named(ctx context.Context) context.Context { return context.WithValue(ctx, named{}, true) }

// heldToChange is held for a change, whose caller may have the name already and must not wait for it then.
func (f *File) heldToChange(ctx context.Context, do func() error) error {
	if ctx.Value(named{}) != nil {
		return do()
	}
	return f.held(ctx, do)
}

// held calls do while the name of a file is kept as it is. The name may change while it is waited for.
func (f *File) held(ctx context.Context, do func() error) error {
	for {
		id := f.ID()
		release, err := f.files.o.Hold(ctx, id)
		if err != nil {
			return fmt.Errorf("wait for the name %s: %w", id, err)
		}
		if f.ID() == id {
			defer release()
			return do()
		}
		release()
	}
}
