package journal

import (
	"errors"
	"strings"
	"testing"
)

// A file is appended to while the record of what it was at its last close gets another base: what is appended belongs to the
// next Keep, and is there after it; without that Keep the record has what it had.
func TestAmendWhileBytesAreAppended(t *testing.T) {
	for name, text := range map[string]string{"in the log": "0123456789", "in a file": big("0123456789")} {
		for _, kept := range []bool{true, false} {
			t.Run(name, func(t *testing.T) { amendWhileAppending(t, text, kept) })
		}
	}
}

func amendWhileAppending(t *testing.T, text string, keptAgain bool) {
	dir := t.TempDir()
	var during func()
	j, err := OpenWith(Options{Dir: dir, Hooks: Hooks{Append: func() {
		if do := during; do != nil {
			during = nil
			do()
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s, all := newSpool(t, j, text), text
	more := func() {
		if _, err := s.WriteAt([]byte(strings.Repeat("x", 5000)), int64(len(all))); err != nil {
			t.Error(err)
		}
		all += strings.Repeat("x", 5000)
	}
	record := func(size, attempts int) Pending {
		return Pending{Bucket: "b", Key: "k", Size: int64(size), Dirty: []Range{{0, int64(size)}}, Attempts: attempts}
	}
	err = j.Keep(s, record(len(text), 0))
	more()
	during = more
	err = errors.Join(err, j.Amend(s, record(len(text), 1)))
	want := text
	if during != nil {
		t.Error("nothing was appended to the log")
	}
	if keptAgain {
		err, want = errors.Join(err, j.Keep(s, record(len(all), 2))), all
	}
	if err := errors.Join(err, s.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	ps := pendings(t, openJournal(t, dir))
	if len(ps) != 1 || ps[0].Attempts < 1 || ps[0].Size != int64(len(want)) {
		t.Fatalf("%+v", ps)
	}
	s, err = ps[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := content(t, s); len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("it has %d bytes, not %d", len(got), len(want))
	}
}
