package wired

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/s3client"
	"pailfs/s3client/s3fault"
	"pailfs/s3client/s3mem"
)

func (f *fakeNotes) Sync() error { return f.err }

var testIntent = tree.Intent{FromBucket: "b", From: "a\xff/", ToBucket: "c", To: "to/", Stage: tree.StageCopy,
	Begun: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Failed: time.Date(2026, 5, 1, 12, 5, 0, 0, time.UTC), KeepMarker: true}

func testRenames(j *fakeNotes) (*Renames, *strings.Builder) {
	var log strings.Builder
	return newRenames(j, slog.New(slog.NewTextHandler(&log, nil))), &log
}

func TestRenamesAreRememberedUntilTheyEnd(t *testing.T) {
	j := &fakeNotes{notes: map[uint64]journal.Note{}}
	n, _ := testRenames(j)
	token, err := n.Begin(testIntent)
	if err != nil {
		t.Fatal(err)
	}
	if list := n.Pending(); len(list) != 0 {
		t.Errorf("this run's are pending: %+v", list)
	}
	in := testIntent
	in.Stage = tree.StageDelete
	if err := n.Change(token, in); err != nil {
		t.Fatal(err)
	}
	if _, err := j.AddNote(renameKind, []byte(`{"v":9}`)); err != nil {
		t.Fatal(err)
	}
	next, log := testRenames(j)
	next.load()
	list := next.Pending()
	if len(list) != 1 || list[0].Intent != in || !strings.Contains(log.String(), "level=ERROR") {
		t.Fatalf("%+v %s", list, log)
	}
	failed := next.complete(t.Context(), func(_ context.Context, tok uint64, got tree.Intent) error {
		if tok != token || got != in {
			t.Errorf("%d %+v", tok, got)
		}
		return next.End(tok)
	})
	if len(failed) != 0 || len(next.Pending()) != 0 || len(j.notes) != 1 {
		t.Errorf("%v, %d notes", failed, len(j.notes))
	}
	j.err = errors.New("disk full")
	if _, err := n.Begin(testIntent); !errors.Is(err, j.err) || len(j.notes) != 1 {
		t.Errorf("%v, %d notes", err, len(j.notes))
	}
}

func TestARenameIsCompletedWhenTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &fakeNotes{notes: map[uint64]journal.Note{}}
		n, _ := testRenames(j)
		for range 3 {
			if _, err := n.Begin(testIntent); err != nil {
				t.Fatal(err)
			}
		}
		next, log := testRenames(j)
		next.load()
		var mu sync.Mutex
		tries := map[uint64]int{}
		failed := next.complete(t.Context(), func(_ context.Context, token uint64, _ tree.Intent) error {
			mu.Lock()
			defer mu.Unlock()
			switch tries[token]++; {
			case token == 2:
				return &s3client.Error{Op: "COPY", Kind: s3client.Denied}
			case tries[token] < 4:
				return &s3client.Error{Op: "COPY", Kind: s3client.Temporary}
			}
			return next.End(token)
		})
		if len(failed) != 1 || !errors.Is(failed[0], s3client.Denied) || tries[1] != 4 || tries[2] != 1 || tries[3] != 4 {
			t.Errorf("%v, %v", failed, tries)
		}
		if list := next.Pending(); len(list) != 1 || list[0].Tries != 1 || !list[0].Next.IsZero() || list[0].Err == nil || len(j.notes) != 1 {
			t.Errorf("%+v, %d notes, %s", list, len(j.notes), log)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		failed = next.complete(ctx, func(context.Context, uint64, tree.Intent) error {
			return &s3client.Error{Op: "COPY", Kind: s3client.Temporary}
		})
		if len(failed) != 1 || ctx.Err() == nil {
			t.Errorf("%v", failed)
		}
	})
}

