package fs

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// fusermountLazy detaches a mount the way an ordinary user may: through the setuid helper of the fuse3 package.
func fusermountLazy(mountpoint string) error {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		return fmt.Errorf("fusermount3 is missing (package fuse3): %w", err)
	}
	cmd := exec.Command(bin, "-u", "-z", "--", mountpoint)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // not this process's, with its keys
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3 -u -z: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
