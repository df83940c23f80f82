package late

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// goes makes a deletion whose first attempt has no answer and is carried out three seconds behind its second.
func (r *rig) goes(key string, many bool) {
	r.t.Helper()
	call := map[bool]string{false: "Delete", true: "DeleteMany"}[many]
	rule := r.fault.Add(s3fault.Rule{Call: call, Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
		s3client.Doubtful(ctx)
		time.AfterFunc(3*time.Second, func() { r.mem.Remove("b", key) })
		return nil
	}})
	defer rule.Remove()
	if !many {
		r.ok(r.store.Delete(r.t.Context(), "b", key))
		return
	}
	_, err := r.store.DeleteMany(r.t.Context(), "b", []string{"other", key})
	r.ok(err)
}

// remembered are how many names are remembered, and how many of them for a deletion.
func (r *rig) remembered() (places, going int) {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return len(r.store.mu.places), r.store.mu.going
}

// makers store something under the name k.
func makers(r *rig) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"put": func(ctx context.Context) error { _, err := r.store.Put(ctx, put("k", "two", "2")); return err },
		"copy": func(ctx context.Context) error {
			r.mem.PutBytes("b", "from", []byte("two"), s3client.Headers{})
			_, err := r.store.Copy(ctx, s3client.CopyRequest{SrcBucket: "b", SrcKey: "from", SrcSize: 3, Bucket: "b", Key: "k"})
			return err
		},
		"complete": func(ctx context.Context) error {
			id, err := r.store.CreateUpload(ctx, "b", "k", s3client.Headers{})
			if err != nil {
				return err
			}
			req := put("k", "two", "2")
			p, err := r.store.UploadPart(ctx, s3client.PartRequest{Bucket: "b", Key: "k", UploadID: id, Number: 1, Body: req.Body, Size: req.Size})
			if err == nil {
				_, err = r.store.CompleteUpload(ctx, s3client.CompleteRequest{Bucket: "b", Key: "k", UploadID: id, Parts: []s3client.Part{p}, Size: 3})
			}
			return err
		},
	}
}

// A deletion without an answer takes whatever it finds when it lands: what is stored anew waits for it.
func TestWhatIsMadeBehindADeletionWithoutAnAnswerStays(t *testing.T) {
	for _, how := range []string{"put", "copy", "complete"} {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprint(how, " many ", many), func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) {
					r.mem.Put(t.Context(), put("k", "one", "1"))
					r.goes("k", many)
					r.ok(makers(r)[how](t.Context()))
					time.Sleep(time.Hour)
					if !r.has("k") {
						t.Error("the new object is gone")
					}
					if n, going := r.remembered(); n+going > 0 {
						t.Errorf("%d are remembered, %d deletions", n, going)
					}
				})
			})
		}
	}
}

// Where all deletions have answers nothing waits and nothing is remembered; a refusal of the first attempt is one.
func TestADeletionWithAnAnswerIsNotWaitedFor(t *testing.T) {
	for name, rule := range map[string]s3fault.Rule{"done": {}, "slowed down": {Before: s3client.Throttled}, "denied": {Before: s3client.Denied}} {
		bubble(t, func(t *testing.T, r *rig) {
			rule.Call, rule.Times = "Delete", 1
			r.fault.Add(rule)
			began := time.Now()
			got := r.calls(func() {
				if err := r.store.Delete(t.Context(), "b", "k"); (err == nil) != (rule.Before == nil) {
					t.Error(name, err)
				}
				r.ok(makers(r)["put"](t.Context()))
			})
			if n, _ := r.remembered(); time.Since(began) > 0 || !maps.Equal(got, map[string]int64{"Delete": 1, "Put": 1}) || n > 0 {
				t.Errorf("%s: %v, calls %v, %d are remembered", name, time.Since(began), got, n)
			}
		})
	}
}

