package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func TestManyDeletesAreFewRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 2000 {
			o := r.stored(fmt.Sprintf("d/%d", i), "x")
			r.delete(o.Key, o.ETag)
		}
		time.Sleep(time.Second)
		r.calls(map[string]int64{"DeleteMany": 2})
		if keys := r.mem.Keys("b"); len(keys) != 0 {
			t.Errorf("%d objects are left", len(keys))
		}
		if d := r.settled(); len(d) != 2000 {
			t.Errorf("%d settled", len(d))
		}
		if n := r.notes.syncs(); n != 2000 {
			t.Errorf("%d syncs: each delete is durable when it returns", n)
		}
		r.nothingLeft()
		r.close()
	})
}

// A program that deletes slowly leaves few requests, and none waits for ever.
func TestSlowDeletesAreGathered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 100 {
			r.delete(fmt.Sprint(i), "")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		r.calls(map[string]int64{"DeleteMany": 2}) // MaxDelay after the first of each
		r.nothingLeft()
		r.close()
	})
}

// likeDirectories is a store in which a directory's marker must not go before what is below it.
type likeDirectories struct {
	s3client.Store
	t   *testing.T
	mem *s3mem.Store
}

func (s *likeDirectories) check(keys ...string) {
	for _, dir := range keys {
		for _, key := range s.mem.Keys("b") {
			if strings.HasSuffix(dir, "/") && key != dir && strings.HasPrefix(key, dir) {
				s.t.Errorf("%s is deleted while %s is there", dir, key)
			}
		}
	}
}

func (s *likeDirectories) Delete(ctx context.Context, bucket, key string) error {
	s.check(key)
	return s.Store.Delete(ctx, bucket, key)
}

func (s *likeDirectories) DeleteMany(ctx context.Context, bucket string, keys []string) ([]s3client.KeyError, error) {
	s.check(keys...)
	return s.Store.DeleteMany(ctx, bucket, keys)
}

// A directory's marker goes when all that was deleted below it is gone, however the requests fall.
func TestAMarkerIsDeletedAfterWhatIsBelow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Store = &likeDirectories{Store: o.Store, t: t} })
		r.box.o.Store.(*likeDirectories).mem = r.mem
		var keys []string
		for _, dir := range []string{"d/", "d/e/", "f/"} {
			for i := range 3 {
				keys = append(keys, fmt.Sprintf("%s%d", dir, i))
			}
		}
		for _, key := range append(keys, "d/", "d/e/", "f/", "dx/") {
			r.stored(key, "")
		}
		for _, key := range []string{"d/", "dx/", "d/e/", "f/"} { // before, beside and after
			r.delete(key, "")
		}
		for _, key := range keys {
			r.delete(key, "")
		}
		time.Sleep(time.Minute)
		if left := r.mem.Keys("b"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		r.nothingLeft()
		r.close()
	})
}

func TestDeletesOfOtherBucketsGoApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 4 {
			if _, err := r.box.Delete(t.Context(), []string{"b", "c"}[i%2], fmt.Sprint(i), ""); err != nil {
				t.Fatal(err)
			}
		}
		r.delete("1", "")
		time.Sleep(time.Second)
		r.calls(map[string]int64{"DeleteMany": 2})
		r.delete("only", "")
		time.Sleep(time.Second)
		r.calls(map[string]int64{"DeleteMany": 2, "Delete": 1})
		r.nothingLeft()
		r.close()
	})
}

func TestAnOldDeleteAsksFirst(t *testing.T) {
	for name, c := range map[string]struct {
		etag  string // "=" is the object's
		now   string // what is stored under the key when the delete is carried out; "untouched": as it was when it was made
		calls map[string]int64
		left  string
		kept  bool
	}{
		"the same":         {"=", "old", map[string]int64{"Head": 1, "Delete": 1}, "", false},
		"another":          {"=", "new", map[string]int64{"Head": 1}, "new:first", true},
		"none":             {"=", "", map[string]int64{"Head": 1}, "", false},
		"any":              {"", "untouched", map[string]int64{"Head": 1, "Delete": 1}, "", false},
		"any, and a newer": {"", "new", map[string]int64{"Head": 1}, "new:first", true},
		"any, and none":    {"", "", map[string]int64{"Head": 1, "Delete": 1}, "", false},
		"one that failed":  {"=", "old", map[string]int64{"Head": 2, "Delete": 1}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				o := r.stored("k", "old")
				etag := strings.ReplaceAll(c.etag, "=", o.ETag)
				seq := r.delete("k", etag)
				r.crash()
				time.Sleep(2 * time.Hour)
				switch c.now {
				case "":
					r.mem.Remove("b", "k")
				case "untouched":
				default:
					r.stored("k", c.now)
				}
				if name == "one that failed" {
					r.fault.Add(s3fault.Rule{Call: "Head", Times: 1, Before: s3client.Temporary})
				}
				r.start()
				time.Sleep(time.Minute)
				r.calls(c.calls)
				r.want("k", c.left)
				d := r.settled()
				if len(d) != 1 || d[0].Op.Seq != seq || d[0].Op.ETag != etag || (d[0].Err != nil) != c.kept {
					t.Fatalf("settled %+v", d)
				}
				if c.kept && !errors.Is(d[0].Err, s3client.Changed) {
					t.Errorf("given up because of %v", d[0].Err)
				}
				r.nothingLeft()
				r.close()
				if got := strings.Contains(r.log.String(), "kept: somebody stored a new version"); got != c.kept {
					t.Errorf("the log says %s", r.log.String())
				}
			})
		})
	}
}

