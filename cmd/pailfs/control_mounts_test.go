package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func TestFindTheMountOfAPath(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"/mnt", "/mnt2", "/other"} {
		if err := os.Mkdir(base+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"/link": base + "/mnt", "/relative": "mnt/sub", "/loop": "loop", "/mnt/inside": "/etc"} {
		if err := os.Symlink(target, base+link); err != nil {
			t.Fatal(err)
		}
	}
	table := mountTable{[]*mountinfo.Info{
		{Mountpoint: "/", FSType: "ext4"},
		{Mountpoint: base + "/mnt", FSType: "ext4"},
		{Mountpoint: base + "/mnt", FSType: mountType},
		{Mountpoint: base + "/mnt/tmp", FSType: "tmpfs"},
		{Mountpoint: base + "/mnt/tmp/again", FSType: mountType},
		{Mountpoint: base + "/mnt2", FSType: mountType},
		{Mountpoint: base + "/mnt2", FSType: "tmpfs"}, // hides the one below
	}}
	for _, c := range []struct{ path, mountpoint, inside string }{
		{"/mnt", "/mnt", ""},
		{"/mnt/", "/mnt", ""},
		{"/mnt/a/b", "/mnt", "a/b"},
		{"/mnt/a/../b", "/mnt", "b"},
		{"/mnt/../other", "", ""},
		{"/mnt/inside/passwd", "/mnt", "inside/passwd"}, // what is inside is not asked
		{"/mnt2/a", "", ""},
		{"/mnt/tmp/a", "", ""},
		{"/mnt/tmp/again/a", "/mnt/tmp/again", "a"},
		{"/mntx", "", ""},
		{"/link/a", "/mnt", "a"},
		{"/relative/b", "/mnt", "sub/b"},
		{"/other/a", "", ""},
		{"/gone/a", "", ""},
	} {
		info, inside, err := table.find(filepath.Clean(base + c.path))
		at := ""
		if info != nil {
			at = strings.TrimPrefix(info.Mountpoint, base)
		}
		if err != nil || at != c.mountpoint || info != nil && inside != c.inside {
			t.Errorf("%s: %q %q %v", c.path, at, inside, err)
		}
	}
	if _, _, err := table.find(base + "/loop/x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v", err)
	}
	t.Chdir(base + "/other")
	if path, err := absolute(workingDirectory(), "../mnt/x"); err != nil || path != base+"/mnt/x" {
		t.Errorf("%q %v", path, err)
	}
	if path, err := absolute("", "x"); err == nil {
		t.Errorf("%q without a working directory", path)
	}
}

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	r := openTestRuntime(t, dir) // of /mnt/x
	defer r.Discard()
	table := mountTable{[]*mountinfo.Info{
		{Mountpoint: "/mnt/x", FSType: mountType, Root: "/", Minor: 50},
		{Mountpoint: "/srv/bound", FSType: mountType, Root: "/photos/2026", Minor: 50},
		{Mountpoint: "/mnt/foreign", FSType: mountType, Root: "/", Minor: 51, VFSOptions: "rw,user_id=4711"},
	}}
	for _, c := range []struct{ given, mountpoint, path string }{
		{"/mnt/x", "/mnt/x", ""},
		{"/mnt/x/a", "/mnt/x", "a"},
		{"/srv/bound", "/mnt/x", "photos/2026"},
		{"/srv/bound/a", "/mnt/x", "photos/2026/a"},
	} {
		p, err := table.locate([]string{dir}, "warm", "/", c.given)
		if err != nil {
			t.Errorf("%s: %v", c.given, err)
			continue
		}
		if p.mountpoint != c.mountpoint || p.path != c.path {
			t.Errorf("%s: %+v", c.given, p)
		}
		p.Close()
	}
	_, err := table.locate([]string{dir}, "warm", "/", "/mnt/foreign/\x1b[2Ja")
	f := failureOf(err)
	switch {
	case strings.Contains(f.message, "\x1b"):
		t.Errorf("%q", f.message)
	case os.Geteuid() == 0 && (f.code != exitMountPoint || !strings.Contains(f.hint, "PAILFS_RUN_DIR")):
		t.Errorf("%+v", f)
	case os.Geteuid() != 0 && (f.code != exitHost || !strings.Contains(f.message, "user 4711")):
		t.Errorf("%+v", f)
	}
	if _, err := table.locate([]string{dir}, "warm", "/", t.TempDir()); failureOf(err).code != exitMountPoint {
		t.Errorf("%v", err)
	}
}

func TestWhatOthersLeaveIsPassedOver(t *testing.T) {
	own, strange, dir := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.Symlink("/etc/hostname", runtimePath(strange, "/mnt/x")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strange+"/odd.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := openTestRuntime(t, dir)
	defer r.Discard()
	if v, err := viewRuntime([]string{own, strange, "/etc/hostname", dir}, "/mnt/x"); err != nil {
		t.Error(err)
	} else {
		v.Close()
	}
	views := knownMounts([]string{own, strange, "/etc/hostname", dir})
	if len(views) != 2 {
		t.Errorf("%d runtime files", len(views))
	}
	for _, v := range views {
		v.Close()
	}
}
