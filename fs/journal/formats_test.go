package journal

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Journals as earlier versions wrote them are read: records in files of their own (record-1), and the first log (log-1). Each has a
// small and a large file; nobody changes them.
func TestJournalsOfEarlierVersions(t *testing.T) {
	for name, notes := range map[string]int{"record-1": 0, "log-1": 1} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				readFormat(t, dir, notes)
			}
		})
	}
}

func readFormat(t *testing.T, dir string, notes int) {
	t.Helper()
	j := openUntended(t, Options{Dir: dir})
	defer j.Close()
	kept, err := j.Pendings()
	if err != nil || len(kept) != 2 || len(j.Notes("name")) != notes {
		t.Fatalf("%d files, %d notes, %v", len(kept), len(j.Notes("name")), err)
	}
	for _, r := range kept {
		want := map[string][]byte{"small": []byte("kept in the log"), "large": bytes.Repeat([]byte("0123456789abcdef"), 20000)}[r.Key]
		s, err := r.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(s, 0, r.Size))
		if err != nil || !bytes.Equal(got, want) || r.Bucket != "b" || r.Base == nil || r.Base.ETag != "e" || r.Attempts != 2*notes ||
			r.Headers.Meta["mode"] != "33188" || !r.Time.Equal(time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %d bytes, %v, %+v", r.Key, len(got), err, r.Pending)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
