package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

func TestStoreRequests(t *testing.T) {
	old := random(60*kib, 1)
	edited := bytes.Clone(old)
	edited[30*kib]++
	appended := append(bytes.Clone(old), random(3*kib, 2)...)
	grown := append(bytes.Clone(old), make([]byte, 9*kib)...)
	for _, c := range []struct {
		name    string
		content []byte
		valid   int64 // of the base; 0: no base
		dirty   []Range
		want    string
		out     int64 // bytes sent
	}{
		{"empty", nil, 0, nil, "Put 1", 0},
		{"small", old[:16*kib], 0, nil, "Put 1", 16 * kib},
		{"large", old, 0, nil, "CreateUpload 1, UploadPart 5, CompleteUpload 1", 60 * kib},
		{"edit", edited, 60 * kib, []Range{{Off: 30 * kib, Len: 1}}, "CreateUpload 1, UploadPart 1, CopyPart 2, CompleteUpload 1, Head 1", 5 * kib},
		{"append", appended, 60 * kib, []Range{{Off: 60 * kib, Len: 3 * kib}}, "CreateUpload 1, UploadPart 1, CopyPart 2, CompleteUpload 1, Head 1", 3 * kib},
		{"cut", old[:50*kib], 50 * kib, nil, "CreateUpload 1, CopyPart 2, CompleteUpload 1, Head 1", 0},
		{"cut to a small one", old[:10*kib], 10 * kib, nil, "Put 1", 10 * kib},
		{"grown by a hole", grown, 60 * kib, nil, "CreateUpload 1, UploadPart 1, CopyPart 2, CompleteUpload 1, Head 1", 9 * kib},
		{"unchanged, over MaxCopy", old, 60 * kib, nil, "CreateUpload 1, CopyPart 2, CompleteUpload 1, Head 1", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t)
			base := e.mem.PutBytes("b", "k", old, headers("0"))
			j := job(c.content)
			if c.valid > 0 {
				j = e.edit(base, c.content, c.valid, c.dirty...)
			}
			before := e.mem.Counts()
			e.wantCalls(c.want, func() { e.store(j, c.content) })
			if out := e.mem.Counts().Sub(before).BytesOut; out != c.out {
				t.Errorf("%d bytes sent, want %d", out, c.out)
			}
			e.noPending()
			e.noWarnings()
		})
	}
}

func TestStoreUnchangedIsOneCopy(t *testing.T) {
	e := newEnv(t)
	old := random(30*kib, 1)
	base := e.mem.PutBytes("b", "old", old, headers("0"))
	e.wantCalls("Copy 1, Head 1", func() { e.store(e.edit(base, old, 30*kib), old) })
}

// On a store that says nothing but an ETag a small file costs its PUT, a large one a look at the end.
func TestStoreLooksOnlyAtLargeObjects(t *testing.T) {
	e := newEnv(t, quietStore)
	b := random(50*kib, 1)
	e.wantCalls("Put 1", func() {
		if obj := e.store(job(b[:9]), b[:9]); !obj.Modified.IsZero() {
			t.Errorf("modified %v out of nothing", obj.Modified)
		}
	})
	e.wantCalls("CreateUpload 1, UploadPart 5, CompleteUpload 1, Head 1", func() {
		if obj := e.store(job(b), b); obj.Modified.IsZero() {
			t.Error("no modification time")
		}
	})
}

func TestStoreIfAbsent(t *testing.T) {
	e := newEnv(t)
	for i, n := range []int{0, 5, 50 * kib} {
		b := random(n, uint64(i))
		j := job(b)
		j.Key, j.IfAbsent = string(rune('a'+i)), true
		e.store(j, b)
		_, err := e.u.Store(context.Background(), j)
		if !errors.Is(err, s3client.Exists) {
			t.Errorf("%d bytes, again: %v", n, err)
		}
		e.holds(j.Key, b)
	}
	e.noPending()
}

