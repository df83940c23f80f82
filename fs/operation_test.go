package fs

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/opid"
)

// interrupted is a context of the library's kind: one that the context package does not know, as go-fuse's.
type interrupted struct {
	context.Context
	done chan struct{}
}

func (c interrupted) Done() <-chan struct{} { return c.done }
func (c interrupted) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

func newInterrupted() interrupted { return interrupted{context.Background(), make(chan struct{})} }

// An operation's name is in its context and in all that are made of it, before and after somebody waits.
func TestAnOperationHasItsName(t *testing.T) {
	f := &face{}
	one, ended := f.request(context.Background(), time.Hour)
	defer ended()
	part, partEnded := f.requestOf(one, context.Background(), 0)
	defer partEnded()
	other, otherEnded := f.request(context.Background(), 0)
	defer otherEnded()
	one.Done()
	child, cancel := context.WithCancel(part)
	defer cancel()
	for want, ctx := range map[string]context.Context{"f1": one, "f1 of a part": child, "f2": other} {
		id, ok := opid.Of(ctx)
		if got, _, _ := strings.Cut(want, " "); !ok || id.String() != got {
			t.Errorf("%s: %v %v", want, id, ok)
		}
	}
}

func TestAnOperationThatWaitsForNothingCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		o := newOperation(newInterrupted(), time.Hour)
		if err := o.Err(); err != nil {
			t.Errorf("it has only begun: %v", err)
		}
		if d, ok := o.Deadline(); !ok || time.Until(d) != time.Hour {
			t.Errorf("it ends at %v (%v)", d, ok)
		}
		if own, _ := o.watched(); own != nil || runtime.NumGoroutine() != before {
			t.Errorf("something is watched already; %d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		o.end()
		if err := o.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("at its end: %v", err)
		}
		select {
		case <-o.Done():
		default:
			t.Error("who asks after the end waits for ever")
		}
	})
}

func TestAnOperationEndsForWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name  string
			limit time.Duration
			end   func(o *operation, of interrupted)
			want  error
		}{
			{"its end", 0, func(o *operation, _ interrupted) { o.end() }, context.Canceled},
			{"its end before the limit", time.Hour, func(o *operation, _ interrupted) { o.end() }, context.Canceled},
			{"the limit", time.Second, func(*operation, interrupted) {}, context.DeadlineExceeded},
			// No process is behind the request, which counts as one that is about to die.
			{"a fatal signal", 0, func(_ *operation, of interrupted) { close(of.done) }, context.Canceled},
		} {
			of := newInterrupted()
			o := newOperation(of, c.limit)
			child, cancel := context.WithTimeout(o, 2*time.Hour)
			c.end(o, of)
			<-child.Done()
			if err := o.Err(); !errors.Is(err, c.want) || !errors.Is(child.Err(), c.want) {
				t.Errorf("%s: %v, and %v for who waited; want %v", c.name, err, child.Err(), c.want)
			}
			cancel()
			o.end()
		}
	})
}

func TestAnOperationThatOnlyLooksSeesItsEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperation(newInterrupted(), time.Second)
		time.Sleep(time.Second)
		if err := o.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its limit: %v", err)
		}
		o.end()
		of := newInterrupted()
		o = newOperation(of, 0)
		close(of.done)
		o.Err() // the signals are looked at now
		synctest.Wait()
		if err := o.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("after a fatal signal: %v", err)
		}
		o.end()
	})
}

// Contexts are made from an operation for each request to the store: they must not cost a goroutine each.
func TestAContextOfAnOperationNeedsNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperation(newInterrupted(), 0)
		defer o.end()
		o.Done()
		synctest.Wait()
		before := runtime.NumGoroutine()
		for range 10 {
			_, cancel := context.WithTimeout(o, time.Hour)
			defer cancel()
		}
		synctest.Wait()
		if now := runtime.NumGoroutine(); now != before {
			t.Errorf("%d goroutines more for 10 contexts", now-before)
		}
	})
}
