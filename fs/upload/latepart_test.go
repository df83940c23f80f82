package upload

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// revenants is a store in which uploads come back after they were aborted so many times: parts of theirs came late.
type revenants struct {
	s3client.Store
	mu struct {
		sync.Mutex
		left, asked int
	}
}

func (s *revenants) AbortUpload(ctx context.Context, bucket, key, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.asked++
	if s.mu.left--; s.mu.left >= 0 {
		return nil
	}
	return s.Store.AbortUpload(ctx, bucket, key, id)
}

func (s *revenants) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.asked
}

// A part that a dead process had on its way makes its upload again when the next run has aborted it, whoever did so.
func TestALatePartOfAnEarlierRun(t *testing.T) {
	for name, abort := range map[string]func(*testing.T, *Uploader, []Left){
		"AbortLeft": func(t *testing.T, u *Uploader, left []Left) {
			if n, err := u.AbortLeft(t.Context(), left, nil); n != 1 || err != nil {
				t.Errorf("aborted %d, %v", n, err)
			}
		},
		"Store": func(t *testing.T, u *Uploader, left []Left) {
			if _, err := u.Store(t.Context(), job(random(9, 1))); err != nil {
				t.Error(err)
			}
		},
		"Forget": func(t *testing.T, u *Uploader, left []Left) { u.Forget("b", "k") },
	} {
		for times, want := range map[int]time.Duration{1: lateLooks[0], 2: lateWindow} {
			t.Run(fmt.Sprint(name, times), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &revenants{}
					reg := newBook(t)
					e := newEnv(t, reg.setting, func(o *Options) { store.Store, o.Store = o.Store, store })
					store.mu.left = times
					e.create(reg, "k", false, []byte("part"))
					u := e.newRun(reg.left())
					abort(t, u, reg.left())
					for _, at := range lateLooks {
						synctest.Wait()
						if n := len(e.mem.PendingUploads("b")); n != 1 || len(reg.left()) != 1 {
							t.Errorf("before the look at %v: %d uploads, registered %v", at, n, reg.left())
						}
						if time.Sleep(at); at == want {
							break
						}
					}
					time.Sleep(lateWindow)
					synctest.Wait()
					if n := store.requests(); n != 3 || len(e.mem.PendingUploads("b")) != 0 || len(reg.left()) != 0 {
						t.Errorf("%d aborts; uploads %v, registered %v", n, e.mem.PendingUploads("b"), reg.left())
					}
				})
			})
		}
	}
}

// The same in one run: only an upload of which a part was given up is aborted again.
func TestALatePartOfAnAbortedStream(t *testing.T) {
	for _, given := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := &revenants{}
			reg := newBook(t)
			e := newEnv(t, reg.setting, func(o *Options) { store.Store, o.Store = o.Store, store })
			want := 1
			if given {
				want, store.mu.left = 3, 1
				e.fault.Add(s3fault.Rule{Call: "UploadPart", Times: 1, Before: s3client.Temporary})
			}
			_, s := e.streaming(60 * kib)
			if err := s.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(reg.left()); n != want/2 {
				t.Errorf("registered %v", reg.left())
			}
			time.Sleep(lateWindow)
			synctest.Wait()
			if n := store.requests(); n != want || len(e.mem.PendingUploads("b")) != 0 || len(reg.left()) != 0 {
				t.Errorf("%d aborts; uploads %v, registered %v", n, e.mem.PendingUploads("b"), reg.left())
			}
		})
	}
}

// What has become the object is aborted nowhere but on a store whose list of uploads cannot have it any more.
func TestALatePartOfACompletedUpload(t *testing.T) {
	for name, want := range map[string]int{"generic": 0, "minio": 2} {
		synctest.Test(t, func(t *testing.T) {
			profile := tiny
			profile.Name = name
			mem := s3mem.New(s3mem.WithProfile(profile), s3mem.WithBuckets("b"))
			reg := newBook(t)
			e := newEnv(t, reg.setting, func(o *Options) { o.Store = mem })
			e.mem = mem
			b := random(60*kib, 1)
			u := e.newRun(e.crashed(reg, job(b), 3))
			e.storeBy(u, job(b), b)
			if n := len(reg.left()); n != want/2 {
				t.Errorf("%s: registered %v", name, reg.left())
			}
			time.Sleep(lateWindow)
			synctest.Wait()
			if n := int(mem.Calls()["AbortUpload"]); n != want || len(reg.left()) != 0 {
				t.Errorf("%s: %d aborts, registered %v", name, n, reg.left())
			}
			e.holds("k", b)
		})
	}
}

// A part that the store copies is no other.
func TestALateCopyOfAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newBook(t)
		e := newEnv(t, reg.setting)
		old := random(90*kib, 1)
		base := e.mem.PutBytes("b", "k", old, headers("0"))
		edited := bytes.Clone(old)
		edited[30*kib]++
		e.fault.Add(s3fault.Rule{Call: "CopyPart", Times: 1, Before: s3client.Canceled})
		if _, err := e.u.Store(t.Context(), e.edit(base, edited, 90*kib, Range{Off: 30 * kib, Len: 1})); err == nil {
			t.Fatal("stored")
		}
		time.Sleep(lateWindow)
		synctest.Wait()
		if n := e.mem.Calls()["AbortUpload"]; n != 3 || len(reg.left()) != 0 {
			t.Errorf("%d aborts, registered %v", n, reg.left())
		}
	})
}
