package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"pailfs/s3client"
)

const dryRunHelp = "say what would be mounted and where each value is from; one argument with blanks is a line of fstab"

// written are the values of all options as they were written.
func (s *settings) written() map[string]string {
	all := make(map[string]string, len(s.Origins))
	for _, o := range s.Origins {
		all[o.name] = o.value
	}
	return all
}

// dryRun says what a request means. It looks at this host, but sends nothing. What would keep the mount from being made is
// said at the end, as the mount would say it.
func dryRun(r *mountRequest, out io.Writer) error {
	if len(r.args) == 1 && strings.ContainsAny(r.args[0], " \t") {
		line, err := parseFstab(r.args[0])
		if err != nil {
			f := usagef("mount", "%v", err)
			f.hint = "SOURCE MOUNTPOINT pailfs OPTIONS 0 0; `pailfs fstab` writes such a line"
			return f
		}
		r.args, r.o = []string{line.source, line.mountpoint}, append([]string{line.options}, r.o...)
	}
	if err := r.configure(); err != nil {
		return err
	}
	p, err := r.planned()
	if err != nil {
		return err
	}
	var b strings.Builder
	p.describe(&b, r)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	if r.words.remount {
		return nil
	}
	return p.checkHost()
}

// describe writes what a plan means: what and where, then each option with where its value is from, those that somebody gave
// first.
func (p *mountPlan) describe(b *strings.Builder, r *mountRequest) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "%-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("mount", "%s", shown(p.what()))
	line("on", "%s", shown(p.mountpoint))
	if p.lent() {
		line("descriptor", "%s", p.shownFD())
	} else {
		line("shown as", "%s type %s (%s)", shown(p.source()), mountType, p.shownWords())
	}
	line("store", "%s, region %s", p.store.Endpoint, p.store.Region)
	line("access keys", "%s", p.keysFrom())
	if r.mount != nil {
		line("named", "%s, %s", r.mount.name, r.config.fileOf(r.mount))
	}
	if len(r.words.left) > 0 {
		line("left alone", "%s: words for mount(8) and systemd", shown(strings.Join(r.words.left, ",")))
	}
	for _, path := range r.config.skipped {
		line("not read", "%s: only others may", path)
	}
	b.WriteByte('\n')
	for _, given := range []bool{true, false} {
		for _, o := range p.Origins {
			if given == (o.from != fromDefault) {
				fmt.Fprintf(b, "%-18s %-28s %s\n", o.name, o.valueShown(), o.fromShown())
			}
		}
	}
}

// shownWords are the options of the mount table that a user chose or that are always there.
func (p *mountPlan) shownWords() string {
	words := []string{"rw", "nosuid", "nodev"}
	if p.ReadOnly {
		words[0] = "ro"
	}
	for _, w := range p.MountWords {
		words = slices.DeleteFunc(words, func(had string) bool { return had == w || kernelWords[w] != "" && had == kernelWords[w] })
		if w != "suid" && w != "dev" && w != "exec" {
			words = append(words, w)
		}
	}
	if p.AllowOther {
		words = append(words, "allow_other")
	}
	return strings.Join(words, ",")
}

// keysFrom says where access keys are looked for, without looking at them.
func (p *mountPlan) keysFrom() string {
	client, err := s3client.Open(p.store)
	if err != nil {
		return "none: " + oneLine(err.Error())
	}
	defer client.Close()
	if p.Keys.access != "" {
		return p.Keys.where
	}
	return client.KeysFrom()
}

// valueShown is the value, or in words what a default comes to.
func (o origin) valueShown() string {
	if entry, ok := optionNamed(options, o.name); ok && o.from == fromDefault && entry.dynamic != nil && (o.value == "" || o.value == "-1" || o.name == "write-rate") {
		return cmp.Or(entry.def, "-")
	}
	if o.value == "" {
		return "-"
	}
	if n, err := strconv.ParseInt(o.value, 10, 64); err == nil && o.name == "memory" {
		return formatSize(n)
	}
	return shown(o.value)
}

func (o origin) fromShown() string {
	if o.from == fromDefault {
		return "default"
	}
	return o.shown
}

// fileOf is where a named mount is written.
func (c *configuration) fileOf(m *configMount) string {
	for _, f := range c.files {
		if slices.Contains(f.mounts, m) {
			return f.path
		}
	}
	return ""
}
