package wired

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/cache"
	"pailfs/fs/content"
	"pailfs/fs/tree"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

// store makes a new file k and stores it.
func store(t *testing.T, r *Rooms, text string) {
	t.Helper()
	ctx := t.Context()
	_, err := r.Tree.Create("k", tree.Attr{Mode: 0o644})
	f, openErr := r.Files.Open(content.ID{Bucket: "b", Key: "k"}, nil, content.Create)
	if err := errors.Join(err, openErr); err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteAt(ctx, []byte(text), 0); err == nil {
		err = f.Sync(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close(nil)
}

// A deletion has an answer at its second attempt, and the first one is carried out half a minute later, when there is a new file
// of that name: it stays, in both durabilities.
func TestADeletionThatLandsBehindANewFile(t *testing.T) {
	for _, behind := range []bool{false, true} {
		for how, remove := range map[string]func(context.Context, *Rooms) error{
			"removed": func(ctx context.Context, r *Rooms) error {
				d, err := r.Files.Detach(ctx, content.ID{Bucket: "b", Key: "k"})
				if err != nil {
					return err
				}
				return errors.Join(d.Erase(ctx), r.Tree.Unlink(ctx, "k"), d.Done())
			},
			"renamed": func(ctx context.Context, r *Rooms) error { return r.Tree.Rename(ctx, "k", "m", false, nil) },
		} {
			t.Run(fmt.Sprint(how, " behind ", behind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := t.Context()
					mem := s3mem.New(s3mem.WithBuckets("b"))
					fault := s3fault.New(mem)
					r := aMount(t, fault, mem.Profile(), t.TempDir(), behind)
					store(t, r, "old")
					rule := fault.Add(s3fault.Rule{Call: "Delete", Key: "k", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
						s3client.Doubtful(ctx)
						time.AfterFunc(4*time.Second, func() { mem.Remove("b", "k") })
						return nil
					}})
					if err := remove(ctx, r); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					store(t, r, "new")
					time.Sleep(2 * time.Minute)
					if p, _ := mem.Bytes("b", "k"); string(p) != "new" || rule.Struck() == 0 {
						t.Errorf("%q is stored, after %d deletions", p, rule.Struck())
					}
					if err := errors.Join(r.Close(ctx), r.Journal.Close()); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// A deletion is on its way when the process is killed, and lands half a minute later: the next one's new file stays.
func TestADeletionOnItsWayAtAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		mem := s3mem.New(s3mem.WithBuckets("b"))
		fault := s3fault.New(mem)
		dir := filepath.Join(t.TempDir(), "j")
		r := aMount(t, fault, mem.Profile(), dir, true)
		store(t, r, "old")
		fault.Add(s3fault.Rule{Call: "Delete", Key: "k", Times: 1, Hook: func(ctx context.Context, _ s3fault.Call) error {
			<-ctx.Done() // the kill
			return ctx.Err()
		}})
		d, err := r.Files.Detach(ctx, content.ID{Bucket: "b", Key: "k"})
		if err == nil {
			err = errors.Join(d.Erase(ctx), r.Tree.Unlink(ctx, "k"), d.Done())
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		left := filepath.Join(t.TempDir(), "j")
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if fault.Calls()["Delete"] != 1 {
			t.Fatalf("calls %v: this test proves nothing", fault.Calls())
		}
		fault.Add(s3fault.Rule{Before: s3client.Denied}) // it is dead
		dying, cancel := context.WithCancel(ctx)
		cancel()
		r.Files.Close(dying)
		r.Close(dying)
		r.Journal.Close()
		time.AfterFunc(4*time.Second, func() { mem.Remove("b", "k") })
		r = aMount(t, mem, mem.Profile(), left, true)
		store(t, r, "new")
		time.Sleep(2 * time.Minute)
		if p, _ := mem.Bytes("b", "k"); string(p) != "new" {
			t.Errorf("%q is stored", p)
		}
		if err := errors.Join(r.Close(ctx), r.Journal.Close()); err != nil {
			t.Error(err)
		}
	})
}

// A PUT is carried out without an answer, and what is asked then is refused: close fails, rm says that the file is gone, and it is.
func TestARefusedPutThatWasCarriedOutIsRemoved(t *testing.T) {
	for _, behind := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			mem := s3mem.New(s3mem.WithBuckets("b"))
			fault := s3fault.New(mem)
			r := aMount(t, fault, mem.Profile(), t.TempDir(), behind)
			id := content.ID{Bucket: "b", Key: "k"}
			_, err := r.Tree.Create("k", tree.Attr{Mode: 0o644})
			f, openErr := r.Files.Open(id, nil, content.Create)
			if err := errors.Join(err, openErr); err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(ctx, []byte("bytes"), 0); err != nil {
				t.Fatal(err)
			}
			fault.Add(s3fault.Rule{Call: "Put", Key: "k", Times: 1, Refused: s3client.Throttled})
			if err := f.Sync(ctx); err == nil {
				t.Fatal("no error")
			}
			f.Close(nil)
			d, err := r.Files.Detach(ctx, id)
			switch {
			case err != nil:
			case behind && d.Uncertain():
				err = r.Tree.UnlinkUncertain(ctx, "k")
			default:
				err = errors.Join(d.Erase(ctx), r.Tree.Unlink(ctx, "k"))
			}
			if err == nil {
				err = d.Done()
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Minute)
			if _, there := mem.Object("b", "k"); there {
				t.Errorf("behind %v: the removed file is back", behind)
			}
			if err := errors.Join(r.Close(ctx), r.Journal.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The source of a rename is deleted without an answer, and what is asked then is refused: the copy is all there is, and what was
// unsaved under the new name is not stored over it.
func TestARenamesCopyIsKeptWhenTheDeletionIsRefusedBehindALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		mem := s3mem.New(s3mem.WithBuckets("b"))
		fault := s3fault.New(mem)
		r := aMount(t, fault, mem.Profile(), t.TempDir(), false)
		a := mem.PutBytes("b", "a", []byte("bytes of a"), s3client.Headers{Meta: map[string]string{"mtime": "1"}})
		_, err := r.Tree.Create("k", tree.Attr{Mode: 0o644})
		f, openErr := r.Files.Open(content.ID{Bucket: "b", Key: "k"}, nil, content.Create)
		if err := errors.Join(err, openErr); err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(ctx, []byte("open and unsaved"), 0)
		d, detachErr := r.Files.Detach(ctx, f.ID())
		if err := errors.Join(err, detachErr); err != nil {
			t.Fatal(err)
		}
		fault.Add(s3fault.Rule{Call: "Delete", Key: "a", Times: 1, Refused: s3client.Throttled})
		if err := d.Replacing(ctx, cache.Version{Bucket: "b", Key: "a", ETag: a.ETag, Size: a.Size}, nil); err != nil {
			t.Fatal(err)
		}
		if err = r.Tree.Rename(ctx, "a", "k", false, nil); !errors.Is(err, tree.ErrCopied) {
			t.Errorf("the source is still there, says the rename: %v", err)
			d.UndoReplacing(ctx)
		} else if err := d.Done(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := f.Flush(ctx); err != nil {
			t.Error(err)
		}
		f.Close(nil)
		if p, _ := mem.Bytes("b", "k"); string(p) != "bytes of a" {
			t.Errorf("%q is stored, keys %q", p, mem.Keys("b"))
		}
		if err := errors.Join(r.Close(ctx), r.Journal.Close()); err != nil {
			t.Error(err)
		}
	})
}
