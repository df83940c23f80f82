package fs

import (
	"context"
	"sync"
	"time"

	"pailfs/fs/opid"
)

// operation is the context of one request of the kernel. Most requests end without waiting for anything, a dozen of them
// for each new file, and would pay for a timer and a goroutine that looks out for interrupts: so both are made when
// somebody asks for Done for the first time. It says when it ends and is ended exactly as a context that has them from
// the beginning.
type operation struct {
	of       context.Context // the library's; done when the kernel interrupts the request
	deadline time.Time       // zero: none
	id       opid.ID         // its name in the log
	lent     bool            // the mount is: numbers of processes are another's

	mu struct {
		sync.Mutex
		own    context.Context // nil until it is needed
		cancel context.CancelFunc
		stop   func() bool
		ended  bool
	}
}

func newOperation(ctx context.Context, limit time.Duration) *operation {
	o := &operation{of: ctx}
	if limit > 0 {
		o.deadline = time.Now().Add(limit)
	}
	return o
}

func (o *operation) Deadline() (deadline time.Time, ok bool) { return o.deadline, !o.deadline.IsZero() }

func (o *operation) Done() <-chan struct{} { return o.watch().Done() }

// Err has something to say only when the operation has ended, its time is over, or the kernel has interrupted it.
func (o *operation) Err() error {
	own, ended := o.watched()
	switch {
	case own != nil:
		return own.Err()
	case ended:
		return context.Canceled
	case !o.deadline.IsZero() && !time.Now().Before(o.deadline):
		return context.DeadlineExceeded
	}
	select {
	case <-o.of.Done():
		return o.watch().Err() // now the caller's signals are looked at
	default:
		return nil
	}
}

// Value answers for the context that Done belongs to, so that contexts made from this one need no goroutine.
func (o *operation) Value(key any) any {
	if _, asked := key.(opid.Key); asked {
		return o.id
	}
	if own, _ := o.watched(); own != nil {
		return own.Value(key)
	}
	return o.of.Value(key)
}

func (o *operation) watched() (own context.Context, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.own, o.mu.ended
}

// watch makes the context that can be waited for.
func (o *operation) watch() context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.own != nil {
		return o.mu.own
	}
	own := context.WithoutCancel(o.of)
	var cancel context.CancelFunc
	if o.deadline.IsZero() {
		own, cancel = context.WithCancel(own)
	} else {
		own, cancel = context.WithDeadline(own, o.deadline)
	}
	o.mu.own, o.mu.cancel = own, cancel
	if o.mu.ended {
		cancel()
	} else {
		o.mu.stop = context.AfterFunc(o.of, func() { watchSignals(own, cancel, o.of, o.lent) })
	}
	return own
}

func (o *operation) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.ended = true
	if o.mu.stop != nil {
		o.mu.stop()
		o.mu.cancel()
	}
}
