package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheLineOfAMountInUtab(t *testing.T) {
	dir := t.TempDir()
	read := func() string {
		t.Helper()
		b, err := os.ReadFile(dir + "/utab")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if err := noteUmountHelper(dir, `b/a \b`, "/mnt/my data"); err != nil {
		t.Fatal(err)
	}
	const ours = `SRC=b/a\040\134b TARGET=/mnt/my\040data ROOT=/ OPTS=uhelper=pailfs` + "\n"
	if got := read(); got != ours {
		t.Errorf("%q", got)
	}
	if err := noteUmountHelper(dir, `b/a \b`, "/mnt/my data"); err != nil || read() != ours {
		t.Errorf("%v: %q", err, read())
	}
	const others = "SRC=/dev/sda1 TARGET=/mnt/my ROOT=/ OPTS=_netdev\nSRC=b TARGET=/mnt/my\\040data ROOT=/ OPTS=x-a\n"
	if err := os.WriteFile(dir+"/utab", []byte(others+ours), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := forgetMount(dir, `b/a \b`, "/mnt/my data"); err != nil || read() != others {
		t.Errorf("%v: %q", err, read())
	}
	left, err := filepath.Glob(dir + "/*")
	if err != nil || len(left) != 2 {
		t.Errorf("%q %v", left, err)
	}
	if err := noteUmountHelper(dir+"/none", "b", "/mnt/x"); err != nil {
		t.Errorf("a host without libmount: %v", err)
	}
	for word, want := range map[string]bool{"_netdev": true, "x-systemd.automount": true, "user": true, "uhelper=x": true, "noatime": false, "defaults": false} {
		if got := userWords([]string{"noauto", word}); got != want {
			t.Errorf("%s: %v", word, got)
		}
	}
}

// A program that holds the table's lock and stands still keeps no mount.
func TestTheTablesLockIsNotWaitedForForEver(t *testing.T) {
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, "utab.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := noteUmountHelper(dir, "b", "/mnt"); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("locked: %v", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := noteUmountHelper(dir, "b", "/mnt"); err != nil {
		t.Error(err)
	}
}
