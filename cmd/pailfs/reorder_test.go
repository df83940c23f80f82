package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReorder(t *testing.T) {
	app := newApp(stdio{out: io.Discard, err: io.Discard})
	for _, c := range []struct{ in, want string }{
		{"pailfs", "pailfs"},
		{"pailfs --help", "pailfs --help"},
		{"pailfs nonsense -x y", "pailfs nonsense -x y"},
		{"pailfs mount", "pailfs mount"},
		{"pailfs mount b /mnt", "pailfs mount -- b /mnt"},
		{"pailfs mount b /mnt --region KR1", "pailfs mount --region KR1 -- b /mnt"},
		{"pailfs mount b --region KR1 /mnt -f", "pailfs mount --region KR1 -f -- b /mnt"},
		{"pailfs mount b /mnt --region=KR1 --read-only", "pailfs mount --region=KR1 --read-only -- b /mnt"},
		{"pailfs mount b /mnt -o ro,uid=5", "pailfs mount -o ro,uid=5 -- b /mnt"},
		{"pailfs mount b /mnt -oro", "pailfs mount -o ro -- b /mnt"},
		{"pailfs mount b /mnt -o=ro", "pailfs mount -o=ro -- b /mnt"},
		{"pailfs mount -region KR1 b /mnt", "pailfs mount -region KR1 -- b /mnt"},
		{"pailfs mount --read-only b /mnt", "pailfs mount --read-only -- b /mnt"}, // a switch takes no word
		{"pailfs mount --region KR1 -- -b /mnt", "pailfs mount --region KR1 -- -b /mnt"},
		{"pailfs mount -- b /mnt -o ro", "pailfs mount -- b /mnt -o ro"}, // all behind -- are arguments
		{"pailfs mount b /mnt --region", "pailfs mount --region -- b /mnt"},
		{"pailfs mount b - --nosuch", "pailfs mount --nosuch -- b -"},
		{"pailfs mount help /mnt", "pailfs mount -- help /mnt"},
		{"pailfs umount /mnt --force", "pailfs umount --force -- /mnt"},
		{"pailfs unmount /mnt --timeout 5s", "pailfs unmount --timeout 5s -- /mnt"},
		{"pailfs status /mnt --watch --json", "pailfs status --watch --json -- /mnt"}, // --watch takes no word either
		{"pailfs status --watch /mnt", "pailfs status --watch -- /mnt"},
		{"pailfs status /mnt --watch=5", "pailfs status --watch=5 -- /mnt"},
		{"pailfs warm a --jobs 4 b --json", "pailfs warm --jobs 4 --json -- a b"},
		{"pailfs bucket acl set b private --region KR1", "pailfs bucket acl set --region KR1 -- b private"},
		{"pailfs bucket acl", "pailfs bucket acl"},
		{"pailfs uploads abort b --older-than 5m --dry-run", "pailfs uploads abort --older-than 5m --dry-run -- b"},
	} {
		in := strings.Fields(c.in)
		before := slices.Clone(in)
		if got := strings.Join(reorder(app, in), " "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.in, got, c.want)
		}
		if !slices.Equal(in, before) {
			t.Errorf("%s: the arguments were changed in place to %q", c.in, in)
		}
	}
}
