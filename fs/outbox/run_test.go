package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func TestBusyKeysWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.setBusy("k", true)
		r.put("k", "1", "1")
		r.put("free", "1", "1")
		r.drain("") // does not wait for it
		time.Sleep(time.Minute)
		r.want("k", "")
		r.want("free", "1:1")
		if p := r.box.Pending(); len(p) != 1 || p[0].Tries != 0 || !p[0].Next.IsZero() {
			t.Errorf("pending: %+v", p)
		}
		r.setBusy("k", false)
		r.box.Wake()
		synctest.Wait()
		r.want("k", "1:1")

		r.setBusy("k", true)
		r.put("k", "2", "2")
		time.Sleep(time.Minute)
		r.setBusy("k", false)
		time.Sleep(6 * time.Second) // nobody calls Wake: asked again all the same
		r.want("k", "2:2")
		r.nothingLeft()
		r.close()
	})
}

// A Wake while Busy is being asked is not lost.
func TestWakeWhileAsking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		asked, answer := make(chan struct{}), make(chan bool)
		r := newRig(t, func(o *Options) {
			o.Busy = func(string, string) bool { asked <- struct{}{}; return <-answer }
		})
		r.put("k", "1", "1")
		<-asked
		r.box.Wake()
		answer <- true
		synctest.Wait()
		select {
		case <-asked:
		default:
			t.Fatal("the Wake was lost: it is not asked again at once")
		}
		answer <- false
		synctest.Wait()
		r.want("k", "1:1")
		r.close()
	})
}

// What is changed, held or dropped while Busy is being asked about it does not begin as it was.
func TestChangedWhileAsking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		asked, answer := make(chan struct{}), make(chan bool)
		r := newRig(t, func(o *Options) {
			o.Busy = func(string, string) bool { asked <- struct{}{}; return <-answer }
		})
		r.put("k", "1", "1")
		<-asked
		r.put("k", "2", "2")
		answer <- false
		synctest.Wait()
		r.calls(map[string]int64{})
		<-asked
		done, err := r.box.Hold(t.Context(), "b", "k")
		r.ok(err)
		answer <- false
		synctest.Wait()
		r.calls(map[string]int64{})
		done(false)
		<-asked
		done, err = r.box.Hold(t.Context(), "b", "k")
		r.ok(err)
		done(true)
		answer <- false
		synctest.Wait()
		r.calls(map[string]int64{})
		r.nothingLeft()
		r.close()
	})
}

func TestFailuresAreTriedAgainEverMoreSlowly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		var at []time.Time
		rule := r.fault.Add(s3fault.Rule{Hook: func(context.Context, s3fault.Call) error {
			at = append(at, time.Now())
			return s3client.Temporary
		}})
		r.put("k", "1", "1")
		time.Sleep(10 * time.Minute)
		rule.Remove()
		for i := 1; i < len(at); i++ {
			whole := min(time.Second<<(i-1), time.Minute)
			if d := at[i].Sub(at[i-1]); d > whole || d < whole*3/4 {
				t.Errorf("pause %d is %v, want about %v", i, d, whole)
			}
		}
		if p := r.box.Pending(); len(p) != 1 || p[0].Tries != len(at) || len(at) < 15 || !errors.Is(p[0].Err, s3client.Temporary) {
			t.Errorf("%d tries, pending %+v", len(at), p)
		}
		time.Sleep(time.Minute)
		r.want("k", "1:1")
		r.nothingLeft()
		r.close()
	})
}

func TestOneSuccessWakesTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fault.Add(s3fault.Rule{Key: "denied", Before: s3client.Denied})
		away := r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
		for _, k := range []string{"1", "2", "3", "denied"} {
			r.put(k, k, "")
		}
		r.delete("d1", "")
		r.delete("d2", "")
		time.Sleep(10 * time.Minute)
		away.Remove()
		synctest.Wait()
		before := r.fault.Calls()["Put"]
		r.put("5", "5", "")
		time.Sleep(200 * time.Millisecond) // Delay
		synctest.Wait()
		for _, k := range []string{"1", "2", "3", "5"} {
			r.want(k, k+":")
		}
		if n := r.fault.Calls()["Put"] - before; n != 4 {
			t.Errorf("%d puts, want 4: what was refused is not woken", n)
		}
		if p := r.box.Pending(); len(p) != 1 || p[0].Op.Key != "denied" {
			t.Errorf("pending: %+v", p)
		}
		r.close()
	})
}

