package wired

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"pailfs/fs/journal"
)

// fakeNotes are a journal's notes.
type fakeNotes struct {
	notes map[uint64]journal.Note
	seq   uint64
	err   error
}

func (f *fakeNotes) AddNote(kind string, data []byte) (uint64, error) {
	if f.err != nil {
		return 0, f.err
	}
	f.seq++
	f.notes[f.seq] = journal.Note{Seq: f.seq, Kind: kind, Data: data}
	return f.seq, nil
}

func (f *fakeNotes) ReplaceNote(seq uint64, data []byte) error {
	n, ok := f.notes[seq]
	if !ok {
		return errors.New("no such note")
	}
	n.Data = data
	f.notes[seq] = n
	return nil
}

func (f *fakeNotes) DropNote(seq uint64) error {
	if _, ok := f.notes[seq]; !ok {
		return errors.New("no such note")
	}
	delete(f.notes, seq)
	return nil
}

func (f *fakeNotes) Notes(kind string) (list []journal.Note) {
	for _, seq := range slices.Sorted(maps.Keys(f.notes)) {
		if f.notes[seq].Kind == kind {
			list = append(list, f.notes[seq])
		}
	}
	return list
}

func TestUploadsAreRememberedUntilTheyEnd(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	j := &fakeNotes{notes: map[uint64]journal.Note{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	u := newUploads(j, "store")
	begun, err := u.Begins("b", "a\xff")
	must(err)
	named, err := u.Begins("b", "named")
	must(err)
	must(u.Has(named, "id-2"))
	joined, err := u.Begins("b", "joined")
	must(err)
	must(u.Has(joined, "id-3"))
	must(u.Completes(joined))
	ended, err := u.Begins("b", "ended")
	must(err)
	must(u.Has(ended, "id-4"))
	must(u.Ends(ended))
	must(u.Ends(ended)) // gone already

	next := newUploads(j, "store") // the next run
	left := next.earlier(log)
	if len(left) != 3 {
		t.Fatalf("%+v", left)
	}
	if l := left[0]; l.Token != begun || l.Key != "a\xff" || l.ID != "" || l.Begun.IsZero() || l.Completing {
		t.Errorf("%+v", l)
	}
	if l := left[1]; l.Token != named || l.Key != "named" || l.ID != "id-2" || l.Completing {
		t.Errorf("%+v", l)
	}
	if l := left[2]; l.Token != joined || l.ID != "id-3" || !l.Completing {
		t.Errorf("%+v", l)
	}
	must(next.Completes(named)) // taken up again
	if again := newUploads(j, "store").earlier(log); !again[1].Completing || again[1].ID != "id-2" {
		t.Errorf("%+v", again[1])
	}
	for _, l := range left {
		must(next.Ends(l.Token))
	}
	if len(j.notes) != 0 {
		t.Errorf("%d notes are left", len(j.notes))
	}
}

func TestAnUploadThatCouldNotBeNotedGoesOn(t *testing.T) {
	j := &fakeNotes{notes: map[uint64]journal.Note{}, err: errors.New("disk full")}
	u := newUploads(j, "store")
	token, err := u.Begins("b", "k")
	if err == nil {
		t.Fatal("no error")
	}
	if err := errors.Join(u.Has(token, "id"), u.Completes(token), u.Ends(token)); err != nil {
		t.Error(err)
	}
}

func TestNotesOfALaterFormatAreLeftAlone(t *testing.T) {
	j := &fakeNotes{notes: map[uint64]journal.Note{}}
	for _, data := range []string{`{"v":2,"bucket":"b","key":"aw=="}`, `{"v":1,"bucket":"b"}`, `nonsense`} {
		if _, err := j.AddNote(uploadKind, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if left := newUploads(j, "store").earlier(slog.New(slog.NewTextHandler(io.Discard, nil))); len(left) != 0 || len(j.notes) != 3 {
		t.Errorf("%+v of %d notes", left, len(j.notes))
	}
}
