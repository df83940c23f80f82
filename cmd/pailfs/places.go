package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultStateDir is /var/lib/pailfs for root, $XDG_STATE_HOME/pailfs or ~/.local/state/pailfs for others.
func defaultStateDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/pailfs", nil
	}
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "pailfs"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", errors.New("neither XDG_STATE_HOME nor HOME is set")
	}
	return filepath.Join(home, ".local", "state", "pailfs"), nil
}

// defaultCacheDir is what systemd gives a unit with CacheDirectory=, else /var/cache/pailfs for root, $XDG_CACHE_HOME/pailfs or
// ~/.cache/pailfs for others.
func defaultCacheDir() (string, error) {
	if d := os.Getenv("CACHE_DIRECTORY"); filepath.IsAbs(d) && !strings.Contains(d, ":") {
		return d, nil
	}
	if os.Geteuid() == 0 {
		return "/var/cache/pailfs", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "pailfs"), nil
}

// runDir is where runtime files lie: PAILFS_RUN_DIR, /run/pailfs for root, else $XDG_RUNTIME_DIR/pailfs or a directory
// of the user's own in the temporary directory.
func runDir() string { return runDirOf(os.Geteuid(), os.Getenv) }

func runDirOf(uid int, getenv func(string) string) string {
	if d := getenv("PAILFS_RUN_DIR"); filepath.IsAbs(d) {
		return d
	}
	if uid == 0 {
		return "/run/pailfs"
	}
	if d := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		return filepath.Join(d, "pailfs")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("pailfs-%d", uid))
}

// errRunDir: the directory of the runtime files is none to trust.
var errRunDir = errors.New("runtime directory")

// privateDir makes a directory of mode 0700 and refuses one that belongs to somebody else or that others may write to: it
// may lie in a directory that everybody writes to. The mode of an existing directory is not touched: it may be anybody's.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%w: %s is not a directory", errRunDir, dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to user %d", errRunDir, dir, st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%w: %s can be written to by other users (mode %04o)", errRunDir, dir, st.Mode&0o7777)
	}
	return nil
}

// escapeName makes a file name of an absolute path, the way systemd does for unit names: "/mnt/my data" becomes
// mnt-my\x20data. Different paths get different names; a long one ends in a hash of the whole.
func escapeName(path string) string {
	var b strings.Builder
	trimmed := strings.Trim(filepath.Clean(path), "/")
	for i := 0; i < len(trimmed); i++ {
		c := trimmed[i]
		switch {
		case c == '/':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == ':', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	name := b.String()
	if name == "" {
		return "-"
	}
	const longest = 200 // leaves room for .json in the 255 bytes of a file name
	if len(name) > longest {
		name = fmt.Sprintf("%s~%x", name[:longest-17], sha256.Sum256([]byte(trimmed)))[:longest]
	}
	return name
}

// realPath makes a mount point absolute and resolves symbolic links. It looks at the last component only when its
// directory alone does not settle it, because on a mount whose server died every look at it fails, and that is what
// umount and mount are there to clean up.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	full := filepath.Join(parent, filepath.Base(abs))
	if abs == "/" {
		return "/", nil
	}
	if target, err := os.Readlink(full); err == nil && target != "" {
		return filepath.EvalSymlinks(full)
	}
	return full, nil
}
