package wired

import (
	"context"
	"errors"
	"testing"

	"pailfs/fs/journal"
)

func TestAMountWaitsForWhoLooksForOrphans(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		j, err := OpenJournal(t.Context(), journal.Options{Dir: dir})
		if err == nil {
			err = j.Close()
		}
		opened <- err
	}()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if j, err = journal.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := OpenJournal(ctx, journal.Options{Dir: dir}); !errors.Is(err, journal.ErrLocked) {
		t.Error(err)
	}
}
