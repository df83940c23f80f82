package s3fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func newStores() (*s3mem.Store, *s3fault.Store) {
	mem := s3mem.New(s3mem.WithBuckets("b"))
	return mem, s3fault.New(mem)
}

func put(t *testing.T, s s3client.Store, key, content string) error {
	t.Helper()
	_, err := s.Put(t.Context(), s3client.PutRequest{Bucket: "b", Key: key, Body: strings.NewReader(content),
		Size: int64(len(content))})
	return err
}

func wantCounts(t *testing.T, s *s3fault.Store, call string, want s3fault.Faults) {
	t.Helper()
	if got := s.Counts()[call]; got != want {
		t.Errorf("faults of %s: %+v, want %+v", call, got, want)
	}
}

func TestBeforeAndAfter(t *testing.T) {
	mem, s := newStores()
	before := s.Add(s3fault.Rule{Call: "Put", Key: "k", Before: s3client.Temporary})
	if err := put(t, s, "k", "1"); !errors.Is(err, s3client.Temporary) {
		t.Errorf("error %v", err)
	}
	if _, ok := mem.Bytes("b", "k"); ok {
		t.Error("the call was made all the same")
	}
	if err := put(t, s, "other", "1"); err != nil {
		t.Errorf("the rule strikes another key: %v", err)
	}
	if _, err := s.Head(t.Context(), "b", "k"); !errors.Is(err, s3client.NotFound) {
		t.Errorf("the rule strikes another call: %v", err)
	}
	if before.Struck() != 1 {
		t.Errorf("struck %d", before.Struck())
	}
	before.Remove()
	s.Add(s3fault.Rule{Call: "Put", After: io.ErrUnexpectedEOF})
	err := put(t, s, "k", "2")
	if !errors.Is(err, s3client.Temporary) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("lost answer: %v", err)
	}
	if p, _ := mem.Bytes("b", "k"); string(p) != "2" {
		t.Errorf("the call of the lost answer was not carried out: %q", p)
	}
	wantCounts(t, s, "Put", s3fault.Faults{Before: 1, After: 1})
	if s.Injected() != 2 || s.Calls()["Put"] != 3 {
		t.Errorf("%d injected, calls %v", s.Injected(), s.Calls())
	}
	s.Clear()
	if err := put(t, s, "k", "3"); err != nil {
		t.Errorf("after Clear: %v", err)
	}
}

// What was carried out and then refused is told as a client tells it.
func TestRefusedBehindALostAnswer(t *testing.T) {
	mem, s := newStores()
	s.Add(s3fault.Rule{Call: "Put", Refused: &s3client.Error{Op: "PUT Object", Kind: s3client.Throttled, Code: "SlowDown", Status: 503}})
	ctx, doubt := s3client.WithDoubt(t.Context())
	_, err := s.Put(ctx, s3client.PutRequest{Bucket: "b", Key: "k", Body: strings.NewReader("1"), Size: 1})
	var e *s3client.Error
	if !errors.As(err, &e) || e.Kind != s3client.Temporary || e.Code != "SlowDown" || !doubt.Any() {
		t.Errorf("%v, doubt %v", err, doubt.Any())
	}
	if p, _ := mem.Bytes("b", "k"); string(p) != "1" {
		t.Errorf("it was not carried out: %q", p)
	}
	wantCounts(t, s, "Put", s3fault.Faults{After: 1})
	s.Add(s3fault.Rule{Call: "DeleteMany", Key: "k", Refused: s3client.Denied})
	ctx, doubt = s3client.WithDoubt(t.Context())
	bad, err := s.DeleteMany(ctx, "b", []string{"k"})
	if err != nil || len(bad) != 1 || !errors.Is(bad[0].Err, s3client.Temporary) || !doubt.Any() || len(mem.Keys("b")) != 0 {
		t.Errorf("%v, %v, doubt %v, left %q", bad, err, doubt.Any(), mem.Keys("b"))
	}
}

