package testenv

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestUnexpected(t *testing.T) {
	const log = `time=2025-01-01T00:00:00Z level=INFO msg="mounted WARN"
time=2025-01-01T00:00:01Z level=WARN msg="slow store" op=GET
{"time":"2025-01-01T00:00:02Z","level":"ERROR","msg":"lost"}
time=2025-01-01T00:00:03Z level=DEBUG msg="no level=WARNING"
WARNING: DATA RACE
panic: boom
2025/01/01 00:00:00 Unsolicited response received on idle HTTP channel starting with "0"
`
	for _, c := range []struct {
		name     string
		expected []string
		lines    []int // of the log, from 0
		missed   []string
	}{
		{"nothing announced", nil, []int{1, 2, 4, 5, 6}, nil},
		{"one announced", []string{"slow store"}, []int{2, 4, 5, 6}, nil},
		{"two for one line, one for none", []string{"slow", "op=GET", "never"}, []int{2, 4, 5, 6}, []string{"never"}},
		{"what nobody can announce", []string{"."}, []int{4, 5, 6}, nil},
		{"only WARN and ERROR lines count", []string{"mounted"}, []int{1, 2, 4, 5, 6}, []string{"mounted"}},
	} {
		var patterns []*regexp.Regexp
		for _, p := range c.expected {
			patterns = append(patterns, regexp.MustCompile(p))
		}
		var want []string
		for _, i := range c.lines {
			want = append(want, strings.Split(log, "\n")[i])
		}
		lines, missed := unexpected(log, patterns)
		if !reflect.DeepEqual(lines, want) || !slices.Equal(missed, c.missed) {
			t.Errorf("%s: %q, missed %q; want %q, %q", c.name, lines, missed, want, c.missed)
		}
	}
}

func TestCountSkip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips")
	for _, reason := range []string{"no fuse", "two\nlines"} {
		if err := countSkip(file, "TestX", reason); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if want := "TestX: no fuse\nTestX: two lines\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if err := countSkip("", "TestX", "no file"); err != nil {
		t.Error(err)
	}
	if err := countSkip(filepath.Join(file, "x"), "TestX", "a file that cannot be"); err == nil {
		t.Error("a skip that was not counted is no error")
	}
}

// TestEmbeddedStore puts, lists and reads through an embedded server, across an outage.
func TestEmbeddedStore(t *testing.T) {
	s := StoreIn(t, shortDir(t))
	bucket := s.Bucket(t)
	s.Put(t, bucket, "a b/한글", []byte("text"), map[string]string{"mode": "33188"})
	if keys := s.Keys(t, bucket, ""); !slices.Equal(keys, []string{"a b/한글"}) {
		t.Errorf("keys: %q", keys)
	}
	s.Stop(t)
	s.Start(t)
	if got := s.Get(t, bucket, "a b/한글"); string(got) != "text" {
		t.Errorf("content after an outage: %q", got)
	}
	o, ok := s.Head(t, bucket, "a b/한글")
	if !ok || o.Size != 4 || o.Headers == nil || o.Headers.Meta["mode"] != "33188" {
		t.Errorf("head: %+v, %v", o, ok)
	}
	if _, ok := s.Head(t, bucket, "none"); ok {
		t.Error("a key that was never written is there")
	}
	s.RemoveBucket(t, bucket)
	if err := s.Client.HeadBucket(t.Context(), bucket); err == nil {
		t.Error("the removed bucket is there")
	}
}

// TestMount writes through a mount and reads past it, crashes the process and mounts again.
func TestMount(t *testing.T) {
	Require(t)
	s := Store(t)
	bucket := s.Bucket(t)
	s.Put(t, bucket, "from-outside", []byte("outside"), nil)
	m := Mount(t, s, Of(bucket))
	if got, err := os.ReadFile(m.Path("from-outside")); err != nil || string(got) != "outside" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := os.WriteFile(m.Path("dir-less"), []byte("inside"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Get(t, bucket, "dir-less"); string(got) != "inside" {
		t.Errorf("in the store: %q", got)
	}
	m.Kill()
	if Mounted(t, m.Dir) {
		t.Error("the mount of the killed process is there")
	}
	again := Mount(t, s, Of(bucket), At(m.Dir), State(m.StateDir))
	if got, err := os.ReadFile(again.Path("dir-less")); err != nil || string(got) != "inside" {
		t.Errorf("%q, %v", got, err)
	}
	again.Unmount()
}

// TestMountFails sees that a mount that cannot be ends with a status and says why.
func TestMountFails(t *testing.T) {
	Require(t)
	s := Store(t)
	m, err := TryMount(t, s, Of("pft-no-such-bucket"), ExpectExit(5), ExpectLog(`level=ERROR msg="mount failed" .*pft-no-such-bucket`))
	if err == nil {
		t.Fatal("a bucket that is not there was mounted")
	}
	if !m.Exited() || !strings.Contains(err.Error(), "pft-no-such-bucket") {
		t.Errorf("exited %v: %v", m.Exited(), err)
	}
}
