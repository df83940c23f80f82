package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pailfs/fs/journal"
	"pailfs/fs/outbox"
	"pailfs/s3client"
)

// What one store has not got yet is not given to another one that is mounted at the same place.
func TestStateBelongsToOneStore(t *testing.T) {
	p := &mountPlan{settings: &settings{}, mountpoint: "/mnt/data"}
	p.StateDir = t.TempDir()
	p.store = s3client.Config{Endpoint: "http://one.example:8080"}
	dir := journalDir(p.StateDir, p.mountpoint)
	j, err := journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	bind := func(endpoint string) error {
		p.store.Endpoint = endpoint
		return p.bindState(j)
	}
	for _, endpoint := range []string{"http://one.example:8080", "http://one.example:8080", "http://two.example:8080"} {
		if err := bind(endpoint); err != nil {
			t.Fatalf("nothing is left, and %s: %v", endpoint, err)
		}
	}
	if _, err := j.AddNote(outbox.NoteKind, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = journal.OpenWith(journal.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := bind("http://two.example:8080"); err != nil {
		t.Errorf("the same store: %v", err)
	}
	var refused *failure
	err = bind("http://three.example:8080")
	path := filepath.Join(dir, "store")
	if !errors.As(err, &refused) || refused.code != exitHost || !strings.Contains(refused.message, "two.example") ||
		!strings.Contains(refused.hint, path) {
		t.Fatalf("another store: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := bind("http://three.example:8080"); err != nil {
		t.Errorf("after what the hint says: %v", err)
	}
}

// Changes that wait go on with a renewed key, and the log says so.
func TestChangesOfAnotherKey(t *testing.T) {
	p := &mountPlan{settings: &settings{}, mountpoint: "/mnt/data"}
	p.StateDir = t.TempDir()
	j, err := journal.OpenWith(journal.Options{Dir: journalDir(p.StateDir, p.mountpoint), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	bind := func(k s3client.Keys) string {
		var b strings.Builder
		if err := p.bindKeys(j, func() (s3client.Keys, error) { return k, nil }, slog.New(slog.NewTextHandler(&b, nil))); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, access := range []string{"one...", "two..."} {
		if said := bind(s3client.Keys{Access: access}); said != "" {
			t.Errorf("nothing waits, and %q", said)
		}
	}
	if _, err := j.AddNote(outbox.NoteKind, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = journal.OpenWith(journal.Options{Dir: journalDir(p.StateDir, p.mountpoint), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, c := range []struct {
		keys s3client.Keys
		said bool
	}{{s3client.Keys{Access: "two..."}, false}, {s3client.Keys{}, false}, {s3client.Keys{Access: "hour...", Session: true}, false},
		{s3client.Keys{Access: "new..."}, true}, {s3client.Keys{Access: "new..."}, false}} {
		if said := bind(c.keys); (said != "") != c.said || c.said && (!strings.Contains(said, "before=two...") || !strings.Contains(said, "now=new...")) {
			t.Errorf("%+v: %q", c.keys, said)
		}
	}
}
