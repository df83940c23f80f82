package upload

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// streaming is a file of n bytes with a stream, all of whose whole parts are sealed and sent.
func (e *env) streaming(n int) (*file, *Stream) {
	e.t.Helper()
	f := &file{b: random(n, 3)}
	s := e.u.NewStream("b", "k", headers("1"), f)
	s.Sealed(0, int64(n))
	if err := s.Wait(wait(e.t), 0); err != nil {
		e.t.Fatal(err)
	}
	return f, s
}

func (e *env) storeFile(f *file, s *Stream, size int) {
	e.t.Helper()
	j := job(f.b[:size])
	j.Stream = s
	e.store(j, f.b[:size])
}

func TestStreamSendsWhileWriting(t *testing.T) {
	e := newEnv(t)
	var f *file
	var s *Stream
	e.wantCalls("CreateUpload 1, UploadPart 4", func() { f, s = e.streaming(60 * kib) })
	e.wantCalls("UploadPart 1, CompleteUpload 1", func() { e.storeFile(f, s, 60*kib) })
	if n := e.mem.Counts().BytesOut; n != 60*kib {
		t.Errorf("%d bytes sent", n)
	}
	e.noPending()
	e.noWarnings()
	if err := s.Abort(context.Background()); err != nil {
		t.Errorf("abort after the end: %v", err)
	}
	e.holds("k", f.b)
}

