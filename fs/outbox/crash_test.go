package outbox

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func TestTheJournalComesFirst(t *testing.T) {
	for name, calls := range map[string][]string{"append": {"AddNote", "ReplaceNote"}, "sync": {"Sync"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				r.stored("k", "x")
				r.stored("two", "x")
				full := errors.New("no space")
				broken := func(call string) error {
					for _, c := range calls {
						if c == call {
							return full
						}
					}
					return nil
				}
				r.notes.set(broken)
				if _, err := r.box.Delete(t.Context(), "b", "k", ""); !errors.Is(err, full) {
					t.Errorf("deleted: %v", err)
				}
				r.nothingLeft()
				r.notes.set(nil)
				seq := r.put("two", "2", "2")
				r.notes.set(broken)
				if _, err := r.box.Delete(t.Context(), "b", "two", ""); !errors.Is(err, full) {
					t.Errorf("deleted: %v", err)
				}
				r.notes.set(nil)
				if left := r.notes.left(t); len(left) != 1 || left[0].Kind != KindPut || left[0].Seq != seq {
					t.Errorf("the journal has %+v", left)
				}
				checkTable(t, r.box)
				r.drain("")
				r.want("k", "x:first")
				r.want("two", "2:2")
				r.nothingLeft()
				r.close()
			})
		})
	}
}

// What the store has done is not undone by a journal that cannot be written.
func TestANoteThatCannotBeDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.notes.set(func(call string) error {
			if call == "DropNote" {
				return errors.New("no space")
			}
			return nil
		})
		r.put("k", "1", "1")
		o := r.stored("gone", "x")
		r.delete("gone", o.ETag)
		h := r.stored("mode", "x")
		r.headers(h, "2")
		r.drain("")
		if n := len(r.settled()); n != 3 || r.box.Len() != 0 {
			t.Errorf("%d settled, %d pending", n, r.box.Len())
		}
		r.close()
		if !strings.Contains(r.log.String(), "no space") {
			t.Error("the log does not tell")
		}
		r.notes.set(nil)
		r.start()
		r.drain("")
		r.want("k", "1:1")
		r.want("gone", "")
		r.want("mode", "x:2")
		r.nothingLeft()
		r.close()
	})
}

func TestAddsWaitForRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.MaxPending = 3 })
		away := r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
		for _, k := range []string{"1", "2", "3"} {
			r.put(k, "", "")
		}
		r.put("3", "merged", "") // needs none
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := r.box.Put(ctx, "b", "4", s3client.Headers{}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put: %v", err)
		}
		var all sync.WaitGroup
		for _, k := range []string{"4", "5", "6", "7", "8"} {
			all.Go(func() { r.put(k, "", "") })
		}
		synctest.Wait()
		if n := r.box.Len(); n != 3 {
			t.Errorf("%d pending", n)
		}
		away.Remove()
		all.Wait()
		r.drain("")
		if n := len(r.mem.Keys("b")); n != 8 {
			t.Errorf("%d stored", n)
		}
		r.nothingLeft()
		r.close()
	})
}

func TestCloseWaitsOrBreaksOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun, release := r.stuck("Put")
		r.put("k", "1", "1")
		<-begun
		r.put("rests", "1", "1")
		closed := make(chan error)
		go func() { closed <- r.box.Close(t.Context()) }()
		synctest.Wait()
		if _, err := r.box.Put(t.Context(), "b", "late", s3client.Headers{}, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("put after Close: %v", err)
		}
		if err := r.box.Drain(t.Context(), "b", ""); !errors.Is(err, ErrClosed) {
			t.Errorf("drain after Close: %v", err)
		}
		release()
		r.ok(<-closed)
		r.want("k", "1:1")
		r.want("rests", "")
		if left := r.notes.left(t); len(left) != 1 || left[0].Key != "rests" {
			t.Errorf("the journal has %+v", left)
		}

		r.start()
		begun, release = r.stuck("Put")
		defer release()
		<-begun
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.box.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 requests") {
			t.Errorf("closed: %v", err)
		}
		r.start()
		r.drain("")
		r.want("rests", "1:1")
		r.nothingLeft()
		r.close()
		r.close()
	})
}

// A kill after the store's answer and before the note's end does everything once more, and nothing is harmed.
func TestKillBeforeTheNoteIsDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		del, mode := r.stored("del", "x"), r.stored("mode", "x")
		r.delete("del", del.ETag)
		r.headers(mode, "2")
		r.put("put", "p", "3")
		r.notes.set(func(call string) error {
			if call == "DropNote" {
				return errDead
			}
			return nil
		})
		time.Sleep(time.Minute)
		r.crash()
		r.notes.set(nil)
		if n := len(r.notes.left(t)); n != 3 || len(r.settled()) != 3 {
			t.Fatalf("%d notes, %d settled", n, len(r.settled()))
		}
		time.Sleep(2 * time.Hour)
		r.stored("del", "another one's") // kept
		r.start()
		time.Sleep(time.Minute)
		r.want("del", "another one's:first")
		r.want("mode", "x:2")
		r.want("put", "p:3")
		r.nothingLeft()
		r.close()
	})
}
