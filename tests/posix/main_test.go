package posix

import (
	"os"
	"testing"

	"pailfs/tests/testenv"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(otherVar) != "": // a worker's child: it has the worker's environment as well
		os.Exit(other(os.Getenv(otherVar), os.Args[1:]))
	case os.Getenv(workerVar) != "":
		os.Exit(work())
	case os.Getenv(libraryVar) != "":
		runLibraryTest(os.Getenv(libraryVar), os.Getenv(libraryDirVar))
	}
	testenv.Main(m)
}

// durabilities are the mounts that everything runs on.
var durabilities = []string{"store", "journal"}

// announced are lines that some rules lead to.
var announced = []string{
	"errno=\"file too large\"",           // EFBIG
	"more metadata than the store keeps", // ENOSPC
}

// mounted mounts a new bucket where everybody may go.
func mounted(t *testing.T, s *testenv.Server, durability string) *testenv.MountPoint {
	t.Helper()
	return mountedOn(t, s, s.Bucket(t), "--durability", durability)
}

func mountedOn(t *testing.T, s *testenv.Server, bucket string, args ...string) *testenv.MountPoint {
	t.Helper()
	dir, err := os.MkdirTemp("", "pft-posix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return testenv.Mount(t, s, testenv.Of(bucket), testenv.At(dir), testenv.TTL(-1), testenv.AllowLog(announced...),
		testenv.Args("--allow-other", "--xattr"), testenv.Args(args...))
}
