package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
)

// What the store has made of bytes that changed on their way is nobody else's version: the next commit replaces it, of a file
// that stands on the version before as well, and nothing of it gets into the file.
func TestWhatArrivedWithOtherBytesIsReplaced(t *testing.T) {
	text := pattern(1, 12*kib)
	for _, c := range []struct {
		name string
		open func(r *rig) (f *File, want []byte)
	}{
		{"edited", func(r *rig) (*File, []byte) {
			f := r.open("k")
			return f, over(f, bytes.Clone(text), 100, []byte("edit"))
		}},
		{"emptied and written", func(r *rig) (*File, []byte) {
			f := r.open("k")
			if err := f.Truncate(bg, 0); err != nil {
				panic(err)
			}
			return f, over(f, nil, 0, []byte("all new"))
		}},
		{"new", func(r *rig) (*File, []byte) {
			r.mem.Remove("b", "k")
			f := r.create("k")
			return f, over(f, nil, 0, []byte("all new"))
		}},
		{"changed while it is sent again", func(r *rig) (*File, []byte) {
			f := r.open("k")
			p := over(f, bytes.Clone(text), 100, []byte("edit"))
			r.spoil(2)
			if err := f.Sync(bg); err == nil {
				panic("no error")
			}
			return f, over(f, p, 5000, []byte("more"))
		}},
	} {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s behind=%v", c.name, behind), func(t *testing.T) {
				var how []func(*Options)
				if behind {
					how = append(how, inBackground)
				}
				r := rigFor(t, how...)
				r.put("k", text)
				f, want := c.open(r)
				if behind {
					wantFlush(t, f)
				}
				r.spoil(2) // once more is what the uploader tries itself
				if err := f.Sync(bg); err == nil || !strings.Contains(err.Error(), "ETagMismatch") {
					t.Fatalf("sync of what arrived with other bytes: %v", err)
				}
				if got, ok := r.mem.Bytes("b", "k"); !ok || bytes.Equal(got, want) {
					t.Fatal("nothing wrong arrived: this test proves nothing")
				}
				if err := f.check(); err != nil {
					t.Fatal(err)
				}
				f.expire()
				r.later(2 * time.Minute)
				wantSync(t, f)
				r.wantStored(t, "k", want)
				wantRead(t, f, want)
				if keys := conflictKeys(r); len(keys) > 0 {
					t.Errorf("conflicts with ourselves: %v", keys)
				}
				f.Close(nil)
			})
		}
	}
}

// expire makes what is known of the base old.
func (f *File) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.base != nil {
		b := *f.mu.base
		b.Seen = time.Time{}
		f.mu.base = &b
	}
}

// The run after a kill knows of it too.
func TestTheNextRunReplacesWhatArrivedWithOtherBytes(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, inBackground)
	r.put("k", pattern(1, 12*kib))
	f := r.open("k")
	if err := f.Truncate(bg, 0); err != nil {
		t.Fatal(err)
	}
	want := over(f, nil, 0, pattern(7, 5000))
	wantFlush(t, f)
	r.spoil(2)
	if err := f.Sync(bg); err == nil {
		t.Fatal("no error")
	}
	f.Close(nil)
	r = r.goOn(t, dir, true)
	r.wantStored(t, "k", want)
	if keys := conflictKeys(r); len(keys) > 0 {
		t.Errorf("conflicts with ourselves: %v", keys)
	}
	check(r.stop())
}

// Bytes of a base that is nowhere any more are not taken from what arrived with other bytes.
func TestAVersionWithOtherBytesIsNoBase(t *testing.T) {
	dir := t.TempDir()
	r := newRig(dir, inBackground)
	text := pattern(1, 12*kib)
	r.put("k", text)
	f := r.open("k")
	over(f, bytes.Clone(text), 100, []byte("edit"))
	wantFlush(t, f)
	r.spoil(2)
	if err := f.Sync(bg); err == nil {
		t.Fatal("no error")
	}
	f.Close(nil)
	next, _ := r.crash(t, dir, inBackground) // with nothing in its caches
	t.Cleanup(func() { _ = r.stop() })
	if _, failed := next.files.Recover(bg); len(failed) > 0 {
		t.Fatalf("recovered: %v", failed)
	}
	keys := conflictKeys(next)
	if len(keys) != 1 {
		t.Fatalf("kept: %v", keys)
	}
	kept, _ := next.mem.Bytes("b", keys[0])
	want := make([]byte, len(text))
	copy(want[100:], "edit")
	if !bytes.Equal(kept, want) {
		t.Errorf("kept %d bytes, %.120q", len(kept), kept)
	}
	check(next.stop())
}

