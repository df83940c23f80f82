package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// umount(8) calls a helper as well, /sbin/umount.TYPE DIR [-flnrv] [-N NAMESPACE] [-t TYPE], where TYPE is what the mount table
// says, fuse.pailfs. So a plain umount, and systemd's for a mount unit, returns when all is stored and not before.

// umountHelperNames are the names of that helper; umount.pailfs is what the option uhelper=pailfs asks for.
var umountHelperNames = []string{"umount.fuse.pailfs", "umount.pailfs"}

// umountHelper is one call of it.
type umountHelper struct {
	name  string
	words []string

	dir         string
	lazy, force bool
	verbose     bool
	netns       string // -N
	show        string // "help" or "version"
}

// umountHelperCalled says whether args are those of the helper; nil for an ordinary command line.
func umountHelperCalled(args []string) *umountHelper {
	if len(args) == 0 || !slices.Contains(umountHelperNames, filepath.Base(args[0])) {
		return nil
	}
	return &umountHelper{name: filepath.Base(args[0]), words: args[1:]}
}

func (h *umountHelper) run(ctx context.Context, std stdio) int {
	err := h.read()
	return runHelper(h.name, std, h.show, err, umountHelperHelp, func() error { return h.umount(ctx, std) })
}

func (h *umountHelper) umount(ctx context.Context, std stdio) error {
	if err := (&mountHelper{name: h.name, netns: h.netns}).sameNamespace(); err != nil {
		return err
	}
	if err := surroundings(os.Geteuid()); err != nil {
		return err
	}
	u := &umount{program: h.name, given: h.dir, lazy: h.lazy, force: h.force, std: std, dirs: runDirs()}
	if err := u.run(ctx); err != nil || !h.verbose {
		return err
	}
	_, err := fmt.Fprintf(std.out, "%s: %s unmounted\n", h.name, shown(h.dir))
	return err
}

func (h *umountHelper) read() error {
	r := helperWords{flag: h.flag, valued: "tN", value: h.value, wrong: h.wrong}
	err := r.read(h.words)
	h.show = r.show
	if err == nil && h.show == "" && len(r.args) != 1 {
		return h.wrong("one mount point is needed")
	}
	h.dir = strings.Join(r.args, "")
	return err
}

func (h *umountHelper) flag(letter rune) bool {
	switch letter {
	case 'f':
		h.force = true
	case 'l':
		h.lazy = true
	case 'v':
		h.verbose = true
	case 'n', 'r': // there is no /etc/mtab; a mount that is in use is not made read-only
	default:
		return false
	}
	return true
}

func (h *umountHelper) value(letter rune, value string) error {
	if letter == 'N' {
		h.netns = value
	}
	return nil
}

func (h *umountHelper) wrong(format string, args ...any) *failure {
	f := usagef("", format, args...)
	f.hint = fmt.Sprintf("umount MOUNTPOINT; `%s --help` says more", h.name)
	return f
}

// umountHelperHelp is the help of the helper.
func umountHelperHelp() string {
	var b strings.Builder
	b.WriteString(`NAME:
   umount.fuse.pailfs - unmount a mount of pailfs; called by umount(8)

USAGE:
   umount [-flv] MOUNTPOINT
   umount.fuse.pailfs MOUNTPOINT [-flnrv]

   It returns when everything is stored, as ` + "`pailfs umount`" + ` does. umount -i calls no helper and fusermount3 -u knows none: both
   return at once, and the rest is stored in the background.

OPTIONS:
`)
	for _, l := range [][2]string{
		{"-f", "take the mount away although programs use it; they get errors from then on"},
		{"-l", "take its name away at once, and wait for nothing: it ends when the last file is closed"},
		{"-n, -r", "nothing"},
		{"-v", "say what was unmounted"},
	} {
		helpText(&b, l[0], l[1])
	}
	b.WriteString("\nEXIT CODES:\n")
	for _, c := range umountHelperCodes {
		fmt.Fprintf(&b, "   %3d  %s\n", c.code, c.text)
	}
	return b.String()
}

// umountHelperCodes says each in a line, for the documents.
var umountHelperCodes = []struct {
	code int
	text string
}{
	{exitOK, "unmounted, and everything is stored"},
	{helperUsage, "wrong command line, or not permitted"},
	{helperSystem, "this host cannot: the mount table cannot be read"},
	{helperInterrupted, "interrupted"},
	{helperFailed, "not unmounted; or unmounted, and not everything is stored: what is left is named and kept in the journal"},
}
