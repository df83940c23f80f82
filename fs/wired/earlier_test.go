package wired

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"pailfs/fs/content"
	"pailfs/fs/journal"
	"pailfs/fs/outbox"
)

func TestWhatAnEarlierRunLeftIsCounted(t *testing.T) {
	e := earlierOf([]content.Earlier{{Size: 1 << 20}, {Size: 2 << 20}}, []outbox.Op{{Seq: 7}, {Seq: 9}})
	if _, ok := e.Names[9]; e.Files != 2 || e.Bytes != 3<<20 || len(e.Names) != 2 || !ok {
		t.Errorf("%+v", e)
	}
}

// What a journal has is told: files, changes of names, renames; notes of uploads are none, and what cannot be read is an error.
func TestKeptAt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if k, err := KeptAt(dir); err != nil || k.Len() != 0 {
		t.Fatalf("where no journal is: %+v, %v", k, err)
	}
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.NewSpool()
	if err == nil {
		err = j.Keep(s, journal.Pending{Bucket: "b", Key: "file", Time: time.Now()})
	}
	_, uploadErr := newUploads(j, "store").Begins("b", "upload")
	_, renameErr := newRenames(j, nil).Begin(testIntent)
	_, nameErr := j.AddNote(outbox.NoteKind, []byte(`{"v":1,"kind":"delete","bucket":"b","key":"gone"}`))
	if err := errors.Join(err, uploadErr, renameErr, nameErr, s.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	k, err := KeptAt(dir)
	if err != nil || k.Len() != 3 || k.Files[0].Key != "file" || k.Names[0].Key != "gone" || k.Renames[0] != testIntent {
		t.Errorf("%+v, %v", k, err)
	}
	if j, err = journal.Open(dir); err == nil {
		_, err = j.AddNote(outbox.NoteKind, []byte("nonsense"))
	}
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	if k, err := KeptAt(dir); err == nil || k.Len() != 3 {
		t.Errorf("%+v, %v", k, err)
	}
}

// What loading drops, since a rename has replaced it, is not lost; what it could not load is.
func TestLostLeavesOutWhatIsGone(t *testing.T) {
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
	left := lost(j, []content.Earlier{{ID: content.ID{Bucket: "b", Key: "loaded"}}})
	if len(left) != 1 || left[0].Key != "unreadable" {
		t.Errorf("lost: %+v", left)
	}
}
