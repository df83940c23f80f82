package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mount(8) calls a helper, /sbin/mount.TYPE SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE], for a type that is none
// of the kernel's. This program is that helper when it is called by the name mount.pailfs or mount.fuse.pailfs. Where only
// mount.fuse3 is there, that calls `pailfs SOURCE DIR -o OPTIONS`.

// The exit codes of mount(8), which its helpers share.
const (
	helperUsage       = 1 // incorrect invocation or permissions
	helperSystem      = 2 // system error
	helperInterrupted = 8
	helperFailed      = 32 // mount failure
)

// helperCodes says each in a line, for the documents: what mount(8) says of 4 (a bug in mount), 16 (/etc/mtab) and 64 (some
// mounts succeeded) does not happen here.
var helperCodes = []struct {
	code int
	text string
}{
	{exitOK, "mounted, and the mount answers"},
	{helperUsage, "wrong command line, option, environment variable or configuration; or not permitted"},
	{helperSystem, "this host cannot: no FUSE, the state directory cannot be used"},
	{helperInterrupted, "interrupted"},
	{helperFailed, "not mounted: the store, the bucket or the mount point"},
}

// helperCode is mount(8)'s word for an exit code of ours. What a host refuses to a user is a matter of permissions mostly.
func helperCode(code, uid int) int {
	switch code {
	case exitOK:
		return exitOK
	case exitUsage:
		return helperUsage
	case exitHost:
		if uid != 0 {
			return helperUsage
		}
		return helperSystem
	case exitInterrupted:
		return helperInterrupted
	}
	return helperFailed
}

// mountHelper is one call of the helper.
type mountHelper struct {
	name    string // as it was called: the beginning of its messages
	words   []string
	options []string // the values of -o, -r and -w among them
	args    []string
	sloppy  bool
	fake    bool // -f: everything but the mount
	verbose bool
	netns   string // -N
	show    string // "help" or "version"
}

// helperNames are the names of the helper; by any other, the program is pailfs itself.
var helperNames = []string{"mount.pailfs", "mount.fuse.pailfs"}

// mountHelperCalled says whether args are those of a helper; nil for an ordinary command line.
func mountHelperCalled(args []string) *mountHelper {
	if len(args) == 0 {
		return nil
	}
	name := filepath.Base(args[0])
	if slices.Contains(helperNames, name) {
		return &mountHelper{name: name, words: args[1:]}
	}
	if len(args) == 5 && args[3] == "-o" && !strings.HasPrefix(args[1], "-") && filepath.IsAbs(args[2]) && !isCommand(args[1]) {
		// mount.fuse3 adds dev and suid where nobody asked for them. Whoever may write to a bucket should not be able to make
		// root of a user: through mount.fuse3 both are always off.
		return &mountHelper{name: "pailfs", words: append(slices.Clone(args[1:]), "-o", "nosuid,nodev")}
	}
	return nil
}

// isCommand says whether a word is a command that takes -o itself, or none at all.
func isCommand(word string) bool {
	c := newApp(stdio{}).Command(word)
	return c != nil
}

// run is the whole helper.
func (h *mountHelper) run(ctx context.Context, std stdio) int {
	err := h.read()
	return runHelper(h.name, std, h.show, err, helperHelp, func() error { return h.mount(ctx, std) })
}

// mount carries the call out.
func (h *mountHelper) mount(ctx context.Context, std stdio) error {
	if err := h.sameNamespace(); err != nil {
		return err
	}
	if err := surroundings(os.Geteuid()); err != nil {
		return err
	}
	r := &mountRequest{command: "mount", opts: options, o: h.options, sloppy: h.sloppy, args: h.args, getenv: os.Getenv, byMount8: true,
		flag: func(string) (string, bool) { return "", false }}
	if h.fake {
		return h.pretend(r, std)
	}
	child := os.Getenv(readyFD) != ""
	if err := r.carryOut(ctx, std); err != nil || child { // the parent tells
		return err
	}
	h.warn(r, std.err)
	return h.tell(std, "mounted")
}

// pretend is -f: all that a mount would do but the mount.
func (h *mountHelper) pretend(r *mountRequest, std stdio) error {
	err := r.configure()
	if err == nil && !r.words.remount {
		_, err = r.plan()
	}
	if err != nil {
		return err
	}
	h.warn(r, std.err)
	return h.tell(std, "would be mounted")
}

