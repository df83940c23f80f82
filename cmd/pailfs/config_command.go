package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func configCommand(std stdio) *cli.Command {
	about := "   Without FILE those are looked at that a mount would read. The exit code is 2 when something is wrong in one. Nothing is\n" +
		"   sent to the store.\n"
	own := []cli.Flag{jsonFlag()}
	return &cli.Command{
		Name: "config", Usage: "look at the configuration files",
		Subcommands: []*cli.Command{{
			Name: "check", Usage: "say what is wrong in the configuration files, and which mounts they name", ArgsUsage: "[FILE]",
			Flags: own, CustomHelpTemplate: plainHelp(own, about),
			Action: func(c *cli.Context) error {
				if c.NArg() > 1 {
					return usagef(doing(c), "one file at most, not %d arguments", c.NArg())
				}
				return checkConfig(c, std.out)
			},
		}},
	}
}

// configReport is what `pailfs config check --json` prints.
type configReport struct {
	Files    []configFileReport  `json:"files"`
	Mounts   []configMountReport `json:"mounts"`
	Problems []configProblem     `json:"problems"`
}

type configFileReport struct {
	Path string `json:"path"`
	// State is read, absent or unreadable: only others may read it.
	State string `json:"state"`
}

type configMountReport struct {
	Name       string `json:"name"`
	Source     string `json:"source"`
	Mountpoint string `json:"mountpoint"`
	File       string `json:"file"`
	// Hidden: another file has a mount of the same name, which counts.
	Hidden bool `json:"hidden,omitempty"`
}

func checkConfig(c *cli.Context, out io.Writer) error {
	asked := c.Args().First()
	if asked == "" {
		asked = os.Getenv("PAILFS_CONFIG")
	}
	if asked != "" {
		var err error
		if asked, err = filepath.Abs(asked); err != nil {
			return err
		}
	}
	config, err := loadConfig(asked, os.Getenv, os.Geteuid())
	if err != nil {
		f := usagef(doing(c), "%v", err)
		if !errors.Is(err, os.ErrNotExist) {
			f.code = exitHost
		}
		return f
	}
	r := configReportOf(config, asked)
	if c.Bool("json") {
		err = printJSON(out, r)
	} else {
		_, err = io.WriteString(out, r.text())
	}
	if err == nil && len(r.Problems) > 0 {
		err = &failure{code: exitUsage, silent: true}
	}
	return err
}

// configReportOf checks every value, as the mounts of the file would.
func configReportOf(c *configuration, asked string) configReport {
	r := configReport{Files: []configFileReport{}, Mounts: []configMountReport{}, Problems: []configProblem{}}
	looked := []string{asked}
	if asked == "" {
		looked = slices.DeleteFunc([]string{userConfig(os.Getenv), systemConfig}, func(p string) bool { return p == "" })
	}
	for _, path := range looked {
		state := "absent"
		switch {
		case slices.Contains(c.skipped, path):
			state = "unreadable"
		case slices.ContainsFunc(c.files, func(f *configFile) bool { return f.path == path }):
			state = "read"
		}
		r.Files = append(r.Files, configFileReport{path, state})
	}
	for _, f := range c.files {
		r.Problems = append(r.Problems, f.problems...)
		r.Problems = append(r.Problems, f.options.check(f.path, "")...)
		for _, m := range f.mounts {
			r.Problems = append(r.Problems, m.check(f.path, m.name)...)
			source := m.source
			if source == "" {
				source = wholeAccount
			}
			r.Mounts = append(r.Mounts, configMountReport{m.name, source, m.mountpoint, f.path, c.mount(m.name) != m})
		}
	}
	r.Problems = append(r.Problems, c.incomplete()...)
	slices.SortStableFunc(r.Problems, func(a, b configProblem) int {
		if a.File != b.File {
			return 0
		}
		return a.Line - b.Line
	})
	return r
}

// check tries each value.
func (s configSection) check(file, mount string) []configProblem {
	var problems []configProblem
	for _, o := range options {
		v, ok := s.values[o.name]
		if !ok {
			continue
		}
		if err := o.set(&settings{}, v.value); err != nil {
			problems = append(problems, configProblem{file, v.line, mount, fmt.Sprintf("%s: %v", o.name, err), o.help})
		}
	}
	access, secret := s.keys["access-key"], s.keys["secret-key"]
	if (access.value == "") != (secret.value == "") {
		problems = append(problems, configProblem{file, max(access.line, secret.line), mount, "access-key and secret-key belong together", "write both, or none"})
	}
	return problems
}

// incomplete finds mounts that cannot be made as they are written: two in one place, or without a store.
func (c *configuration) incomplete() []configProblem {
	var problems []configProblem
	places := map[string]string{}
	for _, f := range c.files {
		for _, m := range f.mounts {
			if c.mount(m.name) != m || m.mountpoint == "" {
				continue
			}
			if other, taken := places[filepath.Clean(m.mountpoint)]; taken {
				problems = append(problems, configProblem{f.path, 0, m.name, fmt.Sprintf("mounts %s and %s have one mountpoint, %s", other, m.name, m.mountpoint), ""})
			}
			places[filepath.Clean(m.mountpoint)] = m.name
			if p, ok := c.withoutStore(f, m); ok {
				problems = append(problems, p)
			}
		}
	}
	return problems
}

// withoutStore says whether neither file nor environment names a mount's store.
func (c *configuration) withoutStore(f *configFile, m *configMount) (configProblem, bool) {
	r := &mountRequest{command: "config", opts: options, getenv: os.Getenv, config: c, mount: m, words: &mountWords{},
		flag: func(string) (string, bool) { return "", false }}
	s, err := resolve(r.command, options, r.sources())
	if err != nil {
		return configProblem{}, false // named already, or it is the environment's
	}
	if _, err = storeConfig(r.command, s); err == nil {
		return configProblem{}, false
	}
	why := failureOf(err)
	return configProblem{f.path, 0, m.name, fmt.Sprintf("mount %s: %s", m.name, why.message), why.hint}, true
}

// text is the report for people.
func (r configReport) text() string {
	var b strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%-10s %s\n", f.State, f.Path)
	}
	for _, m := range r.Mounts {
		hidden := ""
		if m.Hidden {
			hidden = " (hidden by a mount of the same name)"
		}
		fmt.Fprintf(&b, "%-10s %s: %s on %s%s\n", "mount", shown(m.Name), shown(m.Source), shown(m.Mountpoint), hidden)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "wrong      %s\n", oneLine(p.String()))
		if p.Hint != "" {
			fmt.Fprintf(&b, "           hint: %s\n", oneLine(p.Hint))
		}
	}
	if len(r.Problems) == 0 {
		b.WriteString("ok\n")
	}
	return b.String()
}
