package main

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	pfs "pailfs/fs"
)

func TestOptionsOfAMountHelper(t *testing.T) {
	const usual = unix.MS_NOSUID | unix.MS_NODEV
	for _, c := range []struct {
		lists   []string
		flags   uintptr
		words   string
		maxRead int
		source  string
		left    string
	}{
		{nil, usual, "", pfs.MaxRequest, "", ""},
		{[]string{"rw,default_permissions,,noauto,_netdev"}, usual, "", pfs.MaxRequest, "", "noauto,_netdev"},
		{[]string{"ro,noexec,allow_other", "allow_other"}, usual | unix.MS_RDONLY | unix.MS_NOEXEC, "allow_other", pfs.MaxRequest, "", ""},
		{[]string{"suid,dev,ro", "rw,noexec,exec"}, 0, "", pfs.MaxRequest, "", ""},
		{[]string{`max_read=128KiB,source=a\,b,context="u:o:r:s0,c1",x-mount.mkdir=0700`}, usual, `context="u:o:r:s0,c1"`, 128 << 10, "a,b", "x-mount.mkdir=0700"},
		{[]string{"fsname=photos"}, usual, "", pfs.MaxRequest, "photos", ""},
	} {
		o, left, err := parseLendOptions(c.lists)
		if err != nil || o.Flags != c.flags || strings.Join(o.Words, ",") != c.words || o.MaxRead != c.maxRead || o.Source != c.source || strings.Join(left, ",") != c.left {
			t.Errorf("%v: %+v %v %v", c.lists, o, left, err)
		}
	}
	for list, want := range map[string]string{"fd=3": "fd: unknown", "user_id=0": "unknown", "region=KR1": "unknown", "max_read=2MiB": "between", "max_read=x": "no size",
		"context": "unknown", "source=": "unknown", "remount": "unknown", `"x`: "quote"} {
		if o, _, err := parseLendOptions([]string{list}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v %v", list, o, err)
		}
	}
}

func TestTheWordThatMakesAMountPoint(t *testing.T) {
	for words, want := range map[string]string{"": "no", "x-foo=1,nofail": "no", "x-mount.mkdir": "0755", "X-mount.mkdir=0700": "0700", "x-mount.mkdir=700,x-mount.mkdir": "0755",
		"x-mount.mkdir=rwx": "error", "x-mount.mkdir=1777": "error", "x-mount.mkdir=": "error"} {
		mode, asked, err := mkdirWord(strings.Split(words, ","))
		got := "no"
		switch {
		case err != nil:
			got = "error"
		case asked:
			got = fmt.Sprintf("%04o", mode)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", words, got, want)
		}
	}
}
