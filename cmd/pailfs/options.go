package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// cliFlags makes the library's flags from the table. The library neither reads the environment nor fills in defaults:
// resolve does, so that -o can stand between a flag and a variable.
func cliFlags(opts []option) []cli.Flag {
	var flags []cli.Flag
	for _, o := range opts {
		var aliases []string
		if o.short != "" {
			aliases = []string{o.short}
		}
		if o.isSwitch() {
			flags = append(flags, &cli.BoolFlag{Name: o.name, Aliases: aliases, Category: o.group, Usage: o.help})
		} else {
			flags = append(flags, &cli.StringFlag{Name: o.name, Aliases: aliases, Category: o.group, Usage: o.help})
		}
	}
	return flags
}

// mountFlags are all options of a mount and -o itself.
func mountFlags() []cli.Flag {
	return append(cliFlags(options), &cli.StringSliceFlag{Name: "o", Category: groupRunning,
		Usage: "mount options, separated by commas"})
}

// settingsOf resolves the options of a command from its flags, -o and the environment.
func settingsOf(c *cli.Context, opts []option) (*settings, error) {
	words, kernel, err := parseMountOptions(c.StringSlice("o"))
	if err != nil {
		f := usagef(doing(c), "-o %v", err)
		f.hint = "`pailfs mount --help` lists the options; a comma inside a value is written \\,"
		return nil, f
	}
	flag := func(name string) (string, bool) {
		if !c.IsSet(name) {
			return "", false
		}
		if o, _ := optionNamed(opts, name); o.isSwitch() {
			return fmt.Sprint(c.Bool(name)), true
		}
		return c.String(name), true
	}
	s, err := resolve(doing(c), opts, sources{flag: flag, words: words, getenv: os.Getenv})
	if err != nil {
		return nil, err
	}
	s.MountWords = kernel
	return s, nil
}

// kernelWords are mount options that the kernel carries out.
var kernelWords = map[string]bool{
	"nosuid": true, "nodev": true, "noexec": true, "suid": true, "dev": true, "exec": true, "default_permissions": true,
}

// aliasWords are mount(8)'s words for options of ours.
var aliasWords = map[string][2]string{
	"ro": {"read-only", "true"}, "rw": {"read-only", "false"}, "allow_other": {"allow-other", "true"},
}

// ignoredWords are mount options that mount(8) and systemd act on, or that change nothing here.
var ignoredWords = map[string]bool{
	"_netdev": true, "nofail": true, "auto": true, "noauto": true, "defaults": true, "user": true, "nouser": true,
	"users": true, "owner": true, "group": true, "async": true, "noatime": true, "nodiratime": true, "relatime": true,
}

// parseMountOptions reads the values of all -o, later words winning: our options by name, and words for the kernel.
func parseMountOptions(lists []string) (ours map[string]string, kernel []string, err error) {
	ours = map[string]string{}
	for _, list := range lists {
		words, err := splitOptions(list)
		if err != nil {
			return nil, nil, err
		}
		for _, w := range words {
			name, value, hasValue := strings.Cut(w, "=")
			switch {
			case w == "", ignoredWords[name], strings.HasPrefix(strings.ToLower(name), "x-"), name == "comment":
			case kernelWords[name] && !hasValue:
				kernel = append(kernel, name)
			case aliasWords[name][0] != "" && !hasValue:
				ours[aliasWords[name][0]] = aliasWords[name][1]
			default:
				o, ok := optionNamed(options, name)
				if !ok {
					return nil, nil, unknownWord(name)
				}
				if !hasValue && !o.isSwitch() {
					return nil, nil, fmt.Errorf("%s needs a value: %s=%s", name, name, o.value)
				}
				if !hasValue {
					value = "true"
				}
				ours[o.name] = value
			}
		}
	}
	return ours, kernel, nil
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

// splitOptions splits at commas. "\," is a comma inside a value and "\\" a backslash; any other backslash stands for
// itself.
func splitOptions(s string) ([]string, error) {
	var words []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == ',' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == ',':
			words = append(words, b.String())
			b.Reset()
		case s[i] == 0:
			return nil, fmt.Errorf("has a NUL byte")
		default:
			b.WriteByte(s[i])
		}
	}
	return append(words, b.String()), nil
}