func TestErrorsKeepWhatTheySay(t *testing.T) {
	_, s := newStores()
	slow := &s3client.Error{Op: "PUT Object", Kind: s3client.Throttled, Code: "SlowDown", Status: 503}
	odd := errors.New("odd")
	for _, c := range []struct {
		give error
		kind s3client.Kind
	}{{slow, s3client.Throttled}, {odd, s3client.Unknown}, {context.Canceled, s3client.Canceled},
		{fmt.Errorf("wrapped: %w", slow), s3client.Throttled}} {
		r := s.Add(s3fault.Rule{Before: c.give})
		err := put(t, s, "k", "")
		if !errors.Is(err, c.give) || s3client.KindOf(err) != c.kind {
			t.Errorf("gave %v, got %v of kind %q", c.give, err, s3client.KindOf(err))
		}
		var e *s3client.Error
		if !errors.As(err, &e) || e.Op == "" {
			t.Errorf("%v names no call", err)
		}
		r.Remove()
	}
}

func TestWhichCalls(t *testing.T) {
	struck := func(r s3fault.Rule) string {
		_, s := newStores()
		r.Before = s3client.Temporary
		s.Add(r)
		var marks strings.Builder
		for i := range 8 {
			if put(t, s, fmt.Sprintf("dir%d/k", i%2), "") != nil {
				marks.WriteByte('x')
			} else {
				marks.WriteByte('.')
			}
		}
		return marks.String()
	}
	for _, c := range []struct {
		rule s3fault.Rule
		want string
	}{
		{s3fault.Rule{}, "xxxxxxxx"},
		{s3fault.Rule{Call: "Get"}, "........"},
		{s3fault.Rule{Bucket: "c"}, "........"},
		{s3fault.Rule{Nth: 3}, "..x....."},
		{s3fault.Rule{Times: 2}, "xx......"},
		{s3fault.Rule{Prefix: "dir1/"}, ".x.x.x.x"},
		{s3fault.Rule{Prefix: "dir1/", Nth: 2}, "...x...."},
		{s3fault.Rule{Key: "dir0/k", Times: 1}, "x......."},
		{s3fault.Rule{Part: 1}, "........"},
	} {
		if got := struck(c.rule); got != c.want {
			t.Errorf("%+v strikes %s, want %s", c.rule, got, c.want)
		}
	}
	chance := s3fault.Rule{Probability: 0.5, Seed: 7}
	if one, two := struck(chance), struck(chance); one != two || !strings.Contains(one, "x") || !strings.Contains(one, ".") {
		t.Errorf("the same seed strikes %s and %s", one, two)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newStores()
		s.Add(s3fault.Rule{Call: "Put", Delay: time.Minute})
		s.Add(s3fault.Rule{Delay: time.Second})
		start := time.Now()
		if err := put(t, s, "k", ""); err != nil || time.Since(start) != 61*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start = time.Now()
		_, err := s.Put(ctx, s3client.PutRequest{Bucket: "b", Key: "k", Body: strings.NewReader("")})
		if !errors.Is(err, s3client.Canceled) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		wantCounts(t, s, "Put", s3fault.Faults{Delay: 3})
		if s.Injected() != 0 {
			t.Errorf("%d errors injected by delays", s.Injected())
		}
	})
}

func TestHook(t *testing.T) {
	mem, s := newStores()
	var seen []s3fault.Call
	s.Add(s3fault.Rule{Call: "CopyPart", Hook: func(_ context.Context, c s3fault.Call) error {
		seen = append(seen, c)
		if c.Part == 2 {
			return s3client.Denied
		}
		return nil
	}})
	src := mem.PutComputed("b", "src", 1000, "v")
	id, err := s.CreateUpload(t.Context(), "b", "dst", s3client.Headers{})
	if err != nil {
		t.Fatal(err)
	}
	for number := 1; number <= 2; number++ {
		_, err := s.CopyPart(t.Context(), s3client.CopyPartRequest{Bucket: "b", Key: "dst", UploadID: id, Number: number,
			SrcBucket: "b", SrcKey: src.Key, Length: 10})
		if want := number == 2; errors.Is(err, s3client.Denied) != want || (err != nil) != want {
			t.Errorf("part %d: %v", number, err)
		}
	}
	if len(seen) != 2 || seen[1] != (s3fault.Call{Name: "CopyPart", Bucket: "b", Key: "dst", Part: 2}) {
		t.Errorf("hook saw %+v", seen)
	}
	wantCounts(t, s, "CopyPart", s3fault.Faults{Hook: 1})
}

