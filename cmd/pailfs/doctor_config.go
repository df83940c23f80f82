package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// configuration reads the files that a mount would read, once more: those of this command were the same.
func (d *doctor) configuration() (*configuration, configReport, error) {
	c, err := loadConfig(d.s.Config, os.Getenv, d.uid)
	if err != nil {
		return nil, configReport{}, err
	}
	return c, configReportOf(c, d.s.Config), nil
}

// checkConfiguration says which configuration files count, and what is wrong in them.
func (d *doctor) checkConfiguration() {
	const check = "config files"
	_, r, err := d.configuration()
	if err != nil {
		d.fail(areaHost, check, "it must be a file that this user may read", "%v", err)
		return
	}
	var files []string
	for _, f := range r.Files {
		if f.State != "absent" {
			files = append(files, fmt.Sprintf("%s (%s)", shown(f.Path), f.State))
		}
	}
	says := "none: options are flags, -o and variables alone"
	if len(files) > 0 {
		says = strings.Join(files, ", ")
	}
	if len(r.Mounts) > 0 {
		var names []string
		for _, m := range r.Mounts {
			names = append(names, shown(m.Name))
		}
		says += "; mounts: " + strings.Join(names, ", ")
	}
	if len(r.Problems) == 0 {
		d.found(areaHost, check, "%s", says)
		return
	}
	f := finding{Area: areaHost, Check: check, State: isFailed, Says: fmt.Sprintf("%s; wrong in %d places:", says, len(r.Problems)), Do: "`pailfs config check` says more"}
	for _, p := range r.Problems {
		f.More = append(f.More, p.String())
	}
	f.More = firstOf(f.More, 10)
	d.add(f)
}

// configFiles are for the archive: what the files say, but for access keys, and what is wrong in them.
func (d *doctor) configFiles() []bundleFile {
	c, r, err := d.configuration()
	if err != nil {
		return []bundleFile{{"config.txt", []byte(err.Error() + "\n")}}
	}
	var b strings.Builder
	for _, f := range c.files {
		f.options.write(&b, "options of all")
		for _, m := range f.mounts {
			m.write(&b, "mount "+shown(m.name))
		}
	}
	return []bundleFile{{"config.json", jsonText(r)}, {"config.txt", []byte(b.String())}}
}

// write writes a section's options with the lines they are from. Keys are only said to be there.
func (s configSection) write(b *strings.Builder, whose string) {
	fmt.Fprintf(b, "%s\n", whose)
	for _, name := range slices.Sorted(maps.Keys(s.values)) {
		v := s.values[name]
		fmt.Fprintf(b, "  %s=%s (%s)\n", name, shown(v.value), v.where())
	}
	for _, name := range slices.Sorted(maps.Keys(s.keys)) {
		fmt.Fprintf(b, "  %s is set (%s)\n", name, s.keys[name].where())
	}
}
