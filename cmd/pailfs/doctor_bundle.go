package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// givenOption is what an option was set to, and by what.
type givenOption struct {
	name, value, by string
}

// givenOptions are the options of a mount that flags or the environment set. -o does not exist here.
func givenOptions(c *cli.Context) []givenOption {
	var out []givenOption
	for _, o := range options {
		switch {
		case c.IsSet(o.name) && o.isSwitch():
			out = append(out, givenOption{o.name, fmt.Sprint(c.Bool(o.name)), "flag"})
		case c.IsSet(o.name):
			out = append(out, givenOption{o.name, c.String(o.name), "flag"})
		case os.Getenv(o.env()) != "":
			out = append(out, givenOption{o.name, os.Getenv(o.env()), o.env()})
		}
	}
	return out
}

// checkBundle refuses before the work what would fail behind it.
func (d *doctor) checkBundle() error {
	if d.bundle == "" {
		return nil
	}
	_, err := os.Lstat(d.bundle)
	switch {
	case err == nil:
		f := usagef("doctor", "--bundle: %s exists already", shown(d.bundle))
		f.hint = "name a new file"
		return f
	case !errors.Is(err, fs.ErrNotExist):
		return usagef("doctor", "--bundle: %v", err)
	}
	if info, err := os.Stat(filepath.Dir(d.bundle)); err != nil || !info.IsDir() {
		return usagef("doctor", "--bundle: there is no directory %s", shown(filepath.Dir(d.bundle)))
	}
	return nil
}

// writeBundle writes the archive. Every file in it goes through a censor, whatever it is made of.
func (d *doctor) writeBundle(ctx context.Context) error {
	fail := func(err error) error {
		return &failure{code: exitGeneral, command: "doctor", message: fmt.Sprintf("cannot write %s: %v", shown(d.bundle), err), hint: "name another file with --bundle"}
	}
	archive, err := d.archive(d.bundleFiles(ctx))
	if err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(d.bundle, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(archive)
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(errors.Join(err, os.Remove(d.bundle)))
	}
	_, err = fmt.Fprintf(d.std.err, "\n%s (%s): look into it before you give it away\n", shown(d.bundle), formatSize(int64(len(archive))))
	return err
}

type bundleFile struct {
	name string
	text []byte
}

func (d *doctor) bundleFiles(ctx context.Context) []bundleFile {
	views := knownMounts(runDirs())
	mounts := reportsOf(ctx, views)
	for _, v := range views {
		v.Close()
	}
	var lines strings.Builder
	for i, f := range d.report.Findings {
		if i == 0 || f.Area != d.report.Findings[i-1].Area {
			lines.WriteString(f.Area + "\n")
		}
		f.print(&lines)
	}
	return append(d.configFiles(), []bundleFile{
		{"findings.json", jsonText(d.report)}, {"findings.txt", []byte(lines.String())}, {"version.json", jsonText(d.report.Version)},
		{"options.txt", d.optionsText()}, {"environment.txt", environmentText(os.Environ())},
		{"status.json", jsonText(mounts)}, {"kernel.txt", d.kernelText()}, {"mounts.txt", mountsText()},
	}...)
}

func jsonText(v any) []byte {
	var b bytes.Buffer
	if err := printJSON(&b, v); err != nil {
		return []byte(err.Error())
	}
	return b.Bytes()
}

// archive packs files. Their names are below one directory.
func (d *doctor) archive(files []bundleFile) ([]byte, error) {
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	out := tar.NewWriter(zipped)
	censor := newCensor(os.Environ())
	for _, f := range files {
		text := censor.clean(f.text)
		err := out.WriteHeader(&tar.Header{Name: "pailfs-doctor/" + f.name, Mode: 0o600, Size: int64(len(text)), ModTime: d.now().Truncate(time.Second)})
		if err == nil {
			_, err = out.Write(text)
		}
		if err != nil {
			return nil, err
		}
	}
	err := errors.Join(out.Close(), zipped.Close())
	return b.Bytes(), err
}

