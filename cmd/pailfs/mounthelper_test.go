package main

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func TestTheHelperIsCalledByItsName(t *testing.T) {
	for line, name := range map[string]string{
		"/sbin/mount.pailfs b /mnt":            "mount.pailfs",
		"mount.fuse.pailfs b /mnt -o ro":       "mount.fuse.pailfs",
		"pailfs b /mnt -o rw,dev,suid":         "pailfs", // mount.fuse3
		"/usr/local/bin/pailfs b/p /mnt -o ro": "pailfs",
		"pailfs mount /mnt -o ro":              "",
		"pailfs status /mnt -o ro":             "",
		"pailfs b mnt -o ro":                   "",
		"pailfs b /mnt --foreground ro":        "",
		"pailfs -o ro b /mnt":                  "",
		"pailfs":                               "",
		"mount.pailfs.old b /mnt":              "",
	} {
		h := mountHelperCalled(strings.Fields(line))
		if h == nil && name != "" || h != nil && h.name != name {
			t.Errorf("%s: %+v", line, h)
		}
	}
	if mountHelperCalled(nil) != nil {
		t.Error("no arguments at all")
	}
}

// Through mount.fuse3, which adds dev and suid unasked, both are off.
func TestMountFuseNeverGivesSUID(t *testing.T) {
	h := mountHelperCalled([]string{"pailfs", "b", "/mnt", "-o", "rw,dev,suid"})
	if err := h.read(); err != nil {
		t.Fatal(err)
	}
	w, err := parseMountOptions(h.options, false)
	if err != nil || !slices.Equal(w.kernel, []string{"nosuid", "nodev"}) {
		t.Errorf("%+v %v", w, err)
	}
}

func TestTheHelpersCommandLine(t *testing.T) {
	for line, want := range map[string]mountHelper{
		"b /mnt":               {args: []string{"b", "/mnt"}},
		"b /mnt -o ro,_netdev": {args: []string{"b", "/mnt"}, options: []string{"ro,_netdev"}},
		"b /mnt -s -f -n -v -o rw -t fuse.pailfs": {args: []string{"b", "/mnt"}, options: []string{"rw"}, sloppy: true, fake: true, verbose: true},
		"-fnvsrw b /mnt":                 {args: []string{"b", "/mnt"}, options: []string{"ro", "rw"}, sloppy: true, fake: true, verbose: true},
		"-vorw b -o ro /mnt -tpailfs":    {args: []string{"b", "/mnt"}, options: []string{"rw", "ro"}, verbose: true},
		"-v -- -b /mnt":                  {args: []string{"-b", "/mnt"}, verbose: true},
		"b /mnt -o rw -N /proc/7/ns/mnt": {args: []string{"b", "/mnt"}, options: []string{"rw"}, netns: "/proc/7/ns/mnt"},
		"-h":                             {show: "help"},
		"--version":                      {show: "version"},
	} {
		h := &mountHelper{words: strings.Fields(line)}
		err := h.read()
		h.words = nil
		if err != nil || !reflect.DeepEqual(*h, want) {
			t.Errorf("%s: %+v %v", line, *h, err)
		}
	}
	for line, want := range map[string]string{
		"":                    "a source and a directory",
		"b":                   "a source and a directory",
		"b /mnt c":            "a source and a directory",
		"b /mnt -x":           "unknown option -x",
		"b /mnt --foreground": "unknown option --foreground",
		"b /mnt -o":           "-o needs a value",
		"b /mnt -t ext4":      "type ext4",
	} {
		err := (&mountHelper{name: "mount.pailfs", words: strings.Fields(line)}).read()
		if f := failureOf(errors.Join(err)); f.code != exitUsage || !strings.Contains(f.message, want) || f.hint == "" {
			t.Errorf("%s: %+v", line, f)
		}
	}
}

func TestTheHelpersExitCodes(t *testing.T) {
	for code, want := range map[int]int{exitOK: 0, exitUsage: 1, exitHost: 2, exitInterrupted: 8,
		exitGeneral: 32, exitDenied: 32, exitUnreachable: 32, exitNotFound: 32, exitMountPoint: 32, exitUnsaved: 32} {
		if got := helperCode(code, 0); got != want {
			t.Errorf("%d: %d", code, got)
		}
	}
	if got := helperCode(exitHost, 1000); got != helperUsage {
		t.Errorf("a user: %d", got)
	}
	for _, e := range exitCodes {
		code := helperCode(e.code, 0)
		if !slices.ContainsFunc(helperCodes, func(h struct {
			code int
			text string
		}) bool {
			return h.code == code
		}) {
			t.Errorf("%d is in no document", code)
		}
	}
}

func TestTheHelperStaysInItsNamespace(t *testing.T) {
	for path, ok := range map[string]bool{"": true, "/proc/self/ns/mnt": true, "/proc/self/ns/net": false, "/nowhere": false} {
		err := (&mountHelper{netns: path}).sameNamespace()
		if (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestTheHelperFindsAHome(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("PATH", "")
	if err := surroundings(os.Getuid()); err != nil || os.Getenv("HOME") == "" || os.Getenv("PATH") != helperPath {
		t.Errorf("%v, HOME %q, PATH %q", err, os.Getenv("HOME"), os.Getenv("PATH"))
	}
	t.Setenv("HOME", "/somewhere")
	t.Setenv("PATH", "/bin")
	if err := surroundings(0); err != nil || os.Getenv("HOME") != "/somewhere" || os.Getenv("PATH") != "/bin" {
		t.Errorf("%v, HOME %q, PATH %q", err, os.Getenv("HOME"), os.Getenv("PATH"))
	}
}

func TestRemountFlags(t *testing.T) {
	for _, c := range []struct {
		have, words string
		want        uintptr
	}{
		{"rw,nosuid,nodev,relatime", "remount,ro", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV},
		{"ro,nosuid,nodev", "remount,rw", unix.MS_NOSUID | unix.MS_NODEV},
		{"rw,nosuid,nodev", "remount,noexec,suid", unix.MS_NOEXEC | unix.MS_NODEV},
		{"ro,nosuid,nodev,noexec", "remount,exec,default_permissions,user_id=0", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV},
		{"rw", "remount", 0},
	} {
		w, err := parseMountOptions([]string{c.words}, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := remountFlags(w, &mountinfo.Info{Options: c.have}); got != c.want {
			t.Errorf("%s, %s: %#x, want %#x", c.have, c.words, got, c.want)
		}
	}
}

func TestChangedOptions(t *testing.T) {
	had := map[string]string{"metadata-ttl": "5s", "allow-other": "true", "part-size": "8MiB", "read-only": "false"}
	for words, want := range map[string]string{
		"ro":                              "",
		"metadata_ttl=5000ms,allow_other": "",
		"metadata_ttl=6s,part_size=9MiB":  "metadata_ttl part_size",
		"allow_other=no":                  "allow_other",
		"region=KR1":                      "", // a mount of an older version has not written it down
	} {
		w, err := parseMountOptions([]string{"remount", words}, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(changedOptions(w, had), " "); got != want {
			t.Errorf("%s: %q", words, got)
		}
	}
}
