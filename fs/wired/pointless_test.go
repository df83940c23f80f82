package wired

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pailfs/fs/journal"
	"pailfs/fs/tree"
	"pailfs/fs/upload"
	"pailfs/s3client"
	"pailfs/s3client/s3mem"
)

// A change of attributes of a file that somebody else has deleted is pointless: a rename of the directory above is not.
func TestARenameAboveAChangeThatBecamePointless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := s3mem.New(s3mem.WithBuckets("b"))
		for _, key := range []string{"d/a", "d/b"} {
			mem.PutBytes("b", key, []byte(key), s3client.Headers{})
		}
		j, err := journal.OpenWith(journal.Options{Dir: filepath.Join(t.TempDir(), "j"), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		r := Open(t.Context(), Options{Store: mem, Journal: j, Log: slog.New(slog.DiscardHandler), Bucket: "b", Full: true, Behind: true,
			TTL: time.Minute, StoreID: "store", Limits: upload.LimitsOf(mem.Profile(), 0),
			Memory: Memory{Blocks: 8 << 20, Ahead: 1 << 20, Names: 1000}})
		if _, err := r.Tree.Lookup(t.Context(), "d/a"); err != nil {
			t.Fatal(err)
		}
		mode := uint32(0o600)
		if _, err := r.Tree.SetAttr(t.Context(), "d/a", tree.Change{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
		if err := mem.Delete(t.Context(), "b", "d/a"); err != nil {
			t.Fatal(err)
		}
		if err := r.Tree.Rename(t.Context(), "d", "e", false, nil); err != nil {
			t.Errorf("rename: %v", err)
		}
		if got, _ := mem.Bytes("b", "e/b"); string(got) != "d/b" {
			t.Errorf("the store has %q", got)
		}
		if err := errors.Join(r.Close(t.Context()), j.Close()); err != nil {
			t.Error(err)
		}
	})
}
