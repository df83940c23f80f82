package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// umount(8) as root looks a mount up by statfs alone, which says "fuse" and nothing of pailfs, and then calls no helper. Only a line for
// the mount point in utab, where libmount keeps what the kernel does not, makes it look at the mount table; uhelper= names the
// helper. mount(8) writes that line by itself when a mount has an option of its own (_netdev, x-...). Otherwise the process of
// the mount writes one, in libmount's form and under its lock, and removes what there is for the mount when it ends.

// utabDir is where libmount has its table.
const utabDir = "/run/mount"

// userWords says whether mount(8) writes a line itself for these options.
func userWords(words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool {
		name, _, _ := strings.Cut(w, "=")
		return name == "_netdev" || name == "user" || name == "uhelper" || name == "helper" || name == "comment" || strings.HasPrefix(name, "x-")
	})
}

// noteUmountHelper writes the line of a mount. A host without libmount has no such table, and needs none.
func noteUmountHelper(dir, source, mountpoint string) error {
	return changeUtab(dir, func(lines []string) []string {
		if slices.ContainsFunc(lines, func(l string) bool { return utabIs(l, source, mountpoint) }) {
			return lines
		}
		return append(lines, fmt.Sprintf("SRC=%s TARGET=%s ROOT=/ OPTS=uhelper=pailfs", utabEscape(source), utabEscape(mountpoint)))
	})
}

// forgetMount removes the lines of a mount that is gone: nobody else does when it was not umount(8) that took it away.
func forgetMount(dir, source, mountpoint string) error {
	return changeUtab(dir, func(lines []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return utabIs(l, source, mountpoint) })
	})
}

// utabPatience is how long another program may hold the table's lock: it takes moments, and no mount hangs for one that stands still.
const utabPatience = 2 * time.Second

// changeUtab carries out a change of the table as libmount does: under a lock, and by a file that takes the place of the old one.
func changeUtab(dir string, change func(lines []string) []string) (err error) {
	lock, err := os.OpenFile(filepath.Join(dir, "utab.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644) // #nosec G302 -- as libmount makes it, which takes the same lock
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no libmount
	}
	if err != nil {
		return err
	}
	defer lock.Close() // and lets the lock go
	for end := time.Now().Add(utabPatience); ; time.Sleep(utabPatience / 200) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			return &os.PathError{Op: "flock", Path: lock.Name(), Err: err}
		}
	}
	name := filepath.Join(dir, "utab")
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var lines []string
	if text := strings.TrimSuffix(string(b), "\n"); text != "" {
		lines = strings.Split(text, "\n")
	}
	changed := change(lines)
	if slices.Equal(lines, changed) {
		return nil
	}
	return replaceUtab(name, changed)
}

func replaceUtab(name string, lines []string) error {
	f, err := os.CreateTemp(filepath.Dir(name), "utab.")
	if err != nil {
		return err
	}
	text := ""
	if len(lines) > 0 {
		text = strings.Join(lines, "\n") + "\n"
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// utabIs says whether a line is about a mount.
func utabIs(line, source, mountpoint string) bool {
	fields := strings.Fields(line)
	return slices.Contains(fields, "SRC="+utabEscape(source)) && slices.Contains(fields, "TARGET="+utabEscape(mountpoint))
}

// utabEscape writes a field as the mount table does.
func utabEscape(s string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(s)
}

// noteInUtab makes a plain umount wait, where root has mounted. Without it a plain umount works all the same, and does not wait.
func (m *mounted) noteInUtab() {
	if m.device == "" || m.plan.utabByMount8 || os.Geteuid() != 0 {
		return
	}
	if err := noteUmountHelper(utabDir, m.plan.source(), m.plan.mountpoint); err != nil {
		m.log.Info("umount(8) will not wait for what is being stored; pailfs umount does", "err", err)
	}
}

// forgetInUtab takes that back when the mount point is gone.
func (m *mounted) forgetInUtab() {
	if m.device == "" || os.Geteuid() != 0 || !m.detached() {
		return
	}
	if err := forgetMount(utabDir, m.plan.source(), m.plan.mountpoint); err != nil {
		m.log.Debug("libmount's table keeps the mount", "err", err)
	}
}
