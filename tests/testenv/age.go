package testenv

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Age lets an object become as old as that, by the store's own clock. An embedded server shows the time of the object's
// file, which is set; another one is waited for.
func (s *Server) Age(t testing.TB, bucket, key string, age time.Duration) {
	t.Helper()
	if !s.External {
		then := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(s.embedded.dir, bucket, filepath.FromSlash(key)), then, then); err != nil {
			t.Fatal(err)
		}
	}
	o, ok := s.Head(t, bucket, key)
	if !ok {
		t.Fatalf("%s/%s is not there", bucket, key)
	}
	if s.External {
		time.Sleep(time.Until(o.Modified.Add(age)))
		return
	}
	if time.Since(o.Modified) < age-time.Second {
		t.Fatalf("the store says that %s/%s is of %v", bucket, key, o.Modified)
	}
}
