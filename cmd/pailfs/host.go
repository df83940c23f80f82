package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// checkHost looks for what a user other than root needs to mount, before anything is begun. root is "/" but in tests.
func checkHost(uid int, allowOther bool, root string) error {
	if uid == 0 {
		return nil
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		if _, err := os.Stat(filepath.Join(root, "bin/fusermount3")); err != nil {
			return &failure{code: exitHost, command: "mount", message: "cannot mount: users mount with fusermount3, which is not installed",
				hint: "apt-get install fuse3 (or dnf, apk), or run as root; in a container --fd-socket of a `pailfs mount-helper` that is root"}
		}
	}
	if allowOther && !userAllowOther(filepath.Join(root, "etc/fuse.conf")) {
		return &failure{code: exitHost, command: "mount", message: "cannot mount with allow_other: /etc/fuse.conf does not let users do that",
			hint: "add a line user_allow_other to /etc/fuse.conf, or mount as root"}
	}
	return nil
}

// userAllowOther says whether fuse.conf lets users mount with allow_other.
func userAllowOther(conf string) bool {
	f, err := os.Open(conf)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}