func TestStorePinsTheBase(t *testing.T) {
	e := newEnv(t)
	old := random(60*kib, 1)
	base := e.mem.PutBytes("b", "k", old, headers("0"))
	other := random(60*kib, 2)
	e.mem.PutBytes("b", "k", other, headers("0"))
	_, err := e.u.Store(context.Background(), e.edit(base, old, 60*kib, Range{Off: 0, Len: 1}))
	if !errors.Is(err, s3client.Changed) {
		t.Errorf("base was replaced: %v", err)
	}
	e.holds("k", other)
	e.mem.Remove("b", "k")
	for _, n := range []int64{60 * kib, 30 * kib} {
		base.Size = n
		_, err = e.u.Store(context.Background(), e.edit(base, old[:n], n))
		if !errors.Is(err, s3client.Changed) || errors.Is(err, s3client.NotFound) {
			t.Errorf("base of %d bytes was removed: %v", n, err)
		}
	}
	e.noPending()
}

func TestStoreWithoutCopies(t *testing.T) { // a store that has no UploadPartCopy, or a base without a version
	old := random(60*kib, 1)
	t.Run("unsupported", func(t *testing.T) {
		e := newEnv(t)
		base := e.mem.PutBytes("b", "k", old, headers("0"))
		e.fault.Add(s3fault.Rule{Call: "CopyPart", Before: s3client.Unsupported})
		e.store(e.edit(base, old, 60*kib, Range{Off: 5, Len: 1}), old)
		e.noPending()
	})
	t.Run("no etag", func(t *testing.T) {
		e := newEnv(t)
		base := e.mem.PutBytes("b", "k", old, headers("0"))
		base.ETag = ""
		e.wantCalls("CreateUpload 1, UploadPart 5, CompleteUpload 1", func() {
			e.store(e.edit(base, old, 60*kib, Range{Off: 5, Len: 1}), old)
		})
	})
	t.Run("limit past the base", func(t *testing.T) {
		e := newEnv(t)
		j := e.edit(s3client.Object{ETag: "x", Size: 5}, old, 6)
		if _, err := e.u.Store(context.Background(), j); err == nil {
			t.Error("stored")
		}
	})
}

func TestStoreFailures(t *testing.T) {
	b := random(60*kib, 1)
	for _, c := range []struct {
		name string
		rule s3fault.Rule
		want error
	}{
		{"put", s3fault.Rule{Call: "Put", Before: s3client.Throttled}, s3client.Throttled},
		{"create", s3fault.Rule{Call: "CreateUpload", Before: s3client.Temporary}, s3client.Temporary},
		{"first part", s3fault.Rule{Call: "UploadPart", Part: 1, Before: s3client.Temporary}, s3client.Temporary},
		{"last part", s3fault.Rule{Call: "UploadPart", Part: 5, Before: s3client.Denied}, s3client.Denied},
		{"part stored, answer lost", s3fault.Rule{Call: "UploadPart", Part: 2, After: s3client.Temporary}, s3client.Temporary},
		{"quota", s3fault.Rule{Call: "UploadPart", Part: 3, Before: s3client.TooLarge}, s3client.TooLarge},
		{"bad request", s3fault.Rule{Call: "UploadPart", Part: 2, Before: s3client.Invalid}, s3client.Invalid},
		{"every part gone", s3fault.Rule{Call: "UploadPart", Before: s3client.NotFound}, errAgain},
		{"complete refused", s3fault.Rule{Call: "CompleteUpload", Before: s3client.Denied}, s3client.Denied},
		{"complete invalid", s3fault.Rule{Call: "CompleteUpload", Before: s3client.Invalid}, s3client.Invalid},
		{"complete finds no upload", s3fault.Rule{Call: "CompleteUpload", Before: s3client.NotFound}, errAgain},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t)
			j := job(b)
			if c.rule.Call == "Put" {
				j = job(b[:9])
			}
			e.mem.PutBytes("b", "k", []byte("before"), headers("0"))
			e.fault.Add(c.rule)
			obj, err := e.u.Store(context.Background(), j)
			if !errors.Is(err, c.want) || errors.Is(err, s3client.NotFound) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if obj != (s3client.Object{}) {
				t.Errorf("an object beside the error: %+v", obj)
			}
			e.holds("k", []byte("before"))
			// What has arrived before a passing failure is kept for the next Store.
			if left := e.mem.PendingUploads("b"); len(left) > 1 || len(left) == 1 && c.want != s3client.Temporary {
				t.Errorf("uploads left: %v", left)
			}
			e.fault.Clear()
			e.store(j, b[:j.Need.Size])
			e.noPending()
		})
	}
}

