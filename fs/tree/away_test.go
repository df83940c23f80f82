package tree

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// The store fails at once: what was known is served, what was not is the store's error, and no reader hammers it.
func TestStaleWhileAway(t *testing.T) {
	for _, kind := range []s3client.Kind{s3client.Temporary, s3client.Throttled} {
		inBubble(t, Options{Bucket: bkt, Full: true}, func(r *rig, log *lines) {
			seen := learnBefore(r)
			fault := r.fault.Add(s3fault.Rule{Before: kind})
			knownIsServed(r, seen, log)
			unknownIsRefused(r, kind)
			changesAreRefused(r, kind)
			looksNowAndThen(r, seen)
			if s := log.take(); s != "" {
				r.Errorf("logged: %q", s)
			}
			fault.Remove()
			isBack(r, seen, log)
		})
	}
}

// learnBefore looks at a few names, which are a minute old then. d/g has no attributes that are known.
func learnBefore(r *rig) (seen time.Time) {
	r.object("d/f", "hello", "mode", "33152")
	r.object("d/g", "hello")
	r.object("d/sub/", "", "mode", "16832")
	r.object("lone", "hello", "mode", "33188")
	seen = time.Now()
	r.list("d", "f g sub/")
	r.lookup("lone")
	r.lookup("d")
	r.lookup("d/f")
	r.lookup("d/sub")
	r.missing("nothing")
	time.Sleep(time.Minute)
	r.calls(7)
	return seen
}

func knownIsServed(r *rig, seen time.Time, log *lines) {
	if e := r.stale("d/f", seen); e.Mode != 0o100600 || e.Size != 5 || !e.Full {
		r.Errorf("%+v", e)
	}
	r.calls(1)
	if log.take() != wentAway {
		r.Error("the absence is not logged once")
	}
	r.stale("lone", seen)
	if e := r.stale("d/sub", seen); e.Mode != 0o040700 {
		r.Errorf("%+v", e)
	}
	if e := r.stale("d", seen); !e.IsDir() || !e.Full {
		r.Errorf("%+v", e)
	}
	r.nobodyKnows("nothing")
	r.nobodyKnows("d/nothing") // not in a complete listing
	r.staleList("d", "f g sub/")
	r.calls(2)
}

// Nothing is known of these: the error stays one.
func unknownIsRefused(r *rig, kind s3client.Kind) {
	for _, path := range []string{"d/sub/x", "d/g"} {
		if e, err := r.tree.Lookup(r.ctx, path); !errors.Is(err, kind) || errors.Is(err, ErrNotFound) {
			r.Errorf("%s: %+v %v", path, e, err)
		}
	}
	for _, err := range r.tree.List(r.ctx, "d/sub") {
		if !errors.Is(err, kind) {
			r.Error(err)
		}
	}
	r.calls(3)
}

// Who writes or changes wants the truth.
func changesAreRefused(r *rig, kind s3client.Kind) {
	if _, err := r.tree.Complete(r.ctx, "d/f"); !errors.Is(err, kind) {
		r.Error(err)
	}
	if err := r.tree.Unlink(r.ctx, "d/f"); !errors.Is(err, kind) {
		r.Error(err)
	}
	if _, err := r.tree.Mkdir(r.ctx, "nothing", Attr{}); !errors.Is(err, kind) {
		r.Error(err)
	}
	if err := r.tree.Rename(r.ctx, "d/f", "nothing", false, nil); !errors.Is(err, kind) {
		r.Error(err)
	}
	r.calls(4)
}

// A look whether it is back: one at most a second.
func looksNowAndThen(r *rig, seen time.Time) {
	for range 10 {
		time.Sleep(200 * time.Millisecond)
		r.stale("lone", seen)
		synctest.Wait()
	}
	r.calls(2)
	time.Sleep(awayFor) // nobody knows any more: the next who asks finds out
	r.stale("lone", seen)
	r.calls(1)
}

