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

func TestChangesOfOneKeyAreOneRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		first := r.put("d/", "", "1")
		for _, mode := range []string{"2", "3"} {
			if seq := r.headers(s3client.Object{Bucket: "b", Key: "d/"}, mode); seq != first {
				t.Errorf("headers are entry %d, want %d", seq, first)
			}
		}
		if left := r.notes.left(t); len(left) != 1 || left[0].Headers.Meta["mode"] != "3" || left[0].Kind != KindPut {
			t.Errorf("the journal has %+v", left)
		}
		r.drain("")
		r.calls(map[string]int64{"Put": 1})
		r.want("d/", ":3")
		o, _ := r.mem.Object("b", "d/")
		if d := r.settled(); len(d) != 1 || d[0].Op.Seq != first || d[0].Err != nil || d[0].Object.ETag != o.ETag ||
			d[0].Object.Headers.Meta["mode"] != "3" || !d[0].Object.Modified.Equal(o.Modified) || d[0].Object.Key != "d/" {
			t.Errorf("settled %+v", d)
		}
		r.nothingLeft()
		r.close()
	})
}

func TestWhatIsMadeAndDeletedCostsOneDelete(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		o := r.stored("k", "old")
		r.delete("k", o.ETag)
		r.put("k", "new", "2")
		r.delete("k", "")
		r.drain("")
		r.calls(map[string]int64{"Delete": 1})
		r.want("k", "")
		r.nothingLeft()
		r.close()
	})
}

func TestEntriesRestBeforeTheyBegin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun := make(chan time.Time, 9)
		r.fault.Add(s3fault.Rule{Hook: func(context.Context, s3fault.Call) error { begun <- time.Now(); return nil }})
		at := time.Now()
		r.put("k", "1", "")
		time.Sleep(150 * time.Millisecond)
		r.put("k", "2", "")
		if d := (<-begun).Sub(at); d != 350*time.Millisecond { // the clock is synctest's: exact
			t.Errorf("begun after %v: Delay after the last change is 350 ms", d)
		}
		synctest.Wait()
		at = time.Now()
		for range 60 {
			r.put("k", "3", "")
			time.Sleep(100 * time.Millisecond)
		}
		if d := (<-begun).Sub(at); d != 5*time.Second {
			t.Errorf("begun after %v: MaxDelay after the first change is 5 s", d)
		}
		r.drain("")
		r.close()
	})
}

// stuck makes the next call of a method wait until release is called.
func (r *rig) stuck(call string) (begun <-chan struct{}, release func()) {
	b, free := make(chan struct{}), make(chan struct{})
	r.fault.Add(s3fault.Rule{Call: call, Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
		close(b)
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	return b, sync.OnceFunc(func() { close(free) })
}

func TestNothingOvertakesWhatIsOnItsWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		begun, release := r.stuck("Put")
		one := r.put("k", "1", "a")
		<-begun
		two := r.headers(s3client.Object{Bucket: "b", Key: "k", ETag: "of an earlier version"}, "b")
		if three := r.headers(s3client.Object{Bucket: "b", Key: "k"}, "c"); two == one || three != two {
			t.Errorf("entries %d, %d, %d: the second waits behind the first, the third is merged into it", one, two, three)
		}
		r.put("other", "x", "y") // is not kept up
		time.Sleep(time.Minute)
		r.want("other", "x:y")
		r.want("k", "")
		release()
		time.Sleep(time.Minute)
		r.want("k", "1:c")
		r.calls(map[string]int64{"Put": 2, "Copy": 1})
		d := r.settled()
		if len(d) != 3 || d[1].Op.Seq != one || d[2].Op.Seq != two || d[2].Err != nil {
			t.Errorf("settled %+v", d)
		}
		r.nothingLeft()
		r.close()
	})
}

