package wired

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/s3client"
)

func (f *fakeNotes) Sync() error { return f.err }

var testIntent = tree.Intent{FromBucket: "b", From: "a\xff/", ToBucket: "c", To: "to/", Stage: tree.StageCopy,
	Begun: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), KeepMarker: true}

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
