package content

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func TestFailedSyncStays(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	write(f, 0, []byte("precious"))
	failStores(r)
	for range 2 {
		if err := f.Sync(bg); !errors.Is(err, s3client.Denied) {
			t.Fatalf("sync: %v", err)
		}
	}
	f.Close(nil)
	u := r.files.Unsaved()
	if len(u) != 1 || u[0].ID != obj("k") || u[0].Bytes != 8 || !errors.Is(u[0].Err, s3client.Denied) {
		t.Fatalf("unsaved: %+v", u)
	}
	f = must(r.files.Open(obj("k"), nil, Read))
	wantRead(t, f, []byte("precious"))
	r.fault.Clear()
	f.Close(nil)
	var last string
	if err := r.files.SyncAll(bg, func(done, total int64) { last = fmt.Sprint(done, "/", total) }); err != nil {
		t.Fatal(err)
	}
	if last != "8/8" {
		t.Errorf("progress %s", last)
	}
	r.wantStored(t, "k", []byte("precious"))
	if n := len(r.files.mu.all); n != 0 {
		t.Errorf("%d files are remembered", n)
	}
	if _, err := r.files.Open(obj("k"), nil, Read); !errors.Is(err, s3client.NotFound) {
		t.Errorf("open of nothing: %v", err)
	}
}

// TestSyncsShare: several Syncs at once make one upload, and a failure reaches all of them.
func TestSyncsShare(t *testing.T) {
	for _, fail := range []error{nil, s3client.Denied} {
		r := rigFor(t)
		f := r.create("k")
		write(f, 0, []byte("x"))
		started, open := make(chan struct{}), make(chan struct{})
		var once sync.Once
		rule := r.fault.Add(s3fault.Rule{Call: "Put", Before: fail, Hook: func(context.Context, s3fault.Call) error {
			once.Do(func() { close(started) })
			<-open
			return nil
		}})
		errs := make(chan error, 4)
		go func() { errs <- f.Sync(bg) }()
		<-started
		_, tries, _, _ := f.syncNeeded()
		for range 3 {
			go func() {
				gen, _, _, _ := f.syncNeeded()
				if err := f.take(bg, f.turn); err != nil {
					errs <- err
					return
				}
				defer f.turn.give()
				done, err := f.syncedBy(gen, tries)
				if !done {
					err = errors.New("would upload again")
				}
				errs <- err
			}()
		}
		close(open)
		for range 4 {
			if err := <-errs; !errors.Is(err, fail) {
				t.Errorf("sync: %v, want %v", err, fail)
			}
		}
		if n := rule.Struck(); n != 1 {
			t.Errorf("%d uploads", n)
		}
		rule.Remove()
		wantSync(t, f)
		f.Close(nil)
	}
}

// TestCanceledSyncIsNotShared: one caller's patience ends, the others still get their file stored.
func TestCanceledSyncIsNotShared(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	defer f.Close(nil)
	write(f, 0, []byte("x"))
	ctx, cancel := context.WithCancel(bg)
	r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}})
	if err := f.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled sync: %v", err)
	}
	if done, _ := f.syncedBy(f.mu.gen, 0); done {
		t.Error("a canceled commit answers for others")
	}
	wantSync(t, f)
}
