package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is what this test process has built, in a directory that Main removes.
var built struct {
	sync.Mutex
	dir      string
	programs map[string]string // by name: its path
}

// Main runs a package's tests and removes what was built for them. It does not return.
func Main(m *testing.M) {
	code := m.Run()
	built.Lock()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
			code = max(code, 1)
		}
	}
	built.Unlock()
	os.Exit(code)
}

// Binary is the path of the pailfs program under test: PAILFS_TEST_BINARY, or built here once.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("PAILFS_TEST_BINARY"); path != "" {
		return absolute(t, path)
	}
	args := []string{"-trimpath"}
	if raceBinary() {
		args = append(args, "-race")
	}
	return program(t, "pailfs", ".", append(args, "./cmd/pailfs"))
}

// Demostore is the path of the S3 server: PAILFS_TEST_DEMOSTORE, or built here once.
func Demostore(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("PAILFS_TEST_DEMOSTORE"); path != "" {
		return absolute(t, path)
	}
	return program(t, "demostore", "contrib/demostore", []string{"-trimpath", "."})
}

func raceBinary() bool { return os.Getenv("PAILFS_TEST_RACE") == "1" }

func absolute(t testing.TB, path string) string {
	t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(Root(t), path)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// program builds a program once in this test process and returns its path.
func program(t testing.TB, name, dir string, args []string) string {
	t.Helper()
	root := Root(t)
	built.Lock()
	defer built.Unlock()
	if path, ok := built.programs[name]; ok {
		return path
	}
	if built.dir == "" {
		d, err := os.MkdirTemp("", "pailfs-test-bin-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.programs = d, map[string]string{}
	}
	path := filepath.Join(built.dir, name)
	cmd := exec.Command("go", append([]string{"build", "-o", path}, args...)...)
	cmd.Dir = filepath.Join(root, dir)
	cmd.Env = os.Environ()
	if name == "demostore" || !raceBinary() {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	built.programs[name] = path
	return path
}

// Root is the directory of the repository: the nearest one above the test's that holds the module "pailfs".
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "cmd", "pailfs"))
		if err == nil {
			return dir
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("the repository's root was not found above the working directory")
		}
		dir = parent
	}
}

// shortDir makes a temporary directory with a short path (a socket's path holds 107 bytes, which t.TempDir's long names
// exceed) and removes it at the test's end; after a failure PAILFS_TEST_KEEP=1 keeps it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pft-")
	if err != nil {
		t.Fatal(err)
	}
	// The mount table knows real paths alone.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("PAILFS_TEST_KEEP") == "1" {
			t.Logf("kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the test's directory: %v", err)
		}
	})
	return dir
}
