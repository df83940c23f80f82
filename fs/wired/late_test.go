package wired

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// A PUT without an answer is carried out half a minute later, when the file has been removed, or renamed: its name stays
// gone, in both durabilities.
func TestAPutThatLandsBehindARemoval(t *testing.T) {
	for _, behind := range []bool{false, true} {
		for how, remove := range map[string]func(ctx context.Context, r *Rooms) error{
			"removed": func(ctx context.Context, r *Rooms) error {
				d, err := r.Files.Detach(ctx, content.ID{Bucket: "b", Key: "k"})
				if err != nil {
					return err
				}
				if behind {
					err = r.Tree.UnlinkUncertain(ctx, "k")
				} else {
					err = errors.Join(d.Erase(ctx), r.Tree.Unlink(ctx, "k"))
				}
				return errors.Join(err, d.Done())
			},
			"renamed": func(ctx context.Context, r *Rooms) error {
				obj, moved, err := r.Files.Move(ctx, content.ID{Bucket: "b", Key: "k"}, content.ID{Bucket: "b", Key: "m"}, nil)
				if err == nil && moved != content.MovedStored {
					err = errors.New("it is not stored under its new name")
				}
				r.Tree.Renamed("k", "m", obj)
				return err
			},
		} {
			t.Run(how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { landsBehind(t, behind, remove) })
			})
		}
	}
}

// aMount opens rooms over a journal of their own.
func aMount(t *testing.T, store s3client.Store, profile s3client.Profile, dir string, behind bool) *Rooms {
	t.Helper()
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return Open(t.Context(), Options{Store: store, Journal: j, Log: slog.New(slog.DiscardHandler), Bucket: "b", Full: true, Behind: behind, TTL: time.Minute,
		StoreID: "store", Limits: upload.LimitsOf(profile, 0), Memory: Memory{Blocks: 8 << 20, Ahead: 1 << 20, Names: 1000}})
}

// written writes a file whose PUT has no answer and is carried out half a minute later.
func written(t *testing.T, r *Rooms, mem *s3mem.Store, fault *s3fault.Store, landed *atomic.Bool) {
	t.Helper()
	ctx := t.Context()
	_, err := r.Tree.Create("k", tree.Attr{Mode: 0o644})
	f, openErr := r.Files.Open(content.ID{Bucket: "b", Key: "k"}, nil, content.Create)
	if err := errors.Join(err, openErr); err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteAt(ctx, []byte("one"), 0); err != nil {
		t.Fatal(err)
	}
	fault.Add(s3fault.Rule{Call: "Put", Key: "k", Times: 1, Hook: func(context.Context, s3fault.Call) error {
		h, err := r.Tree.UploadHeaders(ctx, "b", "k", false)
		time.AfterFunc(30*time.Second, func() { mem.PutBytes("b", "k", []byte("one"), h); landed.Store(true) })
		return errors.Join(err, &s3client.Error{Op: "PUT Object", Kind: s3client.Temporary})
	}})
	if !r.o.Behind {
		if f.Flush(ctx) == nil {
			t.Fatal("the PUT has an answer")
		}
	} else if err := f.Flush(ctx); err != nil {
		t.Fatal(err)
	} else if f.Sync(ctx) == nil {
		t.Fatal("the PUT has an answer")
	}
	f.Close(nil)
}

func landsBehind(t *testing.T, behind bool, remove func(context.Context, *Rooms) error) {
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mem := s3mem.New(s3mem.WithBuckets("b"))
	fault := s3fault.New(mem)
	r := aMount(t, fault, mem.Profile(), t.TempDir(), behind)
	var landed atomic.Bool
	written(t, r, mem, fault, &landed)
	ok(remove(ctx, r))
	time.Sleep(2 * time.Minute)
	if _, there := mem.Object("b", "k"); there || !landed.Load() {
		t.Errorf("behind %v: it is there again: %v, landed %v", behind, there, landed.Load())
	}
	ok(r.Close(ctx))
	ok(r.Journal.Close())
}

// The process is killed before that PUT is carried out, when the file was removed, or before: then the next one removes it. The
// name stays gone, in both durabilities.
func TestAPutThatLandsBehindARemovalAndAKill(t *testing.T) {
	for _, behind := range []bool{false, true} {
		for _, removed := range []string{"before the kill", "by the next process"} {
			t.Run(removed, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { landsBehindAKill(t, behind, removed == "before the kill") })
			})
		}
	}
}

func landsBehindAKill(t *testing.T, behind, before bool) {
	ctx := t.Context()
	mem := s3mem.New(s3mem.WithBuckets("b"))
	fault := s3fault.New(mem)
	dir := filepath.Join(t.TempDir(), "j")
	r := aMount(t, fault, mem.Profile(), dir, behind)
	var landed atomic.Bool
	written(t, r, mem, fault, &landed)
	remove := func(r *Rooms) {
		t.Helper()
		d, err := r.Files.Detach(ctx, content.ID{Bucket: "b", Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		if behind {
			err = r.Tree.UnlinkUncertain(ctx, "k")
		} else {
			err = errors.Join(d.Erase(ctx), r.Tree.Unlink(ctx, "k"))
		}
		if err := errors.Join(err, d.Done()); err != nil {
			t.Fatal(err)
		}
	}
	if before {
		remove(r)
	}
	if behind && before { // the deletion waits for what may land; the kill comes before it is due, or was carried out
		time.Sleep(time.Second)
	}
	left := filepath.Join(t.TempDir(), "j")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	fault.Add(s3fault.Rule{Before: s3client.Denied}) // it is dead
	dying, cancel := context.WithCancel(ctx)
	cancel()
	r.Files.Close(dying)
	r.Close(dying)
	r.Journal.Close()
	time.Sleep(5 * time.Second)
	r = aMount(t, mem, mem.Profile(), left, behind)
	if !before {
		remove(r)
	}
	time.Sleep(2 * time.Minute)
	if _, there := mem.Object("b", "k"); there || !landed.Load() {
		t.Errorf("behind %v: it is there again: %v, landed %v", behind, there, landed.Load())
	}
	if err := errors.Join(r.Close(ctx), r.Journal.Close()); err != nil {
		t.Error(err)
	}
}