// What fails by itself while all others succeed is not tried again at each of their successes.
func TestWhatFailsByItselfTakesItsTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		bad := r.fault.Add(s3fault.Rule{Key: "bad", Before: s3client.Temporary})
		r.put("bad", "", "")
		for i := range 3000 {
			r.put(fmt.Sprint(i), "", "")
			time.Sleep(100 * time.Millisecond)
		}
		if n := bad.Struck(); n > 25 { // 300 s with pauses up to 1 min: about 10, and each second one cut short
			t.Errorf("tried %d times in 5 minutes", n)
		}
		bad.Remove()
		r.drain("")
		r.nothingLeft()
		r.close()
	})
}

func TestWhatIsRefusedIsTriedSlowly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		rule := r.fault.Add(s3fault.Rule{Before: s3client.Denied})
		seq := r.put("k", "1", "1")
		time.Sleep(40 * time.Second)
		if n := rule.Struck(); n != 1 {
			t.Errorf("%d tries in 40 s", n)
		}
		// Another change is another thing: it may well be taken.
		rule.Remove()
		if got := r.put("k", "2", "2"); got != seq {
			t.Errorf("entry %d, want %d", got, seq)
		}
		time.Sleep(time.Second)
		r.want("k", "2:2")
		r.nothingLeft()
		r.close()
	})
}

func TestParallelIsTheMost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Parallel = 3 })
		var mu sync.Mutex
		now, most := 0, 0
		r.fault.Add(s3fault.Rule{Hook: func(context.Context, s3fault.Call) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		}})
		for i := range 20 {
			r.put(fmt.Sprint(i), "", "")
		}
		r.drain("")
		if most != 3 {
			t.Errorf("%d at once", most)
		}
		r.close()
	})
}

// Who stores a key by other means has what waits for it carried out first, though a file has the key.
func TestFinishDoesNotMindBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		o := r.stored("k", "old")
		r.setBusy("k", true)
		r.delete("k", o.ETag)
		time.Sleep(time.Minute)
		r.want("k", "old:first")
		r.drain("k") // waits for nothing that Busy keeps back
		r.want("k", "old:first")
		r.ok(r.box.Finish(t.Context(), "b", "k"))
		r.want("k", "")
		r.nothingLeft()
		r.close()
	})
}

// A delete of an earlier run may have been carried out: what was stored since stays, however young the delete is.
func TestADeleteOfAnEarlierRunAsks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		o := r.stored("k", "old")
		r.setBusy("k", true)
		r.delete("k", o.ETag)
		r.crash()
		r.stored("k", "new")
		r.start()
		time.Sleep(time.Minute)
		r.want("k", "new:first")
		r.nothingLeft()
		r.close()
	})
}

// An answer that only a condition could have does not end what had none: what was accepted is carried out all the same.
func TestAConditionThatNobodyMadeGivesNothingUp(t *testing.T) {
	for _, drained := range []bool{false, true} {
		t.Run(fmt.Sprintf("drained=%v", drained), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				old := r.stored("old", "x")
				for _, call := range []string{"Put", "Delete"} {
					r.fault.Add(s3fault.Rule{Call: call, Times: 2, Hook: func(context.Context, s3fault.Call) error {
						return &s3client.Error{Op: call, Kind: s3client.Changed, Status: 412, Code: "PreconditionFailed"}
					}})
				}
				r.put("d/", "", "493")
				r.delete("old", old.ETag)
				if drained {
					for range 2 {
						if err := r.box.Drain(t.Context(), "b", "d/"); !errors.Is(err, s3client.Changed) || errors.Is(err, ErrGivenUp) {
							t.Errorf("drained: %v", err)
						}
					}
					r.drain("d/")
				}
				time.Sleep(time.Minute)
				r.want("d/", ":493")
				r.want("old", "")
				for _, d := range r.settled() {
					if d.Err != nil {
						t.Errorf("given up: %+v", d)
					}
				}
				r.nothingLeft()
				r.close()
			})
		})
	}
}