func isBack(r *rig, seen time.Time, log *lines) {
	r.last = r.mem.Counts()
	r.stale("lone", seen) // the last failure is less than a second ago
	time.Sleep(probeEvery)
	r.stale("lone", seen)
	synctest.Wait()
	r.calls(1)
	if log.take() != cameBack {
		r.Error("the return is not logged once")
	}
	if e := r.lookup("lone"); e.Stale || e.Seen.Equal(seen) {
		r.Errorf("%+v", e)
	}
	if e := r.lookup("d/f"); e.Stale {
		r.Errorf("%+v", e)
	}
	r.cost("L2")
	if s := log.take(); s != "" {
		r.Errorf("logged: %q", s)
	}
}

// The store says nothing at all: the first to ask waits a little, everybody after it not, one request stays behind.
func TestStaleWhileSilent(t *testing.T) {
	inBubble(t, Options{Bucket: bkt, Full: true}, func(r *rig, log *lines) {
		r.object("d/f", "hello")
		r.object("d/g", "hello")
		r.list("d", "f g")
		r.lookup("d/f")
		r.lookup("d/g")
		seen := time.Now()
		time.Sleep(time.Minute)
		r.object("d/f", "foreign")
		r.object("d/new", "foreign")
		free := r.hang("")
		r.calls(3)
		var wg sync.WaitGroup
		for range 10 { // who asks at the same time shares the request
			wg.Go(func() {
				r.took(3*time.Second, func() { r.stale("d/f", seen) })
			})
		}
		wg.Wait()
		if log.take() != wentAway {
			r.Error("the absence is not logged once")
		}
		for range 60 {
			r.took(0, func() { r.stale("d/f", seen); r.stale("d/g", seen); r.staleList("d", "f g") })
			time.Sleep(time.Second)
		}
		r.calls(1)
		ctx, cancel := context.WithTimeout(r.ctx, 2*time.Minute) // unknown: as long as it takes
		defer cancel()
		r.took(2*time.Minute, func() {
			if _, err := r.tree.Lookup(ctx, "unknown"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotFound) {
				r.Error(err)
			}
		})
		r.calls(1)
		free()
		synctest.Wait() // the request of old has its answer, and it is heeded
		if log.take() != cameBack {
			r.Error("the return is not logged once")
		}
		if e := r.lookup("d/f"); e.Size != 7 || e.Stale {
			r.Errorf("%+v", e)
		}
		r.list("d", "f g new")
	})
}

// A listing that does not come is that of before; so is one that breaks off, from there on.
func TestStaleList(t *testing.T) {
	inBubble(t, Options{Bucket: bkt}, func(r *rig, log *lines) {
		var want []string
		for i := range 1500 {
			want = append(want, fmt.Sprintf("%04d", i))
			r.object("d/"+want[i], "")
		}
		all := strings.Join(want, " ")
		r.list("d", all)
		time.Sleep(time.Minute)
		free := r.hang("List")
		r.calls(2)
		r.took(3*time.Second, func() { r.list("d", all) })
		r.took(0, func() { r.staleList("d", all) })
		r.calls(1)
		free()
		synctest.Wait()
		r.list("d", all)
		r.calls(2)
		time.Sleep(time.Minute)
		r.fault.Add(s3fault.Rule{Call: "List", Nth: 2, Before: s3client.Temporary})
		n, stale := 0, 0
		for e, err := range r.tree.List(r.ctx, "d") {
			if err != nil || e.Path != "d/"+want[n] {
				r.Fatal(e, err)
			}
			if n++; e.Stale {
				stale++
			}
		}
		if n != 1500 || stale != 501 {
			r.Errorf("%d entries, %d of them stale", n, stale)
		}
		r.calls(2)
		if s := log.take(); s != wentAway+cameBack+wentAway {
			r.Errorf("logged %q", s)
		}
	})
}

