package upload

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// The same state again does not wait: whichever lands, it is the same object.
func TestTheSameStateDoesNotWaitForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		e.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
			<-ctx.Done()
			return &s3client.Error{Op: "PUT Object", Kind: s3client.Canceled, Err: ctx.Err()}
		}})
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		j := job(random(9, 2))
		j.State = "file.1"
		if _, err := e.u.Store(ctx, j); err == nil {
			t.Fatal("stored")
		}
		began := time.Now()
		if _, err := e.u.Store(t.Context(), j); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		j.State = "file.2"
		if _, err := e.u.Store(t.Context(), j); err != nil || time.Since(began) == 0 {
			t.Errorf("another state: %v after %v", err, time.Since(began))
		}
	})
}

// Neither does it replace what the same file was made next, in one request or in parts.
func TestNewerBytesAreNotReplacedByAPutThatLandsLate(t *testing.T) {
	for name, size := range map[string]int{"put": 9, "parts": 300} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t)
				older, newer := random(9, 2), random(size, 3)
				e.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
					<-ctx.Done()
					go func() {
						time.Sleep(30 * time.Second)
						e.mem.PutBytes("b", "k", older, headers("older"))
					}()
					return &s3client.Error{Op: "PUT Object", Kind: s3client.Canceled, Err: ctx.Err()}
				}})
				ctx, leave := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, leave)
				if _, err := e.u.Store(ctx, job(older)); err == nil {
					t.Fatal("stored")
				}
				if _, err := e.u.Store(t.Context(), job(newer)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				e.holds("k", newer)
			})
		})
	}
}

// A PUT that nobody waits for any more and that the store carries out half a minute later does not replace a copy that was
// made in between.
func TestACopyIsNotReplacedByAPutThatLandsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		late := random(9, 2)
		hook := func(ctx context.Context, _ s3fault.Call) error {
			<-ctx.Done()
			go func() {
				time.Sleep(30 * time.Second)
				e.mem.PutBytes("b", "k", late, headers("late"))
			}()
			return &s3client.Error{Op: "PUT Object", Kind: s3client.Canceled, Err: ctx.Err()}
		}
		e.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: hook})
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		j := job(late)
		if _, err := e.u.Store(ctx, j); err == nil {
			t.Fatal("stored")
		}
		if until := e.u.MayLand(j.Bucket, j.Key); time.Until(until) != lateWindow {
			t.Errorf("may land until %v", until)
		}
		if until := e.u.MayLand("b", "other"); !until.IsZero() {
			t.Errorf("another key: %v", until)
		}
		src := e.mem.PutBytes("b", "src", random(9, 3), headers("1"))
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := e.u.Copy(short, src, j.Bucket, j.Key, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("copied over what may land: %v", err)
		}
		if _, err := e.u.Copy(t.Context(), src, j.Bucket, j.Key, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		e.holds(j.Key, random(9, 3))
		if !e.u.MayLand(j.Bucket, j.Key).IsZero() {
			t.Error("it may land an hour later")
		}
	})
}
