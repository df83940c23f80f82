package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseConfig reads a configuration file. It goes on behind a mistake, so that `pailfs config check` shows all at once.
func parseConfig(path string, text []byte) *configFile {
	c := &configFile{path: path, options: newSection()}
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := documents.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing in it
		return c
	case err != nil:
		line, why := yamlError(err)
		c.problem(line, "", "", "%s", why)
		return c
	}
	if err := documents.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		c.problem(0, "", "", "more than one document: put everything into one")
	}
	for _, e := range c.entries(doc.Content[0], "", "the file") {
		switch e.name {
		case "options":
			c.section(e.value, &c.options, "", nil)
		case "mounts":
			for _, m := range c.entries(e.value, "", "mounts") {
				c.mountOf(m)
			}
		default:
			c.unknown(e, "", "", []string{"options", "mounts"})
		}
	}
	return c
}

func newSection() configSection {
	return configSection{values: map[string]fileValue{}, keys: map[string]fileValue{}}
}

// configEntry is one line of a mapping.
type configEntry struct {
	name  string
	line  int
	value *yaml.Node
}

// entries are those of a mapping, in order. A name that comes twice is a mistake: one of the two would not count.
func (c *configFile) entries(n *yaml.Node, mount, what string) []configEntry {
	n = target(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		c.problem(n.Line, mount, "", "%s is no list of NAME: VALUE", what)
		return nil
	}
	var all []configEntry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := target(n.Content[i])
		e := configEntry{key.Value, key.Line, target(n.Content[i+1])}
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			c.problem(key.Line, mount, "", "a name is missing")
		case slices.ContainsFunc(all, func(had configEntry) bool { return dashed(had.name) == dashed(e.name) }):
			c.problem(key.Line, mount, "", "%s comes twice", shown(e.name))
		default:
			all = append(all, e)
		}
	}
	return all
}

// target is what an alias (*name) stands for.
func target(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }

// mountOf reads a named mount.
func (c *configFile) mountOf(e configEntry) {
	m := &configMount{name: e.name, configSection: newSection()}
	if !isName(e.name) || strings.ContainsFunc(e.name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		c.problem(e.line, e.name, "a word without slashes and blanks", "%s cannot be the name of a mount", shown(e.name))
	}
	c.section(e.value, &m.configSection, e.name, func(e configEntry, text string) bool {
		switch dashed(e.name) {
		case "source":
			if _, _, err := parseTarget(text); err != nil {
				c.problem(e.line, m.name, "BUCKET or BUCKET/PREFIX; without source the whole account is mounted", "source: %v", err)
			}
			m.source = text
		case "mountpoint":
			if !filepath.IsAbs(text) {
				c.problem(e.line, m.name, "an absolute path", "mountpoint: %q depends on the working directory", text)
			}
			m.mountpoint = text
		default:
			return false
		}
		return true
	})
	if m.mountpoint == "" {
		c.problem(e.line, e.name, "mountpoint: /mnt/"+e.name, "mount %s has no mountpoint", shown(e.name))
	}
	c.mounts = append(c.mounts, m)
}

// section reads options. own takes the names that are none.
func (c *configFile) section(n *yaml.Node, to *configSection, mount string, own func(configEntry, string) bool) {
	what, from := "options", fromFile
	if mount != "" {
		what, from = "mount "+mount, fromMount
	}
	for _, e := range c.entries(n, mount, what) {
		text, ok := c.text(e, mount)
		if !ok || own != nil && own(e, text) {
			continue
		}
		v := fileValue{value: text, file: c.path, line: e.line, from: from}
		name := dashed(e.name)
		o, known := optionNamed(options, name)
		switch {
		case name == "access-key" || name == "secret-key" || name == "session-token":
			c.secrets = true
			to.keys[name] = v
		case name == "o":
			c.words(e, text, v, to, mount)
		case name == "config":
			c.problem(e.line, mount, "--config FILE or PAILFS_CONFIG", "config: a file cannot name another")
		case !known:
			c.unknown(e, mount, "`pailfs mount --help` lists the options", sectionNames(mount))
		default:
			to.values[o.name] = v
		}
	}
}

// words takes the mount options that are no option of pailfs.
func (c *configFile) words(e configEntry, text string, v fileValue, to *configSection, mount string) {
	w, err := parseMountOptions([]string{text}, false)
	switch {
	case err != nil:
		c.problem(e.line, mount, "", "o: %v", err)
	case w.remount:
		c.problem(e.line, mount, "", "o: remount stands in no file")
	default:
		for name, value := range w.ours {
			if name != "read-only" { // ro and rw are everybody's words
				c.problem(e.line, mount, fmt.Sprintf("%s: %s", name, value), "o: %s is an option of pailfs and has a line of its own", name)
				continue
			}
			ro := v
			ro.value = value
			to.values[name] = ro
		}
	}
	to.values["o"] = v
}

// text is the value of an entry as it would stand behind its flag. A list is that of patterns or mount options.
func (c *configFile) text(e configEntry, mount string) (string, bool) {
	n := e.value
	separator, listed := map[string]string{"bucket-pattern": ":", "o": ","}[dashed(e.name)]
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		if strings.ContainsRune(n.Value, 0) {
			c.problem(e.line, mount, "", "%s has a NUL byte", shown(e.name))
			return "", false
		}
		return n.Value, true
	case n.Kind == yaml.SequenceNode && listed:
		var parts []string
		for _, part := range n.Content {
			if part = target(part); part.Kind == yaml.ScalarNode {
				parts = append(parts, part.Value)
			}
		}
		return strings.Join(parts, separator), true
	case n.Kind == yaml.ScalarNode:
		c.problem(e.line, mount, `"" is the empty value`, "%s has no value", shown(e.name))
	default:
		c.problem(e.line, mount, "", "%s takes one value", shown(e.name))
	}
	return "", false
}

func (c *configFile) unknown(e configEntry, mount, hint string, names []string) {
	if near := nearest(dashed(e.name), names); near != "" {
		hint = strings.TrimSuffix("did you mean "+near+"? "+hint, " ")
	}
	if hint == "" {
		hint = "one of: " + strings.Join(names, ", ")
	}
	c.problem(e.line, mount, hint, "unknown name %s", shown(e.name))
}

// sectionNames are the names a section may have.
func sectionNames(mount string) []string {
	names := []string{"access-key", "secret-key", "session-token", "o"}
	if mount != "" {
		names = append(names, "source", "mountpoint")
	}
	for _, o := range options {
		if o.name != "config" {
			names = append(names, o.name)
		}
	}
	return names
}

// yamlValues is where the library repeats a value, which may be a key.
var yamlValues = regexp.MustCompile("unknown anchor '.*'")

// yamlError takes the line out of the library's words "yaml: line 3: ...".
func yamlError(err error) (line int, why string) {
	why = strings.TrimPrefix(yamlValues.ReplaceAllString(err.Error(), "a value that begins with * has to stand between quotes"), "yaml: ")
	rest, ok := strings.CutPrefix(why, "line ")
	if !ok {
		return 0, why
	}
	number, text, ok := strings.Cut(rest, ": ")
	n, numberErr := strconv.Atoi(number)
	if !ok || numberErr != nil {
		return 0, why
	}
	return n, fmt.Sprintf("is no YAML: %s", text)
}
