package upload

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// partly is a file of which some bytes are nowhere but in the upload.
type partly struct {
	*file
	gone []Range
}

var errNotHere = errors.New("not here")

func (f *partly) ReadAt(b []byte, off int64) (int, error) {
	f.Lock()
	for _, r := range f.gone {
		if r.Off < off+int64(len(b)) && off < r.Off+r.Len {
			f.Unlock()
			return 0, errNotHere
		}
	}
	f.Unlock()
	return f.file.ReadAt(b, off)
}

// relying is a stream of 60 KiB whose parts 2 to 4 (of 8, 8 and 16 KiB) are in the store alone.
func (e *env) relying() (*partly, *Stream) {
	e.t.Helper()
	f := &partly{file: &file{b: random(60*kib, 1)}}
	s := e.u.NewStream("b", "k", headers("1"), f)
	s.Sealed(8*kib, 52*kib)
	if err := s.Wait(wait(e.t), 0); err != nil {
		e.t.Fatal(err)
	}
	e.rely(f, s)
	return f, s
}

func (e *env) rely(f *partly, s *Stream) {
	e.t.Helper()
	for _, p := range s.Acknowledged() {
		if !s.Rely(p.Piece) {
			e.t.Fatalf("part %d is not relied on", p.Number)
		}
		f.gone = append(f.gone, Range{Off: p.Off, Len: p.Len})
	}
	if len(f.gone) == 0 {
		e.t.Fatal("nothing is acknowledged")
	}
}

func (f *partly) job(s *Stream) Job {
	j := job(f.b)
	j.Source, j.Stream = f, s
	return j
}

func TestPartsThatAreNowhereElse(t *testing.T) {
	e := newEnv(t)
	f, s := e.relying()
	e.wantCalls("UploadPart 2, CompleteUpload 1, Head 1", func() { e.store(f.job(s), f.b) })
	if _, ok := s.Completed(); !ok || s.Err() != nil {
		t.Errorf("completed: %v, %v", ok, s.Err())
	}
	e.noPending()
	e.noWarnings()
}

func TestOnlyWhatTheStoreHasIsReliedOn(t *testing.T) {
	e := newEnv(t)
	f, s := e.relying()
	acks := s.Acknowledged()
	if len(acks) == 0 || acks[0].Number != 2 || acks[0].Off != 8*kib || acks[0].Len != 8*kib || acks[0].ETag == "" {
		t.Fatalf("acknowledged %+v", acks)
	}
	p := acks[0].Piece
	for _, no := range []Piece{{Number: 1, Off: 0, Len: 8 * kib}, {Number: 40, Off: p.Off, Len: p.Len}, {Number: 2, Off: p.Off, Len: p.Len - 1}} {
		if s.Rely(no) {
			t.Errorf("%+v is relied on", no)
		}
	}
	f.gone = f.gone[1:] // written anew as a whole
	f.set(random(8*kib, 5), int(p.Off))
	s.Touched(p.Off, p.Len)
	if s.Rely(p) || len(s.Acknowledged()) != len(acks)-1 {
		t.Error("what was touched counts as acknowledged")
	}
	s.Sealed(p.Off, p.Len)
	if err := s.Wait(wait(t), 0); err != nil {
		t.Fatal(err)
	}
	if !s.Rely(p) {
		t.Error("not relied on after it was sent again")
	}
	e.store(f.job(s), f.b)
	e.noPending()
}

