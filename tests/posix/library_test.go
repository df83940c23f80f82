package posix

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"pailfs/tests/testenv"
)

const (
	// libraryVar makes this program run one of go-fuse's tests in the directory that libraryDirVar names.
	libraryVar    = "PAILFS_TEST_POSIXTEST"
	libraryDirVar = "PAILFS_TEST_POSIXTEST_DIR"
)

// TestLibrary runs all of go-fuse's posixtest, each in a process of its own: its failures are not this test's.
func TestLibrary(t *testing.T) {
	testenv.Require(t)
	s := testenv.StoreIn(t, t.TempDir())
	for _, durability := range durabilities {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			m := mounted(t, s, durability)
			for _, w := range []who{root, user} {
				t.Run(string(w), func(t *testing.T) {
					for _, name := range libraryTests() {
						if rare, ok := libraryOnce[name]; ok && rare[durability] != w {
							continue
						}
						t.Run(name, func(t *testing.T) {
							t.Parallel()
							runInLibrary(t, m.Path(string(w)+"-"+name), name, durability, w)
						})
					}
				})
			}
		})
	}
}

// libraryOnce has the tests that take long, a thousand times the same, and whose they are on which mount: once on each.
var libraryOnce = map[string]map[string]who{"OpenSymlinkRace": {"store": root, "journal": user}}

func libraryTests() []string {
	var names []string
	for name := range posixtest.All {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func runInLibrary(t *testing.T, path, name, durability string, w who) {
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, w.uid(), w.uid()); err != nil {
		t.Fatal(err)
	}
	cmd := w.self(libraryVar+"="+name, "-test.v")
	cmd.Env = append(cmd.Env, libraryDirVar+"="+path)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	k, ok := libraryKnown[name]
	if !ok {
		k = libraryFailure{result: "PASS"}
	}
	switch got := resultIn(string(out)); {
	case got != k.result:
		t.Errorf("%s, want %s %s\n%s", got, k.result, k.why, out)
	case !strings.Contains(string(out), k.says):
		t.Errorf("it does not say %q:\n%s", k.says, out)
	}
}

// resultIn finds the word behind the dashes in what `go test -v` says of its one test.
func resultIn(out string) string {
	for _, word := range []string{"PASS", "FAIL", "SKIP"} {
		if strings.Contains(out, "\n--- "+word+": ") {
			return word
		}
	}
	return "no result"
}

// runLibraryTest is the process's side. It does not return.
func runLibraryTest(name, path string) {
	all := func(_, _ string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: name, F: func(t *testing.T) { posixtest.All[name](t, path) }}}, nil, nil)
}

func TestKnownTestsOfTheLibraryExist(t *testing.T) {
	for name := range libraryKnown {
		if _, ok := posixtest.All[name]; !ok {
			t.Errorf("go-fuse has no test %s any more", name)
		}
	}
}
