package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// fstabLine is a line of /etc/fstab, its escapes undone.
type fstabLine struct {
	source, mountpoint, kind, options string
}

// parseFstab reads a line of fstab for this program.
func parseFstab(text string) (fstabLine, error) {
	fields := strings.Fields(text)
	switch {
	case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		return fstabLine{}, errors.New("there is no line of fstab")
	case len(fields) < 3 || len(fields) > 6:
		return fstabLine{}, fmt.Errorf("a line of fstab has 3 to 6 fields, not %d; a blank inside one is \\040", len(fields))
	}
	for _, n := range fields[min(4, len(fields)):] {
		if _, err := strconv.Atoi(n); err != nil {
			return fstabLine{}, fmt.Errorf("the fifth and sixth fields are numbers, not %q; a blank inside a field is \\040", n)
		}
	}
	for i, f := range fields {
		fields[i] = unescapeField(f)
	}
	l := fstabLine{source: fields[0], mountpoint: fields[1], kind: fields[2]}
	if len(fields) > 3 {
		l.options = fields[3]
	}
	if l.kind != "pailfs" && l.kind != mountType {
		return fstabLine{}, fmt.Errorf("the type is %s, not pailfs", shown(l.kind))
	}
	return l, nil
}

// String is the line as it stands in fstab.
func (l fstabLine) String() string {
	options := l.options
	if options == "" {
		options = "defaults"
	}
	return fmt.Sprintf("%s %s %s %s 0 0", escapeField(l.source), escapeField(l.mountpoint), l.kind, escapeField(options))
}

// escapeField writes what parts fields, lines and comments as the three octal digits that mount(8) reads.
func escapeField(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\n', '\\', '#':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescapeField is the way back; a backslash before anything else stands for itself.
func unescapeField(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func fstabCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name: "fstab", Usage: "print a line of /etc/fstab for a mount",
		ArgsUsage:          "[BUCKET[/PREFIX]] MOUNTPOINT",
		Flags:              mountFlags()[:len(options)+1], // all but --dry-run
		CustomHelpTemplate: fstabHelp(),
		Action: func(c *cli.Context) error {
			r := requestOf(c, options)
			line, err := r.fstab()
			if err != nil {
				return err
			}
			if os.Getenv("AWS_ACCESS_KEY_ID") != "" && !strings.Contains(line.options, "credentials_file=") {
				fmt.Fprintln(std.err, "note: AWS_ACCESS_KEY_ID will not be set at boot: give --credentials-file, or write the keys to root's ~/.aws/credentials")
			}
			_, err = io.WriteString(std.out, line.String()+"\n")
			return err
		},
	}
}

// fstab makes the line of what was given on the command line. What stands in the environment is put into it too: at boot there
// is none. What stands in a configuration file stays there.
func (r *mountRequest) fstab() (fstabLine, error) {
	if err := r.configure(); err != nil {
		return fstabLine{}, err
	}
	p, err := r.planned()
	if err != nil {
		return fstabLine{}, err
	}
	line := fstabLine{source: strings.TrimSuffix(wholeAccount+p.bucket+"/"+p.prefix, "/"), mountpoint: p.mountpoint, kind: "pailfs"}
	if p.bucket == "" {
		line.source = wholeAccount
	}
	w := &mountWords{ours: map[string]string{}, kernel: r.words.kernel, left: withNetwork(r.words.left)}
	for _, o := range p.Origins {
		if o.from > fromEnv && (r.mount == nil || o.from != fromMount) || o.name == "foreground" {
			continue
		}
		value, err := fstabValue(o)
		if err != nil {
			return line, err
		}
		w.ours[o.name] = value
	}
	line.options = w.String()
	if strings.Contains(line.options, `"`) {
		f := usagef(r.command, `a value has a double quote ("), which mount(8) cannot hand over`)
		f.hint = "write the option into a configuration file: /etc/pailfs/config.yaml"
		return line, f
	}
	return line, nil
}

// fstabValue is a value that means the same at boot: file names are absolute.
func fstabValue(o origin) (string, error) {
	entry, _ := optionNamed(options, o.name)
	if (entry.value == "FILE" || entry.value == "DIR") && o.value != "" {
		return filepath.Abs(o.value)
	}
	if entry.isSwitch() {
		on, err := parseBoolean(o.value)
		return strconv.FormatBool(on), err
	}
	return o.value, nil
}

// withNetwork adds _netdev: without it the host would mount before it has a network, and take that down before the mount.
func withNetwork(words []string) []string {
	for _, w := range words {
		if w == "_netdev" {
			return words
		}
	}
	return append([]string{"_netdev"}, words...)
}

func fstabHelp() string {
	return `NAME:
   pailfs fstab - print a line of /etc/fstab for a mount

USAGE:
   pailfs fstab [OPTIONS] [BUCKET[/PREFIX]] MOUNTPOINT

   Options and arguments are those of ` + "`pailfs mount`" + `. The line holds what is given on the command line and in PAILFS_*
   variables, of which there are none at boot; what stands in a configuration file stays there. Access keys are never part
   of it: at boot they come from --credentials-file, a configuration file or root's ~/.aws/credentials.

EXAMPLES:
   pailfs fstab --region KR1 --credentials-file /etc/pailfs/credentials photos /mnt/photos >> /etc/fstab
   pailfs fstab photos /mnt/photos -o region=KR1,ro,nofail,x-systemd.automount
   pailfs mount --dry-run "$(pailfs fstab --region KR1 photos /mnt/photos)"      what such a line means
`
}