// warn names what -s passed over.
func (h *mountHelper) warn(r *mountRequest, to io.Writer) {
	for _, name := range r.words.unknown {
		fmt.Fprintf(to, "%s: unknown mount option passed over: %s\n", h.name, shown(name))
	}
}

func (h *mountHelper) tell(std stdio, what string) error {
	if !h.verbose {
		return nil
	}
	_, err := fmt.Fprintf(std.out, "%s: %s %s on %s\n", h.name, shown(h.args[0]), what, shown(h.args[1]))
	return err
}

func (h *mountHelper) read() error {
	r := helperWords{flag: h.flag, valued: "otN", value: h.value, wrong: h.wrong}
	err := r.read(h.words)
	h.args, h.show = r.args, r.show
	if err == nil && h.show == "" && len(h.args) != 2 {
		return h.wrong("a source and a directory are needed")
	}
	return err
}

func (h *mountHelper) flag(letter rune) bool {
	switch letter {
	case 's':
		h.sloppy = true
	case 'f':
		h.fake = true
	case 'v':
		h.verbose = true
	case 'n': // /etc/mtab is nobody's file any more
	case 'r':
		h.options = append(h.options, "ro")
	case 'w':
		h.options = append(h.options, "rw")
	default:
		return false
	}
	return true
}

func (h *mountHelper) value(letter rune, value string) error {
	switch letter {
	case 'o':
		h.options = append(h.options, value)
	case 'N':
		h.netns = value
	case 't':
		if value != "pailfs" && value != "fuse.pailfs" && value != "fuse" {
			return h.wrong("type %s is not this program's", shown(value))
		}
	}
	return nil
}

func (h *mountHelper) wrong(format string, args ...any) *failure {
	f := usagef("", format, args...)
	f.hint = fmt.Sprintf("mount -t pailfs SOURCE DIR [-o OPTION,...]; `%s --help` says more", h.name)
	return f
}

// sameNamespace refuses a mount in another namespace: mount(8) has gone there already when it calls, and a program of several
// threads cannot.
func (h *mountHelper) sameNamespace() error {
	if h.netns == "" {
		return nil
	}
	var own, asked unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/self/ns/mnt", &own), unix.Stat(h.netns, &asked)); err != nil {
		return h.wrong("the mount namespace %s cannot be looked at: %v", shown(h.netns), err)
	}
	if own.Ino == asked.Ino && own.Dev == asked.Dev {
		return nil
	}
	f := usagef("", "%s is another mount namespace", shown(h.netns))
	f.hint = "nsenter --mount=" + h.netns + " mount -t pailfs ..."
	return f
}

// helperPath is where fusermount3 is looked for when a helper has no PATH.
const helperPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// surroundings gives the process a HOME and a PATH: mount(8) and systemd call a helper without. The credentials and the
// configuration of a user are found at home, fusermount3 by the other.
func surroundings(uid int) error {
	if os.Getenv("PATH") == "" {
		if err := os.Setenv("PATH", helperPath); err != nil {
			return err
		}
	}
	if filepath.IsAbs(os.Getenv("HOME")) {
		return nil
	}
	u, err := user.LookupId(fmt.Sprint(uid))
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return nil //nolint:nilerr // a user without a home is none that has files there
	}
	return os.Setenv("HOME", u.HomeDir)
}

// helperHelp is the help of the helper.
func helperHelp() string {
	var b strings.Builder
	b.WriteString(`NAME:
   mount.pailfs - mount a bucket of an S3-compatible object storage; called by mount(8)

USAGE:
   mount -t pailfs SOURCE DIR [-o OPTION,...]
   mount.pailfs SOURCE DIR [-fnrsvw] [-o OPTION,...]

   SOURCE is BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX; s3:// alone is the whole account. The options are those of
   ` + "`pailfs mount`" + ` by their names with - or _, and the generic ones of mount(8). It returns when the mount answers.

OPTIONS:
`)
	for _, l := range [][2]string{
		{"-f", "check everything that needs no network, and mount nothing"},
		{"-n", "nothing: there is no /etc/mtab to leave alone"},
		{"-r, -w", "the same as -o ro, -o rw"},
		{"-s", "pass over options that are not known, with a warning"},
		{"-v", "say what was mounted"},
	} {
		helpText(&b, l[0], l[1])
	}
	b.WriteString("\nEXIT CODES:\n")
	for _, c := range helperCodes {
		fmt.Fprintf(&b, "   %3d  %s\n", c.code, c.text)
	}
	return b.String()
}
