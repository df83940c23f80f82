package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// oldKeep keeps a spool as versions before the log did.
func oldKeep(t *testing.T, dir, id, content string) {
	t.Helper()
	b, err := encode(Pending{Bucket: "b", Key: id, Size: int64(len(content)), Dirty: []Range{{0, int64(len(content))}},
		Time: time.Unix(1, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	for sub, data := range map[string][]byte{"record": b, "spool": []byte(content)} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, sub, id), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsOfTheOldFormat(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"dropped", "amended", "kept", "untouched"} {
		oldKeep(t, dir, id, "content of "+id)
	}
	if err := os.WriteFile(filepath.Join(dir, "record", "x"+tempSuffix), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, dir)
	if got := names(t, filepath.Join(dir, "record")); len(got) != 4 {
		t.Errorf("records %v", got)
	}
	for _, r := range pendings(t, j) {
		checkRecovered(t, r)
		s, err := r.Open()
		if err != nil {
			t.Fatal(err)
		}
		p := r.Pending
		switch r.Key {
		case "dropped":
			err = r.Drop()
			if !r.Gone() {
				t.Error("dropped and not gone")
			}
		case "amended":
			p.Attempts = 1
			err = j.Amend(s, p)
		case "kept":
			p.Attempts = 2
			if _, err := s.WriteAt([]byte("CONTENT"), 0); err != nil {
				t.Fatal(err)
			}
			err = j.Keep(s, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	if got := names(t, filepath.Join(dir, "record")); !reflect.DeepEqual(got, []string{"untouched"}) {
		t.Errorf("records %v", got)
	}
	j = openJournal(t, dir)
	found := make(map[string]int)
	for _, r := range pendings(t, j) {
		found[r.Key] = r.Attempts
		s, err := r.Open()
		if err != nil {
			t.Fatal(err)
		}
		want := "content of " + r.Key
		if r.Key == "kept" {
			want = "CONTENT of kept"
		}
		if got := content(t, s); got != want {
			t.Errorf("%s holds %q", r.Key, got)
		}
	}
	if want := map[string]int{"amended": 1, "kept": 2, "untouched": 0}; !reflect.DeepEqual(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}

func TestDamagedOldRecordsAreSetAsideAndReported(t *testing.T) {
	flip := func(b []byte) []byte { // a digit inside the payload: JSON stays valid
		return bytes.Replace(b, []byte(`"size":4`), []byte(`"size":5`), 1)
	}
	cases := map[string]func(record, spool string) error{
		"flipped": func(record, _ string) error { return edit(record, flip) },
		"cut":     func(record, _ string) error { return edit(record, func(b []byte) []byte { return b[:len(b)/2] }) },
		"empty":   func(record, _ string) error { return edit(record, func([]byte) []byte { return nil }) },
		"zeros": func(record, _ string) error {
			return edit(record, func(b []byte) []byte { return make([]byte, len(b)) })
		},
		"no spool":  func(_, spool string) error { return os.Remove(spool) },
		"cut spool": func(_, spool string) error { return os.Truncate(spool, 2) },
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			oldKeep(t, dir, "bad", "evil")
			oldKeep(t, dir, "good", "fine")
			if err := damage(filepath.Join(dir, "record", "bad"), filepath.Join(dir, "spool", "bad")); err != nil {
				t.Fatal(err)
			}
			hadSpool := name != "no spool"

			j := openJournal(t, dir)
			ps, err := j.Pendings()
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "bad") {
				t.Errorf("error %v, want ErrDamaged naming it", err)
			}
			if len(ps) != 1 || ps[0].Key != "good" {
				t.Errorf("pendings %v, want the good one", ps)
			}
			aside := names(t, j.damaged())
			want := []string{"bad"}
			if hadSpool {
				want = append(want, "bad"+".spool")
			}
			if !reflect.DeepEqual(aside, want) {
				t.Errorf("set aside %v, want %v", aside, want)
			}
			j.Close()
			j = openJournal(t, dir)
			if ps := pendings(t, j); len(ps) != 1 {
				t.Errorf("next run: %v", ps)
			}
			if got := names(t, j.damaged()); !reflect.DeepEqual(got, want) {
				t.Errorf("next run: set aside %v, want %v", got, want)
			}
		})
	}
}

func edit(path string, f func([]byte) []byte) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, f(b), 0o600)
}

func TestOldRecordOfNewerVersionStays(t *testing.T) {
	dir := t.TempDir()
	oldKeep(t, dir, "k", "data")
	newer := func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) }
	if err := edit(filepath.Join(dir, "record", "k"), newer); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, dir)
	ps, err := j.Pendings()
	if len(ps) != 0 || !errors.Is(err, ErrNewer) {
		t.Errorf("pendings %v, error %v", ps, err)
	}
	if len(names(t, j.old.dir)) != 1 || len(names(t, j.spools())) != 1 {
		t.Error("record or spool is gone")
	}
}
