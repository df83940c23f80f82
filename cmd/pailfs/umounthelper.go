package main

import (
	"context"
	"fmt"
	"io"
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
	switch {
	case err == nil && h.show == "help":
		_, err = io.WriteString(std.out, umountHelperHelp())
	case err == nil && h.show == "version":
		_, err = fmt.Fprintf(std.out, "%s (pailfs %s)\n", h.name, buildInfo().Version)
	case err == nil:
		err = h.umount(ctx, std)
	}
	if err == nil {
		return exitOK
	}
	f := *failureOf(err)
	f.command = "" // the program's name says it
	f.printAs(h.name, std.err)
	return helperCode(f.code, os.Geteuid())
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

// read parses the command line, in which options may stand anywhere.
func (h *umountHelper) read() error {
	var args []string
	for i := 0; i < len(h.words); i++ {
		word := h.words[i]
		switch {
		case word == "--":
			args = append(args, h.words[i+1:]...)
			i = len(h.words)
		case word == "--help", word == "--version":
			h.show = word[2:]
		case strings.HasPrefix(word, "--"):
			return h.wrong("unknown option %s", word)
		case len(word) > 1 && word[0] == '-':
			used, err := h.letters(word[1:], h.words[i+1:])
			if err != nil {
				return err
			}
			i += used
		default:
			args = append(args, word)
		}
	}
	if h.show == "" && len(args) != 1 {
		return h.wrong("one mount point is needed")
	}
	h.dir = strings.Join(args, "")
	return nil
}

// letters reads the letters behind one dash, and says how many of the next words were values of them.
func (h *umountHelper) letters(letters string, next []string) (used int, err error) {
	for i, c := range letters {
		switch c {
		case 'f':
			h.force = true
		case 'l':
			h.lazy = true
		case 'v':
			h.verbose = true
		case 'n', 'r': // there is no /etc/mtab; a mount that is in use is not made read-only
		case 'h':
			h.show = "help"
		case 'V':
			h.show = "version"
		case 't', 'N':
			value := letters[i+1:]
			if value == "" {
				if len(next) == 0 {
					return 0, h.wrong("-%c needs a value", c)
				}
				value, used = next[0], 1
			}
			if c == 'N' {
				h.netns = value
			}
			return used, nil
		default:
			return 0, h.wrong("unknown option -%c", c)
		}
	}
	return 0, nil
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
