package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/outbox"
	"pailfs/fs/tree"
	"pailfs/fs/wired"
)

func TestWhatAnEarlierRunLeftIsToldAndCounted(t *testing.T) {
	e := wired.Earlier{Files: 2, Bytes: 3 << 20, Names: map[uint64]struct{}{7: {}, 9: {}}}
	var b strings.Builder
	sayEarlier(slog.New(slog.NewTextHandler(&b, nil)), e)
	if !strings.Contains(b.String(), `files=2 size="3 MiB" names=2`) || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%q", b.String())
	}
	due := testNow.Add(time.Minute)
	names := namesOf([]outbox.Pending{
		{Op: outbox.Op{Seq: 9, Kind: outbox.KindDelete, Bucket: "b", Key: "k", Time: testNow}, Tries: 2, Err: content.ErrClosed, Next: due},
		{Op: outbox.Op{Seq: 12, Kind: outbox.KindPut, Bucket: "b", Key: "dir/"}},
	}, e)
	if len(names) != 2 || !names[0].Earlier || names[0].Path != "b/k" || names[0].Change != changeDelete || names[0].Error == "" || names[0].Tries != 2 ||
		!names[0].Next.Equal(due) || names[1].Earlier || names[1].Change != changePut || names[1].Next != nil || names[1].Error != "" {
		t.Errorf("%+v", names)
	}
	r := recoveredOf(e, append(names, unsavedFile{Path: "b/f", Earlier: true}))
	if *r != (recoveredReport{Files: 2, Bytes: 3 << 20, Names: 2, Stored: 2, Waiting: 2}) {
		t.Errorf("%+v", r)
	}
	b.Reset()
	if sayEarlier(slog.New(slog.NewTextHandler(&b, nil)), wired.Earlier{}); b.Len() != 0 {
		t.Errorf("%q", b.String())
	}
}

// What an earlier run left and nobody can load is listed with what waits; a rename that it had begun as a change of a name.
func TestWhatCannotBeLoadedIsListed(t *testing.T) {
	m := &mounted{Rooms: &wired.Rooms{Earlier: wired.Earlier{Lost: []journal.Pending{{Bucket: "b", Key: "k", Size: 5, Time: testNow}}}}}
	if list := m.kept(); len(list) != 1 || list[0].Path != "b/k" || list[0].Bytes != 5 || list[0].Error == "" || !list[0].Earlier {
		t.Errorf("%+v", list)
	}
	due := testNow.Add(time.Minute)
	list := renamesOf([]wired.Unfinished{{Intent: tree.Intent{FromBucket: "b", From: "a/", Begun: testNow}, Earlier: true, Tries: 1, Err: content.ErrClosed, Next: due},
		{}})
	if len(list) != 2 || list[0].Path != "b/a/" || list[0].Change != changeRename || !list[0].Earlier || list[0].Error == "" || list[0].Tries != 1 ||
		!list[0].Next.Equal(due) || list[1].Next != nil || list[1].Earlier || list[1].Error != "" {
		t.Errorf("%+v", list)
	}
}