// The name of a new file has an object also where nobody could look what arrived, and the file's end takes it along.
func TestWhatArrivedWithOtherBytesGoesWithItsName(t *testing.T) {
	r := rigFor(t)
	f := r.create("k")
	over(f, nil, 0, []byte("all new"))
	r.spoil(2)
	r.fault.Add(s3fault.Rule{Call: "Get", Before: s3client.Denied})
	if err := f.Sync(bg); err == nil {
		t.Fatal("no error")
	}
	d := must(r.files.Detach(bg, f.ID()))
	if !d.Uncertain() {
		t.Error("nothing is there, says the file")
	}
	check(d.Erase(bg))
	check(d.Done())
	if got, there := r.mem.Bytes("b", "k"); there {
		t.Errorf("%q stays behind the deletion", got)
	}
	f.Close(nil)
}

// behindHead does something once when a HEAD has been answered.
type behindHead struct {
	s3client.Store
	then func()
}

func (s *behindHead) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	o, err := s.Store.Head(ctx, bucket, key)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return o, err
}

// What somebody else stores over it before the file is stored again is not replaced.
func TestWhatReplacesWhatArrivedWithOtherBytesStays(t *testing.T) {
	store := &behindHead{}
	r := rigFor(t, func(o *Options) { store.Store, o.Store = o.Store, store })
	text := pattern(1, 12*kib)
	r.put("k", text)
	f := r.open("k")
	want := over(f, bytes.Clone(text), 100, []byte("edit"))
	r.spoil(2)
	if err := f.Sync(bg); err == nil {
		t.Fatal("no error")
	}
	f.expire()
	store.then = func() { r.put("k", []byte("theirs")) }
	if err := f.Sync(bg); !errors.Is(err, ErrConflict) {
		t.Errorf("sync: %v", err)
	}
	r.wantStored(t, "k", []byte("theirs"))
	keys := conflictKeys(r)
	if len(keys) != 1 {
		t.Fatalf("kept: %v", keys)
	}
	r.wantStored(t, keys[0], want)
	f.Close(nil)
}

// An object that has the ETag of a state of the file is that state, whatever a request was found to have made.
func TestAStateOfTheFileIsNotSpoiled(t *testing.T) {
	var o own
	o.add("a", spoiled("a"), spoiled("b"))
	for etag, want := range map[string]bool{"a": false, "b": true, "c": false} {
		if obj := (s3client.Object{ETag: etag}); o.spoiled(obj) != want || o.made(obj) != (etag == "a") {
			t.Errorf("%s: spoiled %v, made %v", etag, o.spoiled(obj), o.made(obj))
		}
	}
}

// joining is a store that joins something else than the parts.
type joining struct{ s3client.Store }

func (joining) odd(o s3client.Object) s3client.Object {
	if _, parts, joined := strings.Cut(o.ETag, "-"); joined {
		o.ETag = strings.Repeat("ab", 16) + "-" + parts
	}
	return o
}

func (s joining) CompleteUpload(ctx context.Context, req s3client.CompleteRequest) (s3client.Object, error) {
	o, err := s.Store.CompleteUpload(ctx, req)
	return s.odd(o), err
}

func (s joining) Copy(ctx context.Context, req s3client.CopyRequest) (s3client.Object, error) {
	req.SrcETag = "" // one of ours
	o, err := s.Store.Copy(ctx, req)
	return s.odd(o), err
}

func (s joining) Head(ctx context.Context, bucket, key string) (s3client.Object, error) {
	o, err := s.Store.Head(ctx, bucket, key)
	return s.odd(o), err
}

// Where the parts are nowhere else there is nothing to send again. That is no success.
func TestAPunchedFileIsJoinedFromOtherBytes(t *testing.T) {
	var up *upload.Uploader
	t.Cleanup(func() { check(up.Close(bg)) }) // behind the files
	r := rigFor(t, nothingStays, func(o *Options) {
		o.Store = joining{o.Store}
		up = upload.New(upload.Options{Store: o.Store, Limits: testLimits, Verify: upload.VerifyFull})
		o.Uploader = up
	})
	f := r.create("k")
	stream(t, f, pattern(1, streamSize))
	for range 2 {
		if err := f.Sync(bg); !errors.Is(err, errJoined) {
			t.Errorf("sync: %v", err)
		}
	}
	if err := f.check(); err != nil {
		t.Error(err)
	}
	f.Close(nil)
}
