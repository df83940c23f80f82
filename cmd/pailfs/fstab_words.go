package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// mountWords are the words of all -o of a mount, read: as `pailfs mount -o`, mount(8), /etc/fstab and systemd write them.
type mountWords struct {
	ours    map[string]string // options of pailfs by name, with dashes
	kernel  []string          // words that the kernel carries out, each at most once, without opposites
	left    []string          // words that mount(8) and systemd act on, or that change nothing here
	remount bool              // change a mount that is there
	unknown []string          // words nobody knows, where these are passed over
}

// kernelWords are the words that the kernel carries out, each with its opposite.
var kernelWords = map[string]string{
	"nosuid": "suid", "suid": "nosuid", "nodev": "dev", "dev": "nodev", "noexec": "exec", "exec": "noexec",
	"default_permissions": "",
}

// labelWords are those of SELinux: the kernel wants them with their values as they are.
var labelWords = map[string]bool{"context": true, "fscontext": true, "defcontext": true, "rootcontext": true}

// aliasWords are mount(8)'s words for options of ours.
var aliasWords = map[string][2]string{
	"ro": {"read-only", "true"}, "rw": {"read-only", "false"}, "allow_other": {"allow-other", "true"},
}

// impliedWords are what a word brings with it, until a later word takes it back (mount(8)).
var impliedWords = map[string][]string{
	"user": {"noexec", "nosuid", "nodev"}, "users": {"noexec", "nosuid", "nodev"}, "owner": {"nosuid", "nodev"}, "group": {"nosuid", "nodev"},
}

// leftWords are the words that mount(8) and systemd act on, or that change nothing here: times of access are not kept, and
// the kernel's caches follow the store.
var leftWords = map[string]bool{
	"_netdev": true, "nofail": true, "fail": true, "auto": true, "noauto": true, "defaults": true, "comment": true,
	"user": true, "nouser": true, "users": true, "nousers": true, "owner": true, "noowner": true, "group": true, "nogroup": true,
	"async": true, "sync": true, "dirsync": true, "atime": true, "noatime": true, "diratime": true, "nodiratime": true,
	"relatime": true, "norelatime": true, "strictatime": true, "nostrictatime": true, "lazytime": true, "nolazytime": true,
	"mand": true, "nomand": true, "iversion": true, "noiversion": true, "silent": true, "loud": true, "quiet": true,
	"helper": true, "uhelper": true,
}

// tableWords are what the kernel shows of a FUSE mount: mount(8) hands them back when it remounts.
var tableWords = map[string]bool{"user_id": true, "group_id": true, "max_read": true, "rootmode": true, "blksize": true}

// secretWords are refused wherever others could read them.
var secretWords = map[string]bool{
	"access-key": true, "secret-key": true, "session-token": true, "password": true, "passwd": true,
	"aws-access-key-id": true, "aws-secret-access-key": true, "aws-session-token": true,
}

// parseMountOptions reads the values of all -o, later words winning. With sloppy, mount(8)'s -s, unknown words are passed over.
func parseMountOptions(lists []string, sloppy bool) (*mountWords, error) {
	w := &mountWords{ours: map[string]string{}}
	for _, list := range lists {
		words, err := splitOptions(list)
		if err != nil {
			return nil, err
		}
		for _, word := range words {
			if err := w.read(word, sloppy); err != nil {
				return nil, err
			}
		}
	}
	if !w.remount {
		return w, nil
	}
	// What a remount gives back from the mount table says nothing.
	w.left = slices.DeleteFunc(w.left, func(word string) bool { name, _, _ := strings.Cut(word, "="); return tableWords[name] })
	return w, nil
}