func TestStoreBeginsAgainWhenTheUploadVanished(t *testing.T) {
	b := random(60*kib, 1)
	for _, call := range []string{"UploadPart", "CompleteUpload"} {
		e := newEnv(t)
		e.fault.Add(s3fault.Rule{Call: call, Nth: 1, Hook: func(context.Context, s3fault.Call) error {
			for _, up := range e.mem.PendingUploads("b") {
				if err := e.mem.AbortUpload(context.Background(), "b", up.Key, up.ID); err != nil {
					t.Error(err)
				}
			}
			return nil
		}})
		e.store(job(b), b)
		e.noPending()
		e.noWarnings()
	}
}

// A completion without a clear answer may still happen: nothing is aborted before something else has replaced it.
func TestUndecidedCompletionIsNotAborted(t *testing.T) {
	e := newEnv(t)
	b := random(60*kib, 1)
	e.fault.Add(s3fault.Rule{Call: "CompleteUpload", Nth: 1, Before: s3client.Temporary})
	if _, err := e.u.Store(context.Background(), job(b)); !errors.Is(err, s3client.Temporary) {
		t.Fatal(err)
	}
	if left := e.mem.PendingUploads("b"); len(left) != 1 {
		t.Fatalf("uploads left: %v", left)
	}
	e.store(job(b), b)
	e.noPending()
	e.noWarnings()
}

func TestUndecidedCompletionIsReportedAtClose(t *testing.T) {
	e := newEnv(t)
	e.fault.Add(s3fault.Rule{Call: "CompleteUpload", Before: s3client.Temporary})
	if _, err := e.u.Store(context.Background(), job(random(60*kib, 1))); err == nil {
		t.Fatal("stored")
	}
	e.close()
	if s := e.log.String(); !strings.Contains(s, "never answered") || !strings.Contains(s, "key=k") {
		t.Errorf("log: %s", s)
	}
}

func TestFailedAbortIsLogged(t *testing.T) {
	e := newEnv(t)
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Before: s3client.Denied})
	e.fault.Add(s3fault.Rule{Call: "AbortUpload", Before: s3client.Temporary})
	if _, err := e.u.Store(context.Background(), job(random(60*kib, 1))); !errors.Is(err, s3client.Denied) {
		t.Fatal(err)
	}
	if s := e.log.String(); !strings.Contains(s, "cannot abort") {
		t.Errorf("log: %s", s)
	}
}

