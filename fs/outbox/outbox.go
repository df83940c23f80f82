package outbox

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Outbox is the changes of names that the store does not have yet. Safe for concurrent use.
type Outbox struct {
	o     Options
	batch int       // keys of a DeleteMany
	born  time.Time // what due and last count from

	kick    chan struct{} // the scheduler looks again
	stop    chan struct{} // closed: nothing begins any more
	stopped func()
	ctx     context.Context // of the requests
	cancel  context.CancelFunc
	jobs    atomic.Uint64  // begun, for their names in the log
	work    sync.WaitGroup // the scheduler and the requests

	mu struct {
		sync.Mutex
		homes  map[string]*home
		rests  rests
		parked map[*entry]struct{}
		asked  time.Duration // when the parked were last asked about
		wakes  uint64        // calls of Wake
		count  int           // entries, and those about to be
		room   chan struct{} // closed when an entry goes; nil when nobody waits

		turns   map[id]chan struct{} // closed when the turn ends
		holds   map[id]*hold
		drains  map[*drain]struct{}
		running int  // requests
		shaken  bool // nothing has failed since the last success
		single  bool // the store has no DeleteMany
		closed  bool
	}
}

// New starts an Outbox with what earlier runs left (Decode), oldest first. Close ends it.
func New(o Options, earlier []Op) *Outbox {
	o.defaults()
	b := &Outbox{o: o, batch: o.Store.Profile().MaxDelete, born: time.Now(), kick: make(chan struct{}, 1),
		stop: make(chan struct{})}
	b.stopped = sync.OnceFunc(func() { close(b.stop) })
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.mu.homes, b.mu.parked = make(map[string]*home), make(map[*entry]struct{})
	b.mu.turns, b.mu.holds, b.mu.drains = make(map[id]chan struct{}), make(map[id]*hold), make(map[*drain]struct{})
	b.mu.shaken = true
	b.recall(earlier)
	b.work.Go(b.schedule)
	return b
}

// recall takes what earlier runs left. Changes of one key are not merged: the first may have been carried out.
func (b *Outbox) recall(earlier []Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	earlier = append([]Op(nil), earlier...)
	sort.SliceStable(earlier, func(i, j int) bool { return earlier[i].Seq < earlier[j].Seq })
	for _, op := range earlier {
		b.mu.count++
		e := b.appendLocked(op, 0)
		e.earlier = true
		b.placeLocked(e, 0)
	}
}

// now is the time since New, by the clock that runs evenly.
func (b *Outbox) now() time.Duration { return time.Since(b.born) }

// Pending is an entry that is not settled yet.
type Pending struct {
	Op    Op
	Tries int       // that failed
	Err   error     // of the last of them
	Next  time.Time // of the next; zero when none is planned: it runs, or waits for something
}

// Pending are all entries, by Seq.
func (b *Outbox) Pending() []Pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Pending, 0, b.mu.count)
	for _, h := range b.mu.homes {
		for _, e := range h.heads {
			for ; e != nil; e = e.next {
				all = append(all, b.pendingLocked(e))
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Op.Seq < all[j].Op.Seq })
	return all
}

// Rewriting is the change of a key's headers that the store may have made without an answer; false: there is none.
func (b *Outbox) Rewriting(bucket, key string) (Op, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.headLocked(id{bucket, key})
	if e == nil || e.kind != isHeaders || !e.begun() {
		return Op{}, false
	}
	return e.op(), true
}

func (b *Outbox) pendingLocked(e *entry) Pending {
	p := Pending{Op: e.op()}
	if f := e.fail; f != nil {
		p.Tries, p.Err = f.tries, f.err
	}
	if e.place == resting || e.place == waiting {
		p.Next = b.born.Add(e.due).Round(0)
	}
	return p
}

// Len is how many entries there are.
func (b *Outbox) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.count
}

// Wake tells that Busy may answer differently now.
func (b *Outbox) Wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.wakes++
	b.askAgainLocked(b.now())
	b.kickLocked()
}

// askAgainLocked lets all that Busy has kept back be asked about anew.
func (b *Outbox) askAgainLocked(now time.Duration) {
	b.mu.asked = now
	for e := range b.mu.parked {
		e.due = now
		b.placeLocked(e, now)
	}
}

// underLocked are the entries of a name and of all below it, in order for each key; bucket "" is every bucket.
func (b *Outbox) underLocked(bucket, name string) (all []*entry) {
	dir := name
	if dir != "" && !strings.HasSuffix(dir, "/") {
		dir += "/"
	}
	for _, h := range b.mu.homes {
		if bucket != "" && h.bucket != bucket {
			continue
		}
		for key, e := range h.heads {
			if key == name || strings.HasPrefix(key, dir) {
				for ; e != nil; e = e.next {
					all = append(all, e)
				}
			}
		}
	}
	return all
}

// Close begins nothing any more and waits for the requests that are on their way; when ctx ends first they are broken off.
// What is left stays in the journal: Drain first to store it. Holds work on.
func (b *Outbox) Close(ctx context.Context) error {
	b.mu.Lock()
	b.mu.closed = true
	b.mu.Unlock()
	b.stopped()
	defer b.cancel()
	idle := make(chan struct{})
	go func() {
		b.work.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	n := b.mu.running
	b.mu.Unlock()
	b.cancel()
	<-idle
	if n > 0 {
		return fmt.Errorf("close the outbox: %d requests broken off: %w", n, ctx.Err())
	}
	return nil
}