// Whoever drains in the next run did not ask for it, and what has replaced the object may be that run's own.
func TestNobodyIsToldThatAnEarlierRunsChangeIsMoot(t *testing.T) {
	for _, kind := range []Kind{KindDelete, KindHeaders} {
		for _, earlier := range []bool{false, true} {
			t.Run(fmt.Sprint(kind, " earlier=", earlier), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t)
					r.setBusy("k", true)
					if o := r.stored("k", "old"); kind == KindDelete {
						r.delete("k", o.ETag)
					} else {
						r.headers(o, "1")
					}
					if earlier {
						r.crash()
					}
					time.Sleep(2 * time.Hour) // so that the delete asks
					r.stored("k", "new")
					if earlier {
						r.start()
					}
					r.setBusy("k", false)
					err := r.box.Drain(t.Context(), "b", "k")
					if errors.Is(err, ErrGivenUp) == earlier || (err == nil) != earlier {
						t.Errorf("drain: %v", err)
					}
					r.want("k", "new:first")
					if d := r.settled(); len(d) != 1 || !errors.Is(d[0].Err, s3client.Changed) {
						t.Errorf("settled %+v", d)
					}
					r.close()
				})
			})
		}
	}
}

// What this mount itself has made behind a deletion of whatever is there, which was accepted before, is not newer than that.
func TestADeleteOfAnyVersionIsOfWhatWasOnItsWay(t *testing.T) {
	check := func(name string, make func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, func(o *Options) { o.CheckAfter = time.Second })
				make(t, r)
				time.Sleep(10 * time.Minute)
				r.want("k", "")
				if d := r.settled(); len(d) == 0 || d[len(d)-1].Op.Kind != KindDelete || d[len(d)-1].Err != nil {
					t.Errorf("settled %+v", d)
				}
				r.nothingLeft()
				r.close()
			})
		})
	}
	check("a put that takes long", func(_ *testing.T, r *rig) {
		r.fault.Add(s3fault.Rule{Call: "Put", Delay: time.Minute})
		r.fault.Add(s3fault.Rule{Call: "Delete", Times: 3, Before: s3client.Temporary})
		r.put("k", "mine", "1")
		time.Sleep(10 * time.Second)
		r.delete("k", "")
	})
	check("a file that is being stored", func(_ *testing.T, r *rig) {
		r.fault.Add(s3fault.Rule{Call: "Delete", Times: 3, Before: s3client.Temporary})
		done := r.hold("k")
		r.delete("k", "")
		time.Sleep(time.Minute)
		r.stored("k", "the file")
		done(true)
	})
	check("a put without an answer", func(_ *testing.T, r *rig) {
		r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(context.Context, s3fault.Call) error {
			time.AfterFunc(40*time.Second, func() { r.stored("k", "landed") })
			return s3client.Temporary
		}})
		r.fault.Add(s3fault.Rule{Call: "Put", Before: s3client.Denied})
		r.put("k", "mine", "1")
		time.Sleep(3 * time.Second)
		r.delete("k", "")
	})
}

func TestAYoungDeleteDoesNotAsk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.stored("k", "new")
		r.delete("k", "old")
		r.drain("")
		r.calls(map[string]int64{"Delete": 1})
		r.want("k", "")
		r.close()
	})
}

// Old deletes ask one by one and go together.
func TestOldDeletesGoTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 50 {
			o := r.stored(fmt.Sprint(i), "x")
			r.delete(o.Key, o.ETag)
		}
		r.crash()
		time.Sleep(2 * time.Hour)
		r.stored("7", "another one's")
		r.fault.Add(s3fault.Rule{Call: "Head", Delay: 20 * time.Millisecond})
		r.start()
		r.drain("")
		r.calls(map[string]int64{"Head": 50, "DeleteMany": 1})
		if keys := r.mem.Keys("b"); len(keys) != 1 {
			t.Errorf("left: %v", keys)
		}
		r.nothingLeft()
		r.close()
		if log := r.log.String(); !strings.Contains(log, "kept: somebody stored a new version") || !strings.Contains(log, "b/7") {
			t.Errorf("the log says %s", log)
		}
	})
}

