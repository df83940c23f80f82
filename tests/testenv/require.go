package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// skipFileVar names the file that collects the skipped tests of a run, one line each.
const skipFileVar = "PAILFS_TEST_SKIP_FILE"

// Require skips the test where no mount is possible: without root, /dev/fuse or Linux' permission to use it.
func Require(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "a mount needs root")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		Skip(t, "a mount needs /dev/fuse: "+err.Error())
	}
	unix.Close(fd)
}

// Programs skips the test when one of these programs is not installed.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		Skip(t, "not installed: "+strings.Join(missing, ", "))
	}
}

// Skip skips the test and counts it: a run that must be complete refuses every counted skip.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if err := countSkip(os.Getenv(skipFileVar), t.Name(), reason); err != nil {
		t.Fatalf("skipped (%s), which could not be counted: %v", reason, err)
	}
	t.Skip(reason)
}

// countSkip appends one line; a single write of that length to a file opened for appending is not torn between the test
// processes of a run.
func countSkip(file, test, reason string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s: %s\n", test, strings.ReplaceAll(reason, "\n", " "))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
