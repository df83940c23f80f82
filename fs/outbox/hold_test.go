package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// hold takes a key or fails the test.
func (r *rig) hold(key string) (done func(stored bool)) {
	r.t.Helper()
	done, err := r.box.Hold(context.Background(), "b", key)
	r.ok(err)
	return done
}

func TestAHoldWaitsForWhatIsOnItsWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun, release := r.stuck("Put")
		r.put("k", "1", "1")
		<-begun
		r.put("k", "2", "2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.box.Hold(ctx, "b", "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hold: %v", err)
		}
		got := make(chan func(bool))
		go func() { got <- r.hold("k") }()
		synctest.Wait()
		release()
		done := <-got
		time.Sleep(time.Minute)
		r.want("k", "1:1") // the second put may not begin
		done(false)
		time.Sleep(time.Second)
		r.want("k", "2:2")
		r.nothingLeft()
		r.close()
	})
}

func TestWhoStoredTheFileDropsWhatCameBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		before := r.put("k", "1", "1")
		done := r.hold("k")
		during := r.headers(s3client.Object{Bucket: "b", Key: "k"}, "3")
		if during == before {
			t.Error("what came during the hold was merged into what it may drop")
		}
		if again := r.headers(s3client.Object{Bucket: "b", Key: "k"}, "4"); again != during {
			t.Error("what came during the hold is not merged")
		}
		time.Sleep(time.Minute)
		r.calls(map[string]int64{})
		r.stored("k", "the file")
		done(true)
		done(true)
		if left := r.notes.left(t); len(left) != 1 || left[0].Seq != during {
			t.Errorf("the journal has %+v", left)
		}
		time.Sleep(time.Second)
		r.want("k", "the file:4")
		if d := r.settled(); len(d) != 1 || d[0].Op.Seq != during {
			t.Errorf("settled %+v: what was dropped is not reported", d)
		}
		r.calls(map[string]int64{"Head": 1, "Copy": 1})
		r.nothingLeft()
		r.close()
	})
}

// Who deletes a name while its file is being stored means the file, whatever version was known then.
func TestADeleteDuringAHoldIsOfWhatWasStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.CheckAfter = time.Second })
		o := r.stored("k", "before")
		r.put("k", "1", "1")
		done := r.hold("k")
		r.delete("k", o.ETag)
		time.Sleep(time.Minute)
		r.stored("k", "the file")
		done(true)
		if left := r.notes.left(t); len(left) != 1 || left[0].ETag != "" {
			t.Errorf("the journal has %+v", left)
		}
		time.Sleep(time.Minute)
		r.want("k", "")
		r.calls(map[string]int64{"Delete": 1})
		r.nothingLeft()
		r.close()
	})
}

func TestADroppedDeleteIsNotCarriedOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 3 {
			r.delete(fmt.Sprint(i), "")
		}
		done := r.hold("1")
		r.stored("1", "file")
		done(true)
		r.drain("")
		r.want("1", "file:first")
		r.calls(map[string]int64{"DeleteMany": 1})
		if n := len(r.settled()); n != 2 {
			t.Errorf("%d settled", n)
		}
		r.nothingLeft()
		r.close()
	})
}

// A deletion of whatever there is would be the end of what has been stored, if its note came back after a power failure.
func TestADroppedDeleteOfAnyVersionIsDroppedForGood(t *testing.T) {
	for etag, syncs := range map[string]int{"": 1, "old": 0} {
		bubble(t, func(t *testing.T) {
			r := newRig(t)
			r.delete("k", etag)
			done := r.hold("k")
			before := r.notes.syncs()
			done(true)
			if n := r.notes.syncs() - before; n != syncs {
				t.Errorf("version %q: %d syncs, want %d", etag, n, syncs)
			}
			r.nothingLeft()
			r.close()
		})
	}
}

func TestAHoldThatStoredNothingDropsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.put("k", "1", "1")
		done := r.hold("k")
		r.delete("k", "")
		done(false)
		done(true) // only the first counts
		r.drain("")
		r.calls(map[string]int64{"Put": 1, "Delete": 1}) // in order
		r.want("k", "")
		r.nothingLeft()
		r.close()
	})
}

func TestHoldsOfAKeyTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		first := r.hold("k")
		other := r.hold("other") // is another key
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.box.Hold(ctx, "b", "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second hold: %v", err)
		}
		got := make(chan func(bool))
		go func() { got <- r.hold("k") }()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("two hold the key")
		default:
		}
		first(true)
		(<-got)(true)
		other(true)
		r.close()
		r.hold("k")(true) // also when it is closed
	})
}

// A note that stays when it should go is told.
func TestAHoldThatCannotDropANote(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.put("k", "1", "1")
		done := r.hold("k")
		r.notes.set(func(string) error { return errors.New("no space") })
		done(true)
		if r.box.Len() != 0 {
			t.Error("it is still pending")
		}
		r.close()
		if !strings.Contains(r.log.String(), "level=ERROR") {
			t.Errorf("the log says %q", r.log.String())
		}
	})
}

func TestDrainDoesNotRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		at := time.Now()
		r.put("d/", "", "1")
		r.put("d/link", "target", "2")
		r.put("e/", "", "1")
		r.delete("d/gone", "")
		r.delete("d/too", "")
		r.drain("d/")
		if d := time.Since(at); d != 0 {
			t.Errorf("it took %v", d)
		}
		r.calls(map[string]int64{"Put": 2, "DeleteMany": 1})
		r.want("e/", "")
		if n := len(r.settled()); n != 4 {
			t.Errorf("%d settled when Drain returned", n)
		}
		r.ok(r.box.Drain(t.Context(), "c", ""))
		r.want("e/", "")
		r.ok(r.box.Drain(t.Context(), "", ""))
		r.want("e/", ":1")
		r.nothingLeft()
		r.close()
	})
}

func TestDrainTriesWhatPauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		denied := r.fault.Add(s3fault.Rule{Before: s3client.Denied})
		for i := range 20 {
			r.put(fmt.Sprint(i), "", "")
		}
		time.Sleep(time.Second)
		struck := denied.Struck()
		err := r.box.Drain(t.Context(), "b", "")
		if !errors.Is(err, s3client.Denied) || !strings.Contains(err.Error(), "put b/") || !strings.Contains(err.Error(), "and 10 more") {
			t.Errorf("drained: %v", err)
		}
		if n := denied.Struck() - struck; n != 20 {
			t.Errorf("%d tries during the drain, want one each", n)
		}
		denied.Remove()
		r.drain("")
		r.nothingLeft()
		r.close()
	})
}

// What waits behind an entry that fails is not stored either.
func TestDrainNamesWhatWaitsBehindAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fault.Add(s3fault.Rule{Call: "Put", Times: 2, Before: s3client.Temporary})
		r.put("k", "1", "1")
		done := r.hold("k")
		r.delete("k", "")
		done(false)
		err := r.box.Drain(t.Context(), "b", "k")
		if err == nil || !strings.Contains(err.Error(), "put b/k") || !strings.Contains(err.Error(), "delete b/k") {
			t.Errorf("drained: %v", err)
		}
		time.Sleep(time.Minute)
		r.calls(map[string]int64{"Put": 3, "Delete": 1})
		r.nothingLeft()
		r.close()
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun, release := r.stuck("Put")
		r.put("k", "1", "1")
		r.put("held", "1", "1")
		done := r.hold("held")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.box.Drain(ctx, "b", "")
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 changes") {
			t.Errorf("drained: %v", err)
		}
		<-begun
		release()
		go done(true)
		r.drain("") // what a hold drops is not waited for
		r.nothingLeft()
		r.close()
	})
}

func TestDrainDoesNotWaitForWhatComesLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun, release := r.stuck("Put")
		r.put("k", "1", "1")
		drained := make(chan error)
		go func() { drained <- r.box.Drain(t.Context(), "b", "") }()
		<-begun
		r.put("k", "2", "2")
		r.setBusy("k", true)
		release()
		r.ok(<-drained)
		r.want("k", "1:1")
		r.setBusy("k", false)
		r.box.Wake()
		r.drain("")
		r.want("k", "2:2")
		r.close()
	})
}

// What becomes busy while a Drain waits for it is not waited for any longer.
func TestDrainOfWhatBecomesBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.put("k", "1", "1")
		done := r.hold("k")
		drained := make(chan error)
		go func() { drained <- r.box.Drain(t.Context(), "b", "") }()
		synctest.Wait()
		r.setBusy("k", true)
		done(false)
		r.ok(<-drained)
		r.want("k", "")
		r.close()
	})
}

func TestCloseEndsADrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun, release := r.stuck("Put")
		r.put("k", "1", "1")
		drained := make(chan error)
		go func() { drained <- r.box.Drain(t.Context(), "b", "") }()
		<-begun
		closed := make(chan error)
		go func() { closed <- r.box.Close(t.Context()) }()
		if err := <-drained; !errors.Is(err, ErrClosed) {
			t.Errorf("drained: %v", err)
		}
		release()
		r.ok(<-closed)
	})
}

// Headers that the store may have taken without an answer are told to whoever stores the file, and are not made others: they
// alone tell the version that they made.
func TestHeadersWithoutAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		o := r.stored("k", "x")
		r.fault.Add(s3fault.Rule{Call: "Copy", Times: 1, After: s3client.Temporary})
		r.setBusy("k", true)
		first := r.headers(o, "1")
		if op, ok := r.box.Rewriting("b", "k"); ok {
			t.Errorf("before it began: %+v", op)
		}
		r.setBusy("k", false)
		r.box.Wake()
		time.Sleep(time.Second / 2) // tried once, and not yet again
		op, ok := r.box.Rewriting("b", "k")
		if !ok || op.Seq != first || op.ETag != o.ETag || op.Headers.Meta["mode"] != "1" {
			t.Errorf("%+v, %v", op, ok)
		}
		if second := r.headers(o, "2"); second == first {
			t.Error("they became others")
		}
		r.drain("k")
		r.want("k", "x:2")
		if op, ok := r.box.Rewriting("b", "k"); ok {
			t.Errorf("when it is over: %+v", op)
		}
		r.nothingLeft()
		r.close()
	})
}

// A refusal says nothing of the try before it that had no answer.
func TestHeadersWithoutAnAnswerAndThenRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		o := r.stored("k", "x")
		r.fault.Add(s3fault.Rule{Call: "Copy", Times: 1, After: s3client.Temporary})
		r.headers(o, "1")
		time.Sleep(time.Second / 2) // tried once, and not yet again
		r.fault.Add(s3fault.Rule{Call: "Copy", Before: s3client.Denied})
		time.Sleep(10 * time.Second)
		if p := r.box.Pending(); len(p) != 1 || p[0].Tries != 2 || !errors.Is(p[0].Err, s3client.Denied) {
			t.Fatalf("pending: %+v", p)
		}
		if op, ok := r.box.Rewriting("b", "k"); !ok || op.ETag != o.ETag {
			t.Errorf("after a refusal: %+v, %v", op, ok)
		}
		r.fault.Clear()
		r.drain("k")
		r.want("k", "x:1")
		r.nothingLeft()
		r.close()
	})
}

// A refusal alone leaves nothing in doubt.
func TestHeadersThatWereRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.headers(r.stored("k", "x"), "1")
		r.fault.Add(s3fault.Rule{Call: "Copy", Before: s3client.Denied})
		time.Sleep(10 * time.Second)
		if op, ok := r.box.Rewriting("b", "k"); ok {
			t.Errorf("%+v", op)
		}
		r.fault.Clear()
		r.drain("k")
		r.close()
	})
}
