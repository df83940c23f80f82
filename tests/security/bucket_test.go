package security

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pailfs/tests/testenv"
)

// Keys that lead out of a bucket are no paths: a mount shows names below its mount point and nothing else, and each of them reads as
// the object of its key.
func TestNamesOfAHostileBucket(t *testing.T) {
	objects := map[string]craftedObject{}
	for _, key := range []string{"../x", "/etc/passwd", "a/../../b", "a/./b", "..", ".", "a//b", "nul\x00nul", "bytes\xff", strings.Repeat("n", 300), "deep/" + strings.Repeat("n", 300), "..dots/..", "../../../../tmp/planted"} {
		objects[key] = craftedObject{body: "none of these is a path"}
	}
	shown := map[string]string{"a/fine": "1", "esc\x1b[2J": "2", "line\nbreak": "3", "c1\u009b2J": "4", "bidi\u202eabc": "5", "...": "6", "..a": "7", "a/...": "8", "-rf": "9", "back\\slash": "11", "$(reboot)": "12"}
	for key, body := range shown {
		objects[key] = craftedObject{body: body}
	}
	c := craft(t, objects, nil)
	h := newHost(t, c.env()...)
	outside := func() string {
		var all []string
		for _, dir := range []string{h.base, "/tmp", "/etc"} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if strings.Contains(e.Name(), "planted") || dir == h.base {
					all = append(all, e.Name())
				}
			}
		}
		return strings.Join(all, " ")
	}
	h.mount(hostileBucket, h.mnt, "--read-only")
	before := outside()
	found := map[string]string{}
	err := filepath.WalkDir(h.mnt, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(h.mnt, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		found[rel] = string(b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for key, body := range shown {
		if found[key] != body {
			t.Errorf("%q reads %q, not %q", key, found[key], body)
		}
		delete(found, key)
	}
	if len(found) > 0 {
		t.Errorf("also shown: %q", found)
	}
	for _, name := range []string{"..dots", "deep"} { // directories of which nothing can be shown
		if entries, err := os.ReadDir(h.mnt + "/" + name); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v %v", name, entries, err)
		}
	}
	if after := outside(); after != before {
		t.Errorf("outside there was %s, and is %s", before, after)
	}
	h.expect(0, "umount", h.mnt)
}

// Modes and types of files are metadata of anybody: what runs from a mount runs with no rights of its owner, a device leads to no
// device, and a link is a text that only its reader follows.
func TestSpecialFilesOfAHostileBucket(t *testing.T) {
	id, err := os.ReadFile("/usr/bin/id")
	if err != nil {
		testenv.Skip(t, "there is no /usr/bin/id to run")
	}
	object := func(mode int, body string, more ...string) craftedObject {
		o := craftedObject{body: body, meta: map[string]string{"mode": fmt.Sprint(mode), "uid": "0", "gid": "0"}}
		for i := 0; i+1 < len(more); i += 2 {
			o.meta[more[i]] = more[i+1]
		}
		return o
	}
	c := craft(t, map[string]craftedObject{
		"setuid": object(0o106755, string(id)), "plain": object(0o100755, string(id)),
		"null": object(0o020666, "", "rdev", fmt.Sprint(1<<8|3)), "disk": object(0o060666, "", "rdev", fmt.Sprint(8<<8)),
		"passwd": object(0o120777, "/etc/passwd"), "out": object(0o120777, "../../../../../../etc/passwd"), "loop": object(0o120777, "loop"),
		"strange": object(0o170644, "a type that there is not"), "private": object(0o100600, "root's alone"), "public": object(0o100644, "everybody's"),
		"dir/": object(0o040700, ""), "dir/inside": object(0o100644, "in a private directory"),
	}, nil)
	h := newHost(t, c.env()...)
	h.mount(hostileBucket, h.mnt, "--allow-other", "--read-only")
	info := h.info()
	for _, want := range []string{"nosuid", "nodev", "default_permissions", "allow_other", "ro"} {
		if !slices.Contains(strings.Split(info.Options+","+info.VFSOptions, ","), want) {
			t.Errorf("%s is missing: %s %s", want, info.Options, info.VFSOptions)
		}
	}
	if fi, err := os.Lstat(h.mnt + "/setuid"); err != nil || fi.Mode()&os.ModeSetuid == 0 {
		t.Errorf("%v %v", fi, err)
	}
	for _, name := range []string{"plain", "setuid"} {
		if said := h.as(nobody, "run", h.mnt+"/"+name, "-u"); said != "ok 65534" {
			t.Errorf("%s runs as: %s", name, said)
		}
	}
	for _, name := range []string{"null", "disk"} {
		if said := h.as(nobody, "read", h.mnt+"/"+name); !strings.Contains(said, "permission denied") {
			t.Errorf("%s can be opened: %s", name, said)
		}
		if _, err := os.ReadFile(h.mnt + "/" + name); err == nil {
			t.Errorf("%s can be opened by root", name)
		}
	}
	for name, target := range map[string]string{"passwd": "/etc/passwd", "out": "../../../../../../etc/passwd", "loop": "loop"} {
		if got, err := os.Readlink(h.mnt + "/" + name); err != nil || got != target {
			t.Errorf("%s leads to %q %v", name, got, err)
		}
	}
	if fi, err := os.Lstat(h.mnt + "/strange"); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("%v %v", fi, err)
	}
	// With allow_other the kernel holds others to the modes.
	for path, want := range map[string]string{"public": "ok everybody's", "private": "permission denied", "dir/inside": "permission denied"} {
		if said := h.as(nobody, "read", h.mnt+"/"+path); !strings.Contains(said, want) {
			t.Errorf("%s by another user: %s", path, said)
		}
	}
	if said := h.as(nobody, "write", h.mnt+"/new"); strings.HasPrefix(said, "ok") {
		t.Errorf("another user has written: %s", said)
	}
	h.expect(0, "umount", h.mnt)
}

// A mount is its user's alone unless it was opened to others, and then only as far as modes go.
func TestOthersStayOut(t *testing.T) {
	h, _, bucket := stored(t)
	h.mount(bucket, h.mnt)
	h.write("f", "x")
	if err := os.Chmod(h.mnt+"/f", 0o666); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"list", "read", "write"} {
		path := h.mnt
		if what != "list" {
			path += "/f"
		}
		if said := h.as(nobody, what, path); !strings.Contains(said, "permission denied") {
			t.Errorf("%s by another user: %s", what, said)
		}
	}
	h.expect(0, "umount", h.mnt)
	h.mount(bucket, h.mnt, "--allow-other")
	if !strings.Contains(h.info().VFSOptions, "default_permissions") {
		t.Errorf("%s", h.info().VFSOptions)
	}
	if said := h.as(nobody, "read", h.mnt+"/f"); said != "ok x" {
		t.Errorf("a file for everybody: %s", said)
	}
	if said := h.as(nobody, "write", h.mnt+"/new"); !strings.Contains(said, "permission denied") {
		t.Errorf("a new file in root's directory: %s", said)
	}
	h.expect(0, "umount", h.mnt)
	// nosuid and nodev go only where somebody with the right to mount says so.
	h.mount(bucket, h.mnt, "-o", "suid,dev")
	if o := h.info().Options; strings.Contains(o, "nosuid") || strings.Contains(o, "nodev") {
		t.Errorf("%s", o)
	}
	h.expect(0, "umount", h.mnt)
}
