package tree

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// Many lookups of one name, and many listings of one directory, share their requests; who leaves early harms nobody.
func TestSharedRequests(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true})
	r.object("f", "hello")
	hold := make(chan struct{})
	entered := make(chan struct{}, 100)
	r.fault.Add(s3fault.Rule{Call: "List", Hook: func(ctx context.Context, _ s3fault.Call) error {
		entered <- struct{}{}
		select {
		case <-hold:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	ctx, cancel := context.WithCancel(r.ctx)
	left := make(chan error)
	go func() { // the first asker leaves
		_, err := r.tree.Lookup(ctx, "f")
		left <- err
	}()
	<-entered
	var wg sync.WaitGroup
	joined := func() int {
		r.tree.asks.mu.Lock()
		defer r.tree.asks.mu.Unlock()
		if fl := r.tree.asks.mu.byKey["f"]; fl != nil {
			return fl.waiters
		}
		return 0
	}
	for range 20 {
		wg.Go(func() {
			if e, err := r.tree.Lookup(r.ctx, "f"); err != nil || e.Size != 5 || !e.Full {
				t.Errorf("%+v %v", e, err)
			}
		})
	}
	for joined() < 21 {
		time.Sleep(time.Microsecond)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hold)
	wg.Wait()
	r.cost("L1 H1")
}

func TestLastWaiterCancels(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt})
	entered, ended := make(chan struct{}), make(chan struct{})
	r.fault.Add(s3fault.Rule{Call: "List", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
		close(entered)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(r.ctx)
	go func() {
		<-entered
		cancel()
	}()
	if _, err := r.tree.Lookup(ctx, "f"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
	r.missing("f") // the next asker starts anew
}

// Everything at once on a few names: no race, no deadlock, and what is left is what the store has.
func TestConcurrent(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, Full: true, MaxEntries: 50})
	var wg sync.WaitGroup
	check := func(err error) {
		for _, fine := range []error{nil, ErrNotFound, ErrExists, ErrIsDir, ErrNotDir, ErrNotEmpty, ErrBusy, ErrInvalid, s3client.NotFound, s3client.Changed} {
			if errors.Is(err, fine) || err == nil {
				return
			}
		}
		t.Error(err)
	}
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				p := fmt.Sprintf("d%d/f%d", i%3, (i+g)%5)
				dir, _ := split(p)
				switch (i + g) % 9 {
				case 0:
					_, err := r.tree.Mkdir(r.ctx, dir, Attr{Mode: 0o755})
					check(err)
				case 1:
					if _, err := r.tree.Create(p, Attr{Mode: 0o644}); err == nil {
						h := r.headersOf(bkt, p, false)
						o, err := r.mem.Put(r.ctx, s3client.PutRequest{Bucket: bkt, Key: p, Headers: h, Body: strings.NewReader(p), Size: int64(len(p))})
						check(err)
						o.Headers = &h
						r.tree.Stored(bkt, p, o)
					}
				case 2:
					check(r.tree.Unlink(r.ctx, p))
				case 3:
					check(r.tree.Rmdir(r.ctx, dir))
				case 4:
					check(r.tree.Rename(r.ctx, p, fmt.Sprintf("d%d/g%d", g%3, i%4), false, nil))
				case 5:
					check(r.tree.Rename(r.ctx, dir, fmt.Sprintf("e%d", i%2), false, nil))
				case 6:
					for _, err := range r.tree.List(r.ctx, dir) {
						check(err)
					}
				case 7:
					_, err := r.tree.Lookup(r.ctx, p)
					check(err)
					r.tree.Refresh(dir)
					r.tree.Stats()
				case 8:
					mode := uint32(0o600 + i%8)
					_, err := r.tree.SetAttr(r.ctx, p, Change{Mode: &mode})
					check(err)
					r.clock.add(300 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	r.clock.add(time.Hour)
	for _, k := range r.mem.Keys(bkt) {
		p, _ := r.tree.PathOf(bkt, k)
		r.lookup(p)
	}
}

// A deletion is carried out and its answer lost: what this mount put under the name before does not stand against the
// listings any more.
func TestDeletionWithoutAnswer(t *testing.T) {
	r := newRig(t, Options{Bucket: bkt, TTL: time.Second})
	r.store("f", "x")
	r.fault.Add(s3fault.Rule{Call: "Delete", After: s3client.Temporary, Times: 1})
	r.fails(r.tree.Unlink(r.ctx, "f"), s3client.Temporary)
	r.missing("f")
	r.list("", "")
	r.store("g", "x") // not carried out, and the answer lost
	r.fault.Add(s3fault.Rule{Call: "Delete", Before: s3client.Temporary, Times: 1})
	r.fails(r.tree.Unlink(r.ctx, "g"), s3client.Temporary)
	r.lookup("g")
	r.list("", "g")
}
