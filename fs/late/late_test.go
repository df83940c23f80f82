package late

import (
	"bytes"
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Store over one whose requests can be carried out late.
type rig struct {
	t     *testing.T
	mem   *s3mem.Store
	fault *s3fault.Store
	store *Store
}

func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, mem: s3mem.New(s3mem.WithBuckets("b"), s3mem.WithMinPart(1))}
		r.fault = s3fault.New(r.mem)
		r.store = New(Options{Store: r.fault})
		f(t, r)
		r.fault.Clear()
		r.ok(r.store.Close(t.Context()))
	})
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// slow lets a call end without an answer, and carries it out after a while.
func (r *rig) slow(call string, after time.Duration, carryOut func()) {
	r.fault.Add(s3fault.Rule{Call: call, Times: 1, Hook: func(context.Context, s3fault.Call) error {
		time.AfterFunc(after, carryOut)
		return &s3client.Error{Op: call, Kind: s3client.Temporary}
	}})
}

func put(key, body, mtime string) s3client.PutRequest {
	h := s3client.Headers{Meta: map[string]string{"mtime": mtime}}
	return s3client.PutRequest{Bucket: "b", Key: key, Headers: h, Body: bytes.NewReader([]byte(body)), Size: int64(len(body))}
}

// late makes a PUT that is carried out only later.
func (r *rig) late(req s3client.PutRequest, after time.Duration) {
	r.t.Helper()
	r.slow("Put", after, func() { r.mem.Put(context.Background(), req) })
	if _, err := r.store.Put(r.t.Context(), req); err == nil {
		r.t.Fatal("it has an answer")
	}
}

func (r *rig) has(key string) bool {
	_, ok := r.mem.Object("b", key)
	return ok
}

// calls are what is asked of the store, by name.
func (r *rig) calls(f func()) map[string]int64 {
	before := r.fault.Calls()
	f()
	after := r.fault.Calls()
	maps.DeleteFunc(after, func(k string, n int64) bool { return n == before[k] })
	for k := range after {
		after[k] -= before[k]
	}
	return after
}

func TestWhatLandsBehindADeletionIsDeleted(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": time.Second, "late": 50 * time.Second} {
		for _, many := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) {
					r.late(put("k", "one", "1"), after)
					if many {
						_, err := r.store.DeleteMany(t.Context(), "b", []string{"k", "other"})
						r.ok(err)
					} else {
						r.ok(r.store.Delete(t.Context(), "b", "k"))
					}
					time.Sleep(after + time.Millisecond)
					if !r.has("k") {
						t.Fatal("it has not landed")
					}
					time.Sleep(time.Hour)
					if r.has("k") {
						t.Error("the deleted object is back")
					}
				})
			})
		}
	}
}

// A copy, the completion of an upload, and an attempt that the client has made again land as well.
func TestEveryRequestThatMakesAnObject(t *testing.T) {
	ctx := context.Background()
	for name, do := range map[string]func(r *rig) error{
		"copy": func(r *rig) error {
			r.mem.PutBytes("b", "src", []byte("one"), s3client.Headers{})
			src, _ := r.mem.Object("b", "src")
			req := s3client.CopyRequest{SrcBucket: "b", SrcKey: "src", SrcETag: src.ETag, SrcSize: 3, Bucket: "b", Key: "k"}
			r.slow("Copy", time.Second, func() { r.mem.Copy(ctx, req) })
			_, err := r.store.Copy(ctx, req)
			return err
		},
		"completion": func(r *rig) error {
			id, err := r.store.CreateUpload(ctx, "b", "k", s3client.Headers{})
			r.ok(err)
			part, err := r.store.UploadPart(ctx, s3client.PartRequest{Bucket: "b", Key: "k", UploadID: id, Number: 1, Body: bytes.NewReader([]byte("one")), Size: 3})
			r.ok(err)
			req := s3client.CompleteRequest{Bucket: "b", Key: "k", UploadID: id, Parts: []s3client.Part{part}, Size: 3}
			r.slow("CompleteUpload", time.Second, func() { r.mem.CompleteUpload(ctx, req) })
			_, err = r.store.CompleteUpload(ctx, req)
			return err
		},
		"second attempt": func(r *rig) error {
			req := put("k", "one", "1")
			r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
				time.AfterFunc(time.Second, func() { r.mem.Put(context.Background(), req) })
				s3client.Doubtful(ctx)
				return nil
			}})
			if _, err := r.store.Put(ctx, req); err != nil {
				return nil
			}
			return context.Canceled // stands for the doubt
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				if do(r) == nil {
					t.Fatal("nothing is in doubt")
				}
				r.ok(r.store.Delete(t.Context(), "b", "k"))
				time.Sleep(1500 * time.Millisecond)
				if !r.has("k") {
					t.Fatal("it has not landed")
				}
				time.Sleep(time.Hour)
				if r.has("k") {
					t.Error("the deleted object is back")
				}
			})
		})
	}
}