// What a call of this run leaves is tried in the background until it has ended; what is refused stays for the next mount.
func TestARenameThatIsLeftIsCompletedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &fakeNotes{notes: map[uint64]journal.Note{}}
		n, _ := testRenames(j)
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		tries := map[uint64]int{}
		var served sync.WaitGroup
		served.Go(func() {
			n.serve(ctx, func(_ context.Context, token uint64, in tree.Intent) error {
				mu.Lock()
				defer mu.Unlock()
				switch tries[token]++; {
				case in != testIntent:
					t.Errorf("%+v", in)
				case token == 2:
					return &s3client.Error{Op: "DELETE", Kind: s3client.Denied}
				case tries[token] < 3:
					return &s3client.Error{Op: "DELETE", Kind: s3client.Temporary}
				}
				return n.End(token)
			})
		})
		for range 3 {
			token, err := n.Begin(testIntent)
			if err != nil {
				t.Fatal(err)
			}
			n.Leave(token, testIntent)
			if !n.IsLeft(token) || n.Left()[token] != testIntent {
				t.Errorf("%d is not left: %+v", token, n.Left())
			}
		}
		time.Sleep(time.Minute)
		mu.Lock()
		if tries[1] != 3 || tries[2] != 1 || tries[3] != 3 {
			t.Errorf("%v", tries)
		}
		mu.Unlock()
		if list := n.Pending(); len(list) != 1 || list[0].Earlier || list[0].Err == nil || len(j.notes) != 1 || n.IsLeft(1) || !n.IsLeft(2) {
			t.Errorf("%+v, %d notes", list, len(j.notes))
		}
		cancel()
		served.Wait()
		next, _ := testRenames(j)
		next.load()
		if list := next.Pending(); len(list) != 1 || !list[0].Earlier {
			t.Errorf("%+v", list)
		}
	})
}

// The undo of a directory's rename fails, the rename is made again, and the files are copied back: the next mount takes nothing
// away.
func TestAnOldUndoTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		mem := s3mem.New(s3mem.WithBuckets("b"))
		fault := s3fault.New(mem)
		dir := t.TempDir()
		r := aMount(t, fault, mem.Profile(), dir, false)
		for _, k := range []string{"from/a", "from/b", "from/c"} {
			mem.PutBytes("b", k, []byte("bytes of "+k), s3client.Headers{Meta: map[string]string{"mtime": "1"}})
		}
		fault.Add(s3fault.Rule{Call: "Copy", Key: "to/c", Times: 1, Before: s3client.Denied})
		fault.Add(s3fault.Rule{Call: "DeleteMany", Times: 1, Before: s3client.Temporary})
		if err := r.Tree.Rename(ctx, "from", "to", false, nil); err == nil || len(r.Renames.Pending()) != 1 {
			t.Fatalf("%v, %+v", err, r.Renames.Pending())
		}
		for _, k := range mem.Keys("b") {
			if strings.HasPrefix(k, "to/") {
				if err := r.Tree.Unlink(ctx, k); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := r.Tree.Rmdir(ctx, "to"); err != nil && !errors.Is(err, tree.ErrNotFound) {
			t.Fatal(err)
		}
		if err := r.Tree.Rename(ctx, "from", "to", false, nil); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"a", "b", "c"} { // cp -r to from
			o, _ := mem.Object("b", "to/"+k)
			if _, err := mem.Copy(ctx, s3client.CopyRequest{SrcBucket: "b", SrcKey: "to/" + k, SrcETag: o.ETag, SrcSize: o.Size, Bucket: "b", Key: "from/" + k}); err != nil {
				t.Fatal(err)
			}
		}
		want := mem.Keys("b")
		if err := errors.Join(r.Close(ctx), r.Journal.Close()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		r = aMount(t, fault, mem.Profile(), dir, false)
		failed := r.Renames.complete(ctx, func(ctx context.Context, token uint64, in tree.Intent) error {
			return r.Tree.CompleteRename(ctx, token, in, func(_, _, _, _ string, _ s3client.Object) {})
		})
		if got := mem.Keys("b"); len(failed) > 0 || !slices.Equal(got, want) || len(got) < 6 {
			t.Errorf("%q, want %q; %v", got, want, failed)
		}
		if err := errors.Join(r.Close(ctx), r.Journal.Close()); err != nil {
			t.Error(err)
		}
	})
}