func (w *mountWords) read(word string, sloppy bool) error {
	name, value, hasValue := strings.Cut(word, "=")
	_, kernel := kernelWords[name]
	switch {
	case word == "":
	case name == "remount" && !hasValue:
		w.remount = true
	case kernel && !hasValue:
		w.forKernel(name)
	case labelWords[name] && hasValue:
		w.kernel = append(w.kernel, name+"="+quoted(value))
	case aliasWords[name][0] != "" && !hasValue:
		w.ours[aliasWords[name][0]] = aliasWords[name][1]
	case leftWords[name], tableWords[name], strings.HasPrefix(strings.ToLower(name), "x-"):
		for _, implied := range impliedWords[name] {
			w.forKernel(implied)
		}
		w.left = append(w.left, word)
	default:
		return w.readOurs(name, value, hasValue, sloppy)
	}
	return nil
}

// forKernel adds a word for the kernel and takes its opposite back.
func (w *mountWords) forKernel(word string) {
	w.kernel = slices.DeleteFunc(w.kernel, func(had string) bool { return had == word || had == kernelWords[word] })
	w.kernel = append(w.kernel, word)
}

func (w *mountWords) readOurs(name, value string, hasValue, sloppy bool) error {
	o, ok := optionNamed(options, name)
	switch {
	case !ok && secretWords[strings.ReplaceAll(name, "_", "-")]:
		return fmt.Errorf("%s: secrets are not mount options, everybody could read them: use credentials_file=FILE, a file of mode 0600", name)
	case !ok && sloppy:
		w.unknown = append(w.unknown, name)
		return nil
	case !ok:
		return unknownWord(name)
	case !hasValue && !o.isSwitch():
		return fmt.Errorf("%s needs a value: %s=%s", name, name, o.value)
	case !hasValue:
		value = "true"
	}
	w.ours[o.name] = value
	return nil
}

func unknownWord(name string) error {
	var names []string
	for _, o := range options {
		names = append(names, o.name)
	}
	if near := nearest(strings.ReplaceAll(name, "_", "-"), names); near != "" {
		return fmt.Errorf("%s: unknown mount option, did you mean %s?", name, strings.ReplaceAll(near, "-", "_"))
	}
	return fmt.Errorf("%s: unknown mount option", name)
}

// String writes the words as one -o that means the same: remount, ro or rw, those for the kernel, ours in the table's order,
// the others.
func (w *mountWords) String() string {
	var words []string
	if w.remount {
		words = append(words, "remount")
	}
	// Words with implications stand before those that may take them back.
	words = append(words, w.left...)
	words = append(words, w.kernel...)
	for _, o := range options {
		value, ok := w.ours[o.name]
		switch {
		case !ok:
		case o.name == "read-only" && value == "true":
			words = append(words, "ro")
		case o.name == "read-only" && value == "false":
			words = append(words, "rw")
		case o.isSwitch() && value == "true":
			words = append(words, o.key())
		default:
			words = append(words, o.key()+"="+value)
		}
	}
	return joinOptions(words)
}

// splitOptions splits at commas, as libmount does: a comma behind a backslash or between double quotes is none that parts.
// The quotes and the backslash go; "\\" is a backslash and "\"" a quote, any other backslash stands for itself.
func splitOptions(s string) ([]string, error) {
	var words []string
	var b strings.Builder
	open := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == 0:
			return nil, errors.New("has a NUL byte")
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`,\"`, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			open = !open
		case s[i] == ',' && !open:
			words = append(words, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	if open {
		return nil, errors.New(`has a quote (") that nothing closes`)
	}
	return append(words, b.String()), nil
}

// joinOptions is the way back.
func joinOptions(words []string) string {
	escaped := make([]string, len(words))
	for i, w := range words {
		escaped[i] = optionEscapes.Replace(w)
	}
	return strings.Join(escaped, ",")
}

var optionEscapes = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `"`, `\"`)

// quoted puts a value with a comma between quotes, as the kernel reads labels.
func quoted(value string) string {
	if strings.Contains(value, ",") && !strings.HasPrefix(value, `"`) {
		return `"` + value + `"`
	}
	return value
}