func get(t *testing.T, ctx context.Context, s s3client.Store) io.ReadCloser {
	t.Helper()
	body, o, err := s.Get(ctx, s3client.GetRequest{Bucket: "b", Key: "k"})
	if err != nil || o.Size != 1000 {
		t.Fatalf("get: %+v, %v", o, err)
	}
	return body
}

func TestCutBody(t *testing.T) {
	mem, s := newStores()
	mem.PutComputed("b", "k", 1000, "v")
	for _, cutAt := range []int64{0, 1, 999} {
		r := s.Add(s3fault.Rule{Call: "Get", Cut: true, CutAt: cutAt})
		p, err := io.ReadAll(get(t, t.Context(), s))
		if int64(len(p)) != cutAt || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %d bytes, %v", cutAt, len(p), err)
		}
		r.Remove()
	}
	wantCounts(t, s, "Get", s3fault.Faults{Cut: 3})
	s.Add(s3fault.Rule{Call: "Get", Cut: true, CutAt: 10, CutErr: s3client.Throttled})
	body := get(t, t.Context(), s)
	if n, err := io.ReadFull(body, make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("before the cut: %d, %v", n, err)
	}
	wantCounts(t, s, "Get", s3fault.Faults{Cut: 3}) // nobody has met the fourth yet
	for range 2 {
		if _, err := body.Read(make([]byte, 1)); !errors.Is(err, s3client.Throttled) {
			t.Errorf("at the cut: %v", err)
		}
	}
	wantCounts(t, s, "Get", s3fault.Faults{Cut: 4})
	if err := body.Close(); err != nil {
		t.Error(err)
	}
}

func TestStallBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, s := newStores()
		mem.PutComputed("b", "k", 1000, "v")
		s.Add(s3fault.Rule{Call: "Get", Stall: true, CutAt: 100})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		p, err := io.ReadAll(get(t, ctx, s))
		if len(p) != 100 || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%d bytes after %v: %v", len(p), time.Since(start), err)
		}
		body := get(t, t.Context(), s)
		ended := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(body)
			ended <- err
		}()
		synctest.Wait()
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a stalled read of a closed body: %v", err)
		}
		wantCounts(t, s, "Get", s3fault.Faults{Stall: 2})
	})
}

func TestLostGet(t *testing.T) {
	mem, s := newStores()
	mem.PutComputed("b", "k", 1000, "v")
	s.Add(s3fault.Rule{Call: "Get", After: s3client.Temporary})
	body, _, err := s.Get(t.Context(), s3client.GetRequest{Bucket: "b", Key: "k"})
	if body != nil || !errors.Is(err, s3client.Temporary) {
		t.Errorf("%v, %v", body, err)
	}
	if mem.Counts().Get != 1 {
		t.Error("the call was not made")
	}
}

func TestDeleteManyKeys(t *testing.T) {
	mem, s := newStores()
	for _, k := range []string{"a", "keep/1", "keep/2", "lost"} {
		mem.PutComputed("b", k, 1, "v")
	}
	s.Add(s3fault.Rule{Call: "DeleteMany", Prefix: "keep/", Before: s3client.Denied})
	s.Add(s3fault.Rule{Call: "DeleteMany", Key: "lost", After: s3client.Temporary})
	failed, err := s.DeleteMany(t.Context(), "b", []string{"a", "keep/1", "keep/2", "lost"})
	if err != nil || len(failed) != 3 {
		t.Fatalf("%v, %v", failed, err)
	}
	for _, f := range failed {
		want := s3client.Denied
		if f.Key == "lost" {
			want = s3client.Temporary
		}
		if !errors.Is(f.Err, want) {
			t.Errorf("%s: %v", f.Key, f.Err)
		}
	}
	if got := mem.Keys("b"); fmt.Sprint(got) != "[keep/1 keep/2]" {
		t.Errorf("left: %q", got)
	}
	wantCounts(t, s, "DeleteMany", s3fault.Faults{Keys: 3})
	s.Clear()
	s.Add(s3fault.Rule{Call: "DeleteMany", After: s3client.Temporary})
	if _, err := s.DeleteMany(t.Context(), "b", []string{"keep/1"}); !errors.Is(err, s3client.Temporary) {
		t.Errorf("lost answer: %v", err)
	}
	if got := mem.Keys("b"); fmt.Sprint(got) != "[keep/2]" {
		t.Errorf("left: %q", got)
	}
}