func TestAnswersThatProveNothing(t *testing.T) {
	b := random(60*kib, 1)
	noTag := func(o *s3client.Object) { o.ETag = "" }
	noPart := func(p *s3client.Part) { p.ETag = "" }
	for name, c := range map[string]struct {
		a    altered
		edit bool
		size int
	}{
		"put":         {a: altered{put: noTag}, size: 9},
		"put, size":   {a: altered{put: func(o *s3client.Object) { o.Size-- }}, size: 9},
		"part":        {a: altered{part: noPart}, size: 60 * kib},
		"part, size":  {a: altered{part: func(p *s3client.Part) { p.Size-- }}, size: 60 * kib},
		"cut short":   {a: altered{head: func(o *s3client.Object) { o.Size-- }}, size: 60 * kib, edit: true},
		"copied part": {a: altered{copyPart: noPart}, size: 60 * kib, edit: true},
		"copy":        {a: altered{copied: noTag}, size: 30 * kib, edit: true},
		"copy, size": {a: altered{head: func(o *s3client.Object) { o.Size-- }},
			size: 30 * kib, edit: true},
		"upload id":     {a: altered{uploadID: func(id *string) { *id = "" }}, size: 60 * kib},
		"complete":      {a: altered{completed: noTag}, size: 60 * kib},
		"complete size": {a: altered{completed: func(o *s3client.Object) { o.Size-- }, head: func(o *s3client.Object) { o.Size-- }}, size: 60 * kib},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(o *Options) {
				c.a.Store = o.Store
				o.Store = &c.a
			})
			j := job(b[:c.size])
			if c.edit {
				j = e.edit(e.mem.PutBytes("b", "old", b[:c.size], headers("0")), b[:c.size], int64(c.size))
			}
			obj, err := e.u.Store(context.Background(), j)
			if !errors.Is(err, s3client.Unknown) {
				t.Errorf("%+v, %v", obj, err)
			}
		})
	}
}

func TestCompletedObjectThatIsNotThere(t *testing.T) {
	e := newEnv(t, quietStore)
	e.fault.Add(s3fault.Rule{Call: "Head", Before: s3client.NotFound})
	_, err := e.u.Store(context.Background(), job(random(60*kib, 1)))
	if !errors.Is(err, s3client.Unknown) || errors.Is(err, s3client.NotFound) {
		t.Errorf("error %v", err)
	}
}

func TestObjectReplacedRightAfter(t *testing.T) {
	e := newEnv(t, quietStore)
	b := random(60*kib, 1)
	e.fault.Add(s3fault.Rule{Call: "Head", Nth: 1, Hook: func(context.Context, s3fault.Call) error {
		e.mem.PutBytes("b", "k", []byte("another's"), headers("0"))
		return nil
	}})
	if _, err := e.u.Store(context.Background(), job(b)); !errors.Is(err, s3client.Changed) {
		t.Errorf("another size: %v", err)
	}
	e.fault.Clear()
	e.fault.Add(s3fault.Rule{Call: "Head", Nth: 1, Hook: func(context.Context, s3fault.Call) error {
		e.mem.PutBytes("b", "k", random(60*kib, 2), headers("0"))
		return nil
	}})
	obj, err := e.u.Store(context.Background(), job(b))
	seen, _ := e.mem.Object("b", "k")
	if err != nil || obj.ETag == seen.ETag {
		t.Errorf("same size: %+v, %v: must be our version's ETag, not %s", obj, err, seen.ETag)
	}
}

func TestSourceErrorsAreTold(t *testing.T) {
	for _, size := range []int64{9, 60 * kib} {
		e := newEnv(t)
		j := job(nil)
		j.Need.Size, j.Source = size, badSource{size / 2}
		if _, err := e.u.Store(context.Background(), j); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%d bytes: %v", size, err)
		}
		j.Source = bytes.NewReader(make([]byte, size-1))
		if _, err := e.u.Store(context.Background(), j); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes from a shorter file: %v", size, err)
		}
		if got := e.mem.Keys("b"); len(got) != 0 {
			t.Errorf("stored %v", got)
		}
		e.noPending()
	}
}

func TestCanceledStoreLeavesAtOnceAndNothingBehind(t *testing.T) {
	b := random(60*kib, 1)
	for _, call := range []string{"Put", "CreateUpload", "UploadPart", "CopyPart", "Head"} {
		t.Run(call, func(t *testing.T) {
			e := newEnv(t, quietStore)
			g := newGate()
			j := job(b)
			switch call {
			case "Put":
				j = job(b[:9])
			case "CopyPart":
				j = e.edit(e.mem.PutBytes("b", "old", b, headers("0")), b, 60*kib)
			}
			e.fault.Add(s3fault.Rule{Call: call, Hook: g.hook})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() {
				_, err := e.u.Store(ctx, j)
				done <- err
			}()
			<-g.reached
			cancel()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
			case <-wait(t).Done():
				t.Fatal("hangs")
			}
			close(g.open)
			e.noPending()
		})
	}
}

