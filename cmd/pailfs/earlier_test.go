package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/outbox"
)

func TestWhatAnEarlierRunLeftIsToldAndCounted(t *testing.T) {
	e := earlierOf([]content.Earlier{{Size: 1 << 20}, {Size: 2 << 20}}, []outbox.Op{{Seq: 7}, {Seq: 9}})
	var b strings.Builder
	e.say(slog.New(slog.NewTextHandler(&b, nil)))
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
	r := e.report(append(names, unsavedFile{Path: "b/f", Earlier: true}))
	if *r != (recoveredReport{Files: 2, Bytes: 3 << 20, Names: 2, Stored: 2, Waiting: 2}) {
		t.Errorf("%+v", r)
	}
	b.Reset()
	if earlierOf(nil, nil).say(slog.New(slog.NewTextHandler(&b, nil))); b.Len() != 0 {
		t.Errorf("%q", b.String())
	}
}

// What loading drops, since a rename has replaced it, is not lost; what it could not load is.
func TestFindLostLeavesOutWhatIsGone(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"loaded", "replaced", "unreadable"} {
		s, err := j.NewSpool()
		if err == nil {
			_, err = s.WriteAt([]byte("bytes"), 0)
		}
		if err == nil {
			err = j.Keep(s, journal.Pending{Bucket: "b", Key: key, Size: 5, Time: time.Now()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = journal.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	all, err := j.Pendings()
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, p := range all {
		if p.Key == "replaced" {
			if err := p.Drop(); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := &mounted{journal: j}
	m.findLost([]content.Earlier{{ID: content.ID{Bucket: "b", Key: "loaded"}}})
	if lost := m.kept(); len(lost) != 1 || lost[0].Path != "b/unreadable" {
		t.Errorf("lost: %+v", lost)
	}
}