// A refusal, a "not found" and an unknown answer are not an absence.
func TestRefusalsAreNotStale(t *testing.T) {
	for _, kind := range s3client.Kinds() {
		if kind == s3client.Temporary || kind == s3client.Throttled {
			continue
		}
		inBubble(t, Options{Bucket: bkt}, func(r *rig, log *lines) {
			r.object("f", "hello")
			r.lookup("f")
			r.list("", "f")
			time.Sleep(time.Minute)
			r.fault.Add(s3fault.Rule{Before: kind})
			if e, err := r.tree.Lookup(r.ctx, "f"); !errors.Is(err, kind) || errors.Is(err, ErrNotFound) {
				r.Errorf("%v: %+v %v", kind, e, err)
			}
			for _, err := range r.tree.List(r.ctx, "") {
				if !errors.Is(err, kind) {
					r.Error(err)
				}
			}
			if s := log.take(); s != "" {
				r.Errorf("%v: logged %q", kind, s)
			}
		})
	}
}

// One slow directory does not make the store absent while others answer.
func TestSlowIsNotAway(t *testing.T) {
	inBubble(t, Options{Bucket: bkt}, func(r *rig, log *lines) {
		r.object("slow/f", "hello")
		r.object("d/f", "hello")
		r.lookup("slow/f")
		seen := time.Now()
		time.Sleep(time.Minute)
		r.fault.Add(s3fault.Rule{Prefix: "slow", Delay: 5 * time.Second})
		var wg sync.WaitGroup
		wg.Go(func() { r.took(3*time.Second, func() { r.stale("slow/f", seen) }) })
		time.Sleep(time.Second)
		r.lookup("d/f")
		wg.Wait()
		if s := log.take(); s != "" {
			r.Errorf("logged %q", s)
		}
		time.Sleep(2*time.Second + time.Millisecond)
		if e := r.lookup("slow/f"); e.Stale { // the late answer was heeded
			r.Errorf("%+v", e)
		}
		r.calls(3)
	})
}

// Attributes that were known of a directory and of a version are served too.
func TestStaleAttributes(t *testing.T) {
	inBubble(t, Options{Bucket: bkt, Full: true}, func(r *rig, log *lines) {
		r.object("d/", "", "mode", "16832")
		r.object("d/f", "hello")
		r.object("e/f", "hello")
		r.lookup("d")
		r.lookup("e")
		time.Sleep(time.Minute)
		r.list("", "d/ e/") // the listing is fresh, what it says of the attributes is not
		r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
		for _, dir := range []string{"d", "e"} {
			e := r.lookup(dir)
			if !e.Full || !e.Stale || dir == "d" && e.Mode != 0o040700 {
				r.Errorf("%+v", e)
			}
		}
		if _, err := r.tree.Complete(r.ctx, "d"); !errors.Is(err, s3client.Temporary) {
			r.Error(err)
		}
	})
}

// The buckets of an account are known as long as other directories.
func TestStaleBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := s3mem.New(s3mem.WithBuckets("one", "two"))
		fault := s3fault.New(mem)
		mem.PutBytes("one", "f", []byte("hello"), s3client.Headers{})
		tree := New(Options{Store: fault})
		defer tree.Close()
		r := &rig{T: t, ctx: t.Context(), mem: mem, fault: fault, tree: tree}
		r.list("", "one/ two/")
		seen := time.Now()
		r.list("one", "f")
		time.Sleep(time.Minute)
		r.calls(2)
		free := r.hang("")
		r.took(3*time.Second, func() { r.list("", "one/ two/") })
		r.took(0, func() {
			r.staleList("", "one/ two/")
			r.staleList("one", "f")
			r.stale("one", seen)
			r.stale("one/f", seen)
		})
		r.calls(1)
		free()
	})
}

// A mount may want no old answers.
func TestNeverStale(t *testing.T) {
	inBubble(t, Options{Bucket: bkt, StaleAfter: -1}, func(r *rig, _ *lines) {
		r.object("f", "hello")
		r.lookup("f")
		time.Sleep(time.Minute)
		r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
		if _, err := r.tree.Lookup(r.ctx, "f"); !errors.Is(err, s3client.Temporary) {
			r.Error(err)
		}
	})
}