// A caller that leaves during the completion is still told when it succeeds soon.
func TestCancelDuringCompletion(t *testing.T) {
	e := newEnv(t)
	g := newGate()
	e.fault.Add(s3fault.Rule{Call: "CompleteUpload", Hook: g.hook})
	ctx, cancel := context.WithCancel(context.Background())
	b := random(60*kib, 1)
	done := make(chan error, 1)
	go func() {
		_, err := e.u.Store(ctx, job(b))
		done <- err
	}()
	<-g.reached
	cancel()
	close(g.open)
	if err := <-done; err != nil {
		t.Errorf("error %v", err)
	}
	e.holds("k", b)
	e.noPending()
}

func TestParallelHolds(t *testing.T) {
	const parallel = 4
	e := newEnv(t)
	var mu sync.Mutex
	now, most := 0, 0
	e.fault.Add(s3fault.Rule{Hook: func(_ context.Context, c s3fault.Call) error {
		if c.Name != "UploadPart" && c.Name != "Put" && c.Name != "CopyPart" {
			return nil
		}
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(100 * time.Microsecond) // makes an excess visible; the bound does not hang on it
		mu.Lock()
		now--
		mu.Unlock()
		return nil
	}})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			b := random(20*kib*i+10, uint64(i))
			j := job(b)
			j.Key = string(rune('a' + i))
			e.store(j, b)
		})
	}
	wg.Wait()
	if most > parallel || most < 2 {
		t.Errorf("%d requests at once, limit %d", most, parallel)
	}
}

// Large parts never take all places: a small file is stored while they are stuck.
func TestSmallFilesPassLargeOnes(t *testing.T) {
	e := newEnv(t)
	g := newGate()
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Hook: g.hook})
	large, b := make(chan error, 1), random(60*kib, 1)
	go func() {
		_, err := e.u.Store(context.Background(), job(b))
		large <- err
	}()
	for range e.u.share {
		<-g.reached
	}
	j := job([]byte("small"))
	j.Key = "small"
	if _, err := e.u.Store(wait(t), j); err != nil {
		t.Error(err)
	}
	close(g.open)
	if err := <-large; err != nil {
		t.Error(err)
	}
}

func TestAfterClose(t *testing.T) {
	e := newEnv(t)
	e.close()
	if _, err := e.u.Store(context.Background(), job(random(60*kib, 1))); !errors.Is(err, ErrClosed) {
		t.Errorf("store after close: %v", err)
	}
	s := e.u.NewStream("b", "k", headers("1"), bytes.NewReader(make([]byte, 60*kib)))
	s.Sealed(0, 60*kib)
	if n := s.InFlight(); n != 0 {
		t.Errorf("%d bytes in flight after close", n)
	}
}

// goneSource has lost the object that its bytes are in.
type goneSource struct{ from int64 }

func (g goneSource) ReadAt(p []byte, off int64) (int, error) {
	if off >= g.from {
		return 0, &s3client.Error{Op: "GET Object", Kind: s3client.NotFound, Code: "NoSuchKey"}
	}
	return len(p), nil
}

// What the Source cannot read is no upload that the store has lost: it would be begun again in vain.
func TestSourceThatMissesAnObject(t *testing.T) {
	e := newEnv(t)
	j := job(random(60*kib, 1))
	j.Source = goneSource{20 * kib}
	if _, err := e.u.Store(context.Background(), j); s3client.KindOf(err) != s3client.NotFound || errors.Is(err, errAgain) {
		t.Errorf("error %v", err)
	}
	if n := e.mem.Calls()["CreateUpload"]; n != 1 {
		t.Errorf("%d uploads were begun", n)
	}
	e.noPending()
}
