package upload

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func TestAbortLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		e.create(reg, "a", false, []byte("part"))
		e.create(reg, "b", true, []byte("part"))
		e.create(reg, "kept", false, []byte("part"))
		gone := e.create(reg, "gone", false)
		if err := e.mem.AbortUpload(context.Background(), "b", "gone", gone.ID); err != nil {
			t.Fatal(err)
		}
		u := e.newRun(reg.left())
		began := time.Now()
		n, err := u.AbortLeft(context.Background(), reg.left(), func(l Left) bool { return l.Key == "kept" })
		if n != 2 || err != nil {
			t.Errorf("aborted %d, %v", n, err)
		}
		if waited := time.Since(began); waited != joinWindow {
			t.Errorf("waited %v for a completion that may be on its way", waited)
		}
		time.Sleep(lateWindow)
		synctest.Wait()
		if left := reg.left(); len(left) != 1 || left[0].Key != "kept" {
			t.Errorf("registered: %v", left)
		}
		if left := e.mem.PendingUploads("b"); len(left) != 1 || left[0].Key != "kept" {
			t.Errorf("left: %v", left)
		}
	})
}

// An upload that the finished object consists of is never aborted, and is when the object has been replaced.
func TestAbortLeftSparesTheObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		part := []byte("all of it")
		l := e.create(reg, "k", true, part)
		twin := e.create(newBook(t), "k", false, part) // Swift: the object is there, and the upload as well
		parts, err := e.mem.Parts(context.Background(), "b", "k", twin.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.mem.CompleteUpload(context.Background(), s3client.CompleteRequest{Bucket: "b", Key: "k",
			UploadID: twin.ID, Parts: parts}); err != nil {
			t.Fatal(err)
		}
		u := e.newRun(nil)
		for _, abort := range []func() (int, error){
			func() (int, error) { return u.AbortLeft(context.Background(), []Left{l}, nil) },
			func() (int, error) {
				return e.newRun(nil).AbortOld(context.Background(), "b", "", time.Now().Add(time.Hour), nil)
			},
		} {
			if n, err := abort(); n != 0 || err != nil || len(e.mem.PendingUploads("b")) != 1 || len(reg.left()) != 1 {
				t.Errorf("aborted %d, %v; left %v, registered %v", n, err, e.mem.PendingUploads("b"), reg.left())
			}
		}
		e.mem.PutBytes("b", "k", []byte("another"), headers("0"))
		u = e.newRun(nil)
		if n, err := u.AbortLeft(context.Background(), []Left{l}, nil); n != 1 || err != nil {
			t.Errorf("aborted %d, %v", n, err)
		}
		e.allEnded(u, reg)
	})
}

// For an upload without id the key's own are found by their time; those of this run, of other keys and times stay.
func TestAbortLeftWithoutID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		ctx := context.Background()
		create := func(key string) string {
			id, err := e.mem.CreateUpload(ctx, "b", key, headers("1"))
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		before := create("k")
		time.Sleep(time.Minute)
		if _, err := reg.Begins("b", "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		lost, other := create("k"), create("kk")
		_, s := e.streaming(60 * kib) // of this run
		own, _ := s.uploadID()
		time.Sleep(3 * time.Minute)
		after := create("k")
		n, err := e.u.AbortLeft(ctx, reg.left()[:1], nil)
		var left []string
		for _, up := range e.mem.PendingUploads("b") {
			left = append(left, up.ID)
		}
		if want := []string{before, own, after, other}; n != 1 || err != nil || !slices.Equal(left, want) {
			t.Errorf("aborted %d, %v; left %v, want %v (not %s)", n, err, left, want, lost)
		}
		if err := s.Abort(ctx); err != nil {
			t.Error(err)
		}
		if left := reg.left(); len(left) != 0 {
			t.Errorf("registered %v", left)
		}
	})
}

func TestAbortLeftFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it waits for creations that may be late
		for call, want := range map[string]int{"AbortUpload": 0, "Uploads": 1} {
			reg := newBook(t)
			e := newEnv(t, reg.setting)
			e.create(reg, "k", false, []byte("part"))
			if _, err := reg.Begins("b", "x"); err != nil {
				t.Fatal(err)
			}
			e.fault.Add(s3fault.Rule{Call: call, Before: s3client.Temporary})
			u := e.newRun(nil)
			if n, err := u.AbortLeft(context.Background(), reg.left(), nil); !errors.Is(err, s3client.Temporary) || n != want {
				t.Errorf("%s: aborted %d, %v", call, n, err)
			}
			if left := reg.left(); len(left) != 1 {
				t.Errorf("%s: registered %v", call, left)
			}
			e.fault.Clear()
			next := e.newRun(nil)
			if _, err := next.AbortLeft(context.Background(), reg.left(), nil); err != nil {
				t.Errorf("%s: %v", call, err)
			}
			e.allEnded(next, reg)
			e.noPending()
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		l := e.create(reg, "k", true, []byte("part"))
		if _, err := e.newRun(nil).AbortLeft(ctx, []Left{l}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("wait with a dead context: %v", err)
		}
	})
}

func TestAbortOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		ctx := context.Background()
		ids := make(map[string]string)
		for _, key := range []string{"dir/old", "dir/known", "elsewhere"} {
			ids[key], _ = e.mem.CreateUpload(ctx, "b", key, headers("1"))
		}
		_, s := e.streaming(60 * kib)
		time.Sleep(25 * time.Hour)
		ids["dir/new"], _ = e.mem.CreateUpload(ctx, "b", "dir/new", headers("1"))
		day := time.Now().Add(-24 * time.Hour)
		n, err := e.u.AbortOld(ctx, "b", "dir/", day, func(id string) bool { return id == ids["dir/known"] })
		if n != 1 || err != nil {
			t.Errorf("aborted %d, %v", n, err)
		}
		if n, err = e.u.AbortOld(ctx, "b", "", day, nil); n != 2 || err != nil { // not the stream's
			t.Errorf("aborted %d, %v", n, err)
		}
		if left := e.mem.PendingUploads("b"); len(left) != 2 {
			t.Errorf("left %v", left)
		}
		if err := s.Abort(ctx); err != nil {
			t.Error(err)
		}
		if n, err := e.u.AbortOld(ctx, "nobucket", "", day, nil); n != 0 || err != nil {
			t.Errorf("no bucket: %d, %v", n, err)
		}
	})
}

// A creation of the dead process that comes to the store when the uploads have been looked for already.
func TestAbortLeftWaitsForLateCreations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		ctx := context.Background()
		if _, err := reg.Begins("b", "k"); err != nil {
			t.Fatal(err)
		}
		u := e.newRun(nil)
		left := reg.left()
		u.Adopt(left)
		ended := make(chan error)
		go func() {
			_, err := u.AbortLeft(ctx, left, nil)
			ended <- err
		}()
		time.Sleep(time.Minute)
		if n := len(reg.left()); n != 1 {
			t.Errorf("%d registered after the first look", n)
		}
		if _, err := e.mem.CreateUpload(ctx, "b", "k", headers("1")); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil || len(reg.left()) != 0 {
			t.Errorf("%v, registered %v", err, reg.left())
		}
		e.noPending()
	})
}

func TestAbortStream(t *testing.T) {
	e := newEnv(t)
	g := newGate()
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Hook: g.hook})
	s := e.u.NewStream("b", "k", headers("1"), &file{b: random(200*kib, 1)})
	s.Sealed(0, 200*kib)
	<-g.reached
	if n := s.InFlight(); n == 0 {
		t.Error("nothing in flight")
	}
	for range 2 {
		if err := s.Abort(wait(t)); err != nil {
			t.Fatal(err)
		}
	}
	s.Sealed(0, 200*kib)
	if n := s.InFlight(); n != 0 {
		t.Errorf("%d bytes in flight", n)
	}
	if left := e.mem.PendingUploads("b"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	e.noPending()
}

func TestAbortFailureIsTold(t *testing.T) {
	e := newEnv(t)
	_, s := e.streaming(60 * kib)
	rule := e.fault.Add(s3fault.Rule{Call: "AbortUpload", Before: s3client.Temporary})
	if err := s.Abort(wait(t)); !errors.Is(err, s3client.Temporary) {
		t.Errorf("error %v", err)
	}
	rule.Remove()
	e.noPending() // Close tries again
}

func TestCloseAbortsStreams(t *testing.T) {
	e := newEnv(t)
	g := newGate()
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Nth: 3, Hook: g.hook})
	for i := range 3 {
		s := e.u.NewStream("b", string(rune('a'+i)), headers("1"), &file{b: random(100*kib, 1)})
		s.Sealed(0, 100*kib)
	}
	<-g.reached
	e.noPending()
}

func TestCloseLeavesWithItsContext(t *testing.T) {
	e := newEnv(t)
	stuck, open := make(chan struct{}), make(chan struct{})
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Nth: 1, Hook: func(context.Context, s3fault.Call) error {
		close(stuck)
		<-open // does not look at its context
		return nil
	}})
	s := e.u.NewStream("b", "k", headers("1"), &file{b: random(100*kib, 1)})
	s.Sealed(0, 100*kib)
	<-stuck
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.u.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(open)
	e.noPending()
}