// What is changed here while the store is away is not undone by the memory, and what is unknown since is an error.
func TestChangesWhileAway(t *testing.T) {
	inBubble(t, Options{Bucket: bkt}, func(r *rig, _ *lines) {
		r.object("d/f", "hello")
		r.object("d/g", "hello")
		r.list("d", "f g")
		time.Sleep(time.Minute)
		rule := r.fault.Add(s3fault.Rule{Call: "List", Before: s3client.Temporary})
		r.staleList("d", "f g")
		r.tree.Written("d/f", time.Now())
		if _, err := r.tree.Create("d/h", Attr{Mode: 0o600}); err != nil {
			r.Error(err)
		}
		if e := r.lookup("d/f"); e.Stale {
			r.Errorf("%+v", e)
		}
		r.list("d", "f g h")
		r.tree.Discard("d/h")
		r.missing("d/h")
		r.list("d", "f g")
		r.tree.Refresh("d/g") // asked for explicitly: the memory is gone
		if _, err := r.tree.Lookup(r.ctx, "d/g"); !errors.Is(err, s3client.Temporary) {
			r.Error(err)
		}
		rule.Remove()
	})
}

// Close ends the requests that nobody waits for.
func TestCloseEndsWhatIsLeft(t *testing.T) {
	inBubble(t, Options{Bucket: bkt}, func(r *rig, _ *lines) {
		r.object("d/f", "hello")
		r.list("d", "f")
		r.lookup("d/f")
		time.Sleep(time.Minute)
		free := r.hang("")
		defer free()
		var wg sync.WaitGroup
		wg.Go(func() { r.list("d", "f") })
		wg.Go(func() { r.lookup("d/f") })
		wg.Wait()
		r.took(0, r.tree.Close)
	})
}

// A store that comes and goes under many readers: nothing known is ever missing, and nothing waits for good.
func TestComesAndGoes(t *testing.T) {
	inBubble(t, Options{Bucket: bkt, Full: true}, func(r *rig, _ *lines) {
		for i := range 20 {
			r.object(fmt.Sprintf("d/%02d", i), "hello")
		}
		r.names("d")
		for i := range 20 {
			r.lookup(fmt.Sprintf("d/%02d", i))
		}
		r.fault.Add(s3fault.Rule{Probability: 0.3, Seed: 1, Before: s3client.Temporary})
		r.fault.Add(s3fault.Rule{Probability: 0.2, Seed: 2, Delay: 20 * time.Second})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 100 {
					time.Sleep(time.Duration(g*i%7) * 300 * time.Millisecond)
					began := time.Now()
					e, err := r.tree.Lookup(r.ctx, fmt.Sprintf("d/%02d", (i*7+g)%20))
					if err != nil || e.Size != 5 {
						r.Errorf("%+v %v", e, err)
					}
					if d := time.Since(began); d > 3*time.Second {
						r.Errorf("waited %v", d)
					}
					if i%10 == g {
						if n := len(strings.Fields(r.names("d"))); n != 20 {
							r.Errorf("%d names", n)
						}
					}
				}
			})
		}
		wg.Wait()
	})
}

// A name that was never known: a request that was sent before the store went away fails when it is back. It is made once more.
func TestTheFirstLookWhenTheStoreIsBack(t *testing.T) {
	for _, back := range []bool{true, false} {
		inBubble(t, Options{Bucket: "b"}, func(r *rig, log *lines) {
			r.mem.PutBytes("b", "k", []byte("x"), s3client.Headers{})
			r.mem.PutBytes("b", "other", []byte("x"), s3client.Headers{})
			r.fault.Add(s3fault.Rule{Call: "List", Key: "k", Times: 1, Hook: func(context.Context, s3fault.Call) error {
				time.Sleep(time.Second)
				return &s3client.Error{Op: "LIST", Kind: s3client.Temporary}
			}})
			looked := make(chan error)
			go func() {
				_, err := r.tree.Lookup(r.Context(), "k")
				looked <- err
			}()
			time.Sleep(time.Millisecond)
			if back {
				if _, err := r.tree.Lookup(r.Context(), "other"); err != nil {
					r.Error(err)
				}
			}
			if err := <-looked; (err == nil) != back {
				r.Errorf("back %v: %v", back, err)
			}
		})
	}
}