// A deletion that failed is in doubt as well; another name waits for nothing, and who waits may leave.
func TestWhoWaitsForADeletionMayLeave(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.fault.Add(s3fault.Rule{Call: "Delete", Times: 1, Refused: s3client.Throttled})
		if err := r.store.Delete(t.Context(), "b", "k"); !errors.Is(err, s3client.Temporary) {
			t.Fatal(err)
		}
		began := time.Now()
		_, err := r.store.Put(t.Context(), put("other", "x", "1"))
		if r.ok(err); time.Since(began) > 0 {
			t.Error("another name has waited")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := makers(r)["put"](ctx); !errors.Is(err, s3client.Canceled) || time.Since(began) != time.Second || r.has("k") {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := makers(r)["put"](t.Context()); err != nil || time.Since(began) != goingWindow {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// What a look deletes without an answer is waited for as well.
func TestALookWhoseDeletionHasNoAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.late(put("k", "one", "1"), time.Second)
		r.ok(r.store.Delete(t.Context(), "b", "k"))
		r.fault.Add(s3fault.Rule{Call: "Delete", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
			s3client.Doubtful(ctx)
			time.AfterFunc(4*time.Second, func() { r.mem.Remove("b", "k") })
			return nil
		}})
		time.Sleep(soon + time.Second)
		r.ok(makers(r)["put"](t.Context()))
		time.Sleep(time.Hour)
		if p, _ := r.mem.Bytes("b", "k"); string(p) != "two" {
			t.Errorf("%q", p)
		}
	})
}

// The next process waits as well. Its note is gone when there is nothing to wait for.
func TestADeletionWithoutAnAnswerAndAKill(t *testing.T) {
	for _, many := range []bool{false, true} {
		processes(t, func(t *testing.T, p *process, kill func() *process) {
			p.mem.Put(t.Context(), put("k", "one", "1"))
			p.goes("k", many)
			p = kill()
			r := p.rig
			r.ok(makers(r)["put"](t.Context()))
			time.Sleep(time.Hour)
			if all, _, _ := p.notes.left(); !p.has("k") || len(all) > 0 {
				t.Errorf("many %v: there %v, %d notes", many, p.has("k"), len(all))
			}
			p = kill()
			if n, _ := p.remembered(); n > 0 {
				t.Errorf("%d are remembered", n)
			}
		})
	}
}

// So it does for what a killed process may have been deleting; no note says so.
func TestADeletionThatIsExpected(t *testing.T) {
	processes(t, func(t *testing.T, p *process, kill func() *process) {
		p.store.ExpectDeletion("b", "k")
		began := time.Now()
		p.ok(makers(p.rig)["put"](t.Context()))
		if all, _, _ := p.notes.left(); time.Since(began) != goingWindow || len(all) > 0 {
			t.Errorf("after %v, %d notes", time.Since(began), len(all))
		}
	})
}

// Of too many names it is remembered, over a kill too, that it may be any.
func TestTooManyDeletionsWithoutAnAnswer(t *testing.T) {
	processes(t, func(t *testing.T, p *process, kill func() *process) {
		p.fault.Add(s3fault.Rule{Call: "DeleteMany", Refused: s3client.Throttled})
		for i := range 2*mostGoing/1000 + 1 {
			keys := make([]string, 1000)
			for j := range keys {
				keys[j] = fmt.Sprint(i, "/", j)
			}
			if _, err := p.store.DeleteMany(t.Context(), "b", keys); !errors.Is(err, s3client.Temporary) {
				t.Fatal(err)
			}
		}
		if n, going := p.remembered(); n != mostGoing+1 || going != n {
			t.Errorf("%d places, %d", n, going)
		}
		p = kill()
		began := time.Now()
		p.ok(makers(p.rig)["put"](t.Context()))
		if time.Since(began) != goingWindow {
			t.Errorf("after %v", time.Since(began))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		n, going := p.remembered()
		if all, _, _ := p.notes.left(); len(all)+n+going > 0 {
			t.Errorf("%d notes, %d places, %d", len(all), n, going)
		}
	})
}
