package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pailfs/fs/journal"
)

// The package's scripts take away what holds nothing, and nothing else.
func TestLeft(t *testing.T) {
	state := t.TempDir()
	open := func(name string) *journal.Journal {
		t.Helper()
		j, err := journal.Open(filepath.Join(state, "mounts", name))
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	empty, pending, noted, used := open("empty"), open("pending"), open("noted"), open("used")
	s, err := pending.NewSpool()
	if err == nil {
		_, err = s.WriteAt([]byte("bytes"), 0)
	}
	if err == nil {
		err = pending.Keep(s, journal.Pending{Bucket: "b", Key: "file", Size: 5, Time: time.Now()})
	}
	_, noteErr := noted.AddNote("of-another-time", []byte("{}"))
	if err := errors.Join(err, noteErr, s.Close(), empty.Close(), pending.Close(), noted.Close()); err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	damaged := filepath.Join(state, "mounts", "damaged", "damaged")
	if err := errors.Join(open("damaged").Close(), os.WriteFile(damaged+"/1", []byte("?"), 0o600)); err != nil {
		t.Fatal(err)
	}
	want := []string{"damaged: what could not be read is in damaged/", "noted: notes of requests that had no answer",
		"pending: not stored: files 1 (5 B), names 0", "used: in use"}
	for _, args := range [][]string{{"left", state}, {"left", "--tidy", state}, {"left", "--tidy", state}} {
		out, stderr, code := output(t, args...)
		if got := strings.ReplaceAll(strings.TrimSpace(out), filepath.Join(state, "mounts")+"/", ""); got != strings.Join(want, "\n") || stderr != "" || code != exitOK {
			t.Errorf("%v: code %d, %s\n%s", args, code, stderr, got)
		}
		_, err := os.Stat(filepath.Join(state, "mounts", "empty"))
		if tidied := errors.Is(err, os.ErrNotExist); tidied != (args[1] == "--tidy") {
			t.Errorf("%v: the empty one is gone: %v", args, tidied)
		}
	}
	if out, _, code := output(t, "left", t.TempDir()); out != "" || code != exitOK {
		t.Errorf("where nothing was ever mounted: code %d, %s", code, out)
	}
}
