package cache

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// archived opens a file, gives what it holds, and begins to keep: of each key what counts says.
func archived(t *testing.T, path, store string, counts func(key string, value []byte) bool) (*Archive, map[string]string) {
	t.Helper()
	a, err := OpenArchive(ArchiveOptions{Path: path, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	if err := a.Load(func(key string, value []byte) { got[key] = string(value) }); err != nil {
		t.Fatal(err)
	}
	a.Start(counts)
	return a, got
}

func all(string, []byte) bool { return true }

func closeArchive(t *testing.T, a *Archive) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantArchived(t *testing.T, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

func TestArchiveKeepsTheLastOfEachKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "archive")
	a, got := archived(t, path, "store", all)
	wantArchived(t, got, map[string]string{})
	a.Put("k", []byte("1"))
	a.Put("", nil)
	a.Put("bytes\x00\xff", bytes.Repeat([]byte{0}, 1000))
	a.Put("k", []byte("2"))
	a.Put("too large", make([]byte, mostRecord+1))
	closeArchive(t, a)
	a.Put("late", []byte("nobody keeps it"))
	want := map[string]string{"k": "2", "": "", "bytes\x00\xff": string(make([]byte, 1000))}
	a, got = archived(t, path, "store", all)
	wantArchived(t, got, want)
	a.Put("more", []byte("3"))
	closeArchive(t, a)
	want["more"] = "3"
	a, got = archived(t, path, "store", all)
	wantArchived(t, got, want)
	closeArchive(t, a)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	a, got = archived(t, path, "another store", all)
	wantArchived(t, got, map[string]string{})
	closeArchive(t, a)
	a, got = archived(t, path, "store", all)
	wantArchived(t, got, map[string]string{})
	closeArchive(t, a)
}

func TestArchiveHasOneUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive")
	a, _ := archived(t, path, "s", all)
	if _, err := OpenArchive(ArchiveOptions{Path: path, Store: "s"}); !errors.Is(err, ErrArchiveInUse) {
		t.Errorf("a second one: %v", err)
	}
	closeArchive(t, a)
	a, _ = archived(t, path, "s", all)
	closeArchive(t, a)
}

// Wherever a crash has cut the file, or a disk has damaged it, what lies before is kept and what is written later too.
func TestArchiveSurvivesDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive")
	a, _ := archived(t, path, "s", all)
	for i := range 5 {
		a.Put(fmt.Sprint(i), []byte("value"))
	}
	closeArchive(t, a)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head := len(archiveHead("s"))
	record := (len(whole) - head) / 5
	for at := range whole {
		for _, cut := range []bool{true, false} {
			p := bytes.Clone(whole)
			if cut {
				p = p[:at]
			} else {
				p[at] ^= 0x40
			}
			if err := os.WriteFile(path, p, 0o600); err != nil {
				t.Fatal(err)
			}
			a, got := archived(t, path, "s", all)
			good := max(0, at-head) / record
			for i := range good {
				if got[fmt.Sprint(i)] != "value" {
					t.Fatalf("damage at %d (cut %v): kept %v", at, cut, got)
				}
			}
			if len(got) != good {
				t.Fatalf("damage at %d (cut %v): kept %v, want %d", at, cut, got, good)
			}
			a.Put("then", []byte("new"))
			closeArchive(t, a)
			a, got = archived(t, path, "s", all)
			if len(got) != good+1 || got["then"] != "new" {
				t.Fatalf("damage at %d (cut %v): then %v", at, cut, got)
			}
			closeArchive(t, a)
		}
	}
}

// A file that is mostly outdated is written anew, with the last of what counts.
func TestArchiveIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive")
	a, _ := archived(t, path, "s", func(key string, _ []byte) bool { return key != "dropped" })
	value := make([]byte, 10_000)
	a.Put("dropped", value)
	a.Put("rare", []byte("still there"))
	for i := range 1000 {
		copy(value, fmt.Sprint(i, " "))
		for { // what comes faster than the disk takes it is not kept
			a.mu.Lock()
			room := len(a.mu.records) < archiveQueue/2
			a.mu.Unlock()
			if room {
				break
			}
		}
		a.Put("often", value)
	}
	closeArchive(t, a)
	if st, err := os.Stat(path); err != nil || st.Size() > archiveQueue+2*archiveSlack {
		t.Errorf("%d bytes for %d, %v", st.Size(), len(value), err)
	}
	a, got := archived(t, path, "s", all)
	if got["rare"] != "still there" || got["often"] != string(value) {
		t.Errorf("%d keys, rare is %q", len(got), got["rare"])
	}
	if _, ok := got["dropped"]; ok {
		t.Error("what counts no more is kept")
	}
	closeArchive(t, a)
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A disk that takes nothing makes no error of anybody's.
func TestArchiveWithoutADisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "archive")
	a, _ := archived(t, path, "s", all)
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.file.Close(); err != nil {
		t.Fatal(err)
	}
	a.file = readOnly
	for i := range 100 {
		a.Put(fmt.Sprint(i), []byte("x"))
	}
	closeArchive(t, a)
	a, got := archived(t, path, "s", all)
	wantArchived(t, got, map[string]string{})
	closeArchive(t, a)
}