func TestKeysThatCannotBeDeletedAreTriedAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 5 {
			r.stored(fmt.Sprint(i), "x")
		}
		r.fault.Add(s3fault.Rule{Call: "DeleteMany", Key: "2", Before: s3client.Temporary})
		r.fault.Add(s3fault.Rule{Call: "DeleteMany", Key: "3", Before: s3client.Denied})
		r.fault.Add(s3fault.Rule{Call: "DeleteMany", Key: "4", Before: s3client.NotFound})
		for i := range 5 {
			r.delete(fmt.Sprint(i), "")
		}
		time.Sleep(10 * time.Second)
		r.calls(map[string]int64{"DeleteMany": 1, "Delete": 1})
		p := r.box.Pending()
		if len(p) != 1 || p[0].Op.Key != "3" || p[0].Tries != 1 || !errors.Is(p[0].Err, s3client.Denied) || p[0].Next.IsZero() {
			t.Fatalf("pending: %+v", p)
		}
		time.Sleep(time.Minute)
		r.calls(map[string]int64{"DeleteMany": 1, "Delete": 2})
		r.nothingLeft()
		r.close()
	})
}

func TestDeletesThatFailTogetherAreTriedTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fault.Add(s3fault.Rule{Call: "DeleteMany", Times: 3, Before: s3client.Throttled})
		for i := range 300 {
			r.stored(fmt.Sprint(i), "x")
			r.delete(fmt.Sprint(i), "")
		}
		time.Sleep(time.Minute)
		r.calls(map[string]int64{"DeleteMany": 4})
		if len(r.mem.Keys("b")) != 0 || len(r.settled()) != 300 {
			t.Errorf("%d left, %d settled", len(r.mem.Keys("b")), len(r.settled()))
		}
		r.nothingLeft()
		r.close()
	})
}

// One key may spoil a request for the others: after a refusal as a whole they go one by one.
func TestARefusedRequestIsTakenApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fault.Add(s3fault.Rule{Call: "DeleteMany", Before: s3client.Invalid})
		r.fault.Add(s3fault.Rule{Call: "Delete", Key: "2", Before: s3client.Invalid})
		for i := range 5 {
			r.delete(fmt.Sprint(i), "")
		}
		time.Sleep(61 * time.Second)
		r.calls(map[string]int64{"DeleteMany": 1, "Delete": 5})
		if p := r.box.Pending(); len(p) != 1 || p[0].Op.Key != "2" || p[0].Tries != 2 {
			t.Errorf("pending: %+v", p)
		}
		r.close()
	})
}

func TestAStoreWithoutDeleteMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fault.Add(s3fault.Rule{Call: "DeleteMany", Before: s3client.Unsupported})
		for i := range 5 {
			r.delete(fmt.Sprint(i), "")
		}
		r.drain("")
		r.calls(map[string]int64{"DeleteMany": 1, "Delete": 5})
		for i := range 5 {
			r.delete(fmt.Sprint(i), "")
		}
		time.Sleep(time.Second)
		r.calls(map[string]int64{"DeleteMany": 1, "Delete": 10})
		r.nothingLeft()
		r.close()
	})
}

func TestMemoryOfDeletes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n = 100_000
		r := newRig(t, func(o *Options) { o.Delay, o.MaxDelay = time.Hour, time.Hour })
		r.fault.Add(s3fault.Rule{Before: s3client.Temporary})
		ops := make([]Op, n)
		for i := range ops {
			ops[i] = Op{Seq: uint64(i + 1), Kind: KindDelete, Bucket: "b", Key: fmt.Sprintf("some/directory/%d", i), ETag: "e",
				Time: time.Now()}
		}
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()
		r.box.mu.Lock() // nothing begins meanwhile
		for i := range ops {
			r.box.mu.count++
			r.box.placeLocked(r.box.appendLocked(ops[i], 0), 0)
		}
		bytes := (heap() - before) / n
		r.box.mu.Unlock()
		t.Logf("%d bytes an entry, without key and ETag", bytes)
		if bytes > 256 {
			t.Errorf("%d bytes an entry, want 256 at most", bytes)
		}
		runtime.KeepAlive(ops)
		r.close()
	})
}

// A deletion waits for an upload that may still make the object, over a crash too, and so does what follows it. It keeps
// nothing else waiting.
func TestADeletionAfterAnUploadThatMayLandLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		at := time.Now().Add(time.Minute)
		for _, key := range []string{"k", "again", "link", "now"} {
			if _, err := r.box.DeleteAfter(t.Context(), "b", key, at); err != nil {
				t.Fatal(err)
			}
		}
		r.delete("again", "")
		r.put("link", "target", "1")
		r.stored("other", "x")
		r.delete("other", "")
		time.Sleep(10 * time.Second)
		r.calls(map[string]int64{"Delete": 1})
		if p := r.box.Pending(); len(p) != 4 || !p[0].Next.Equal(at) {
			t.Errorf("pending: %+v", p)
		}
		r.stored("now", "landed")
		r.drain("now")
		r.want("now", "")
		r.crash()
		for _, key := range []string{"k", "again", "link"} {
			r.stored(key, "landed")
		}
		r.start()
		time.Sleep(10 * time.Second)
		r.want("k", "landed:first")
		time.Sleep(time.Minute)
		r.want("k", "")
		r.want("again", "")
		r.want("link", "target:1")
		r.calls(map[string]int64{"Head": 2, "Delete": 2, "DeleteMany": 1, "Put": 1})
		r.nothingLeft()
		r.close()
	})
}