func TestStreamMakesNoRequestBeforeAPart(t *testing.T) {
	e := newEnv(t)
	e.wantCalls("", func() {
		s := e.u.NewStream("b", "k", headers("1"), &file{b: make([]byte, 60*kib)})
		s.Sealed(0, 8*kib-1) // less than a part
		s.Sealed(1, 14*kib)  // over the border, no whole part
		s.Touched(0, 100)
		if err := s.Wait(wait(t), 0); err != nil {
			t.Error(err)
		}
		if err := s.Abort(wait(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestStaleParts(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	f.set([]byte("new header"), 0)
	s.Touched(0, 10)
	e.wantCalls("UploadPart 2, CompleteUpload 1", func() { e.storeFile(f, s, 60*kib) })
	e.noPending()
}

func TestTouchedAcrossParts(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	f.set(random(20*kib, 9), 7*kib)
	s.Touched(7*kib, 20*kib)                               // parts 1, 2, 3
	e.wantCalls("UploadPart 4, CompleteUpload 1", func() { // 2 by the stream; 1, 3 and the last by Store
		s.Sealed(8*kib, 8*kib)
		if err := s.Wait(wait(t), 0); err != nil {
			t.Error(err)
		}
		j := job(f.b)
		j.Stream = s
		e.store(j, f.b)
	})
}

func TestTouchedWhileSending(t *testing.T) {
	for _, sealAgain := range []bool{false, true} {
		e := newEnv(t)
		g := newGate()
		e.fault.Add(s3fault.Rule{Call: "UploadPart", Part: 1, Nth: 1, Hook: g.hook})
		f := &file{b: random(60*kib, 3)}
		s := e.u.NewStream("b", "k", headers("1"), f)
		s.Sealed(0, 8*kib)
		<-g.reached
		f.set([]byte("late"), 100)
		s.Touched(100, 4)
		if sealAgain {
			s.Sealed(0, 8*kib)
		}
		if n := s.InFlight(); n != 8*kib {
			t.Errorf("%d bytes in flight", n)
		}
		close(g.open)
		if err := s.Wait(wait(t), 0); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{false: "UploadPart 5, CompleteUpload 1", true: "UploadPart 4, CompleteUpload 1"}[sealAgain]
		e.wantCalls(want, func() { e.storeFile(f, s, 60*kib) })
		e.noPending()
	}
}

// A part that is touched before its turn is not sent at all until somebody asks again.
func TestTouchedWhileQueued(t *testing.T) {
	e := newEnv(t)
	g := newGate()
	e.fault.Add(s3fault.Rule{Call: "CreateUpload", Hook: g.hook})
	f := &file{b: random(60*kib, 3)}
	s := e.u.NewStream("b", "k", headers("1"), f)
	s.Sealed(0, 60*kib)
	<-g.reached
	if n := s.InFlight(); n != 48*kib { // parts of 8, 8, 16 and 16
		t.Errorf("%d bytes in flight", n)
	}
	s.Touched(0, 60*kib)
	if n := s.InFlight(); n != 0 {
		t.Errorf("%d bytes in flight", n)
	}
	close(g.open)
	if err := s.Abort(wait(t)); err != nil {
		t.Fatal(err)
	}
	if n := e.mem.Calls()["UploadPart"]; n != 0 {
		t.Errorf("%d parts sent", n)
	}
	e.noPending()
}

func TestFileGotShorter(t *testing.T) {
	for _, size := range []int{50 * kib, 30 * kib, 10 * kib, 0} {
		e := newEnv(t)
		f, s := e.streaming(100 * kib)
		s.Touched(int64(size), 1<<62)
		e.storeFile(f, s, size)
		e.noPending()
		e.noWarnings()
	}
}

// No part of an upload that is completed may be left out: Swift would keep it for ever.
func TestPartsBehindTheEndAreNotLeft(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(100 * kib)
	first := e.mem.PendingUploads("b")
	s.Touched(20*kib, 1<<62)
	e.storeFile(f, s, 20*kib)
	if n := e.mem.Calls()["CreateUpload"]; n != 2 || len(first) != 1 {
		t.Errorf("%d uploads created: the first had parts behind the end", n)
	}
}

func TestBackgroundFailuresShowAtStore(t *testing.T) {
	for _, call := range []string{"CreateUpload", "UploadPart"} {
		e := newEnv(t)
		e.fault.Add(s3fault.Rule{Call: call, Before: s3client.Temporary})
		f, s := e.streaming(60 * kib)
		if n := s.InFlight(); n != 0 {
			t.Errorf("%d bytes in flight after failures", n)
		}
		j := job(f.b)
		j.Stream = s
		if _, err := e.u.Store(context.Background(), j); !errors.Is(err, s3client.Temporary) {
			t.Errorf("error %v", err)
		}
		e.fault.Clear()
		e.storeFile(f, s, 60*kib)
		e.noPending()
	}
}

// failsToStore stores a file with its stream; the first completion fails as the rule says.
func (e *env) failsToStore(f *file, s *Stream, completion s3fault.Rule, want s3client.Kind) {
	e.t.Helper()
	completion.Call, completion.Nth = "CompleteUpload", 1
	e.fault.Add(completion)
	j := job(f.b)
	j.Stream = s
	if _, err := e.u.Store(context.Background(), j); !errors.Is(err, want) {
		e.t.Fatal(err)
	}
}

func TestFailedStoreKeepsWhatTheStreamHas(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	e.failsToStore(f, s, s3fault.Rule{Before: s3client.Throttled}, s3client.Throttled)
	e.wantCalls("CompleteUpload 1", func() { e.storeFile(f, s, 60*kib) })
	e.noPending()
}

func TestFailedStoreThenMoreWrites(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	e.failsToStore(f, s, s3fault.Rule{Before: s3client.Throttled}, s3client.Throttled)
	f.b = append(f.b, random(30*kib, 8)...)
	s.Touched(60*kib, 30*kib)
	s.Sealed(0, 90*kib)
	if err := s.Wait(wait(t), 0); err != nil {
		t.Fatal(err)
	}
	e.storeFile(f, s, 90*kib)
	e.noPending()
}

func TestStreamOfVanishedUpload(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	up := e.mem.PendingUploads("b")[0]
	if err := e.mem.AbortUpload(context.Background(), "b", up.Key, up.ID); err != nil {
		t.Fatal(err)
	}
	e.storeFile(f, s, 60*kib)
	e.noPending()
}

func TestVanishedWhileStreaming(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(20 * kib)
	up := e.mem.PendingUploads("b")[0]
	if err := e.mem.AbortUpload(context.Background(), "b", up.Key, up.ID); err != nil {
		t.Fatal(err)
	}
	f.b = append(f.b, random(80*kib, 5)...)
	s.Touched(20*kib, 80*kib)
	s.Sealed(16*kib, 84*kib)
	if err := s.Wait(wait(t), 0); err != nil {
		t.Fatal(err)
	}
	e.storeFile(f, s, 100*kib)
	e.noPending()
}

// A part that somebody else has overwritten makes the completion invalid: the stream's upload is given up, not kept for
// ever.
func TestPartsThatAreNotOurs(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	up := e.mem.PendingUploads("b")[0]
	other := random(8*kib, 77)
	if _, err := e.mem.UploadPart(context.Background(), s3client.PartRequest{Bucket: "b", Key: "k", UploadID: up.ID,
		Number: 1, Body: bytes.NewReader(other), Size: 8 * kib}); err != nil {
		t.Fatal(err)
	}
	e.storeFile(f, s, 60*kib)
	e.noPending()
}

func TestUndecidedStreamCompletesAgain(t *testing.T) {
	for _, rule := range []s3fault.Rule{{Before: s3client.Temporary}, {After: s3client.Temporary}} {
		e := newEnv(t)
		f, s := e.streaming(60 * kib)
		e.failsToStore(f, s, rule, s3client.Temporary)
		e.wantCalls("CompleteUpload 1", func() { e.storeFile(f, s, 60*kib) })
		e.noPending()
	}
}

func TestUndecidedStreamIsNotAborted(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	e.failsToStore(f, s, s3fault.Rule{Before: s3client.Temporary}, s3client.Temporary)
	if err := s.Abort(wait(t)); err != nil {
		t.Fatal(err)
	}
	if n := e.mem.Calls()["AbortUpload"]; n != 0 {
		t.Error("aborted")
	}
	e.store(job(f.b), f.b) // replaces it
	e.noPending()
}

func TestStreamWithOtherHeaders(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	j := job(f.b)
	j.Stream, j.Headers = s, headers("9")
	e.wantCalls("CreateUpload 1, UploadPart 1, CopyPart 2, CompleteUpload 2, Head 1", func() { e.store(j, f.b) })
	e.noPending()

	e = newEnv(t)
	f, s = e.streaming(60 * kib)
	j = job(f.b[:10*kib])
	j.Stream, j.Headers = s, headers("9")
	s.Touched(10*kib, 1<<62)
	e.wantCalls("Put 1, AbortUpload 1", func() { e.store(j, f.b[:10*kib]) })
	e.noPending()
}

func TestStreamOfAnotherKey(t *testing.T) {
	e := newEnv(t)
	f, s := e.streaming(60 * kib)
	j := job(f.b)
	j.Key, j.Stream = "renamed", s
	e.store(j, f.b)
	e.noPending()
	if got := e.mem.Keys("b"); len(got) != 1 {
		t.Errorf("keys %v", got)
	}
}

// With a base to copy from, the cheaper of the two ways is taken.
func TestStreamOrCopies(t *testing.T) {
	e := newEnv(t)
	old := random(100*kib, 1)
	base := e.mem.PutBytes("b", "k", old, headers("0"))
	f := &file{b: bytes.Clone(old)}
	s := e.u.NewStream("b", "k", headers("1"), f)
	j := e.edit(base, f.b, 100*kib, Range{Off: 0, Len: 1})
	j.Stream = s
	e.wantCalls("CreateUpload 1, UploadPart 1, CopyPart 3, CompleteUpload 1, Head 1", func() { e.store(j, f.b) })

	s = e.u.NewStream("b", "k", headers("1"), f)
	s.Sealed(0, 100*kib)
	if err := s.Wait(wait(t), 0); err != nil {
		t.Fatal(err)
	}
	base, _ = e.mem.Object("b", "k")
	j = e.edit(base, f.b, 100*kib, Range{Off: 0, Len: 90 * kib})
	j.Stream = s
	before := e.mem.Calls()["CopyPart"]
	e.store(j, f.b)
	if e.mem.Calls()["CopyPart"] != before {
		t.Error("copied although the stream had it all")
	}
	e.noPending()
}

func TestWaitIsBackPressure(t *testing.T) {
	e := newEnv(t)
	g := newGate()
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Hook: g.hook})
	s := e.u.NewStream("b", "k", headers("1"), &file{b: random(300*kib, 1)})
	s.Sealed(0, 300*kib)
	total := s.InFlight()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Wait(ctx, total); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with a dead context: %v", err)
	}
	if err := s.Wait(ctx, total+1); err != nil {
		t.Errorf("nothing to wait for: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Wait(wait(t), total) }()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-g.reached:
	}
	close(g.open)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Writers, a sealer and Stores run at once; at the end the object is the file.
func TestStreamStress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(8) {
			reg := newBook(t)
			e := newEnv(t, reg.setting)
			e.fault.Add(s3fault.Rule{Call: "UploadPart", Probability: 0.1, Seed: seed, Before: s3client.Temporary})
			e.fault.Add(s3fault.Rule{Call: "UploadPart", Probability: 0.1, Seed: seed + 100, After: s3client.Temporary})
			e.fault.Add(s3fault.Rule{Call: "CompleteUpload", Probability: 0.3, Seed: seed, Before: s3client.Throttled})
			const size = 250 * kib
			f := &file{b: random(size, seed)}
			s := e.u.NewStream("b", "k", headers("1"), f)
			var wg sync.WaitGroup
			for w := range uint64(3) {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, w))
					for range 60 {
						off := rnd.IntN(size - 100)
						if rnd.IntN(2) == 0 {
							f.set(random(100, rnd.Uint64()), off)
							s.Touched(int64(off), 100)
						} else {
							s.Sealed(int64(off), 64*kib)
						}
						if rnd.IntN(20) == 0 {
							if err := s.Wait(wait(t), 100*kib); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			wg.Go(func() {
				for range 3 { // fails, or stores some state in between and ends the stream: both are fine here
					j := job(nil)
					j.Source, j.Need.Size, j.Stream = f, size, s
					_, _ = e.u.Store(context.Background(), j)
				}
			})
			wg.Wait()
			if err := s.Wait(wait(t), 0); err != nil {
				t.Error(err)
			}
			e.fault.Clear()
			e.storeFile(f, s, size)
			if n := s.InFlight(); n != 0 {
				t.Errorf("seed %d: %d bytes in flight", seed, n)
			}
			e.noPending()
			e.allEnded(e.u, reg)
			e.noWarnings()
		}
	})
}