// An upload that the store has lost is lost: nothing shorter is stored in its place, and nothing is begun anew.
func TestLostUpload(t *testing.T) {
	for name, harm := range map[string]func(e *env, s *Stream){
		"gone": func(e *env, s *Stream) {
			if err := e.mem.AbortUpload(context.Background(), "b", "k", s.ID()); err != nil {
				t.Fatal(err)
			}
		},
		"gone at its completion": func(e *env, _ *Stream) {
			e.fault.Add(s3fault.Rule{Call: "CompleteUpload", Before: s3client.NotFound})
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			f, s := e.relying()
			harm(e, s)
			for range 2 {
				_, err := e.u.Store(wait(t), f.job(s))
				if !errors.Is(err, ErrLost) || s3client.KindOf(err) == s3client.NotFound {
					t.Fatalf("store: %v", err)
				}
			}
			if !errors.Is(s.Err(), ErrLost) || !strings.Contains(s.Err().Error(), "b/k") {
				t.Errorf("the stream says %v", s.Err())
			}
			if n := e.mem.Calls()["CreateUpload"]; n != 1 {
				t.Errorf("%d uploads were created", n)
			}
			if _, there := e.mem.Object("b", "k"); there {
				t.Error("something was stored")
			}
			if !strings.Contains(e.log.String(), "level=ERROR") {
				t.Error("nothing in the log")
			}
			if err := s.Abort(wait(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Without an answer to its completion, or with one that cannot be looked at, the upload is not given up.
func TestCompletionOfTheOnlyCopyWithoutAnAnswer(t *testing.T) {
	for name, rules := range map[string][]s3fault.Rule{
		"not carried out":                {{Call: "CompleteUpload", Times: 1, Before: s3client.Temporary}},
		"carried out":                    {{Call: "CompleteUpload", Times: 1, After: s3client.Temporary}},
		"refused for now":                {{Call: "CompleteUpload", Times: 1, Before: s3client.Invalid}},
		"not to be looked at":            {{Call: "Head", Times: 1, Before: s3client.Temporary}},
		"answered, but nothing is there": {{Call: "Head", Times: 1, Before: s3client.NotFound}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			f, s := e.relying()
			for _, r := range rules {
				e.fault.Add(r)
			}
			if _, err := e.u.Store(wait(t), f.job(s)); err == nil || errors.Is(err, ErrLost) {
				t.Fatalf("first: %v", err)
			}
			sent := e.mem.Calls()["UploadPart"]
			e.store(f.job(s), f.b)
			if n := e.mem.Calls()["UploadPart"] - sent; n != 0 {
				t.Errorf("%d parts were sent again", n)
			}
			e.noPending()
		})
	}
}

// An object whose headers could not be put right has the bytes all the same.
func TestCompletedButNotItsHeaders(t *testing.T) {
	e := newEnv(t)
	f, s := e.relying()
	e.fault.Add(s3fault.Rule{Call: "Copy", Before: s3client.Temporary})
	e.fault.Add(s3fault.Rule{Call: "CopyPart", Before: s3client.Temporary})
	j := f.job(s)
	j.Headers = headers("2")
	if _, err := e.u.Store(wait(t), j); err == nil || errors.Is(err, ErrLost) {
		t.Fatalf("store: %v", err)
	}
	obj, ok := s.Completed()
	seen, _ := e.mem.Object("b", "k")
	if !ok || obj.ETag != seen.ETag || s.Err() != nil {
		t.Errorf("completed %v %+v, the store has %+v, %v", ok, obj, seen, s.Err())
	}
	e.holds("k", f.b)
	if err := s.Abort(wait(t)); err != nil {
		t.Error(err)
	}
	e.noPending()
}

// again leaves the stream's upload as a dying process would, and gives a new Uploader on the same store.
func (e *env) again(s *Stream) (next *env, id string, parts []Sent) {
	e.t.Helper()
	if err := s.Leave(wait(e.t)); err != nil {
		e.t.Fatal(err)
	}
	id, parts = s.ID(), s.Acknowledged()
	e.close()
	if len(e.mem.PendingUploads("b")) != 1 {
		e.t.Fatal("the upload was not left")
	}
	next = &env{t: e.t, mem: e.mem, fault: e.fault, log: e.log}
	o := e.u.o
	next.u = New(o)
	e.t.Cleanup(next.close)
	return next, id, parts
}

func TestReopenedUpload(t *testing.T) {
	b := newBook(t)
	e := newEnv(t, b.setting)
	f, s := e.relying()
	e, id, parts := e.again(s)
	left := b.left()
	if len(left) != 1 || left[0].ID != id {
		t.Fatalf("registered: %+v", left)
	}
	e.u.Adopt(left)
	s = e.u.Reopen("b", "k", id, parts, f)
	f.gone = nil
	e.rely(f, s)
	if n, err := e.u.AbortLeft(wait(t), left, nil); n != 0 || err != nil {
		t.Errorf("%d aborted, %v", n, err)
	}
	e.wantCalls("UploadPart 2, CompleteUpload 1, Head 2", func() { e.store(f.job(s), f.b) })
	if left := b.left(); len(left) != 0 {
		t.Errorf("still registered: %+v", left)
	}
	e.noPending()
}

// What another process has sent to it meanwhile is no part of the file: it is sent again, or lost.
func TestReopenedUploadThatHasChanged(t *testing.T) {
	for _, number := range []int{1, 2} {
		e := newEnv(t)
		f, s := e.relying()
		e, id, parts := e.again(s)
		other := random(8*kib, 99)
		if _, err := e.mem.UploadPart(wait(t), s3client.PartRequest{Bucket: "b", Key: "k", UploadID: id, Number: number,
			Body: strings.NewReader(string(other)), Size: 8 * kib}); err != nil {
			t.Fatal(err)
		}
		s = e.u.Reopen("b", "k", id, parts, f)
		f.gone = nil
		e.rely(f, s)
		if number == 1 {
			e.store(f.job(s), f.b)
			continue
		}
		if _, err := e.u.Store(wait(t), f.job(s)); !errors.Is(err, ErrLost) {
			t.Errorf("store: %v", err)
		}
		if err := s.Abort(wait(t)); err != nil {
			t.Error(err)
		}
	}
}

// The process died between the completion and its answer; or the upload is gone.
func TestReopenedUploadThatIsNoMore(t *testing.T) {
	for _, stored := range []bool{true, false} {
		e := newEnv(t)
		f, s := e.relying()
		e, id, parts := e.again(s)
		if stored {
			all := append([]s3client.Part(nil), sendRest(t, e, f, id)...)
			for _, p := range parts {
				all[p.Number-1] = s3client.Part{Number: p.Number, ETag: p.ETag, Size: p.Len}
			}
			if _, err := e.mem.CompleteUpload(wait(t), s3client.CompleteRequest{Bucket: "b", Key: "k", UploadID: id, Parts: all,
				Size: 60 * kib}); err != nil {
				t.Fatal(err)
			}
		} else if err := e.mem.AbortUpload(wait(t), "b", "k", id); err != nil {
			t.Fatal(err)
		}
		s = e.u.Reopen("b", "k", id, parts, f)
		f.gone = nil
		e.rely(f, s)
		if stored {
			e.wantCalls("Head 1", func() { e.store(f.job(s), f.b) })
		} else if _, err := e.u.Store(wait(t), f.job(s)); !errors.Is(err, ErrLost) {
			t.Errorf("store: %v", err)
		} else if err := s.Abort(wait(t)); err != nil {
			t.Error(err)
		}
		e.noPending()
	}
}

// sendRest sends the pieces of which f has the bytes; the others are zero.
func sendRest(t *testing.T, e *env, f *partly, id string) []s3client.Part {
	t.Helper()
	pieces, _ := planLayout(int64(len(f.b)), e.u.Limits())
	parts := make([]s3client.Part, len(pieces))
	for i, p := range pieces {
		b := make([]byte, p.Len)
		if _, err := f.ReadAt(b, p.Off); err != nil {
			continue
		}
		done, err := e.mem.UploadPart(context.Background(), s3client.PartRequest{Bucket: "b", Key: "k", UploadID: id,
			Number: p.Number, Body: strings.NewReader(string(b)), Size: p.Len})
		if err != nil {
			t.Fatal(err)
		}
		parts[i] = done
	}
	return parts
}

// A part that could not be sent is sent as soon as another one was, so that a long stream does not fill the disk.
func TestFailedPartsAreSentWhenTheStoreAnswers(t *testing.T) {
	e := newEnv(t)
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Times: 2, Before: s3client.Temporary})
	f := &file{b: random(60*kib, 1)}
	s := e.u.NewStream("b", "k", headers("1"), f)
	s.Sealed(0, 16*kib)
	if err := s.Wait(wait(t), 0); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Acknowledged()); n != 0 {
		t.Fatalf("%d parts acknowledged", n)
	}
	acks := s.Acks()
	if more, err := s.WaitAck(wait(t), acks); more || err != nil {
		t.Errorf("nothing is on its way: %v, %v", more, err)
	}
	s.Sealed(16*kib, 16*kib)
	if more, err := s.WaitAck(wait(t), acks); !more || err != nil {
		t.Errorf("a part is on its way: %v, %v", more, err)
	}
	if err := s.Wait(wait(t), 0); err != nil {
		t.Fatal(err)
	}
	parts := s.Acknowledged()
	if len(parts) < 3 || parts[0].Number != 1 || parts[1].Number != 2 {
		t.Errorf("acknowledged %+v", parts)
	}
	e.storeFile(f, s, 60*kib)
	e.noPending()
}

func TestRetry(t *testing.T) {
	e := newEnv(t)
	e.fault.Add(s3fault.Rule{Call: "UploadPart", Times: 1, Before: s3client.Temporary})
	f := &file{b: random(60*kib, 1)}
	s := e.u.NewStream("b", "k", headers("1"), f)
	s.Sealed(0, 8*kib)
	for want := range 2 {
		if err := s.Wait(wait(t), 0); err != nil {
			t.Fatal(err)
		}
		if n := len(s.Acknowledged()); n != want {
			t.Errorf("%d parts acknowledged, want %d", n, want)
		}
		s.Retry()
	}
	e.storeFile(f, s, 60*kib)
	e.noPending()
}