// What somebody else has stored under the name stays, and what this mount stores there again, be it the same.
func TestOnlyWhatWasGivenUpIsDeleted(t *testing.T) {
	for name, next := range map[string]func(r *rig){
		"another host":            func(r *rig) { r.mem.Put(context.Background(), put("k", "two", "1")) },
		"another host, same size": func(r *rig) { r.mem.Put(context.Background(), put("k", "one", "2")) },
		"stored again":            func(r *rig) { _, err := r.store.Put(context.Background(), put("k", "one", "1")); r.ok(err) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				first := put("k", "three", "1")
				if name != "another host" {
					first = put("k", "one", "1")
				}
				r.late(first, time.Hour)
				r.ok(r.store.Delete(t.Context(), "b", "k"))
				next(r)
				time.Sleep(2 * window)
				if !r.has("k") {
					t.Error("it was deleted")
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// Where nothing is in doubt nothing is asked.
func TestNoRequestWithoutADoubt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		got := r.calls(func() {
			_, err := r.store.Put(t.Context(), put("k", "one", "1"))
			r.ok(err)
			r.fault.Add(s3fault.Rule{Call: "Put", Times: 1, Before: s3client.Denied})
			if _, err := r.store.Put(t.Context(), put("k", "two", "1")); err == nil {
				t.Error("stored")
			}
			r.ok(r.store.Delete(t.Context(), "b", "k"))
			time.Sleep(time.Hour)
		})
		if want := map[string]int64{"Put": 2, "Delete": 1}; !maps.Equal(got, want) {
			t.Errorf("calls %v", got)
		}
	})
}

// In doubt it is two looks, and one more for each that has no answer.
func TestLooksAreRepeatedAndEnd(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		got := r.calls(func() {
			r.late(put("k", "one", "1"), 59*time.Second)
			r.ok(r.store.Delete(t.Context(), "b", "k"))
			time.Sleep(30 * time.Second)
			r.fault.Add(s3fault.Rule{Call: "Head", Times: 2, Before: s3client.Temporary})
			time.Sleep(time.Hour)
		})
		if want := map[string]int64{"Put": 1, "Delete": 2, "Head": 4}; !maps.Equal(got, want) {
			t.Errorf("calls %v", got)
		}
		if r.has("k") {
			t.Error("the deleted object is back")
		}
	})
}

// The end of the mount does not wait for a minute; it looks once more.
func TestCloseLooksOnceMore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.late(put("k", "one", "1"), 10*time.Second)
		r.ok(r.store.Delete(t.Context(), "b", "k"))
		time.Sleep(11 * time.Second)
		began := time.Now()
		r.ok(r.store.Close(t.Context()))
		if r.has("k") || time.Since(began) > 0 {
			t.Errorf("there: %v, after %v", r.has("k"), time.Since(began))
		}
	})
}