func (d *doctor) optionsText() []byte {
	var b strings.Builder
	for _, o := range d.options {
		fmt.Fprintf(&b, "%s=%s (%s)\n", o.name, o.value, o.by)
	}
	if len(d.options) == 0 {
		b.WriteString("none is set\n")
	}
	return []byte(b.String())
}

// environmentText names the variables that the program and its libraries read. Those of pailfs are in options.txt.
func environmentText(environ []string) []byte {
	var names []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		upper := strings.ToUpper(name)
		if strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "PAILFS_") || strings.HasSuffix(upper, "_PROXY") || strings.HasPrefix(name, "XDG_") ||
			slices.Contains([]string{"CACHE_DIRECTORY", "GODEBUG", "GOMEMLIMIT", "GOMAXPROCS", "NOTIFY_SOCKET", "container"}, name) {
			names = append(names, name+" is set")
		}
	}
	slices.Sort(names)
	return []byte(strings.Join(append(names, ""), "\n"))
}

// kernelText is the release, and what it says of FUSE and of limits.
func (d *doctor) kernelText() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s\n", kernelRelease())
	for _, file := range []string{"proc/version", "sys/module/fuse/parameters/max_user_bgreq", "proc/sys/fs/fuse/max_pages_limit", "sys/fs/cgroup/memory.max", "proc/meminfo"} {
		text, err := os.ReadFile(filepath.Join(d.root, file))
		if err != nil {
			continue // not every host has each
		}
		if lines := strings.SplitAfterN(string(text), "\n", 4); len(lines) > 3 { // the first lines of meminfo
			text = []byte(strings.Join(lines[:3], ""))
		}
		fmt.Fprintf(&b, "/%s:\n%s", file, text)
	}
	return []byte(b.String())
}

// mountsText are the lines of the mount table that are pailfs's.
func mountsText() []byte {
	table, err := readMounts()
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	var b strings.Builder
	for _, m := range table.all {
		if m.FSType == mountType {
			fmt.Fprintf(&b, "%s %s %s %s %s %s\n", shown(m.Source), shown(m.Mountpoint), shown(m.Root), m.FSType, m.Options, m.VFSOptions)
		}
	}
	return []byte(b.String())
}

// censor takes secrets out of texts: those of the environment wherever they stand, and users and passwords in URLs.
type censor struct {
	secrets [][]byte // the longest first
}

var (
	secretName = regexp.MustCompile(`(?i)secret|password|passwd|token|private|credential_|_auth|access_key`)
	userInURL  = regexp.MustCompile(`(?i)(\b[a-z][a-z0-9+.-]*://)[^/\s"'@]*(?:@[^/\s"'@]*)*@`)
	signature  = regexp.MustCompile(`(?i)(X-Amz-(?:Signature|Credential|Security-Token)(?:=|%3D)|Signature=|Credential=)[^&\s"',]+`)
)

const censored = "(not shown)"

func newCensor(environ []string) *censor {
	c := &censor{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if secretName.MatchString(name) && len(value) > 3 && !strings.HasPrefix(value, "/") { // a path is where a secret is
			c.secrets = append(c.secrets, []byte(value))
			if quoted, err := json.Marshal(value); err == nil {
				c.secrets = append(c.secrets, quoted[1:len(quoted)-1])
			}
		}
	}
	slices.SortFunc(c.secrets, func(a, b []byte) int { return len(b) - len(a) })
	return c
}

func (c *censor) clean(text []byte) []byte {
	for _, secret := range c.secrets {
		text = bytes.ReplaceAll(text, secret, []byte(censored))
	}
	text = userInURL.ReplaceAll(text, []byte("${1}"+censored+"@"))
	return signature.ReplaceAll(text, []byte("${1}"+censored))
}