// A delete behind a put of ours is a delete of what that put has made, also when it asks first.
func TestTheNextOneIsAboutWhatThisOneMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.CheckAfter = time.Second })
		begun, release := r.stuck("Put")
		r.put("k", "1", "a")
		<-begun
		r.delete("k", "of an earlier version")
		time.Sleep(time.Minute)
		etag := ""
		r.notes.set(func(call string) error { // the journal's lock is held
			if next, ok := r.notes.mu.kept[2]; ok && call == "DropNote" && etag == "" {
				op, err := Decode(2, next)
				etag = op.ETag
				return err
			}
			return nil
		})
		release()
		time.Sleep(time.Minute)
		r.notes.set(nil)
		if etag != md5Of("1") {
			t.Errorf("when the put's note is dropped, the delete's says version %q", etag)
		}
		r.want("k", "")
		r.calls(map[string]int64{"Put": 1, "Head": 1, "Delete": 1})
		r.nothingLeft()
		r.close()
	})
}

func TestHeadersAreCopies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var sources []s3client.Object
		r := newRig(t, func(o *Options) {
			o.Copy = func(_ context.Context, src s3client.Object, bucket, key string, h *s3client.Headers) (s3client.Object, error) {
				sources = append(sources, src)
				return s3client.Object{ETag: "copied"}, nil
			}
		})
		o := r.stored("plain", "x")
		r.headers(o, "2")
		r.drain("")
		r.calls(map[string]int64{"Copy": 1})
		r.want("plain", "x:2")
		r.headers(s3client.Object{Bucket: "b", Key: "multipart", ETag: "e-2", Size: 7}, "2")
		r.drain("")
		huge := r.mem.Profile().MaxCopy + 1
		r.headers(s3client.Object{Bucket: "b", Key: "huge", ETag: "e", Size: huge}, "2")
		r.drain("")
		r.calls(map[string]int64{"Copy": 1})
		if len(sources) != 2 || sources[0].ETag != "e-2" || sources[1].Size != huge {
			t.Errorf("Options.Copy was given %+v", sources)
		}
		d := r.settled()
		if len(d) != 3 || d[0].Object.ETag != o.ETag || d[0].Object.Size != 1 || d[1].Object.ETag != "copied" ||
			d[1].Object.Size != 7 || d[2].Object.Headers.Meta["mode"] != "2" {
			t.Errorf("settled %+v", d)
		}
		r.nothingLeft()
		r.close()
	})
}

// A copy onto itself that was carried out before a crash may have changed the ETag it is pinned to.
func TestHeadersThatAreThereAlready(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		o := r.mem.PutBytes("b", "k", []byte("x"), withMode("2"))
		was := o
		was.ETag = "before-2"
		r.headers(was, "2")
		r.headers(s3client.Object{Bucket: "b", Key: "k", ETag: "before-2", Size: o.Size}, "2")
		head := r.fault.Add(s3fault.Rule{Call: "Head", Times: 1, Before: s3client.Temporary})
		if err := r.box.Drain(t.Context(), "b", ""); !errors.Is(err, s3client.Temporary) || head.Struck() != 1 {
			t.Errorf("drained: %v; when nobody knows, it is tried again", err)
		}
		r.drain("")
		r.calls(map[string]int64{"Copy": 2, "Head": 2})
		if d := r.settled(); len(d) != 1 || d[0].Err != nil || d[0].Object.ETag != o.ETag {
			t.Errorf("settled %+v", d)
		}
		r.nothingLeft()
		r.close()
	})
}

func TestHeadersOfAnotherVersionAreGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		o := r.stored("changed", "x")
		r.stored("changed", "another one's")
		r.headers(o, "2")
		r.headers(s3client.Object{Bucket: "b", Key: "gone", ETag: "e", Size: 1}, "2")
		err := r.box.Drain(t.Context(), "b", "")
		if !errors.Is(err, s3client.Changed) || !errors.Is(err, s3client.NotFound) || !strings.Contains(err.Error(), "headers b/gone") {
			t.Errorf("drained: %v", err)
		}
		r.want("changed", "another one's:first")
		if d := r.settled(); len(d) != 2 || d[0].Err == nil || d[1].Err == nil {
			t.Errorf("settled %+v", d)
		}
		r.nothingLeft()
		r.close()
	})
}
