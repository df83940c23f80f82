package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stream = `go: downloading something
{"Action":"start","Package":"p/a"}
{"Action":"run","Package":"p/a","Test":"TestGood"}
{"Action":"output","Package":"p/a","Test":"TestGood","Output":"    a_test.go:1: not shown\n"}
{"Action":"pass","Package":"p/a","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"p/a","Test":"TestSkipped","Output":"=== RUN   TestSkipped\n"}
{"Action":"output","Package":"p/a","Test":"TestSkipped","Output":"    a_test.go:7: no fuse: not here\n"}
{"Action":"output","Package":"p/a","Test":"TestSkipped","Output":"--- SKIP: TestSkipped (0.00s)\n"}
{"Action":"skip","Package":"p/a","Test":"TestSkipped"}
{"Action":"pass","Package":"p/a","Elapsed":1.5}
{"Action":"start","Package":"p/none"}
{"Action":"skip","Package":"p/none"}
`

func TestStream(t *testing.T) {
	for _, c := range []struct {
		name, more string
		failed     bool
		want       []string
		blame      string
	}{
		{"all is well", "", false, []string{"go: downloading something\n", "ok   p/a"}, ""},
		{"a test fails", `{"Action":"start","Package":"p/b"}
{"Action":"output","Package":"p/b","Test":"TestBad","Output":"    b_test.go:3: shown\n"}
{"Action":"fail","Package":"p/b","Test":"TestBad"}
{"Action":"fail","Package":"p/b"}
`, true, []string{"b_test.go:3: shown", "FAIL p/b"}, "p/b TestBad"},
		{"a process ends in the middle of a test", `{"Action":"start","Package":"p/b"}
{"Action":"run","Package":"p/b","Test":"TestStuck"}
{"Action":"output","Package":"p/b","Test":"TestStuck","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"p/b"}
`, true, []string{"did not end: TestStuck", "panic: test timed out", "FAIL p/b"}, "p/b -"},
		{"a package takes long", `{"Action":"start","Package":"p/e"}
{"Action":"pass","Package":"p/e","Test":"TestQuick","Elapsed":1}
{"Action":"pass","Package":"p/e","Test":"TestSlow/part","Elapsed":149}
{"Action":"pass","Package":"p/e","Test":"TestSlow","Elapsed":149}
{"Action":"pass","Package":"p/e","Elapsed":150}
`, false, []string{"150.0s\n        149.0s TestSlow\n          1.0s TestQuick\n"}, ""},
		{"a build fails", `{"ImportPath":"p/c","Action":"build-output","Output":"c.go:1: undefined\n"}
{"ImportPath":"p/c","Action":"build-fail"}
`, true, []string{"c.go:1: undefined"}, "p/c -"},
		{"the stream ends early", `{"Action":"start","Package":"p/d"}
`, true, []string{"p/d: did not end"}, "p/d -"},
	} {
		var out strings.Builder
		s := newSuite(&out)
		if err := s.read(strings.NewReader(stream + c.more)); err != nil {
			t.Fatal(err)
		}
		if s.failed != c.failed {
			t.Errorf("%s: failed %v", c.name, s.failed)
		}
		if got := strings.Join(s.blame, ", "); got != c.blame {
			t.Errorf("%s: failed for %q, want %q", c.name, got, c.blame)
		}
		for _, w := range c.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: %q is not in\n%s", c.name, w, out.String())
			}
		}
		if strings.Contains(out.String(), "not shown") || strings.Contains(out.String(), "p/none") {
			t.Errorf("%s: too much is shown:\n%s", c.name, out.String())
		}
		if len(s.skipped) != 1 || s.skipped[0] != "TestSkipped: no fuse: not here" {
			t.Errorf("%s: skipped %q", c.name, s.skipped)
		}
	}
}

func TestWriteSkips(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips")
	if err := os.WriteFile(file, []byte("TestA: counted\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeSkips(file, []string{"TestA: again", "TestAB: new"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if want := "TestA: counted\nTestAB: new\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
