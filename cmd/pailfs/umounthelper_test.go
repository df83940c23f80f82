package main

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestTheUmountHelperIsCalledByItsName(t *testing.T) {
	for line, name := range map[string]string{
		"/sbin/umount.fuse.pailfs /mnt": "umount.fuse.pailfs",
		"umount.pailfs /mnt -l":         "umount.pailfs",
		"pailfs umount /mnt":            "",
		"umount /mnt":                   "",
		"mount.pailfs b /mnt":           "",
	} {
		h := umountHelperCalled(strings.Fields(line))
		if h == nil && name != "" || h != nil && h.name != name {
			t.Errorf("%s: %+v", line, h)
		}
	}
	if umountHelperCalled(nil) != nil {
		t.Error("no arguments at all")
	}
}

func TestTheUmountHelpersCommandLine(t *testing.T) {
	for line, want := range map[string]umountHelper{
		"/mnt":                              {dir: "/mnt"},
		"/mnt -n -l -f -v -r":               {dir: "/mnt", lazy: true, force: true, verbose: true},
		"-lfv /mnt -t fuse.pailfs":          {dir: "/mnt", lazy: true, force: true, verbose: true},
		"-N /proc/7/ns/mnt -tfuse.pailfs /": {dir: "/", netns: "/proc/7/ns/mnt"},
		"-l -- -mnt":                        {dir: "-mnt", lazy: true},
		"--help":                            {show: "help"},
		"-V":                                {show: "version"},
	} {
		h := &umountHelper{words: strings.Fields(line)}
		err := h.read()
		h.words = nil
		if err != nil || !reflect.DeepEqual(*h, want) {
			t.Errorf("%s: %+v %v", line, *h, err)
		}
	}
	for line, want := range map[string]string{
		"":             "one mount point",
		"/a /b":        "one mount point",
		"/a -x":        "unknown option -x",
		"/a --timeout": "unknown option --timeout",
		"/a -t":        "-t needs a value",
	} {
		err := (&umountHelper{name: "umount.fuse.pailfs", words: strings.Fields(line)}).read()
		if f := failureOf(errors.Join(err)); f.code != exitUsage || !strings.Contains(f.message, want) || f.hint == "" {
			t.Errorf("%s: %+v", line, f)
		}
	}
}

func TestTheUmountHelpersWords(t *testing.T) {
	var out, errs strings.Builder
	std := stdio{out: &out, err: &errs}
	if code := umountHelperCalled([]string{"umount.fuse.pailfs", "-h"}).run(t.Context(), std); code != exitOK || !strings.Contains(out.String(), "EXIT CODES") {
		t.Errorf("code %d: %s", code, out.String())
	}
	if code := umountHelperCalled([]string{"umount.fuse.pailfs", t.TempDir()}).run(t.Context(), std); code != helperFailed ||
		!strings.HasPrefix(errs.String(), "umount.fuse.pailfs: cannot unmount ") || !strings.Contains(errs.String(), "nothing is mounted there") {
		t.Errorf("code %d: %s", code, errs.String())
	}
}

// A mount that lives on elsewhere never ends: what is pending is stored, and that is all there is to wait for.
func TestUmountOfAMountThatLivesOnElsewhere(t *testing.T) {
	dir := t.TempDir()
	flushed := ""
	fake := &fakeMount{status: &statusReport{Mountpoint: "/mnt/x", State: stateDetached},
		flush: func(_ context.Context, path string, report func(flushProgress)) (flushProgress, error) {
			flushed = "all of " + path
			return flushProgress{}, nil
		}}
	s := serveFake(t, dir, fake)
	u, out := testUmount(dir)
	u.program = "umount.fuse.pailfs"
	if err := u.await(t.Context(), s.place.view); err != nil || flushed != "all of " || !strings.Contains(out.String(), "umount.fuse.pailfs: /mnt/x is unmounted here and everything is stored") {
		t.Errorf("%v, %q: %s", err, flushed, out.String())
	}
	fake.flush = func(context.Context, string, func(flushProgress)) (flushProgress, error) {
		return flushProgress{}, &failure{code: exitUnsaved, message: "1 file (5 B) not stored", hint: "kept"}
	}
	if f := failureOf(u.await(t.Context(), s.place.view)); f.code != exitUnsaved {
		t.Errorf("%+v", f)
	}
}

func TestALazyUmountWaitsForNothing(t *testing.T) {
	dir := t.TempDir()
	fake := &fakeMount{status: &statusReport{State: stateDetached, Pending: &pendingReport{}}}
	s := serveFake(t, dir, fake)
	u, out := testUmount(dir)
	u.program = "pailfs: umount"
	if err := u.leave(t.Context(), s.place.view); err != nil || out.Len() > 0 {
		t.Errorf("%v: %s", err, out)
	}
	fake.status.Pending = &pendingReport{Files: 2, Bytes: 2048, Names: 1}
	if err := u.leave(t.Context(), s.place.view); err != nil || !strings.Contains(out.String(), "pailfs: umount: /mnt/x is detached; its process") ||
		!strings.Contains(out.String(), "still has to store 2 files (2 KiB) and 1 name\n") {
		t.Errorf("%v: %s", err, out)
	}
}
